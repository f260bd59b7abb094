//! The one way to write users: what was read, what is to be, and one transaction of all
//! that differs.

use aws_sdk_dynamodb::types::{
    Delete, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
    builders::TransactWriteItemBuilder,
};
use serde_dynamo::{Item, from_item, to_item};

use super::{
    UserStore,
    call::Failure,
    claim::{Holding, claim_free, claim_or_keep},
    expression::Expression,
    number, string,
    transaction::{Found, action},
};
use crate::{
    error::{Error, StoreError},
    idempotency::{KeyedCreation, Record},
    user::{EmailKey, User, Version},
};

/// What a write makes of a user.
#[derive(Clone, Copy)]
pub(super) enum Write<'a> {
    /// There is none, and it is made: under a key, where there is one.
    Create(&'a User, Option<&'a KeyedCreation>),
    /// The first becomes the second, if it is still the same as far as it is compared.
    Change(&'a User, &'a User, Compared),
    /// It is deleted.
    Delete(&'a User),
}

impl Write<'_> {
    fn before(&self) -> Option<&User> {
        match self {
            Self::Create(..) => None,
            Self::Change(before, ..) | Self::Delete(before) => Some(before),
        }
    }

    fn after(&self) -> Option<&User> {
        match self {
            Self::Create(after, _) | Self::Change(_, after, _) => Some(after),
            Self::Delete(_) => None,
        }
    }
}

/// Which attributes of a user that is changed have to be as they were read. Those of an item
/// without a version are all compared: nothing tells whether the service has written it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Those that the service knows. Other clients may write theirs at the same time.
    Known,
    /// All: the request says which state of the user it is for.
    All,
}

/// Why a write was not made. Nothing of it is stored.
pub(super) enum Refusal {
    /// The user is not as it was read, or another writer is at work on it.
    Overtaken,
    /// The `userId` of a new user, its address, or both are another user's.
    Taken {
        /// Whether the `userId` is.
        user_id: bool,
        /// Whether the address is.
        email: bool,
    },
    /// The key of the creation is on record.
    Recorded(Record),
    /// The claim on the address that the user leaves is held as this says, not as was assumed.
    Holding(Holding),
    /// DynamoDB did not do it.
    Failure(Error),
}

/// What an action of the transaction writes, to read its failed condition by.
enum Part {
    User,
    Record,
    Claim,
    Release,
}

impl UserStore {
    /// Makes `write`, with the claim on the user's address and the record of its key, or
    /// nothing. `holding` says whose the address is that the user leaves.
    ///
    /// # Errors
    /// A [`Refusal`], whose failure tells the caller `message`.
    pub(super) async fn commit(
        &self,
        write: Write<'_>,
        holding: Holding,
        message: &'static str,
    ) -> Result<(), Refusal> {
        let parts = self.parts(write, holding);
        let (meanings, actions): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let found = match self.transact(actions).await {
            Ok(()) => return Ok(()),
            Err(Failure::Condition(found)) => found,
            Err(Failure::Conflict) => return Err(Refusal::Overtaken),
            Err(failure) => return Err(Refusal::Failure(failure.into_error(message))),
        };
        let (mut user_id, mut email) = (false, false);
        for (part, found) in meanings.into_iter().zip(found) {
            let Some(item) = found else { continue };
            match (part, write) {
                (Part::User, Write::Create(..)) => user_id = true,
                (Part::User, Write::Change(..) | Write::Delete(_)) => {
                    return Err(Refusal::Overtaken);
                }
                (Part::Record, _) => {
                    let record = read(item, message).map_err(Refusal::Failure)?;
                    return Err(Refusal::Recorded(record));
                }
                (Part::Claim, _) => email = true,
                (Part::Release, _) if !email => return Err(Refusal::Holding(holding.other())),
                (Part::Release, _) => {}
            }
        }
        Err(Refusal::Taken { user_id, email })
    }

