//! The calls to DynamoDB of the command `doctor` (feature `local`). They change nothing.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::FinalizerInterceptorContextRef,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    types::{
        AttributeValue, KeysAndAttributes, PointInTimeRecoveryStatus, TableDescription,
        TableStatus, TimeToLiveStatus,
    },
};
use aws_smithy_types::date_time::{DateTime, Format};
use serde_dynamo::{Item, from_item};

use super::{
    Consistency, Error, HistoryRecord, Limit, PRIMING_KEY, StartKey, UserStore, call::failure,
    history::SECONDS_IN_A_DAY, reconcile::is_behind, string, tables::Table, text,
};
use crate::user::{DeletedUser, EmailKey, Timestamp, User, UserId};

/// The attribute with the time at which an item expires.
const EXPIRES_AT: &str = "expiresAt";
/// The error code of DynamoDB for an operation that the credentials do not allow.
const DENIED: &str = "AccessDeniedException";
/// The error codes of DynamoDB for a table that does not exist.
const NO_TABLE: [&str; 2] = ["ResourceNotFoundException", "TableNotFoundException"];
/// The error codes of emulators for an operation that they do not have.
const NO_OPERATION: [&str; 1] = [super::tables::UNKNOWN_OPERATION];

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole {
    /// Users.
    Users,
    /// Claims on email addresses.
    Claims,
    /// Idempotency records.
    IdempotencyKeys,
    /// Deleted users.
    DeletedUsers,
    /// The history.
    History,
}

impl TableRole {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Users,
        Self::Claims,
        Self::IdempotencyKeys,
        Self::DeletedUsers,
        Self::History,
    ];

    /// Whether a loss of the table is a loss of data. Such a table has point-in-time recovery and
    /// deletion protection.
    fn is_lasting(self) -> bool {
        self != Self::IdempotencyKeys
    }
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// There is no such table.
    Missing,
    /// The table is not active. It has this status.
    NotActive(String),
    /// The table has another key.
    Key {
        /// The key that the table has, such as `userId (N)`.
        found: String,
        /// The key that the service uses.
        wanted: String,
    },
    /// Time to Live (TTL) is off, so expired items stay.
    TimeToLiveOff,
    /// Time to Live uses this attribute in place of `expiresAt`.
    TimeToLiveAttribute(String),
    /// Time to Live is on, with this attribute. DynamoDB may delete items that the service needs.
    TimeToLiveUnwanted(String),
    /// Point-in-time recovery is off.
    RecoveryOff,
    /// Deletion protection is off.
    ProtectionOff,
    /// The credentials do not allow this operation.
    Denied(&'static str),
}

/// What was found out about a table.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// What is wrong with it.
    pub faults: Vec<TableFault>,
    /// The operations that this DynamoDB does not have. What they tell is not known.
    pub lacks: Vec<&'static str>,
}

impl Examined {
    /// Whether items can be read from the table.
    pub fn is_readable(&self) -> bool {
        self.faults.iter().all(|fault| match fault {
            TableFault::Missing | TableFault::NotActive(_) | TableFault::Key { .. } => false,
            TableFault::Denied(operation) => operation.starts_with("Describe"),
            TableFault::TimeToLiveOff
            | TableFault::TimeToLiveAttribute(_)
            | TableFault::TimeToLiveUnwanted(_)
            | TableFault::RecoveryOff
            | TableFault::ProtectionOff => true,
        })
    }
}

/// What is wrong with the history of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFault {
    /// The last write of the user has no record.
    WriteMissing,
    /// The record of the last write has another version than the user.
    OtherVersion,
    /// The newest record is that of a later write.
    UserBehind,
}

/// An item of the table of deleted users.
#[derive(Clone, Debug)]
pub struct DeletedEntry {
    /// The key of the item.
    pub user_id: String,
    /// The deleted user. `None` if the item cannot be read as one.
    pub deleted: Option<DeletedUser>,
}

