//! The log line of a request on a terminal: what a person looks for first, in one short line.

use std::fmt::{self, Debug};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Compact, Format, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::REQUEST;

/// Formats events as compact text, and those of requests as `GET /users/{userId} 200 in 1.4 ms`.
pub(super) struct RequestLines {
    compact: Format<Compact>,
}

impl RequestLines {
    pub(super) fn new(compact: Format<Compact>) -> Self {
        Self { compact }
    }
}

impl<S, N> FormatEvent<S, N> for RequestLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != REQUEST {
            return self.compact.format_event(context, writer, event);
        }
        let mut request = Request::default();
        event.record(&mut request);
        SystemTime.format_time(&mut writer)?;
        let Request {
            method,
            route,
            status,
            caller,
            latency,
            calls,
            ..
        } = &request;
        let level = event.metadata().level();
        write!(
            writer,
            " {level:>5} {method} {route} {status} in {latency:.1} ms, DynamoDB calls: {calls}, by {caller}"
        )?;
        if !request.code.is_empty() {
            // The answer of the client has the same id.
            write!(writer, ", {} ({})", request.code, request.request_id)?;
        }
        if !request.cause.is_empty() {
            write!(writer, ": {}", request.cause)?;
        }
        writeln!(writer)
    }
}

/// What the line shows.
#[derive(Default)]
struct Request {
    method: String,
    route: String,
    status: u64,
    caller: String,
    latency: f64,
    calls: u64,
    code: String,
    cause: String,
    request_id: String,
}

impl Visit for Request {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "Latency" {
            self.latency = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "StoreCalls" => self.calls = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = match field.name() {
            "method" => &mut self.method,
            "route" => &mut self.route,
            "caller" => &mut self.caller,
            "code" => &mut self.code,
            "cause" => &mut self.cause,
            "request_id" => &mut self.request_id,
            _ => return,
        };
        value.clone_into(text);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
