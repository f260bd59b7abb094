//! The fields of a user in a request body.

use std::collections::BTreeSet;

use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::{
    Field, FieldErrors, Fields, Place, Presence, UserId,
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
    pub fn for_creation(members: Members<'_>) -> Result<(Option<UserId>, Self), FieldErrors> {
        let mut reader = Reader::new(members);
        let user_id = reader.user_id(UserId::for_creation);
        Ok((user_id, Self::read(reader)?))
    }

    /// Reads the new user `addressed`. A `userId` in the body must be the same.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn for_creation_at(members: Members<'_>, addressed: &UserId) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members);
        reader.addressed(addressed);
        Self::read(reader)
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, FieldErrors> {
        let mut fields = Fields::default();
        for (name, presence, rule) in Field::of_clients() {
            let value = match (presence, reader.member(name)) {
                (Presence::Required, None) => {
                    reader.errors.push_field(name, "is required");
                    None
                }
                (Presence::Optional, None) => None,
                (Presence::Optional, Some(raw)) if is_null(raw) => None,
                (Presence::Required | Presence::Optional, Some(raw)) => {
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
    /// The names that have been read. Every other member is an error.
    read: BTreeSet<String>,
    pub(super) errors: FieldErrors,
}

impl<'a> Reader<'a> {
    pub(super) fn new(members: Members<'a>) -> Self {
        Self {
            members,
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

    /// All members that clients may not write, with the values that the client sent. `userId` is
    /// not among them. Null counts as left out if the service writes the field.
    pub(super) fn read_only(&mut self) -> Vec<(String, AttributeValue)> {
        let mut read_only = Vec::new();
        for (name, raw) in &self.members.0 {
            let field = Field::named(name);
            let is_kept = match field.map(|field| &field.source) {
                Some(Source::Client(..)) => continue,
                Some(Source::Service(_)) if name == "userId" => continue,
                Some(Source::Service(_)) => true,
                None => false,
            };
            self.read.insert(name.to_string());
            if !(is_kept && is_null(raw)) {
                let place = Place::Member(&Place::Body, name);
                let value = json::attribute_value(raw, place, MAX_STORED_DEPTH, &mut self.errors);
                read_only.push((name.to_string(), value));
            }
        }
        read_only
    }

    /// `value`, if the body has no errors. Call this after reading all expected members.
    ///
    /// # Errors
    /// All errors found, including repeated names and names that were not read.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, FieldErrors> {
        let (names, repeated) = self.members.names();
        for name in repeated {
            self.errors.push_field(name, "is given more than once");
        }
        for name in names.into_iter().filter(|name| !self.read.contains(*name)) {
            let message = match Field::named(name) {
                Some(_) => "is kept by the service; leave it out",
                None => "is not a field of a user; leave it out",
            };
            self.errors.push_field(name, message);
        }
        self.errors.none_or(value)
    }
}
