//! The tables: every call of DynamoDB, and nothing else knows them.
//!
//! Users are written in one way: read, decide, commit. What is to become of the user that
//! was read is decided without another call, and one transaction makes it so, with the claim
//! on its address and the record of the request's key, if the user is still as it was read.
//! Where it is not, it is read again after a pause, and decided again, until the request's
//! deadline.
//!
//! A transaction goes out under a token: where an answer was lost it is repeated unchanged,
//! and DynamoDB makes it once, however often it comes
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).

mod call;
mod claim;
#[cfg(feature = "local")]
mod claim_emails;
mod commit;
mod expression;
mod pauses;
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
use aws_sdk_dynamodb::{Client, config::SharedHttpClient, types::AttributeValue};
use aws_smithy_http_client::tls;
use serde_dynamo::Item;
use tokio::time::Instant;

#[cfg(feature = "local")]
pub use self::claim_emails::{Claim, Claimed};
use self::{
    call::{Attempts, in_time, no_condition},
    claim::Holding,
    commit::{Compared, Refusal, Write},
    pauses::Pauses,
};
use crate::{
    error::Error,
    idempotency::KeyedCreation,
    page::{Cursor, Limit, Page},
    precondition::IfMatch,
    user::{Change, Timestamp, User, UserId},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// So many that an operation is repeated until its time is up.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// The time limit of a request whose runtime sets none: as long as API Gateway waits
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
    /// Sets the timeouts (connect 1 s, attempt 1 s, operation 4 s) and the
    /// standard retries with backoffs up to half a second: a DynamoDB that does
    /// not answer has failed after 4 s.
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
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
        let items = output.items.unwrap_or_default().into_iter();
        let items: Vec<User> = items.map(user).collect();
        let last = items.last();
        let last = last.filter(|_| output.last_evaluated_key.is_some());
        let next = last.map(|last| Cursor::after(last.user_id().to_owned()));
        Ok(Page { items, next }.cut_to(limit.get().into()))
    }

    /// Stores a new user, and returns it. Where it is created under a key that is on
    /// record, nothing is stored, and the user is returned as it was created then.
    ///
    /// # Errors
    /// [`Error::UserExists`] and [`Error::EmailTaken`], and all that is stored is as it
    /// was; [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn create(&self, new: User, keyed: Option<&KeyedCreation>) -> Result<User, Error> {
        let mut pauses = Pauses::of(self);
        loop {
            let write = Write::Create(&new, keyed);
            match self.commit(write, Holding::Own, SAVE).await {
                Ok(()) => return Ok(new),
                Err(Refusal::Overtaken | Refusal::Holding(_)) => pauses.pause(SAVE).await?,
                Err(Refusal::Taken { user_id, email }) => return Err(Error::taken(user_id, email)),
                Err(Refusal::Recorded(record)) => {
                    let keyed = keyed.expect("a record of no key is not met");
                    return keyed.repeated(new, &record);
                }
                Err(Refusal::Failure(error)) => return Err(error),
            }
        }
    }

    /// Applies `change` to a user, increments its version, and returns the new state.
    /// Attributes that the service does not know stay.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::EmailTaken`],
    /// [`Error::InvalidUser`] where the body changes what a client may not, or the new state
    /// would break a rule, [`Error::Store`].
    pub async fn change(
        &self,
        user_id: &UserId,
        change: &Change,
        if_match: &IfMatch,
        clock: impl Fn() -> Timestamp,
    ) -> Result<User, Error> {
        let compared = match if_match {
            IfMatch::Any => Compared::Known,
            IfMatch::OneOf(_) => Compared::All,
        };
        let changed = self.write(user_id, compared, SAVE, |before| {
            if_match.check(before)?;
            change.apply(before, clock()).map(Some)
        });
        Ok(changed.await?.expect("a change leaves a user"))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::Store`].
    pub async fn delete(&self, user_id: &UserId, if_match: &IfMatch) -> Result<(), Error> {
        let deleted = self.write(user_id, Compared::All, DELETE, |before| {
            if_match.check(before)?;
            Ok(None)
        });
        deleted.await.map(drop)
    }

    /// Writes what `decide` makes of a user that is there, and returns it: another state of
    /// it, or none where it is deleted. It decides again where another writer was quicker.
    async fn write(
        &self,
        user_id: &UserId,
        compared: Compared,
        message: &'static str,
        decide: impl Fn(&User) -> Result<Option<User>, Error>,
    ) -> Result<Option<User>, Error> {
        let mut pauses = Pauses::of(self);
        let mut holding = Holding::Own;
        loop {
            let before = self.get(user_id, true).await;
            let before = before.map_err(|error| error.told_as(message))?;
            let after = decide(&before)?;
            let write = match &after {
                Some(after) => Write::Change(&before, after, compared),
                None => Write::Delete(&before),
            };
            match self.commit(write, holding, message).await {
                Ok(()) => return Ok(after),
                Err(Refusal::Holding(other)) => holding = other,
                Err(Refusal::Overtaken | Refusal::Recorded(_)) => {}
                Err(Refusal::Taken { user_id, email }) => return Err(Error::taken(user_id, email)),
                Err(Refusal::Failure(error)) => return Err(error),
            }
            pauses.pause(message).await?;
        }
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

fn user(item: HashMap<String, AttributeValue>) -> User {
    Item::from(item).into()
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
