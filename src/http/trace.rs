//! The trace that a request belongs to, for its log line.

use http::HeaderMap;

/// The ids of a trace. They hold hexadecimal digits and nothing else that a client chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace<'a> {
    /// The header field `traceparent` (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    pub(super) traceparent: Option<&'a str>,
    /// The root of the header field `X-Amzn-Trace-Id`
    /// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
    pub(super) xray_trace_id: Option<&'a str>,
}

impl<'a> Trace<'a> {
    /// The trace that the header fields name. A malformed id is ignored.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let field = |name| headers.get(name)?.to_str().ok();
        Self {
            traceparent: field("traceparent").filter(|value| is_traceparent(value)),
            xray_trace_id: field("x-amzn-trace-id").and_then(root),
        }
    }
}

/// Whether `value` is a `traceparent` of version 00.
fn is_traceparent(value: &str) -> bool {
    value.starts_with("00-") && has_parts(value, &[2, 32, 16, 2])
}

/// The `Root` of `Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1`.
fn root(value: &str) -> Option<&str> {
    let mut parts = value.split(';');
    let root = parts.find_map(|part| part.trim().strip_prefix("Root="))?;
    (root.starts_with("1-") && has_parts(root, &[1, 8, 24])).then_some(root)
}

/// Whether `value` is hexadecimal numbers of these lengths, with hyphens between.
fn has_parts(value: &str, lengths: &[usize]) -> bool {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let parts = value.split('-');
    parts.clone().map(str::len).eq(lengths.iter().copied())
        && parts.flat_map(str::bytes).all(is_lower_hex)
}
