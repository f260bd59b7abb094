//! What `claim-emails` asks of DynamoDB (feature `local`): claims for users from before,
//! and claims that are left over.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, KeysAndAttributes, ReturnValuesOnConditionCheckFailure::AllOld,
    builders::TransactWriteItemBuilder,
};

use super::{
    RETRIEVE, SAVE, UserStore,
    call::{Failure, in_time, no_condition},
    claim::{claim_free, release},
    expression::Expression,
    pauses::Pauses,
    string,
    transaction::action,
    user,
};
use crate::{
    error::Error,
    page::{Cursor, Limit},
    user::{EmailKey, User, UserId},
};

/// A claim on an email address: who has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    email: String,
    user_id: String,
}

impl Claim {
    fn read(item: HashMap<String, AttributeValue>) -> Option<Self> {
        let item = user(item);
        let email = item.text("email")?.to_owned();
        // Another client's item may name nobody: it is no claim.
        let user_id = item.text("userId").filter(|user_id| !user_id.is_empty());
        let user_id = user_id?.to_owned();
        Some(Self { email, user_id })
    }

    /// Whether `user` is the one who has the address.
    fn is_of(&self, user: &User) -> bool {
        user.user_id() == self.user_id
            && EmailKey::of_user(user).is_some_and(|email| email.as_str() == self.email)
    }
}

/// Who has a user's email address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The user, since just now.
    Now,
    /// The user, since before.
    Before,
    /// Another user, with this `userId`.
    ByAnother(String),
    /// Nobody: the user has none, or is gone.
    Nothing,
}

