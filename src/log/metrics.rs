//! The metrics in the log line of a request, in the CloudWatch embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! CloudWatch reads them from the log. So a request makes no call for its metrics, and the function
//! needs no permission for them.

use std::{
    fmt::{self, Debug},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

use super::REQUEST;

/// A metric, in the JSON of the format. Its value is the member of the same name in the line.
macro_rules! metric {
    ($name:literal, $unit:literal) => {
        concat!(r#"{"Name":""#, $name, r#"","Unit":""#, $unit, r#""}"#)
    };
}

/// The metrics of each request. Each of them costs by the month.
macro_rules! metrics {
    () => {
        concat!(
            metric!("Requests", "Count"),
            ",",
            metric!("Latency", "Milliseconds"),
            ",",
            metric!("StoreCalls", "Count"),
            ",",
            metric!("StoreLatency", "Milliseconds"),
            ",",
            metric!("StoreRetries", "Count"),
            ",",
            metric!("Conflicts", "Count"),
            ",",
            metric!("ColdStarts", "Count")
        )
    };
}

/// What follows the value of `Timestamp`, up to the value of the dimension. It is text at compile
/// time, because a start has no time to make it.
macro_rules! directive {
    ($($metrics:tt)*) => {
        concat!(
            r#","CloudWatchMetrics":[{"Namespace":"UserService","Dimensions":[["FunctionName"]],"#,
            r#""Metrics":["#,
            $($metrics)*,
            r#"]}]},"FunctionName":"#
        )
    };
}

/// The metric that only the first request of a process has, if its connection was opened during init.
const PRIMING: &str = "Priming";

const DIRECTIVE: &str = directive!(metrics!());
const FIRST_DIRECTIVE: &str =
    directive!(concat!(metrics!(), ",", metric!("Priming", "Milliseconds")));

/// Formats events as JSON, and adds to the line of a request what makes its members metrics.
pub(super) struct WithMetrics {
    json: Format<Json>,
    /// The value of the dimension, in JSON.
    function_name: String,
}

impl WithMetrics {
    pub(super) fn new(json: Format<Json>, function_name: &str) -> Self {
        Self {
            json,
            function_name: serde_json::to_string(function_name).unwrap_or_default(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for WithMetrics
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
            return self.json.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.json
            .format_event(context, Writer::new(&mut line), event)?;
        let Some(line) = line.strip_prefix('{') else {
            return writer.write_str(&line);
        };
        let mut priming = HasPriming(false);
        event.record(&mut priming);
        let directive = match priming {
            HasPriming(true) => FIRST_DIRECTIVE,
            HasPriming(false) => DIRECTIVE,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        let function_name = &self.function_name;
        write!(
            writer,
            r#"{{"_aws":{{"Timestamp":{now}{directive}{function_name},{line}"#
        )
    }
}

/// Whether an event has the metric [`PRIMING`].
struct HasPriming(bool);

impl Visit for HasPriming {
    fn record_debug(&mut self, field: &Field, _: &dyn Debug) {
        self.0 |= field.name() == PRIMING;
    }
}
