//! The door: an API Gateway event comes in, the answer goes out as a proxy
//! response.
//!
//! `lambda_http` has an adapter for this. It panics on events that a client can
//! provoke (a body that is not base64, an odd `Host`, a path of 70 kB) and a
//! null header or an odd method fails to deserialise; the client of each would
//! see a 502. So the event is read here, as a [`Value`] in which every field may
//! be missing or of another type, and the rest of `lambda_http` is used as it is.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{
    Body, Context, LambdaEvent,
    aws_lambda_events::apigw::ApiGatewayProxyResponse,
    http::{HeaderMap, HeaderName, HeaderValue},
    lambda_runtime::Diagnostic,
};
use serde_json::Value;

use crate::{
    api::Api,
    request::{BasePath, Credentials, Query, Request, Token, absolute_path},
    response::Response,
    router::Resource,
};

/// Answers one event of API Gateway: a REST proxy event, or an HTTP API event
/// of payload format 2.0. The response has the shape that both take.
///
/// # Errors
/// [`NotHttp`] where the event asks for nothing over HTTP.
pub async fn answer(
    api: &Api,
    event: LambdaEvent<Value>,
) -> Result<ApiGatewayProxyResponse, NotHttp> {
    let request = request(&event.payload, &event.context, api.base_path());
    let request = request.inspect_err(|error| tracing::warn!(cause = %error, "not answered"))?;
    Ok(proxy_response(api.handle(request).await))
}

/// The event is none of API Gateway's: a test event of the console, a schedule.
#[derive(Debug)]
pub struct NotHttp;

impl fmt::Display for NotHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event is not an HTTP request of API Gateway: it has no method")
    }
}

impl std::error::Error for NotHttp {}

/// What the Lambda runtime reports as the outcome of the invocation.
impl From<NotHttp> for Diagnostic {
    fn from(error: NotHttp) -> Self {
        Self {
            error_type: String::from("NotHttp"),
            error_message: error.to_string(),
        }
    }
}

/// Reads the event. `base_path` is the one of the custom domain, if there is one.
fn request(event: &Value, context: &Context, base_path: &BasePath) -> Result<Request, NotHttp> {
    let gateway = &event["requestContext"];
    let http_api = gateway["http"].is_object();
    let (method, path, query) = if http_api {
        let query = Query::parse(text(&event["rawQueryString"]));
        (&gateway["http"]["method"], text(&event["rawPath"]), query)
    } else {
        (
            &event["httpMethod"],
            text(&event["path"]),
            rest_query(event),
        )
    };
    let path = if is_decoded(event) {
        &path.replace('%', "%25")
    } else {
        path
    };
    let location = Location::find(path, gateway, base_path);
    let deadline = Duration::from_millis(context.deadline);
    Ok(Request {
        id: gateway["requestId"]
            .as_str()
            .unwrap_or(&context.request_id)
            .to_owned(),
        method: method.as_str().ok_or(NotHttp)?.to_owned(),
        path: location.path,
        mount: location.mount,
        query,
        headers: headers(event),
        body: body(event),
        credentials: credentials(event),
        deadline: (!deadline.is_zero()).then(|| SystemTime::UNIX_EPOCH + deadline),
    })
}

