//! The fields of a user. The table [`FIELDS`] has one row for each field: its name, who
//! writes and sees it, and its rule. Responses show the fields in this order.

use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;
use validator::{ValidateEmail, ValidateLength};

use super::{
    Version,
    field_error::{FieldErrors, Place},
    json::{self, Json},
    visible::is_all_visible,
};

/// A field that the service knows: an attribute of the item, and a member of the JSON object.
#[derive(Debug)]
pub struct Field {
    /// The name of the attribute and of the member.
    pub name: &'static str,
    /// Who writes the field.
    pub source: Source,
    /// Which callers see the field, and write it if clients write it.
    pub access: Access,
}

/// How much of a user a caller sees and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything: the view of services and admins.
    Full,
    /// The view of users, and of callers without credentials.
    Limited,
}

impl View {
    /// The views that show no more than this one, itself first.
    pub fn contained(self) -> &'static [Self] {
        match self {
            Self::Full => &[Self::Full, Self::Limited],
            Self::Limited => &[Self::Limited],
        }
    }
}

/// Which callers see and write a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every caller who may read a user sees the field, and every caller who may write the user
    /// writes it.
    Everyone,
    /// As `Everyone`, but only callers with the full view write it.
    WrittenInFullView,
    /// Only callers with the full view see and write the field.
    SeenInFullView,
}

/// Who writes a field.
#[derive(Debug)]
pub enum Source {
    /// The service. A client may send the field back unchanged in a `PUT`.
    Service(Kept),
    /// Clients. The values must keep this rule.
    Client(Presence, Rule),
}

/// The type of a field that the service writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A string: an id or a time.
    Text,
    /// A map: see [`Actor`](super::Actor).
    Actor,
    /// See [`Version`].
    Version,
}

/// Whether a user must have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The field is required.
    Required,
    /// The field is optional. In a new user or a `PUT`, null means that the field is left out.
    Optional,
    /// As `Optional`, but a `PUT` that leaves the field out does not change it.
    Retained,
}

use Access::{Everyone, SeenInFullView, WrittenInFullView};
use Presence::{Optional, Required, Retained};

