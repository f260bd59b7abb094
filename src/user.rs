//! A user: how it is named, what a client may write, what is stored, and every
//! rule about it.

use std::{collections::HashMap, fmt};

use lambda_http::http::HeaderValue;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_dynamo::{AttributeValue, Item};
use serde_json::value::RawValue;
use time::{
    Duration, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description,
};
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::{
    error::{Error, FieldError, FieldErrors, Place},
    json::{self, Json, Members},
};

/// The attributes the service knows, in the order in which an answer shows them.
const ATTRIBUTES: [&str; 8] = [
    "userId",
    "name",
    "email",
    "phone",
    "metadata",
    "version",
    "createdAt",
    "updatedAt",
];
/// A partition key of DynamoDB, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html>).
pub const MAX_KEY_BYTES: usize = 2048;
/// Compact JSON of `metadata`, in bytes.
const MAX_METADATA_BYTES: usize = 64 * 1024;
/// Containers inside each other in `metadata`, itself included.
const MAX_METADATA_DEPTH: usize = 20;

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

/// Counts the writes of a user: 1 when created, one more with each replacement.
/// An item that this service has not written has version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(pub u64);

impl Version {
    /// The version that a user is created with.
    pub const FIRST: Self = Self(1);

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

    /// Whether the last write of it was that of `input` at the time `now`.
    pub fn was_written(&self, input: &UserInput, now: Timestamp) -> bool {
        let mut written = input.clone().into_attributes().into_iter();
        self.text("updatedAt") == Some(&now.to_string())
            && written.all(|(name, value)| self.attribute(name) == value.as_ref())
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
        entries.sort_by_key(|(name, _)| {
            let rank = ATTRIBUTES.iter().position(|known| known == name);
            (rank.unwrap_or(ATTRIBUTES.len()), *name)
        });
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        json::serialize_entries(&mut map, entries)?;
        map.end()
    }
}

/// What a client may write of a user. It exists only where every rule holds.
#[derive(Clone, Debug)]
pub struct UserInput {
    name: String,
    email: String,
    phone: Option<String>,
    metadata: Option<AttributeValue>,
}

impl UserInput {
    /// Reads the body of a `POST`: the `userId` it asks for, if any, and the user.
    ///
    /// # Errors
    /// [`Error::MalformedJson`], or [`Error::InvalidUser`] with all that is wrong.
    pub fn for_creation(body: &[u8]) -> Result<(Option<UserId>, Self), Error> {
        Self::parse(body, UserId::for_creation)
    }

    /// Reads the body of a `PUT` to the user `addressed`. A `userId` in it must
    /// be the same.
    ///
    /// # Errors
    /// As [`UserInput::for_creation`].
    pub fn for_replacement(body: &[u8], addressed: &UserId) -> Result<Self, Error> {
        let (_, input) = Self::parse(body, |text| {
            (text == addressed.as_str())
                .then(|| addressed.clone())
                .ok_or("must be the userId that the request addresses, or left out")
        })?;
        Ok(input)
    }

    fn parse(
        body: &[u8],
        user_id: impl FnOnce(String) -> Result<UserId, &'static str>,
    ) -> Result<(Option<UserId>, Self), Error> {
        let mut fields = Fields::read(body)?;
        let user_id = fields.optional_string("userId").and_then(|text| {
            user_id(text)
                .map_err(|message| fields.reject("userId", message))
                .ok()
        });
        let draft = Draft {
            name: fields.string("name").map(|name| name.trim().to_owned()),
            email: fields.string("email"),
            phone: fields.optional_string("phone"),
        };
        let metadata = fields.metadata();
        fields.check(&draft);
        match (draft.name, draft.email) {
            (Some(name), Some(email)) if fields.errors.is_empty() => {
                let phone = draft.phone;
                let input = Self {
                    name,
                    email,
                    phone,
                    metadata,
                };
                Ok((user_id, input))
            }
            _ => Err(fields.errors.into()),
        }
    }

    /// Every attribute that a client may write, with its value, or `None` where
    /// the client left it out.
    pub fn into_attributes(self) -> [(&'static str, Option<AttributeValue>); 4] {
        [
            ("name", Some(AttributeValue::S(self.name))),
            ("email", Some(AttributeValue::S(self.email))),
            ("phone", self.phone.map(AttributeValue::S)),
            ("metadata", self.metadata),
        ]
    }
}

/// The strings that a client sends for a user, before the rules.
#[derive(Validate)]
struct Draft {
    #[validate(
        length(min = 1, max = 200, message = "must be 1 to 200 characters"),
        custom(function = "no_control_characters")
    )]
    name: Option<String>,
    #[validate(
        length(max = 254, message = "must be at most 254 characters"),
        email(message = "must be an email address, such as ada@example.com"),
        custom(function = "no_space_or_control_characters")
    )]
    email: Option<String>,
    #[validate(custom(function = "e164"))]
    phone: Option<String>,
}

