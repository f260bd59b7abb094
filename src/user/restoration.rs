//! The restoration of a deleted user.

use std::collections::BTreeMap;

use serde_dynamo::AttributeValue;

use super::{
    Actor, DeletedUser, Field, FieldErrors, Timestamp, User, View,
    fields::{EMAIL, Source},
    input::{Reader, is_null},
    json::Members,
};

/// What a client may change in a user that it restores: the email address.
#[derive(Clone, Debug, Default)]
pub struct Restoration {
    email: Option<AttributeValue>,
}

impl Restoration {
    /// Reads the body of a restoration: an object that has `email`, or is empty.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn read(members: Members<'_>) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members, View::Full);
        let rule = Field::named(EMAIL).and_then(|field| match &field.source {
            Source::Client(_, rule) => Some(rule),
            Source::Service(_) => None,
        });
        let raw = reader.member(EMAIL).filter(|raw| !is_null(raw));
        let email = raw.zip(rule);
        let email = email.and_then(|(raw, rule)| reader.read(EMAIL, rule, raw));
        reader.finish_with(Self { email }, |_, _| "is not part of a restoration")
    }

    /// The user as it is after `actor` restored it.
    pub fn apply(&self, deleted: &DeletedUser, now: Timestamp, actor: &Actor) -> User {
        let email = self.email.clone();
        let fields = email.map(|email| (EMAIL, Some(email)));
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        deleted.user.clone().changed(fields, now, actor)
    }
}
