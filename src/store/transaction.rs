//! Transactions: what is written in several tables is written in all of them or in none.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, TransactWriteItem, builders::TransactWriteItemBuilder,
    },
};
use uuid::Uuid;

use super::{
    UserStore,
    call::{Failure, in_time},
    pauses::Pauses,
};

/// The item that did not meet a condition; none where there is no item, or the action does not
/// ask for it.
pub(super) type Found = Option<HashMap<String, AttributeValue>>;

/// The reason of an action whose condition did not hold.
const FAILED: &str = "ConditionalCheckFailed";

/// Reasons of a cancellation after which the transaction may be done.
const REPEATABLE: [&str; 5] = [
    FAILED,
    "None",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
];

impl UserStore {
    /// Does all `actions` or none: one transaction under one token. After an attempt without an
    /// answer, a conflict may be with that attempt: the same transaction is then sent again until
    /// its outcome is known or the deadline is near.
    ///
    /// # Errors
    /// A condition that failed comes back as what each action found: `None` where it could
    /// have been done. A conflict is another writer at work on an item of it, or DynamoDB too
    /// busy for it: it may be done when it is decided anew.
    pub(super) async fn transact(
        &self,
        actions: Vec<TransactWriteItem>,
    ) -> Result<(), Failure<Vec<Option<Found>>>> {
        let token = Uuid::new_v4();
        let attempts = self.attempts();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self.client.transact_write_items();
            let call = call.client_request_token(token);
            let call = call.set_transact_items(Some(actions.clone()));
            let call = call.customize().interceptor(attempts.clone()).send();
            let failure = match in_time(self.deadline, call, cancelled).await {
                Ok(_) => return Ok(()),
                Err(Failure::Condition(reasons)) => refusal(reasons),
                Err(Failure::Conflict) => Failure::Conflict,
                Err(Failure::Call { retryable, cause }) => Failure::Call { retryable, cause },
            };
            // The other writer may be an attempt of this one, which did not answer.
            let is_known = match failure {
                Failure::Conflict => !attempts.has_unanswered(),
                Failure::Condition(_) | Failure::Call { .. } => true,
            };
            if is_known || !pauses.wait().await {
                return Err(failure);
            }
        }
    }
}

/// What the reasons of a cancellation mean, one of each action.
fn refusal(reasons: Vec<CancellationReason>) -> Failure<Vec<Option<Found>>> {
    // An action that could have been done has the code None, or none.
    let codes = reasons.iter().map(|reason| reason.code().unwrap_or("None"));
    let codes: Vec<_> = codes.collect();
    // Beside a conflict, what was found may be on its way out.
    let known = |code: &&str| ["None", FAILED].contains(code);
    if codes.contains(&FAILED) && codes.iter().all(known) {
        Failure::Condition(reasons.into_iter().map(found).collect())
    } else if codes.iter().all(|code| REPEATABLE.contains(code)) {
        Failure::Conflict
    } else {
        let cause = format!("DynamoDB cancelled the transaction: {codes:?}");
        Failure::Call {
            retryable: false,
            cause,
        }
    }
}

fn cancelled(error: &TransactWriteItemsError) -> Option<Vec<CancellationReason>> {
    if let TransactWriteItemsError::TransactionCanceledException(cancelled) = error {
        Some(cancelled.cancellation_reasons().to_vec())
    } else {
        None
    }
}

fn found(reason: CancellationReason) -> Option<Found> {
    let failed = reason.code() == Some(FAILED);
    failed.then_some(reason.item)
}

/// The action that has been `built`.
pub(super) fn action<T>(
    built: Result<T, BuildError>,
    add: impl FnOnce(TransactWriteItemBuilder, T) -> TransactWriteItemBuilder,
) -> TransactWriteItem {
    let built = built.expect("every action names its table and its key");
    add(TransactWriteItem::builder(), built).build()
}