fn no_control_characters(text: &str) -> Result<(), ValidationError> {
    rule(
        !text.contains(char::is_control),
        "must not hold control characters",
    )
}

// `email` lets anything stand before a domain in brackets: `a@\n[127.0.0.1]`.
fn no_space_or_control_characters(text: &str) -> Result<(), ValidationError> {
    let forbidden = |c: char| c.is_control() || c.is_whitespace();
    rule(
        !text.contains(forbidden),
        "must not hold spaces or control characters",
    )
}

/// The international form of ITU-T E.164: a plus and at most 15 digits.
fn e164(text: &str) -> Result<(), ValidationError> {
    let number = text.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && !digits.starts_with('0')
    });
    rule(
        number,
        "must be a phone number in E.164 form, such as +14155550123",
    )
}

fn rule(holds: bool, message: &'static str) -> Result<(), ValidationError> {
    if holds {
        Ok(())
    } else {
        Err(ValidationError::new("rule").with_message(message.into()))
    }
}

/// The members of a body, and what has been found wrong with them.
struct Fields<'a> {
    members: Members<'a>,
    errors: FieldErrors,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Error> {
        let malformed = |message: &str| Error::MalformedJson(message.to_owned());
        if body.starts_with(b"\xEF\xBB\xBF") {
            return Err(malformed(
                "it begins with a byte-order mark; send UTF-8 without one",
            ));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            Error::MalformedJson(format!(
                "it is not UTF-8 from byte {} on",
                error.valid_up_to()
            ))
        })?;
        if text.trim_ascii().is_empty() {
            return Err(malformed("it is empty; send a JSON object"));
        }
        let syntax = |error: serde_json::Error| Error::MalformedJson(error.to_string());
        let body: &RawValue = serde_json::from_str(text).map_err(syntax)?;
        if !body.get().starts_with('{') {
            let message = format!("must be an object, not {}", json::kind(body));
            return Err(Error::InvalidUser(vec![FieldError::new("", message)]));
        }
        let members: Members<'_> = serde_json::from_str(body.get()).map_err(syntax)?;
        let mut errors = FieldErrors::default();
        let (names, repeated) = members.names();
        for name in repeated {
            errors.push(Place::Member(&Place::Body, name), "is given more than once");
        }
        for name in names {
            let message = match name {
                "userId" | "name" | "email" | "phone" | "metadata" => continue,
                "version" | "createdAt" | "updatedAt" => "is kept by the service; leave it out",
                _ => "is not a field of a user; leave it out",
            };
            errors.push(Place::Member(&Place::Body, name), message);
        }
        Ok(Self { members, errors })
    }

    fn reject(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(Place::Member(&Place::Body, name), message);
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members
            .0
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, raw)| *raw)
    }

    /// The member `name`; null counts as left out.
    fn optional(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|raw| raw.get() != "null")
    }

    fn string(&mut self, name: &str) -> Option<String> {
        let text = self
            .get(name)
            .ok_or_else(|| String::from("is required"))
            .and_then(json::string);
        text.map_err(|message| self.reject(name, message)).ok()
    }

    fn optional_string(&mut self, name: &str) -> Option<String> {
        self.optional(name)?;
        self.string(name)
    }

    fn metadata(&mut self) -> Option<AttributeValue> {
        let raw = self.optional("metadata")?;
        if !raw.get().starts_with('{') {
            self.reject(
                "metadata",
                format!("must be an object, not {}", json::kind(raw)),
            );
            return None;
        }
        let metadata = json::attribute_value(
            raw,
            Place::Member(&Place::Body, "metadata"),
            MAX_METADATA_DEPTH,
            &mut self.errors,
        );
        let bytes = serde_json::to_vec(&Json(&metadata)).map_or(0, |json| json.len());
        if bytes > MAX_METADATA_BYTES {
            self.reject("metadata", "must be at most 64 KiB of JSON");
        }
        Some(metadata)
    }

    /// Adds what `draft` breaks, in the order of the fields.
    fn check(&mut self, draft: &Draft) {
        let Err(broken) = draft.validate() else {
            return;
        };
        let broken = broken.field_errors();
        for name in ATTRIBUTES {
            for error in broken.get(name).into_iter().copied().flatten() {
                self.reject(name, error.to_string());
            }
        }
    }
}
