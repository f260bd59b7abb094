//! The tables of a service, as other clients of DynamoDB read and write them.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use serde_dynamo::Item;
use serde_json::{Value, json};

use user_service::store::Tables;

use super::Service;

/// A table that a backup has.
#[derive(Clone, Copy, Debug)]
pub enum Copied {
    Users,
    Claims,
    DeletedUsers,
    History,
}

impl Copied {
    fn of(self, service: &Service) -> &str {
        match self {
            Self::Users => service.table(),
            Self::Claims => service.emails_table(),
            Self::DeletedUsers => service.deleted_users_table(),
            Self::History => service.history_table(),
        }
    }
}

impl Service {
    /// The name of its table of users.
    pub fn table(&self) -> &str {
        &self.tables().users
    }

    /// The name of its table of claims on email addresses.
    pub fn emails_table(&self) -> &str {
        self.tables().emails.as_deref().unwrap()
    }

    /// The name of its table of idempotency keys.
    pub fn idempotency_table(&self) -> &str {
        &self.tables().idempotency_keys
    }

    /// The name of its table of deleted users.
    pub fn deleted_users_table(&self) -> &str {
        &self.tables().deleted_users
    }

    /// The name of its table of history.
    pub fn history_table(&self) -> &str {
        &self.tables().history
    }

