//! Claims on email addresses: a table of their own, where each address that a user
//! has names that user. A user and its claim are written in one transaction, so that
//! neither is ever there without the other.
//!
//! Users from before have no claim, and no `version` either: their next write claims
//! for them.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put,
    ReturnValuesOnConditionCheckFailure::AllOld,
    TransactWriteItem, Update,
    builders::{PutBuilder, TransactWriteItemBuilder},
};
use serde_dynamo::Item;

use super::{
    DELETE, MOST_ROUNDS, RETRIEVE, SAVE, UserStore,
    call::{Failure, in_time, no_condition},
    expression::{Expression, Precedent},
    string,
    transaction::action,
    user,
};
use crate::{
    error::Error,
    page::{Cursor, Limit},
    precondition::IfMatch,
    request::invalid_parameter,
    user::{Attributes, EmailKey, Timestamp, User, UserId},
};

/// How often a lookup looks again where the address has just moved.
const MOST_LOOKS: usize = 8;

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
        let user_id = item.user_id().to_owned();
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

/// Whose the address is that a user leaves: two users from before can have one, and
/// one of them a claim on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holding {
    /// The user's, or nobody's.
    Own,
    /// Another user's.
    Anothers,
}

impl Holding {
    fn other(self) -> Self {
        match self {
            Self::Own => Self::Anothers,
            Self::Anothers => Self::Own,
        }
    }

    /// Gives up the user's claim on `email`, or sees that it is another's still.
    fn end(self, emails: &str, email: &EmailKey, user_id: &str) -> TransactWriteItem {
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

/// Why a change with a claim was not made.
pub(super) enum Refusal {
    /// The user is another by now, or gone.
    User(Option<User>),
    /// The new address is another user's.
    Taken,
    /// It is the other way round with the old address.
    Holding(Holding),
    /// DynamoDB did not do it.
    Failure(Error),
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
        for _ in 0..MOST_LOOKS {
            let call = self.client.get_item().table_name(&**emails);
            let call = call
                .key("email", string(email.as_str()))
                .consistent_read(true);
            let call = call.customize().interceptor(self.attempts()).send();
            let output = in_time(self.deadline, call, no_condition).await;
            let claim = output.map_err(|failure| failure.into_error(RETRIEVE))?.item;
            let owner = claim.map(Item::from).ok_or(Error::UserNotFound)?;
            let owner = User::from(owner).user_id().to_owned();
            let owner = UserId::for_lookup(owner).map_err(|_| Error::UserNotFound)?;
            match self.get(&owner, true).await {
                Ok(user) if EmailKey::of_user(&user).as_ref() == Some(email) => return Ok(user),
                // It has moved between the two calls.
                Ok(_) | Err(Error::UserNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::UserNotFound)
    }

    /// Which of at most 100 `users` have a claim on their address, as far as one call
    /// tells.
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
        let keys = keys
            .into_iter()
            .map(|key| HashMap::from([("email".into(), string(key))]));
        let keys = KeysAndAttributes::builder().set_keys(Some(keys.collect()));
        let keys = keys.consistent_read(true).build();
        let keys = keys.expect("every request names its keys");
        let call = self.client.batch_get_item().request_items(emails, keys);
        let call = call.customize().interceptor(self.attempts()).send();
        let output = in_time(self.deadline, call, no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        let claims = output.responses.unwrap_or_default().remove(emails);
        let claims = claims.unwrap_or_default().into_iter();
        let claims: Vec<_> = claims.filter_map(Claim::read).collect();
        let claimed = users
            .iter()
            .map(|user| claims.iter().any(|claim| claim.is_of(user)));
        Ok(claimed.collect())
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

    /// Those of at most 100 `claims` whose user, as far as one call tells, is gone or has
    /// another address.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn left_over(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, Error> {
        let users: BTreeSet<_> = claims.iter().map(|claim| &*claim.user_id).collect();
        if users.is_empty() {
            return Ok(claims);
        }
        let keys = users
            .into_iter()
            .map(|user_id| HashMap::from([("userId".into(), string(user_id))]));
        let keys = KeysAndAttributes::builder().set_keys(Some(keys.collect()));
        let keys = keys.projection_expression("userId, email");
        let keys = keys.consistent_read(true).build();
        let keys = keys.expect("every request names its keys");
        let call = self.client.batch_get_item();
        let call = call.request_items(&self.tables.users, keys).customize();
        let call = call.interceptor(self.attempts()).send();
        let output = in_time(self.deadline, call, no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        let users = output.responses.unwrap_or_default();
        let users: HashMap<_, _> = users
            .into_values()
            .flatten()
            .map(user)
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
            Ok(()) => Ok(true),
            // Either has been written to since.
            Err(Failure::Condition(_)) => Ok(false),
            Err(failure) => Err(failure.into_error(SAVE)),
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
        for _ in 0..MOST_ROUNDS {
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
                        let owner = User::from(Item::from(claim.clone()));
                        return Ok(if owner.user_id() == user.user_id() {
                            Claimed::Before
                        } else {
                            Claimed::ByAnother(owner.user_id().to_owned())
                        });
                    }
                    _ => {}
                },
                Err(failure) => return Err(failure.into_error(SAVE)),
            }
        }
        Err(Failure::<Option<User>>::overtaken().into_error(SAVE))
    }

    /// Makes `attributes` of `stored`, which is unchanged since, and moves its claim,
    /// or makes it where there was none.
    pub(super) async fn change_with_claim(
        &self,
        emails: &str,
        stored: &User,
        attributes: Attributes,
        now: Timestamp,
        holding: Holding,
    ) -> Result<User, Refusal> {
        let version = stored.version().next();
        let changed = stored.clone().changed(attributes.clone(), version, now);
        let (old, new) = (EmailKey::of_user(stored), EmailKey::of_user(&changed));
        let user_id = stored.user_id();

        let mut expression = Expression::default();
        let condition = expression.unchanged(stored);
        let update = expression.update(attributes, Precedent::Seen(stored), now);
        let (names, values) = expression.into_parts();
        let update = Update::builder()
            .update_expression(update)
            .table_name(&self.tables.users);
        let update = update
            .key("userId", string(user_id))
            .condition_expression(condition);
        let update = update.set_expression_attribute_names(Some(names));
        let update = update.set_expression_attribute_values(values);
        let update = update.return_values_on_condition_check_failure(AllOld);
        let mut actions = vec![action(update.build(), TransactWriteItemBuilder::update)];
        let mut refusals = vec![];
        if let Some(new) = &new {
            actions.push(claim_or_keep(emails, new, user_id));
            refusals.push(Refusal::Taken);
        }
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
            actions.push(holding.end(emails, &old, user_id));
            refusals.push(Refusal::Holding(holding.other()));
        }
        match self.transact(actions).await {
            Ok(()) => Ok(changed),
            Err(Failure::Condition(found)) => {
                let mut found = found.into_iter();
                Err(match found.next() {
                    Some(Some(item)) => Refusal::User(item.map(user)),
                    _ => {
                        let failed = found.zip(refusals).find(|(found, _)| found.is_some());
                        failed.map_or(Refusal::Taken, |(_, refusal)| refusal)
                    }
                })
            }
            Err(failure) => Err(Refusal::Failure(failure.into_error(SAVE))),
        }
    }

