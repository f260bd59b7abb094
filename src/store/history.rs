//! The history: a record for each write of a user.
//!
//! The transaction of the write also writes the record, so no write is without one. Records expire
//! (DynamoDB's time to live). A record has only strings, apart from the time at which it expires, so
//! that a template can make an event of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_dynamo::{Item, from_item, to_item};

use super::{Error, Keyed, Limit, Page, Retention, StartKey, UserStore, call::failure, string};
use crate::user::{Actor, Event, EventType, Timestamp, UserId, Version, WriteId};

/// The number of days in which a stack can be restored from a backup: the limit of DynamoDB's
/// point-in-time recovery. The records of erasures stay for this time, so that they can be repeated.
const ERASURE_DAYS: u16 = 35;
/// The number of seconds in a day.
pub(super) const SECONDS_IN_A_DAY: u64 = 24 * 60 * 60;

/// Who writes, and for which request.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The caller or the command.
    pub actor: &'a Actor,
    /// The gateway's id of the request. A command has none.
    pub request_id: &'a str,
    /// The `userId` of the author, if what is stored of the author decides whether it may write.
    /// Then each round of a write reads it: see [`Read::author`](super::Read::author).
    pub user_id: Option<&'a UserId>,
}

impl<'a> Author<'a> {
    /// A command. It may write, whatever is stored.
    pub const fn command(actor: &'a Actor) -> Self {
        Self {
            actor,
            request_id: "",
            user_id: None,
        }
    }
}

/// A record of the history. It has no values of the user.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRecord {
    /// The partition key.
    pub user_id: String,
    /// The sort key: a [`WriteId`], so that the records of a user have the order of its writes.
    pub id: String,
    /// The name of an [`EventType`].
    #[serde(rename = "type")]
    pub event_type: String,
    /// When the write was decided (RFC 3339).
    pub time: String,
    /// The version after the write.
    pub version: String,
    /// The names of the fields that changed, with commas between them.
    pub changed: String,
    /// The type of the [`Actor`].
    pub actor_type: String,
    /// The id of the [`Actor`].
    pub actor_id: String,
    /// The gateway's id of the request.
    pub request_id: String,
    /// On an erasure: when the newest user that it erased was created. So a user who was created
    /// later is not erased when the erasure is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The Unix time in seconds at which the record expires.
    expires_at: u64,
}

impl HistoryRecord {
    /// The record of `event`. `None` if no record of it is kept.
    pub(super) fn new(
        event: &Event,
        user_id: &str,
        author: Author<'_>,
        id: WriteId,
        now: Timestamp,
        retention: Retention,
    ) -> Option<Self> {
        let days = match (event.event_type, retention.history_days) {
            (EventType::Erased, days) => days.unwrap_or_default().max(ERASURE_DAYS),
            (_, days) => days?,
        };
        Some(Self {
            user_id: user_id.to_owned(),
            id: id.to_string(),
            event_type: event.event_type.as_str().to_owned(),
            time: now.to_string(),
            version: event.version.get().to_string(),
            changed: event.changed.join(","),
            actor_type: author.actor.kind().to_owned(),
            actor_id: author.actor.id().to_owned(),
            request_id: author.request_id.to_owned(),
            created_at: None,
            expires_at: now.unix_seconds() + u64::from(days) * SECONDS_IN_A_DAY,
        })
    }

    /// The record of the erasure of a user that was created at this time.
    pub(super) fn of_a_user_created_at(self, created_at: Option<&str>) -> Self {
        Self {
            created_at: created_at.map(str::to_owned),
            ..self
        }
    }

    /// The version after the write. `None` if another client changed the record.
    pub fn version(&self) -> Option<Version> {
        Version::parse(&self.version)
    }

    /// The names of the fields that changed.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.split(',').filter(|name| !name.is_empty())
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now.unix_seconds()
    }

    pub(super) fn to_item(&self) -> HashMap<String, AttributeValue> {
        to_item(self).expect("a record is strings and a number")
    }
}

impl Keyed for HistoryRecord {
    fn key(&self) -> &str {
        &self.id
    }
}

impl UserStore {
    /// Whether the store keeps a history.
    pub fn keeps_history(&self) -> bool {
        self.retention.history_days.is_some()
    }

    /// One page of the history of a user, newest first: the records before `start`, or the newest
    /// ones if `start` is `None`. The read is strongly consistent.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn history(
        &self,
        user_id: &UserId,
        limit: Limit,
        start: Option<&StartKey>,
    ) -> Result<Page<HistoryRecord>, Error> {
        let start = start.map(|id| {
            let key = [("userId", user_id.as_str()), ("id", id)];
            HashMap::from(key.map(|(name, value)| (name.to_owned(), string(value))))
        });
        let call = self
            .client
            .query()
            .table_name(&self.tables.history)
            .key_condition_expression("userId = :userId")
            .expression_attribute_values(":userId", string(user_id.as_str()))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit.and_one_more())
            .set_exclusive_start_key(start)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let now = self.timestamp();
        // An item that another client wrote may not be a record.
        let records = output.items.into_iter().flatten().map(Item::from);
        let records = records.filter_map(|item| from_item::<_, HistoryRecord>(item).ok());
        let last = output.last_evaluated_key.as_ref();
        let page = Page {
            items: records.filter(|record| !record.is_expired(now)).collect(),
            next: last.and_then(|key| super::text(key, "id")),
        };
        Ok(page.cut_to(limit.get()))
    }
}
