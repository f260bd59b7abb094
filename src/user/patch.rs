//! What a `PATCH` changes of a user: a JSON Merge Patch (RFC 7396).

use std::collections::HashMap;

use serde_dynamo::AttributeValue;

use super::{
    Attributes, User, UserId,
    input::{Draft, Fields, MAX_METADATA_BYTES, metadata_bytes},
};
use crate::error::{Error, FieldErrors, Place};

/// What a client changes of a user. Each value in it keeps every rule.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    name: Option<String>,
    email: Option<String>,
    phone: Option<Patched<String>>,
    metadata: Option<Patched<Map>>,
}

type Map = HashMap<String, AttributeValue>;

/// What becomes of an optional field.
#[derive(Clone, Debug)]
enum Patched<T> {
    Removed,
    Set(T),
}

impl UserPatch {
    /// Reads the body of a `PATCH` of the user `addressed`. A `userId` in it must be
    /// the same.
    ///
    /// # Errors
    /// [`Error::MalformedJson`], or [`Error::InvalidUser`] with all that is wrong.
    pub fn read(body: &[u8], addressed: &UserId) -> Result<Self, Error> {
        let mut fields = Fields::read(body)?;
        fields.addressed(addressed);
        // Null removes a field, and these two have to be there.
        let draft = Draft {
            name: fields
                .present_string("name")
                .map(|name| name.trim().to_owned()),
            email: fields.present_string("email"),
            phone: fields.optional_string("phone"),
        };
        fields.check(&draft);
        let phone = match draft.phone {
            Some(phone) => Some(Patched::Set(phone)),
            None => fields.has("phone").then_some(Patched::Removed),
        };
        let metadata = match fields.metadata() {
            Some(AttributeValue::M(metadata)) => Some(Patched::Set(metadata)),
            _ => fields.has("metadata").then_some(Patched::Removed),
        };
        fields.finish()?;
        Ok(Self {
            name: draft.name,
            email: draft.email,
            phone,
            metadata,
        })
    }

    /// What the attributes of `stored` become.
    ///
    /// # Errors
    /// [`Error::InvalidUser`] where the merged `metadata` is too large.
    pub(super) fn attributes(&self, stored: &User) -> Result<Attributes, Error> {
        let mut attributes = Attributes::new();
        let strings = [("name", &self.name), ("email", &self.email)];
        for (attribute, text) in strings {
            if let Some(text) = text {
                attributes.push((attribute, Some(AttributeValue::S(text.clone()))));
            }
        }
        match &self.phone {
            None => {}
            Some(Patched::Removed) => attributes.push(("phone", None)),
            Some(Patched::Set(phone)) => {
                attributes.push(("phone", Some(AttributeValue::S(phone.clone()))));
            }
        }
        match &self.metadata {
            None => {}
            Some(Patched::Removed) => attributes.push(("metadata", None)),
            Some(Patched::Set(patch)) => {
                let merged = merged(stored.attribute("metadata").cloned(), patch.clone());
                if metadata_bytes(&merged) > MAX_METADATA_BYTES {
                    let mut errors = FieldErrors::default();
                    let place = Place::Member(&Place::Body, "metadata");
                    errors.push(place, "must be at most 64 KiB of JSON, patched");
                    return Err(errors.into());
                }
                attributes.push(("metadata", Some(merged)));
            }
        }
        Ok(attributes)
    }
}

/// What `target` becomes under `patch` (RFC 7396 section 2).
fn merged(target: Option<AttributeValue>, patch: Map) -> AttributeValue {
    let mut members = match target {
        Some(AttributeValue::M(members)) => members,
        Some(_) | None => Map::new(),
    };
    for (name, value) in patch {
        let value = if let AttributeValue::Null(_) = value {
            None
        } else if let AttributeValue::M(patch) = value {
            Some(merged(members.remove(&name), patch))
        } else {
            Some(value)
        };
        match value {
            Some(value) => members.insert(name, value),
            None => members.remove(&name),
        };
    }
    AttributeValue::M(members)
}
