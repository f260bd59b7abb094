//! Pages of users and of other items.

use crate::user::User;

/// The maximum number of items in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// The highest limit that a client can choose.
    pub const MAX: Self = Self(100);
    /// The number of records of the history in an export.
    pub const EXPORT: Self = Self(1_000);

    /// A limit of this number of items. `None` if the number is not from 1 to 100.
    pub fn new(items: u16) -> Option<Self> {
        (1..=Self::MAX.0).contains(&items).then_some(Self(items))
    }

    /// The number of items.
    pub fn get(self) -> usize {
        self.0.into()
    }

    /// The number of items, for a call to DynamoDB.
    pub(super) fn in_call(self) -> i32 {
        self.0.into()
    }

    /// What a call to DynamoDB asks for: one item more than the page has. If DynamoDB finds it, the
    /// page is not the last page.
    pub(super) fn and_one_more(self) -> i32 {
        self.in_call() + 1
    }
}

/// The key after which a page begins. It can be any key of the table, including keys that
/// [`UserId::for_lookup`](crate::user::UserId::for_lookup) rejects.
pub type StartKey = String;

/// An item of a page.
pub trait Keyed {
    /// The key in the table or, in a history, among the records of the user.
    fn key(&self) -> &str;
}

impl Keyed for User {
    fn key(&self) -> &str {
        self.user_id()
    }
}

/// The items of one page, and the start key of the next page.
#[derive(Debug)]
pub struct Page<T> {
    /// The items, in the order of DynamoDB.
    pub items: Vec<T>,
    /// The start key of the next page. `None` on the last page.
    pub next: Option<StartKey>,
}

impl<T: Keyed> Page<T> {
    /// Keeps the first `length` items, but at least one if there are any. The next page begins
    /// after them.
    pub fn cut_to(mut self, length: usize) -> Self {
        let length = length.max(1);
        if length < self.items.len() {
            self.items.truncate(length);
            self.next = self.items.last().map(|last| last.key().to_owned());
        }
        self
    }
}
