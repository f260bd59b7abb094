//! Errors of the operations.

use super::access::{Caller, Denial, Proof};
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
    /// A deleted user has the `userId`, and the caller is that user. It cannot create itself again.
    #[error("the caller is a deleted user")]
    UserDeleted {
        /// Whether the caller deleted itself. Then it may restore itself.
        by_itself: bool,
    },
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

/// Why a write that stores a new user failed. What the caller may know of it depends on the caller.
pub(super) enum NotStored {
    /// The caller may not write.
    Refused(Error),
    /// The store refused the write.
    Unwritten(WriteError),
}

impl NotStored {
    /// The error for `caller`. A user who is disabled learns nothing else.
    pub(super) fn told(self, caller: &Caller) -> Error {
        let stored = match &self {
            Self::Unwritten(WriteError::UserExists { stored, .. }) => Some(&**stored),
            Self::Unwritten(WriteError::UserDeleted(deleted)) => Some(&deleted.user),
            Self::Refused(_) | Self::Unwritten(_) => None,
        };
        if let Some(Err(error)) = stored.map(|stored| caller.may_act_on(stored)) {
            return error;
        }
        match self {
            Self::Refused(error) => error,
            Self::Unwritten(WriteError::UserDeleted(deleted)) => Error::UserDeleted {
                by_itself: caller.may_act_on_deleted(&deleted).is_ok(),
            },
            Self::Unwritten(error) => error.into(),
        }
    }
}

impl From<Error> for NotStored {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<WriteError> for NotStored {
    fn from(error: WriteError) -> Self {
        Self::Unwritten(error)
    }
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
            WriteError::UserExists { email, .. } => Self::UserExists { email },
            WriteError::UserDeleted(_) => Self::UserDeleted { by_itself: false },
            WriteError::EmailTaken => Self::EmailTaken,
            WriteError::Recorded(_) => Self::KeyReused,
            WriteError::TooLarge => Self::TooLarge,
            WriteError::Failed(error) => Self::Store(error),
        }
    }
}
