//! The tables: every call of DynamoDB, and nothing else knows them.
//!
//! An operation is one call, unless a user has to be read before it is known what to
//! write. A write states its condition to DynamoDB, and what a failed condition means
//! is told by the item it returns (`ReturnValuesOnConditionCheckFailure`), without a
//! second read. What is written in several tables is written in one transaction.
//!
//! The SDK repeats a call that was not answered. Where the call had been carried
//! out, the repeat of a write meets its own traces: its condition is made to fail
//! on them, and the item that comes back tells that the write is done. That ends
//! where another writer comes between the two: a write with a condition is then
//! answered as one that failed, and a plain `PUT` is done, and counted, twice.

mod call;
mod claim;
#[cfg(feature = "local")]
mod claim_emails;
mod create;
mod expression;
mod rounds;
#[cfg(feature = "local")]
mod table;
mod transaction;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{
    Client,
    config::SharedHttpClient,
    operation::{delete_item::DeleteItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use aws_smithy_http_client::tls;
use serde_dynamo::Item;
use tokio::time::Instant;

#[cfg(feature = "local")]
pub use self::claim_emails::{Claim, Claimed};
use self::{
    call::{Attempts, Failure, failed_condition, in_time, no_condition},
    claim::{Holding, Refusal},
    expression::{Expression, Precedent},
    rounds::Rounds,
};
use crate::{
    error::Error,
    page::{Cursor, Limit, Page},
    precondition::IfMatch,
    user::{Change, EmailKey, Timestamp, User, UserId, Version},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// How long a request may take whose runtime sets no end: as long as API Gateway waits
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(29);

const RETRIEVE: &str = "Failed to retrieve user data"; // as the tutorial says it
const SAVE: &str = "Failed to save user data";
const DELETE: &str = "Failed to delete user data";

/// The names of the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// That of users, by `userId`.
    pub users: String,
    /// That of claims on email addresses, by `email`; none where users may share one.
    pub emails: Option<String>,
    /// That of records of keys of creations, by `idempotencyKey`.
    pub idempotency_keys: String,
}

/// The users, and what is kept of them beside.
#[derive(Clone, Debug)]
pub struct UserStore {
    client: Client,
    tables: Arc<Tables>,
    calls: Arc<AtomicU32>,
    deadline: Option<Instant>,
}

impl UserStore {
    /// The `tables` in the DynamoDB that `config` names and its HTTP client reaches
    /// ([`http_client`]).
    ///
    /// Sets the timeouts (connect 1 s, attempt 1 s, operation 5 s) and the
    /// standard retries with backoffs up to half a second: a DynamoDB that does
    /// not answer has failed after some 3 s.
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .timeout_config(timeouts)
            .retry_config(retries);
        Self {
            client: Client::from_conf(config.build()),
            tables: Arc::new(tables),
            calls: Arc::default(),
            deadline: None,
        }
    }

    /// The same tables for one request: its calls are counted from here, and all
    /// of them together last for `time_left`, or 29 s where that is not known.
    pub fn for_request(&self, time_left: Option<Duration>) -> Self {
        let time = time_left.unwrap_or(REQUEST_TIMEOUT);
        Self {
            calls: Arc::default(),
            deadline: Some(Instant::now() + time),
            ..self.clone()
        }
    }

    /// How many requests this store has sent to DynamoDB, repeats included.
    pub fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// The user with this id, as it was a moment ago or, where `consistent`, as
    /// every write that was answered before left it.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::Store`].
    pub async fn get(&self, user_id: &UserId, consistent: bool) -> Result<User, Error> {
        let call = self.client.get_item().table_name(&self.tables.users);
        let call = call.key("userId", string(user_id.as_str()));
        let call = call.consistent_read(consistent).customize();
        let call = call.interceptor(self.attempts()).send();
        match in_time(self.deadline, call, no_condition).await {
            Ok(output) => output.item.map(user).ok_or(Error::UserNotFound),
            Err(failure) => Err(failure.into_error(RETRIEVE)),
        }
    }

    /// One page of users: those after `cursor`, or the first.
    ///
    /// A page holds fewer than `limit` users where DynamoDB's 1 MB for one scan
    /// is full before.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        &self,
        limit: Limit,
        cursor: Option<&Cursor>,
        consistent: bool,
    ) -> Result<Page, Error> {
        let start = cursor.map(|cursor| HashMap::from([("userId".into(), string(cursor.key()))]));
        // One more than asked for tells whether this page is the last.
        let one_more = i32::from(limit.get()) + 1;
        let call = self
            .client
            .scan()
            .table_name(&self.tables.users)
            .limit(one_more);
        let call = call.set_exclusive_start_key(start);
        let call = call.consistent_read(consistent).customize();
        let call = call.interceptor(self.attempts()).send();
        let output = in_time(self.deadline, call, no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        let items = output.items.unwrap_or_default();
        let has_more = items.len() > limit.get().into() || output.last_evaluated_key.is_some();
        let mut items: Vec<User> = items.into_iter().map(user).collect();
        items.truncate(limit.get().into());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|last| Cursor::after(last.user_id().to_owned()));
        Ok(Page { items, next })
    }

