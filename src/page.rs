//! Listing: how many users a page holds, and where the next one begins.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::user::{MAX_KEY_BYTES, User};

/// How many users one page holds: 1 to 100.
#[derive(Clone, Copy, Debug)]
pub struct Limit(u8);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// The most that a page holds.
    pub const MOST: Self = Self(100);

    /// Reads a `limit` parameter.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the parameter's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit @ 1..=100) if digits => Ok(Self(limit)),
            _ => Err("must be a whole number from 1 to 100"),
        }
    }

    /// The number of users.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Where a page begins: after the user it names. Opaque to clients; its text is
/// safe in a URL.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Any key of the table: not every one of them is a [`crate::user::UserId`].
    after: String,
}

/// Says how the rest of a cursor is read, so that it can change one day.
const CURSOR_FORMAT: u8 = 1;

impl Cursor {
    /// The page that begins after the user with the key `after`.
    pub fn after(after: String) -> Self {
        Self { after }
    }

    /// The key of the user that the page begins after.
    pub fn key(&self) -> &str {
        &self.after
    }

    /// Its text, for a client to send back.
    pub fn encode(&self) -> String {
        let mut bytes = vec![CURSOR_FORMAT];
        bytes.extend_from_slice(self.after.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a `cursor` parameter.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the parameter's name.
    pub fn decode(text: &str) -> Result<Self, &'static str> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .as_deref()
            .and_then(|bytes| bytes.strip_prefix(&[CURSOR_FORMAT]))
            .filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()))
            .and_then(|key| String::from_utf8(key.to_vec()).ok())
            .map(Self::after)
            .ok_or("must be a nextCursor that this service gave")
    }
}

/// Some users, and where the next page begins if there is one.
#[derive(Debug)]
pub struct Page {
    /// The users, in DynamoDB's order, which is none.
    pub items: Vec<User>,
    /// `None` on the last page.
    pub next: Option<Cursor>,
}

impl Page {
    /// Its first `length` users, at least one where there is any; the next page begins after
    /// them.
    pub fn cut_to(mut self, length: usize) -> Self {
        let length = length.max(1);
        if length < self.items.len() {
            self.items.truncate(length);
            let last = self.items.last();
            self.next = last.map(|last| Cursor::after(last.user_id().to_owned()));
        }
        self
    }
}
