//! The conditions and updates that a write states to DynamoDB.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::AttributeValue as Attribute;

use super::action::item;
use crate::user::{FIELDS, Field, State, User};

/// The number of attributes that one condition compares. DynamoDB takes 300 operators and 4 KB in
/// an expression; a comparison is two operators and 16 bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const MAX_COMPARED: usize = 100;

/// The expressions of one action, with the names and values in them. Each name has a
/// placeholder: `name` and others are reserved words of DynamoDB, and other clients may have used
/// any character in theirs.
#[derive(Default)]
pub(super) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// Names and values by their placeholders. `None` if there are no values, for DynamoDB
    /// refuses an empty map.
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
    fn value(&mut self, value: Attribute) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value.into());
        placeholder
    }

    /// The attribute is absent. With the partition key: there is no such user.
    pub(super) fn absent(&mut self, attribute: &str) -> String {
        format!("attribute_not_exists({})", self.name(attribute))
    }

    /// The revision, and each attribute that the service knows, are as they were `read`. Another
    /// client may have written other attributes. A legacy user has no revision. For such a user,
    /// this is [`Expression::unchanged`].
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

    /// The revision and all attributes are as they were `read`, up to 100. The attributes that the
    /// service knows come first. This does not detect an unknown attribute that another client
    /// adds.
    pub(super) fn unchanged(&mut self, read: &User) -> String {
        self.compared(read, read.attributes().take(MAX_COMPARED))
    }

    /// The user has the same revision and these attributes. Known attributes that the user did not
    /// have are still absent.
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

    /// The stored revision is that of the user; there is none if the user has none.
    fn revision(&mut self, user: &User) -> Option<String> {
        if user.state().is_none() {
            // Another client's attribute of that name is compared like any other.
            let is_absent = user.attribute(State::NAME).is_none();
            return is_absent.then(|| self.absent(State::NAME));
        }
        let revision = user.state()?.revision()?.clone();
        let (state, name) = (self.name(State::NAME), self.name(State::REVISION));
        Some(format!("{state}.{name} = {}", self.value(revision)))
    }

    /// Changes `before` into `after`. It sets and removes only what differs, so that attributes
    /// which other clients write at the same time stay.
    pub(super) fn update(&mut self, before: &User, after: &User) -> String {
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (item(before).collect(), item(after).collect());
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
