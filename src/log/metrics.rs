//! The metrics in the log line of a request, in the CloudWatch embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! CloudWatch reads them from the log. So a request makes no call for its metrics, and the function
//! needs no permission for them.

use std::{
    fmt::{self, Debug},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
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

/// The namespace of the metrics in CloudWatch.
pub const NAMESPACE: &str = "UserService";

/// The one dimension of the metrics.
const DIMENSION: &str = "FunctionName";

/// A metric. Its value is the member of the same name in the log line of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit in CloudWatch.
    pub unit: &'static str,
}

impl Metric {
    const fn count(name: &'static str) -> Self {
        Self {
            name,
            unit: "Count",
        }
    }

    const fn milliseconds(name: &'static str) -> Self {
        Self {
            name,
            unit: "Milliseconds",
        }
    }
}

/// The metrics of each request. Each of them costs by the month.
pub const METRICS: [Metric; 7] = [
    Metric::count("Requests"),
    Metric::milliseconds("Latency"),
    Metric::count("StoreCalls"),
    Metric::milliseconds("StoreLatency"),
    Metric::count("StoreRetries"),
    Metric::count("Conflicts"),
    Metric::count("ColdStarts"),
];

/// The metric that only the first request of a process has.
pub const PRIMING: Metric = Metric::milliseconds("Priming");

/// A directive of the format: which members of a line are metrics.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDirective<'a> {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: &'a [Metric],
}

/// Formats events as JSON, and adds to the line of a request what makes its members metrics.
pub(super) struct WithMetrics {
    json: Format<Json>,
    /// The members for a first request of a process, and for another request. They follow the time.
    first: String,
    other: String,
}

impl WithMetrics {
    pub(super) fn new(json: Format<Json>, function_name: &str) -> Self {
        let mut of_first = METRICS.to_vec();
        of_first.push(PRIMING);
        Self {
            json,
            first: members(&of_first, function_name),
            other: members(&METRICS, function_name),
        }
    }
}

/// What follows the value of `Timestamp`, up to the members of the line itself.
fn members(metrics: &[Metric], function_name: &str) -> String {
    let directive = MetricDirective {
        namespace: NAMESPACE,
        dimensions: [[DIMENSION]],
        metrics,
    };
    let directive = serde_json::to_string(&directive).unwrap_or_default();
    let function_name = serde_json::to_string(function_name).unwrap_or_default();
    format!(r#","CloudWatchMetrics":[{directive}]}},"{DIMENSION}":{function_name},"#)
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
        let members = match priming {
            HasPriming(true) => &self.first,
            HasPriming(false) => &self.other,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        write!(writer, r#"{{"_aws":{{"Timestamp":{now}{members}{line}"#)
    }
}

/// Whether an event has the metric [`PRIMING`].
struct HasPriming(bool);

impl Visit for HasPriming {
    fn record_debug(&mut self, field: &Field, _: &dyn Debug) {
        self.0 |= field.name() == PRIMING.name;
    }
}
