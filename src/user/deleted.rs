//! A deleted user.

use std::collections::HashMap;

use serde_dynamo::AttributeValue;

use super::{Actor, Map, Timestamp, User, Version, WriteId, fields::USER_ID};

/// A user that was deleted, and can still be restored: an item of the table of deleted users.
///
/// The attributes of the user are one map in the item, so that they cannot collide with those of
/// the deletion.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedUser {
    /// The user. Its version counts the deletion. Its other attributes are those before the deletion.
    pub user: User,
    /// When it was deleted.
    pub deleted_at: String,
    /// Who deleted it. See [`Actor`].
    pub deleted_by: AttributeValue,
    /// The Unix time in seconds at which it is gone. DynamoDB's Time to Live (TTL) uses it.
    pub expires_at: u64,
    /// The id of the deletion.
    pub revision: String,
}

const USER: &str = "user";
const DELETED_AT: &str = "deletedAt";
const DELETED_BY: &str = "deletedBy";
const EXPIRES_AT: &str = "expiresAt";

impl DeletedUser {
    /// The name of the attribute with the id of the deletion.
    pub const REVISION: &str = "revision";

    /// `user` after `actor` deleted it with this `write`. It is kept for `seconds`.
    pub fn new(user: User, actor: &Actor, write: WriteId, now: Timestamp, seconds: u64) -> Self {
        Self {
            user: user.at_next_version(),
            deleted_at: now.to_string(),
            deleted_by: actor.to_attribute(),
            expires_at: now.unix_seconds() + seconds,
            revision: write.to_string(),
        }
    }

    /// The same deleted user after this `write` at the time `now`, which changes no field of it, and
    /// which counts as a write after the version `counted`, if that is the higher one. It is kept for
    /// `seconds` from now, because the record of the write is as new as that.
    #[must_use]
    pub fn caught_up(
        &self,
        counted: Option<Version>,
        write: WriteId,
        now: Timestamp,
        seconds: u64,
    ) -> Self {
        let mut user = self.user.clone();
        user.count(counted);
        Self {
            user: user.at_next_version(),
            expires_at: self.expires_at.max(now.unix_seconds() + seconds),
            revision: write.to_string(),
            ..self.clone()
        }
    }

    /// Reads the attributes of an item. `None` if the service did not write the item.
    pub fn from_attributes(mut attributes: Map) -> Option<Self> {
        let mut text = |name| match attributes.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            Some(_) | None => None,
        };
        let (user_id, deleted_at) = (text(USER_ID)?, text(DELETED_AT)?);
        let revision = text(Self::REVISION)?;
        let Some(AttributeValue::M(user)) = attributes.remove(USER) else {
            return None;
        };
        let Some(AttributeValue::N(expires_at)) = attributes.remove(EXPIRES_AT) else {
            return None;
        };
        let user = User::from_attributes(user);
        (user.user_id() == user_id).then_some(Self {
            user,
            deleted_at,
            deleted_by: attributes.remove(DELETED_BY)?,
            expires_at: expires_at.parse().ok()?,
            revision,
        })
    }

    /// The attributes of the item.
    pub fn to_attributes(&self) -> Map {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let user = self.user.item();
        let user: Map = user.map(|(name, value)| (name.to_owned(), value)).collect();
        let attributes = [
            (USER_ID, text(self.user.user_id())),
            (USER, AttributeValue::M(user)),
            (DELETED_AT, text(&self.deleted_at)),
            (DELETED_BY, self.deleted_by.clone()),
            (EXPIRES_AT, AttributeValue::N(self.expires_at.to_string())),
            (Self::REVISION, text(&self.revision)),
        ];
        attributes
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// Whether the user is gone at the time `now`. DynamoDB may delete the item days later.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now.unix_seconds()
    }

    /// Whether `actor` deleted the user.
    pub fn was_deleted_by(&self, actor: &Actor) -> bool {
        self.deleted_by == actor.to_attribute()
    }

    /// The id of the deletion.
    pub fn last_write(&self) -> Option<WriteId> {
        WriteId::parse(&self.revision)
    }

    /// Whether DynamoDB can store the item.
    pub fn fits(&self) -> bool {
        let attributes = self.to_attributes();
        let values = attributes.values();
        item_bytes(&attributes) <= MAX_ITEM_BYTES
            && values.map(depth).max().unwrap_or_default() <= MAX_DEPTH
    }
}

/// The maximum size of an item: 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const MAX_ITEM_BYTES: usize = 400 * 1024;
/// The maximum number of nested containers in the value of an attribute: DynamoDB allows 32 levels,
/// and the item is one of them.
const MAX_DEPTH: usize = 31;

/// The size of an item by DynamoDB's rules, or a few bytes more
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).
fn item_bytes(attributes: &HashMap<String, AttributeValue>) -> usize {
    let attributes = attributes.iter();
    attributes
        .map(|(name, value)| name.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    use AttributeValue::{B, Bool, Bs, L, M, N, Ns, Null, S, Ss};
    // A number has a byte for two digits, and one or two more.
    let number = |number: &String| number.len().div_ceil(2) + 2;
    match value {
        S(text) => text.len(),
        N(text) => number(text),
        B(bytes) => bytes.len(),
        Bool(_) | Null(_) => 1,
        Ss(texts) => texts.iter().map(String::len).sum(),
        Ns(numbers) => numbers.iter().map(number).sum(),
        Bs(binaries) => binaries.iter().map(Vec::len).sum(),
        // A list or a map has three bytes, and one more for each element.
        L(values) => 3 + values.len() + values.iter().map(value_bytes).sum::<usize>(),
        M(members) => 3 + members.len() + item_bytes(members),
    }
}

/// The number of nested containers in a value.
fn depth(value: &AttributeValue) -> usize {
    use AttributeValue::{B, Bool, Bs, L, M, N, Ns, Null, S, Ss};
    match value {
        S(_) | N(_) | B(_) | Bool(_) | Null(_) | Ss(_) | Ns(_) | Bs(_) => 0,
        L(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        M(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
    }
}