    fn parts(&self, write: Write<'_>, holding: Holding) -> Vec<(Part, TransactWriteItem)> {
        let mut parts = vec![(Part::User, self.user_action(write))];
        if let Write::Create(new, Some(keyed)) = write {
            parts.push((Part::Record, self.put_record(keyed, new)));
        }
        let Some(emails) = &self.tables.emails else {
            return parts;
        };
        let old = write.before().and_then(EmailKey::of_user);
        let new = write.after().and_then(EmailKey::of_user);
        // A write that gives a version also claims the address. A user written while addresses were
        // shared has no claim until `claim-emails` runs or the address changes.
        let has_claim = write
            .before()
            .is_some_and(|user| user.version() != Version::NONE);
        if let (Some(new), Some(after)) = (&new, write.after())
            && !(has_claim && old.as_ref() == Some(new))
        {
            let claim = match write {
                Write::Create(..) => claim_free(emails, new, after.user_id()),
                Write::Change(..) | Write::Delete(_) => claim_or_keep(emails, new, after.user_id()),
            };
            parts.push((Part::Claim, claim));
        }
        if let (Some(old), Some(before)) = (&old, write.before())
            && new.as_ref() != Some(old)
        {
            parts.push((Part::Release, holding.end(emails, old, before.user_id())));
        }
        parts
    }

    fn user_action(&self, write: Write<'_>) -> TransactWriteItem {
        let users = &self.tables.users;
        let mut expression = Expression::default();
        match write {
            Write::Create(new, _) => {
                let put = Put::builder().table_name(users);
                let put = put.set_item(Some(Item::from(new.clone()).into()));
                let put = put.condition_expression(expression.absent());
                let (names, values) = expression.into_parts();
                let put = put.set_expression_attribute_names(Some(names));
                let put = put.set_expression_attribute_values(values);
                action(put.build(), TransactWriteItemBuilder::put)
            }
            Write::Change(before, after, compared) => {
                let update = Update::builder().table_name(users);
                let update = update.key("userId", string(before.user_id()));
                let update = update.condition_expression(match compared {
                    Compared::Known if before.version() != Version::NONE => {
                        expression.known_unchanged(before)
                    }
                    Compared::Known | Compared::All => expression.unchanged(before),
                });
                let update = update.update_expression(expression.update(before, after));
                let (names, values) = expression.into_parts();
                let update = update.set_expression_attribute_names(Some(names));
                let update = update.set_expression_attribute_values(values);
                action(update.build(), TransactWriteItemBuilder::update)
            }
            Write::Delete(before) => {
                let delete = Delete::builder().table_name(users);
                let delete = delete.key("userId", string(before.user_id()));
                let delete = delete.condition_expression(expression.unchanged(before));
                let (names, values) = expression.into_parts();
                let delete = delete.set_expression_attribute_names(Some(names));
                let delete = delete.set_expression_attribute_values(values);
                action(delete.build(), TransactWriteItemBuilder::delete)
            }
        }
    }

    /// Records that `keyed` creates `new`, where there is no record of it, or an old one
    /// that DynamoDB has not deleted yet.
    fn put_record(&self, keyed: &KeyedCreation, new: &User) -> TransactWriteItem {
        let record = to_item(keyed.record(new)).expect("a record is strings and a number");
        let put = Put::builder().table_name(&self.tables.idempotency_keys);
        let put = put.set_item(Some(record));
        let put =
            put.condition_expression("attribute_not_exists(idempotencyKey) OR expiresAt <= :now");
        let put = put.expression_attribute_values(":now", number(keyed.unix_seconds()));
        let put = put.return_values_on_condition_check_failure(AllOld);
        action(put.build(), TransactWriteItemBuilder::put)
    }
}

fn read(record: Found, message: &'static str) -> Result<Record, Error> {
    from_item(record.unwrap_or_default()).map_err(|error| {
        Error::Store(StoreError {
            message,
            retryable: false,
            cause: format!("the record of the key cannot be read: {error}"),
        })
    })
}
