//! One call of DynamoDB: how long it may last, how often it was tried, and why
//! it failed.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        http::HttpResponse,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
};
use tokio::time::Instant;

use crate::error::{Error, StoreError};

/// Waits for `call`, until `deadline`. `failed_condition` finds what an error that
/// says that a condition failed tells of what is stored.
pub(super) async fn in_time<T, E, C>(
    deadline: Option<Instant>,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    failed_condition: fn(&E) -> Option<C>,
) -> Result<T, Failure<C>>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let started = Instant::now();
    let result = match deadline {
        None => Ok(call.await),
        Some(deadline) => tokio::time::timeout_at(deadline, call).await,
    };
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let outcome = match &result {
        Ok(Ok(_)) => "done",
        Ok(Err(error)) => error.code().unwrap_or("not answered"),
        Err(_) => "not answered before the request's deadline",
    };
    tracing::debug!(operation = operation_of::<E>(), ms, outcome, "DynamoDB");
    let Ok(result) = result else {
        let cause = String::from("DynamoDB did not answer before the request's deadline");
        return Err(Failure::Call {
            retryable: true,
            cause,
        });
    };
    result.map_err(
        |error| match error.as_service_error().and_then(failed_condition) {
            Some(stored) => Failure::Condition(stored),
            None => Failure::of(&error),
        },
    )
}

/// The operation whose error is `E`, for the log.
fn operation_of<E>() -> &'static str {
    let error = std::any::type_name::<E>();
    let error = error.rsplit("::").next().unwrap_or(error);
    error.strip_suffix("Error").unwrap_or(error)
}

/// For a call that states no condition.
pub(super) fn no_condition<E>(_: &E) -> Option<()> {
    None
}

/// Why a call failed.
pub(super) enum Failure<C> {
    /// Its condition did not hold: what is stored, as far as it tells.
    Condition(C),
    /// Another writer is at work on the same item, or DynamoDB is too busy. A new attempt may
    /// succeed.
    Conflict,
    /// DynamoDB did not do it.
    Call {
        /// Whether it may do it when asked again.
        retryable: bool,
        /// Why, without anything of a user.
        cause: String,
    },
}

impl<C> Failure<C> {
    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let (retryable, cause) = match error {
            SdkError::ServiceError(context) => {
                let status = context.raw().status();
                let code = context.err().code().unwrap_or("no code");
                if CONFLICTS.contains(&code) {
                    return Self::Conflict;
                }
                // These two quote the values that were sent.
                let quotes = matches!(code, "ValidationException" | "SerializationException");
                let message = context.err().message().filter(|_| !quotes);
                let message = message.unwrap_or("(its message is not logged)");
                let retryable = status.is_server_error() || RETRYABLE_CODES.contains(&code);
                (
                    retryable,
                    format!("DynamoDB answered {status} {code}: {message}"),
                )
            }
            SdkError::TimeoutError(_) => (true, chain("DynamoDB did not answer in time", error)),
            SdkError::ResponseError(_) => (true, chain("DynamoDB's answer cannot be read", error)),
            SdkError::DispatchFailure(failure) => {
                // Not so where credentials or the like are missing.
                let on_the_way =
                    failure.is_io() || failure.is_timeout() || failure.as_other().is_some();
                (on_the_way, chain("DynamoDB was not reached", error))
            }
            SdkError::ConstructionFailure(_) | _ => (false, chain("DynamoDB was not asked", error)),
        };
        Self::Call { retryable, cause }
    }

    /// The error that tells the caller `message`.
    pub(super) fn into_error(self, message: &'static str) -> Error {
        let (retryable, cause) = match self {
            Self::Call { retryable, cause } => (retryable, cause),
            Self::Conflict => (
                true,
                String::from("other writers were at work, or DynamoDB was busy"),
            ),
            Self::Condition(_) => (
                false,
                String::from("a condition failed that was not stated"),
            ),
        };
        Error::Store(StoreError {
            message,
            retryable,
            cause,
        })
    }
}

/// Errors with status 400 after which the same call may succeed
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>).
const RETRYABLE_CODES: [&str; 5] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
];

/// Errors that say that a transaction on the same item, or this one, is under way.
const CONFLICTS: [&str; 2] = [
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// `what`, and all that led to it.
pub(super) fn chain(what: &str, error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

/// Watches the attempts of a call: counts them, and sees whether one may have been carried
/// out although its answer did not come.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    requests: Arc<AtomicU32>,
    unanswered: Arc<AtomicBool>,
}

impl Attempts {
    pub(super) fn counted_in(requests: Arc<AtomicU32>) -> Self {
        Self {
            requests,
            unanswered: Arc::default(),
        }
    }

    pub(super) fn has_unanswered(&self) -> bool {
        self.unanswered.load(Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.requests.fetch_add(1, Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_unanswered = match context.output_or_error() {
            Some(Ok(_)) => false,
            // The head of an answer may have come without the rest.
            Some(Err(error)) if !error.is_operation_error() => {
                error.is_connector_error() || error.is_timeout_error() || error.is_response_error()
            }
            Some(Err(_)) => context
                .response()
                .is_some_and(|answer| answer.status().is_server_error()),
            None => true,
        };
        if is_unanswered {
            self.unanswered.store(true, Relaxed);
        }
        Ok(())
    }
}
