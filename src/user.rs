//! A user: how it is named, what is stored of it, and ([`UserInput`]) what a
//! client may write.

mod email;
mod input;
mod patch;

use std::{collections::HashMap, fmt};

use lambda_http::http::HeaderValue;
use serde::{Serialize, Serializer};
use serde_dynamo::{AttributeValue, Item};
use time::{
    Duration, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description,
};
use uuid::Uuid;

pub use self::{email::EmailKey, input::UserInput, patch::UserPatch};
use crate::{error::Error, json::Json};

/// The attributes the service knows, in the order in which an answer shows them.
const ATTRIBUTES: &[&str] = &[
    "userId",
    "name",
    "email",
    "phone",
    "metadata",
    "version",
    "createdAt",
    "updatedAt",
];

/// Where the attribute `name` stands among them; those it does not know come last.
fn rank(name: &str) -> usize {
    let known = ATTRIBUTES.iter().position(|known| *known == name);
    known.unwrap_or(ATTRIBUTES.len())
}

/// A partition key of DynamoDB, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html>).
pub const MAX_KEY_BYTES: usize = 2048;

/// Names a user: any partition key that DynamoDB can hold and a path can carry,
/// 1 to 2,048 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId(String);

impl UserId {
    /// A `userId` to look a user up by. What is stored may have been put there
    /// by others, so this takes more than [`UserId::for_creation`].
    ///
    /// # Errors
    /// What to change, as a phrase that follows the field's name.
    pub fn for_lookup(text: String) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("must not be empty")
        } else if text.len() > MAX_KEY_BYTES {
            Err("must be at most 2,048 bytes")
        } else if text.chars().any(char::is_control) {
            Err("must not hold control characters")
        } else {
            Ok(Self(text))
        }
    }

    /// A `userId` for a new user: 1 to 128 of the characters that a URI never
    /// escapes (`unreserved`, RFC 3986 section 2.3).
    ///
    /// # Errors
    /// What to change, as a phrase that follows the field's name.
    pub fn for_creation(text: String) -> Result<Self, &'static str> {
        let unreserved = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        if (1..=128).contains(&text.len()) && text.chars().all(unreserved) {
            Ok(Self(text))
        } else {
            Err("must be 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
        }
    }

    /// A random one (a version 4 UUID, RFC 9562).
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Attributes that a client may write, with their values, or `None` where a write
/// removes one.
pub type Attributes = Vec<(&'static str, Option<AttributeValue>)>;

/// What a write makes of a user that is there.
#[derive(Clone, Debug)]
pub enum Change {
    /// `PUT`: all that a client may write.
    Replacement(UserInput),
    /// `PATCH`: what a client names.
    Patch(UserPatch),
}

impl Change {
    /// The email address that the user is to have; `None` where it stays as it is.
    pub fn email(&self) -> Option<&str> {
        match self {
            Self::Replacement(input) => Some(input.email()),
            Self::Patch(patch) => patch.email(),
        }
    }

    /// What to write whatever is stored; `None` where that has to be known first.
    pub fn unconditional(&self) -> Option<Attributes> {
        match self {
            Self::Replacement(input) => Some(input.clone().into_attributes()),
            Self::Patch(patch) => patch.unconditional(),
        }
    }

    /// What the attributes of `stored` become.
    ///
    /// # Errors
    /// [`Error::InvalidUser`] where they would break a rule.
    pub fn attributes(&self, stored: &User) -> Result<Attributes, Error> {
        match self {
            Self::Replacement(input) => Ok(input.clone().into_attributes()),
            Self::Patch(patch) => patch.attributes(stored),
        }
    }
}

/// Counts the writes of a user: 1 when created, one more with each write.
/// An item that this service has not written has version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(pub u64);

impl Version {
    /// The version that a user is created with.
    pub const FIRST: Self = Self(1);

    /// The next one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As an entity-tag (RFC 9110 section 8.8.3).
    pub fn etag(self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.0))
            .expect("digits and quotes are visible ASCII")
    }
}

