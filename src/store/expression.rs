//! The condition expressions and update expressions of a write.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::AttributeValue as Attribute;

use crate::user::{FIELDS, Field, State, User};

/// The maximum number of attributes that one condition compares. DynamoDB accepts 300 operators and
/// 4 KB in an expression. A comparison has two operators and 16 bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const MAX_COMPARED: usize = 100;

/// The attribute names and values in the expressions of one action. Each name has a placeholder for
/// two reasons. Some names, such as `name`, are reserved words of DynamoDB. Attributes of other
/// clients can have any character in their names.
#[derive(Default)]
pub(super) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// The names and the values, by placeholder. Without values, the second map is `None`, because
    /// DynamoDB rejects an empty map.
    pub(super) fn into_parts(
        self,
    ) -> (
        HashMap<String, String>,
        Option<HashMap<String, AttributeValue>>,
    ) {
        let values = Some(self.values).filter(|values| !values.is_empty());
        (self.names, values)
    }

    /// The placeholder of an attribute name.
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
    fn value(&mut self, value: Attribute) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value.into());
        placeholder
    }

    /// The condition that the attribute is absent. If the attribute is the partition key, the
    /// condition is that there is no such user.
    pub(super) fn absent(&mut self, attribute: &str) -> String {
        format!("attribute_not_exists({})", self.name(attribute))
    }

    /// The condition that the revision and the attributes that the service knows equal those of
    /// `read`. Another client may have written other attributes. A legacy user has no revision, so
    /// its condition is the same as [`Expression::unchanged`].
    pub(super) fn known_unchanged(&mut self, read: &User) -> String {
        match read.state() {
            Some(_) => {
                let known = read
                    .attributes()
                    .filter(|(name, _)| Field::named(name).is_some());
                self.compared(read, known)
            }
            None => self.unchanged(read),
        }
    }

    /// The condition that the revision and up to 100 attributes equal those of `read`. The
    /// attributes that the service knows come first. The condition does not detect an unknown
    /// attribute that another client adds.
    pub(super) fn unchanged(&mut self, read: &User) -> String {
        self.compared(read, read.attributes().take(MAX_COMPARED))
    }

    /// The condition that the user has the revision of `read` and these `attributes`. Known
    /// attributes that `read` does not have must be absent.
    fn compared<'a>(
        &mut self,
        read: &User,
        attributes: impl Iterator<Item = (&'a str, &'a Attribute)>,
    ) -> String {
        let mut conditions = vec![format!("attribute_exists({})", self.name("userId"))];
        conditions.extend(self.revision(read));
        for (name, value) in attributes {
            let (name, value) = (self.name(name), self.value(value.clone()));
            conditions.push(format!("{name} = {value}"));
        }
        let known = FIELDS.iter().map(|field| field.name);
        for name in known.filter(|name| read.attribute(name).is_none()) {
            conditions.push(self.absent(name));
        }
        conditions.join(" AND ")
    }

    /// The condition on the revision. If `user` has a state, the stored revision equals its
    /// revision. If `user` has no attribute `_userService`, the stored user has none either.
    fn revision(&mut self, user: &User) -> Option<String> {
        if user.state().is_none() {
            // If another client wrote `_userService`, it is compared like any other attribute.
            let is_absent = user.attribute(State::NAME).is_none();
            return is_absent.then(|| self.absent(State::NAME));
        }
        let revision = user.state()?.revision()?.clone();
        let (state, name) = (self.name(State::NAME), self.name(State::REVISION));
        Some(format!("{state}.{name} = {}", self.value(revision)))
    }

    /// The update that changes `before` into `after`. It sets and removes only attributes that
    /// differ. So attributes that other clients write at the same time stay.
    pub(super) fn update(&mut self, before: &User, after: &User) -> String {
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.item().collect(), after.item().collect());
        let removed = before.keys().filter(|name| !after.contains_key(*name));
        let removed: Vec<_> = removed.map(|name| self.name(name)).collect();
        let set = after
            .into_iter()
            .filter(|(name, value)| before.get(name) != Some(value))
            .map(|(name, value)| format!("{} = {}", self.name(name), self.value(value)));
        let mut update = format!("SET {}", set.collect::<Vec<_>>().join(", "));
        if !removed.is_empty() {
            update += &format!(" REMOVE {}", removed.join(", "));
        }
        update
    }
}
