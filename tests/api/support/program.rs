//! `user-service` as a process.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use user_service::local::dynamodb::{AccessKeyId, EmbeddedDynamoDb};

use super::{Service, log_file};

/// The command of `cargo run`, without the environment of this process.
pub fn user_service(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-service"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A running `user-service`.
pub struct Running {
    child: Child,
    /// The rest of its standard output.
    pub stdout: Lines<BufReader<ChildStdout>>,
    /// The first lines of its standard output.
    pub greeting: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    log: PathBuf,
}

impl Running {
    /// Starts it, and waits for its greeting.
    pub async fn start(mut command: Command) -> Self {
        let (log, file) = log_file("user-service");
        command.stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        while let Some(line) = stdout.next_line().await.unwrap() {
            greeting.push(line);
            if greeting.last().unwrap().contains("Ctrl-C") {
                break;
            }
        }
        let (_, address) = greeting
            .iter()
            .find_map(|line| line.split_once("listens on http://"))
            .unwrap_or_else(|| panic!("{greeting:?}"));
        let address = address.parse().unwrap();
        Self {
            child,
            stdout,
            greeting,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            log,
        }
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a request. Returns the status, the header fields and the JSON of the answer, which is
    /// null if the body is empty.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, HeaderMap, Value) {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body.is_null() {
            true => String::new(),
            false => body.to_string(),
        };
        let request = request.body(Full::from(body)).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (parts.status.as_u16(), parts.headers, body)
    }

    /// The status and the JSON of the answer to a `GET`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send(Method::GET, path, &[], &Value::Null).await;
        (status, body)
    }

    /// Creates a user with this `userId`.
    pub async fn create(&self, id: &str) {
        let user = json!({ "userId": id, "name": "Ada canary", "email": "ada.canary@example.com" });
        let created = self.send(Method::POST, "/users", &[], &user).await;
        assert_eq!(created.0, 201);
    }

    /// Sends it a signal, and returns its exit code.
    pub async fn signal(&mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args([signal, &id])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        self.child.wait().await.unwrap().code()
    }
}

/// The output of a command that ends by itself.
pub async fn output(mut command: Command) -> Output {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    output.expect("it runs on").unwrap()
}

/// A command on the tables of a service.
pub fn on_tables_of(service: &Service, arguments: &[&str]) -> Command {
    let mut command = user_service(arguments);
    command
        .args(["--table", service.table()])
        .args(["--emails-table", service.emails_table()])
        .args(["--deleted-users-table", service.deleted_users_table()])
        .args(["--history-table", service.history_table()])
        .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    command
}

/// Runs a command on the tables of a service, and returns what it says.
pub async fn run(service: &Service, arguments: &[&str]) -> String {
    run_with_progress(service, arguments).await.0
}

/// The same, with what it says on its way.
pub async fn run_with_progress(service: &Service, arguments: &[&str]) -> (String, String) {
    let output = output(on_tables_of(service, arguments)).await;
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// The one line that a command writes to its standard error.
pub fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Two embedded DynamoDBs. The first has the user `canary-7`.
pub async fn two_dynamodbs() -> (EmbeddedDynamoDb, EmbeddedDynamoDb) {
    let dynamodbs = (
        EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
            .await
            .unwrap(),
        EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
            .await
            .unwrap(),
    );
    for (dynamodb, is_first) in [(&dynamodbs.0, true), (&dynamodbs.1, false)] {
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
        let service = Running::start(command).await;
        if is_first {
            service.create("canary-7").await;
        }
    }
    dynamodbs
}
