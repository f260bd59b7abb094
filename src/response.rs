//! The one place that makes answers, of users and of errors alike.

use lambda_http::http::{
    self, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK, LOCATION, ORIGIN,
        RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    endpoint::is_loopback,
    error::{Error, FieldError},
    page::{Cursor, Limit, Page},
    precondition::EntityTag,
    request::Request,
    user::User,
};

/// An answer. Its body is empty or text.
pub type Response = http::Response<String>;

/// 200 with the user and its `ETag`.
pub fn user(user: &User) -> Response {
    let body = user.to_json();
    let entity_tag = EntityTag::of_body(&body);
    let mut response = text(StatusCode::OK, "application/json", body);
    let headers = response.headers_mut();
    headers.insert(ETAG, entity_tag.to_header_value());
    response
}

/// 201 with the user, its `ETag`, and its `Location`: an absolute path (RFC 3986
/// section 4.2) below the `mount` of the request.
pub fn created(new: &User, request: &Request) -> Response {
    let users = users_path(request);
    let location = match new.user_id() {
        // As a segment of a path these two would be resolved away.
        dots @ ("." | "..") => format!("{users}?userId={dots}"),
        user_id => format!("{users}/{user_id}"),
    };
    let mut response = user(new);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, ascii(&location));
    response
}

/// The bytes of users that one page carries: the 6 MB (6,291,556 bytes) of a response that
/// Lambda lets out, less room for the rest of it, which is the header fields and the cursor.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_PAGE_BYTES: usize = 6_000_000;

/// 200 with a page of users, and a `Link` to the next one (RFC 8288).
///
/// The page ends after those users of `page` that fit into what Lambda lets out.
pub fn page(page: Page, limit: Limit, consistent: bool, request: &Request) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        items: &'a [Box<RawValue>],
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<&'a str>,
    }

    let users = page
        .items
        .iter()
        .map(|user| RawValue::from_string(user.to_json()).expect("a user's JSON is JSON"));
    let users: Vec<_> = users.collect();
    let mut bytes = 0;
    let fitting = users.iter().take_while(|user| {
        bytes += carried_bytes(user.get());
        bytes <= MAX_PAGE_BYTES
    });
    let page = page.cut_to(fitting.count());
    let next_cursor = page.next.as_ref().map(Cursor::encode);
    let body = Body {
        items: &users[..page.items.len()],
        next_cursor: next_cursor.as_deref(),
    };
    let mut response = json(StatusCode::OK, "application/json", &body);
    if let Some(cursor) = &next_cursor {
        let (users, limit) = (users_path(request), limit.get());
        let consistent = if consistent { "&consistent=true" } else { "" };
        let link = format!("<{users}?limit={limit}{consistent}&cursor={cursor}>; rel=\"next\"");
        response.headers_mut().insert(LINK, ascii(&link));
    }
    response
}

/// The bytes that `json`, with a comma after it, takes in a proxy response. That is JSON
/// itself, and the body a string in it: each `"` and `\` has a `\` before it.
fn carried_bytes(json: &str) -> usize {
    let escaped = json.bytes().filter(|byte| b"\"\\".contains(byte));
    json.len() + escaped.count() + 1
}

/// 204: done, and nothing to say.
pub fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// 307: what was asked for is at `location`.
pub fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, ascii(location));
    response
}

