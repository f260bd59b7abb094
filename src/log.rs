//! Logs: JSON lines for machines, or text for people. The line of a request also holds its metrics.

mod metrics;
#[cfg(feature = "local")]
mod request_line;

use std::{io::IsTerminal, panic};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{Directive, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::metrics::WithMetrics;
#[cfg(feature = "local")]
use self::request_line::RequestLines;

/// The `target` of the log line of a request.
pub(crate) const REQUEST: &str = concat!(env!("CARGO_CRATE_NAME"), "::request");

/// The name of the service, for metrics of a process that is not a Lambda function.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format<'a> {
    /// One JSON object. The line of a request has metrics of this function.
    Json {
        /// The name of the function.
        function_name: &'a str,
    },
    /// Colored text.
    Text,
}

impl Format<'_> {
    /// Text if standard error is a terminal, else JSON.
    pub fn of_standard_error() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json {
                function_name: SERVICE,
            }
        }
    }
}

/// What is logged, in the syntax of `RUST_LOG`
/// (<https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html#directives>).
/// The default is `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// Reads a filter: levels, or parts of crates with their levels, with commas between them. If it
    /// says nothing of this crate, this crate has the level `info`.
    ///
    /// # Errors
    /// What is wrong, as a phrase.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut is_about_this_crate = false;
        for directive in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            // For the library, any word is a part of some crate, of which everything is logged.
            let (part, is_known) = match directive.split_once('=') {
                Some((part, _)) => (part, directive.parse::<Directive>().is_ok()),
                None => (directive, is_of_this_crate(directive)),
            };
            let is_level = directive.parse::<LevelFilter>().is_ok();
            if !is_known && !is_level {
                return Err(format!(
                    "{directive:?} is no level (off, error, warn, info, debug or trace)"
                ));
            }
            is_about_this_crate |= is_level || is_of_this_crate(part);
        }
        Ok(Self(match is_about_this_crate {
            true => text.to_owned(),
            false => format!("info,{text}"),
        }))
    }
}

/// Whether `part` is this crate, or a module in it.
fn is_of_this_crate(part: &str) -> bool {
    let module = part.strip_prefix(env!("CARGO_CRATE_NAME"));
    module.is_some_and(|module| module.is_empty() || module.starts_with("::"))
}

/// Starts logging to standard error. See [`subscriber`].
pub fn init(format: Format<'_>, filter: &Filter) {
    subscriber(format, filter, std::io::stderr).init();
    panic::set_hook(Box::new(|panic| {
        // The message is not logged, because it may quote data from a request.
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(location, "panic");
    }));
}

/// A subscriber that writes log lines to `writer`. `filter` sets the levels for this crate.
///
/// At lower levels, other crates log whole requests and items. So only their warnings and errors
/// are written. `filter` cannot lower this level.
pub fn subscriber<W>(
    format: Format<'_>,
    filter: &Filter,
    writer: W,
) -> impl SubscriberInitExt + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = builder.parse_lossy(&filter.0);
    let quiet = filter_fn(|metadata| {
        let target = metadata.target();
        let most = if target.starts_with(env!("CARGO_CRATE_NAME")) {
            Level::TRACE
        } else if target.starts_with("lambda_runtime::layers") {
            return false; // this target repeats lines that the service logs itself
        } else if ["dynoxide", "aws_config"]
            .iter()
            .any(|name| target.starts_with(name))
        {
            // These crates log a warning for each failed condition, and for each source without
            // credentials.
            Level::ERROR
        } else {
            Level::WARN
        };
        *metadata.level() <= most
    });
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Json { function_name } => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.with_current_span(false).with_span_list(false);
            lines
                .map_event_format(|format| WithMetrics::new(format, function_name))
                .boxed()
        }
        Format::Text => {
            let lines = lines.compact().with_target(false);
            #[cfg(feature = "local")]
            let lines = lines.map_event_format(RequestLines::new);
            lines.boxed()
        }
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(quiet))
        .with(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_levels_and_parts_of_this_crate_and_no_other_words() {
        for (text, is_one) in [
            ("", true),
            ("debug", true),
            ("INFO", true),
            ("off", true),
            ("user_service=warn", true),
            ("user_service::store=debug,info", true),
            ("user_service", true),
            ("info, hyper=warn", true),
            ("hyper=warn", true),
            ("hyper", false),
            ("user_servicex", false),
            ("debg", false),
            ("user_service=wran", false),
            ("info,debg", false),
            ("verbose", false),
        ] {
            assert_eq!(Filter::parse(text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn a_filter_that_says_nothing_of_this_crate_leaves_it_at_info() {
        for (text, filter) in [
            ("", "info,"),
            ("hyper=warn", "info,hyper=warn"),
            ("user_servce=debug", "info,user_servce=debug"),
            ("user_service=warn", "user_service=warn"),
            ("hyper=warn,debug", "hyper=warn,debug"),
        ] {
            assert_eq!(Filter::parse(text), Ok(Filter(filter.to_owned())), "{text}");
        }
    }
}
