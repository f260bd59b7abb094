//! `GET /healthz`: whether the server runs, and whether it reaches DynamoDB.

use http_body_util::Full;
use hyper::{
    Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    http::request::Parts,
};

use super::{Refusal, Response};
use crate::store::UserStore;

/// The path. It is not a path of the API.
pub(super) const PATH: &str = "/healthz";

/// The answer to a request for [`PATH`]. With the parameter `store`, it reads a key from the table of
/// users first.
///
/// # Errors
/// The method, the query, or DynamoDB.
pub(super) async fn answer(head: &Parts, store: &UserStore) -> Result<Response, Refusal> {
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        let message = "This path has only the methods GET and HEAD";
        let mut refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        );
        refusal.header = Some((ALLOW, HeaderValue::from_static("GET, HEAD")));
        return Err(refusal);
    }
    match head.uri.query().unwrap_or_default() {
        "" => {}
        "store" | "store=" => check(store).await?,
        _ => {
            let message = "The only parameter is store, without a value";
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid_parameter",
                message,
            ));
        }
    }
    let body = match head.method {
        Method::HEAD => "",
        _ => r#"{"status":"ok"}"#,
    };
    let mut answer = Response::new(Full::from(body));
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Checks that DynamoDB answers within 500 ms.
async fn check(store: &UserStore) -> Result<(), Refusal> {
    store.prime().await.map_err(|error| {
        tracing::warn!(cause = %error, "not healthy");
        let message = "DynamoDB does not answer; the log has the cause";
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            message,
        )
    })
}
