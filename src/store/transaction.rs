//! One transaction: DynamoDB executes all its actions, or none.

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::CancellationReason,
};
use serde_dynamo::Item;
use uuid::Uuid;

use super::{Error, UserStore, action::Action, call::failure, pauses::Pauses};

/// Why a transaction failed.
pub(super) enum Cancelled {
    /// Conditions failed.
    Conditions {
        /// One element for each action: `None` if its condition held, else the stored item. The
        /// item is empty if no item is stored, or if the action does not request the item.
        found: Vec<Option<Item>>,
        /// Whether an attempt has timed out. That attempt may still reach DynamoDB later. If the
        /// conditions hold then, DynamoDB executes the attempt: a cancelled transaction does not
        /// use up its token.
        may_follow: bool,
    },
    /// Another write of one of the items is in progress, or DynamoDB is too busy.
    Conflict,
    /// The call to DynamoDB failed.
    Failed(Error),
}

/// The cancellation code of an action whose condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// The cancellation codes after which the same transaction may succeed.
const TRANSIENT: [&str; 5] = [
    CONDITION_FAILED,
    "None",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
];

/// The error codes for a transaction in progress: this one, or another one on the same items.
const CONFLICTS: [&str; 2] = [
    "TransactionConflictException",
    "TransactionInProgressException",
];

impl UserStore {
    /// Executes all `actions` or none, in one transaction with one token. If an attempt gets no
    /// response, a later conflict can be a conflict with that attempt. In this case, this sends
    /// the same transaction again until its outcome is known or the deadline is near.
    ///
    /// # Errors
    /// [`Cancelled`]. After [`Error::Unavailable`], the outcome is unknown. After all other errors,
    /// nothing is stored.
    pub(super) async fn transact(&self, actions: &[Action<'_>]) -> Result<(), Cancelled> {
        let items = actions.iter();
        let items: Vec<_> = items
            .map(|action| action.transact_write_item(&self.tables))
            .collect();
        let token = Uuid::new_v4();
        let attempts = self.attempts();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self
                .client
                .transact_write_items()
                .client_request_token(token)
                .set_transact_items(Some(items.clone()))
                .customize()
                .interceptor(attempts.clone())
                .send();
            let Err(error) = self.in_time(call).await else {
                return Ok(());
            };
            let cancelled = cancelled(error, attempts.has_timed_out());
            let may_be_own = match &cancelled {
                Cancelled::Conflict => attempts.has_unanswered(),
                Cancelled::Conditions { .. } | Cancelled::Failed(_) => false,
            };
            if !may_be_own || !pauses.wait().await {
                return Err(cancelled);
            }
        }
    }
}

fn cancelled(
    error: Option<SdkError<TransactWriteItemsError, HttpResponse>>,
    may_follow: bool,
) -> Cancelled {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_ref().and_then(SdkError::as_service_error)
    {
        return by_reasons(cancelled.cancellation_reasons(), may_follow);
    }
    let code = error.as_ref().and_then(ProvideErrorMetadata::code);
    if code.is_some_and(|code| CONFLICTS.contains(&code)) {
        return Cancelled::Conflict;
    }
    Cancelled::Failed(failure(error))
}

/// Reads the cancellation reasons. There is one reason for each action.
fn by_reasons(reasons: &[CancellationReason], may_follow: bool) -> Cancelled {
    // An action whose condition held has the code None, or no code.
    let codes = reasons.iter().map(|reason| reason.code().unwrap_or("None"));
    let codes: Vec<&str> = codes.collect();
    let all_are = |names: &[&str]| codes.iter().all(|code| names.contains(code));
    // If there is also a conflict, an item whose condition failed may be about to change.
    if all_are(&["None", CONDITION_FAILED]) && !all_are(&["None"]) {
        let found = |reason: &CancellationReason| {
            (reason.code() == Some(CONDITION_FAILED))
                .then(|| Item::from(reason.item.clone().unwrap_or_default()))
        };
        Cancelled::Conditions {
            found: reasons.iter().map(found).collect(),
            may_follow,
        }
    } else if all_are(&TRANSIENT) {
        Cancelled::Conflict
    } else {
        let cause = format!("DynamoDB cancelled the transaction: {codes:?}");
        Cancelled::Failed(Error::Failed(cause))
    }
}
