//! What a write did to a user.

use super::{FIELDS, Source, User, Version};

/// What a write did to a user. It names what changed, and has no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The kind of the write.
    pub event_type: EventType,
    /// The version after the write. Every write counts, also a deletion.
    pub version: Version,
    /// The names of the fields that clients write and that differ, in the order of [`FIELDS`].
    pub changed: Vec<&'static str>,
}

/// The kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A new user.
    Created,
    /// Any change that is none of the others.
    Updated,
    /// The user was active and is disabled now.
    Disabled,
    /// The user was disabled and is active now.
    Enabled,
    /// The user is gone, and may be restored.
    Deleted,
    /// A deleted user is there again.
    Restored,
    /// Nothing of the user is kept but its history.
    Erased,
}

impl EventType {
    /// The name, such as `user.created`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "user.created",
            Self::Updated => "user.updated",
            Self::Disabled => "user.disabled",
            Self::Enabled => "user.enabled",
            Self::Deleted => "user.deleted",
            Self::Restored => "user.restored",
            Self::Erased => "user.erased",
        }
    }
}

impl Event {
    /// The event of a new user. `None` if the user has no version: the service writes such a user
    /// for another client.
    pub fn created(user: &User) -> Option<Self> {
        Some(Self {
            event_type: EventType::Created,
            version: user.version()?,
            changed: changed(None, user),
        })
    }

    /// The event of a change. `None` if it changes only the service's own state.
    pub fn changed(before: &User, after: &User) -> Option<Self> {
        let version = after.version()?;
        let changed = changed(Some(before), after);
        if before.version() == Some(version) && changed.is_empty() {
            return None;
        }
        let event_type = match (before.is_disabled(), after.is_disabled()) {
            (false, true) => EventType::Disabled,
            (true, false) => EventType::Enabled,
            (true, true) | (false, false) => EventType::Updated,
        };
        Some(Self {
            event_type,
            version,
            changed,
        })
    }

    /// The event of a restoration: the user as it was deleted, and as it is now.
    pub fn restored(deleted: &User, after: &User) -> Option<Self> {
        Some(Self {
            event_type: EventType::Restored,
            version: after.version()?,
            changed: changed(Some(deleted), after),
        })
    }

    /// The event of the end of `user`: a deletion or an erasure.
    pub fn ended(event_type: EventType, user: &User) -> Self {
        Self {
            event_type,
            version: Version::after(user.version()),
            changed: Vec::new(),
        }
    }
}

fn changed(before: Option<&User>, after: &User) -> Vec<&'static str> {
    let fields = FIELDS.iter();
    let written = fields.filter(|field| matches!(field.source, Source::Client(..)));
    let names = written.map(|field| field.name);
    names
        .filter(|name| {
            let before = before.and_then(|user| user.attribute(name));
            before != after.attribute(name)
        })
        .collect()
}
