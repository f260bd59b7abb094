//! What is measured of one handler.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    handlers::Handler,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
    stub::Stub,
};

/// How many requests follow the first one.
const WARM_REQUESTS: usize = 200;

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
    pub first_primed: Vec<f64>,
    /// The medians of the warm requests of each start, over plain HTTP, in ms.
    pub warm: Vec<f64>,
    /// The processor time of a warm request, in µs.
    pub cpu: Vec<f64>,
    /// The peak of the resident set after the warm requests, in MiB.
    pub peak_rss: Vec<f64>,
}

/// Starts `handler` twice: over plain HTTP without priming, and over TLS with it.
pub async fn round(handler: &Handler, stub: &Stub, samples: &mut Samples) {
    let plain = Start::of(handler, stub, &stub.http, "off").await;
    samples.init.push(ms(plain.init));
    samples.first.push(ms(plain.invoke().await));
    let cpu = plain.cpu();
    let mut warm = Vec::new();
    for _ in 0..WARM_REQUESTS {
        warm.push(ms(plain.invoke().await));
    }
    let used = plain.cpu().saturating_sub(cpu);
    samples.warm.push(median(&warm));
    samples.cpu.push(ms(used) * 1000.0 / WARM_REQUESTS as f64);
    samples.peak_rss.push(plain.peak_rss());
    plain.end().await;
    if handler.calls_dynamodb {
        let primed = Start::of(handler, stub, &stub.https, "on").await;
        let first = primed.invoke().await;
        samples.spawn_to_answer.push(ms(primed.init + first));
        samples.first_primed.push(ms(first));
        primed.end().await;
    }
}

/// The median of `values`, or 0 if there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A started process.
struct Start {
    runtime_api: RuntimeApi,
    sandbox: Sandbox,
    init: Duration,
    event: String,
}

impl Start {
    async fn of(handler: &Handler, stub: &Stub, endpoint: &str, priming: &str) -> Self {
        let runtime_api = RuntimeApi::start().await.expect("a port is free");
        let root = stub.root();
        let environment = [
            ("TABLE_NAME", "UserData"),
            ("EMAILS_TABLE_NAME", "UserEmails"),
            ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
            ("AUTH_MODE", "IAM"),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("SSL_CERT_FILE", root.to_str().expect("the path is UTF-8")),
            ("PRIMING", priming),
        ];
        let log = tempfile::tempfile().expect("a temporary file is made");
        let program = handler.program.to_str().expect("the path is UTF-8");
        let started = Instant::now();
        let sandbox = runtime_api
            .start_sandbox(program, environment, log)
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let polled = tokio::time::timeout(Duration::from_secs(10), runtime_api.polled()).await;
        assert!(
            polled.is_ok(),
            "{program} has not asked for an event in 10 s"
        );
        Self {
            init: started.elapsed(),
            runtime_api,
            sandbox,
            event: event().to_string(),
        }
    }

    /// The time of one answer.
    async fn invoke(&self) -> Duration {
        let started = Instant::now();
        let outcome = self
            .runtime_api
            .invoke(self.event.clone(), Duration::from_secs(30))
            .await;
        let time = started.elapsed();
        match outcome {
            Ok(Outcome::Response(response)) => assert_eq!(response["statusCode"], 200),
            Ok(Outcome::Error(error)) => panic!("the handler failed: {error}"),
            Err(error) => panic!("the handler did not answer: {error}"),
        }
        time
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
