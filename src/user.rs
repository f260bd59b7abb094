//! A user: its fields, their rules, and the changes that a write makes. Nothing here does I/O.
//!
//! A [`User`] is a stored item. Other clients can write items, too, so its values can break the
//! rules. A client of this service writes a [`UserInput`], a [`Replacement`], a [`UserPatch`] or a
//! [`Restoration`]. Their values keep the rules.
//!
//! A [`DeletedUser`] is a user with what is known of its deletion. An [`Event`] is what a write did.

mod actor;
mod change;
mod deleted;
mod email;
mod event;
mod field_error;
mod fields;
mod id;
mod input;
pub mod json;
mod number;
mod patch;
mod replacement;
mod restoration;
mod state;
mod timestamp;
mod version;
mod visible;
mod write_id;

use std::collections::{BTreeMap, HashMap};

use serde_dynamo::AttributeValue;

pub use self::{
    actor::Actor,
    change::Change,
    deleted::DeletedUser,
    email::EmailKey,
    event::{Event, EventType},
    field_error::{FieldError, FieldErrors, MAX_FIELD_ERRORS, Place},
    fields::{Access, FIELDS, Field, Kept, Presence, Rule, Source, View},
    id::{MAX_KEY_BYTES, UserId},
    input::UserInput,
    patch::UserPatch,
    replacement::Replacement,
    restoration::Restoration,
    state::State,
    timestamp::Timestamp,
    version::Version,
    write_id::WriteId,
};
use self::{
    fields::{
        CREATED_AT, CREATED_BY, DISABLED, EMAIL, EMAIL_VERIFIED, STATUS, UPDATED_AT, UPDATED_BY,
        USER_ID, VERSION,
    },
    json::shows,
};

/// The members of a map attribute.
pub type Map = HashMap<String, AttributeValue>;

/// Fields with their values. Each value has the type of its field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(BTreeMap<&'static str, AttributeValue>);

impl Fields {
    /// The fields that have a value, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(AttributeValue::S(text)) => Some(text),
            Some(_) | None => None,
        }
    }

    fn set_text(&mut self, name: &'static str, text: &impl ToString) {
        self.0.insert(name, AttributeValue::S(text.to_string()));
    }

    fn set_version(&mut self, version: Version) {
        let number = version.get().to_string();
        self.0.insert(VERSION, AttributeValue::N(number));
    }
}

/// Why a change cannot be applied to a user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Some fields break their rules, or are read-only.
    #[error("fields break their rules")]
    Invalid(FieldErrors),
    /// The `version` in the change differs from the `version` of the user.
    #[error("the user has another version")]
    OtherVersion,
}

impl From<FieldErrors> for Error {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

/// A stored user: an item of the table.
///
/// `fields` has the known attributes, and `extra` has all other attributes. Other clients write to
/// the table, so a known attribute can have an unexpected type or value. Then it is in `extra`, not
/// in `fields`. So the service can read every item and write it back unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    fields: Fields,
    state: Option<State>,
    extra: BTreeMap<String, AttributeValue>,
}

impl User {
    /// A new user with the fields of `input`, at the first version, that `actor` creates.
    pub fn new(user_id: &UserId, input: UserInput, now: Timestamp, actor: &Actor) -> Self {
        let mut fields = input.into_fields();
        fields.set_text(USER_ID, &user_id.as_str());
        fields.set_version(Version::FIRST);
        fields.set_text(CREATED_AT, &now);
        fields.set_text(UPDATED_AT, &now);
        for name in [CREATED_BY, UPDATED_BY] {
            fields.0.insert(name, actor.to_attribute());
        }
        Self {
            fields,
            state: None,
            extra: BTreeMap::new(),
        }
    }

    /// The same user, with the `userId` and the time of an earlier creation.
    #[must_use]
    pub fn created_as(mut self, user_id: &str, created_at: &str) -> Self {
        self.fields.set_text(USER_ID, &user_id);
        self.fields.set_text(CREATED_AT, &created_at);
        self.fields.set_text(UPDATED_AT, &created_at);
        self
    }

    /// Reads the attributes of an item.
    pub fn from_attributes(mut attributes: Map) -> Self {
        let mut user = Self {
            fields: Fields::default(),
            state: None,
            extra: BTreeMap::new(),
        };
        match attributes.remove(State::NAME).map(State::read) {
            Some(Ok(state)) => user.state = Some(state),
            Some(Err(anothers)) => {
                user.extra.insert(State::NAME.to_owned(), anothers);
            }
            None => {}
        }
        for (name, value) in attributes {
            match Field::named(&name).filter(|field| field.has_type(&value)) {
                Some(field) => user.fields.0.insert(field.name, value),
                None => user.extra.insert(name, value),
            };
        }
        user
    }