/// A user and a claim, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// The user. `None` if there is no such user.
    pub user: Option<User>,
    /// Who holds the claim on the address.
    pub holder: Holder,
}

/// Who holds the claim on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// There is no claim.
    Nobody,
    /// This user.
    User(UserId),
    /// The claim names no user. Another client wrote it.
    Unreadable,
}

/// A useful answer of DynamoDB.
enum Answer<T> {
    Found(T),
    NoTable,
    Denied,
    NoOperation,
}

impl UserStore {
    /// The name of a table. `None` if the store has no such table.
    pub fn table_name(&self, role: TableRole) -> Option<&str> {
        self.table(role).map(|table| table.name)
    }

    fn table(&self, role: TableRole) -> Option<Table<'_>> {
        let tables = &*self.tables;
        let name = match role {
            TableRole::Users => &tables.users,
            TableRole::Claims => tables.emails.as_ref()?,
            TableRole::IdempotencyKeys => &tables.idempotency_keys,
            TableRole::DeletedUsers => &tables.deleted_users,
            TableRole::History => &tables.history,
        };
        self.tables().find(|table| table.name == name)
    }

    /// The number of seconds by which this machine's clock is ahead of DynamoDB's: the time in the
    /// `Date` of an answer, even of a refusal. `None` if an answer has no such time.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn clock_difference(&self) -> Result<Option<i64>, Error> {
        let clock = ServerClock::new(self.clock);
        let call = self
            .client
            .describe_table()
            .table_name(&self.tables.users)
            .customize()
            .interceptor(clock.clone())
            .interceptor(self.attempts())
            .send();
        match self.in_time(call).await {
            Err(Some(error)) if error.raw_response().is_none() => Err(failure(Some(error))),
            Ok(_) | Err(_) => Ok(clock.ahead.get().copied()),
        }
    }

    /// Examines a table: its status, key, Time to Live, and what the credentials may read. Examines
    /// point-in-time recovery and deletion protection only if the table `is_protected` from loss.
    ///
    /// # Errors
    /// A call to DynamoDB failed.
    pub async fn examine(&self, role: TableRole, is_protected: bool) -> Result<Examined, Error> {
        let mut examined = Examined::default();
        let Some(table) = self.table(role) else {
            return Ok(examined);
        };
        let is_protected = is_protected && role.is_lasting();
        let call = self.client.describe_table().table_name(table.name);
        let call = call.customize().interceptor(self.attempts()).send();
        let described = sorted(self.in_time(call).await)?;
        let output = examined.take("DescribeTable", described);
        if let Some(description) = output.and_then(|output| output.table) {
            examined
                .faults
                .extend(described_faults(&table, &description));
            if is_protected && description.deletion_protection_enabled != Some(true) {
                examined.faults.push(TableFault::ProtectionOff);
            }
        }
        if !examined.is_readable() {
            return Ok(examined);
        }
        let time_to_live = self.time_to_live(table.name).await?;
        let fault = examined
            .take("DescribeTimeToLive", time_to_live)
            .and_then(|attribute| match (attribute, table.expires) {
                (Some(attribute), true) if attribute == EXPIRES_AT => None,
                (Some(attribute), true) => Some(TableFault::TimeToLiveAttribute(attribute)),
                (None, true) => Some(TableFault::TimeToLiveOff),
                (Some(attribute), false) => Some(TableFault::TimeToLiveUnwanted(attribute)),
                (None, false) => None,
            });
        examined.faults.extend(fault);
        if is_protected {
            let has_recovery = self.has_recovery(table.name).await?;
            if examined.take("DescribeContinuousBackups", has_recovery) == Some(false) {
                examined.faults.push(TableFault::RecoveryOff);
            }
        }
        self.read_dry(role, &table, &mut examined).await?;
        Ok(examined)
    }

    /// The attribute of Time to Live. `None` if it is off.
    async fn time_to_live(&self, table: &str) -> Result<Answer<Option<String>>, Error> {
        let call = self.client.describe_time_to_live().table_name(table);
        let call = call.customize().interceptor(self.attempts()).send();
        let answer = sorted(self.in_time(call).await)?;
        Ok(answer.map(|output| {
            let description = output.time_to_live_description?;
            let status = description.time_to_live_status?;
            let is_on = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling].contains(&status);
            description.attribute_name.filter(|_| is_on)
        }))
    }

    async fn has_recovery(&self, table: &str) -> Result<Answer<bool>, Error> {
        let call = self.client.describe_continuous_backups().table_name(table);
        let call = call.customize().interceptor(self.attempts()).send();
        let answer = sorted(self.in_time(call).await)?;
        Ok(answer.map(|output| {
            let backups = output.continuous_backups_description;
            let recovery = backups.and_then(|backups| backups.point_in_time_recovery_description);
            let status = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
            status == Some(PointInTimeRecoveryStatus::Enabled)
        }))
    }

    /// Makes each kind of read that the samples need, of a key that no user has or of one item.
    async fn read_dry(
        &self,
        role: TableRole,
        table: &Table<'_>,
        examined: &mut Examined,
    ) -> Result<(), Error> {
        let name = table.name;
        let key = |part: &str| (part.to_owned(), string(PRIMING_KEY));
        let key: HashMap<_, _> = table.key.iter().map(|part| key(part)).collect();
        let (gets, lists) = match role {
            TableRole::Users | TableRole::Claims | TableRole::DeletedUsers => (true, true),
            TableRole::IdempotencyKeys => (false, false),
            TableRole::History => {
                let call = self.client.query().table_name(name).limit(1);
                let call = call
                    .key_condition_expression("userId = :userId")
                    .expression_attribute_values(":userId", string(PRIMING_KEY))
                    .customize()
                    .interceptor(self.attempts());
                let answer = sorted(self.in_time(call.send()).await)?;
                examined.take("Query", answer);
                (false, false)
            }
        };
        if role != TableRole::History {
            let call = self.client.get_item().table_name(name);
            let call = call.set_key(Some(key.clone())).customize();
            let call = call.interceptor(self.attempts()).send();
            examined.take("GetItem", sorted(self.in_time(call).await)?);
        }
        if gets {
            let keys = KeysAndAttributes::builder().keys(key).build();
            let keys = keys.expect("the request names its key");
            let call = self.client.batch_get_item().request_items(name, keys);
            let call = call.customize().interceptor(self.attempts()).send();
            examined.take("BatchGetItem", sorted(self.in_time(call).await)?);
        }
        if lists {
            let call = self.client.scan().table_name(name).limit(1);
            let call = call.customize().interceptor(self.attempts()).send();
            examined.take("Scan", sorted(self.in_time(call).await)?);
        }
        Ok(())
    }

    /// What is wrong with the newest record in the history of `user`. The read is strongly
    /// consistent.
    ///
    /// The record of a write is stored in the transaction of the write. So it is there, unless it has
    /// expired. Two kinds of writes have none, and change no version: those of `claim-emails`, and
    /// those of other clients. A user that has no `updatedBy` was never changed by the service. One
    /// whose `updatedAt` is before its last write was written by `claim-emails`.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn history_fault(&self, user: &User) -> Result<Option<HistoryFault>, Error> {
        let (Some(days), Some(write)) = (self.retention.history_days, user.last_write()) else {
            return Ok(None);
        };
        let record = self.newest_record(user.user_id()).await?;
        if record.as_ref().is_some_and(|it| is_behind(Some(write), it)) {
            return Ok(Some(HistoryFault::UserBehind));
        }
        if !matches!(
            user.attribute("updatedBy"),
            Some(serde_dynamo::AttributeValue::M(_))
        ) {
            return Ok(None);
        }
        let second = write.second().map(|second| second.to_string());
        if record.is_none()
            && (self.is_older_than(user, days)
                || second.is_some_and(|second| is_updated_before(user, &second)))
        {
            return Ok(None);
        }
        Ok(match record {
            Some(record)
                if record
                    .version()
                    .is_some_and(|it| Some(it) == user.version()) =>
            {
                None
            }
            Some(record) if record.id == write.to_string() => Some(HistoryFault::OtherVersion),
            Some(_) | None => Some(HistoryFault::WriteMissing),
        })
    }

    /// Whether a deleted user has a record after its last write.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn is_behind_history(&self, deleted: &DeletedUser) -> Result<bool, Error> {
        let record = self.newest_record(deleted.user.user_id()).await?;
        Ok(record.is_some_and(|record| is_behind(deleted.last_write(), &record)))
    }

    /// The newest record of a user. `None` if there is none, or if another client wrote it.
    async fn newest_record(&self, user_id: &str) -> Result<Option<HistoryRecord>, Error> {
        let call = self
            .client
            .query()
            .table_name(&self.tables.history)
            .key_condition_expression("userId = :userId")
            .expression_attribute_values(":userId", string(user_id))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(1)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let record = output.items.into_iter().flatten().next().map(Item::from);
        Ok(record.and_then(|item| from_item(item).ok()))
    }

    /// Whether the last change of a user is as old as records become.
    fn is_older_than(&self, user: &User, days: u16) -> bool {
        let seconds = u64::from(days) * SECONDS_IN_A_DAY;
        let now = self.timestamp().unix_seconds();
        let oldest = Timestamp::from_unix_seconds(now.saturating_sub(seconds));
        let oldest = oldest.map(|oldest| oldest.to_string());
        oldest.is_some_and(|oldest| is_updated_before(user, &oldest))
    }

    /// The items of the table of deleted users: at most `limit` of those after `start`, or the first
    /// ones if `start` is `None`. Also returns the start key of the next call, or `None` if there
    /// are no more items. Expired items are among them.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn deleted_entries(
        &self,
        limit: Limit,
        start: Option<&StartKey>,
    ) -> Result<(Vec<DeletedEntry>, Option<StartKey>), Error> {
        let start = start.map(|key| HashMap::from([("userId".to_owned(), string(key))]));
        let call = self
            .client
            .scan()
            .table_name(&self.tables.deleted_users)
            .limit(limit.in_call())
            .consistent_read(true)
            .set_exclusive_start_key(start)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let next = output.last_evaluated_key;
        let next = next.and_then(|last| text(&last, "userId"));
        let entries = output.items.into_iter().flatten().map(entry).collect();
        Ok((entries, next))
    }

    /// The item of the table of deleted users with this key. The read is strongly consistent.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn deleted_entry(&self, user_id: &str) -> Result<Option<DeletedEntry>, Error> {
        let call = self
            .client
            .get_item()
            .table_name(&self.tables.deleted_users)
            .key("userId", string(user_id))
            .consistent_read(true)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        Ok(output.item.map(entry))
    }

    /// The user with this `userId` and the holder of the claim on `email`, at one moment: the user is
    /// the same before and after the claim was read. `None` if the user has changed meanwhile.
    ///
    /// # Errors
    /// A call to DynamoDB failed.
    pub async fn moment(&self, user_id: &str, email: &EmailKey) -> Result<Option<Moment>, Error> {
        let Some(emails) = self.tables.emails.as_deref() else {
            return Ok(None);
        };
        let user_id = UserId::stored(user_id);
        let user = self.get(&user_id, Consistency::Strong).await?;
        let holder = self.holder(emails, email).await?;
        let is_same = self.get(&user_id, Consistency::Strong).await? == user;
        Ok(is_same.then_some(Moment { user, holder }))
    }
}