    /// The variables of the Lambda binary that name its tables.
    pub fn table_variables(&self) -> [(&'static str, &str); 5] {
        table_variables(self.tables())
    }

    /// The item with this key in DynamoDB's JSON, or null if there is none.
    pub async fn item(&self, user_id: &str) -> Value {
        self.item_of(Copied::Users, user_id).await
    }

    /// The item of a table of users or deleted users, in the same form.
    pub async fn item_of(&self, table: Copied, user_id: &str) -> Value {
        let output = self
            .dynamodb()
            .get_item()
            .table_name(table.of(self))
            .key("userId", string(user_id))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        output
            .item
            .map_or(Value::Null, |item| json!(Item::from(item)))
    }

    /// Puts an item, in DynamoDB's JSON, into the table of users.
    pub async fn put_item(&self, item: Value) {
        self.put_item_into(Copied::Users, item).await;
    }

    /// Takes an item out of a table of users or deleted users.
    pub async fn remove_item(&self, table: Copied, user_id: &str) {
        let call = self.dynamodb().delete_item().table_name(table.of(self));
        let call = call.key("userId", string(user_id)).send();
        call.await.unwrap();
    }

    /// Puts an item, in DynamoDB's JSON, into a table.
    pub async fn put_item_into(&self, table: Copied, item: Value) {
        self.another_client_writes();
        self.dynamodb()
            .put_item()
            .table_name(table.of(self))
            .set_item(Some(attributes(item)))
            .send()
            .await
            .unwrap();
    }

    /// Puts items, in DynamoDB's JSON, into the table of users. This is fast.
    pub async fn put_items(&self, items: Vec<Value>) {
        self.put_items_into(Copied::Users, items).await;
    }

    /// Puts items, in DynamoDB's JSON, into a table.
    pub async fn put_items_into(&self, table: Copied, items: Vec<Value>) {
        self.another_client_writes();
        for batch in items.chunks(25) {
            let puts = batch.iter().cloned().map(write_request).collect();
            let output = self
                .dynamodb()
                .batch_write_item()
                .request_items(table.of(self), puts)
                .send()
                .await
                .unwrap();
            let left = output.unprocessed_items;
            assert!(left.is_none_or(|left| left.is_empty()));
        }
    }

    /// Sets an attribute of the item with this key to a value in DynamoDB's JSON, as another
    /// client does. Says whether there is such an item.
    pub async fn set_attribute(&self, user_id: &str, name: &str, value: &Value) -> bool {
        self.another_client_writes();
        let value: serde_dynamo::AttributeValue = serde_json::from_value(value.clone()).unwrap();
        let updated = self
            .dynamodb()
            .update_item()
            .table_name(self.table())
            .key("userId", string(user_id))
            .condition_expression("attribute_exists(userId)")
            .update_expression("SET #name = :value")
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":value", value.into())
            .send()
            .await;
        match updated.map_err(SdkError::into_service_error) {
            Ok(_) => true,
            Err(error) if error.is_conditional_check_failed_exception() => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Sets the time at which a deleted user expires to the past, as if it was deleted long ago.
    pub async fn expire_deleted(&self, user_id: &str) {
        self.dynamodb()
            .update_item()
            .table_name(&self.tables().deleted_users)
            .key("userId", string(user_id))
            .update_expression("SET expiresAt = :past")
            .expression_attribute_values(":past", AttributeValue::N(String::from("1")))
            .send()
            .await
            .unwrap();
    }

    /// The number of items in the table of deleted users, with those that have expired.
    pub async fn deleted_items(&self) -> i32 {
        let scan = self
            .dynamodb()
            .scan()
            .table_name(self.deleted_users_table());
        scan.consistent_read(true).send().await.unwrap().count
    }

    /// The items of the table of history, in DynamoDB's JSON.
    pub async fn history_items(&self) -> Vec<Value> {
        let scan = self.dynamodb().scan().table_name(&self.tables().history);
        let items = scan.consistent_read(true).into_paginator().items().send();
        let items = items.try_collect().await.unwrap();
        items
            .into_iter()
            .map(|item| json!(Item::from(item)))
            .collect()
    }

    /// Copies a table, page by page, into the same table of another service. Waits for `next` before
    /// each page.
    pub async fn copy(&self, table: Copied, to: &Self, next: impl AsyncFn()) {
        let mut start = None;
        loop {
            next().await;
            let scan = self.dynamodb().scan().table_name(table.of(self));
            let scan = scan.consistent_read(true).limit(25);
            let page = scan.set_exclusive_start_key(start).send().await.unwrap();
            let items = page.items.unwrap_or_default();
            if !items.is_empty() {
                let puts = items.into_iter().map(put_request).collect();
                let written = to.dynamodb().batch_write_item();
                let written = written.request_items(table.of(to), puts).send();
                let left = written.await.unwrap().unprocessed_items;
                assert!(left.is_none_or(|left| left.is_empty()));
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return;
            }
        }
    }

    /// Copies one item of a table of users or deleted users into the same table of another service.
    /// Says whether there is one.
    pub async fn copy_item(&self, table: Copied, user_id: &str, to: &Self) -> bool {
        let read = self.dynamodb().get_item().table_name(table.of(self));
        let read = read.key("userId", string(user_id)).consistent_read(true);
        let Some(item) = read.send().await.unwrap().item else {
            return false;
        };
        let put = to.dynamodb().put_item().table_name(table.of(to));
        let put = put.condition_expression("attribute_not_exists(userId)");
        put.set_item(Some(item)).send().await.unwrap();
        true
    }

    /// The claims on email addresses: who has which.
    pub async fn claims(&self) -> HashMap<String, String> {
        let claims = self
            .dynamodb()
            .scan()
            .table_name(self.emails_table())
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .unwrap();
        let text =
            |claim: &HashMap<_, AttributeValue>, name: &str| claim[name].as_s().unwrap().to_owned();
        claims
            .iter()
            .map(|claim| (text(claim, "email"), text(claim, "userId")))
            .collect()
    }

    /// Puts in a claim on an email address.
    pub async fn put_claim(&self, email: &str, user_id: &str) {
        self.put_into_claims(json!({ "email": { "S": email }, "userId": { "S": user_id } }))
            .await;
    }

    /// Puts an item into the table of claims that names no user.
    pub async fn put_claim_of_nobody(&self, email: &str) {
        self.put_into_claims(json!({ "email": { "S": email } }))
            .await;
    }

    async fn put_into_claims(&self, item: Value) {
        self.dynamodb()
            .put_item()
            .table_name(self.emails_table())
            .set_item(Some(attributes(item)))
            .send()
            .await
            .unwrap();
    }
}

/// The variables of the Lambda binary that name these tables.
pub(super) fn table_variables(tables: &Tables) -> [(&'static str, &str); 5] {
    [
        ("TABLE_NAME", &tables.users),
        (
            "EMAILS_TABLE_NAME",
            tables.emails.as_deref().unwrap_or_default(),
        ),
        ("IDEMPOTENCY_TABLE_NAME", &tables.idempotency_keys),
        ("DELETED_USERS_TABLE_NAME", &tables.deleted_users),
        ("HISTORY_TABLE_NAME", &tables.history),
    ]
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// The attributes of an item in DynamoDB's JSON.
fn attributes(item: Value) -> HashMap<String, AttributeValue> {
    let item: Item = serde_json::from_value(item).unwrap();
    item.into()
}

fn write_request(item: Value) -> WriteRequest {
    put_request(attributes(item))
}

fn put_request(item: HashMap<String, AttributeValue>) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item));
    WriteRequest::builder()
        .put_request(put.build().unwrap())
        .build()
}
