//! What a client may write of a user, and every rule about it.

use std::collections::BTreeSet;

use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;
use validator::{Validate, ValidationError};

use super::{ATTRIBUTES, Attributes, UserId, rank, visible::is_all_visible};
use crate::{
    error::{Error, FieldError, FieldErrors, Place},
    json::{self, Json, Members},
};

/// Compact JSON of `metadata`, in bytes.
pub(super) const MAX_METADATA_BYTES: usize = 64 * 1024;
/// Containers inside each other in `metadata`, itself included.
const MAX_METADATA_DEPTH: usize = 20;

/// Containers inside each other in an item
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const MAX_STORED_DEPTH: usize = 32;

/// The attributes that a client may write.
const WRITABLE: [&str; 4] = ["name", "email", "phone", "metadata"];

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
        let mut fields = Fields::read(body)?;
        let user_id = fields.user_id(UserId::for_creation);
        Ok((user_id, Self::parse(fields)?))
    }

    /// Reads the body of a `PUT` that creates the user `addressed`. A `userId` in it must
    /// be the same.
    ///
    /// # Errors
    /// As [`UserInput::for_creation`].
    pub fn for_creation_at(body: &[u8], addressed: &UserId) -> Result<Self, Error> {
        let mut fields = Fields::read(body)?;
        fields.addressed(addressed);
        Self::parse(fields)
    }

    pub(super) fn parse(mut fields: Fields<'_>) -> Result<Self, Error> {
        let draft = Draft {
            name: fields.string("name").map(|name| name.trim().to_owned()),
            email: fields.string("email"),
            phone: fields.optional_string("phone"),
        };
        fields.check(&draft);
        let metadata = fields.metadata();
        match (draft.name, draft.email) {
            (Some(name), Some(email)) => {
                fields.finish()?;
                let phone = draft.phone;
                Ok(Self {
                    name,
                    email,
                    phone,
                    metadata,
                })
            }
            // What is not there has been told.
            _ => Err(fields.all_errors()),
        }
    }

    /// Every attribute that a client may write, with its value, or `None` where
    /// the client left it out.
    pub fn into_attributes(self) -> Attributes {
        vec![
            ("name", Some(AttributeValue::S(self.name))),
            ("email", Some(AttributeValue::S(self.email))),
            ("phone", self.phone.map(AttributeValue::S)),
            ("metadata", self.metadata),
        ]
    }
}

/// The strings that a client sends for a user, before the rules.
#[derive(Validate)]
pub(super) struct Draft {
    #[validate(
        length(min = 1, max = 200, message = "must be 1 to 200 characters"),
        custom(function = "no_control_characters"),
        custom(function = "nothing_invisible")
    )]
    pub(super) name: Option<String>,
    #[validate(
        length(max = 254, message = "must be at most 254 characters"),
        email(message = "must be an email address, such as ada@example.com"),
        custom(function = "no_space_or_control_characters")
    )]
    pub(super) email: Option<String>,
    #[validate(custom(function = "e164"))]
    pub(super) phone: Option<String>,
}

fn no_control_characters(text: &str) -> Result<(), ValidationError> {
    rule(
        !text.contains(char::is_control),
        "must not hold control characters",
    )
}

