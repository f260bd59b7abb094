//! The `userId`.

use uuid::Uuid;

/// The maximum length of a DynamoDB partition key, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html>).
pub const MAX_KEY_BYTES: usize = 2048;

/// The identifier of a user: a partition key that DynamoDB can store and a path can contain. It
/// has 1 to 2,048 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId(String);

impl UserId {
    /// The `userId` of a user to look up. Another client may have stored the user, so this accepts
    /// more than [`UserId::for_creation`].
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the field.
    pub fn for_lookup(text: String) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("must not be empty")
        } else if text.len() > MAX_KEY_BYTES {
            Err("must be at most 2,048 bytes")
        } else if text.chars().any(char::is_control) {
            Err("must not hold control characters")
        } else {
            Ok(Self(text))
        }
    }

    /// The `userId` of a new user: 1 to 128 `unreserved` characters. A URI does not
    /// percent-encode these characters (RFC 3986 section 2.3).
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the field.
    pub fn for_creation(text: String) -> Result<Self, &'static str> {
        let unreserved = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        if (1..=128).contains(&text.len()) && text.chars().all(unreserved) {
            Ok(Self(text))
        } else {
            Err("must be 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
        }
    }

    /// The `userId` of a stored item. The text can be any key of the table.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A random `userId` (a version 4 UUID, RFC 9562).
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The `userId` as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
