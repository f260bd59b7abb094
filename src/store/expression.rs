//! The conditions and updates that writes state to DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{number, string};
use crate::{
    precondition::IfMatch,
    user::{Timestamp, User, UserInput, Version},
};

/// What a write comes after.
pub(super) enum Precedent<'a> {
    /// A version of this service, or none yet.
    Version(&'a IfMatch),
    /// A `version` that has been seen and is not one of this service.
    Foreign(AttributeValue),
}

impl<'a> Precedent<'a> {
    /// What the next attempt comes after, now that `stored` has been seen and
    /// `if_match` allows it.
    pub(super) fn of(stored: &User, if_match: &'a IfMatch) -> Self {
        match stored.attribute("version") {
            Some(version) if stored.version() == Version::default() => {
                Self::Foreign(version.clone().into())
            }
            Some(_) | None => Self::Version(if_match),
        }
    }
}

/// Expressions of one call, with the names and values that stand in them. Every
/// name has a placeholder, for `name` and others are DynamoDB's reserved words.
#[derive(Default)]
pub(super) struct Expression {
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Expression {
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
    pub(super) fn deletable(&mut self, precedent: &Precedent<'_>) -> String {
        match precedent {
            Precedent::Version(if_match) => self.matching(if_match),
            Precedent::Foreign(seen) => {
                let version = self.name("version");
                format!("{version} = {}", self.value("seen", seen.clone()))
            }
        }
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
    pub(super) fn replaceable(&mut self, precedent: &Precedent<'_>, now: Timestamp) -> String {
        let mut condition = self.deletable(precedent);
        if let Precedent::Version(_) = precedent {
            let (version, zero) = (self.name("version"), self.value("zero", number(0)));
            condition += &format!(" AND (attribute_not_exists({version}) OR {version} >= {zero})");
        }
        let updated_at = self.name("updatedAt");
        let now = self.value("updatedAt", string(&now.to_string()));
        condition += &format!(" AND (attribute_not_exists({updated_at}) OR {updated_at} <> {now})");
        condition
    }

    /// Sets or removes what a client may write, and sets the service's own.
    pub(super) fn update(
        &mut self,
        input: UserInput,
        precedent: &Precedent<'_>,
        now: Timestamp,
    ) -> String {
        let mut set = Vec::new();
        let mut remove = Vec::new();
        for (attribute, value) in input.into_attributes() {
            let name = self.name(attribute);
            match value {
                Some(value) => {
                    set.push(format!("{name} = {}", self.value(attribute, value.into())));
                }
                None => remove.push(name),
            }
        }
        let (version, first) = (
            self.name("version"),
            self.value("first", number(Version::FIRST.0)),
        );
        set.push(match precedent {
            Precedent::Version(_) => {
                let zero = self.value("zero", number(0));
                format!("{version} = if_not_exists({version}, {zero}) + {first}")
            }
            Precedent::Foreign(_) => format!("{version} = {first}"),
        });
        let updated_at = self.name("updatedAt");
        let now = self.value("updatedAt", string(&now.to_string()));
        set.push(format!("{updated_at} = {now}"));
        let set = set.join(", ");
        if remove.is_empty() {
            format!("SET {set}")
        } else {
            format!("SET {set} REMOVE {}", remove.join(", "))
        }
    }
}
