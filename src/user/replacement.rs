//! The replacement of a user (`PUT`).

use std::collections::BTreeMap;

use serde_dynamo::AttributeValue;

use super::{
    Error, Field, FieldErrors, Presence, User, UserId, View,
    input::{Reader, Retained, UserInput, why_read_only},
    json::Members,
};

/// All fields that a client writes. The client may also send back read-only fields, but their
/// values must equal the stored values.
#[derive(Clone, Debug)]
pub struct Replacement {
    input: UserInput,
    /// The `version` that the client has read. It is a precondition, like `If-Match`.
    version: Option<AttributeValue>,
    /// All other attributes in the body that a client may not write.
    read_only: Vec<(String, AttributeValue)>,
    /// The fields that stay if they are left out, as far as they are in the body.
    retained: Vec<Retained>,
    /// The view of the client.
    view: View,
}

impl Replacement {
    /// Reads a replacement of the user `addressed`. A `userId` in the body must be the same.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn read(members: Members<'_>, addressed: &UserId, view: View) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members, view);
        reader.addressed(addressed);
        let (version, read_only) = reader
            .read_only()
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name == "version");
        let retained = reader.retained();
        Ok(Self {
            retained,
            view,
            input: UserInput::read(reader)?,
            version: version.into_iter().next().map(|(_, version)| version),
            read_only,
        })
    }

    /// The new values of the fields that the client writes. If the client sends the value that
    /// responses show, the stored value stays. For example, a set stays a set.
    ///
    /// # Errors
    /// [`Error::OtherVersion`]. [`Error::Invalid`] if the replacement changes a read-only field.
    pub(super) fn fields(
        &self,
        stored: &User,
    ) -> Result<BTreeMap<&'static str, Option<AttributeValue>>, Error> {
        let version = self.version.as_ref();
        if version.is_some_and(|version| !stored.is_shown("version", version)) {
            return Err(Error::OtherVersion);
        }
        let mut errors = FieldErrors::default();
        self.check_read_only(stored, &mut errors);
        let mut fields = BTreeMap::new();
        for Retained { name, sent, read } in &self.retained {
            let value = match read {
                _ if stored.is_shown(name, sent) => stored.attribute(name).cloned(),
                Ok(read) => read.clone(),
                Err(broken) => {
                    errors.extend(broken);
                    None
                }
            };
            fields.insert(*name, value);
        }
        for (name, presence, _) in Field::of_clients(self.view) {
            if presence != Presence::Retained {
                let sent = self.input.fields().0.get(name);
                let is_shown = sent.is_some_and(|sent| stored.is_shown(name, sent));
                let kept = stored.attribute(name).filter(|_| is_shown);
                fields.insert(name, kept.or(sent).cloned());
            }
        }
        Ok(errors.none_or(fields)?)
    }

    fn check_read_only(&self, stored: &User, errors: &mut FieldErrors) {
        for (name, sent) in &self.read_only {
            let is_seen = Field::named(name).is_none_or(|field| field.is_seen(self.view));
            if !(is_seen && stored.is_shown(name, sent)) {
                let why = why_read_only(name, self.view);
                errors.push_field(
                    name,
                    format!("{why}; leave it out, or send it as GET shows it"),
                );
            }
        }
    }
}
