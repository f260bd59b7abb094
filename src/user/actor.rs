//! Who wrote a user.

use serde_dynamo::AttributeValue;

use super::Map;

/// Who wrote a user: the value of `createdBy` and `updatedBy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A service, with the ARN of its identity.
    Service(String),
    /// A user, with its `userId`.
    User(String),
}

impl Actor {
    /// The actor as an attribute value: a map with `type` and `id`.
    pub(super) fn to_attribute(&self) -> AttributeValue {
        let (kind, id) = match self {
            Self::Service(arn) => ("service", arn),
            Self::User(user_id) => ("user", user_id),
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let members = [("type", text(kind)), ("id", text(id))];
        AttributeValue::M(Map::from(
            members.map(|(name, value)| (name.to_owned(), value)),
        ))
    }
}