impl UserStore {
    /// Which of at most 100 `users` have a claim on their address.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn have_claims(&self, users: &[User]) -> Result<Vec<bool>, Error> {
        let addresses = users.iter().map(EmailKey::of_user);
        let addresses: Vec<_> = addresses.collect();
        let keys: BTreeSet<_> = addresses.iter().flatten().map(EmailKey::as_str).collect();
        let Some(emails) = self.tables.emails.as_deref().filter(|_| !keys.is_empty()) else {
            return Ok(vec![false; users.len()]);
        };
        let claims = self.get_all(emails, "email", keys).await?.into_iter();
        let claims: Vec<_> = claims.filter_map(Claim::read).collect();
        let claimed = users
            .iter()
            .map(|user| claims.iter().any(|claim| claim.is_of(user)));
        Ok(claimed.collect())
    }

    /// The `userId` and `email` of those items of `table` that have one of at most 100
    /// `keys`.
    ///
    /// One call answers with at most 16 MB, and less where DynamoDB is busy. The keys that it
    /// leaves are asked for again, after pauses that grow, until none is left
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
    async fn get_all(
        &self,
        table: &str,
        key_name: &str,
        keys: BTreeSet<&str>,
    ) -> Result<Vec<HashMap<String, AttributeValue>>, Error> {
        let keys = keys.into_iter();
        let keys = keys.map(|key| HashMap::from([(key_name.to_owned(), string(key))]));
        let keys = KeysAndAttributes::builder().set_keys(Some(keys.collect()));
        let keys = keys.projection_expression("userId, email");
        let keys = keys.consistent_read(true).build();
        let keys = keys.expect("every request names its keys");
        let mut left = HashMap::from([(table.to_owned(), keys)]);
        let mut items = Vec::new();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self.client.batch_get_item().set_request_items(Some(left));
            let call = call.customize().interceptor(self.attempts()).send();
            let output = in_time(self.deadline, call, no_condition).await;
            let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
            items.extend(output.responses.unwrap_or_default().into_values().flatten());
            left = output.unprocessed_keys.unwrap_or_default();
            if left.is_empty() {
                return Ok(items);
            }
            if !pauses.wait().await {
                let cause = String::from("DynamoDB left keys unread until the deadline");
                let retryable = true;
                return Err(Failure::<()>::Call { retryable, cause }.into_error(RETRIEVE));
            }
        }
    }

    /// At most 100 claims: those after `cursor`, or the first; and where to go on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn claims(
        &self,
        cursor: Option<&Cursor>,
    ) -> Result<(Vec<Claim>, Option<Cursor>), Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok((Vec::new(), None));
        };
        let start = cursor.map(|cursor| HashMap::from([("email".into(), string(cursor.key()))]));
        let call = self.client.scan().table_name(emails);
        let call = call.limit(Limit::MOST.get().into()).consistent_read(true);
        let call = call.set_exclusive_start_key(start).customize();
        let call = call.interceptor(self.attempts()).send();
        let output = in_time(self.deadline, call, no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        let next = output.last_evaluated_key.map(user);
        let next = next.and_then(|last| Some(Cursor::after(last.text("email")?.to_owned())));
        let claims = output.items.unwrap_or_default().into_iter();
        Ok((claims.filter_map(Claim::read).collect(), next))
    }

    /// Those of at most 100 `claims` whose user is gone or has another address.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn left_over(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, Error> {
        let users: BTreeSet<_> = claims.iter().map(|claim| &*claim.user_id).collect();
        if users.is_empty() {
            return Ok(claims);
        }
        let users = self.get_all(&self.tables.users, "userId", users).await?;
        let users = users.into_iter().map(user);
        let users: HashMap<_, _> = users
            .map(|user| (user.user_id().to_owned(), user))
            .collect();
        let is_left_over = |claim: &Claim| {
            let user = users.get(&claim.user_id);
            !user.is_some_and(|user| claim.is_of(user))
        };
        Ok(claims.into_iter().filter(is_left_over).collect())
    }

    /// Gives up a claim whose user is gone or has another address, and tells whether it
    /// was one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn give_up(&self, claim: &Claim) -> Result<bool, Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok(false);
        };
        let Ok(user_id) = UserId::for_lookup(claim.user_id.clone()) else {
            return Ok(false);
        };
        let mut pauses = Pauses::of(self);
        loop {
            let mut expression = Expression::default();
            let condition = match self.get(&user_id, true).await {
                Ok(user) if claim.is_of(&user) => return Ok(false),
                Ok(user) => expression.unchanged(&user),
                Err(Error::UserNotFound) => expression.absent(),
                Err(error) => return Err(error),
            };
            let (names, values) = expression.into_parts();
            let check = ConditionCheck::builder().table_name(&self.tables.users);
            let check = check.key("userId", string(user_id.as_str()));
            let check = check.condition_expression(condition);
            let check = check.set_expression_attribute_names(Some(names));
            let check = check.set_expression_attribute_values(values);
            let check = action(check.build(), TransactWriteItemBuilder::condition_check);
            let release = release(emails, &claim.email, user_id.as_str());
            match self.transact(vec![check, release]).await {
                Ok(()) => return Ok(true),
                // Either has been written to since.
                Err(Failure::Condition(_)) => return Ok(false),
                Err(Failure::Conflict) => pauses.pause(SAVE).await?,
                Err(failure) => return Err(failure.into_error(SAVE)),
            }
        }
    }

    /// Claims for a user who may be from before, where nobody has the address.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn claim_for(&self, user: &User) -> Result<Claimed, Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok(Claimed::Nothing);
        };
        let mut user = user.clone();
        let mut pauses = Pauses::of(self);
        loop {
            let (Some(email), Some(as_stored)) = (EmailKey::of_user(&user), user.text("email"))
            else {
                return Ok(Claimed::Nothing);
            };
            let check = ConditionCheck::builder().table_name(&self.tables.users);
            let check = check.key("userId", string(user.user_id()));
            let check = check.condition_expression("email = :email");
            let check = check.expression_attribute_values(":email", string(as_stored));
            let check = check.return_values_on_condition_check_failure(AllOld);
            let check = action(check.build(), TransactWriteItemBuilder::condition_check);
            let claim = claim_free(emails, &email, user.user_id());
            match self.transact(vec![check, claim]).await {
                Ok(()) => return Ok(Claimed::Now),
                Err(Failure::Condition(found)) => match found.as_slice() {
                    [Some(Some(changed)), ..] => user = super::user(changed.clone()),
                    [Some(None), ..] => return Ok(Claimed::Nothing),
                    [_, Some(Some(claim))] => {
                        let owner = super::user(claim.clone());
                        return Ok(if owner.user_id() == user.user_id() {
                            Claimed::Before
                        } else {
                            Claimed::ByAnother(owner.user_id().to_owned())
                        });
                    }
                    _ => {}
                },
                Err(Failure::Conflict) => {}
                Err(failure) => return Err(failure.into_error(SAVE)),
            }
            pauses.pause(SAVE).await?;
        }
    }
}
