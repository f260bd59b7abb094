//! The fields of a user in a request body.

use std::collections::BTreeSet;

use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::{
    Field, FieldErrors, Fields, Place, Presence, UserId, View,
    fields::{self as rules, Rule, Source},
    json::{self, Members},
};

/// The maximum number of nested containers in an item
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const MAX_STORED_DEPTH: usize = 32;

/// All fields of a user that clients write. The values keep their rules.
#[derive(Clone, Debug)]
pub struct UserInput(Fields);

impl UserInput {
    /// Reads a new user, and the `userId` that the client asks for, if any.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn for_creation(
        members: Members<'_>,
        view: View,
    ) -> Result<(Option<UserId>, Self), FieldErrors> {
        let mut reader = Reader::new(members, view);
        let user_id = reader.user_id(UserId::for_creation);
        Ok((user_id, Self::read(reader)?))
    }

    /// Reads the new user `addressed`. A `userId` in the body must be the same.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn for_creation_at(
        members: Members<'_>,
        addressed: &UserId,
        view: View,
    ) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members, view);
        reader.addressed(addressed);
        Self::read(reader)
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, FieldErrors> {
        let mut fields = Fields::default();
        for (name, presence, rule) in Field::of_clients(reader.view) {
            if reader.read.contains(name) {
                continue; // it is a retained field of a replacement
            }
            let value = match (presence, reader.member(name)) {
                (Presence::Required, None) => {
                    reader.errors.push_field(name, "is required");
                    None
                }
                (Presence::Optional | Presence::Retained, None) => None,
                (Presence::Optional | Presence::Retained, Some(raw)) if is_null(raw) => None,
                (Presence::Required | Presence::Optional | Presence::Retained, Some(raw)) => {
                    reader.read(name, rule, raw)
                }
            };
            fields.0.extend(value.map(|value| (name, value)));
        }
        reader.finish(Self(fields))
    }

    /// The fields and their values.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// The fields and their values.
    pub fn into_fields(self) -> Fields {
        self.0
    }
}

/// Whether a value is null.
pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// The members of a body, and the errors found in them.
pub(super) struct Reader<'a> {
    members: Members<'a>,
    view: View,
    /// The names that have been read. Every other member is an error.
    read: BTreeSet<String>,
    pub(super) errors: FieldErrors,
}

impl<'a> Reader<'a> {
    pub(super) fn new(members: Members<'a>, view: View) -> Self {
        Self {
            members,
            view,
            read: BTreeSet::new(),
            errors: FieldErrors::default(),
        }
    }

    /// The member `name`. Marks the name as read.
    pub(super) fn member(&mut self, name: &str) -> Option<&'a RawValue> {
        self.read.insert(name.to_owned());
        self.members.get(name)
    }

    /// Reads the value of the field `name` by its rule.
    pub(super) fn read(
        &mut self,
        name: &str,
        rule: &Rule,
        raw: &RawValue,
    ) -> Option<AttributeValue> {
        rule.read(name, raw, &mut self.errors)
    }

    /// The `userId` in the body, if `parse` accepts it. Null counts as left out.
    fn user_id(
        &mut self,
        parse: impl FnOnce(String) -> Result<UserId, &'static str>,
    ) -> Option<UserId> {
        let raw = self.member("userId").filter(|raw| !is_null(raw))?;
        let text = rules::string("userId", raw, &mut self.errors)?;
        parse(text)
            .map_err(|message| self.errors.push_field("userId", message))
            .ok()
    }

    /// Checks that the `userId` in the body, if any, is `addressed`.
    pub(super) fn addressed(&mut self, addressed: &UserId) {
        self.user_id(|text| {
            (text == addressed.as_str())
                .then(|| addressed.clone())
                .ok_or("must be the userId that the request addresses, or left out")
        });
    }

    /// All members that the client may not write, with the values that it sent. `userId` is not
    /// among them. Null counts as left out if the client sees such a field.
    pub(super) fn read_only(&mut self) -> Vec<(String, AttributeValue)> {
        let mut read_only = Vec::new();
        for (name, raw) in &self.members.0 {
            let field = Field::seen(name, self.view);
            if name == "userId" || field.is_some_and(|field| field.is_written(self.view)) {
                continue;
            }
            self.read.insert(name.to_string());
            if field.is_none() || !is_null(raw) {
                let value = stored_value(name, raw, &mut self.errors);
                read_only.push((name.to_string(), value));
            }
        }
        read_only
    }

    /// The fields that a `PUT` may leave out without changing them, as far as the client sent them.
    pub(super) fn retained(&mut self) -> Vec<Retained> {
        let mut retained = Vec::new();
        for (name, presence, rule) in Field::of_clients(self.view) {
            if presence != Presence::Retained {
                continue;
            }
            if let Some(raw) = self.member(name).filter(|raw| !is_null(raw)) {
                let mut broken = FieldErrors::default();
                let read = rule.read(name, raw, &mut broken);
                let sent = stored_value(name, raw, &mut self.errors);
                retained.push(Retained {
                    name,
                    sent,
                    read: broken.none_or(read),
                });
            }
        }
        retained
    }

    /// `value`, if the body has no errors. Call this after reading all expected members.
    ///
    /// # Errors
    /// All errors found, including repeated names and names that were not read.
    pub(super) fn finish<T>(self, value: T) -> Result<T, FieldErrors> {
        self.finish_with(value, why_read_only)
    }

    /// The same, where `why` says why a client with this view may not send a member.
    ///
    /// # Errors
    /// As [`Reader::finish`].
    pub(super) fn finish_with<T>(
        mut self,
        value: T,
        why: fn(&str, View) -> &'static str,
    ) -> Result<T, FieldErrors> {
        let (names, repeated) = self.members.names();
        for name in repeated {
            self.errors.push_field(name, "is given more than once");
        }
        for name in names.into_iter().filter(|name| !self.read.contains(*name)) {
            let message = format!("{}; leave it out", why(name, self.view));
            self.errors.push_field(name, message);
        }
        self.errors.none_or(value)
    }
}

/// A field that a `PUT` may leave out without changing it.
#[derive(Clone, Debug)]
pub(super) struct Retained {
    pub(super) name: &'static str,
    /// The value as the client sent it. It may break the rule if the stored value is the same.
    pub(super) sent: AttributeValue,
    /// The value as the rule reads it.
    pub(super) read: Result<Option<AttributeValue>, FieldErrors>,
}

/// The value that a client sent, as deep as DynamoDB stores one.
fn stored_value(name: &str, raw: &RawValue, errors: &mut FieldErrors) -> AttributeValue {
    let place = Place::Member(&Place::Body, name);
    json::attribute_value(raw, place, MAX_STORED_DEPTH, errors)
}

/// Why a client with this `view` may not write the member `name`: the start of a message.
pub(super) fn why_read_only(name: &str, view: View) -> &'static str {
    match Field::seen(name, view).map(|field| &field.source) {
        Some(Source::Service(_)) => "is kept by the service",
        Some(Source::Client(..)) => "is written only by services and admins",
        None => "is not a field of a user",
    }
}
