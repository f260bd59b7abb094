//! Pages of users.

use crate::user::User;

/// The number of users that one page holds: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u8);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// The most that a page holds.
    pub const MAX: Self = Self(100);

    /// This number of users, if a page can hold it.
    pub fn new(users: u8) -> Option<Self> {
        (1..=Self::MAX.0).contains(&users).then_some(Self(users))
    }

    /// The number of users.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// The key after which a page begins. Any key of the table can be one: not each of them is a
/// [`UserId`](crate::user::UserId).
pub type StartKey = String;

/// Some users, and where the next page begins.
#[derive(Debug)]
pub struct Page {
    /// The users, in DynamoDB's order, which has no meaning.
    pub items: Vec<User>,
    /// `None` on the last page.
    pub next: Option<StartKey>,
}

impl Page {
    /// Its first `length` users, at least one if there is any. The next page begins after them.
    pub fn cut_to(mut self, length: usize) -> Self {
        let length = length.max(1);
        if length < self.items.len() {
            self.items.truncate(length);
            self.next = self.items.last().map(|last| last.user_id().to_owned());
        }
        self
    }
}
