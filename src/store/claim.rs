//! Claims on email addresses: a table of their own, where each address that a user
//! has names that user. A user and its claim are written in one transaction, so that
//! neither is ever there without the other.
//!
//! Users from before have no claim, and no `version` either: their next write claims
//! for them. An item to which another client has given a `version` gets its claim from
//! `claim-emails`, or when its address changes.

use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put,
    ReturnValuesOnConditionCheckFailure::AllOld,
    TransactWriteItem,
    builders::{PutBuilder, TransactWriteItemBuilder},
};

use super::{
    RETRIEVE, UserStore,
    call::{in_time, no_condition},
    string,
    transaction::action,
    user,
};
use crate::{
    error::Error,
    request::invalid_parameter,
    user::{EmailKey, User, UserId},
};

/// How often a lookup looks again where the address has just moved.
const MOST_LOOKS: usize = 8;

/// Who holds the claim on the address that a user leaves. Two users that other clients stored
/// can have one address; at most one of them holds the claim.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holding {
    /// The user's, or nobody's.
    Own,
    /// Another user's.
    Anothers,
}

impl Holding {
    /// The other way round.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Own => Self::Anothers,
            Self::Anothers => Self::Own,
        }
    }

    /// Gives up the user's claim on `email`, or checks that it is another's still.
    pub(super) fn end(self, emails: &str, email: &EmailKey, user_id: &str) -> TransactWriteItem {
        match self {
            Self::Own => release(emails, email.as_str(), user_id),
            Self::Anothers => {
                let check = ConditionCheck::builder().table_name(emails);
                let check = check.key("email", string(email.as_str()));
                let check = check.condition_expression("userId <> :userId");
                let check = check.expression_attribute_values(":userId", string(user_id));
                action(check.build(), TransactWriteItemBuilder::condition_check)
            }
        }
    }
}

impl UserStore {
    /// The user who has the address `email`, as every write that was answered before
    /// left it.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::Store`], and [`Error::InvalidParameter`] where
    /// addresses are shared.
    pub async fn find(&self, email: &EmailKey) -> Result<User, Error> {
        let Some(emails) = &self.tables.emails else {
            let message = "finds nobody here, where users may share one; UNIQUE_EMAILS is off";
            return Err(invalid_parameter("email", message));
        };
        let mut seen = None;
        for _ in 0..MOST_LOOKS {
            let call = self.client.get_item().table_name(&**emails);
            let call = call
                .key("email", string(email.as_str()))
                .consistent_read(true);
            let call = call.customize().interceptor(self.attempts()).send();
            let output = in_time(self.deadline, call, no_condition).await;
            let claim = output.map_err(|failure| failure.into_error(RETRIEVE))?.item;
            let owner = claim.map(user).ok_or(Error::UserNotFound)?;
            let owner = owner.user_id().to_owned();
            let owner = UserId::for_lookup(owner).map_err(|_| Error::UserNotFound)?;
            match self.get(&owner, true).await {
                Ok(user) if EmailKey::of_user(&user).as_ref() == Some(email) => return Ok(user),
                // The claim is left over.
                Ok(_) | Err(Error::UserNotFound) if seen.as_ref() == Some(&owner) => break,
                // It has moved between the two calls.
                Ok(_) | Err(Error::UserNotFound) => seen = Some(owner),
                Err(error) => return Err(error),
            }
        }
        Err(Error::UserNotFound)
    }
}

const FREE_OR_OWN: &str = "attribute_not_exists(email) OR userId = :userId";

fn claim(emails: &str, email: &EmailKey, user_id: &str) -> PutBuilder {
    let put = Put::builder().table_name(emails);
    let put = put
        .item("email", string(email.as_str()))
        .item("userId", string(user_id));
    put.return_values_on_condition_check_failure(AllOld)
}

/// Claims `email` for the user, where nobody has a claim on it.
pub(super) fn claim_free(emails: &str, email: &EmailKey, user_id: &str) -> TransactWriteItem {
    let put = claim(emails, email, user_id).condition_expression("attribute_not_exists(email)");
    action(put.build(), TransactWriteItemBuilder::put)
}

/// Claims `email` for the user, who may have a claim on it already.
pub(super) fn claim_or_keep(emails: &str, email: &EmailKey, user_id: &str) -> TransactWriteItem {
    let put = claim(emails, email, user_id).condition_expression(FREE_OR_OWN);
    let put = put.expression_attribute_values(":userId", string(user_id));
    action(put.build(), TransactWriteItemBuilder::put)
}

/// Gives up the user's claim on `email`, if there is one.
pub(super) fn release(emails: &str, email: &str, user_id: &str) -> TransactWriteItem {
    let delete = Delete::builder().table_name(emails);
    let delete = delete.key("email", string(email));
    let delete = delete.condition_expression(FREE_OR_OWN);
    let delete = delete.expression_attribute_values(":userId", string(user_id));
    action(delete.build(), TransactWriteItemBuilder::delete)
}