fn nothing_invisible(text: &str) -> Result<(), ValidationError> {
    rule(
        is_all_visible(text),
        "must not hold invisible characters or bidirectional controls",
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

/// The bytes of `metadata` as compact JSON.
pub(super) fn metadata_bytes(metadata: &AttributeValue) -> usize {
    serde_json::to_vec(&Json(metadata)).map_or(0, |json| json.len())
}

/// The members of a body, and what has been found wrong with them.
pub(super) struct Fields<'a> {
    members: Members<'a>,
    /// The names that have been read. Every other member is an error.
    known: BTreeSet<String>,
    errors: FieldErrors,
}

impl<'a> Fields<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Error> {
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
        Ok(Self {
            members,
            known: BTreeSet::new(),
            errors: FieldErrors::default(),
        })
    }

    /// The `userId`, as `parse` takes it.
    fn user_id(
        &mut self,
        parse: impl FnOnce(String) -> Result<UserId, &'static str>,
    ) -> Option<UserId> {
        let user_id = self.optional_string("userId").map(parse)?;
        user_id
            .map_err(|message| self.reject("userId", message))
            .ok()
    }

    /// Takes no `userId` but the one that is `addressed`.
    pub(super) fn addressed(&mut self, addressed: &UserId) {
        self.user_id(|text| {
            (text == addressed.as_str())
                .then(|| addressed.clone())
                .ok_or("must be the userId that the request addresses, or left out")
        });
    }

    /// Every member that a client may not write, as it was sent. Null counts as left out
    /// where the service keeps the attribute.
    pub(super) fn read_only(&mut self) -> Vec<(String, AttributeValue)> {
        let mut read_only = Vec::new();
        for (name, raw) in &self.members.0 {
            if name == "userId" || WRITABLE.contains(&name.as_str()) {
                continue;
            }
            self.known.insert(name.clone());
            if ATTRIBUTES.contains(&name.as_str()) && raw.get() == "null" {
                continue;
            }
            let place = Place::Member(&Place::Body, name);
            let value = json::attribute_value(raw, place, MAX_STORED_DEPTH, &mut self.errors);
            read_only.push((name.clone(), value));
        }
        read_only
    }

    fn reject(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(Place::Member(&Place::Body, name), message);
    }

    fn get(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.known.insert(name.to_owned());
        self.members
            .0
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, raw)| *raw)
    }

    /// Whether the member `name` is there, null or not.
    pub(super) fn has(&mut self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    /// The member `name`; null counts as left out.
    fn optional(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.get(name).filter(|raw| raw.get() != "null")
    }

    fn string(&mut self, name: &'static str) -> Option<String> {
        let text = self
            .get(name)
            .ok_or_else(|| String::from("is required"))
            .and_then(json::string);
        text.map_err(|message| self.reject(name, message)).ok()
    }

    pub(super) fn optional_string(&mut self, name: &'static str) -> Option<String> {
        self.optional(name)?;
        self.string(name)
    }

    /// The string `name`, which may be left out, and not be null.
    pub(super) fn present_string(&mut self, name: &'static str) -> Option<String> {
        let raw = self.get(name)?;
        if raw.get() == "null" {
            self.reject(name, "is required");
            return None;
        }
        self.string(name)
    }

    pub(super) fn metadata(&mut self) -> Option<AttributeValue> {
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
        if metadata_bytes(&metadata) > MAX_METADATA_BYTES {
            self.reject("metadata", "must be at most 64 KiB of JSON");
        }
        Some(metadata)
    }

    /// Adds what `draft` breaks, in the order of the fields.
    pub(super) fn check(&mut self, draft: &Draft) {
        let Err(broken) = draft.validate() else {
            return;
        };
        let mut broken: Vec<_> = broken.field_errors().into_iter().collect();
        broken.sort_by_key(|(name, _)| rank(name));
        for (name, errors) in broken {
            for error in errors {
                self.reject(&name, error.to_string());
            }
        }
    }

    /// Ends the reading: every name has been asked for.
    ///
    /// # Errors
    /// [`Error::InvalidUser`] with all that was found wrong.
    pub(super) fn finish(self) -> Result<(), Error> {
        let errors = self.all();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors.into())
        }
    }

    fn all_errors(self) -> Error {
        self.all().into()
    }

    fn all(mut self) -> FieldErrors {
        self.check_names();
        self.errors
    }

    /// Adds the names that are given twice, and those that no user has.
    fn check_names(&mut self) {
        let (names, repeated) = self.members.names();
        for name in repeated {
            let place = Place::Member(&Place::Body, name);
            self.errors.push(place, "is given more than once");
        }
        for name in names.into_iter().filter(|name| !self.known.contains(*name)) {
            let message = if ATTRIBUTES.contains(&name) {
                "is kept by the service; leave it out"
            } else {
                "is not a field of a user; leave it out"
            };
            self.errors.push(Place::Member(&Place::Body, name), message);
        }
    }
}
