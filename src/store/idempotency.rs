//! Idempotency records. A record stores the data of a creation with an idempotency key.
//!
//! One transaction writes the record and the user, so a creation never stores only one of them.
//! Records expire, so they have their own table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_dynamo::{Item, from_item, to_item};

use super::Error;
use crate::user::Timestamp;

/// The lifetime of a record, in seconds. It is two days, so that a retry after one day finds the
/// record.
pub const LIFETIME: u64 = 2 * 24 * 60 * 60;

/// An item of the table of idempotency keys. The record has the values that a retry cannot derive
/// from its own request, and hashes. Its only user data is the `userId`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyRecord {
    /// The partition key: a hash of the caller and the caller's idempotency key.
    pub idempotency_key: String,
    /// A hash of the request.
    pub fingerprint: String,
    /// The `userId` of the user that was created.
    pub user_id: String,
    /// The time of the creation.
    pub created_at: String,
    /// The Unix time in seconds at which the record expires. DynamoDB's Time to Live (TTL) uses it.
    expires_at: u64,
}

impl IdempotencyRecord {
    /// The record of a creation at the time `now`.
    pub fn new(
        idempotency_key: String,
        fingerprint: String,
        user_id: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            idempotency_key,
            fingerprint,
            user_id: user_id.to_owned(),
            created_at: now.to_string(),
            expires_at: now.unix_seconds() + LIFETIME,
        }
    }

    /// The time of the creation, in seconds since 1970.
    pub(super) fn created_at_seconds(&self) -> u64 {
        self.expires_at - LIFETIME
    }

    pub(super) fn to_item(&self) -> HashMap<String, AttributeValue> {
        to_item(self).expect("a record is strings and a number")
    }

    pub(super) fn from_item(item: Item) -> Result<Self, Error> {
        from_item(item).map_err(|error| {
            Error::Failed(format!("the idempotency record cannot be read: {error}"))
        })
    }
}
