//! The conditions and updates that writes state to DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{number, string};
use crate::{
    precondition::IfMatch,
    user::{Attributes, Timestamp, User, Version},
};

/// What a write comes after.
#[derive(Clone, Copy)]
pub(super) enum Precedent<'a> {
    /// A version of this service that the request allows, or none yet.
    Version(&'a IfMatch),
    /// What has been read, and nothing later.
    Seen(&'a User),
}

impl<'a> Precedent<'a> {
    /// What the next attempt of a write comes after, now that `stored` has been
    /// seen and `if_match` allows it: only a version of this service can be
    /// counted up by DynamoDB.
    pub(super) fn of(stored: &'a User, if_match: &'a IfMatch) -> Self {
        match stored.attribute("version") {
            Some(_) if stored.version() == Version::default() => Self::Seen(stored),
            Some(_) | None => Self::Version(if_match),
        }
    }
}

/// Expressions of one call, with the names and values that stand in them. Every
/// name has a placeholder, for `name` and others are DynamoDB's reserved words.
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

    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let placeholder = format!(":{name}");
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// The user exists, and is as `precedent` says.
    pub(super) fn deletable(&mut self, precedent: Precedent<'_>) -> String {
        match precedent {
            Precedent::Version(if_match) => self.matching(if_match),
            Precedent::Seen(user) => self.unchanged(user),
        }
    }

    /// There is no such user.
    #[cfg(feature = "local")]
    pub(super) fn absent(&mut self) -> String {
        let user_id = self.name("userId");
        format!("attribute_not_exists({user_id})")
    }

    /// No write of this service has come after `seen`.
    pub(super) fn unchanged(&mut self, seen: &User) -> String {
        let user_id = self.name("userId");
        let mut condition = format!("attribute_exists({user_id})");
        for attribute in ["version", "updatedAt", "email"] {
            let name = self.name(attribute);
            condition += &match seen.attribute(attribute) {
                Some(value) => {
                    let value = self.value(&format!("seen_{attribute}"), value.clone().into());
                    format!(" AND {name} = {value}")
                }
                None => format!(" AND attribute_not_exists({name})"),
            };
        }
        condition
    }

    /// The user exists in one of the versions.
    fn matching(&mut self, if_match: &IfMatch) -> String {
        let user_id = self.name("userId");
        let exists = format!("attribute_exists({user_id})");
        let IfMatch::OneOf(versions) = if_match else {
            return exists;
        };
        if versions.is_empty() {
            return format!("{exists} AND attribute_not_exists({user_id})"); // never
        }
        let version = self.name("version");
        let named = versions.iter().enumerate();
        let named =
            named.map(|(index, version)| self.value(&format!("version{index}"), number(version.0)));
        let named = named.collect::<Vec<_>>().join(", ");
        let unversioned = if versions.contains(&Version::default()) {
            format!(" OR attribute_not_exists({version})")
        } else {
            String::new()
        };
        format!("{exists} AND ({version} IN ({named}){unversioned})")
    }

    /// The user exists, is as `precedent` says and can be counted up from, and
    /// was not last written `now`: a repeat of this write is to find itself.
    pub(super) fn changeable(&mut self, precedent: Precedent<'_>, now: Timestamp) -> String {
        let mut condition = self.deletable(precedent);
        if let Precedent::Version(_) = precedent {
            let (version, zero) = (self.name("version"), self.value("zero", number(0)));
            condition += &format!(" AND (attribute_not_exists({version}) OR {version} >= {zero})");
        }
        let updated_at = self.name("updatedAt");
        let now = self.value("now", string(&now.to_string()));
        condition += &format!(" AND (attribute_not_exists({updated_at}) OR {updated_at} <> {now})");
        condition
    }

    /// The user has a claim on its email address, which is `email` if that is given.
    pub(super) fn claims(&mut self, email: Option<&str>) -> String {
        // Each write that gives a version claims, while addresses are each one user's.
        let version = self.name("version");
        let first = self.value("first", number(Version::FIRST.0));
        let mut condition = format!(" AND {version} >= {first}");
        if let Some(email) = email {
            let name = self.name("email");
            let email = self.value("claimed", string(email));
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
                Some(value) => {
                    set.push(format!("{name} = {}", self.value(attribute, value.into())));
                }
                None => remove.push(name),
            }
        }
        let version = self.name("version");
        set.push(match precedent {
            Precedent::Version(_) => {
                let zero = self.value("zero", number(0));
                let first = self.value("first", number(Version::FIRST.0));
                format!("{version} = if_not_exists({version}, {zero}) + {first}")
            }
            Precedent::Seen(user) => {
                let next = self.value("next", number(user.version().next().0));
                format!("{version} = {next}")
            }
        });
        let updated_at = self.name("updatedAt");
        let now = self.value("now", string(&now.to_string()));
        set.push(format!("{updated_at} = {now}"));
        let set = set.join(", ");
        if remove.is_empty() {
            format!("SET {set}")
        } else {
            format!("SET {set} REMOVE {}", remove.join(", "))
        }
    }
}
