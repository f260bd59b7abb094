//! Creates and checks the tables, and stores the sample user (feature `local`).

use std::{collections::HashMap, iter, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{create_table::CreateTableError, get_item::GetItemError},
    types::{
        AttributeDefinition, BillingMode, ConditionCheck, KeySchemaElement, KeyType,
        ScalarAttributeType, TableStatus, TimeToLiveSpecification, TransactWriteItem,
    },
};

use super::{
    Author, Creation, Decision, Read, Tables, UserStore, WriteError, call::chain, string, user,
};
use crate::user::{Actor, Timestamp, UserId};

/// A table: its name, the parts of its key, and whether its items expire.
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    pub(super) key: &'static [&'static str],
    pub(super) expires: bool,
}

impl UserStore {
    /// Creates the [`Tables`] that do not exist, with string keys and on-demand capacity. Waits
    /// until the new tables are active. Returns whether it created the table of users.
    ///
    /// # Errors
    /// The cause of the failure, as a sentence.
    pub async fn create_tables(&self) -> Result<bool, String> {
        let mut has_created_users = false;
        for table in self.tables() {
            let is_new = self.create_table(&table).await?;
            if is_new && table.expires {
                self.forget_in_time(table.name).await?;
            }
            has_created_users |= is_new && table.name == self.tables.users;
        }
        Ok(has_created_users)
    }

    /// The approximate number of users. DynamoDB updates this number about every six hours. `None`
    /// if DynamoDB does not return the number.
    pub async fn count_users_about(&self) -> Option<u64> {
        self.count_about(&self.tables.users).await
    }

    /// The approximate number of claims. See [`UserStore::count_users_about`].
    pub async fn count_claims_about(&self) -> Option<u64> {
        self.count_about(self.tables.emails.as_deref()?).await
    }

    /// The approximate number of deleted users. See [`UserStore::count_users_about`].
    pub async fn count_deleted_users_about(&self) -> Option<u64> {
        self.count_about(&self.tables.deleted_users).await
    }

    /// The approximate number of records of the history. See [`UserStore::count_users_about`].
    pub async fn count_records_about(&self) -> Option<u64> {
        self.count_about(&self.tables.history).await
    }

    async fn count_about(&self, table: &str) -> Option<u64> {
        let call = self.client.describe_table().table_name(table);
        let count = call.send().await.ok()?.table?.item_count?;
        count.try_into().ok()
    }

