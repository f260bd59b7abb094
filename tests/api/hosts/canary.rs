//! The canary: a process of the Lambda binary that checks a new version before a deployment.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use crate::support::{
    Service,
    function::Function,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
};

/// The version that is checked, and the alias of the version that serves.
const TARGET: &str = "arn:aws:lambda:us-east-1:123456789012:function:users:7";
const SERVING: &str = "arn:aws:lambda:us-east-1:123456789012:function:users:live";

/// The two services of AWS that the canary calls. The function that it invokes is a process of the
/// Lambda binary.
#[derive(Clone)]
struct Aws {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// The versions, by their names.
    versions: [(&'static str, Function); 2],
    /// How often an invocation is refused before one is accepted.
    refusals: Mutex<u32>,
    /// Whether CodeDeploy refuses each report, because it knows the outcome.
    is_known: Mutex<bool>,
    /// The headers and the inputs of the calls of CodeDeploy.
    reports: Mutex<Vec<(HeaderMap, Value)>>,
}

impl Aws {
    async fn start(target: Function, serving: Function) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            versions: [(TARGET, target), (SERVING, serving)],
            refusals: Mutex::default(),
            is_known: Mutex::default(),
            reports: Mutex::default(),
        });
        let router = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route("/", post(report))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    fn reports(&self) -> Vec<(HeaderMap, Value)> {
        self.shared.reports.lock().unwrap().clone()
    }
}

fn is_signed(headers: &HeaderMap, service: &str) -> bool {
    let scope = format!("/us-east-1/{service}/aws4_request");
    let authorization = headers["authorization"].to_str().unwrap();
    authorization.starts_with("AWS4-HMAC-SHA256 ") && authorization.contains(&scope)
}

async fn invoke(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    event: String,
) -> Response {
    let mut versions = shared.versions.iter();
    let (_, version) = versions.find(|(other, _)| *other == name).unwrap();
    assert!(is_signed(&headers, "lambda"));
    let is_refused = {
        let mut refusals = shared.refusals.lock().unwrap();
        let is_refused = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        is_refused
    };
    if is_refused {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let (error, payload) = match version.invoke(event).await {
        Some(Outcome::Response(response)) => (None, response),
        Some(Outcome::Error(error)) => (Some("Unhandled"), error),
        None => {
            let error = json!({ "errorType": "Runtime.ExitError" });
            (Some("Unhandled"), error)
        }
    };
    let header = error.map(|error| ("x-amz-function-error", error));
    let mut response = payload.to_string().into_response();
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

async fn report(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    input: Bytes,
) -> (StatusCode, &'static str) {
    assert!(is_signed(&headers, "codedeploy"));
    let input = serde_json::from_slice(&input).unwrap();
    shared.reports.lock().unwrap().push((headers, input));
    match *shared.is_known.lock().unwrap() {
        true => (
            StatusCode::BAD_REQUEST,
            r#"{"__type":"LifecycleEventAlreadyCompletedException"}"#,
        ),
        false => (StatusCode::OK, "{}"),
    }
}

/// A new version, the version that serves, and the canary.
struct Deployment {
    aws: Aws,
    canary: RuntimeApi,
    /// It is not among the logs of the test run, in which this name is that of personal data.
    log: NamedTempFile,
    _sandbox: Sandbox,
}

impl Deployment {
    /// `function` and `canary` are added to the environments of the new version and the canary.
    async fn start(service: &Service, function: &[(&str, &str)], canary: &[(&str, &str)]) -> Self {
        let target = Function::start(service, function).await;
        let aws = Aws::start(target, Function::start(service, &[]).await).await;
        let canary_api = RuntimeApi::start().await.unwrap();
        let endpoint = format!("http://{}", aws.address);
        let mut environment = vec![
            ("CANARY_TARGET", TARGET),
            ("CANARY_SERVING", SERVING),
            ("CANARY_LIVES", "1"),
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ];
        environment.extend(canary);
        let log = NamedTempFile::new().unwrap();
        let file = log.reopen().unwrap();
        let canary = canary_api
            .start_sandbox(env!("CARGO_BIN_EXE_user-service-lambda"), environment, file)
            .unwrap();
        Self {
            aws,
            canary: canary_api,
            log,
            _sandbox: canary,
        }
    }

    /// Runs the hook, and returns the status that CodeDeploy was told.
    async fn check(&self) -> String {
        let event = json!({
            "DeploymentId": "d-1234", "LifecycleEventHookExecutionId": "execution",
        });
        let time = Duration::from_secs(300);
        let outcome = self.canary.invoke(event.to_string(), time).await.unwrap();
        assert!(matches!(outcome, Outcome::Response(_)), "{outcome:?}");
        let mut reports = self.aws.reports();
        let (headers, input) = reports.pop().unwrap();
        assert!(reports.is_empty());
        let target = "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus";
        assert_eq!(headers["x-amz-target"], target);
        assert_eq!(input["deploymentId"], "d-1234");
        assert_eq!(input["lifecycleEventHookExecutionId"], "execution");
        input["status"].as_str().unwrap().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }
}

/// Checks that there is neither a user nor a deleted user.
async fn nothing_is_left(service: &Service) {
    assert_eq!(
        service.get("/users?consistent=true").await.json()["items"],
        json!([])
    );
    assert_eq!(service.deleted_items().await, 0);
}

#[tokio::test]
async fn a_good_version_is_fit_for_traffic_and_the_canary_leaves_nothing_but_history() {
    for auth_mode in ["IAM", "COGNITO", "JWT", "NONE"] {
        let service = Service::start().await;
        let mode = [
            ("AUTH_MODE", auth_mode),
            ("BASE_PATH", "accounts"),
            ("ISSUER_KIND", "okta"),
        ];
        let deployment = Deployment::start(&service, &mode, &[]).await;
        assert_eq!(
            deployment.check().await,
            "Succeeded",
            "{}",
            deployment.log()
        );
        nothing_is_left(&service).await;
        assert!(service.claims().await.is_empty());
        let history = service.history_items().await;
        let types = history.iter().map(|record| {
            assert_eq!(record["actorId"]["S"], "canary", "{record}");
            record["type"]["S"].as_str().unwrap().to_owned()
        });
        let mut types: Vec<String> = types.collect();
        types.sort();
        let expected = ["created", "deleted", "erased", "restored", "updated"];
        assert_eq!(types, expected.map(|name| format!("user.{name}")));
    }
}

#[tokio::test]
async fn a_version_without_history_deleted_users_or_unique_emails_is_fit_too() {
    let service = Service::sharing_emails().await;
    let settings = [
        ("UNIQUE_EMAILS", "off"),
        ("HISTORY", "off"),
        ("DELETED_USERS_DAYS", "0"),
    ];
    let deployment = Deployment::start(&service, &settings, &[]).await;
    assert_eq!(
        deployment.check().await,
        "Succeeded",
        "{}",
        deployment.log()
    );
    nothing_is_left(&service).await;
}

#[tokio::test]
async fn a_version_that_lacks_a_table_is_not_fit_for_traffic() {
    for (variable, step) in [
        ("TABLE_NAME", "create"),
        ("EMAILS_TABLE_NAME", "create"),
        ("HISTORY_TABLE_NAME", "create"),
        ("DELETED_USERS_TABLE_NAME", "delete"),
    ] {
        let service = Service::start().await;
        let deployment = Deployment::start(&service, &[(variable, "Nowhere")], &[]).await;
        assert_eq!(deployment.check().await, "Failed", "{variable}");
        // Where the new version cannot erase what it made, the version that serves does.
        nothing_is_left(&service).await;
        assert!(service.claims().await.is_empty());
        let cause = format!("{step}: the answer is 500 internal_error, and not 20");
        assert!(deployment.log().contains(&cause), "{}", deployment.log());
    }
}

#[tokio::test]
async fn a_version_whose_calls_are_refused_halfway_is_not_fit_and_nothing_is_left() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[], &[]).await;
    service.store().lack(&["Query"]);
    assert_eq!(deployment.check().await, "Failed");
    assert!(deployment.log().contains("history: the answer is 500"));
    nothing_is_left(&service).await;
    assert!(
        !deployment.log().contains("is left"),
        "{}",
        deployment.log()
    );
}

