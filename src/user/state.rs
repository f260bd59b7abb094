//! What the service keeps in an item for itself.

use serde_dynamo::AttributeValue;
use uuid::Uuid;

use super::{EmailKey, Map};

/// The service's own state of a user: the map attribute `_userService`. Answers leave it out.
///
/// Members that this version of the service does not know stay: a newer version may run beside
/// it during a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct State(Map);

/// A random value that each write puts into the item. An item with the same revision has the
/// same attributes, except for those that other clients have written since.
const REVISION: &str = "revision";
/// The key of the email address whose claim the user holds.
const EMAIL_KEY: &str = "emailKey";

impl State {
    /// The attribute in which it is stored.
    pub const NAME: &str = "_userService";
    /// The document path of the revision in it, as an expression of DynamoDB names it.
    pub const REVISION_PATH: [&str; 2] = [Self::NAME, REVISION];

    /// The state after the first write of an item.
    pub(super) fn new() -> Self {
        Self(Map::new()).revised()
    }

    /// Reads the attribute. `None` if another client wrote it: it is no map with a `revision`.
    pub(super) fn read(value: &AttributeValue) -> Option<Self> {
        let AttributeValue::M(map) = value else {
            return None;
        };
        map.contains_key(REVISION).then(|| Self(map.clone()))
    }

    /// The attribute that holds it.
    pub fn to_attribute(&self) -> AttributeValue {
        AttributeValue::M(self.0.clone())
    }

    /// The revision.
    pub fn revision(&self) -> Option<&AttributeValue> {
        self.0.get(REVISION)
    }

    /// The same state with a fresh revision.
    pub(super) fn revised(mut self) -> Self {
        let revision = AttributeValue::S(Uuid::new_v4().to_string());
        self.0.insert(REVISION.to_owned(), revision);
        self
    }

    /// The key of the email address whose claim the user holds, if it holds one.
    pub fn email_key(&self) -> Option<EmailKey> {
        match self.0.get(EMAIL_KEY) {
            Some(AttributeValue::S(key)) => Some(EmailKey::stored(key)),
            _ => None,
        }
    }

    /// The same state, which records that the user holds the claim on `key`, or none.
    pub(super) fn holding(mut self, key: Option<&EmailKey>) -> Self {
        match key {
            Some(key) => {
                let key = AttributeValue::S(key.as_str().to_owned());
                self.0.insert(EMAIL_KEY.to_owned(), key)
            }
            None => self.0.remove(EMAIL_KEY),
        };
        self
    }
}