/// 304: the client has this representation of the user.
pub fn not_modified(of: &User) -> Response {
    // RFC 9110 section 15.4.5: the header fields that the 200 would have.
    let mut response = user(of);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.body_mut().clear();
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// 204 with the methods of a resource, and the media types of its patches (RFC 5789
/// section 3.1).
pub fn options(methods: &'static [Method]) -> Response {
    let mut response = no_content();
    let headers = response.headers_mut();
    headers.insert(ALLOW, list(methods));
    if methods.contains(&Method::PATCH) {
        headers.insert(ACCEPT_PATCH, PATCHES);
    }
    response
}

/// An error, as a problem (RFC 9457).
pub fn problem(error: &Error, request_id: &str) -> Response {
    let detail = error.to_string();
    let errors = error.field_errors();
    let mut response = problem_of(error.status(), error.code(), &detail, errors, request_id);
    if let Error::MethodNotAllowed(methods) = error {
        response.headers_mut().insert(ALLOW, list(methods));
    }
    if let Error::Unauthenticated { challenge, .. } = error {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// A problem (RFC 9457) that is not an [`Error`], too: those of a gateway have the same
/// members.
pub fn problem_of(
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
        /// What the tutorial's clients show.
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
    json(status, "application/problem+json", &body)
}

/// The reason phrase of RFC 9110 section 15. The crate `http` has that of RFC 7231 for two
/// statuses.
fn reason_phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        status => status.canonical_reason().unwrap_or_default(),
    }
}

/// What every answer to `request` has, whatever it says.
pub fn finish(mut response: Response, request: &Request, origins: &AllowedOrigins) -> Response {
    add_common_fields(response.headers_mut(), &request.headers, origins);
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && request.method == "PATCH" {
        response.headers_mut().insert(ACCEPT_PATCH, PATCHES); // RFC 5789 section 2.2
    }
    if request.method == "HEAD" {
        // RFC 9110 section 9.3.2: the header fields that GET would have. A 304 has
        // no length, for its would have to be that of the 200.
        if response.status() != StatusCode::NOT_MODIFIED {
            let length = response.body().len().into();
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        response.body_mut().clear();
    }
    response
}

/// Adds the header fields that every answer has, to a request with the fields `request`.
pub fn add_common_fields(answer: &mut HeaderMap, request: &HeaderMap, origins: &AllowedOrigins) {
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    origins.share(answer, request);
}

/// The origins whose pages may read the answers (CORS,
/// <https://fetch.spec.whatwg.org/#http-cors-protocol>).
#[derive(Clone, Debug, Default)]
pub enum AllowedOrigins {
    /// No page of another origin.
    #[default]
    None,
    /// Any page.
    Any,
    /// Pages of this machine: `http` and `https`, a loopback host, any port.
    Loopback,
    /// Those whose origin is one of these.
    These(Vec<HeaderValue>),
}

impl AllowedOrigins {
    /// Reads `*`, or origins (`https://example.com`) with commas or spaces between.
    ///
    /// # Errors
    /// What to change, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origins = text.split([',', ' ']).filter(|origin| !origin.is_empty());
        let origins: Vec<&str> = origins.collect();
        match origins.as_slice() {
            [] => Ok(Self::None),
            ["*"] => Ok(Self::Any),
            origins => {
                let origins = origins.iter().map(|origin| {
                    serialized(origin).ok_or_else(|| {
                        format!(
                            "{origin:?} is not an origin: write each as https://example.com, \
                             without a path, or a single * for all"
                        )
                    })
                });
                origins.collect::<Result<_, _>>().map(Self::These)
            }
        }
    }

    /// Whether pages of `origin`, the value of the field `Origin`, may read the answers.
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Loopback => is_of_loopback(origin),
            Self::These(origins) => origins.contains(origin),
        }
    }

    /// Adds what lets the page that sent the request read the answer.
    fn share(&self, response: &mut HeaderMap, request: &HeaderMap) {
        let origin = request.get(ORIGIN);
        let allowed = match self {
            Self::None => return,
            Self::Any => origin.map(|_| HeaderValue::from_static("*")),
            Self::Loopback | Self::These(_) => {
                response.insert(VARY, ORIGIN.into());
                origin.filter(|origin| self.allow(origin)).cloned()
            }
        };
        let Some(allowed) = allowed else { return };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if let (Some(methods), true) = (
            response.get(ALLOW).cloned(),
            request.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        ) {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            response.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(REQUEST_HEADERS),
            );
            response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            response.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(RESPONSE_HEADERS),
            );
        }
    }
}

fn is_of_loopback(origin: &HeaderValue) -> bool {
    let Ok(text) = origin.to_str() else {
        return false;
    };
    let uri: Option<Uri> = text.parse().ok();
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    is_http
        && serialized(text).as_ref() == Some(origin)
        && uri.is_some_and(|uri| uri.host().is_some_and(is_loopback))
}

/// An origin as browsers send it: in lower case, without the scheme's own port
/// (<https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin>). `None` where it is not one.
pub fn serialized(origin: &str) -> Option<HeaderValue> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = authority.strip_suffix(own_port).unwrap_or(authority);
    if host.is_empty() || host.contains(['/', '*', '?', '#', '@']) {
        return None;
    }
    format!("{scheme}://{host}").parse().ok()
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The media types that [`Request::merge_patch`] takes.
const PATCHES: HeaderValue =
    HeaderValue::from_static("application/merge-patch+json, application/json");

/// What a page may send: what the service reads, what signs a request, and what traces it.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, traceparent, X-Amz-Date, X-Amz-Security-Token, X-Api-Key, X-Request-Id";
/// What a page may read beside what any page may.
const RESPONSE_HEADERS: &str =
    "Accept-Patch, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate";

fn users_path(request: &Request) -> String {
    format!("{}/users", request.mount)
}

fn ascii(text: &str) -> HeaderValue {
    let text = utf8_percent_encode(text, CONTROLS).to_string();
    HeaderValue::try_from(text).expect("control characters and all beyond ASCII are encoded")
}

fn list(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("the names of methods are tokens")
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn json(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("strings, numbers and JSON");
    text(status, content_type, body)
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = empty(status);
    *response.body_mut() = body;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