/// A moment, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

impl From<std::time::SystemTime> for Timestamp {
    fn from(moment: std::time::SystemTime) -> Self {
        Self(moment.into())
    }
}

impl Timestamp {
    /// In seconds since 1970, as DynamoDB's time to live counts them.
    pub fn unix_seconds(self) -> u64 {
        self.0.unix_timestamp().try_into().unwrap_or_default()
    }

    /// The next millisecond.
    pub fn next(self) -> Self {
        Self(self.0 + Duration::MILLISECOND)
    }
}

/// RFC 3339, in UTC, with milliseconds: `2026-01-31T09:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RFC_3339_MILLISECONDS: &[BorrowedFormatItem<'_>] = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let text = self
            .0
            .format(RFC_3339_MILLISECONDS)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// A user as it is stored: an item of the table, whoever wrote it and whatever
/// is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct User(Item);

impl From<Item> for User {
    fn from(item: Item) -> Self {
        Self(item)
    }
}

impl From<User> for Item {
    fn from(user: User) -> Self {
        user.0
    }
}

impl User {
    /// A user that `input` describes, at its first version.
    pub fn new(user_id: &UserId, input: UserInput, now: Timestamp) -> Self {
        let kept_by_the_service = [
            ("userId", AttributeValue::S(user_id.as_str().to_owned())),
            ("version", AttributeValue::N(Version::FIRST.0.to_string())),
            ("createdAt", AttributeValue::S(now.to_string())),
            ("updatedAt", AttributeValue::S(now.to_string())),
        ];
        let written = input.into_attributes().into_iter();
        let written = written.filter_map(|(name, value)| Some((name, value?)));
        let attributes = written.chain(kept_by_the_service);
        let item: HashMap<_, _> = attributes
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self(item.into())
    }

    /// The same user, created before: with the `userId` and the time it got then.
    pub fn created_as(mut self, user_id: &str, created_at: &str) -> Self {
        for (name, text) in [
            ("userId", user_id),
            ("createdAt", created_at),
            ("updatedAt", created_at),
        ] {
            let text = AttributeValue::S(text.to_owned());
            self.0.inner_mut().insert(name.to_owned(), text);
        }
        self
    }

    /// Its `userId`, empty if the item has none (no item of the table can).
    pub fn user_id(&self) -> &str {
        self.text("userId").unwrap_or_default()
    }

    /// Its version: 0 where the item's `version` is no whole number.
    pub fn version(&self) -> Version {
        let version = self.0.get("version").cloned();
        Version(
            version
                .and_then(|value| serde_dynamo::from_attribute_value(value).ok())
                .unwrap_or(0),
        )
    }

    /// The same user after a write of `attributes`.
    pub fn changed(mut self, attributes: Attributes, version: Version, now: Timestamp) -> Self {
        let kept_by_the_service = [
            ("version", Some(AttributeValue::N(version.0.to_string()))),
            ("updatedAt", Some(AttributeValue::S(now.to_string()))),
        ];
        for (name, value) in attributes.into_iter().chain(kept_by_the_service) {
            match value {
                Some(value) => self.0.inner_mut().insert(name.to_owned(), value),
                None => self.0.inner_mut().remove(name),
            };
        }
        self
    }

    /// Whether the last write of it was that of `change` at the time `now`.
    pub fn was_written(&self, change: &Change, now: Timestamp) -> bool {
        self.text("updatedAt") == Some(&now.to_string())
            && change.attributes(self).is_ok_and(|attributes| {
                attributes
                    .iter()
                    .all(|(name, value)| self.attribute(name) == value.as_ref())
            })
    }

    /// The attribute `name`, as it is stored.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    /// The attribute `name`, where it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        }
    }
}

/// The whole item as a JSON object: first what the service knows, then the rest
/// in the order of the names.
impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(name, _)| (rank(name), *name));
        serializer.collect_map(entries.into_iter().map(|(name, value)| (name, Json(value))))
    }
}
