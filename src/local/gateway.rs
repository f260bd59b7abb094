//! A gateway on this machine: turns each HTTP request into the REST proxy event
//! that API Gateway would send, and the proxy response into HTTP.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{BoxFuture, Context, LambdaEvent};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use uuid::Uuid;

use crate::{api::Api, event, router::Resource};

/// What API Gateway lets through of a body: 10 MB
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>).
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// How many invocations run at a time, as if there were so many sandboxes. A
/// DynamoDB on one machine serves few calls at a time; what waits for its turn
/// there runs into the timeout of a call, and is called again on top.
const CONCURRENCY: usize = 8;

/// The header field in which a request says who calls, as a [`LocalCaller`]. This gateway
/// alone understands it; API Gateway takes nobody's word for who they are.
const LOCAL_CALLER: HeaderName = HeaderName::from_static("x-local-caller");

/// Who is to be taken for the caller: a user with a token for all scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCaller {
    sub: String,
    groups: Vec<String>,
}

impl LocalCaller {
    /// Whose token it is: the `userId` of the user it acts on.
    pub fn sub(&self) -> &str {
        &self.sub
    }
}

/// Reads `sub[:group,…]`.
impl FromStr for LocalCaller {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sub, groups) = text.split_once(':').unwrap_or((text, ""));
        let groups = groups.split(',').filter(|group| !group.is_empty());
        if sub.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be a sub, and maybe groups after a colon: ada:admin,editors");
        }
        Ok(Self {
            sub: sub.to_owned(),
            groups: groups.map(str::to_owned).collect(),
        })
    }
}

/// `ada`, or `ada, in the groups admin and editors`.
impl fmt::Display for LocalCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sub)?;
        match self.groups.as_slice() {
            [] => Ok(()),
            [group] => write!(f, ", in the group {group}"),
            groups => write!(f, ", in the groups {}", groups.join(" and ")),
        }
    }
}

/// The function that the Lambda binary runs, for a gateway to invoke.
pub fn invoke(
    api: Api,
) -> impl Fn(Value) -> BoxFuture<'static, Result<Value, String>> + Clone + Send + Sync {
    let api = Arc::new(api);
    move |event| {
        let api = Arc::clone(&api);
        Box::pin(async move {
            let answer = event::answer(&api, LambdaEvent::new(event, Context::default())).await;
            let answer = answer.map_err(|error| error.to_string())?;
            serde_json::to_value(answer).map_err(|error| error.to_string())
        })
    }
}

/// Serves `listener` until `stop` resolves, then lets running requests end.
///
/// `invoke` is the function behind the gateway: it takes an event and returns
/// the proxy response, or why there is none, which the client sees as a 502. Requests come
/// from `caller`, or from a service that may do everything, unless they say otherwise.
///
/// # Errors
/// Those of the listener.
pub async fn serve<Invoke, Invocation>(
    listener: TcpListener,
    invoke: Invoke,
    caller: Option<LocalCaller>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    Invoke: Fn(Value) -> Invocation + Clone + Send + Sync + 'static,
    Invocation: Future<Output = Result<Value, String>> + Send + 'static,
{
    let sandboxes = Arc::new(Semaphore::new(CONCURRENCY));
    let handle = move |request: Request| {
        let invoke = invoke.clone();
        let sandboxes = Arc::clone(&sandboxes);
        let caller = caller.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            let named = parts.headers.remove(LOCAL_CALLER);
            let caller = match named.map(|named| named.to_str().unwrap_or_default().parse()) {
                Some(Ok(named)) => Some(named),
                Some(Err(message)) => {
                    let message = format!("{LOCAL_CALLER} {message}");
                    return gateway_error(StatusCode::BAD_REQUEST, &message);
                }
                None => caller,
            };
            let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
                return gateway_error(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
            };
            let _sandbox = sandboxes.acquire().await;
            match invoke(proxy_event(&parts, &body, caller.as_ref())).await {
                Ok(response) => http_response(&response),
                Err(_) => gateway_error(StatusCode::BAD_GATEWAY, "Internal server error"),
            }
        }
    };
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let app = Router::new().fallback(handle);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stop)
    .await
}

/// The REST proxy event for a request of `caller`, or of a service that signs its requests
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html>).
pub fn proxy_event(parts: &Parts, body: &Bytes, caller: Option<&LocalCaller>) -> Value {
    let path = parts.uri.path();
    let resource = Resource::find(path);
    let path_parameters = match resource {
        Some(Resource::User(user_id)) => json!({ "userId": user_id }),
        Some(Resource::Users | Resource::Docs(_)) | None => Value::Null,
    };
    let resource = resource.map_or("/{proxy+}", Resource::template);
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query = query.map(|(name, value)| (name.into_owned(), value.into_owned()));
    let (query, queries) = single_and_multi(query);
    let (headers, multi_value_headers) = single_and_multi(header_fields(&parts.headers));
    let (body, is_base64_encoded) = match std::str::from_utf8(body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (Value::from(text), false),
        Err(_) => (Value::from(BASE64_STANDARD.encode(body)), true),
    };
    let claims = caller.map(|caller| {
        json!({
            "sub": caller.sub,
            "cognito:groups": caller.groups.join(","),
            "scope": "users/read users/write",
            "token_use": "access",
        })
    });
    let signer = match caller {
        Some(_) => None,
        None => Some("arn:aws:iam::000000000000:user/local"),
    };
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": headers,
        "multiValueHeaders": multi_value_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": queries,
        "pathParameters": path_parameters,
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "authorizer": claims.map(|claims| json!({ "claims": claims })),
            "domainName": parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
            "extendedRequestId": Uuid::new_v4(),
            "httpMethod": parts.method.as_str(),
            "identity": {
                "userArn": signer,
                "sourceIp": peer.map(|ConnectInfo(peer)| peer.ip().to_string()),
                "userAgent": parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
            },
            "path": path,
            "protocol": format!("{:?}", parts.version),
            "requestId": Uuid::new_v4(),
            "requestTimeEpoch": u64::try_from(now.as_millis()).unwrap_or_default(),
            "resourcePath": resource,
            // The deployed stage stands in the URL; there is none in this one.
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    })
}

fn header_fields(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    })
}

/// The last value of each name, and all of them; null where there is no name.
fn single_and_multi(fields: impl Iterator<Item = (String, String)>) -> (Value, Value) {
    let mut every = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        every.entry(name).or_default().push(value);
    }
    if every.is_empty() {
        return (Value::Null, Value::Null);
    }
    let last = every
        .iter()
        .map(|(name, values)| (name.clone(), json!(values.last())));
    (Value::Object(last.collect::<Map<_, _>>()), json!(every))
}

/// The answer that a proxy response stands for; 502 where it stands for none.
fn http_response(response: &Value) -> Response {
    let status = response["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return gateway_error(StatusCode::BAD_GATEWAY, "Internal server error");
    };
    let body = response["body"].as_str().unwrap_or_default().to_owned();
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    for (name, value) in response["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            answer.headers_mut().append(&name, value);
            if name == header::ACCESS_CONTROL_ALLOW_HEADERS {
                // A page may send what this gateway understands, too.
                answer.headers_mut().append(name, LOCAL_CALLER.into());
            }
        }
    }
    answer
}

/// An answer of the gateway's own.
fn gateway_error(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
