//! A gateway on this machine: turns each HTTP request into the REST proxy event
//! that API Gateway would send, and the proxy response into HTTP.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};
use lambda_http::{BoxFuture, Context, LambdaEvent};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::debug;
use uuid::Uuid;

use crate::{
    api::Api,
    docs::HeaderField,
    endpoint::{address, is_loopback},
    event,
    local::http::{self, BodyError, Timeouts},
    response::{self, AllowedOrigins},
    router::Resource,
};

type Response = hyper::Response<Full<Bytes>>;

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

/// The function that the Lambda binary runs, for a gateway to invoke. Its contract has the header
/// field that [`serve`] understands.
pub fn invoke(
    api: Api,
) -> impl Fn(Value) -> BoxFuture<'static, Result<Value, String>> + Clone + Send + Sync {
    let api = Arc::new(api.with_gateway_header(HeaderField {
        name: "X-Local-Caller",
        description: "Whom this gateway takes for the caller: the `sub` of a user, and maybe groups \
                      after a colon, such as `ada` or `root:admin`.",
        pattern: "^[!-~]+$",
    }));
    move |event| {
        let api = Arc::clone(&api);
        Box::pin(async move {
            let answer = event::answer(&api, LambdaEvent::new(event, Context::default())).await;
            let answer = answer.map_err(|error| error.to_string())?;
            serde_json::to_value(answer).map_err(|error| error.to_string())
        })
    }
}

/// What a gateway takes, and from whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The caller of a request without `X-Local-Caller`; `None` is a service, which may do
    /// everything.
    pub caller: Option<LocalCaller>,
    /// Which requests it takes.
    pub takes: Takes,
    /// The origins whose pages may read what the gateway answers itself.
    pub origins: AllowedOrigins,
    /// How long it waits for a client.
    pub timeouts: Timeouts,
}

/// Which requests a gateway takes. Others are answered with 403, and the function does not
/// see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// All, as API Gateway does, which asks who calls.
    All,
    /// Those that no page of another site sends. The host is loopback or the address that the
    /// gateway listens on. A gateway that listens on all addresses takes any IP address: DNS
    /// rebinding needs a name. `Origin`, if sent, is the gateway's own or an allowed one.
    NoneOfForeignPages,
}

/// Serves `listener` until `stop` resolves, then lets running requests end.
///
/// `invoke` is the function behind the gateway: it takes an event and returns
/// the proxy response, or why there is none, which the client sees as a 502.
///
/// # Errors
/// Those of the listener.
pub async fn serve<Invoke, Invocation>(
    listener: TcpListener,
    invoke: Invoke,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    Invoke: Fn(Value) -> Invocation + Clone + Send + Sync + 'static,
    Invocation: Future<Output = Result<Value, String>> + Send + 'static,
{
    let head_timeout = settings.timeouts.head;
    let gateway = Arc::new(Gateway {
        address: listener.local_addr()?.ip(),
        invoke,
        settings,
        sandboxes: Semaphore::new(CONCURRENCY),
    });
    let answer = move |request, peer| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.answer(request, peer).await }
    };
    http::serve(listener, head_timeout, answer, stop).await;
    Ok(())
}

struct Gateway<Invoke> {
    /// Where it listens.
    address: IpAddr,
    invoke: Invoke,
    settings: Settings,
    sandboxes: Semaphore,
}

/// What the gateway answers itself.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", message)
    }

    /// The function failed.
    fn bad_gateway() -> Self {
        let message = "The service failed; this is not your request's fault";
        Self::new(StatusCode::BAD_GATEWAY, "internal_error", message)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let (status, code, message) = match error {
            BodyError::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is over 10 MB",
            ),
            BodyError::Late => (
                StatusCode::REQUEST_TIMEOUT,
                "malformed_request",
                "The body did not come in time; send the request again",
            ),
            BodyError::Broken => (
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "The body broke off, or its framing is wrong",
            ),
        };
        Self::new(status, code, message)
    }
}

impl<Invoke, Invocation> Gateway<Invoke>
where
    Invoke: Fn(Value) -> Invocation,
    Invocation: Future<Output = Result<Value, String>>,
{
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let (mut parts, body) = request.into_parts();
        let request_id = Uuid::new_v4().to_string();
        let answer = self.invoke(&mut parts, body, peer, &request_id).await;
        answer.unwrap_or_else(|refusal| {
            let Refusal {
                status,
                code,
                message,
            } = refusal;
            debug!(status = status.as_u16(), code, request_id, "not passed on");
            let mut answer = response::problem_of(status, code, &message, &[], &request_id);
            let fields = answer.headers_mut();
            response::add_common_fields(fields, &parts.headers, &self.settings.origins);
            if status == StatusCode::REQUEST_TIMEOUT {
                fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            answer.map(Full::from)
        })
    }

    async fn invoke(
        &self,
        parts: &mut Parts,
        body: Incoming,
        peer: SocketAddr,
        request_id: &str,
    ) -> Result<Response, Refusal> {
        match self.settings.takes {
            Takes::All => {}
            Takes::NoneOfForeignPages => self.refuse_foreign_pages(parts)?,
        }
        let caller = match parts.headers.remove(LOCAL_CALLER) {
            None => self.settings.caller.clone(),
            Some(named) => match named.to_str().unwrap_or_default().parse() {
                Ok(named) => Some(named),
                Err(message) => {
                    let message = format!("X-Local-Caller {message}");
                    let status = StatusCode::BAD_REQUEST;
                    return Err(Refusal::new(status, "invalid_header", message));
                }
            },
        };
        let body = http::read(body, MAX_BODY_BYTES, self.settings.timeouts.body).await?;
        let event = proxy_event(parts, &body, peer, caller.as_ref(), request_id);
        let _sandbox = self.sandboxes.acquire().await;
        match (self.invoke)(event).await {
            Ok(response) => http_response(&response).ok_or_else(Refusal::bad_gateway),
            Err(_) => Err(Refusal::bad_gateway()),
        }
    }

    fn refuse_foreign_pages(&self, parts: &Parts) -> Result<(), Refusal> {
        let is_served = |host: &str| {
            let is_address =
                |address| address == self.address.to_canonical() || self.address.is_unspecified();
            is_loopback(host) || address(host).is_some_and(is_address)
        };
        if !http::is_for(parts, is_served) {
            return Err(Refusal::denied(
                "This server answers only for localhost and the address that it listens on; \
                 send it as Host",
            ));
        }
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let own = response::serialized(&format!("http://{host}"));
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        if !origins
            .all(|origin| own.as_ref() == Some(origin) || self.settings.origins.allow(origin))
        {
            return Err(Refusal::denied(
                "Pages of this origin may not call this server; name it in ALLOWED_ORIGINS \
                 where the server is started",
            ));
        }
        Ok(())
    }
}

/// The REST proxy event for a request of `caller`, or of a service that signs its requests
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html>).
fn proxy_event(
    parts: &Parts,
    body: &Bytes,
    peer: SocketAddr,
    caller: Option<&LocalCaller>,
    request_id: &str,
) -> Value {
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
                "sourceIp": peer.ip().to_string(),
                "userAgent": parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
            },
            "path": path,
            "protocol": format!("{:?}", parts.version),
            "requestId": request_id,
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

/// The answer that a proxy response stands for, if it stands for one.
fn http_response(response: &Value) -> Option<Response> {
    let status = response["statusCode"].as_u64()?;
    let status = StatusCode::from_u16(status.try_into().ok()?).ok()?;
    let body = response["body"].as_str().unwrap_or_default().to_owned();
    let mut answer = Response::new(Full::from(body));
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
    Some(answer)
}
