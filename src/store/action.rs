//! The actions of a transaction, and how to send them to DynamoDB.

use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
    Update,
};
use serde_dynamo::Item;

use super::{HistoryRecord, IdempotencyRecord, Tables, expression::Expression, number, string};
use crate::user::{DeletedUser, EmailKey, Timestamp, User};

/// Which attributes of the stored user must be unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The revision, and the attributes that the service knows. Other clients may write other
    /// attributes at the same time.
    Known,
    /// The revision, and up to 100 of the attributes that were read.
    All,
}

/// One action of a commit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action<'a> {
    /// Stores a new user, if its `userId` is free.
    PutUser(&'a User),
    /// Changes the first user into the second, if the stored user has not changed.
    UpdateUser(&'a User, &'a User, Compared),
    /// Deletes the user, if the stored user has not changed.
    DeleteUser(&'a User),
    /// Checks that the stored user has not changed, or that no user has this `userId`.
    CheckUser(&'a str, Option<&'a User>),
    /// Stores a deleted user, in place of an earlier one with the same `userId`. Its condition is
    /// that of the action on the user.
    PutDeleted(&'a DeletedUser),
    /// Stores the second deleted user in place of the first one, if that is still the one that was
    /// read.
    #[cfg(feature = "local")]
    RenewDeleted(&'a DeletedUser, &'a DeletedUser),
    /// Takes out any deleted user with this `userId`. Its condition is that of the action on the
    /// user.
    DropDeleted(&'a str),
    /// Checks that no deleted user has this `userId` at this time.
    CheckNoDeleted(&'a str, Timestamp),
    /// Takes the deleted user out, if it is still the one that was read.
    TakeDeleted(&'a DeletedUser),
    /// Adds a record to the history.
    PutHistory(HistoryRecord),
    /// Stores an idempotency record, if its key is free or the stored record has expired.
    PutRecord(&'a IdempotencyRecord),
    /// Claims an email address for the first user, if nobody but the second one holds the claim. They
    /// are the same user, unless the claim moves.
    Claim(EmailKey, &'a str, &'a str),
    /// Releases a user's claim on an email address, if no other user holds the claim.
    Release(EmailKey, &'a str),
}

/// The condition that an email address is free, or that this user holds the claim on it.
const FREE_OR_HELD: &str = "attribute_not_exists(email) OR userId = :userId";

impl Action<'_> {
    /// The action as an item of `TransactWriteItems`.
    pub(super) fn transact_write_item(&self, tables: &Tables) -> TransactWriteItem {
        let item = TransactWriteItem::builder();
        match self {
            Self::PutUser(user) => item.put(put_user(tables, user)),
            Self::UpdateUser(before, after, compared) => {
                item.update(update_user(tables, before, after, *compared))
            }
            Self::DeleteUser(user) => item.delete(delete_user(tables, user)),
            Self::CheckUser(user_id, user) => {
                item.condition_check(check_user(tables, user_id, *user))
            }
            Self::PutDeleted(deleted) => item.put(put_deleted(tables, deleted)),
            #[cfg(feature = "local")]
            Self::RenewDeleted(before, after) => item.put(renew_deleted(tables, before, after)),
            Self::DropDeleted(user_id) => item.delete(drop_deleted(tables, user_id)),
            Self::CheckNoDeleted(user_id, now) => {
                item.condition_check(check_no_deleted(tables, user_id, *now))
            }
            Self::TakeDeleted(deleted) => item.delete(take_deleted(tables, deleted)),
            Self::PutHistory(record) => item.put(put_history(tables, record)),
            Self::PutRecord(record) => item.put(put_record(tables, record)),
            Self::Claim(email, user_id, holder) => item.put(claim(tables, email, user_id, holder)),
            Self::Release(email, user_id) => item.delete(release(tables, email, user_id)),
        }
        .build()
    }
}

const COMPLETE: &str = "every action names its table, its key and its expressions";

fn put_user(tables: &Tables, user: &User) -> Put {
    let mut expression = Expression::default();
    let item: Item = user
        .item()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<std::collections::HashMap<_, _>>()
        .into();
    let condition = expression.absent("userId");
    let (names, _) = expression.into_parts();
    Put::builder()
        .table_name(&tables.users)
        .set_item(Some(item.into()))
        .condition_expression(condition)
        .set_expression_attribute_names(Some(names))
        .return_values_on_condition_check_failure(AllOld)
        .build()
        .expect(COMPLETE)
}

fn update_user(tables: &Tables, before: &User, after: &User, compared: Compared) -> Update {
    let mut expression = Expression::default();
    let condition = match compared {
        Compared::Known => expression.known_unchanged(before),
        Compared::All => expression.unchanged(before),
    };
    let update = expression.update(before, after);
    let (names, values) = expression.into_parts();
    Update::builder()
        .table_name(&tables.users)
        .key("userId", string(before.user_id()))
        .condition_expression(condition)
        .update_expression(update)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(values)
        .build()
        .expect(COMPLETE)
}

fn delete_user(tables: &Tables, user: &User) -> Delete {
    let mut expression = Expression::default();
    let condition = expression.unchanged(user);
    let (names, values) = expression.into_parts();
    Delete::builder()
        .table_name(&tables.users)
        .key("userId", string(user.user_id()))
        .condition_expression(condition)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(values)
        .build()
        .expect(COMPLETE)
}

fn check_user(tables: &Tables, user_id: &str, user: Option<&User>) -> ConditionCheck {
    let mut expression = Expression::default();
    let condition = match user {
        Some(user) => expression.unchanged(user),
        None => expression.absent("userId"),
    };
    let (names, values) = expression.into_parts();
    ConditionCheck::builder()
        .table_name(&tables.users)
        .key("userId", string(user_id))
        .condition_expression(condition)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(values)
        .build()
        .expect(COMPLETE)
}

fn put_deleted(tables: &Tables, deleted: &DeletedUser) -> Put {
    let item = Item::from(deleted.to_attributes());
    Put::builder()
        .table_name(&tables.deleted_users)
        .set_item(Some(item.into()))
        .build()
        .expect(COMPLETE)
}

#[cfg(feature = "local")]
fn renew_deleted(tables: &Tables, before: &DeletedUser, after: &DeletedUser) -> Put {
    let item = Item::from(after.to_attributes());
    Put::builder()
        .table_name(&tables.deleted_users)
        .set_item(Some(item.into()))
        .condition_expression("#revision = :revision")
        .expression_attribute_names("#revision", DeletedUser::REVISION)
        .expression_attribute_values(":revision", string(&before.revision))
        .build()
        .expect(COMPLETE)
}

fn drop_deleted(tables: &Tables, user_id: &str) -> Delete {
    Delete::builder()
        .table_name(&tables.deleted_users)
        .key("userId", string(user_id))
        .build()
        .expect(COMPLETE)
}

fn check_no_deleted(tables: &Tables, user_id: &str, now: Timestamp) -> ConditionCheck {
    ConditionCheck::builder()
        .table_name(&tables.deleted_users)
        .key("userId", string(user_id))
        // DynamoDB may delete an item only days after it expires.
        .condition_expression("attribute_not_exists(userId) OR expiresAt <= :now")
        .expression_attribute_values(":now", number(now.unix_seconds()))
        .return_values_on_condition_check_failure(AllOld)
        .build()
        .expect(COMPLETE)
}

fn take_deleted(tables: &Tables, deleted: &DeletedUser) -> Delete {
    Delete::builder()
        .table_name(&tables.deleted_users)
        .key("userId", string(deleted.user.user_id()))
        .condition_expression("#revision = :revision")
        .expression_attribute_names("#revision", DeletedUser::REVISION)
        .expression_attribute_values(":revision", string(&deleted.revision))
        .build()
        .expect(COMPLETE)
}

fn put_history(tables: &Tables, record: &HistoryRecord) -> Put {
    Put::builder()
        .table_name(&tables.history)
        .set_item(Some(record.to_item()))
        .condition_expression("attribute_not_exists(userId)")
        .build()
        .expect(COMPLETE)
}

fn put_record(tables: &Tables, record: &IdempotencyRecord) -> Put {
    Put::builder()
        .table_name(&tables.idempotency_keys)
        .set_item(Some(record.to_item()))
        // DynamoDB may delete a record only days after it expires.
        .condition_expression("attribute_not_exists(idempotencyKey) OR expiresAt <= :now")
        .expression_attribute_values(":now", number(record.created_at_seconds()))
        .return_values_on_condition_check_failure(AllOld)
        .build()
        .expect(COMPLETE)
}

fn claim(tables: &Tables, email: &EmailKey, user_id: &str, holder: &str) -> Put {
    Put::builder()
        .set_table_name(tables.emails.clone())
        .item("email", string(email.as_str()))
        .item("userId", string(user_id))
        .condition_expression(FREE_OR_HELD)
        .expression_attribute_values(":userId", string(holder))
        .return_values_on_condition_check_failure(AllOld)
        .build()
        .expect(COMPLETE)
}

fn release(tables: &Tables, email: &EmailKey, user_id: &str) -> Delete {
    Delete::builder()
        .set_table_name(tables.emails.clone())
        .key("email", string(email.as_str()))
        .condition_expression(FREE_OR_HELD)
        .expression_attribute_values(":userId", string(user_id))
        .build()
        .expect(COMPLETE)
}
