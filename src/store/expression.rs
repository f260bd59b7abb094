//! The conditions and updates that writes state to DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{number, string};
use crate::user::{Attributes, Timestamp, User, Version};

/// Attributes that one condition compares. DynamoDB takes 300 operators and 4 KB in an
/// expression; a comparison is two operators and 16 bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const MAX_COMPARED: usize = 100;

/// What a write comes after.
#[derive(Clone, Copy)]
pub(super) enum Precedent<'a> {
    /// The user, whatever it is by now.
    Exists,
    /// The user as it was read, and nothing later.
    Seen(&'a User),
}

impl<'a> Precedent<'a> {
    /// What the next attempt of a write comes after that needs no more than the user, now
    /// that `stored` has been seen: only a version of this service can be counted up by
    /// DynamoDB.
    pub(super) fn of(stored: &'a User) -> Self {
        let version = stored.version();
        match stored.attribute("version") {
            Some(_) if [Version::NONE, Version::MAX].contains(&version) => Self::Seen(stored),
            Some(_) | None => Self::Exists,
        }
    }
}

/// Expressions of one call, with the names and values that stand in them. Every
/// name has a placeholder, for `name` and others are DynamoDB's reserved words, and
/// other clients may have used any character in theirs.
#[derive(Default)]
pub(super) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// Names and values by their placeholders; `None` where there are no values, for
    /// DynamoDB refuses an empty map.
    pub(super) fn into_parts(
        self,
    ) -> (
        HashMap<String, String>,
        Option<HashMap<String, AttributeValue>>,
    ) {
        let values = Some(self.values).filter(|values| !values.is_empty());
        (self.names, values)
    }

    /// The placeholder of an attribute's name.
    fn name(&mut self, attribute: &str) -> String {
        let known = self.names.iter().find(|(_, name)| *name == attribute);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// The placeholder of a value.
    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// The user exists, and is as `precedent` says.
    pub(super) fn deletable(&mut self, precedent: Precedent<'_>) -> String {
        match precedent {
            Precedent::Exists => format!("attribute_exists({})", self.name("userId")),
            Precedent::Seen(user) => self.unchanged(user),
        }
    }

    /// There is no such user.
    #[cfg(feature = "local")]
    pub(super) fn absent(&mut self) -> String {
        let user_id = self.name("userId");
        format!("attribute_not_exists({user_id})")
    }

    /// The user is as it was `seen`, whoever writes to the table: each attribute it had (of
    /// more than 100, those that the service knows and the first of the rest) has the
    /// value it had, and each that the service knows and it had not is still absent. An
    /// attribute that another client adds goes unnoticed.
    pub(super) fn unchanged(&mut self, seen: &User) -> String {
        let mut condition = format!("attribute_exists({})", self.name("userId"));
        for (attribute, value) in seen.attributes().take(MAX_COMPARED) {
            let (name, value) = (self.name(attribute), self.value(value.clone().into()));
            condition += &format!(" AND {name} = {value}");
        }
        for attribute in seen.absent() {
            let name = self.name(attribute);
            condition += &format!(" AND attribute_not_exists({name})");
        }
        condition
    }

    /// The user exists, is as `precedent` says and can be counted up from, and
    /// was not last written `now`: a repeat of this write is to find itself.
    pub(super) fn changeable(&mut self, precedent: Precedent<'_>, now: Timestamp) -> String {
        let mut condition = self.deletable(precedent);
        if let Precedent::Exists = precedent {
            let version = self.name("version");
            let none = self.value(number(Version::NONE.get()));
            let max = self.value(number(Version::MAX.get()));
            condition += &format!(
                " AND (attribute_not_exists({version}) OR ({version} >= {none} AND {version} < {max}))"
            );
        }
        let updated_at = self.name("updatedAt");
        let now = self.value(string(&now.to_string()));
        condition += &format!(" AND (attribute_not_exists({updated_at}) OR {updated_at} <> {now})");
        condition
    }

    /// The user has a claim on its email address, which is `email` if that is given.
    pub(super) fn claims(&mut self, email: Option<&str>) -> String {
        // Each write that gives a version claims, while addresses are each one user's.
        let version = self.name("version");
        let first = self.value(number(Version::FIRST.get()));
        let mut condition = format!(" AND {version} >= {first}");
        if let Some(email) = email {
            let (name, email) = (self.name("email"), self.value(string(email)));
            condition += &format!(" AND {name} = {email}");
        }
        condition
    }

    /// Sets or removes `attributes`, and sets the service's own: the version is
    /// counted up, or is the one after what was seen.
    pub(super) fn update(
        &mut self,
        attributes: Attributes,
        precedent: Precedent<'_>,
        now: Timestamp,
    ) -> String {
        let mut set = Vec::new();
        let mut remove = Vec::new();
        for (attribute, value) in attributes {
            let name = self.name(attribute);
            match value {
                Some(value) => set.push(format!("{name} = {}", self.value(value.into()))),
                None => remove.push(name),
            }
        }
        let version = self.name("version");
        set.push(match precedent {
            Precedent::Exists => {
                let none = self.value(number(Version::NONE.get()));
                let one = self.value(number(1));
                format!("{version} = if_not_exists({version}, {none}) + {one}")
            }
            Precedent::Seen(user) => {
                let next = self.value(number(user.version().next().get()));
                format!("{version} = {next}")
            }
        });
        let updated_at = self.name("updatedAt");
        let now = self.value(string(&now.to_string()));
        set.push(format!("{updated_at} = {now}"));
        let set = set.join(", ");
        if remove.is_empty() {
            format!("SET {set}")
        } else {
            format!("SET {set} REMOVE {}", remove.join(", "))
        }
    }
}
