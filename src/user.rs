//! A user: its fields and their rules, and what a write makes of it. Nothing here does I/O.
//!
//! A [`User`] is what is stored, whoever stored it. [`UserInput`], [`Replacement`] and
//! [`UserPatch`] are what a client writes: each value in them keeps its rule.

mod change;
mod email;
mod field_error;
mod fields;
mod id;
mod input;
pub mod json;
mod number;
mod patch;
mod replacement;
mod state;
mod timestamp;
mod version;
mod visible;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde_dynamo::AttributeValue;

pub use self::{
    change::Change,
    email::EmailKey,
    field_error::{FieldError, FieldErrors, MAX_FIELD_ERRORS, Place},
    fields::{FIELDS, Field, Presence},
    id::{MAX_KEY_BYTES, UserId},
    input::UserInput,
    patch::UserPatch,
    replacement::Replacement,
    state::State,
    timestamp::Timestamp,
    version::Version,
};
use self::{
    fields::{EMAIL, Kept, Source},
    json::shows,
};

/// The members of a map attribute.
pub type Map = HashMap<String, AttributeValue>;

/// The fields that clients write, with their values. Each value has the type of its field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile(BTreeMap<&'static str, AttributeValue>);

impl Profile {
    /// The fields that have a value, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

/// Why a change cannot be made of a user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fields break their rules, or may not be changed.
    #[error("fields break their rules")]
    Invalid(FieldErrors),
    /// The `version` that the change names is not that of the user.
    #[error("the user has another version")]
    OtherVersion,
}

impl From<FieldErrors> for Error {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

/// A user as it is stored: an item of the table.
///
/// An attribute that the service knows has a typed place. Any other attribute is in `extra`, and
/// so is a known one whose type or value the service does not expect: other clients write to the
/// table, too. So every item can be read, and written back as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    user_id: String,
    profile: Profile,
    version: Option<Version>,
    created_at: Option<String>,
    updated_at: Option<String>,
    state: Option<State>,
    extra: BTreeMap<String, AttributeValue>,
}

impl User {
    /// A user that `input` describes, at its first version.
    pub fn new(user_id: &UserId, input: UserInput, now: Timestamp) -> Self {
        Self {
            user_id: user_id.as_str().to_owned(),
            profile: input.into_profile(),
            version: Some(Version::FIRST),
            created_at: Some(now.to_string()),
            updated_at: Some(now.to_string()),
            state: None,
            extra: BTreeMap::new(),
        }
    }

    /// The same user, created before: with the `userId` and the time it got then.
    pub fn created_as(self, user_id: &str, created_at: &str) -> Self {
        Self {
            user_id: user_id.to_owned(),
            created_at: Some(created_at.to_owned()),
            updated_at: Some(created_at.to_owned()),
            ..self
        }
    }

    /// Reads the attributes of an item.
    pub fn from_attributes(mut attributes: Map) -> Self {
        let state = match attributes.remove(State::NAME).map(State::read) {
            Some(Ok(state)) => Some(state),
            Some(Err(anothers)) => {
                attributes.insert(State::NAME.to_owned(), anothers);
                None
            }
            None => None,
        };
        let mut user = Self {
            user_id: String::new(),
            profile: Profile::default(),
            version: None,
            created_at: None,
            updated_at: None,
            state,
            extra: attributes.into_iter().collect(),
        };
        for field in &FIELDS {
            if let Some(value) = user.extra.remove(field.name)
                && let Some(unexpected) = user.take(field, value)
            {
                user.extra.insert(field.name.to_owned(), unexpected);
            }
        }
        user
    }