impl<T> Answer<T> {
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Found(output) => Answer::Found(convert(output)),
            Self::NoTable => Answer::NoTable,
            Self::Denied => Answer::Denied,
            Self::NoOperation => Answer::NoOperation,
        }
    }
}

impl Examined {
    /// The output of an operation. Notes a refusal.
    fn take<T>(&mut self, operation: &'static str, answer: Answer<T>) -> Option<T> {
        match answer {
            Answer::Found(output) => return Some(output),
            Answer::NoTable if self.faults.contains(&TableFault::Missing) => {}
            Answer::NoTable => self.faults.push(TableFault::Missing),
            Answer::Denied => self.faults.push(TableFault::Denied(operation)),
            Answer::NoOperation => self.lacks.push(operation),
        }
        None
    }
}

/// Sorts out the refusals that say something about the table, the credentials or the emulator.
fn sorted<T, E>(answer: Result<T, Option<SdkError<E, HttpResponse>>>) -> Result<Answer<T>, Error>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let error = match answer {
        Ok(output) => return Ok(Answer::Found(output)),
        Err(error) => error,
    };
    let code = error.as_ref().and_then(ProvideErrorMetadata::code);
    match code {
        Some(code) if NO_TABLE.contains(&code) => Ok(Answer::NoTable),
        Some(code) if code == DENIED => Ok(Answer::Denied),
        Some(code) if NO_OPERATION.contains(&code) => Ok(Answer::NoOperation),
        Some(_) | None => Err(failure(error)),
    }
}