#[tokio::test]
async fn a_version_that_does_not_start_or_does_not_answer_is_not_fit_for_traffic() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[("AUTH_MODE", "WRONG")], &[]).await;
    assert_eq!(deployment.check().await, "Failed");
    let cause = "create: the function failed: Runtime.ExitError";
    assert!(deployment.log().contains(cause), "{}", deployment.log());
}

#[tokio::test]
async fn a_version_that_fails_once_is_tried_again_with_another_user() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[], &[("CANARY_LIVES", "2")]).await;
    let calls = service.store();
    calls.lack(&["Query"]);
    let check = deployment.check();
    let mends = async {
        while !deployment.log().contains("another one begins") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls.lack(&[]);
    };
    let (status, ()) = tokio::join!(check, mends);
    assert_eq!(status, "Succeeded", "{}", deployment.log());
    nothing_is_left(&service).await;
    assert!(service.claims().await.is_empty());
    assert_eq!(
        deployment
            .log()
            .matches("a life of the canary begins")
            .count(),
        2
    );
}

#[tokio::test]
async fn each_read_of_the_canary_is_strongly_consistent() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[], &[]).await;
    service.store().take_bodies();
    assert_eq!(
        deployment.check().await,
        "Succeeded",
        "{}",
        deployment.log()
    );
    let reads = service.store().take_bodies();
    let reads = reads.iter().filter(|body| body["Key"].is_object());
    let consistent = reads.map(|body| body["ConsistentRead"] == true);
    let consistent: Vec<bool> = consistent.collect();
    assert!(
        consistent.len() >= 6 && consistent.iter().all(|it| *it),
        "{consistent:?}"
    );
}

#[tokio::test]
async fn a_hook_whose_outcome_codedeploy_knows_already_has_nothing_to_report() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[], &[]).await;
    *deployment.aws.shared.is_known.lock().unwrap() = true;
    assert_eq!(deployment.check().await, "Succeeded");
    assert!(
        !deployment.log().contains("not reported"),
        "{}",
        deployment.log()
    );
}

#[tokio::test]
async fn invocations_that_lambda_refuses_are_repeated() {
    let service = Service::start().await;
    let deployment = Deployment::start(&service, &[], &[]).await;
    *deployment.aws.shared.refusals.lock().unwrap() = 3;
    assert_eq!(
        deployment.check().await,
        "Succeeded",
        "{}",
        deployment.log()
    );
}

#[tokio::test]
async fn a_canary_with_skip_accepts_the_version_and_says_so() {
    let service = Service::start().await;
    let settings = [("TABLE_NAME", "Nowhere")];
    let deployment = Deployment::start(&service, &settings, &[("CANARY", "skip")]).await;
    assert_eq!(deployment.check().await, "Succeeded");
    assert!(deployment.log().contains("is not checked"));
}