    /// Makes `change` of a user, counts its version up, and returns the user as it is
    /// then. Attributes that the service does not know stay.
    ///
    /// Where another writer is quicker it is made again, after a pause, until the request's
    /// deadline.
    ///
    /// It takes a second call where the user is read first: under `if_match`, where the
    /// change states a condition of its own, and where `metadata` is merged. It does too
    /// where the user was last written in the same millisecond, where its `version` is not
    /// one of this service, and where its address moves or is spelled otherwise.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::EmailTaken`],
    /// [`Error::InvalidUser`] where the user would break a rule then, [`Error::Store`].
    pub async fn change(
        &self,
        user_id: &UserId,
        change: &Change,
        if_match: &IfMatch,
        clock: impl Fn() -> Timestamp,
    ) -> Result<User, Error> {
        let mut now = clock();
        let unconditional = match if_match {
            IfMatch::Any => change.unconditional(),
            IfMatch::OneOf(_) => None,
        };
        let mut seen = None;
        let mut holding = Holding::Own;
        let mut attempts = self.attempts();
        if unconditional.is_none() {
            seen = Some(self.read(user_id, SAVE).await?);
        }
        let mut rounds = Rounds::of(self);
        loop {
            if rounds.next(SAVE).await? && seen.is_some() {
                let stored = self.read(user_id, SAVE).await?;
                if attempts.may_have_written() && stored.was_written(change, now) {
                    return Ok(stored);
                }
                seen = Some(stored);
            }
            if let Some(stored) = &seen {
                if !if_match.allows(stored) {
                    return Err(Error::VersionMismatch);
                }
                change.check(stored)?;
            }
            if let (Some(emails), Some(stored)) = (&self.tables.emails, &seen)
                && needs_claim(stored, change)
            {
                let attributes = change.attributes(stored)?;
                let changed = self.change_with_claim(emails, stored, attributes, now, holding);
                match changed.await {
                    Ok(changed) => return Ok(changed),
                    Err(Refusal::User(None)) => return Err(Error::UserNotFound),
                    Err(Refusal::User(now_stored)) => (seen, holding) = (now_stored, Holding::Own),
                    Err(Refusal::Taken) => return Err(Error::taken(false, true)),
                    Err(Refusal::Holding(other)) => holding = other,
                    Err(Refusal::Failure(error)) => return Err(error),
                }
                now = clock().max(now.next());
                attempts = self.attempts();
                continue;
            }
            let (precedent, attributes) = match (&seen, unconditional.clone()) {
                (Some(stored), None) => (Precedent::Seen(stored), change.attributes(stored)?),
                (Some(stored), Some(attributes)) => (Precedent::of(stored), attributes),
                (None, attributes) => (Precedent::Exists, attributes.unwrap_or_default()),
            };
            let mut expression = Expression::default();
            let mut condition = expression.changeable(precedent, now);
            if let (Some(_), Precedent::Exists) = (&self.tables.emails, precedent) {
                // The address stays as it is stored, which is as it is sent at first.
                let stored = seen.as_ref().and_then(|stored| stored.text("email"));
                let email = change.email().map(|sent| stored.unwrap_or(sent));
                condition += &expression.claims(email);
            }
            let update = expression.update(attributes, precedent, now);
            let call = self.client.update_item().table_name(&self.tables.users);
            let call = call.key("userId", string(user_id.as_str()));
            let call = call
                .update_expression(update)
                .condition_expression(condition);
            let (names, values) = expression.into_parts();
            let call = call.set_expression_attribute_names(Some(names));
            let call = call.set_expression_attribute_values(values);
            let call = call.return_values(ReturnValue::AllNew);
            let call = call.return_values_on_condition_check_failure(AllOld);
            let call = call.customize().interceptor(attempts.clone()).send();
            let stored =
                match in_time(self.deadline, call, failed_condition!(UpdateItemError)).await {
                    Ok(output) => match user(output.attributes.unwrap_or_default()) {
                        // Counted up from a number that is no version, such as 1.5.
                        uncounted if uncounted.version() == Version::NONE => uncounted,
                        changed => return Ok(changed),
                    },
                    Err(Failure::Condition(Some(stored))) => {
                        if attempts.may_have_written() && stored.was_written(change, now) {
                            return Ok(stored);
                        }
                        stored
                    }
                    Err(Failure::Condition(None)) => return Err(Error::UserNotFound),
                    Err(Failure::Conflict) => continue,
                    Err(failure) => return Err(failure.into_error(SAVE)),
                };
            now = clock().max(now.next());
            attempts = self.attempts();
            seen = Some(stored);
        }
    }

