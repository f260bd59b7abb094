//! Errors of calls to DynamoDB.

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The `userId` of a new user is taken, or another user has the email address, or both.
    #[error("the userId, the email address or both are taken")]
    Taken {
        /// Whether the `userId` is taken.
        user_id: bool,
        /// Whether the email address is taken.
        email: bool,
    },
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