/// Whether the gateway has percent-decoded the path. HTTP APIs do, in either of
/// their payload formats; REST APIs (whose events have no `version`) and function
/// URLs do not. See <https://github.com/middleapi/standard-server/pull/93>.
fn is_decoded(event: &Value) -> bool {
    let domain = text(&event["requestContext"]["domainName"]);
    event["version"].is_string() && !domain.contains(".lambda-url.")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The entries of an object; none where `value` is not one.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The elements of an array; the value itself where it is none.
fn elements(value: &Value) -> &[Value] {
    value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The parameters of a REST event, decoded by the gateway. A null stands for a
/// parameter without a value: `?userId` asks for a user, not for the list.
fn rest_query(event: &Value) -> Query {
    let every = &event["multiValueQueryStringParameters"];
    let last = entries(&event["queryStringParameters"]);
    let last = last.filter(|(name, _)| every.get(name.as_str()).is_none());
    let parameters = entries(every).chain(last);
    parameters
        .flat_map(|(name, values)| {
            elements(values)
                .iter()
                .map(|value| (name.clone(), text(value).to_owned()))
        })
        .collect()
}

/// The header fields, without those whose name HTTP could not carry. A value that
/// it could not carry stands there empty, so that no condition is lost with it.
fn headers(event: &Value) -> HeaderMap {
    let every = &event["multiValueHeaders"];
    let last = entries(&event["headers"]);
    let last = last.filter(|(name, _)| every.get(name.as_str()).is_none());
    let mut headers = HeaderMap::new();
    for (name, values) in entries(every).chain(last) {
        let Ok(name) = HeaderName::try_from(name) else {
            continue;
        };
        for value in elements(values) {
            let value = HeaderValue::from_bytes(text(value).as_bytes());
            let value = value.unwrap_or(HeaderValue::from_static(""));
            // An error here means more fields than a map holds: over 24,000.
            let _ = headers.try_append(&name, value);
        }
    }
    headers
}

fn body(event: &Value) -> Result<Vec<u8>, &'static str> {
    match (&event["body"], event["isBase64Encoded"].as_bool()) {
        (Value::Null, _) => Ok(Vec::new()),
        (Value::String(body), Some(true)) => BASE64_STANDARD
            .decode(body)
            .map_err(|_| "The gateway sent a body that is not base64"),
        (Value::String(body), _) => Ok(body.clone().into_bytes()),
        _ => Err("The gateway sent a body that is not text"),
    }
}

/// Who calls, as a REST API, an HTTP API or a function URL tells it.
fn credentials(event: &Value) -> Credentials {
    let gateway = &event["requestContext"];
    let authorizer = &gateway["authorizer"];
    // An HTTP API has `claims` here in its payload format 1.0, which says its version.
    let of_claims = match event["version"].is_string() {
        true => ListFormat::Http,
        false => ListFormat::Rest,
    };
    let (identity, iam) = (&gateway["identity"], &authorizer["iam"]);
    let signers = [identity, iam].into_iter();
    let signers = signers.filter(|signer| !is_of_identity_pool(signer));
    let mut signers = signers
        .map(|signer| text(&signer["userArn"]))
        .filter(|arn| !arn.is_empty());
    let claims = [
        (&authorizer["claims"], of_claims),
        (&authorizer["jwt"]["claims"], ListFormat::Http),
    ];
    let claims = claims.into_iter().find(|(claims, _)| claims.is_object());
    Credentials {
        signer: signers.next().map(str::to_owned),
        token: claims.map(|(claims, format)| Token {
            sub: text(&claims["sub"]).to_owned(),
            scopes: text(&claims["scope"])
                .split(' ')
                .map(str::to_owned)
                .collect(),
            groups: format.list(&claims["cognito:groups"]),
        }),
    }
}

/// Whether the signer has its credentials from an identity pool of Cognito: it is an end
/// user, and no service. Events name the pool, the identity and its provider in fields of
/// their own.
fn is_of_identity_pool(signer: &Value) -> bool {
    entries(signer).any(|(name, value)| name.starts_with("cognito") && !value.is_null())
}

/// How a gateway writes a claim that is a list.
#[derive(Clone, Copy, Debug)]
enum ListFormat {
    /// `admin,editors`.
    Rest,
    /// `[admin editors]`.
    Http,
}

impl ListFormat {
    fn list(self, claim: &Value) -> Vec<String> {
        if let Some(items) = claim.as_array() {
            return items.iter().map(|item| text(item).to_owned()).collect();
        }
        let text = text(claim);
        match self {
            Self::Rest => text.split(',').map(str::to_owned).collect(),
            Self::Http => {
                let items = text
                    .strip_prefix('[')
                    .and_then(|items| items.strip_suffix(']'));
                items.map_or_else(
                    || vec![text.to_owned()],
                    |items| items.split(' ').map(str::to_owned).collect(),
                )
            }
        }
    }
}

/// Where a request went: see [`Request::path`] and [`Request::mount`].
struct Location {
    mount: String,
    path: String,
}

impl Location {
    fn find(path: &str, gateway: &Value, base_path: &BasePath) -> Self {
        let base = base_path.as_str();
        let stage = match text(&gateway["stage"]) {
            "" | "$default" => String::new(),
            stage => format!("/{stage}"),
        };
        // The base path comes first and the stage last, for the stage may be `users`.
        let mut prefixes = vec![String::new()];
        // Told by REST events. Where it is the stage and then the event's own path,
        // the gateway has taken the stage off already.
        let client_path = gateway["path"].as_str();
        if client_path.and_then(|path| path.strip_prefix(&stage)) != Some(path) {
            prefixes.push(stage.clone());
        }
        if !base.is_empty() {
            let with_base = [
                base.to_owned(),
                format!("{stage}{base}"),
                format!("{base}{stage}"),
            ];
            prefixes.splice(0..0, with_base);
        }
        let before = prefixes.iter().find(|prefix| {
            let rest = path.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| Resource::find(rest).is_some())
        });
        let before = before.map_or("", String::as_str);
        let path = &path[before.len()..];
        let custom_domain = gateway["domainName"]
            .as_str()
            .is_some_and(|name| !name.contains(".execute-api."));
        let mount = match client_path.and_then(|client_path| client_path.strip_suffix(path)) {
            Some(mount) => mount,
            None if custom_domain => base, // its URL does not hold the stage
            None => before,
        };
        Self {
            // Never `//host`, which would lead the client elsewhere.
            mount: absolute_path(mount),
            path: path.to_owned(),
        }
    }
}

/// One header value each, for no answer has two: the one form that REST and
/// HTTP APIs both read.
fn proxy_response(response: Response) -> ApiGatewayProxyResponse {
    let (parts, body) = response.into_parts();
    let mut proxy_response = ApiGatewayProxyResponse::default();
    proxy_response.status_code = i64::from(parts.status.as_u16());
    proxy_response.headers = parts.headers;
    proxy_response.body = (!body.is_empty()).then_some(Body::Text(body));
    proxy_response
}
