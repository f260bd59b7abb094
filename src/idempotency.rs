//! Safe retries: a `POST` that comes again under its `Idempotency-Key` is answered as it
//! was the first time (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
//!
//! A record of each key stands in a table of its own, written in the transaction that
//! creates the user, so that neither is ever there without the other. (An id made from
//! the key would need no table, and would forget the first request with the first change
//! of its user.) The record holds what the same answer cannot be made from the same body
//! without, and hashes of the rest: nothing of a user but the `userId`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lambda_http::http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    json::Json,
    user::{Timestamp, User, UserId, UserInput},
};

/// For how many seconds a key is remembered: two days, so that a retry after one finds it.
pub const LIFETIME: u64 = 2 * 24 * 60 * 60;

const HEADER: &str = "Idempotency-Key";
const MAX_KEY_LENGTH: usize = 255;

/// What a client calls one creation of a user: 1 to 255 visible ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey<'a>(&'a str);

impl<'a> IdempotencyKey<'a> {
    /// Reads the header field, which may stand there once.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`].
    pub fn read(headers: &'a HeaderMap) -> Result<Option<Self>, Error> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let invalid = |message| Error::InvalidHeader {
            name: HEADER,
            message,
        };
        if values.next().is_some() {
            return Err(invalid("is given more than once"));
        }
        let text = value.to_str().unwrap_or_default();
        if !(1..=MAX_KEY_LENGTH).contains(&text.len())
            || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(invalid("must be 1 to 255 visible ASCII characters"));
        }
        Ok(Some(Self(text)))
    }
}

/// A creation of a user under a key of its caller.
#[derive(Clone, Debug)]
pub struct KeyedCreation {
    key: String,
    fingerprint: String,
    now: Timestamp,
}

impl KeyedCreation {
    /// The creation that `caller` calls `key` and that asks for the user `input`, with the
    /// `userId` that is `asked` for, if any. Keys of different callers never meet.
    pub fn new(
        caller: &str,
        key: IdempotencyKey<'_>,
        asked: Option<&UserId>,
        input: &UserInput,
        now: Timestamp,
    ) -> Self {
        // A change of what stands here, or of its order, makes a retry that comes during the
        // deployment of it another request.
        let attributes = input.clone().into_attributes();
        let given = attributes
            .iter()
            .filter_map(|(name, value)| Some((name, Json(value.as_ref()?))));
        let given: Vec<_> = given.collect();
        let asked = asked.map(UserId::as_str);
        Self {
            key: hash(&(caller, key.0)),
            // With the key in it, which is random, it tells nothing of the body.
            fingerprint: hash(&(caller, key.0, asked, given)),
            now,
        }
    }

    /// When it takes place, in seconds since 1970: records that end before are forgotten.
    pub fn unix_seconds(&self) -> u64 {
        self.now.unix_seconds()
    }

    /// What is recorded when it creates `user`.
    pub fn record(&self, user: &User) -> Record {
        Record {
            idempotency_key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            user_id: user.user_id().to_owned(),
            created_at: self.now.to_string(),
            expires_at: self.unix_seconds() + LIFETIME,
        }
    }

    /// The user as the creation of `record` left it, where that asked for the same as this
    /// one, which would create `user`.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] where it asked for another.
    pub fn repeated(&self, user: User, record: &Record) -> Result<User, Error> {
        if record.fingerprint != self.fingerprint {
            return Err(Error::IdempotencyKeyReused);
        }
        Ok(user.created_as(&record.user_id, &record.created_at))
    }
}

/// What is kept of a creation under a key: an item of the table of keys.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The partition key: a hash of the caller and its key.
    idempotency_key: String,
    /// A hash of what was asked for.
    fingerprint: String,
    user_id: String,
    created_at: String,
    /// In seconds since 1970, as DynamoDB's time to live wants it.
    expires_at: u64,
}

fn hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("strings, and numbers for DynamoDB");
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(json))
}
