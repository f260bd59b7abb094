//! Access to the tables. All calls to DynamoDB are in this module.
//!
//! Every write has three steps: read, decide, commit. A pure function makes the new user from the
//! user that was read. One transaction writes the new user, the claim on its address, the record in
//! its history, and the idempotency record or the deleted user. Its condition is that the stored
//! user has not changed. If the user has changed, the store reads and decides again after a pause,
//! until the deadline of the request.
//!
//! Each transaction has a client request token. If the response is lost, the store sends the same
//! transaction again. DynamoDB executes requests with the same token only once
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).

mod action;
mod call;
#[cfg(feature = "local")]
mod claim_emails;
mod claims;
mod commit;
mod deleted;
#[cfg(feature = "local")]
mod doctor;
mod error;
mod expression;
#[cfg(feature = "local")]
mod forget_erased;
mod history;
mod http_client;
mod idempotency;
mod page;
mod pauses;
#[cfg(feature = "local")]
mod reconcile;
#[cfg(feature = "local")]
mod tables;
mod transaction;
mod write;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{
    SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::{
    Client, operation::get_item::builders::GetItemFluentBuilder, types::AttributeValue,
};
use serde_dynamo::Item;
use tokio::time::Instant;

use self::call::{Attempts, Counters, failure};
pub use self::{
    action::Compared,
    call::Usage,
    claims::Found,
    deleted::Stored,
    error::{Error, WriteError},
    history::{Author, HistoryRecord},
    http_client::{HyperClient, TrustedRoots, http_client, hyper_client},
    idempotency::{IdempotencyRecord, LIFETIME},
    page::{Keyed, Limit, Page, StartKey},
    write::{Creation, Decision, Lose, Read},
};
#[cfg(feature = "local")]
pub use self::{
    claim_emails::{Claim, Claimed},
    doctor::{DeletedEntry, Examined, HistoryFault, Holder, Moment, TableFault, TableRole},
    forget_erased::RecordKey,
    reconcile::{Reconciled, may_be_same},
};
use crate::user::{Timestamp, User, UserId};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// The maximum number of attempts. It is large enough to retry an operation until its timeout.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// The time limit of a request if the runtime sets no limit. API Gateway has the same limit
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(29);

/// The time limit of [`UserStore::prime`]. It is short, because Lambda ends an init after 10 s.
const PRIMING_TIMEOUT: Duration = Duration::from_millis(500);
/// A key that no new user can have, see [`UserId::for_creation`].
const PRIMING_KEY: &str = "user-service/priming";

/// The names of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Users, by `userId`.
    pub users: String,
    /// Claims on email addresses, by `email`; `None` if users may share an address.
    pub emails: Option<String>,
    /// Idempotency records, by `idempotencyKey`.
    pub idempotency_keys: String,
    /// Deleted users, by `userId`.
    pub deleted_users: String,
    /// The history of users, by `userId` and `id`.
    pub history: String,
}

/// How long the store keeps what it writes about users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The number of days for a deleted user. With 0, a deletion keeps nothing.
    pub deleted_users_days: u16,
    /// The number of days for a record of the history. `None` if there is no history. Even then,
    /// erasures are recorded.
    pub history_days: Option<u16>,
}

/// 30 days for a deleted user, and 400 for a record.
impl Default for Retention {
    fn default() -> Self {
        Self {
            deleted_users_days: 30,
            history_days: Some(400),
        }
    }
}

/// The read consistency of DynamoDB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// An eventually consistent read. It may miss recent writes, and uses half the read capacity.
    #[default]
    Eventual,
    /// A strongly consistent read. It reflects all earlier successful writes.
    Strong,
}

impl Consistency {
    fn is_strong(self) -> bool {
        self == Self::Strong
    }
}

/// The tables, and the client that accesses them.
#[derive(Clone, Debug)]
pub struct UserStore {
    client: Client,
    tables: Arc<Tables>,
    retention: Retention,
    clock: fn() -> SystemTime,
    counters: Arc<Counters>,
    deadline: Option<Instant>,
}

