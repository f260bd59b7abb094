//! What is measured of one handler.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{
    handlers::{Handler, Kind},
    limit::{Limit, PERCENT},
    runtime_api::{Outcome, RuntimeApi, Sandbox},
    statistics::quantile,
    stub::Stub,
};

/// How many requests follow the first one.
const WARM_REQUESTS: usize = 200;

/// How many requests follow the first one where the processor is limited.
const LIMITED_REQUESTS: usize = 50;

/// The samples of one handler. A figure of a handler that does not call DynamoDB can be empty.
#[derive(Debug, Default)]
pub struct Samples {
    /// From spawn to the first poll of the Runtime API, without priming, in ms.
    pub init: Vec<f64>,
    /// The first answer after that, over plain HTTP, in ms.
    pub first: Vec<f64>,
    /// From spawn to the first answer, over TLS 1.3, with priming where the handler has it, in ms.
    pub spawn_to_answer: Vec<f64>,
    /// The first answer of those starts, in ms.
    pub first_tls: Vec<f64>,
    /// The medians of the warm requests of each start, over plain HTTP, in ms.
    pub warm: Vec<f64>,
    /// The processor time of a warm request, in µs.
    pub cpu: Vec<f64>,
    /// The first answer over TLS, with priming where the handler has it, and with a limited processor
    /// from the first poll on, in ms.
    pub first_limited: Vec<f64>,
    /// That answer ÷ the median of the warm requests of that start.
    pub first_by_warm_limited: Vec<f64>,
    /// The peak of the resident set after the warm requests, in MiB.
    pub peak_rss: Vec<f64>,
    /// The size of the code, in MB.
    pub size: Vec<f64>,
}

/// Starts `handler` three times: over plain HTTP without priming, over TLS with it, and over TLS with a
/// limited processor.
pub async fn round(handler: &Handler, stub: &Stub, limit: Option<&Limit>, samples: &mut Samples) {
    let plain = Start::of(handler, stub, Mode::Plain, None).await;
    samples.init.push(ms(plain.init));
    samples.first.push(ms(plain.invoke().await));
    let cpu = plain.cpu();
    let mut warm = Vec::new();
    for _ in 0..WARM_REQUESTS {
        warm.push(ms(plain.invoke().await));
    }
    let used = plain.cpu().saturating_sub(cpu);
    samples.warm.push(quantile(&warm, 0.5));
    samples.cpu.push(ms(used) * 1000.0 / WARM_REQUESTS as f64);
    samples.peak_rss.push(plain.peak_rss());
    plain.end().await;
    if handler.kind.calls_dynamodb() {
        let primed = Start::of(handler, stub, Mode::Tls, None).await;
        let first = primed.invoke().await;
        samples.spawn_to_answer.push(ms(primed.init + first));
        samples.first_tls.push(ms(first));
        primed.end().await;
        if let Some(limit) = limit {
            limited(handler, stub, limit, samples).await;
        }
    }
}

/// Starts `handler` over TLS with one processor, and limits it after init, as Lambda does.
async fn limited(handler: &Handler, stub: &Stub, limit: &Limit, samples: &mut Samples) {
    limit.set(100).expect("the group can be changed");
    let start = Start::of(handler, stub, Mode::Tls, Some(limit)).await;
    let mut times = Vec::new();
    for _ in 0..=LIMITED_REQUESTS {
        limit.set(PERCENT).expect("the group can be changed");
        times.push(ms(start.invoke().await));
    }
    let warm = quantile(&times[1..], 0.5);
    samples.first_limited.push(times[0]);
    samples.first_by_warm_limited.push(times[0] / warm);
    start.end().await;
}

/// The size of a file, or of all files below a folder, in MB.
pub fn size(path: &Path) -> f64 {
    fn bytes(path: &Path) -> u64 {
        let files = fs::read_dir(path).into_iter().flatten();
        match fs::symlink_metadata(path) {
            Ok(file) if file.is_file() => file.len(),
            _ => files.flatten().map(|file| bytes(&file.path())).sum(),
        }
    }
    bytes(path) as f64 / 1e6
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How a handler calls DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Over plain HTTP, without priming.
    Plain,
    /// Over TLS, with priming where the handler has it.
    Tls,
}

/// A started process.
pub struct Start {
    runtime_api: RuntimeApi,
    sandbox: Sandbox,
    init: Duration,
    event: String,
    log: NamedTempFile,
}

