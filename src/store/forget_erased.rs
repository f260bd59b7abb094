//! The calls to DynamoDB of the command `forget-erased` (feature `local`). The command erases users
//! again whom a restored backup has brought back.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::{Item, from_item};

use super::{
    Author, Compared, Decision, Error, HistoryRecord, Read, Stored, UserStore, WriteError,
    call::failure, reconcile::RECORDS_IN_A_PAGE, string,
};
use crate::user::{EventType, Timestamp, User, UserId};

impl UserStore {
    /// Some records of erasures in `table`, or in the table of the history if `table` is `None`: those
    /// after `start`, or the first ones if `start` is `None`. Also returns the start of the next call,
    /// or `None` if there are no more records.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn erasures(
        &self,
        table: Option<&str>,
        start: Option<RecordKey>,
    ) -> Result<(Vec<HistoryRecord>, Option<RecordKey>), Error> {
        let call = self
            .client
            .scan()
            .table_name(table.unwrap_or(&self.tables.history))
            .filter_expression("#type = :erased")
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":erased", string(EventType::Erased.as_str()))
            .consistent_read(true)
            .limit(RECORDS_IN_A_PAGE)
            .set_exclusive_start_key(start.map(|key| key.0))
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let records = output.items.into_iter().flatten().map(Item::from);
        let records = records.filter_map(|item| from_item(item).ok()).collect();
        Ok((records, output.last_evaluated_key.map(RecordKey)))
    }

    /// Erases the user and the deleted user of a record of an erasure again, if they were created
    /// before that erasure. Returns whether there was one.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn erase_again(
        &self,
        author: Author<'_>,
        record: &HistoryRecord,
    ) -> Result<bool, Error> {
        let user_id = UserId::stored(&record.user_id);
        let is_erased = |user: &User| user.created_at() <= record.created_at.as_deref();
        let Stored { user, deleted } = self.get_stored(&user_id).await?;
        let decide = |read: &Read, _: Timestamp| match &read.stored.user {
            Some(user) if is_erased(user) => Ok(Decision::Erase),
            Some(_) | None => Err(NotErased::NothingToErase),
        };
        let stays = deleted
            .as_ref()
            .is_some_and(|deleted| !is_erased(&deleted.user));
        let erased = if user.is_some_and(|user| is_erased(&user)) {
            if stays {
                let erasure = self.change(author, &user_id, Compared::All, decide, None);
                erasure.await
            } else {
                self.change_both(author, &user_id, decide).await
            }
        } else if deleted.is_some_and(|deleted| is_erased(&deleted.user)) {
            let decide = |read: &Read, _: Timestamp| {
                let user = read.stored.deleted.as_ref().map(|deleted| &deleted.user);
                match user.filter(|user| is_erased(user)) {
                    Some(_) => Ok(Decision::Erase),
                    None => Err(NotErased::NothingToErase),
                }
            };
            self.change_deleted(author, &user_id, decide).await
        } else {
            return Ok(false);
        };
        match erased {
            Ok(_) => Ok(true),
            Err(NotErased::Failed(WriteError::Failed(error))) => Err(error),
            // Another writer was quicker.
            Err(NotErased::NothingToErase | NotErased::Failed(_)) => Ok(false),
        }
    }
}

/// Where a scan of the history goes on.
#[derive(Clone, Debug)]
pub struct RecordKey(pub(super) HashMap<String, AttributeValue>);

/// Why an erasure was not repeated.
enum NotErased {
    NothingToErase,
    Failed(WriteError),
}

impl From<WriteError> for NotErased {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}