impl UserStore {
    /// The `tables` in the DynamoDB of `config`. Uses the HTTP client of `config` (see
    /// [`http_client`]). `clock` gives the current time.
    ///
    /// Sets the timeouts (attempt 1 s, operation 4 s) and the standard retries with backoffs up to
    /// half a second. If DynamoDB does not respond, a call fails after 4 s.
    pub fn new(
        config: &SdkConfig,
        tables: Tables,
        retention: Retention,
        clock: fn() -> SystemTime,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .timeout_config(timeouts)
            .retry_config(retries)
            // The time limit of an attempt includes the body of the response.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            tables: Arc::new(tables),
            retention,
            clock,
            counters: Arc::default(),
            deadline: None,
        }
    }

    /// The same tables, for one request. Its [`Usage`] starts at 0. All calls of the request
    /// together take at most `time_left`, or 29 s if `time_left` is `None`.
    pub fn for_request(&self, time_left: Option<Duration>) -> Self {
        let time = time_left.unwrap_or(REQUEST_TIMEOUT);
        Self {
            counters: Arc::default(),
            deadline: Some(Instant::now() + time),
            ..self.clone()
        }
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    fn timestamp(&self) -> Timestamp {
        self.now().into()
    }

    /// What the calls of this store have used.
    pub fn usage(&self) -> Usage {
        self.counters.usage()
    }

    /// Reads a key, so that the first request finds an open connection, or to find out whether DynamoDB
    /// answers. The TLS handshake is most of the time of a first call. Takes at most 500 ms. Changes
    /// nothing.
    ///
    /// # Errors
    /// The call to DynamoDB failed. The store still works: the first request opens a connection.
    pub async fn prime(&self) -> Result<(), Error> {
        // A second attempt would only hide the cause of the first failure.
        let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
        let store = self.for_request(Some(PRIMING_TIMEOUT));
        let call = self
            .get_item(&UserId::stored(PRIMING_KEY))
            .customize()
            .config_override(once)
            .send();
        store.in_time(call).await.map(drop).map_err(failure)
    }

    /// The user with this `userId`. `None` if there is no such user.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn get(
        &self,
        user_id: &UserId,
        consistency: Consistency,
    ) -> Result<Option<User>, Error> {
        let call = self
            .get_item(user_id)
            .consistent_read(consistency.is_strong())
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        Ok(output.item.map(user))
    }

    /// One page of users: the users after `start`, or the first users if `start` is `None`.
    ///
    /// A page has fewer than `limit` users if the scan reaches DynamoDB's limit of 1 MB first.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn list(
        &self,
        limit: Limit,
        start: Option<&StartKey>,
        consistency: Consistency,
    ) -> Result<Page<User>, Error> {
        let start = start.map(|key| HashMap::from([("userId".to_owned(), string(key))]));
        let call = self
            .client
            .scan()
            .table_name(&self.tables.users)
            .limit(limit.and_one_more())
            .set_exclusive_start_key(start)
            .consistent_read(consistency.is_strong())
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let last = output.last_evaluated_key.as_ref();
        let page = Page {
            items: output.items.into_iter().flatten().map(user).collect(),
            next: last.and_then(|key| text(key, "userId")),
        };
        Ok(page.cut_to(limit.get()))
    }

    fn get_item(&self, user_id: &UserId) -> GetItemFluentBuilder {
        self.client
            .get_item()
            .table_name(&self.tables.users)
            .key("userId", string(user_id.as_str()))
    }

    fn attempts(&self) -> Attempts {
        Attempts::counted_in(Arc::clone(&self.counters))
    }
}

/// The user in an item.
fn user<T>(item: HashMap<String, T>) -> User
where
    Item: From<HashMap<String, T>>,
{
    User::from_attributes(Item::from(item).into_inner())
}

/// The attribute `name` of an item, if it is a string.
fn text(item: &HashMap<String, AttributeValue>, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
