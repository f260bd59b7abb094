//! Deleted users. A deletion moves the user into a table of its own, where it expires.
//!
//! The table of users keeps nothing of a deleted user. So no other operation knows of deletion.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde_dynamo::Item;

use super::{
    Consistency, Error, Keyed, Limit, Page, StartKey, UserStore, call::failure, pauses::Pauses,
    string, text, user,
};
use crate::user::{DeletedUser, User, UserId};

/// What is stored at a `userId`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// The user.
    pub user: Option<User>,
    /// The deleted user: the same one before a deletion, or an earlier one.
    pub deleted: Option<DeletedUser>,
}

impl Stored {
    /// The user, and the deleted one.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        let deleted = self.deleted.iter().map(|deleted| &deleted.user);
        self.user.iter().chain(deleted)
    }

    /// The user. If there is none, the deleted one.
    pub fn latest(&self) -> Option<&User> {
        self.users().next()
    }
}

impl Keyed for DeletedUser {
    fn key(&self) -> &str {
        self.user.user_id()
    }
}

impl UserStore {
    /// The deleted user with this `userId`, until it expires. The read is strongly consistent.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn get_deleted(&self, user_id: &UserId) -> Result<Option<DeletedUser>, Error> {
        let call = self
            .client
            .get_item()
            .table_name(&self.tables.deleted_users)
            .key("userId", string(user_id.as_str()))
            .consistent_read(true)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        Ok(output.item.and_then(|item| self.deleted_user(item)))
    }

    /// The user and the deleted user with this `userId`, in one call. Both reads are strongly
    /// consistent, but not at the same moment. So if both find nothing, the user may have moved from
    /// one table to the other between them, and a second call repeats them.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn get_stored(&self, user_id: &UserId) -> Result<Stored, Error> {
        let stored = self.get_both(user_id).await?;
        match stored == Stored::default() {
            true => self.get_both(user_id).await,
            false => Ok(stored),
        }
    }

    async fn get_both(&self, user_id: &UserId) -> Result<Stored, Error> {
        let key = HashMap::from([("userId".to_owned(), string(user_id.as_str()))]);
        let keys = KeysAndAttributes::builder()
            .keys(key)
            .consistent_read(true)
            .build()
            .expect("the request names its key");
        let (users, deleted_users) = (&self.tables.users, &self.tables.deleted_users);
        let mut left: HashMap<_, _> = [users, deleted_users]
            .map(|table| (table.clone(), keys.clone()))
            .into();
        let mut stored = Stored::default();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self
                .client
                .batch_get_item()
                .set_request_items(Some(left))
                .customize()
                .interceptor(self.attempts())
                .send();
            let output = self.in_time(call).await.map_err(failure)?;
            for (table, items) in output.responses.unwrap_or_default() {
                let Some(item) = items.into_iter().next() else {
                    continue;
                };
                if table == *users {
                    stored.user = Some(user(item));
                } else {
                    stored.deleted = self.deleted_user(item);
                }
            }
            left = output.unprocessed_keys.unwrap_or_default();
            if left.is_empty() {
                return Ok(stored);
            }
            pauses.pause().await?;
        }
    }

    /// One page of deleted users: those after `start`, or the first ones if `start` is `None`.
    ///
    /// A page can have fewer than `limit` users, because expired ones are left out.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn list_deleted(
        &self,
        limit: Limit,
        start: Option<&StartKey>,
        consistency: Consistency,
    ) -> Result<Page<DeletedUser>, Error> {
        let start = start.map(|key| HashMap::from([("userId".to_owned(), string(key))]));
        let call = self
            .client
            .scan()
            .table_name(&self.tables.deleted_users)
            .limit(limit.and_one_more())
            .set_exclusive_start_key(start)
            .consistent_read(consistency.is_strong())
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let items = output.items.into_iter().flatten();
        let last = output.last_evaluated_key.as_ref();
        let page = Page {
            items: items.filter_map(|item| self.deleted_user(item)).collect(),
            next: last.and_then(|key| text(key, "userId")),
        };
        Ok(page.cut_to(limit.get()))
    }

    /// The deleted user in an item, unless it has expired or another client wrote it.
    fn deleted_user(&self, item: HashMap<String, AttributeValue>) -> Option<DeletedUser> {
        let deleted = DeletedUser::from_attributes(Item::from(item).into_inner())?;
        (!deleted.is_expired(self.timestamp())).then_some(deleted)
    }
}