    /// The tables of users and claims, and then all others.
    pub(super) fn tables(&self) -> impl Iterator<Item = Table<'_>> {
        let Tables {
            users,
            emails,
            idempotency_keys,
            deleted_users,
            history,
        } = &*self.tables;
        let lasting = |name, key| Table {
            name,
            key,
            expires: false,
        };
        let expiring = |name, key| Table {
            name,
            key,
            expires: true,
        };
        let emails = emails.as_deref();
        let claims = emails.map(|emails| lasting(emails, &["email"]));
        let others = [
            expiring(idempotency_keys, &["idempotencyKey"]),
            expiring(deleted_users, &["userId"]),
            expiring(history, &["userId", "id"]),
        ];
        iter::once(lasting(users, &["userId"]))
            .chain(claims)
            .chain(others)
    }

    /// Checks that DynamoDB responds and that the [`Tables`] exist. Reads one key from each table.
    ///
    /// # Errors
    /// The first problem, as a sentence.
    pub async fn check_tables(&self) -> Result<(), String> {
        for table in self.tables() {
            self.check_table(&table).await?;
        }
        Ok(())
    }

    /// The same check as [`UserStore::check_tables`], but only for the tables of users and claims.
    ///
    /// # Errors
    /// The first problem, as a sentence.
    pub async fn check_users_and_claims(&self) -> Result<(), String> {
        for table in self.tables().filter(|table| !table.expires) {
            self.check_table(&table).await?;
        }
        Ok(())
    }

    /// The same check as [`UserStore::check_tables`], for all tables but that of idempotency keys.
    ///
    /// # Errors
    /// The first problem, as a sentence.
    pub async fn check_all_but_keys(&self) -> Result<(), String> {
        let keys = &self.tables.idempotency_keys;
        for table in self.tables().filter(|table| table.name != keys) {
            self.check_table(&table).await?;
        }
        Ok(())
    }

    async fn check_table(&self, table: &Table<'_>) -> Result<(), String> {
        let Table { name, key, .. } = table;
        let sample = key.iter().map(|part| ((*part).to_owned(), string("1")));
        let call = self.client.get_item().table_name(*name);
        let call = call.set_key(Some(sample.collect()));
        let Err(error) = call.send().await else {
            return Ok(());
        };
        let is_refused = error.code() == Some("ValidationException");
        Err(match error.as_service_error() {
            Some(GetItemError::ResourceNotFoundException(_)) => {
                format!("there is no table {name}; make it, or name another")
            }
            Some(_) if is_refused => format!(
                "the key of the table {name} is not {}; name the tables in --table, --emails-table, \
                 --idempotency-table, --deleted-users-table and --history-table",
                key.join(" and ")
            ),
            Some(_) | None => reason(&format!("the table {name} cannot be read"), &error),
        })
    }

    /// Checks that this DynamoDB supports transactions and Time to Live (TTL). The service needs
    /// both, and an emulator may lack them. Changes nothing.
    ///
    /// # Errors
    /// What DynamoDB lacks, as a sentence.
    pub async fn check_operations(&self) -> Result<(), String> {
        let check = ConditionCheck::builder()
            .table_name(&self.tables.users)
            .key("userId", string("1"))
            .condition_expression("attribute_exists(userId) OR attribute_not_exists(userId)");
        let check = check.build().map_err(|error| error.to_string())?;
        let check = TransactWriteItem::builder().condition_check(check).build();
        let call = self.client.transact_write_items().transact_items(check);
        has("TransactWriteItems", call.send().await)?;
        let table = &self.tables.idempotency_keys;
        let call = self.client.describe_time_to_live().table_name(table);
        has("DescribeTimeToLive", call.send().await)
    }

    async fn create_table(&self, table: &Table<'_>) -> Result<bool, String> {
        let mut call = self
            .client
            .create_table()
            .table_name(table.name)
            .billing_mode(BillingMode::PayPerRequest);
        for (part, key_type) in table.key.iter().zip([KeyType::Hash, KeyType::Range]) {
            let element = KeySchemaElement::builder()
                .attribute_name(*part)
                .key_type(key_type)
                .build()
                .map_err(|error| error.to_string())?;
            let attribute = AttributeDefinition::builder()
                .attribute_name(*part)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(|error| error.to_string())?;
            call = call.key_schema(element).attribute_definitions(attribute);
        }
        let created = call.send().await;
        match created {
            Ok(_) => self.wait_until_active(table.name).await,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(reason("the table was not made", &error)),
        }
    }

    async fn wait_until_active(&self, table: &str) -> Result<bool, String> {
        for _ in 0..100 {
            let output = self
                .client
                .describe_table()
                .table_name(table)
                .send()
                .await
                .map_err(|error| reason("the table was made, and not seen", &error))?;
            let status = output.table().and_then(|table| table.table_status());
            if status == Some(&TableStatus::Active) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(String::from(
            "the table was made, and is not active after 10 seconds",
        ))
    }

    /// Enables Time to Live (TTL): DynamoDB deletes items of `table` after their `expiresAt`.
    async fn forget_in_time(&self, table: &str) -> Result<(), String> {
        let time_to_live = TimeToLiveSpecification::builder()
            .attribute_name("expiresAt")
            .enabled(true)
            .build()
            .map_err(|error| error.to_string())?;
        self.client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(time_to_live)
            .send()
            .await
            .map(drop)
            .map_err(|error| reason("the table was made, and keeps its items for ever", &error))
    }

    /// Stores the tutorial's sample user, without a version, if its `userId` is free.
    ///
    /// # Errors
    /// The cause of the failure, as a sentence.
    pub async fn put_sample_user(&self) -> Result<(), String> {
        let sample = [
            ("userId", "1"),
            ("name", "Test User"),
            ("email", "test@example.com"),
        ];
        let sample = sample.map(|(name, text)| (name.to_owned(), string(text)));
        let sample = user(HashMap::from(sample));
        let user_id = UserId::stored(sample.user_id());
        let author = Author::command(&Actor::Command("user-service"));
        let decide = |_: &Read, _: Timestamp| Ok(Decision::Store(Box::new(sample.clone())));
        let created = self.create(author, &user_id, Creation::default(), decide);
        match created.await {
            Ok(_)
            | Err(
                WriteError::UserExists { .. }
                | WriteError::UserDeleted(_)
                | WriteError::EmailTaken
                | WriteError::Recorded(_)
                | WriteError::TooLarge,
            ) => Ok(()),
            Err(WriteError::Failed(error)) => {
                Err(format!("the sample user was not stored: {error}"))
            }
        }
    }
}

/// Checks that DynamoDB supports an operation. Any other client error is accepted, because the
/// table may not exist yet.
fn has<T, E>(operation: &str, answer: Result<T, SdkError<E>>) -> Result<(), String>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = answer else { return Ok(()) };
    let Some(response) = error.raw_response() else {
        return Err(reason("DynamoDB was not reached", &error));
    };
    match error.code() {
        Some(code) if code != UNKNOWN_OPERATION && response.status().is_client_error() => Ok(()),
        Some(_) | None => Err(format!(
            "it has no {operation}, which the service needs; use another, such as DynamoDB Local"
        )),
    }
}

/// The error code of DynamoDB for an operation that it does not support.
pub(super) const UNKNOWN_OPERATION: &str = "UnknownOperationException";

/// `what`, followed by the cause: the message of DynamoDB, or the chain of errors.
fn reason<E>(what: &str, error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{what}: {code}: {message}"),
        (None, _) | (Some(_), None) => chain(what, error),
    }
}
