//! Creating a user: alone, or together with its claim and with the record of its key.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{
        Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
        builders::TransactWriteItemBuilder,
    },
};
use serde_dynamo::{Item, from_item, to_item};

use super::{
    SAVE, UserStore,
    call::{Failure, failed_condition, in_time},
    claim::claim_free,
    number,
    rounds::Pauses,
    transaction::{Found, action},
    user,
};
use crate::{
    error::{Error, StoreError},
    idempotency::{KeyedCreation, Record},
    user::{EmailKey, User},
};

impl UserStore {
    /// Stores a new user, and returns it. Where it is created under a key that is on
    /// record, nothing is stored, and the user is returned as it was created then.
    ///
    /// # Errors
    /// [`Error::UserExists`] and [`Error::EmailTaken`], and all that is stored is as it
    /// was; [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn create(&self, new: User, keyed: Option<&KeyedCreation>) -> Result<User, Error> {
        if self.tables.emails.is_some() || keyed.is_some() {
            self.create_together(new, keyed).await
        } else {
            self.create_alone(new).await
        }
    }

    async fn create_alone(&self, new: User) -> Result<User, Error> {
        let attempts = self.attempts();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self.client.put_item().table_name(&self.tables.users);
            let call = call.set_item(Some(Item::from(new.clone()).into()));
            let call = call.condition_expression("attribute_not_exists(userId)");
            let call = call.return_values_on_condition_check_failure(AllOld);
            let call = call.customize().interceptor(attempts.clone()).send();
            match in_time(self.deadline, call, failed_condition!(PutItemError)).await {
                Ok(_) => return Ok(new),
                Err(Failure::Condition(Some(stored)))
                    if attempts.may_have_written() && stored == new =>
                {
                    return Ok(new);
                }
                Err(Failure::Condition(_)) => return Err(Error::taken(true, false)),
                Err(Failure::Conflict) if pauses.pause().await => {}
                Err(failure) => return Err(failure.into_error(SAVE)),
            }
        }
    }

    async fn create_together(
        &self,
        new: User,
        keyed: Option<&KeyedCreation>,
    ) -> Result<User, Error> {
        let put = Put::builder().table_name(&self.tables.users);
        let put = put.set_item(Some(Item::from(new.clone()).into()));
        let put = put.condition_expression("attribute_not_exists(userId)");
        let mut actions = vec![action(put.build(), TransactWriteItemBuilder::put)];
        if let Some(keyed) = keyed {
            actions.push(self.put_record(keyed, &new));
        }
        if let (Some(emails), Some(email)) = (&self.tables.emails, EmailKey::of_user(&new)) {
            actions.push(claim_free(emails, &email, new.user_id()));
        }
        match self.transact(actions).await {
            Ok(()) => Ok(new),
            Err(Failure::Condition(found)) => {
                // In the order of the actions: the user, the record, the claim.
                let mut found = found.into_iter();
                let mut next = || found.next().flatten();
                let user_id = next();
                if let Some((keyed, record)) = keyed.and_then(|keyed| Some((keyed, next()?))) {
                    return keyed.repeated(new, &read(record)?);
                }
                Err(Error::taken(user_id.is_some(), next().is_some()))
            }
            Err(failure) => Err(failure.into_error(SAVE)),
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

fn read(record: Found) -> Result<Record, Error> {
    from_item(record.unwrap_or_default()).map_err(|error| {
        Error::Store(StoreError {
            message: SAVE,
            retryable: false,
            cause: format!("the record of the key cannot be read: {error}"),
        })
    })
}