/// Which values a field can have.
#[derive(Debug)]
pub enum Rule {
    /// Strings that pass all of these checks.
    Text(&'static [Check]),
    /// The same as `Text`, after white space at both ends is removed.
    TrimmedText(&'static [Check]),
    /// JSON objects of at most 64 KiB of compact JSON and at most 20 levels of nesting.
    Object,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
}

/// A function that tells whether a string passes, and the message if it does not.
pub type Check = (fn(&str) -> bool, &'static str);

/// All fields.
pub static FIELDS: [Field; 13] = [
    kept(USER_ID, Kept::Text, Everyone),
    written("name", Required, Rule::TrimmedText(NAME), Everyone),
    written(EMAIL, Required, Rule::Text(EMAIL_ADDRESS), Everyone),
    written(EMAIL_VERIFIED, Retained, Rule::Boolean, WrittenInFullView),
    written("phone", Optional, Rule::Text(PHONE_NUMBER), Everyone),
    written("metadata", Optional, Rule::Object, Everyone),
    written("adminMetadata", Retained, Rule::Object, SeenInFullView),
    written(
        STATUS,
        Retained,
        Rule::OneOf(&["active", DISABLED]),
        WrittenInFullView,
    ),
    kept(VERSION, Kept::Version, Everyone),
    kept(CREATED_AT, Kept::Text, Everyone),
    kept(CREATED_BY, Kept::Actor, SeenInFullView),
    kept(UPDATED_AT, Kept::Text, Everyone),
    kept(UPDATED_BY, Kept::Actor, SeenInFullView),
];

const fn kept(name: &'static str, kept: Kept, access: Access) -> Field {
    let source = Source::Service(kept);
    Field {
        name,
        source,
        access,
    }
}

const fn written(name: &'static str, presence: Presence, rule: Rule, access: Access) -> Field {
    let source = Source::Client(presence, rule);
    Field {
        name,
        source,
        access,
    }
}

// The names of fields that the code refers to.
pub(super) const USER_ID: &str = "userId";
pub(super) const EMAIL: &str = "email";
pub(super) const EMAIL_VERIFIED: &str = "emailVerified";
pub(super) const STATUS: &str = "status";
pub(super) const VERSION: &str = "version";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const CREATED_BY: &str = "createdBy";
pub(super) const UPDATED_AT: &str = "updatedAt";
pub(super) const UPDATED_BY: &str = "updatedBy";

/// The `status` of a user that may not act. Any other status, or none, is that of an active user.
pub(super) const DISABLED: &str = "disabled";

const NAME: &[Check] = &[
    (
        |name| name.validate_length(Some(1), Some(200), None),
        "must be 1 to 200 characters",
    ),
    (
        |name| !name.contains(char::is_control),
        "must not hold control characters",
    ),
    (
        is_all_visible,
        "must not hold invisible characters or bidirectional controls",
    ),
];

const EMAIL_ADDRESS: &[Check] = &[
    (
        |email| email.validate_length(None, Some(254), None),
        "must be at most 254 characters",
    ),
    (
        |email| email.validate_email(),
        "must be an email address, such as ada@example.com",
    ),
    // The check above accepts any character before a domain in brackets: `a@\n[127.0.0.1]`.
    (
        |email| !email.contains(|c: char| c.is_control() || c.is_whitespace()),
        "must not hold spaces or control characters",
    ),
];

const PHONE_NUMBER: &[Check] = &[(
    is_e164,
    "must be a phone number in E.164 form, such as +14155550123",
)];

/// Whether `text` is a number in the international form of ITU-T E.164: a plus and 2 to 15 digits.
/// The first digit is not 0.
fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// The maximum length of an object as compact JSON, in bytes.
const MAX_OBJECT_BYTES: usize = 64 * 1024;
/// The maximum number of nested containers. The object itself counts.
const MAX_OBJECT_DEPTH: usize = 20;

impl Field {
    /// Whether a stored value has the type of the field. The value may still break the rule,
    /// because other clients write items, too.
    pub(super) fn has_type(&self, stored: &AttributeValue) -> bool {
        match (&self.source, stored) {
            (Source::Service(Kept::Version), AttributeValue::N(number)) => {
                Version::parse(number).is_some()
            }
            (Source::Service(Kept::Text), AttributeValue::S(_)) => true,
            (Source::Service(Kept::Actor), AttributeValue::M(_)) => true,
            (Source::Client(_, Rule::Object), AttributeValue::M(_)) => true,
            (Source::Client(_, Rule::Boolean), AttributeValue::Bool(_)) => true,
            (
                Source::Client(_, Rule::Text(_) | Rule::TrimmedText(_) | Rule::OneOf(_)),
                AttributeValue::S(_),
            ) => true,
            (Source::Service(_) | Source::Client(..), _) => false,
        }
    }

    /// The field with this name, if the service knows it.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// The field with this name, if the service knows it and a caller with this `view` sees it.
    pub fn seen(name: &str, view: View) -> Option<&'static Self> {
        Self::named(name).filter(|field| field.is_seen(view))
    }

    /// Whether a caller with this `view` sees the field.
    pub fn is_seen(&self, view: View) -> bool {
        match self.access {
            Everyone | WrittenInFullView => true,
            SeenInFullView => view == View::Full,
        }
    }

    /// Whether a caller with this `view` writes the field.
    pub fn is_written(&self, view: View) -> bool {
        let is_of_clients = matches!(self.source, Source::Client(..));
        match self.access {
            Everyone => is_of_clients,
            WrittenInFullView | SeenInFullView => is_of_clients && view == View::Full,
        }
    }

    /// The fields that a client with this `view` writes.
    pub fn of_clients(view: View) -> impl Iterator<Item = (&'static str, Presence, &'static Rule)> {
        let written = FIELDS.iter().filter(move |field| field.is_written(view));
        written.filter_map(|field| match &field.source {
            Source::Service(_) => None,
            Source::Client(presence, rule) => Some((field.name, *presence, rule)),
        })
    }
}

impl Rule {
    /// Reads the value of the field `name`, and adds errors to `errors`. `None` if the value
    /// has the wrong type.
    pub(super) fn read(
        &self,
        name: &str,
        raw: &RawValue,
        errors: &mut FieldErrors,
    ) -> Option<AttributeValue> {
        match self {
            Self::Text(checks) => {
                let text = string(name, raw, errors)?;
                Some(checked(name, text, checks, errors))
            }
            Self::TrimmedText(checks) => {
                let text = string(name, raw, errors)?.trim().to_owned();
                Some(checked(name, text, checks, errors))
            }
            Self::Object => object(name, raw, errors),
            Self::OneOf(values) => {
                let text = string(name, raw, errors)?;
                if !values.contains(&text.as_str()) {
                    errors.push_field(name, format!("must be {}", values.join(" or ")));
                }
                Some(AttributeValue::S(text))
            }
            Self::Boolean => match serde_json::from_str(raw.get()) {
                Ok(value) => Some(AttributeValue::Bool(value)),
                Err(_) => {
                    let kind = json::kind(raw);
                    errors.push_field(name, format!("must be true or false, not {kind}"));
                    None
                }
            },
        }
    }
}

/// Reads the value of the field `name`, which must be a string.
pub(super) fn string(name: &str, raw: &RawValue, errors: &mut FieldErrors) -> Option<String> {
    json::string(raw)
        .map_err(|message| errors.push_field(name, message))
        .ok()
}

fn checked(name: &str, text: String, checks: &[Check], errors: &mut FieldErrors) -> AttributeValue {
    for (holds, message) in checks {
        if !holds(&text) {
            errors.push_field(name, *message);
        }
    }
    AttributeValue::S(text)
}

fn object(name: &str, raw: &RawValue, errors: &mut FieldErrors) -> Option<AttributeValue> {
    if !raw.get().starts_with('{') {
        errors.push_field(name, format!("must be an object, not {}", json::kind(raw)));
        return None;
    }
    let place = Place::Member(&Place::Body, name);
    let object = json::attribute_value(raw, place, MAX_OBJECT_DEPTH, errors);
    if !is_small(&object) {
        errors.push_field(name, "must be at most 64 KiB of JSON");
    }
    Some(object)
}

/// Whether an object is within the size limit.
pub(super) fn is_small(object: &AttributeValue) -> bool {
    serde_json::to_vec(&Json(object)).is_ok_and(|json| json.len() <= MAX_OBJECT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_a_plus_and_2_to_15_digits_that_do_not_begin_with_0() {
        for (text, is_one) in [
            ("+14155550123", true),
            ("+12", true),
            ("+123456789012345", true),
            ("+1", false),
            ("+1234567890123456", false),
            ("+0123", false),
            ("14155550123", false),
            ("+1 415 555", false),
            ("+١٢٣", false),
            ("", false),
        ] {
            assert_eq!(is_e164(text), is_one, "{text}");
        }
    }
}
