//! Why an operation was not done.

use super::access::{Denial, Proof};
use crate::{
    store::{self, WriteError},
    user::{self, FieldErrors},
};

/// Why an operation was not done. Nothing has changed then, except after
/// [`store::Error::Unavailable`], when the outcome of a write is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is known of the caller.
    #[error("the caller is unknown")]
    Unauthenticated(Proof),
    /// The caller may not do this.
    #[error("the caller may not do this")]
    Denied(Denial),
    /// The caller may not know whether there is such a user.
    #[error("the user is another than the caller")]
    Hidden,
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// A user has this `userId` already, and maybe one has this email address too.
    #[error("the userId is taken")]
    UserExists {
        /// Whether the address is taken, too.
        email: bool,
    },
    /// A user has this email address already.
    #[error("the email address is taken")]
    EmailTaken,
    /// The idempotency key belongs to another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The user is not as the caller's condition says.
    #[error("the user is not as the condition says")]
    PreconditionFailed,
    /// Fields break their rules.
    #[error("fields break their rules")]
    Invalid(FieldErrors),
    /// Users cannot be looked up by email address if they may share one.
    #[error("users may share an email address")]
    EmailsAreShared,
    /// DynamoDB did not do it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<user::Error> for Error {
    fn from(error: user::Error) -> Self {
        match error {
            user::Error::Invalid(errors) => Self::Invalid(errors),
            user::Error::OtherVersion => Self::PreconditionFailed,
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Taken {
                user_id: true,
                email,
            } => Self::UserExists { email },
            WriteError::Taken { user_id: false, .. } => Self::EmailTaken,
            WriteError::Recorded(_) => Self::KeyReused,
            WriteError::Failed(error) => Self::Store(error),
        }
    }
}
