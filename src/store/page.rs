//! Pages of users.

use crate::user::User;

/// The maximum number of users in one page: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u8);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// The highest limit.
    pub const MAX: Self = Self(100);

    /// A limit of this number of users. `None` if the number is not from 1 to 100.
    pub fn new(users: u8) -> Option<Self> {
        (1..=Self::MAX.0).contains(&users).then_some(Self(users))
    }

    /// The number of users.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// The key after which a page begins. It can be any key of the table, including keys that
/// [`UserId::for_lookup`](crate::user::UserId::for_lookup) rejects.
pub type StartKey = String;

/// The users of one page, and the start key of the next page.
#[derive(Debug)]
pub struct Page {
    /// The users, in the order of DynamoDB. The order has no meaning.
    pub items: Vec<User>,
    /// The start key of the next page. `None` on the last page.
    pub next: Option<StartKey>,
}

impl Page {
    /// Keeps the first `length` users, but at least one user if there are any. The next page begins
    /// after them.
    pub fn cut_to(mut self, length: usize) -> Self {
        let length = length.max(1);
        if length < self.items.len() {
            self.items.truncate(length);
            self.next = self.items.last().map(|last| last.user_id().to_owned());
        }
        self
    }
}
