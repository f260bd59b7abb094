//! What a `PUT` makes of a user that is there.

use serde_dynamo::AttributeValue;

use super::{
    ATTRIBUTES, Attributes, User, UserId,
    input::{Fields, UserInput},
};
use crate::{
    error::{Error, FieldErrors, Place},
    json,
};

/// A user as a client writes it, or sends it back as it has read it: what it may not write
/// has to be as it is stored.
#[derive(Clone, Debug)]
pub struct Replacement {
    input: UserInput,
    /// The `version` that the client has read: a condition, as `If-Match` is.
    version: Option<AttributeValue>,
    /// Every other attribute that a client may not write.
    read_only: Vec<(String, AttributeValue)>,
}

impl Replacement {
    /// Reads the body of a `PUT` to the user `addressed`. A `userId` in it must be the
    /// same.
    ///
    /// # Errors
    /// [`Error::MalformedJson`], or [`Error::InvalidUser`] with all that is wrong.
    pub fn read(body: &[u8], addressed: &UserId) -> Result<Self, Error> {
        let mut fields = Fields::read(body)?;
        fields.addressed(addressed);
        let read_only = fields.read_only();
        let input = UserInput::parse(fields)?;
        let (version, read_only) = read_only
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name == "version");
        Ok(Self {
            input,
            version: version.into_iter().next().map(|(_, version)| version),
            read_only,
        })
    }

    /// What the attributes of `stored` become.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], and [`Error::InvalidUser`] where the body changes what a
    /// client may not.
    pub(super) fn attributes(&self, stored: &User) -> Result<Attributes, Error> {
        let is_shown = |name: &str, sent: &AttributeValue| {
            let stored = stored.attribute(name);
            stored.is_some_and(|stored| json::shows(stored, sent))
        };
        let version = self.version.as_ref();
        if version.is_some_and(|version| !is_shown("version", version)) {
            return Err(Error::VersionMismatch);
        }
        let mut errors = FieldErrors::default();
        for (name, sent) in &self.read_only {
            if !is_shown(name, sent) {
                let message = if ATTRIBUTES.contains(&name.as_str()) {
                    "is kept by the service; leave it out, or send it as GET shows it"
                } else {
                    "is not a field of a user; leave it out, or send it as GET shows it"
                };
                errors.push(Place::Member(&Place::Body, name), message);
            }
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let mut attributes = self.input.clone().into_attributes();
        for (name, value) in &mut attributes {
            // What is sent back as it is shown stays as it is stored, such as a set.
            if let (Some(stored), Some(sent)) = (stored.attribute(name), value.as_ref())
                && json::shows(stored, sent)
            {
                *value = Some(stored.clone());
            }
        }
        Ok(attributes)
    }
}
