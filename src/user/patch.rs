//! A partial change of a user (`PATCH`): a JSON Merge Patch (RFC 7396).

use std::collections::BTreeMap;

use serde_dynamo::AttributeValue;

use super::{
    Field, FieldErrors, Map, Presence, User, UserId, View,
    fields::{EMAIL, EMAIL_VERIFIED, is_small},
    input::{Reader, is_null},
    json::Members,
};

/// The fields in a patch. Each has a new value that keeps its rule, or `None` to remove the field.
#[derive(Clone, Debug, Default)]
pub struct UserPatch(BTreeMap<&'static str, Option<AttributeValue>>);

impl UserPatch {
    /// Reads a patch of the user `addressed`. A `userId` in the body must be the same.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn read(members: Members<'_>, addressed: &UserId, view: View) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members, view);
        reader.addressed(addressed);
        let mut patch = Self::default();
        for (name, presence, rule) in Field::of_clients(view) {
            let Some(raw) = reader.member(name) else {
                continue;
            };
            let value = match presence {
                Presence::Required if is_null(raw) => {
                    reader.errors.push_field(name, "is required");
                    None
                }
                Presence::Optional | Presence::Retained if is_null(raw) => None,
                Presence::Required | Presence::Optional | Presence::Retained => {
                    reader.read(name, rule, raw)
                }
            };
            patch.0.insert(name, value);
        }
        if patch.verifies_email() && !patch.0.contains_key(EMAIL) {
            let message = "needs email in the same body, because true is about the address that \
                           you send";
            reader.errors.push_field(EMAIL_VERIFIED, message);
        }
        reader.finish(patch)
    }

    /// Whether the patch says that the email address in it is verified.
    pub fn verifies_email(&self) -> bool {
        self.0.get(EMAIL_VERIFIED) == Some(&Some(AttributeValue::Bool(true)))
    }

    /// The new values of the fields that this patch changes in `stored`.
    ///
    /// # Errors
    /// A patched object is too large.
    pub(super) fn fields(
        &self,
        stored: &User,
    ) -> Result<BTreeMap<&'static str, Option<AttributeValue>>, FieldErrors> {
        let mut fields = self.0.clone();
        for (name, value) in &mut fields {
            if let Some(AttributeValue::M(patch)) = value.take_if(|value| is_map(value)) {
                let target = stored.attribute(name);
                let merged = merged(target.cloned(), patch);
                if !is_small(&merged) {
                    let message = "must be at most 64 KiB of JSON, patched";
                    return Err(FieldErrors::of(name, message));
                }
                *value = Some(merged);
            }
        }
        Ok(fields)
    }
}

fn is_map(value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::M(_))
}

/// The result of applying `patch` to `target` (RFC 7396 section 2).
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
