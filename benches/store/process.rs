//! `user-service` as a process that keeps its users in a file.

use std::{fs, path::Path, process::Stdio};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A running `user-service`. It is killed when this is dropped.
pub struct Service {
    child: Child,
    /// The service needs a reader of its standard output as long as it runs.
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What is resident now.
    pub resident: f64,
    /// The most that was resident.
    pub peak: f64,
}

impl Service {
    /// Starts the service on `file`, and waits until it listens. Its log is beside the file.
    pub async fn start(file: &Path) -> Self {
        let log = fs::File::create(file.with_extension("log")).expect("the folder is writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_user-service"))
            .args(["--port", "0", "--no-sample", "--data"])
            .arg(file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("user-service starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let url = loop {
            let line = stdout.next_line().await.expect("the service writes text");
            let Some(line) = line else {
                let log = fs::read_to_string(file.with_extension("log"));
                panic!("the service does not listen: {}", log.unwrap_or_default());
            };
            if let Some((_, url)) = line.split_once("listens on ") {
                break url.to_owned();
            }
        };
        Self {
            child,
            _stdout: stdout,
            url,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// A request to the service. An empty `body` is none.
    pub fn request(&self, method: Method, path: &str, body: String) -> Request<Full<Bytes>> {
        let content_type = match method == Method::PATCH {
            true => "application/merge-patch+json",
            false => "application/json",
        };
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", content_type)
            .body(Full::from(body))
            .expect("the request is well-formed")
    }

    /// The answer to a request, once all of it is there.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
        let answer = self.client.request(request).await;
        let (head, body) = answer.expect("the service answers").into_parts();
        let body = body.collect().await.expect("the answer is complete");
        (head.status, body.to_bytes())
    }

    /// The memory that the process uses.
    pub fn memory(&self) -> Memory {
        let id = self.child.id().expect("the service runs");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("this is Linux");
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            let kib: f64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or_default();
            kib / 1024.0
        };
        Memory {
            resident: mib("VmRSS:"),
            peak: mib("VmHWM:"),
        }
    }

    /// Stops the service, and waits until its file is closed.
    pub async fn stop(mut self) {
        self.child.kill().await.expect("the service can be killed");
    }
}
