//! The log line of a request. Of what a client chose, it holds only the ids of a trace.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use http::Method;
use tracing::{error, info};

use super::{
    Response,
    error::Description,
    request::Request,
    router::{METHODS, Resource},
    trace::Trace,
};
use crate::{log::REQUEST, service::Caller, store::Usage};

/// The start of the process, for the log line of its first request.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// How long it took to open the connection to DynamoDB, if that was done.
    priming: Option<Duration>,
    is_over: AtomicBool,
}

impl Start {
    /// A start with this priming.
    pub(super) fn primed(priming: Option<Duration>) -> Self {
        Self {
            priming,
            ..Self::default()
        }
    }

    /// Whether this is the first call.
    fn is_first(&self) -> bool {
        !self.is_over.swap(true, Relaxed)
    }
}

/// What is logged of a request.
pub(super) struct LogLine<'a> {
    pub(super) request: &'a Request,
    pub(super) resource: Option<Resource<'a>>,
    /// `None` if the request was refused before its caller was known.
    pub(super) caller: Option<&'a Caller>,
    pub(super) answer: &'a Response,
    pub(super) error: Option<&'a Description>,
    pub(super) usage: Usage,
    pub(super) start: &'a Start,
    pub(super) elapsed: Duration,
}

impl LogLine<'_> {
    /// Writes the line. Its members with names in Pascal case are metrics, see
    /// [`log`](crate::log).
    pub(super) fn write(&self) {
        let method = METHODS
            .iter()
            .find(|method| *method == self.request.method.as_str())
            .map_or("other", Method::as_str);
        let route = self.resource.map_or("none", Resource::template);
        let caller = self.caller.map_or("unknown", Caller::kind);
        let caller_arn = self.caller.and_then(Caller::role_arn);
        let status = self.answer.status().as_u16();
        let is_first = self.start.is_first();
        let priming = self.start.priming.filter(|_| is_first).map(milliseconds);
        let request_id = self.request.id.escape_debug().to_string();
        let Trace {
            traceparent,
            xray_trace_id,
        } = Trace::of(&self.request.headers);
        let code = self.error.map(|error| error.code);
        let cause = self.error.and_then(|error| error.cause.as_deref());
        macro_rules! line {
            ($level:ident, $message:literal) => {
                $level!(
                    target: REQUEST,
                    method,
                    route,
                    caller,
                    caller_arn,
                    status,
                    Requests = 1,
                    Latency = milliseconds(self.elapsed),
                    StoreCalls = self.usage.calls,
                    StoreLatency = milliseconds(self.usage.time),
                    StoreRetries = self.usage.retries,
                    Conflicts = self.usage.conflicts,
                    ColdStarts = u8::from(is_first),
                    Priming = priming,
                    request_id,
                    traceparent,
                    xray_trace_id,
                    code,
                    cause,
                    $message
                )
            };
        }
        match self.error {
            None => line!(info, "answered"),
            Some(error) if error.status.is_server_error() => line!(error, "failed"),
            Some(_) => line!(info, "refused"),
        }
    }
}

/// The number of milliseconds, with three decimals.
fn milliseconds(time: Duration) -> f64 {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1000.0
}
