//! Problem documents (RFC 9457).

use http::{Method, StatusCode};
use serde::Serialize;

use super::{Response, answer, error::Description, request::Request};
use crate::user::FieldError;

/// The answer to `request` that describes an error.
pub(super) fn of(description: &Description, request: &Request) -> Response {
    let Description {
        status,
        code,
        detail,
        errors,
        header,
        cause: _,
    } = description;
    let mut response = problem(*status, code, detail, errors, &request.id);
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value.clone());
    }
    if *status == StatusCode::UNSUPPORTED_MEDIA_TYPE && request.method == Method::PATCH.as_str() {
        answer::add_accept_patch(&mut response); // RFC 5789 section 2.2
    }
    response
}

/// A problem document. The problem documents of a gateway have the same members.
pub fn problem(
    status: StatusCode,
    code: &str,
    detail: &str,
    errors: &[FieldError],
    request_id: &str,
) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Problem<'a> {
        title: &'a str,
        status: u16,
        code: &'a str,
        detail: &'a str,
        /// The text that the tutorial's clients show.
        message: &'a str,
        request_id: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        errors: &'a [FieldError],
    }

    let body = Problem {
        title: reason_phrase(status),
        status: status.as_u16(),
        code,
        detail,
        message: detail,
        request_id,
        errors,
    };
    answer::json(status, "application/problem+json", &body)
}

/// The reason phrase of RFC 9110 section 15. For two statuses, the crate `http` still has the
/// phrase of RFC 7231.
fn reason_phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        status => status.canonical_reason().unwrap_or_default(),
    }
}
