//! A gateway on this machine: turns each HTTP request into the REST proxy event that API Gateway
//! would send, and the proxy response into an HTTP answer.

mod caller;
mod event;
mod health;
mod served;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    header::{CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN},
    http::request::Parts,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::debug;
use uuid::Uuid;

pub use self::{caller::LocalCaller, served::Served};
use crate::{
    http::{
        Api, answer,
        base_path::BasePath,
        cors::{self, AllowedOrigins},
        host::{address, is_loopback},
        problem::problem,
    },
    lambda::{Function, NotHttp},
    local::http::{self, BodyError, Timeouts},
    store::UserStore,
};

type Response = hyper::Response<Full<Bytes>>;

/// API Gateway's limit for a body: 10 MB
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>).
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The maximum number of invocations at a time. A DynamoDB on one machine can process only a few
/// calls at a time. With more invocations, calls would time out, and retries would add to the load.
const MAX_INVOCATIONS: usize = 8;

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The caller of a request without `X-Local-Caller`. `None` means a service, which may do
    /// everything.
    pub caller: Option<LocalCaller>,
    /// Which requests it accepts.
    pub takes: Takes,
    /// The origins whose pages may read the gateway's own answers.
    pub origins: AllowedOrigins,
    /// How long it waits for a client.
    pub timeouts: Timeouts,
    /// The store whose health `GET /healthz?store` tells. Without it, there is no such path.
    pub health: Option<UserStore>,
    /// Counts the answers.
    pub served: Arc<Served>,
}

/// Which requests a gateway accepts. It answers all others with 403, and does not call the
/// function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// All requests, as API Gateway does. (API Gateway also authenticates the caller.)
    All,
    /// Requests that no page of another site can send. The host must be loopback or the address
    /// that the gateway listens on. If the gateway listens on all addresses, the host may be any IP
    /// address, because DNS rebinding needs a name. `Origin`, if sent, must be the gateway's own
    /// origin or an allowed origin.
    NoneOfForeignPages,
}

/// The service as a function for [`serve`]. Its contract has the header field `X-Local-Caller`.
pub fn invoke(
    api: Api,
    base_path: BasePath,
) -> impl Fn(Value) -> BoxFuture<'static, Result<Value, NotHttp>> + Clone + Send + Sync {
    let api = api.with_gateway_header(caller::HEADER_FIELD);
    let function = Arc::new(Function::new(api, base_path));
    move |event| {
        let function = Arc::clone(&function);
        Box::pin(async move { function.invoke(event).await })
    }
}

/// Serves `listener` until `stop` resolves, then lets running requests end.
///
/// `invoke` is the function behind the gateway. It takes an event, and returns the proxy response.
/// If it fails, or returns something else, the client gets 502.
///
/// # Errors
/// Those of the listener.
pub async fn serve<Invoke, Invocation, Failure>(
    listener: TcpListener,
    invoke: Invoke,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    Invoke: Fn(Value) -> Invocation + Clone + Send + Sync + 'static,
    Invocation: Future<Output = Result<Value, Failure>> + Send + 'static,
    Failure: Send + 'static,
{
    let head_timeout = settings.timeouts.head;
    let gateway = Arc::new(Gateway {
        address: listener.local_addr()?.ip(),
        invoke,
        settings,
        invocations: Semaphore::new(MAX_INVOCATIONS),
    });
    let answer = move |request, peer| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.answer(request, peer).await }
    };
    http::serve(listener, head_timeout, answer, stop).await;
    Ok(())
}

struct Gateway<Invoke> {
    /// The address that the gateway listens on.
    address: IpAddr,
    invoke: Invoke,
    settings: Settings,
    invocations: Semaphore,
}

impl<Invoke, Invocation, Failure> Gateway<Invoke>
where
    Invoke: Fn(Value) -> Invocation,
    Invocation: Future<Output = Result<Value, Failure>>,
{
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let (mut head, body) = request.into_parts();
        let request_id = Uuid::new_v4().to_string();
        let answer = self.pass_on(&mut head, body, peer, &request_id).await;
        let answer = answer.unwrap_or_else(|refusal| self.refuse(&refusal, &head, &request_id));
        self.settings.served.count(answer.status());
        answer
    }

    async fn pass_on(
        &self,
        head: &mut Parts,
        body: Incoming,
        peer: SocketAddr,
        request_id: &str,
    ) -> Result<Response, Refusal> {
        match self.settings.takes {
            Takes::All => {}
            Takes::NoneOfForeignPages => self.check_host_and_origin(head)?,
        }
        if let (health::PATH, Some(store)) = (head.uri.path(), &self.settings.health) {
            return health::answer(head, store).await;
        }
        let caller = self.caller(head)?;
        let body = http::read(body, MAX_BODY_BYTES, self.settings.timeouts.body).await?;
        let event = event::from_request(head, &body, peer, caller.as_ref(), request_id);
        let _permit = self.invocations.acquire().await;
        let response = (self.invoke)(event).await.ok();
        response
            .and_then(|response| event::into_response(&response))
            .ok_or_else(bad_gateway)
    }

    /// The caller that the request names, or else the caller of the settings.
    fn caller(&self, head: &mut Parts) -> Result<Option<LocalCaller>, Refusal> {
        let Some(named) = head.headers.remove(caller::HEADER) else {
            return Ok(self.settings.caller.clone());
        };
        let named = named.to_str().unwrap_or_default();
        named.parse().map(Some).map_err(wrong_caller)
    }

    fn check_host_and_origin(&self, head: &Parts) -> Result<(), Refusal> {
        let is_own = |address: IpAddr| {
            address == self.address.to_canonical() || self.address.is_unspecified()
        };
        let is_served = |host: &str| is_loopback(host) || address(host).is_some_and(is_own);
        if !http::is_for(head, is_served) {
            return Err(access_denied(
                "This server answers only for localhost and the address that it listens on; \
                 send it as Host",
            ));
        }
        let host = head.headers.get(HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let own = cors::serialized(&format!("http://{host}"));
        let is_allowed =
            |origin| own.as_ref() == Some(origin) || self.settings.origins.allow(origin);
        if !head.headers.get_all(ORIGIN).iter().all(is_allowed) {
            return Err(access_denied(
                "Pages of this origin may not call this server; name it in ALLOWED_ORIGINS \
                 where the server is started",
            ));
        }
        Ok(())
    }

    fn refuse(&self, refusal: &Refusal, head: &Parts, request_id: &str) -> Response {
        let Refusal {
            status,
            code,
            message,
            header,
        } = refusal;
        debug!(status = status.as_u16(), code, request_id, "not passed on");
        let mut answer = problem(*status, code, message, &[], request_id);
        let fields = answer.headers_mut();
        answer::add_common_fields(fields, &head.headers, &self.settings.origins);
        if let Some((name, value)) = header {
            fields.insert(name, value.clone());
        }
        answer.map(Full::from)
    }
}

/// An answer of the gateway itself.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// A header field of its own.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            header: None,
        }
    }
}

fn access_denied(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "access_denied", message)
}

fn wrong_caller(problem: &str) -> Refusal {
    let message = format!("X-Local-Caller {problem}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_header", message)
}

fn bad_gateway() -> Refusal {
    let message = "The service failed; this is not your request's fault";
    Refusal::new(StatusCode::BAD_GATEWAY, "internal_error", message)
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
        let header = match error {
            BodyError::Late => Some((CONNECTION, HeaderValue::from_static("close"))),
            BodyError::TooLarge | BodyError::Broken => None,
        };
        Self {
            header,
            ..Self::new(status, code, message)
        }
    }
}