/// What is wrong with the status or the key of a table.
fn described_faults(table: &Table<'_>, description: &TableDescription) -> Vec<TableFault> {
    let mut faults = Vec::new();
    let status = description.table_status.as_ref();
    // A table that is being updated can be read and written.
    if !matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
        let status = status.map_or("unknown", TableStatus::as_str);
        faults.push(TableFault::NotActive(status.to_owned()));
    }
    let attributes = description.attribute_definitions();
    let parts = description.key_schema().iter().map(|part| {
        let name = part.attribute_name();
        let defined = attributes
            .iter()
            .find(|attribute| attribute.attribute_name() == name);
        let kind = defined.map_or("?", |defined| defined.attribute_type().as_str());
        format!("{name} ({kind})")
    });
    let found = parts.collect::<Vec<_>>().join(", ");
    let wanted = table.key.iter().map(|part| format!("{part} (S)"));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    if found != wanted {
        faults.push(TableFault::Key { found, wanted });
    }
    faults
}

/// Whether the service last changed the user before this time, as far as the user says.
fn is_updated_before(user: &User, time: &str) -> bool {
    match user.attribute("updatedAt") {
        Some(serde_dynamo::AttributeValue::S(updated)) => **updated < *time,
        Some(_) | None => true,
    }
}

