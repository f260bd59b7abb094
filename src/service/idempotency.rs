//! Safe retries: a repeated creation with the same idempotency key gets the first response again
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Caller;
use crate::{
    store::IdempotencyRecord,
    user::{Timestamp, User, UserId, UserInput, json::Json},
};

const MAX_KEY_LENGTH: usize = 255;

/// The idempotency key that a client chooses for one creation: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads a key. `None` if `text` is not a valid key.
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = (1..=MAX_KEY_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| Self(text.to_owned()))
    }
}

/// A creation with an idempotency key. Different callers can use the same key without conflict.
#[derive(Clone, Debug)]
pub(super) struct KeyedCreation {
    key: String,
    fingerprint: String,
}

impl KeyedCreation {
    /// The creation of the user `input`, with the `userId` that the caller `asked` for, if any.
    ///
    /// The fingerprint of a request must be the same in all versions of the service. If not,
    /// a retry during a deployment would count as another request. The fingerprint has the fields
    /// in the order of their names.
    pub(super) fn new(
        caller: &Caller,
        key: &IdempotencyKey,
        asked: Option<&UserId>,
        input: &UserInput,
    ) -> Self {
        let caller = caller.name();
        let fields = input.fields().iter();
        let fields: Vec<_> = fields.map(|(name, value)| (name, Json(value))).collect();
        let asked = asked.map(UserId::as_str);
        Self {
            key: hash(&(&caller, &key.0)),
            // The hash includes the random key, so it reveals nothing about the body.
            fingerprint: hash(&(&caller, &key.0, asked, fields)),
        }
    }

    /// The record of this creation, if it creates `user`.
    pub(super) fn record(&self, user: &User, now: Timestamp) -> IdempotencyRecord {
        let (key, fingerprint) = (self.key.clone(), self.fingerprint.clone());
        IdempotencyRecord::new(key, fingerprint, user.user_id(), now)
    }

    /// The user as the creation of `record` stored it. `None` if `record` is of another request.
    /// `user` is the user that this creation would store.
    pub(super) fn repeated(&self, user: User, record: &IdempotencyRecord) -> Option<User> {
        (record.fingerprint == self.fingerprint)
            .then(|| user.created_as(&record.user_id, &record.created_at))
    }
}

fn hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("strings, and numbers for DynamoDB");
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(json))
}
