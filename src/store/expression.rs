//! The conditions and updates that writes state to DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::AttributeValue as Attribute;

use crate::user::User;

/// Attributes that one condition compares. DynamoDB takes 300 operators and 4 KB in an
/// expression; a comparison is two operators and 16 bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const MAX_COMPARED: usize = 100;

/// Expressions of one action, with the names and values that stand in them. Every
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

    /// There is no such user.
    pub(super) fn absent(&mut self) -> String {
        format!("attribute_not_exists({})", self.name("userId"))
    }

    /// The user is as it was `seen`, as far as the service knows its attributes: each has the
    /// value it had, and each that it had not is still absent.
    pub(super) fn known_unchanged(&mut self, seen: &User) -> String {
        self.compared(seen, seen.known())
    }

    /// The user is as it was `seen`, whoever writes to the table: each attribute it had (of
    /// more than 100, those that the service knows and the first of the rest) has the
    /// value it had, and each that the service knows and it had not is still absent. An
    /// attribute that another client adds goes unnoticed.
    pub(super) fn unchanged(&mut self, seen: &User) -> String {
        self.compared(seen, seen.attributes().take(MAX_COMPARED))
    }

    fn compared<'a>(
        &mut self,
        seen: &User,
        attributes: impl Iterator<Item = (&'a str, &'a Attribute)>,
    ) -> String {
        let mut condition = format!("attribute_exists({})", self.name("userId"));
        for (attribute, value) in attributes {
            let (name, value) = (self.name(attribute), self.value(value.clone().into()));
            condition += &format!(" AND {name} = {value}");
        }
        for attribute in seen.absent() {
            let name = self.name(attribute);
            condition += &format!(" AND attribute_not_exists({name})");
        }
        condition
    }

    /// Makes `after` of `before`: sets and removes what differs, and nothing else, so that
    /// what other clients write beside it stays.
    pub(super) fn update(&mut self, before: &User, after: &User) -> String {
        let differs = |(name, value): &(&str, _)| before.attribute(name) != Some(*value);
        let set = after.attributes().filter(differs).map(|(name, value)| {
            let (name, value) = (self.name(name), self.value(value.clone().into()));
            format!("{name} = {value}")
        });
        let mut update = format!("SET {}", set.collect::<Vec<_>>().join(", "));
        let gone = before.attributes();
        let gone = gone.filter(|(name, _)| after.attribute(name).is_none());
        let gone = gone.map(|(name, _)| self.name(name));
        let gone = gone.collect::<Vec<_>>();
        if !gone.is_empty() {
            update += &format!(" REMOVE {}", gone.join(", "));
        }
        update
    }
}
