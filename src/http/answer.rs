//! Makes the answers: their bodies, and the header fields that all of them have.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, X_CONTENT_TYPE_OPTIONS,
    },
};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde::{Serialize, Serializer};

use super::{Response, conditional::EntityTag, cors::AllowedOrigins, request::Request};
use crate::user::{User, View, json::Json};

/// The attributes of a user that a caller with this view sees.
pub(super) struct Seen<'a>(pub(super) &'a User, pub(super) View);

impl Serialize for Seen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self.0.seen_attributes(self.1);
        serializer.collect_map(members.map(|(name, value)| (name, Json(value))))
    }
}

/// A user as a caller sees it, and the tag of that (RFC 9110 section 3.2).
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) json: String,
    pub(super) entity_tag: EntityTag,
}

impl Representation {
    /// The user as a caller with this `view` sees it.
    pub(super) fn of(user: &User, view: View) -> Self {
        let json = to_json(user, view);
        let entity_tag = EntityTag::of_json(&json);
        Self { json, entity_tag }
    }
}

/// The user as JSON: the body of the answer to a `GET`.
pub(super) fn to_json(user: &User, view: View) -> String {
    serde_json::to_string(&Seen(user, view)).expect("string keys, and numbers from DynamoDB")
}

/// 200 with a body in JSON that has no `ETag`.
pub(super) fn ok(json: String) -> Response {
    text(StatusCode::OK, "application/json", json)
}

/// 200 with the user and its `ETag`.
pub(super) fn user(user: Representation) -> Response {
    let mut response = text(StatusCode::OK, "application/json", user.json);
    let entity_tag = user.entity_tag.to_header_value();
    response.headers_mut().insert(ETAG, entity_tag);
    response
}

/// 201 with the user, its `ETag`, and its `Location`: an absolute path (RFC 3986
/// section 4.2) below the `mount` of the request.
pub(super) fn created(new: &User, view: View, request: &Request) -> Response {
    let users = users_path(request);
    let location = match new.user_id() {
        // A client removes these two segments when it resolves a path, so they go into the query.
        dots @ ("." | "..") => format!("{users}?userId={dots}"),
        user_id => format!("{users}/{user_id}"),
    };
    let mut response = user(Representation::of(new, view));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, ascii(&location));
    response
}

/// 204: the operation is done. The answer has no content.
pub(super) fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// 307: the requested document is at `location`.
#[cfg(feature = "docs")]
pub(super) fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, ascii(location));
    response
}

/// 304: the client has this representation of the user.
pub(super) fn not_modified(of: Representation) -> Response {
    // RFC 9110 section 15.4.5: a 304 has the header fields that the 200 would have.
    let mut response = user(of);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.body_mut().clear();
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// 204 with the methods of a resource, and the media types of its patches (RFC 5789
/// section 3.1).
pub(super) fn options(methods: &[Method]) -> Response {
    let mut response = no_content();
    response.headers_mut().insert(ALLOW, list(methods));
    if methods.contains(&Method::PATCH) {
        add_accept_patch(&mut response);
    }
    response
}

/// Adds the header fields that every answer to `request` has. If `request` is a `HEAD`, removes the
/// body.
pub(super) fn finish(
    mut response: Response,
    request: &Request,
    origins: &AllowedOrigins,
) -> Response {
    add_common_fields(response.headers_mut(), &request.headers, origins);
    if request.method == Method::HEAD.as_str() {
        // RFC 9110 section 9.3.2: the header fields of a GET. A 304 has no length, because it would
        // have to be the length of the 200.
        if response.status() != StatusCode::NOT_MODIFIED {
            let length = response.body().len().into();
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        response.body_mut().clear();
    }
    response
}

/// Adds the header fields that every answer has. `request` has the header fields of the request.
pub fn add_common_fields(answer: &mut HeaderMap, request: &HeaderMap, origins: &AllowedOrigins) {
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    origins.share(answer, request);
}

/// Adds `Accept-Patch`: the media types that the body of a `PATCH` may have.
pub(super) fn add_accept_patch(response: &mut Response) {
    const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
    let types = HeaderValue::from_static("application/merge-patch+json, application/json");
    response.headers_mut().insert(ACCEPT_PATCH, types);
}

/// The path of the users in the URL that the client used.
fn users_path(request: &Request) -> String {
    format!("{}/users", request.mount)
}

pub(super) fn ascii(text: &str) -> HeaderValue {
    let text = utf8_percent_encode(text, CONTROLS).to_string();
    HeaderValue::try_from(text).expect("control characters and all beyond ASCII are encoded")
}

/// The methods as a header field lists them.
pub(super) fn list(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("the names of methods are tokens")
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

pub(super) fn json(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response {
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