    /// Deletes a user and its claim.
    pub(super) async fn delete_with_claim(
        &self,
        emails: &str,
        user_id: &UserId,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        let stored = self.get(user_id, true).await;
        let mut stored = stored.map_err(|error| error.told_as(DELETE))?;
        let mut holding = Holding::Own;
        for _ in 0..MOST_ROUNDS {
            if !if_match.allows(stored.version()) {
                return Err(Error::VersionMismatch);
            }
            let mut expression = Expression::default();
            let condition = expression.unchanged(&stored);
            let (names, values) = expression.into_parts();
            let delete = Delete::builder().table_name(&self.tables.users);
            let delete = delete.key("userId", string(user_id.as_str()));
            let delete = delete.condition_expression(condition);
            let delete = delete.set_expression_attribute_names(Some(names));
            let delete = delete.set_expression_attribute_values(values);
            let delete = delete.return_values_on_condition_check_failure(AllOld);
            let mut actions = vec![action(delete.build(), TransactWriteItemBuilder::delete)];
            if let Some(email) = EmailKey::of_user(&stored) {
                actions.push(holding.end(emails, &email, user_id.as_str()));
            }
            match self.transact(actions).await {
                Ok(()) => return Ok(()),
                Err(Failure::Condition(found)) => match found.into_iter().next() {
                    Some(Some(Some(item))) => (stored, holding) = (user(item), Holding::Own),
                    Some(Some(None)) => return Err(Error::UserNotFound),
                    _ => holding = holding.other(),
                },
                Err(failure) => return Err(failure.into_error(DELETE)),
            }
        }
        Err(Failure::<Option<User>>::overtaken().into_error(DELETE))
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
fn claim_or_keep(emails: &str, email: &EmailKey, user_id: &str) -> TransactWriteItem {
    let put = claim(emails, email, user_id).condition_expression(FREE_OR_OWN);
    let put = put.expression_attribute_values(":userId", string(user_id));
    action(put.build(), TransactWriteItemBuilder::put)
}

/// Gives up the user's claim on `email`, if there is one.
fn release(emails: &str, email: &str, user_id: &str) -> TransactWriteItem {
    let delete = Delete::builder().table_name(emails);
    let delete = delete.key("email", string(email));
    let delete = delete.condition_expression(FREE_OR_OWN);
    let delete = delete.expression_attribute_values(":userId", string(user_id));
    action(delete.build(), TransactWriteItemBuilder::delete)
}
