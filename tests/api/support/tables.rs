//! The tables of a service, as other clients of DynamoDB read and write them.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use serde_dynamo::Item;
use serde_json::{Value, json};

use user_service::store::Tables;

use super::Service;

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
        let output = self
            .dynamodb()
            .get_item()
            .table_name(self.table())
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
        self.dynamodb()
            .put_item()
            .table_name(self.table())
            .set_item(Some(attributes(item)))
            .send()
            .await
            .unwrap();
    }

    /// Puts items, in DynamoDB's JSON, into the table of users. This is fast.
    pub async fn put_items(&self, items: Vec<Value>) {
        for batch in items.chunks(25) {
            let puts = batch.iter().cloned().map(write_request).collect();
            let output = self
                .dynamodb()
                .batch_write_item()
                .request_items(self.table(), puts)
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
    let put = PutRequest::builder().set_item(Some(attributes(item)));
    WriteRequest::builder()
        .put_request(put.build().unwrap())
        .build()
}
