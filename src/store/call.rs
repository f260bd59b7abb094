//! One call to DynamoDB: its time limit, its attempts, and the cause of a failure.

use std::{
    error::Error as StdError,
    io, iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        http::HttpResponse,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
};
use rustls::CertificateError;
use tokio::time::Instant;

use super::{Error, UserStore};

/// What the calls of one request used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of requests that were sent to DynamoDB, including retries.
    pub calls: u32,
    /// The number of requests that repeated an earlier one, because it failed or got no response.
    pub retries: u32,
    /// The number of writes that were decided again, because another writer was faster.
    pub conflicts: u32,
    /// The time of all calls together.
    pub time: Duration,
}

/// Counts what the calls of one request use.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU32,
    retries: AtomicU32,
    conflicts: AtomicU32,
    microseconds: AtomicU64,
}

impl Counters {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            calls: self.calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            time: Duration::from_micros(self.microseconds.load(Relaxed)),
        }
    }

    pub(super) fn count_conflict(&self) {
        self.conflicts.fetch_add(1, Relaxed);
    }

    fn add_time(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Relaxed);
    }
}

impl UserStore {
    /// Waits for `call` until the deadline of the request.
    ///
    /// # Errors
    /// `None` if the call did not finish in time, else the error of the call.
    pub(super) async fn in_time<T, E>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Option<SdkError<E, HttpResponse>>>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let started = Instant::now();
        let result = match self.deadline {
            None => call.await.map_err(Some),
            Some(deadline) => match tokio::time::timeout_at(deadline, call).await {
                Ok(result) => result.map_err(Some),
                Err(_) => Err(None),
            },
        };
        let elapsed = started.elapsed();
        self.counters.add_time(elapsed);
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let outcome = match &result {
            Ok(_) => "done",
            Err(Some(error)) => error.code().unwrap_or("not answered"),
            Err(None) => "not answered before the request's deadline",
        };
        tracing::debug!(operation = operation_of::<E>(), ms, outcome, "DynamoDB");
        result
    }
}

/// The name of the operation with the error type `E`, for the log.
fn operation_of<E>() -> &'static str {
    let error = std::any::type_name::<E>();
    let error = error.rsplit("::").next().unwrap_or(error);
    error.strip_suffix("Error").unwrap_or(error)
}

/// Converts an error of [`UserStore::in_time`] that is not a failed condition.
pub(super) fn failure<E>(error: Option<SdkError<E, HttpResponse>>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let Some(error) = error else {
        let cause = "DynamoDB did not answer before the request's deadline";
        return Error::Unavailable(cause.to_owned());
    };
    match &error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status();
            let code = context.err().code().unwrap_or("no code");
            // The messages of these two errors quote values from the request.
            let quotes = matches!(code, "ValidationException" | "SerializationException");
            let message = context.err().message().filter(|_| !quotes);
            let message = message.unwrap_or("(its message is not logged)");
            let cause = format!("DynamoDB answered {status} {code}: {message}");
            if status.is_server_error() || RETRYABLE_CODES.contains(&code) {
                Error::Unavailable(cause)
            } else {
                Error::Failed(cause)
            }
        }
        SdkError::TimeoutError(_) => {
            Error::Unavailable(chain("DynamoDB did not answer in time", &error))
        }
        SdkError::ResponseError(_) => {
            Error::Unavailable(chain("DynamoDB's answer cannot be read", &error))
        }
        SdkError::DispatchFailure(_) if is_untrusted(&error) => Error::Failed(chain(
            "DynamoDB's certificate has no trusted root. TRUSTED_ROOTS=system trusts the roots of \
             the system, and SSL_CERT_FILE names another file of roots",
            &error,
        )),
        // Network failures may be temporary. Missing credentials are permanent.
        SdkError::DispatchFailure(failure)
            if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
        {
            Error::Unavailable(chain("DynamoDB was not reached", &error))
        }
        SdkError::DispatchFailure(_) => Error::Failed(chain("DynamoDB was not reached", &error)),
        SdkError::ConstructionFailure(_) | _ => {
            Error::Failed(chain("DynamoDB was not asked", &error))
        }
    }
}

/// Whether the endpoint's certificate has no root that the client trusts.
fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    matches!(
        find(error),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
        ))
    )
}

/// The first error of this type among `error` and its causes.
pub(super) fn find<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    iter::successors(Some(error), |error| cause(*error)).find_map(|error| error.downcast_ref())
}

/// The cause of an error. An I/O error does not name the error that it wraps as its source.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// Errors with status 400 that may be temporary: the same call may succeed later
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>).
const RETRYABLE_CODES: [&str; 5] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
];

/// `what`, followed by the chain of causes of `error`.
pub(super) fn chain(what: &str, error: &(dyn StdError + 'static)) -> String {
    let causes = iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

/// Counts the attempts of a call, and records whether an attempt got no response.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    counters: Arc<Counters>,
    has_sent: Arc<AtomicBool>,
    unanswered: Arc<AtomicBool>,
    timed_out: Arc<AtomicBool>,
}

impl Attempts {
    pub(super) fn counted_in(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            has_sent: Arc::default(),
            unanswered: Arc::default(),
            timed_out: Arc::default(),
        }
    }

    /// Whether an attempt got no usable response. DynamoDB may have executed such an attempt.
    pub(super) fn has_unanswered(&self) -> bool {
        self.unanswered.load(Relaxed)
    }

    /// Whether an attempt timed out before its response arrived. The attempt may still reach
    /// DynamoDB.
    pub(super) fn has_timed_out(&self) -> bool {
        self.timed_out.load(Relaxed)
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
        self.counters.calls.fetch_add(1, Relaxed);
        if self.has_sent.swap(true, Relaxed) {
            self.counters.retries.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Err(error)) = context.output_or_error()
            && error.is_timeout_error()
        {
            self.timed_out.store(true, Relaxed);
        }
        let is_unanswered = match context.output_or_error() {
            Some(Ok(_)) => false,
            // The header section of a response may have arrived without the content.
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
