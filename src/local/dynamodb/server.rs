//! The embedded engine over DynamoDB's protocol, for SDKs and the AWS CLI: what a browser
//! sends is refused, for any page may send it.

use dynoxide::{
    Database, DynoxideError,
    auth_material::{self, AuthMaterial},
};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, ORIGIN},
    http::request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    endpoint::is_loopback,
    local::http::{self, BodyError, Timeouts},
};

/// DynamoDB's limit of a request: 16 MB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>).
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

pub(super) async fn answer(
    database: Database,
    timeouts: Timeouts,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    if is_of_a_browser(&parts) {
        let message = "This DynamoDB is for programs on this machine, and answers no browser";
        return refusal(StatusCode::FORBIDDEN, "AccessDeniedException", message);
    }
    if parts.method != Method::POST || parts.uri.path() != "/" {
        let message = "Send POST /, as the AWS SDKs do";
        return refusal(StatusCode::NOT_FOUND, "UnknownOperationException", message);
    }
    let body = match http::read(body, MAX_BODY_BYTES, timeouts.body).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let message = "The request is over 16 MB";
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", message);
        }
        Err(BodyError::Late) => {
            let message = "The body did not come in time";
            return refusal(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message);
        }
        Err(BodyError::Broken) => return malformed(),
    };
    let Ok(body) = std::str::from_utf8(&body) else {
        return malformed();
    };
    let text = |name: HeaderName| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(refusal) = auth_material::validate(AuthMaterial {
        authorization: text(AUTHORIZATION),
        query: parts.uri.query().unwrap_or_default(),
        has_date_header: [AMZ_DATE, DATE]
            .iter()
            .any(|name| parts.headers.contains_key(name)),
    }) {
        return of(StatusCode::BAD_REQUEST, refusal);
    }
    let target = text(TARGET).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    match run(&database, operation, body) {
        Some(Ok(answer)) => of(StatusCode::OK, answer),
        Some(Err(error)) => {
            let status = StatusCode::from_u16(error.status_code());
            of(
                status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                error.to_json(),
            )
        }
        None => {
            let message = "X-Amz-Target names no operation that is there";
            refusal(
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                message,
            )
        }
    }
}

/// Whether a page may have sent the request. Browsers send `Origin` with every `POST`
/// (<https://fetch.spec.whatwg.org/#origin-header>) and `Sec-Fetch-Site` with every request
/// (<https://www.w3.org/TR/fetch-metadata/>). A `Host` of another name shows DNS rebinding.
/// `Sec-Fetch-Mode` does not count: Node.js sends it too.
fn is_of_a_browser(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN)
        || head.headers.contains_key(SEC_FETCH_SITE)
        || !http::is_for(head, is_loopback)
}

/// Runs an operation; `None` where there is none of this name.
fn run(database: &Database, operation: &str, body: &str) -> Option<Result<String, DynoxideError>> {
    macro_rules! operations {
        ($($name:literal => $method:ident,)*) => {
            match operation {
                $($name => Some(call(body, |request| database.$method(request))),)*
                _ => None,
            }
        };
    }
    operations! {
        "BatchExecuteStatement" => batch_execute_statement,
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "CreateTable" => create_table,
        "DeleteItem" => delete_item,
        "DeleteTable" => delete_table,
        "DescribeStream" => describe_stream,
        "DescribeTable" => describe_table,
        "DescribeTimeToLive" => describe_time_to_live,
        "ExecuteStatement" => execute_statement,
        "ExecuteTransaction" => execute_transaction,
        "GetItem" => get_item,
        "GetRecords" => get_records,
        "GetShardIterator" => get_shard_iterator,
        "ListStreams" => list_streams,
        "ListTables" => list_tables,
        "ListTagsOfResource" => list_tags_of_resource,
        "PutItem" => put_item,
        "Query" => query,
        "Scan" => scan,
        "TagResource" => tag_resource,
        "TransactGetItems" => transact_get_items,
        "TransactWriteItems" => transact_write_items,
        "UntagResource" => untag_resource,
        "UpdateItem" => update_item,
        "UpdateTable" => update_table,
        "UpdateTimeToLive" => update_time_to_live,
    }
}

fn call<Input: DeserializeOwned, Output: Serialize>(
    body: &str,
    method: impl FnOnce(Input) -> dynoxide::Result<Output>,
) -> dynoxide::Result<String> {
    let input = serde_json::from_str(body).map_err(|error| {
        let error = error.to_string();
        // The engine puts a mark such as `VALIDATION:` before some.
        let message = match error.split_once(':') {
            Some((mark, message)) if !mark.contains(|c: char| c.is_ascii_lowercase()) => message,
            Some(_) | None => &error,
        };
        DynoxideError::ValidationException(message.to_owned())
    })?;
    serde_json::to_string(&method(input)?)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

fn malformed() -> Response<Full<Bytes>> {
    let message = "The body cannot be read";
    refusal(StatusCode::BAD_REQUEST, "SerializationException", message)
}

/// A refusal that a person may read in a browser, too.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let kind = format!("com.amazon.coral.service#{code}");
    let body = json!({ "__type": kind, "message": message });
    let mut response = of(status, body.to_string());
    let readable = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, readable);
    response
}

fn of(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
