//! One transaction: DynamoDB does all its actions, or none.

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::CancellationReason,
};
use serde_dynamo::Item;
use uuid::Uuid;

use super::{
    Error, UserStore,
    action::Action,
    call::{failure, in_time},
    pauses::Pauses,
};

/// What became of a transaction that was not done.
pub(super) enum Cancelled {
    /// Conditions failed.
    Conditions {
        /// For each action: `None` if its condition held, else the stored item (empty if there
        /// is none, or if the action does not ask for it).
        found: Vec<Option<Item>>,
        /// Whether an attempt has timed out before. It may still arrive, and succeed if the
        /// conditions hold by then: a refused transaction does not use up its token.
        may_follow: bool,
    },
    /// Another writer is at work on one of the items, or DynamoDB is too busy.
    Conflict,
    /// DynamoDB did not do it.
    Failed(Error),
}

/// The reason of an action whose condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// The cancellation reasons after which the same transaction may still succeed.
const TRANSIENT: [&str; 5] = [
    CONDITION_FAILED,
    "None",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
];

/// Errors that mean that this transaction, or another one on the same items, is in progress.
const CONFLICTS: [&str; 2] = [
    "TransactionConflictException",
    "TransactionInProgressException",
];

impl UserStore {
    /// Does all `actions` or none, in one transaction with one token. If an earlier attempt got no
    /// answer, that attempt may be the cause of a conflict. Then this sends the same transaction
    /// again, until its outcome is known or the deadline is near.
    ///
    /// # Errors
    /// [`Cancelled`]. Nothing is stored then, except after [`Error::Unavailable`], when the
    /// outcome is unknown.
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
            let Err(error) = in_time(self.deadline, call).await else {
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

/// Reads the reasons of a cancellation, one for each action.
fn by_reasons(reasons: &[CancellationReason], may_follow: bool) -> Cancelled {
    // An action whose condition held has the code None, or no code.
    let codes = reasons.iter().map(|reason| reason.code().unwrap_or("None"));
    let codes: Vec<&str> = codes.collect();
    let all_are = |names: &[&str]| codes.iter().all(|code| names.contains(code));
    // If there is a conflict too, the item that made a condition fail may be about to change.
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