    /// Puts `value` into the place of `field`; gives it back if it does not belong there.
    fn take(&mut self, field: &Field, value: AttributeValue) -> Option<AttributeValue> {
        match (&field.source, value) {
            (Source::Service(Kept::UserId), AttributeValue::S(text)) => self.user_id = text,
            (Source::Service(Kept::Version), AttributeValue::N(number)) => {
                self.version = Version::parse(&number);
                return match self.version {
                    Some(_) => None,
                    None => Some(AttributeValue::N(number)),
                };
            }
            (Source::Service(Kept::CreatedAt), AttributeValue::S(text)) => {
                self.created_at = Some(text);
            }
            (Source::Service(Kept::UpdatedAt), AttributeValue::S(text)) => {
                self.updated_at = Some(text);
            }
            (Source::Client(_, rule), value) if rule.has_type(&value) => {
                self.profile.0.insert(field.name, value);
            }
            (Source::Service(_) | Source::Client(..), value) => return Some(value),
        }
        None
    }

    /// The attributes that answers show: first those that the service knows, in the order of
    /// the fields, then the others, in the order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, AttributeValue>)> {
        let known = FIELDS
            .iter()
            .filter_map(|field| Some((field.name, self.value(field)?)));
        let others = self
            .extra
            .iter()
            .filter(|(name, _)| Field::named(name).is_none())
            .map(|(name, value)| (name.as_str(), Cow::Borrowed(value)));
        known.chain(others)
    }

    /// The attribute of this name, if answers show one.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, AttributeValue>> {
        match Field::named(name) {
            Some(field) => self.value(field),
            None => self.extra.get(name).map(Cow::Borrowed),
        }
    }

    fn value(&self, field: &Field) -> Option<Cow<'_, AttributeValue>> {
        let string = |text: &String| Cow::Owned(AttributeValue::S(text.clone()));
        let typed = match field.source {
            Source::Service(Kept::UserId) => Some(string(&self.user_id)),
            Source::Service(Kept::Version) => self
                .version
                .map(|version| Cow::Owned(AttributeValue::N(version.get().to_string()))),
            Source::Service(Kept::CreatedAt) => self.created_at.as_ref().map(string),
            Source::Service(Kept::UpdatedAt) => self.updated_at.as_ref().map(string),
            Source::Client(..) => self.profile.0.get(field.name).map(Cow::Borrowed),
        };
        typed.or_else(|| self.extra.get(field.name).map(Cow::Borrowed))
    }

    /// Whether answers show `sent` as the value of the attribute `name`.
    fn is_shown(&self, name: &str, sent: &AttributeValue) -> bool {
        self.attribute(name)
            .is_some_and(|stored| shows(&stored, sent))
    }

    /// Its `userId`.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The key of its email address; `None` if it has none.
    pub fn email_key(&self) -> Option<EmailKey> {
        match self.profile.0.get(EMAIL) {
            Some(AttributeValue::S(email)) => EmailKey::of(email),
            _ => None,
        }
    }

    /// The service's own state; `None` for a legacy user, which the service has not written yet.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The key of the email address whose claim the user holds, as its item records it.
    pub fn held_claim(&self) -> Option<EmailKey> {
        self.state.as_ref()?.email_key()
    }

    /// The same user after a write of `fields`: each has this value, or none.
    fn changed(
        mut self,
        fields: impl IntoIterator<Item = (&'static str, Option<AttributeValue>)>,
        now: Timestamp,
    ) -> Self {
        for (name, value) in fields {
            self.extra.remove(name);
            match value {
                Some(value) => self.profile.0.insert(name, value),
                None => self.profile.0.remove(name),
            };
        }
        self.extra.remove("version");
        self.extra.remove("updatedAt");
        Self {
            version: Some(Version::after(self.version)),
            updated_at: Some(now.to_string()),
            ..self
        }
    }

    /// The same user with a fresh revision, which records that it holds the claim on `email_key`.
    ///
    /// Another client's attribute of the same name stays as it is. Such a user has no state.
    #[must_use]
    pub fn revised(self, email_key: Option<&EmailKey>) -> Self {
        if self.extra.contains_key(State::NAME) {
            return self;
        }
        let state = match self.state {
            Some(state) => state.revised(),
            None => State::new(),
        };
        Self {
            state: Some(state.holding(email_key)),
            ..self
        }
    }
}
