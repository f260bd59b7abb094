//! Why DynamoDB did not do what it was asked.

/// A failure of DynamoDB, or of the way to it. Its text is for the log, and holds nothing of a
/// user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// DynamoDB was busy or out of reach. The same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The same call would fail again.
    #[error("{0}")]
    Failed(String),
}

/// Why a user was not written. Nothing of the write is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Another user has the `userId` of the new user, or the email address, or both.
    #[error("the userId, the email address or both are taken")]
    Taken {
        /// Whether the `userId` is taken.
        user_id: bool,
        /// Whether the email address is.
        email: bool,
    },
    /// The idempotency key of the creation is on record.
    #[error("the idempotency key is on record")]
    Recorded(Box<super::IdempotencyRecord>),
    /// DynamoDB did not do it.
    #[error(transparent)]
    Failed(#[from] Error),
}
