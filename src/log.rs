//! Logs: JSON lines, or text for a person.

use std::{io::IsTerminal, panic};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Text, with colours.
    Text,
}

impl Format {
    /// Text if the standard error goes to a terminal, else JSON.
    pub fn of_standard_error() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Starts logging to the standard error.
///
/// `filter` has the syntax of `RUST_LOG`; `None` is `info`. See [`subscriber`].
pub fn init(format: Format, filter: Option<&str>) {
    subscriber(format, filter, std::io::stderr).init();
    panic::set_hook(Box::new(|panic| {
        // Without its message, which may quote what a client sent.
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(location, "panic");
    }));
}

/// What writes lines to `writer`, at the levels that `filter` sets for this crate.
///
/// Other crates log whole requests and items at their lower levels. No filter
/// lets these through: theirs are warnings and errors only.
pub fn subscriber<W>(format: Format, filter: Option<&str>, writer: W) -> impl SubscriberInitExt
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = builder.parse_lossy(filter.unwrap_or_default());
    let quiet = filter_fn(|metadata| {
        let target = metadata.target();
        let most = if target.starts_with(env!("CARGO_CRATE_NAME")) {
            Level::TRACE
        } else if target.starts_with("lambda_runtime::layers") {
            return false; // it repeats what has been logged here
        } else if ["dynoxide", "aws_config"]
            .iter()
            .any(|name| target.starts_with(name))
        {
            // They warn of each condition that fails, and of each place without credentials.
            Level::ERROR
        } else {
            Level::WARN
        };
        *metadata.level() <= most
    });
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            lines.with_current_span(false).with_span_list(false).boxed()
        }
        Format::Text => lines.compact().with_target(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(quiet))
        .with(filter)
}
