//! Errors of calls to DynamoDB.

use crate::user::{DeletedUser, User};

/// A failure of DynamoDB or of the connection to it. The text is for the log, and has no user data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// DynamoDB was busy or not reachable. The same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The same call would fail again.
    #[error("{0}")]
    Failed(String),
}

/// Why the write of a user failed. After [`Error::Unavailable`], the outcome is unknown. After all
/// other errors, nothing is stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// There is already a user with the `userId` of a new user.
    #[error("the userId is taken")]
    UserExists {
        /// The user that is stored.
        stored: Box<User>,
        /// Whether a user also has the email address.
        email: bool,
    },
    /// A deleted user has the `userId` of a new user, who must not be created over it.
    #[error("a deleted user has the userId")]
    UserDeleted(Box<DeletedUser>),
    /// Another user has the email address.
    #[error("the email address is taken")]
    EmailTaken,
    /// There is already a record with the idempotency key of the creation.
    #[error("the idempotency key is on record")]
    Recorded(Box<super::IdempotencyRecord>),
    /// The user does not fit into an item of the deleted users.
    #[error("the user is too large to be kept as a deleted user")]
    TooLarge,
    /// The call to DynamoDB failed.
    #[error(transparent)]
    Failed(#[from] Error),
}
