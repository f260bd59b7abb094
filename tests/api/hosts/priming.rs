//! The connection that the Lambda binary opens during init, and the roots that it trusts.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::support::{
    Service,
    events::rest_event,
    log_file,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
    tls::TlsFront,
};

const PRIMING_KEY: &str = "user-service/priming";

/// A process of the Lambda binary, with its DynamoDB behind TLS.
struct Function {
    service: Service,
    tls: TlsFront,
    runtime_api: RuntimeApi,
    sandbox: Sandbox,
    log: PathBuf,
}

impl Function {
    /// Starts it. `disturb` is done to DynamoDB before.
    async fn start(environment: &[(&str, &str)], disturb: impl FnOnce(&Service)) -> Self {
        let service = Service::start().await;
        let tls = TlsFront::start(&service.store().endpoint_url()).await;
        service.store().take_calls();
        disturb(&service);
        let (log, file) = log_file("lambda");
        let runtime_api = RuntimeApi::start().await.unwrap();
        let (endpoint, root) = (tls.endpoint_url(), tls.root());
        let mut complete = service.table_variables().to_vec();
        complete.extend([
            ("AUTH_MODE", "IAM"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
            ("SSL_CERT_FILE", root.to_str().unwrap()),
            ("PRIMING", ""), // the default
        ]);
        complete.extend(environment);
        let sandbox = runtime_api
            .start_sandbox(env!("CARGO_BIN_EXE_user-service-lambda"), complete, file)
            .unwrap();
        Self {
            service,
            tls,
            runtime_api,
            sandbox,
            log,
        }
    }

    /// The status of the answer to a `GET` of a user who is not there.
    async fn get(&self) -> Value {
        let event = rest_event("GET", "/users/nobody").to_string();
        let time = Duration::from_secs(30);
        match self.runtime_api.invoke(event, time).await.unwrap() {
            Outcome::Response(response) => response["statusCode"].clone(),
            Outcome::Error(error) => panic!("{error}"),
        }
    }

    /// The keys that it has read from DynamoDB since this was last asked.
    fn take_keys(&self) -> Vec<String> {
        let bodies = self.service.store().take_bodies();
        let key = |body: &Value| body["Key"]["userId"]["S"].as_str().unwrap().to_owned();
        bodies.iter().map(key).collect()
    }

    /// The messages in its log, with the causes.
    fn log(&self) -> Vec<(String, String)> {
        let log = fs::read_to_string(&self.log).unwrap();
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .map(|line: Value| (text(&line, "message"), text(&line, "cause")))
            .collect()
    }
}

#[tokio::test]
async fn the_function_opens_its_connection_during_init_and_the_first_request_uses_it() {
    let function = Function::start(&[], |_| ()).await;
    function.runtime_api.polled().await;
    assert_eq!(function.take_keys(), [PRIMING_KEY]);
    assert_eq!(function.get().await, 404);
    assert_eq!(function.take_keys(), ["nobody"]);
    assert_eq!(function.tls.handshakes(), 1);
    assert_eq!(function.log()[0].0, "primed");
}

#[tokio::test]
async fn the_function_calls_dynamodb_only_for_a_request_if_priming_is_off() {
    let function = Function::start(&[("PRIMING", "off")], |_| ()).await;
    assert_eq!(function.get().await, 404);
    assert_eq!(function.take_keys(), ["nobody"]);
    assert_eq!(function.log().len(), 1, "{:?}", function.log());
}

#[tokio::test]
async fn the_function_works_if_dynamodb_does_not_answer_during_init() {
    let function = Function::start(&[], |service| service.store().hang_next_call()).await;
    assert_eq!(function.get().await, 404);
    assert_eq!(function.take_keys(), [PRIMING_KEY, "nobody"]);
    let (message, cause) = &function.log()[0];
    assert_eq!(message, "not primed");
    assert!(cause.contains("did not answer"), "{cause}");
}

#[tokio::test]
async fn the_function_works_if_dynamodb_was_gone_during_init() {
    let service = Service::start().await;
    service.store().stop().await;
    let endpoint = service.store().endpoint_url();
    let (log, file) = log_file("lambda");
    let runtime_api = RuntimeApi::start().await.unwrap();
    let mut environment = service.table_variables().to_vec();
    environment.extend([
        ("AUTH_MODE", "IAM"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
        ("PRIMING", "on"),
    ]);
    let _sandbox = runtime_api
        .start_sandbox(env!("CARGO_BIN_EXE_user-service-lambda"), environment, file)
        .unwrap();
    runtime_api.polled().await;
    assert!(fs::read_to_string(log).unwrap().contains("not primed"));
    service.store().restart();
    let event = rest_event("GET", "/users/nobody").to_string();
    let time = Duration::from_secs(30);
    let outcome = runtime_api.invoke(event, time).await.unwrap();
    assert!(matches!(outcome, Outcome::Response(response) if response["statusCode"] == 404));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_the_function_was_frozen_costs_at_most_one_retry() {
    let function = Function::start(&[], |_| ()).await;
    assert_eq!(function.get().await, 404);
    function.take_keys();
    function.sandbox.freeze().await.unwrap();
    function.service.store().stop().await;
    function.service.store().restart();
    function.sandbox.thaw().await.unwrap();
    assert_eq!(function.get().await, 404);
    let calls = function.take_keys();
    assert!((1..=2).contains(&calls.len()), "{calls:?}");
    assert_eq!(function.tls.handshakes(), 2);
}

#[tokio::test]
async fn a_connection_that_was_lost_while_the_function_was_frozen_costs_one_retry() {
    let function = Function::start(&[], |_| ()).await;
    assert_eq!(function.get().await, 404);
    function.take_keys();
    function.sandbox.freeze().await.unwrap();
    function.service.store().hang_next_call();
    function.sandbox.thaw().await.unwrap();
    assert_eq!(function.get().await, 404);
    assert_eq!(function.take_keys(), ["nobody", "nobody"]);
    assert_eq!(function.tls.handshakes(), 2);
}

#[tokio::test]
async fn the_function_refuses_a_dynamodb_without_a_trusted_root_and_the_log_names_the_switch() {
    let function = Function::start(&[("TRUSTED_ROOTS", "amazon")], |_| ()).await;
    assert_eq!(function.get().await, 500);
    assert_eq!(function.take_keys(), [""; 0]);
    assert_eq!(function.tls.handshakes(), 0);
    let log = function.log();
    assert_eq!(log[0].0, "not primed");
    for (_, cause) in &log {
        assert!(cause.contains("TRUSTED_ROOTS=system"), "{cause}");
    }
}
