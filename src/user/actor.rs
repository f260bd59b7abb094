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
    /// A command of an operator, with its name.
    Command(&'static str),
}

impl Actor {
    /// The type of the actor: `service`, `user` or `command`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::User(_) => "user",
            Self::Command(_) => "command",
        }
    }

    /// The ARN, the `userId` or the name of the actor.
    pub fn id(&self) -> &str {
        match self {
            Self::Service(arn) => arn,
            Self::User(user_id) => user_id,
            Self::Command(name) => name,
        }
    }

    /// The actor as an attribute value: a map with `type` and `id`.
    pub(super) fn to_attribute(&self) -> AttributeValue {
        let (kind, id) = (self.kind(), self.id());
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let members = [("type", text(kind)), ("id", text(id))];
        AttributeValue::M(Map::from(
            members.map(|(name, value)| (name.to_owned(), value)),
        ))
    }
}
