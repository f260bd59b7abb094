//! Serves the embedded engine over DynamoDB's protocol, for the SDK of the program that has its key.
//! Requests of browsers are refused, because any web page can send them.

use dynoxide::{
    Database, DynoxideError,
    auth_material::{self, AuthMaterial},
};
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, ORIGIN},
    http::request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    http::host::is_loopback,
    local::dynamodb::AccessKeyId,
    local::http::{self, BodyError, Timeouts},
};

/// DynamoDB's limit for a request: 16 MB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>).
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

type Response = hyper::Response<Full<Bytes>>;

/// The embedded engine, as its port serves it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) database: Database,
    pub(super) access_key_id: AccessKeyId,
    pub(super) timeouts: Timeouts,
}

impl Server {
    /// Answers a request as DynamoDB does.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response {
        match self.run(request).await {
            Ok(output) => response(StatusCode::OK, output),
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn run(&self, request: Request<Incoming>) -> Result<String, Refusal> {
        let (head, body) = request.into_parts();
        if is_of_a_browser(&head) {
            return Err(Refusal::Browser);
        }
        if head.method != Method::POST || head.uri.path() != "/" {
            return Err(Refusal::NotAnOperation);
        }
        let body = http::read(body, MAX_BODY_BYTES, self.timeouts.body)
            .await
            .map_err(Refusal::Body)?;
        let body = str::from_utf8(&body).map_err(|_| Refusal::Body(BodyError::Broken))?;
        check_signature(&head)?;
        if access_key_id(&head).as_ref() != Some(&self.access_key_id) {
            return Err(Refusal::OtherKey);
        }
        let target = text(&head, TARGET).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        call(&self.database, operation, body)
            .ok_or(Refusal::UnknownOperation)?
            .map_err(Refusal::Engine)
    }
}

/// Checks that the request has a signature. Any signature is accepted, because the access key id is
/// the secret.
fn check_signature(head: &Parts) -> Result<(), Refusal> {
    let material = AuthMaterial {
        authorization: text(head, AUTHORIZATION),
        query: head.uri.query().unwrap_or_default(),
        has_date_header: [AMZ_DATE, DATE]
            .iter()
            .any(|name| head.headers.contains_key(name)),
    };
    match auth_material::validate(material) {
        None => Ok(()),
        Some(refusal) => Err(Refusal::Unsigned(refusal)),
    }
}

/// The access key id in the signature: `… Credential=ID/20260101/…`
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
fn access_key_id(head: &Parts) -> Option<AccessKeyId> {
    let (_, credential) = text(head, AUTHORIZATION)?.split_once("Credential=")?;
    let (id, _) = credential.split_once('/')?;
    Some(AccessKeyId::known(id))
}

fn text(head: &Parts, name: HeaderName) -> Option<&str> {
    head.headers.get(name)?.to_str().ok()
}

/// Whether a page may have sent the request. Browsers send `Origin` with every `POST`
/// (<https://fetch.spec.whatwg.org/#origin-header>) and `Sec-Fetch-Site` with every request
/// (<https://www.w3.org/TR/fetch-metadata/>). A `Host` with another name is a sign of DNS
/// rebinding. `Sec-Fetch-Mode` does not count: Node.js sends it too.
fn is_of_a_browser(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN)
        || head.headers.contains_key(SEC_FETCH_SITE)
        || !http::is_for(head, is_loopback)
}

/// Calls an operation. `None` if there is no operation of this name.
pub(super) fn call(
    database: &Database,
    operation: &str,
    body: &str,
) -> Option<Result<String, DynoxideError>> {
    macro_rules! operations {
        ($($name:literal => $method:ident,)*) => {
            match operation {
                $($name => Some(with_json(body, |input| database.$method(input))),)*
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

/// Calls `method` with the input in `body`, and returns its output. Both are JSON.
fn with_json<Input: DeserializeOwned, Output: Serialize>(
    body: &str,
    method: impl FnOnce(Input) -> dynoxide::Result<Output>,
) -> dynoxide::Result<String> {
    let input = serde_json::from_str(body).map_err(|error| {
        let error = error.to_string();
        // The engine begins some messages with a mark such as `VALIDATION:`.
        let message = match error.split_once(':') {
            Some((mark, message)) if !mark.contains(|c: char| c.is_ascii_lowercase()) => message,
            Some(_) | None => &error,
        };
        DynoxideError::ValidationException(message.to_owned())
    })?;
    serde_json::to_string(&method(input)?)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// Why a request is not done.
enum Refusal {
    /// A page in a browser may have sent it.
    Browser,
    /// It is not a request of DynamoDB's protocol.
    NotAnOperation,
    /// The engine has no such operation.
    UnknownOperation,
    /// Its body was not read.
    Body(BodyError),
    /// It has no signature. The string is the answer, in JSON.
    Unsigned(String),
    /// It has another access key id.
    OtherKey,
    /// The engine refuses it.
    Engine(DynoxideError),
}

impl Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Browser => (
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                "This DynamoDB is for programs on this machine, and answers no browser",
            ),
            Self::NotAnOperation => (
                StatusCode::NOT_FOUND,
                "UnknownOperationException",
                "Send POST /, as the AWS SDKs do",
            ),
            Self::UnknownOperation => (
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "X-Amz-Target names no operation of this DynamoDB",
            ),
            Self::Body(error) => of_body(&error),
            Self::OtherKey => (
                StatusCode::BAD_REQUEST,
                "UnrecognizedClientException",
                "This DynamoDB answers only the program that has started it",
            ),
            Self::Unsigned(json) => return response(StatusCode::BAD_REQUEST, json),
            Self::Engine(error) => {
                let status = StatusCode::from_u16(error.status_code())
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return response(status, error.to_json());
            }
        };
        readable(status, code, message)
    }
}

fn of_body(error: &BodyError) -> (StatusCode, &'static str, &'static str) {
    match error {
        BodyError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLarge",
            "The request is over 16 MB",
        ),
        BodyError::Late => (
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "The body did not come in time",
        ),
        BodyError::Broken => (
            StatusCode::BAD_REQUEST,
            "SerializationException",
            "The body cannot be read",
        ),
    }
}

/// An answer that a browser can show.
fn readable(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = format!("com.amazon.coral.service#{code}");
    let body = json!({ "__type": kind, "message": message });
    let mut response = response(status, body.to_string());
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
