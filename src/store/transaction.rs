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
    rounds::Pauses,
};

/// What is stored, as far as it is another than a transaction's condition asks.
pub(super) type Found = Option<HashMap<String, AttributeValue>>;

/// The reason of an action whose condition did not hold.
const FAILED: &str = "ConditionalCheckFailed";

/// Reasons of a cancellation after which the same transaction may be done.
const REPEATABLE: [&str; 5] = [
    FAILED,
    "None",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
];

impl UserStore {
    /// Does all `actions` or none. It is repeated under one token until it is known to
    /// have been done or cancelled, so that a lost answer is no trouble; and under a new one
    /// where others were at work on the same items, until the request's deadline.
    ///
    /// A condition that failed comes back as what each action found: `None` where it
    /// could have been done.
    pub(super) async fn transact(
        &self,
        actions: Vec<TransactWriteItem>,
    ) -> Result<(), Failure<Vec<Option<Found>>>> {
        let mut token = Uuid::new_v4();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self.client.transact_write_items();
            let call = call.client_request_token(token);
            let call = call.set_transact_items(Some(actions.clone()));
            let call = call.customize().interceptor(self.attempts()).send();
            let Err(failure) = in_time(self.deadline, call, cancelled).await else {
                return Ok(());
            };
            match failure {
                Failure::Conflict => {}
                Failure::Condition(reasons) => {
                    // An action that could have been done has the code None, or none.
                    let codes = reasons.iter().map(|reason| reason.code().unwrap_or("None"));
                    let codes: Vec<_> = codes.collect();
                    // Beside a conflict, what was found may be on its way out.
                    let known = |code: &&str| ["None", FAILED].contains(code);
                    if codes.contains(&FAILED) && codes.iter().all(known) {
                        return Err(Failure::Condition(reasons.into_iter().map(found).collect()));
                    }
                    if !codes.iter().all(|code| REPEATABLE.contains(code)) {
                        let cause = format!("DynamoDB cancelled the transaction: {codes:?}");
                        return Err(Failure::Call {
                            retryable: false,
                            cause,
                        });
                    }
                    token = Uuid::new_v4();
                }
                Failure::Call { retryable, cause } => {
                    return Err(Failure::Call { retryable, cause });
                }
            }
            if !pauses.pause().await {
                return Err(Failure::Conflict);
            }
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
