//! The service's own data in an item.

use serde_dynamo::AttributeValue;

use super::{EmailKey, Map, WriteId};

/// The service's own state of a user: the map attribute `_userService`. Responses do not show
/// the state.
///
/// Unknown members stay unchanged, because a newer version of the service may run at the same time
/// during a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct State(Map);

/// The email address on which the user holds a claim.
const EMAIL_KEY: &str = "emailKey";

impl State {
    /// The name of the attribute.
    pub const NAME: &str = "_userService";
    /// The name of the member with the revision. The revision is the id of the last write of the
    /// service. If the revision is unchanged, the service has not written the
    /// item since, but other clients can have changed it.
    pub const REVISION: &str = "revision";

    /// The state after the first write of an item.
    pub(super) fn new(write: WriteId) -> Self {
        Self(Map::new()).revised(write)
    }

    /// Reads the attribute [`State::NAME`].
    ///
    /// # Errors
    /// The attribute unchanged, if it is not a map with a `revision`. Another client wrote it.
    pub(super) fn read(attribute: AttributeValue) -> Result<Self, AttributeValue> {
        let is_own =
            matches!(&attribute, AttributeValue::M(map) if map.contains_key(Self::REVISION));
        match (is_own, attribute) {
            (true, AttributeValue::M(map)) => Ok(Self(map)),
            (_, anothers) => Err(anothers),
        }
    }

    /// The state as an attribute value.
    pub fn to_attribute(&self) -> AttributeValue {
        AttributeValue::M(self.0.clone())
    }

    /// The revision.
    pub fn revision(&self) -> Option<&AttributeValue> {
        self.0.get(Self::REVISION)
    }

    /// The id of the last write of the service.
    pub(super) fn last_write(&self) -> Option<WriteId> {
        match self.revision() {
            Some(AttributeValue::S(id)) => WriteId::parse(id),
            Some(_) | None => None,
        }
    }

    /// The same state with the revision of this `write`.
    pub(super) fn revised(mut self, write: WriteId) -> Self {
        let revision = AttributeValue::S(write.to_string());
        self.0.insert(Self::REVISION.to_owned(), revision);
        self
    }

    /// The email address on which the user holds a claim.
    pub fn email_key(&self) -> Option<EmailKey> {
        match self.0.get(EMAIL_KEY) {
            Some(AttributeValue::S(key)) => EmailKey::stored(key),
            _ => None,
        }
    }

    /// The same state with the claim on `key`, or without a claim if `key` is `None`.
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
