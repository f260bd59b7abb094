//! The calls to DynamoDB of the command `reconcile` (feature `local`). The command makes
//! tables consistent that were restored to slightly different moments.
//!
//! A restore does not cut a transaction off in all tables at the same place. So a user can be behind
//! its history, or be a user and a deleted user at once, or be neither.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::{Item, from_item};

use super::{
    Author, Compared, Consistency, Decision, Error, HistoryRecord, Limit, Page, Read, RecordKey,
    StartKey, Stored, UserStore, WriteError,
    action::Action,
    call::failure,
    commit::RecordedClaim,
    history::SECONDS_IN_A_DAY,
    pauses::Pauses,
    text,
    transaction::Cancelled,
    user,
    write::{Plan, Reads},
};
use crate::user::{
    DeletedUser, Event, EventType, State, Timestamp, User, UserId, Version, WriteId,
};

/// The maximum number of keys in one call of `BatchGetItem`.
const MAX_KEYS: usize = 100;

/// What [`UserStore::reconcile`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// There was nothing to do.
    Agrees,
    /// The history was ahead of the user. The user has a new version, after all of its records.
    CaughtUp,
    /// The same, for a deleted user.
    DeletedCaughtUp,
    /// The user was a user and a deleted user at once. It is no deleted user any more.
    Undeleted,
    /// The user was erased. `forget-erased` erases it again.
    Erased,
    /// The user is left as it is, because another user has claimed its address.
    Taken,
    /// The user is neither a user nor a deleted user, and its history does not say why.
    Missing,
}

/// The maximum number of records in a page of a walk. A page must arrive within the time of one
/// attempt, also over a slow link.
pub(super) const RECORDS_IN_A_PAGE: i32 = 500;

/// All records of a user, newest first.
struct Records(Vec<HistoryRecord>);

impl Records {
    fn newest(&self) -> Option<&HistoryRecord> {
        self.0.first()
    }

    /// Whether the user was erased: an erasure names it, or a user who was created later. The record
    /// need not be the newest. An erasure follows the last write that it knew, and a copy may have
    /// been put back and erased in between.
    fn erase(&self, user: &User) -> bool {
        self.0
            .iter()
            .any(|record| is_erasure_of(record, user.created_at()))
    }

    /// Whether an erasure is the last that is known of the user: no creation follows it.
    fn end_in_erasure(&self) -> bool {
        let mut since_creation = self.0.iter().take_while(|record| !is_creation(record));
        since_creation.any(is_erasure)
    }

    /// Whether the user is behind its history: it has not been written since the newest record.
    fn are_ahead_of(&self, last_write: Option<WriteId>) -> bool {
        self.newest()
            .is_some_and(|record| is_behind(last_write, record))
    }

    /// Whether the user is the one that was deleted, and not a later one with the same `userId`. A
    /// user that another client made may have no `createdAt`.
    fn show_same(&self, user: &User, deleted: &DeletedUser) -> bool {
        let deletion = deleted.last_write();
        let is_later =
            |record: &HistoryRecord| is_creation(record) && WriteId::parse(&record.id) > deletion;
        may_be_same(user, deleted) && (user.created_at().is_some() || !self.0.iter().any(is_later))
    }

    /// The highest version of the user: of what is `stored`, and of the records after its last write.
    fn counted(&self, stored: &Stored) -> Option<Version> {
        let of_user = stored.user.as_ref().and_then(User::last_write);
        let of_deleted = stored.deleted.as_ref().and_then(DeletedUser::last_write);
        let last_write = of_user.or(of_deleted);
        let ahead = self.0.iter().filter(|it| is_behind(last_write, it));
        let versions = ahead.filter_map(HistoryRecord::version);
        let versions = versions.chain(stored.users().filter_map(User::version));
        versions.max_by_key(|version| version.get())
    }
}

/// Why a user was not written.
enum Unwritten {
    Ended,
    Failed(WriteError),
}

