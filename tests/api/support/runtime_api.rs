//! A Lambda Runtime API: what a function's process asks for its events
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
//!
//! Any number of processes can poll one [`RuntimeApi`], as the sandboxes of one
//! function do; each event goes to one of them.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Notify, mpsc, oneshot},
};

/// What Lambda takes of a response: the 6 MB of
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>, as its
/// error message counts them.
pub const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// How an invocation ended.
#[derive(Debug)]
pub enum Outcome {
    /// The function's response.
    Response(Value),
    /// The function's error: a client of API Gateway sees a 502.
    Error(Value),
}

/// A running Runtime API.
#[derive(Clone, Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    polls: Notify,
}

#[derive(Debug)]
struct Invocation {
    request_id: String,
    event: String,
    deadline: SystemTime,
    outcome: oneshot::Sender<Outcome>,
}

impl RuntimeApi {
    /// Starts one on a free port.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(receiver),
            running: Mutex::default(),
            polls: Notify::new(),
        });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(respond),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(fail))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self {
            address,
            events: sender,
            shared,
        })
    }

    /// Waits until a process has asked for an event: its init is over then.
    pub async fn polled(&self) {
        self.shared.polls.notified().await;
    }

    /// Sends `event` to the function, which has `time` to answer, and waits for
    /// the outcome.
    ///
    /// # Errors
    /// Says that there is no outcome: the function has had twice that time.
    pub async fn invoke(&self, event: String, time: Duration) -> Result<Outcome, String> {
        let (sender, receiver) = oneshot::channel();
        let invocation = Invocation {
            request_id: uuid::Uuid::new_v4().to_string(),
            event,
            deadline: SystemTime::now() + time,
            outcome: sender,
        };
        self.events
            .send(invocation)
            .map_err(|_| "the Runtime API has ended")?;
        let outcome = tokio::time::timeout(2 * time, receiver).await;
        outcome
            .map_err(|_| "no outcome in twice the time")?
            .map_err(|_| "the outcome was lost".into())
    }

    /// Ends each invocation that a process has taken: its process is gone.
    #[allow(dead_code, reason = "the benchmark kills no process")]
    pub fn lose_running(&self) {
        self.shared.running(HashMap::clear);
    }

    /// Starts a process of the function `program` that takes its events here.
    /// `environment` is added to what Lambda sets; nothing else is passed on.
    pub fn start_sandbox<'a>(
        &self,
        program: &str,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        log: std::fs::File,
    ) -> std::io::Result<Sandbox> {
        self.start_process(Command::new(program), environment, log)
    }

    /// As [`RuntimeApi::start_sandbox`], for a program that takes arguments.
    pub fn start_process<'a>(
        &self,
        mut command: Command,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        log: std::fs::File,
    ) -> std::io::Result<Sandbox> {
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", self.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "user-service")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("PRIMING", "off") // tests count calls
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        Ok(Sandbox(command.spawn()?))
    }
}

/// A process of the function. It is killed when this is dropped.
#[derive(Debug)]
pub struct Sandbox(Child);

impl Sandbox {
    /// Freezes the process, as Lambda does between two events.
    pub async fn freeze(&self) -> std::io::Result<()> {
        self.signal("STOP").await
    }

    /// Lets a frozen process go on.
    pub async fn thaw(&self) -> std::io::Result<()> {
        self.signal("CONT").await
    }

    /// Asks the process to end.
    #[allow(dead_code, reason = "the benchmark uses it")]
    pub async fn terminate(&self) -> std::io::Result<()> {
        self.signal("TERM").await
    }

    /// The id of the process, if it has not ended.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    async fn signal(&self, signal: &str) -> std::io::Result<()> {
        let process = self.id().ok_or(std::io::ErrorKind::NotFound)?;
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{signal} {process}")]);
        let status = kill.status().await?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| std::io::Error::other("kill failed"))
    }

    /// Kills the process, as `kill -9` does.
    pub async fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill().await
    }

    /// Waits until the process has ended, which it is to do in 10 seconds.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        tokio::time::timeout(Duration::from_secs(10), self.0.wait()).await?
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.polls.notify_one();
    let Some(invocation) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = invocation
        .deadline
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let headers = [
        ("content-type", String::from("application/json")),
        (
            "lambda-runtime-aws-request-id",
            invocation.request_id.clone(),
        ),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            String::from("arn:aws:lambda:us-east-1:000000000000:function:user-service"),
        ),
        (
            "lambda-runtime-trace-id",
            String::from("Root=1-5759e988-bd862e3fe1be46a994272793"),
        ),
    ];
    shared.running(|running| running.insert(invocation.request_id, invocation.outcome));
    (headers, invocation.event).into_response()
}

async fn respond(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    if body.len() > MAX_RESPONSE_BYTES {
        let error = json!({ "errorType": "Function.ResponseSizeTooLarge" });
        shared.finish(&id, Outcome::Error(error));
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    shared.finish(
        &id,
        Outcome::Response(serde_json::from_slice(&body).unwrap_or_default()),
    )
}

async fn fail(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    shared.finish(
        &id,
        Outcome::Error(serde_json::from_slice(&body).unwrap_or_default()),
    )
}

impl Shared {
    fn running<T>(
        &self,
        change: impl FnOnce(&mut HashMap<String, oneshot::Sender<Outcome>>) -> T,
    ) -> T {
        change(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn finish(&self, id: &str, outcome: Outcome) -> StatusCode {
        match self.running(|running| running.remove(id)) {
            Some(sender) => {
                // The invoker may have given up, which is no fault of the function.
                let _ = sender.send(outcome);
                StatusCode::ACCEPTED
            }
            None => StatusCode::NOT_FOUND,
        }
    }
}
