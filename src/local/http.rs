//! HTTP/1.1 on this machine, for the gateway and the embedded DynamoDB. Every wait for a
//! client has a limit.

use std::{convert::Infallible, error::Error, net::SocketAddr, pin::pin, time::Duration};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::HOST,
    http::{request::Parts, uri::Authority},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, time::timeout};

/// How long a server waits after it failed to accept a connection, for example because there
/// are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a server waits for a client.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The time for the head of a request. It begins when the connection opens or the last answer
    /// is sent. When it is over, the connection is closed.
    pub head: Duration,
    /// The time for the whole body. It begins at the end of the head. When it is over, the request
    /// is answered with 408 and the connection is closed.
    pub body: Duration,
}

/// 10 seconds for a head and 30 for a body.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
        }
    }
}

/// Serves `listener` until `stop` resolves, then lets running requests end.
pub(super) async fn serve<Handle, Answer>(
    listener: TcpListener,
    head_timeout: Duration,
    handle: Handle,
    stop: impl Future<Output = ()>,
) where
    Handle: Fn(Request<Incoming>, SocketAddr) -> Answer + Clone + Send + 'static,
    Answer: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let answer = handle(request, peer);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    connections.shutdown().await;
}

/// Whether a request names a host, in its target or its `Host` (RFC 9110 section 7.2), and `serves`
/// accepts each host that it names. `serves` gets the host without the port.
pub(super) fn is_for(head: &Parts, serves: impl Fn(&str) -> bool) -> bool {
    let target = head.uri.authority().cloned().map(Some);
    let fields = head
        .headers
        .get_all(HOST)
        .iter()
        .map(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let mut hosts = target.into_iter().chain(fields).peekable();
    let is_served = |host: Authority| !host.as_str().contains('@') && serves(host.host());
    hosts.peek().is_some() && hosts.all(|host| host.is_some_and(is_served))
}

/// Why a body was not read.
pub(super) enum BodyError {
    /// It is over the limit.
    TooLarge,
    /// It did not come in time.
    Late,
    /// It broke off, or its framing is wrong.
    Broken,
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    body: Incoming,
    limit: usize,
    body_timeout: Duration,
) -> Result<Bytes, BodyError> {
    let body: Result<_, Box<dyn Error + Send + Sync>> =
        timeout(body_timeout, Limited::new(body, limit).collect())
            .await
            .map_err(|_| BodyError::Late)?;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}