impl From<WriteError> for Unwritten {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

impl UserStore {
    /// Some records of the history: the newest of each user among those after `start`, or among the
    /// first ones if `start` is `None`, and its erasures, and how many records there were. Also
    /// returns the start of the next call, or `None` if there are no more records.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn newest_records(
        &self,
        start: Option<RecordKey>,
    ) -> Result<(Vec<HistoryRecord>, usize, Option<RecordKey>), Error> {
        let call = self
            .client
            .scan()
            .table_name(&self.tables.history)
            .consistent_read(true)
            .limit(RECORDS_IN_A_PAGE)
            .set_exclusive_start_key(start.map(|key| key.0))
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let items = output.items.unwrap_or_default();
        let count = items.len();
        let mut newest: BTreeMap<String, HistoryRecord> = BTreeMap::new();
        let mut erasures = Vec::new();
        for item in items.into_iter().map(Item::from) {
            // An item that another client wrote may not be a record.
            let Ok(record) = from_item::<_, HistoryRecord>(item) else {
                continue;
            };
            let known = newest.get(&record.user_id);
            let is_newest = known.is_none_or(|known| known.id < record.id);
            if is_erasure(&record) {
                erasures.push(record.clone());
            }
            if is_newest {
                newest.insert(record.user_id.clone(), record);
            }
        }
        let next = output.last_evaluated_key.map(RecordKey);
        let records = newest.into_values().chain(erasures);
        Ok((records.collect(), count, next))
    }

