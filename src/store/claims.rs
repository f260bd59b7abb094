//! Claims on email addresses. A claim tells which user has an address.
//!
//! Claims have their own table. A claim has the key of the address and the `userId` of the user. A
//! user and its claim are written in one transaction. The item of a user records the claim
//! that the user holds.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Consistency, Error, UserStore, call::failure, string, text};
use crate::user::{EmailKey, User, UserId};

/// The maximum number of attempts of a lookup, in case the claim moves to another user.
const MAX_LOOKUPS: usize = 8;

/// The result of a lookup by email address.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The user who has the address.
    User(Box<User>),
    /// No user has the address.
    Nobody,
    /// Users may share addresses, so there are no claims.
    NoClaims,
}

impl UserStore {
    /// Finds the user who has an email address. The reads are strongly consistent.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn find(&self, email: &EmailKey) -> Result<Found, Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok(Found::NoClaims);
        };
        let mut seen = None;
        for _ in 0..MAX_LOOKUPS {
            let Some(owner) = self.owner(emails, email).await? else {
                return Ok(Found::Nobody);
            };
            match self.get(&owner, Consistency::Strong).await? {
                Some(user) if user.email_key().as_ref() == Some(email) => {
                    return Ok(Found::User(Box::new(user)));
                }
                // The claim is left over: its user does not exist or has another address.
                Some(_) | None if seen.as_ref() == Some(&owner) => return Ok(Found::Nobody),
                // The claim may have moved between the two calls, so look again.
                Some(_) | None => seen = Some(owner),
            }
        }
        Ok(Found::Nobody)
    }

    /// The user who holds the claim on an address.
    async fn owner(&self, emails: &str, email: &EmailKey) -> Result<Option<UserId>, Error> {
        let claim = self.claim(emails, email).await?;
        Ok(claim.as_ref().and_then(holder_in))
    }

    /// The item of the claim on an address. The read is strongly consistent.
    pub(super) async fn claim(
        &self,
        emails: &str,
        email: &EmailKey,
    ) -> Result<Option<HashMap<String, AttributeValue>>, Error> {
        let call = self
            .client
            .get_item()
            .table_name(emails)
            .key("email", string(email.as_str()))
            .consistent_read(true)
            .customize()
            .interceptor(self.attempts())
            .send();
        Ok(self.in_time(call).await.map_err(failure)?.item)
    }
}

/// The user that a claim names.
pub(super) fn holder_in(claim: &HashMap<String, AttributeValue>) -> Option<UserId> {
    UserId::for_lookup(text(claim, "userId")?).ok()
}
