//! An email address, and what makes two of them the same.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizer;

use super::{MAX_KEY_BYTES, User};

/// An email address in the one form that all its spellings share: trimmed, in
/// Unicode's composed form (NFC) and lower case. At most one user has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailKey(String);

impl EmailKey {
    /// The key of the address `email`; `None` where it can be none: it is empty, or
    /// longer than a key of DynamoDB.
    pub fn of(email: &str) -> Option<Self> {
        let composed = ComposingNormalizer::new_nfc();
        let lower_case = composed.normalize(email.trim()).to_lowercase();
        let key = match composed.normalize(&lower_case) {
            Cow::Borrowed(_) => lower_case,
            Cow::Owned(composed) => composed,
        };
        (1..=MAX_KEY_BYTES)
            .contains(&key.len())
            .then_some(Self(key))
    }

    /// The key of the address of a stored user; `None` where it has none.
    pub fn of_user(user: &User) -> Option<Self> {
        user.text("email").and_then(Self::of)
    }

    /// Reads an `email` parameter.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the parameter's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.contains('@') {
            return Err("must be an email address, such as ada@example.com");
        }
        Self::of(text).ok_or("must be at most 2,048 bytes")
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
