//! The calls to DynamoDB of the command `reconcile` (feature `local`). The command makes
//! tables consistent that were restored to slightly different moments.
//!
//! A restore does not cut a transaction off in all tables at the same place. So a user can be behind
//! its history, or be a user and a deleted user at once, or be neither.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_dynamo::{Item, from_item};

use super::{
    Author, Compared, Consistency, Decision, Error, HistoryRecord, Limit, Page, RecordKey,
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

/// The records of which a user knows nothing.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    newest: &'a HistoryRecord,
    /// The highest version that the user has had.
    counted: Option<Version>,
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
    /// first ones if `start` is `None`, and how many there were. Also returns the start of the next
    /// call, or `None` if there are no more records.
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
            .set_exclusive_start_key(start.map(|key| key.0))
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let items = output.items.unwrap_or_default();
        let count = items.len();
        let mut newest: BTreeMap<String, HistoryRecord> = BTreeMap::new();
        for item in items.into_iter().map(Item::from) {
            // An item that another client wrote may not be a record.
            let Ok(record) = from_item::<_, HistoryRecord>(item) else {
                continue;
            };
            let known = newest.get(&record.user_id);
            if known.is_none_or(|known| known.id < record.id) {
                newest.insert(record.user_id.clone(), record);
            }
        }
        let next = output.last_evaluated_key.map(RecordKey);
        Ok((newest.into_values().collect(), count, next))
    }

    /// The `userId`s of those `records` that do not agree with what is stored, or seem not to.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn disagreeing(&self, records: &[HistoryRecord]) -> Result<Vec<String>, Error> {
        let mut disagreeing = Vec::new();
        for records in records.chunks(MAX_KEYS) {
            let ids: BTreeSet<_> = records.iter().map(|record| &*record.user_id).collect();
            let (users, deleted) = (&self.tables.users, &self.tables.deleted_users);
            let users = self.get_all(users, "userId", ids.clone(), &["userId", State::NAME]);
            let users: HashMap<_, _> = users
                .await?
                .into_iter()
                .map(user)
                .map(|user| (user.user_id().to_owned(), user.last_write()))
                .collect();
            let ids = ids.into_iter().filter(|id| !users.contains_key(*id));
            let ids: BTreeSet<_> = ids.collect();
            let deleted: HashMap<_, _> = if ids.is_empty() {
                HashMap::new()
            } else {
                let attributes = ["userId", DeletedUser::REVISION];
                let deleted = self.get_all(deleted, "userId", ids, &attributes).await?;
                let deleted = deleted.iter().filter_map(|item| {
                    let revision = text(item, DeletedUser::REVISION);
                    let last_write = revision.and_then(|id| WriteId::parse(&id));
                    Some((text(item, "userId")?, last_write))
                });
                deleted.collect()
            };
            for record in records {
                let user_id = &record.user_id;
                let disagrees = match users.get(user_id).or_else(|| deleted.get(user_id)) {
                    Some(last_write) => is_behind(*last_write, record),
                    None => self.should_be_there(record),
                };
                if disagrees {
                    disagreeing.push(user_id.clone());
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
        let ids: BTreeSet<_> = page.items.iter().map(|it| it.user.user_id()).collect();
        if ids.is_empty() {
            return Ok((page, Vec::new()));
        }
        let users = self.get_all(&self.tables.users, "userId", ids, &["userId", "createdAt"]);
        let users: Vec<_> = users.await?.into_iter().map(user).collect();
        let twice = page.items.iter().filter(|deleted| {
            let same = users
                .iter()
                .find(|it| it.user_id() == deleted.user.user_id());
            same.is_some_and(|user| is_same(user, deleted))
        });
        let twice = twice.map(|deleted| deleted.user.user_id().to_owned());
        let twice = twice.collect();
        Ok((page, twice))
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
        // First the record: a write between the two reads makes the user newer, and not older.
        let page = self.history(&user_id, Limit::MAX, None).await?;
        let stored = self.get_stored(&user_id).await?;
        let newest = page.items.first().cloned();
        let found = self.compare(&stored, newest.as_ref());
        let counted = match found {
            Reconciled::CaughtUp | Reconciled::DeletedCaughtUp | Reconciled::Undeleted => {
                self.counted(&user_id, &stored, page).await?
            }
            Reconciled::Agrees | Reconciled::Erased | Reconciled::Taken | Reconciled::Missing => {
                None
            }
        };
        let ahead = newest.as_ref().map(|newest| Ahead { newest, counted });
        let done = match found {
            Reconciled::CaughtUp => {
                let plan = Plan::change(Compared::Known, RecordedClaim::Own);
                let written = self.catch_up(author, &user_id, plan, ahead, found);
                written.await?
            }
            Reconciled::Undeleted => {
                let plan = Plan::of(Reads::Both);
                let written = self.catch_up(author, &user_id, plan, ahead, found);
                written.await?
            }
            Reconciled::DeletedCaughtUp => match (&stored.deleted, ahead) {
                (Some(deleted), Some(ahead)) => {
                    self.catch_up_deleted(author, deleted, ahead).await?
                }
                (None, _) | (_, None) => Reconciled::Agrees,
            },
            Reconciled::Missing => {
                // The user may have ended or moved between the reads. Then it has a newer record.
                let page = self.history(&user_id, Limit::MAX, None).await?;
                match page.items.first() == newest.as_ref() {
                    true => Reconciled::Missing,
                    false => Reconciled::Agrees,
                }
            }
            Reconciled::Agrees | Reconciled::Erased | Reconciled::Taken => found,
        };
        Ok((done, newest))
    }

    /// The highest version of the user: of what is `stored`, and of the records after its last write.
    /// `page` has the newest records.
    async fn counted(
        &self,
        user_id: &UserId,
        stored: &Stored,
        mut page: Page<HistoryRecord>,
    ) -> Result<Option<Version>, Error> {
        let last_write = match (&stored.user, &stored.deleted) {
            (Some(user), _) => user.last_write(),
            (None, deleted) => deleted.as_ref().and_then(DeletedUser::last_write),
        };
        let of_stored = stored.users().filter_map(User::version);
        let mut counted = of_stored.max_by_key(|version| version.get());
        loop {
            let read = page.items.len();
            let ahead = page.items.iter();
            let ahead: Vec<_> = ahead.take_while(|it| is_behind(last_write, it)).collect();
            let versions = ahead.iter().filter_map(|record| record.version());
            counted = versions.chain(counted).max_by_key(|version| version.get());
            if ahead.len() < read || page.next.is_none() {
                return Ok(counted);
            }
            page = self
                .history(user_id, Limit::MAX, page.next.as_ref())
                .await?;
        }
    }

    /// What there is to do for what is `stored`.
    fn compare(&self, stored: &Stored, newest: Option<&HistoryRecord>) -> Reconciled {
        let is_erased = |user: &User| {
            newest.is_some_and(|record| {
                record.event_type == EventType::Erased.as_str()
                    && user.created_at() <= record.created_at.as_deref()
            })
        };
        let is_behind = |last_write| newest.is_some_and(|record| is_behind(last_write, record));
        match (&stored.user, &stored.deleted) {
            (Some(user), _) if is_erased(user) => Reconciled::Erased,
            (Some(user), Some(deleted)) if is_same(user, deleted) => Reconciled::Undeleted,
            (Some(user), _) if is_behind(user.last_write()) => Reconciled::CaughtUp,
            (None, Some(deleted)) if is_erased(&deleted.user) => Reconciled::Erased,
            (None, Some(deleted)) if is_behind(deleted.last_write()) => Reconciled::DeletedCaughtUp,
            (None, None) if newest.is_some_and(|record| self.should_be_there(record)) => {
                Reconciled::Missing
            }
            (Some(_), _) | (None, Some(_) | None) => Reconciled::Agrees,
        }
    }

    /// Whether a user with this newest record should be a user or a deleted user.
    fn should_be_there(&self, record: &HistoryRecord) -> bool {
        if record.event_type == EventType::Erased.as_str() {
            return false;
        }
        let days = u64::from(self.retention.deleted_users_days);
        let kept = Duration::from_secs(days * SECONDS_IN_A_DAY);
        let oldest = self.now().checked_sub(kept).map(Timestamp::from);
        let is_kept = oldest.is_none_or(|oldest| oldest.to_string() < record.time);
        record.event_type != EventType::Deleted.as_str() || is_kept
    }

    /// Writes the user again, after the records that are `ahead`, as long as it is as it was `found`. A deleted
    /// user that the plan reads is taken out.
    async fn catch_up(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        plan: Plan,
        ahead: Option<Ahead<'_>>,
        found: Reconciled,
    ) -> Result<Reconciled, Error> {
        let newest = ahead.map(|ahead| ahead.newest);
        let counted = ahead.and_then(|ahead| ahead.counted);
        let id = newest.and_then(|record| WriteId::parse(&record.id));
        let plan = match id {
            Some(id) => plan.after(id),
            None => plan,
        };
        let decide = |read: &Stored, now: Timestamp| match &read.user {
            Some(user) if self.compare(read, newest) == found => {
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
                WriteError::Taken { .. } | WriteError::Recorded(_) | WriteError::TooLarge,
            )) => Ok(Reconciled::Taken),
        }
    }

    /// Deletes the deleted user once more, after the records that are `ahead`.
    async fn catch_up_deleted(
        &self,
        author: Author<'_>,
        deleted: &DeletedUser,
        ahead: Ahead<'_>,
    ) -> Result<Reconciled, Error> {
        let user_id = deleted.user.user_id();
        let previous = deleted.last_write().max(WriteId::parse(&ahead.newest.id));
        let mut pauses = Pauses::of(self);
        loop {
            let now = self.timestamp();
            let id = WriteId::after(previous, now);
            let after = deleted.caught_up(ahead.counted, id);
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
fn is_behind(last_write: Option<WriteId>, record: &HistoryRecord) -> bool {
    let id = WriteId::parse(&record.id);
    last_write.zip(id).is_some_and(|(write, id)| write < id)
}

/// Whether the user is the one that was deleted, and not a later one with the same `userId`.
fn is_same(user: &User, deleted: &DeletedUser) -> bool {
    let created_at = user.created_at();
    created_at.is_some() && created_at == deleted.user.created_at()
}
