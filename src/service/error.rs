//! Errors of the operations.

use super::access::{Denial, Proof};
use crate::{
    store::{self, WriteError},
    user::{self, FieldErrors},
};

/// Why an operation failed. After [`store::Error::Unavailable`], the outcome of a write is unknown.
/// After all other errors, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request has no valid credentials. It needs this proof.
    #[error("the caller is unknown")]
    Unauthenticated(Proof),
    /// The caller may not call the operation.
    #[error("the caller may not do this")]
    Denied(Denial),
    /// The caller may not find out whether there is such a user.
    #[error("the user is another than the caller")]
    Hidden,
    /// The caller is a disabled user. It may only read its own record.
    #[error("the caller is disabled")]
    UserDisabled,
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// No deleted user has this `userId`.
    #[error("there is no such deleted user")]
    NoDeletedUser,
    /// The user does not fit among the deleted users. It can only be erased.
    #[error("the user is too large to be kept as a deleted user")]
    TooLarge,
    /// The service keeps no history.
    #[error("there is no history")]
    HistoryIsOff,
    /// The `userId` is taken. The email address may be taken, too.
    #[error("the userId is taken")]
    UserExists {
        /// Whether the email address is taken, too.
        email: bool,
    },
    /// Another user has the email address.
    #[error("the email address is taken")]
    EmailTaken,
    /// The idempotency key belongs to another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The user does not meet the caller's precondition.
    #[error("the user is not as the condition says")]
    PreconditionFailed,
    /// Fields break their rules.
    #[error("fields break their rules")]
    Invalid(FieldErrors),
    /// Users may share an email address, so a lookup by email address is not possible.
    #[error("users may share an email address")]
    EmailsAreShared,
    /// The call to DynamoDB failed.
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
            WriteError::TooLarge => Self::TooLarge,
            WriteError::Failed(error) => Self::Store(error),
        }
    }
}