    /// Deletes a user.
    ///
    /// It takes two calls, of which the first reads the user, where addresses are each one
    /// user's and under `if_match`.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::Store`].
    pub async fn delete(&self, user_id: &UserId, if_match: &IfMatch) -> Result<(), Error> {
        if let Some(emails) = &self.tables.emails {
            return self.delete_with_claim(emails, user_id, if_match).await;
        }
        let mut seen = match if_match {
            IfMatch::Any => None,
            IfMatch::OneOf(_) => Some(self.read(user_id, DELETE).await?),
        };
        let mut attempts = self.attempts();
        let mut rounds = Rounds::of(self);
        loop {
            if rounds.next(DELETE).await? && seen.is_some() {
                seen = match self.read(user_id, DELETE).await {
                    Ok(stored) => Some(stored),
                    Err(Error::UserNotFound) if attempts.may_have_written() => return Ok(()),
                    Err(error) => return Err(error),
                };
            }
            if let Some(stored) = &seen
                && !if_match.allows(stored)
            {
                return Err(Error::VersionMismatch);
            }
            let precedent = seen.as_ref().map_or(Precedent::Exists, Precedent::Seen);
            let mut expression = Expression::default();
            let condition = expression.deletable(precedent);
            let call = self.client.delete_item().table_name(&self.tables.users);
            let call = call.key("userId", string(user_id.as_str()));
            let call = call.condition_expression(condition);
            let (names, values) = expression.into_parts();
            let call = call.set_expression_attribute_names(Some(names));
            let call = call.set_expression_attribute_values(values);
            let call = call.return_values_on_condition_check_failure(AllOld);
            let call = call.customize().interceptor(attempts.clone()).send();
            match in_time(self.deadline, call, failed_condition!(DeleteItemError)).await {
                Ok(_) => return Ok(()),
                Err(Failure::Condition(None)) if attempts.may_have_written() => return Ok(()),
                Err(Failure::Condition(None)) => return Err(Error::UserNotFound),
                Err(Failure::Condition(stored)) => {
                    attempts = self.attempts();
                    seen = stored;
                }
                Err(Failure::Conflict) => {}
                Err(failure) => return Err(failure.into_error(DELETE)),
            }
        }
    }

    /// The user that a write is to be made of, which tells the caller `message` where it
    /// fails.
    async fn read(&self, user_id: &UserId, message: &'static str) -> Result<User, Error> {
        let stored = self.get(user_id, true).await;
        stored.map_err(|error| error.told_as(message))
    }

    fn attempts(&self) -> Attempts {
        Attempts::counted_in(Arc::clone(&self.calls))
    }
}

/// The HTTP client for an [`SdkConfig`]: HTTP/1.1 and HTTP/2, TLS by rustls and
/// ring, and the trusted roots of the system, which it reads when it is made.
pub fn http_client() -> SharedHttpClient {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls)
        .build_https()
}

/// Whether `change` of `stored` has to write a claim too: its address moves, or it is
/// a user from before.
fn needs_claim(stored: &User, change: &Change) -> bool {
    let moves = |email| EmailKey::of(email) != EmailKey::of_user(stored);
    stored.version() == Version::NONE || change.email().is_some_and(moves)
}

fn user(item: HashMap<String, AttributeValue>) -> User {
    Item::from(item).into()
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