impl Start {
    /// Starts `handler`, within `limit` if there is one, and waits until it asks for an event.
    pub async fn of(handler: &Handler, stub: &Stub, mode: Mode, limit: Option<&Limit>) -> Self {
        let runtime_api = RuntimeApi::start().await.expect("a port is free");
        let (root, all_roots) = (stub.root(), stub.all_roots());
        let path = |path: &'_ Path| path.to_str().expect("the path is UTF-8").to_owned();
        let roots = if handler.kind.reads_roots_of_system() {
            path(&all_roots)
        } else {
            path(&root)
        };
        let (endpoint, priming) = match mode {
            Mode::Plain => (&stub.http, "off"),
            Mode::Tls => (&stub.https, "on"),
        };
        let mut environment = vec![
            ("TABLE_NAME", String::from("UserData")),
            ("EMAILS_TABLE_NAME", String::from("UserEmails")),
            (
                "IDEMPOTENCY_TABLE_NAME",
                String::from("UserIdempotencyKeys"),
            ),
            ("DELETED_USERS_TABLE_NAME", String::from("DeletedUsers")),
            ("HISTORY_TABLE_NAME", String::from("UserHistory")),
            ("AUTH_MODE", String::from("IAM")),
            ("AWS_DEFAULT_REGION", String::from("us-east-1")), // boto3 reads no other
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.clone()),
            ("SSL_CERT_FILE", roots.clone()),
            ("AWS_CA_BUNDLE", roots),             // Python
            ("NODE_EXTRA_CA_CERTS", path(&root)), // Node.js has the roots of the system in its binary
            ("PYTHONDONTWRITEBYTECODE", String::from("1")),
            ("PRIMING", String::from(priming)),
        ];
        if handler.kind == Kind::Service && mode == Mode::Plain {
            // It reads Amazon's roots, as on Lambda. Over TLS it has to trust the stub.
            environment.push(("TRUSTED_ROOTS", String::from("amazon")));
        }
        environment.extend(handler.environment.clone());
        let environment = environment.iter().map(|(name, it)| (*name, it.as_str()));
        let log = NamedTempFile::new().expect("a temporary file is made");
        let file = log.reopen().expect("it is open");
        let mut command = match limit {
            None => Command::new(&handler.program),
            Some(limit) => {
                // The shell becomes the handler, with the same id.
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
                shell.arg(limit.processes()).arg(&handler.program);
                shell
            }
        };
        command.args(&handler.arguments);
        let started = Instant::now();
        let mut sandbox = runtime_api
            .start_process(command, environment, file)
            .unwrap_or_else(|error| panic!("{:?} does not start: {error}", handler.program));
        let failure = tokio::select! {
            () = runtime_api.polled() => None,
            ended = sandbox.ended() => Some(ended),
        };
        let start = Self {
            init: started.elapsed(),
            runtime_api,
            sandbox,
            event: event().to_string(),
            log,
        };
        match failure {
            None => start,
            Some(Ok(status)) => start.fail(&format!("it ends in its init: {status}")),
            Some(Err(_)) => start.fail("it has not asked for an event in 10 s"),
        }
    }

    /// The time of one answer.
    pub async fn invoke(&self) -> Duration {
        let started = Instant::now();
        let outcome = self
            .runtime_api
            .invoke(self.event.clone(), Duration::from_secs(30))
            .await;
        let time = started.elapsed();
        match outcome {
            Ok(Outcome::Response(response)) if response["statusCode"] == 200 => time,
            Ok(Outcome::Response(response)) => self.fail(&format!("its response is {response}")),
            Ok(Outcome::Error(error)) => self.fail(&format!("its error is {error}")),
            Err(error) => self.fail(&format!("it has not answered: {error}")),
        }
    }

    /// Ends the benchmark, with the log of the handler.
    fn fail(&self, cause: &str) -> ! {
        let log = fs::read_to_string(self.log.path()).unwrap_or_default();
        panic!("a handler does not work: {cause}\n{log}");
    }

    /// The processor time of all threads of the process so far.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process()));
        let tasks = tasks.expect("this is Linux").filter_map(Result::ok);
        let ns = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(ns.sum())
    }

    /// The peak of the resident set, in MiB.
    fn peak_rss(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process()));
        let status = status.expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<f64>().ok())
            .unwrap_or_default()
            / 1024.0
    }

    fn process(&self) -> u32 {
        self.sandbox.id().expect("the handler runs")
    }

    /// Waits until the handler has asked for the next event.
    pub async fn polled(&self) {
        self.runtime_api.polled().await;
    }

    /// Lets the process end by itself, and returns what it has logged.
    pub async fn terminate(mut self) -> String {
        let terminated = self.sandbox.terminate().await;
        terminated.expect("the handler can be signalled");
        self.sandbox.ended().await.expect("the handler ends");
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    async fn end(mut self) {
        self.sandbox
            .kill()
            .await
            .expect("the handler can be killed");
    }
}

/// The event of `GET /users?userId=1` from a REST API.
fn event() -> serde_json::Value {
    json!({
        "resource": "/users",
        "path": "/users",
        "httpMethod": "GET",
        "headers": { "Accept": "*/*", "Host": "abc.execute-api.us-east-1.amazonaws.com" },
        "multiValueHeaders": {
            "Accept": ["*/*"], "Host": ["abc.execute-api.us-east-1.amazonaws.com"]
        },
        "queryStringParameters": { "userId": "1" },
        "multiValueQueryStringParameters": { "userId": ["1"] },
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abc",
            "domainName": "abc.execute-api.us-east-1.amazonaws.com",
            "httpMethod": "GET",
            "identity": {
                "sourceIp": "192.0.2.1",
                "userArn": "arn:aws:iam::000000000000:user/service"
            },
            "path": "/prod/users",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 0,
            "resourceId": "abc",
            "resourcePath": "/users",
            "stage": "prod"
        },
        "body": null,
        "isBase64Encoded": false
    })
}
