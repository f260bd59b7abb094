//! Idempotency records: what is kept of a creation under a key.
//!
//! A record is written in the transaction that creates the user, so one never exists without the
//! other. Records expire, so they have a table of their own.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_dynamo::{Item, from_item, to_item};

use super::Error;
use crate::user::Timestamp;

/// For how many seconds a key is remembered: two days, so that a retry after one day finds it.
pub const LIFETIME: u64 = 2 * 24 * 60 * 60;

/// An item of the table of idempotency keys. It holds only what is needed to make the same answer
/// again, and hashes of the rest. The only user data in it is the `userId`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyRecord {
    /// The partition key: a hash of the caller and its key.
    pub idempotency_key: String,
    /// A hash of the request.
    pub fingerprint: String,
    /// The user that was created.
    pub user_id: String,
    /// The time of the creation.
    pub created_at: String,
    /// In seconds since 1970, as DynamoDB's time to live counts them.
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