    /// The `userId`s of those `records` that do not agree with what is stored, or seem not to.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn disagreeing(&self, records: &[HistoryRecord]) -> Result<BTreeSet<String>, Error> {
        let mut disagreeing = BTreeSet::new();
        for records in records.chunks(MAX_KEYS) {
            let ids: BTreeSet<_> = records.iter().map(|record| &*record.user_id).collect();
            let (users, deleted) = (&self.tables.users, &self.tables.deleted_users);
            let attributes = ["userId", "createdAt", State::NAME];
            let users = self.get_all(users, "userId", ids.clone(), &attributes);
            let users = users.await?.into_iter().map(user);
            let users = users.map(|user| (user.user_id().to_owned(), Seen::of(&user)));
            let users: HashMap<_, _> = users.collect();
            let ids = ids.into_iter().filter(|id| !users.contains_key(*id));
            let ids: BTreeSet<_> = ids.collect();
            let deleted: HashMap<_, _> = if ids.is_empty() {
                HashMap::new()
            } else {
                let attributes = ["userId", "user.createdAt", DeletedUser::REVISION];
                let deleted = self.get_all(deleted, "userId", ids, &attributes).await?;
                let deleted = deleted.iter().filter_map(Seen::of_deleted);
                deleted.collect()
            };
            for record in records {
                let user_id = &record.user_id;
                let disagrees = match users.get(user_id).or_else(|| deleted.get(user_id)) {
                    Some(Seen {
                        last_write,
                        created_at,
                    }) => {
                        is_behind(*last_write, record)
                            || is_erasure_of(record, created_at.as_deref())
                    }
                    None => self.should_be_there(record),
                };
                if disagrees {
                    disagreeing.insert(user_id.clone());
                }
            }
        }
        Ok(disagreeing)
    }

    /// One page of deleted users, with those of their `userId`s at which the same user is a user.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn deleted_who_are_users(
        &self,
        start: Option<&StartKey>,
    ) -> Result<(Page<DeletedUser>, Vec<String>), Error> {
        let page = self.list_deleted(Limit::MAX, start, Consistency::Strong);
        let page = page.await?;
        let users = self.users_of(&page.items).await?;
        let twice = page.items.iter().filter(|deleted| {
            let same = users
                .iter()
                .find(|it| it.user_id() == deleted.user.user_id());
            same.is_some_and(|user| may_be_same(user, deleted))
        });
        let twice = twice.map(|deleted| deleted.user.user_id().to_owned());
        let twice = twice.collect();
        Ok((page, twice))
    }

    /// The users with the `userId`s of at most 100 `deleted` users, with no more than their
    /// `createdAt`.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn users_of(&self, deleted: &[DeletedUser]) -> Result<Vec<User>, Error> {
        let ids: BTreeSet<_> = deleted.iter().map(|it| it.user.user_id()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.get_all(&self.tables.users, "userId", ids, &["userId", "createdAt"]);
        Ok(users.await?.into_iter().map(user).collect())
    }

    /// Brings the user and its history together, if they do not agree. Changes no field of the user,
    /// and no record: a write is added, whose version and id follow all others.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn reconcile(
        &self,
        author: Author<'_>,
        user_id: &str,
    ) -> Result<(Reconciled, Option<HistoryRecord>), Error> {
        let user_id = UserId::stored(user_id);
        // First the records: a write between the two reads makes the user newer, and not older.
        let records = self.records(&user_id).await?;
        let stored = self.get_stored(&user_id).await?;
        let found = self.compare(&stored, &records);
        let counted = records.counted(&stored);
        let done = match found {
            Reconciled::CaughtUp => {
                let plan = Plan::change(Compared::Known, RecordedClaim::Own);
                let written = self.catch_up(author, &user_id, plan, &records, counted, found);
                written.await?
            }
            Reconciled::Undeleted => {
                let plan = Plan::of(Reads::Both);
                let written = self.catch_up(author, &user_id, plan, &records, counted, found);
                written.await?
            }
            Reconciled::DeletedCaughtUp => match (&stored.deleted, records.newest()) {
                (Some(deleted), Some(newest)) => {
                    self.catch_up_deleted(author, deleted, newest, counted)
                        .await?
                }
                (None, _) | (_, None) => Reconciled::Agrees,
            },
            Reconciled::Missing => {
                // The user may have ended or moved between the reads. Then it has another record.
                match self.records(&user_id).await?.0 == records.0 {
                    true => Reconciled::Missing,
                    false => Reconciled::Agrees,
                }
            }
            Reconciled::Agrees | Reconciled::Erased | Reconciled::Taken => found,
        };
        Ok((done, records.newest().cloned()))
    }

    /// What [`UserStore::reconcile`] would find, at one moment: what is stored is the same before and
    /// after the comparison. `None` if the user has changed meanwhile. Changes nothing.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn to_reconcile(&self, user_id: &str) -> Result<Option<Reconciled>, Error> {
        let user_id = UserId::stored(user_id);
        let records = self.records(&user_id).await?;
        let stored = self.get_stored(&user_id).await?;
        let found = self.compare(&stored, &records);
        let is_same = self.get_stored(&user_id).await? == stored;
        Ok(is_same.then_some(found))
    }

    /// All records of a user.
    async fn records(&self, user_id: &UserId) -> Result<Records, Error> {
        let mut records = Vec::new();
        let mut start = None;
        loop {
            let page = self.history(user_id, Limit::MAX, start.as_ref()).await?;
            records.extend(page.items);
            start = page.next;
            if start.is_none() {
                return Ok(Records(records));
            }
        }
    }

    /// What there is to do for what is `stored`.
    fn compare(&self, stored: &Stored, records: &Records) -> Reconciled {
        match (&stored.user, &stored.deleted) {
            (Some(user), _) if records.erase(user) => Reconciled::Erased,
            (Some(user), Some(deleted)) if records.show_same(user, deleted) => {
                Reconciled::Undeleted
            }
            (Some(user), _) if records.are_ahead_of(user.last_write()) => Reconciled::CaughtUp,
            (None, Some(deleted)) if records.erase(&deleted.user) => Reconciled::Erased,
            (None, Some(deleted)) if records.are_ahead_of(deleted.last_write()) => {
                Reconciled::DeletedCaughtUp
            }
            (None, None) if self.is_missing(records) => Reconciled::Missing,
            (Some(_), _) | (None, Some(_) | None) => Reconciled::Agrees,
        }
    }

    /// Whether a user with these records should be a user or a deleted user.
    fn is_missing(&self, records: &Records) -> bool {
        let newest = records.newest();
        newest.is_some_and(|record| self.should_be_there(record)) && !records.end_in_erasure()
    }

    /// Whether a user with this newest record should be a user or a deleted user.
    fn should_be_there(&self, record: &HistoryRecord) -> bool {
        if is_erasure(record) {
            return false;
        }
        let days = u64::from(self.retention.deleted_users_days);
        let kept = Duration::from_secs(days * SECONDS_IN_A_DAY);
        let oldest = self.now().checked_sub(kept).map(Timestamp::from);
        let is_kept = oldest.is_none_or(|oldest| oldest.to_string() < record.time);
        record.event_type != EventType::Deleted.as_str() || is_kept
    }

    /// Writes the user again, after its `records`, as long as it is as it was `found`. A deleted user
    /// that the plan reads is taken out.
    async fn catch_up(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        plan: Plan<'_>,
        records: &Records,
        counted: Option<Version>,
        found: Reconciled,
    ) -> Result<Reconciled, Error> {
        let id = records.newest().and_then(|it| WriteId::parse(&it.id));
        let plan = match id {
            Some(id) => plan.after(id),
            None => plan,
        };
        let decide = |read: &Read, now: Timestamp| match &read.stored.user {
            Some(user) if self.compare(&read.stored, records) == found => {
                let user = user.clone().caught_up(counted, now, author.actor);
                Ok(Decision::Store(Box::new(user)))
            }
            Some(_) | None => Err(Unwritten::Ended),
        };
        match self.write(author, user_id, plan, decide, None).await {
            Ok(_) => Ok(found),
            Err(Unwritten::Ended) => Ok(Reconciled::Agrees),
            Err(Unwritten::Failed(WriteError::Failed(error))) => Err(error),
            Err(Unwritten::Failed(
                WriteError::UserExists { .. }
                | WriteError::UserDeleted(_)
                | WriteError::EmailTaken
                | WriteError::Recorded(_)
                | WriteError::TooLarge,
            )) => Ok(Reconciled::Taken),
        }
    }

    /// Deletes the deleted user once more, after its `newest` record.
    async fn catch_up_deleted(
        &self,
        author: Author<'_>,
        deleted: &DeletedUser,
        newest: &HistoryRecord,
        counted: Option<Version>,
    ) -> Result<Reconciled, Error> {
        let user_id = deleted.user.user_id();
        let previous = deleted.last_write().max(WriteId::parse(&newest.id));
        let kept = u64::from(self.retention.deleted_users_days) * SECONDS_IN_A_DAY;
        let mut pauses = Pauses::of(self);
        loop {
            let now = self.timestamp();
            // As after each deletion, a user who is being created has a later id.
            let id = previous.map_or_else(|| WriteId::after(None, now), |it| it.ended(now));
            let after = deleted.caught_up(counted, id, now, kept);
            let record = after.user.version().and_then(|version| {
                let event = Event {
                    event_type: EventType::Deleted,
                    version,
                    changed: Vec::new(),
                };
                HistoryRecord::new(&event, user_id, author, id, now, self.retention)
            });
            let mut actions = vec![
                Action::CheckUser(user_id, None),
                Action::RenewDeleted(deleted, &after),
            ];
            actions.extend(record.map(Action::PutHistory));
            match self.transact(&actions).await {
                Ok(()) => return Ok(Reconciled::DeletedCaughtUp),
                // Another writer was quicker.
                Err(Cancelled::Conditions { .. }) => return Ok(Reconciled::Agrees),
                Err(Cancelled::Conflict) => pauses.pause().await?,
                Err(Cancelled::Failed(error)) => return Err(error),
            }
        }
    }
}

