//! The log line of a request. It holds nothing that a client chose.

use std::time::Duration;

use http::Method;
use tracing::{error, info};

use super::{
    Response,
    error::Description,
    request::Request,
    router::{METHODS, Resource},
};
use crate::service::Caller;

/// What is logged of a request.
pub(super) struct LogLine<'a> {
    pub(super) request: &'a Request,
    pub(super) resource: Option<Resource<'a>>,
    /// `None` if the request was refused before its caller was known.
    pub(super) caller: Option<&'a Caller>,
    pub(super) answer: &'a Response,
    pub(super) error: Option<&'a Description>,
    pub(super) store_calls: u32,
    pub(super) elapsed: Duration,
}

impl LogLine<'_> {
    /// Writes the line.
    pub(super) fn write(&self) {
        let method = METHODS
            .iter()
            .find(|method| *method == self.request.method.as_str())
            .map_or("other", Method::as_str);
        let route = self.resource.map_or("none", Resource::template);
        let caller = self.caller.map_or("unknown", Caller::kind);
        let caller_arn = self.caller.and_then(Caller::role_arn);
        let status = self.answer.status().as_u16();
        let ms = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        let store_calls = self.store_calls;
        let request_id = self.request.id.escape_debug().to_string();
        let code = self.error.map(|error| error.code);
        let cause = self.error.and_then(|error| error.cause.as_deref());
        macro_rules! line {
            ($level:ident, $message:literal) => {
                $level!(
                    method,
                    route,
                    caller,
                    caller_arn,
                    status,
                    ms,
                    store_calls,
                    request_id,
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