    /// The attributes, without the service's own state. The attributes that the service knows come
    /// first, in the order of [`FIELDS`]. All others follow, in the order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        let known = FIELDS
            .iter()
            .filter_map(|field| Some((field.name, self.attribute(field.name)?)));
        let others = self
            .extra
            .iter()
            .filter(|(name, _)| Field::named(name).is_none())
            .map(|(name, value)| (name.as_str(), value));
        known.chain(others)
    }

    /// The attributes that a caller with this `view` sees, in the same order.
    pub fn seen_attributes(&self, view: View) -> impl Iterator<Item = (&str, &AttributeValue)> {
        let is_seen = move |name: &str| Field::named(name).is_none_or(|field| field.is_seen(view));
        self.attributes().filter(move |(name, _)| is_seen(name))
    }

    /// The attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.fields.0.get(name).or_else(|| self.extra.get(name))
    }

    /// Whether `sent` is the value of the attribute `name`, as responses show it.
    fn is_shown(&self, name: &str, sent: &AttributeValue) -> bool {
        self.attribute(name)
            .is_some_and(|stored| shows(stored, sent))
    }

    /// The `userId` of the user.
    pub fn user_id(&self) -> &str {
        self.fields.text(USER_ID).unwrap_or_default()
    }

    /// The key of the user's email address. `None` if the user has no address.
    pub fn email_key(&self) -> Option<EmailKey> {
        self.fields.text(EMAIL).and_then(EmailKey::of)
    }

    /// Whether the user may not act. Its record stays as it is.
    pub fn is_disabled(&self) -> bool {
        self.fields.text(STATUS) == Some(DISABLED)
    }

    /// Whether a service or an admin has marked the email address as verified.
    pub fn has_verified_email(&self) -> bool {
        self.fields.0.get(EMAIL_VERIFIED) == Some(&AttributeValue::Bool(true))
    }

    /// The version. `None` for a legacy user: the service has not written it yet.
    pub fn version(&self) -> Option<Version> {
        match self.fields.0.get(VERSION) {
            Some(AttributeValue::N(number)) => Version::parse(number),
            Some(_) | None => None,
        }
    }

    /// When the user was created. `None` for a legacy user.
    pub fn created_at(&self) -> Option<&str> {
        self.fields.text(CREATED_AT)
    }

    /// The service's own state. `None` for a legacy user: the service has not written it yet.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The email address on which the user holds a claim, according to its item.
    pub fn held_claim(&self) -> Option<EmailKey> {
        self.state.as_ref()?.email_key()
    }

    /// The id of the last write of the service. `None` for a legacy user.
    pub fn last_write(&self) -> Option<WriteId> {
        self.state.as_ref()?.last_write()
    }

    /// The attributes of the item: all [`User::attributes`], and the service's own state.
    pub fn item(&self) -> impl Iterator<Item = (&str, AttributeValue)> {
        let shown = self.attributes().map(|(name, value)| (name, value.clone()));
        let state = self.state.as_ref();
        shown.chain(state.map(|state| (State::NAME, state.to_attribute())))
    }

    /// The same user after `actor` wrote `fields`. `None` removes a field.
    ///
    /// Nobody has verified a new address, so `emailVerified` does not stay with it. It has to be
    /// among the `fields`.
    fn changed(
        mut self,
        fields: BTreeMap<&'static str, Option<AttributeValue>>,
        now: Timestamp,
        actor: &Actor,
    ) -> Self {
        let (address, is_verified) = (self.email_key(), fields.contains_key(EMAIL_VERIFIED));
        for (name, value) in fields {
            self.set(name, value);
        }
        if !is_verified && self.email_key() != address {
            self.set(EMAIL_VERIFIED, None);
        }
        self.set(UPDATED_BY, Some(actor.to_attribute()));
        self.extra.remove(UPDATED_AT);
        self.fields.set_text(UPDATED_AT, &now);
        self.at_next_version()
    }

    /// The same user, with one more write counted.
    fn at_next_version(mut self) -> Self {
        let version = Version::after(self.version());
        self.extra.remove(VERSION);
        self.fields.set_version(version);
        self
    }

    /// The same user after a write of `actor` that changes no field, and that counts as a write after
    /// the version `counted`, if that is the higher one.
    #[must_use]
    pub fn caught_up(mut self, counted: Option<Version>, now: Timestamp, actor: &Actor) -> Self {
        self.count(counted);
        self.changed(BTreeMap::new(), now, actor)
    }

    /// Sets the version to `counted`, if that is the higher one.
    fn count(&mut self, counted: Option<Version>) {
        if let Some(counted) = counted
            && self.version().is_none_or(|own| own.get() < counted.get())
        {
            self.extra.remove(VERSION);
            self.fields.set_version(counted);
        }
    }

    /// The same user without its email address, which `actor` gives to another user.
    #[must_use]
    pub fn without_email(self, now: Timestamp, actor: &Actor) -> Self {
        self.changed(BTreeMap::from([(EMAIL, None)]), now, actor)
    }

    fn set(&mut self, name: &'static str, value: Option<AttributeValue>) {
        self.extra.remove(name);
        match value {
            Some(value) => self.fields.0.insert(name, value),
            None => self.fields.0.remove(name),
        };
    }

    /// The same user after this `write`. Its state records the claim on `email_key`, or no claim.
    ///
    /// If another client wrote the attribute `_userService`, the user stays unchanged. Such
    /// a user has no state.
    #[must_use]
    pub fn revised(self, write: WriteId, email_key: Option<&EmailKey>) -> Self {
        if self.extra.contains_key(State::NAME) {
            return self;
        }
        let state = match self.state {
            Some(state) => state.revised(write),
            None => State::new(write),
        };
        Self {
            state: Some(state.holding(email_key)),
            ..self
        }
    }
}
