//! A user: how it is named, what is stored of it, and ([`UserInput`]) what a
//! client may write.

mod email;
mod input;
mod patch;
mod replacement;
mod visible;

use std::{collections::HashMap, fmt};

use serde::{Serialize, Serializer};
use serde_dynamo::{AttributeValue, Item};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use uuid::Uuid;

pub use self::{email::EmailKey, input::UserInput, patch::UserPatch, replacement::Replacement};
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
    Replacement(Replacement),
    /// `PATCH`: what a client names.
    Patch(UserPatch),
}

impl Change {
    /// What it makes of `stored` at the time `now`.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], and [`Error::InvalidUser`] where the body changes what a
    /// client may not, or the user would break a rule then.
    pub fn apply(&self, stored: &User, now: Timestamp) -> Result<User, Error> {
        let attributes = match self {
            Self::Replacement(replacement) => replacement.attributes(stored)?,
            Self::Patch(patch) => patch.attributes(stored)?,
        };
        Ok(stored.clone().changed(attributes, now))
    }
}

/// Counts the writes of a user: 1 when created, one more with each write. It is at most
/// 2^53 - 1, which every JSON parser keeps (RFC 8259 section 6); the count begins again
/// after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(u64);

impl Version {
    /// That of an item which this service has not written.
    pub const NONE: Self = Self(0);
    /// The version that a user is created with.
    pub const FIRST: Self = Self(1);
    /// The last one.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The version of an item whose `version` is the number `text`: none where that is no
    /// version of this service.
    fn read(text: &str) -> Self {
        let version = text.parse().map(Self).unwrap_or_default();
        if version.0 <= Self::MAX.0 {
            version
        } else {
            Self::NONE
        }
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The next one.
    pub fn next(self) -> Self {
        if self == Self::MAX {
            Self::FIRST
        } else {
            Self(self.0 + 1)
        }
    }
}

/// A moment, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

/// What is finer than a millisecond is cut off.
impl From<std::time::SystemTime> for Timestamp {
    fn from(moment: std::time::SystemTime) -> Self {
        Self(OffsetDateTime::from(moment).truncate_to_millisecond())
    }
}

impl Timestamp {
    /// In seconds since 1970, as DynamoDB's time to live counts them.
    pub fn unix_seconds(self) -> u64 {
        self.0.unix_timestamp().try_into().unwrap_or_default()
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
            (
                "version",
                AttributeValue::N(Version::FIRST.get().to_string()),
            ),
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

    /// Its version: none where the item's `version` is not one of this service.
    pub fn version(&self) -> Version {
        match self.0.get("version") {
            Some(AttributeValue::N(number)) => Version::read(number),
            Some(_) | None => Version::NONE,
        }
    }

    /// The same user after a write of `attributes`.
    fn changed(mut self, attributes: Attributes, now: Timestamp) -> Self {
        let version = self.version().next();
        let kept_by_the_service = [
            (
                "version",
                Some(AttributeValue::N(version.get().to_string())),
            ),
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

    /// All of its attributes: first those that the service knows, then the rest in the
    /// order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        let mut attributes: Vec<_> = self.0.iter().collect();
        attributes.sort_unstable_by_key(|(name, _)| (rank(name), *name));
        attributes
            .into_iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Those of its attributes that the service knows.
    pub fn known(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        let known = ATTRIBUTES.iter();
        known.filter_map(|name| Some((*name, self.attribute(name)?)))
    }

    /// The names of the attributes that the service knows and this user has not.
    pub fn absent(&self) -> impl Iterator<Item = &'static str> {
        let known = ATTRIBUTES.iter().copied();
        known.filter(|name| self.attribute(name).is_none())
    }

    /// The user as JSON: its representation, as `GET` answers it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("string keys, and numbers from DynamoDB")
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

/// The whole item as a JSON object, in the order of [`User::attributes`].
impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self.attributes();
        serializer.collect_map(members.map(|(name, value)| (name, Json(value))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_timestamp_keeps_milliseconds_and_nothing_finer() {
        let moment = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let (coarse, fine) = (moment(1_000_000), moment(1_999_999));
        assert_eq!(Timestamp::from(fine), Timestamp::from(coarse));
        assert_eq!(
            Timestamp::from(fine).to_string(),
            "1970-01-01T00:00:00.001Z"
        );
    }

    #[test]
    fn a_version_is_a_whole_number_that_json_keeps_and_begins_again_after_the_last() {
        for (number, version) in [
            ("0", 0),
            ("1", 1),
            ("9007199254740991", 9_007_199_254_740_991),
            ("9007199254740992", 0),
            ("18446744073709551615", 0),
            ("99999999999999999999999999999999999999", 0),
            ("1.5", 0),
            ("-1", 0),
        ] {
            assert_eq!(Version::read(number), Version(version), "{number}");
        }
        assert_eq!(Version::NONE.next(), Version::FIRST);
        assert_eq!(Version::MAX.next(), Version::FIRST);
    }
}
