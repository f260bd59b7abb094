//! The table of users: every call of DynamoDB, and nothing else knows them.
//!
//! Each operation is one call, whatever comes of it. A write states its
//! condition to DynamoDB; what a failed condition means is told by the item it
//! returns (`ReturnValuesOnConditionCheckFailure`), without a second read.
//!
//! The SDK repeats a call that was not answered, and the repeat of a write that
//! had been carried out meets its own traces. Each write of a user leaves an
//! `updatedAt` that no other write of that user has, so that a repeat knows
//! itself.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, SharedHttpClient,
        http::HttpResponse,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError,
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use aws_smithy_http_client::tls;
use serde_dynamo::Item;
use tokio::time::Instant;

use crate::{
    error::{Error, StoreError},
    page::{Cursor, Limit, Page},
    precondition::IfMatch,
    user::{Timestamp, User, UserId, UserInput, Version},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// Calls of one replacement, each after another writer was quicker.
const MOST_REPLACEMENT_CALLS: u32 = 16;

const RETRIEVE: &str = "Failed to retrieve user data"; // as the tutorial says it
const SAVE: &str = "Failed to save user data";
const DELETE: &str = "Failed to delete user data";

/// Makes the function that finds the item in which an operation's error says
/// that the condition failed.
macro_rules! failed_condition {
    ($error:ident) => {
        |error| match error {
            $error::ConditionalCheckFailedException(failed) => Some(failed.item.clone().map(user)),
            _ => None,
        }
    };
}
/// The table of users.
#[derive(Clone, Debug)]
pub struct UserStore {
    client: Client,
    table: Arc<str>,
    calls: Arc<AtomicU32>,
    deadline: Option<Instant>,
}

impl UserStore {
    /// The table `table`, in the DynamoDB that `config` names.
    ///
    /// Sets the timeouts (connect 1 s, attempt 1 s, operation 5 s) and the
    /// standard retries with backoffs up to half a second: a DynamoDB that does
    /// not answer has failed after 3.2 s.
    pub fn new(config: &SdkConfig, table: impl Into<Arc<str>>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .http_client(http_client())
            .timeout_config(timeouts)
            .retry_config(retries);
        Self {
            client: Client::from_conf(config.build()),
            table: table.into(),
            calls: Arc::default(),
            deadline: None,
        }
    }

    /// The same table for one request: its calls are counted from here, and none
    /// lasts beyond `time_left`.
    pub fn for_request(&self, time_left: Option<Duration>) -> Self {
        Self {
            calls: Arc::default(),
            deadline: time_left.map(|time_left| Instant::now() + time_left),
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
        let call = self.client.get_item().table_name(&*self.table);
        let call = call
            .key("userId", string(user_id.as_str()))
            .consistent_read(consistent);
        let call = call.customize().interceptor(self.attempts());
        let output = self.in_time(call.send(), no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        output.item.map(user).ok_or(Error::UserNotFound)
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
        let call = self.client.scan().table_name(&*self.table).limit(one_more);
        let call = call
            .set_exclusive_start_key(start)
            .consistent_read(consistent);
        let call = call.customize().interceptor(self.attempts());
        let output = self.in_time(call.send(), no_condition).await;
        let output = output.map_err(|failure| failure.into_error(RETRIEVE))?;
        let mut items: Vec<User> = output
            .items
            .unwrap_or_default()
            .into_iter()
            .map(user)
            .collect();
        let has_more = items.len() > limit.get().into() || output.last_evaluated_key.is_some();
        items.truncate(limit.get().into());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|last| Cursor::after(last.user_id().to_owned()));
        Ok(Page { items, next })
    }

    /// Stores a new user.
    ///
    /// # Errors
    /// [`Error::UserExists`], and the stored user is as it was; [`Error::Store`].
    pub async fn create(&self, new: &User) -> Result<(), Error> {
        let attempts = self.attempts();
        let call = self.client.put_item().table_name(&*self.table);
        let call = call.set_item(Some(Item::from(new.clone()).into()));
        let call = call.condition_expression("attribute_not_exists(userId)");
        let call = call.return_values_on_condition_check_failure(AllOld);
        let call = call.customize().interceptor(attempts.clone());
        match self
            .in_time(call.send(), failed_condition!(PutItemError))
            .await
        {
            Ok(_) => Ok(()),
            Err(Failure::Condition(Some(stored)))
                if attempts.may_have_written()
                    && stored.text("createdAt") == new.text("createdAt") =>
            {
                Ok(())
            }
            Err(Failure::Condition(_)) => Err(Error::UserExists),
            Err(failure) => Err(failure.into_error(SAVE)),
        }
    }

    /// Replaces what a client may write of a user, counts its version up, and
    /// returns the user as it is then. Attributes that the service does not
    /// know stay.
    ///
    /// It takes a second call in two cases: the user was last written in the
    /// millisecond `now`, or its `version` is no number.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::Store`].
    pub async fn replace(
        &self,
        user_id: &UserId,
        input: &UserInput,
        if_match: &IfMatch,
        mut now: Timestamp,
    ) -> Result<User, Error> {
        let mut count = Count::Up;
        for _ in 0..MOST_REPLACEMENT_CALLS {
            let attempts = self.attempts();
            let mut expression = Expression::default();
            let condition = expression.replaceable(if_match, &count, now);
            let update = expression.update(input.clone(), &count, now);
            let call = self.client.update_item().table_name(&*self.table);
            let call = call.key("userId", string(user_id.as_str()));
            let call = call
                .update_expression(update)
                .condition_expression(condition);
            let call = call.set_expression_attribute_names(Some(expression.names));
            let call = call.set_expression_attribute_values(Some(expression.values));
            let call = call.return_values(ReturnValue::AllNew);
            let call = call.return_values_on_condition_check_failure(AllOld);
            let call = call.customize().interceptor(attempts.clone());
            let stored = match self
                .in_time(call.send(), failed_condition!(UpdateItemError))
                .await
            {
                Ok(output) => return Ok(user(output.attributes.unwrap_or_default())),
                Err(Failure::Condition(Some(stored))) => stored,
                Err(Failure::Condition(None)) => return Err(Error::UserNotFound),
                Err(failure) => return Err(failure.into_error(SAVE)),
            };
            let same_moment = stored.text("updatedAt") == Some(&now.to_string());
            if same_moment && attempts.may_have_written() {
                return Ok(stored);
            }
            if !if_match.allows(stored.version()) {
                return Err(Error::VersionMismatch);
            }
            if same_moment {
                now = now.next();
            } else {
                count = Count::of(&stored);
            }
        }
        let cause = String::from("other writers of the user were always quicker");
        Err(Error::Store(StoreError {
            message: SAVE,
            retryable: true,
            cause,
        }))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::VersionMismatch`], [`Error::Store`].
    pub async fn delete(&self, user_id: &UserId, if_match: &IfMatch) -> Result<(), Error> {
        let attempts = self.attempts();
        let mut expression = Expression::default();
        let condition = expression.matching(if_match);
        let call = self.client.delete_item().table_name(&*self.table);
        let call = call
            .key("userId", string(user_id.as_str()))
            .condition_expression(condition);
        let call = call.set_expression_attribute_names(Some(expression.names));
        // DynamoDB refuses an empty map of values.
        let values = Some(expression.values).filter(|values| !values.is_empty());
        let call = call.set_expression_attribute_values(values);
        let call = call.return_values_on_condition_check_failure(AllOld);
        let call = call.customize().interceptor(attempts.clone());
        match self
            .in_time(call.send(), failed_condition!(DeleteItemError))
            .await
        {
            Ok(_) => Ok(()),
            Err(Failure::Condition(None)) if attempts.may_have_written() => Ok(()),
            Err(Failure::Condition(None)) => Err(Error::UserNotFound),
            Err(Failure::Condition(Some(_))) => Err(Error::VersionMismatch),
            Err(failure) => Err(failure.into_error(DELETE)),
        }
    }

    /// Makes the table (partition key `userId`, a string; on demand) if there is
    /// none, waits until it can be used, and tells whether it was made.
    ///
    /// # Errors
    /// Why not, as a sentence.
    #[cfg(feature = "local")]
    pub async fn create_table(&self) -> Result<bool, String> {
        use aws_sdk_dynamodb::operation::create_table::CreateTableError;
        use aws_sdk_dynamodb::types::{
            AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
            TableStatus,
        };

        let key = KeySchemaElement::builder()
            .attribute_name("userId")
            .key_type(KeyType::Hash);
        let attribute = AttributeDefinition::builder();
        let attribute = attribute
            .attribute_name("userId")
            .attribute_type(ScalarAttributeType::S);
        let call = self.client.create_table().table_name(&*self.table);
        let call = call.key_schema(key.build().map_err(|error| error.to_string())?);
        let call =
            call.attribute_definitions(attribute.build().map_err(|error| error.to_string())?);
        let call = call.billing_mode(BillingMode::PayPerRequest);
        match call.send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(chain("the table was not made", &error)),
        }
        for _ in 0..100 {
            let call = self.client.describe_table().table_name(&*self.table);
            let output = call
                .send()
                .await
                .map_err(|error| chain("the table was made", &error))?;
            let status = output.table().and_then(|table| table.table_status());
            if status == Some(&TableStatus::Active) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(String::from(
            "the table was made, and is not active after 10 seconds",
        ))
    }

    /// Puts in the tutorial's sample user as the tutorial does, without a version.
    ///
    /// # Errors
    /// Why not, as a sentence.
    #[cfg(feature = "local")]
    pub async fn put_sample_user(&self) -> Result<(), String> {
        let call = self.client.put_item().table_name(&*self.table);
        let call = call
            .item("userId", string("1"))
            .item("name", string("Test User"));
        let call = call.item("email", string("test@example.com"));
        let put = call.send().await;
        put.map(|_| ())
            .map_err(|error| chain("the sample user was not stored", &error))
    }

    fn attempts(&self) -> Attempts {
        Attempts {
            calls: Arc::clone(&self.calls),
            unanswered: Arc::default(),
        }
    }

    /// Waits for a call, as long as there is time for the answer to be of use.
    async fn in_time<T, E>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        failed_condition: fn(&E) -> Option<Option<User>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let result = match self.deadline {
            None => call.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, call).await {
                Ok(result) => result,
                Err(_) => {
                    let cause =
                        String::from("DynamoDB did not answer before the request's deadline");
                    return Err(Failure::Call {
                        retryable: true,
                        cause,
                    });
                }
            },
        };
        result.map_err(
            |error| match error.as_service_error().and_then(failed_condition) {
                Some(stored) => Failure::Condition(stored),
                None => Failure::of(&error),
            },
        )
    }
}

fn no_condition<E>(_: &E) -> Option<Option<User>> {
    None
}

/// HTTP/1.1 and HTTP/2 with TLS by rustls and ring, and the trusted roots of
/// the system.
pub fn http_client() -> SharedHttpClient {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls)
        .build_https()
}

/// Why a call failed.
enum Failure {
    /// Its condition did not hold for the user that is stored, if any is.
    Condition(Option<User>),
    /// DynamoDB did not do it.
    Call {
        /// Whether it may do it when asked again.
        retryable: bool,
        /// Why, without anything of a user.
        cause: String,
    },
}

impl Failure {
    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let (retryable, cause) = match error {
            SdkError::ServiceError(context) => {
                let status = context.raw().status();
                let code = context.err().code().unwrap_or("no code");
                // These two quote the values that were sent.
                let quotes = matches!(code, "ValidationException" | "SerializationException");
                let message = context
                    .err()
                    .message()
                    .filter(|_| !quotes)
                    .unwrap_or_default();
                let retryable = status.is_server_error() || RETRYABLE_CODES.contains(&code);
                (
                    retryable,
                    format!("DynamoDB answered {status} {code}: {message}"),
                )
            }
            SdkError::TimeoutError(_) => (true, chain("DynamoDB did not answer in time", error)),
            SdkError::ResponseError(_) => (true, chain("DynamoDB's answer cannot be read", error)),
            SdkError::DispatchFailure(failure) => {
                (!failure.is_user(), chain("DynamoDB was not reached", error))
            }
            SdkError::ConstructionFailure(_) | _ => (false, chain("DynamoDB was not asked", error)),
        };
        Self::Call { retryable, cause }
    }

    fn into_error(self, message: &'static str) -> Error {
        let (retryable, cause) = match self {
            Self::Call { retryable, cause } => (retryable, cause),
            Self::Condition(_) => (
                false,
                String::from("a condition failed that was not stated"),
            ),
        };
        Error::Store(StoreError {
            message,
            retryable,
            cause,
        })
    }
}

/// Errors with status 400 after which the same call may succeed
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>).
const RETRYABLE_CODES: [&str; 7] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// `what`, and all that led to it.
fn chain(what: &str, error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

/// Watches the attempts of one call: counts them, and sees whether one may have
/// been carried out although it was not answered.
#[derive(Clone, Debug)]
struct Attempts {
    calls: Arc<AtomicU32>,
    unanswered: Arc<AtomicBool>,
}

impl Attempts {
    fn may_have_written(&self) -> bool {
        self.unanswered.load(Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.calls.fetch_add(1, Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answered = |response: &HttpResponse| !response.status().is_server_error();
        if !context.response().is_some_and(answered) {
            self.unanswered.store(true, Relaxed);
        }
        Ok(())
    }
}

/// How a replacement arrives at the next version.
enum Count {
    /// From the number that is stored, or from none.
    Up,
    /// From 0, where this is stored and is not a version.
    Anew(AttributeValue),
}

impl Count {
    fn of(stored: &User) -> Self {
        match stored.attribute("version") {
            Some(foreign) if stored.version() == Version::default() => {
                Self::Anew(foreign.clone().into())
            }
            _ => Self::Up,
        }
    }
}

/// Expressions of one call, with the names and values that stand in them. Every
/// name has a placeholder, for `name` and others are DynamoDB's reserved words.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let placeholder = format!(":{name}");
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// The user exists, in one of the versions.
    fn matching(&mut self, if_match: &IfMatch) -> String {
        let user_id = self.name("userId");
        let exists = format!("attribute_exists({user_id})");
        let IfMatch::OneOf(versions) = if_match else {
            return exists;
        };
        if versions.is_empty() {
            return format!("{exists} AND attribute_not_exists({user_id})"); // never
        }
        let version = self.name("version");
        let named = versions
            .iter()
            .enumerate()
            .map(|(index, version)| self.value(&format!("version{index}"), number(version.0)));
        let mut matches = format!("{version} IN ({})", named.collect::<Vec<_>>().join(", "));
        if versions.contains(&Version::default()) {
            let zero = self.value("zero", number(0));
            matches += &format!(" OR attribute_not_exists({version}) OR NOT ({version} >= {zero})");
        }
        format!("{exists} AND ({matches})")
    }

    /// The user exists, in one of the versions, can be counted up as `count`
    /// says, and was not last written `now`.
    fn replaceable(&mut self, if_match: &IfMatch, count: &Count, now: Timestamp) -> String {
        let version = self.name("version");
        let countable = match count {
            Count::Up => {
                let matching = self.matching(if_match);
                let zero = self.value("zero", number(0));
                format!("{matching} AND (attribute_not_exists({version}) OR {version} >= {zero})")
            }
            // This one has been seen, and `if_match` allows it.
            Count::Anew(foreign) => {
                format!("{version} = {}", self.value("foreign", foreign.clone()))
            }
        };
        let updated_at = self.name("updatedAt");
        let now = self.value("updatedAt", string(&now.to_string()));
        format!("{countable} AND (attribute_not_exists({updated_at}) OR {updated_at} <> {now})")
    }

    /// Sets or removes what a client may write, and the service's own.
    fn update(&mut self, input: UserInput, count: &Count, now: Timestamp) -> String {
        let mut set = Vec::new();
        let mut remove = Vec::new();
        for (attribute, value) in input.into_attributes() {
            let name = self.name(attribute);
            match value {
                Some(value) => {
                    set.push(format!("{name} = {}", self.value(attribute, value.into())));
                }
                None => remove.push(name),
            }
        }
        let version = self.name("version");
        let one = self.value("one", number(1));
        set.push(match count {
            Count::Up => {
                let zero = self.value("zero", number(0));
                format!("{version} = if_not_exists({version}, {zero}) + {one}")
            }
            Count::Anew(_) => format!("{version} = {one}"),
        });
        let updated_at = self.name("updatedAt");
        let now = self.value("updatedAt", string(&now.to_string()));
        set.push(format!("{updated_at} = {now}"));
        let remove = if remove.is_empty() {
            String::new()
        } else {
            format!(" REMOVE {}", remove.join(", "))
        };
        format!("SET {}{remove}", set.join(", "))
    }
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