/// An item of the table of deleted users.
fn entry(item: HashMap<String, AttributeValue>) -> DeletedEntry {
    DeletedEntry {
        user_id: text(&item, "userId").unwrap_or_default(),
        deleted: DeletedUser::from_attributes(Item::from(item).into_inner()),
    }
}

/// Reads DynamoDB's clock in the `Date` of an answer.
#[derive(Clone, Debug)]
struct ServerClock {
    clock: fn() -> SystemTime,
    /// The number of seconds by which this machine's clock is ahead.
    ahead: Arc<OnceLock<i64>>,
}

impl ServerClock {
    fn new(clock: fn() -> SystemTime) -> Self {
        Self {
            clock,
            ahead: Arc::default(),
        }
    }

    /// The number of seconds from `date`, the value of a `Date` field, until now.
    fn seconds_since(&self, date: &str) -> Option<i64> {
        let date = DateTime::from_str(date, Format::HttpDate).ok()?;
        let now = (self.clock)().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        Some(now - date.secs())
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context
            .response()
            .and_then(|answer| answer.headers().get("date"));
        if let Some(ahead) = date.and_then(|date| self.seconds_since(date)) {
            // The first answer counts. A later attempt may follow a pause.
            let _ = self.ahead.set(ahead);
        }
        Ok(())
    }
}