/// Whether the user has not been written since this `record` of its history. A user whose last write
/// is unknown counts as not behind: its next write follows all records.
pub(super) fn is_behind(last_write: Option<WriteId>, record: &HistoryRecord) -> bool {
    let id = WriteId::parse(&record.id);
    last_write.zip(id).is_some_and(|(write, id)| write < id)
}

/// What is compared of a user or a deleted user.
struct Seen {
    last_write: Option<WriteId>,
    created_at: Option<String>,
}

impl Seen {
    fn of(user: &User) -> Self {
        Self {
            last_write: user.last_write(),
            created_at: user.created_at().map(str::to_owned),
        }
    }

    /// The same of an item of the table of deleted users, with its `userId`.
    fn of_deleted(item: &HashMap<String, AttributeValue>) -> Option<(String, Self)> {
        let revision = text(item, DeletedUser::REVISION);
        let user = item.get("user").and_then(|user| user.as_m().ok());
        let seen = Self {
            last_write: revision.and_then(|id| WriteId::parse(&id)),
            created_at: user.and_then(|user| text(user, "createdAt")),
        };
        Some((text(item, "userId")?, seen))
    }
}

/// Whether the user can be the one that was deleted.
pub fn may_be_same(user: &User, deleted: &DeletedUser) -> bool {
    user.created_at() == deleted.user.created_at()
}

fn is_creation(record: &HistoryRecord) -> bool {
    record.event_type == EventType::Created.as_str()
}

fn is_erasure(record: &HistoryRecord) -> bool {
    record.event_type == EventType::Erased.as_str()
}

/// Whether this is the record of an erasure of a user that was created at this time, or of a later
/// user with the same `userId`.
fn is_erasure_of(record: &HistoryRecord, created_at: Option<&str>) -> bool {
    is_erasure(record) && created_at <= record.created_at.as_deref()
}
