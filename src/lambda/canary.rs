//! The canary: the function that CodeDeploy runs before traffic shifts to a new version of the
//! service. It runs the life of a user through the new version, and fails the deployment if a step
//! fails (<https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html>).

use std::time::{Duration, SystemTime};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use http::{Method, Response, StatusCode};
use lambda_http::{LambdaEvent, lambda_runtime, lambda_runtime::Diagnostic, service_fn};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::{
    aws::{AwsClient, CallError},
    settings::{CanarySettings, Endpoint},
};

/// The name of the canary, as the actor in the history and in `createdBy`.
const CANARY: &str = "canary";

/// How often a call is repeated if AWS refused it because it was busy.
const REPEATS: u32 = 5;
/// The pause before the first repeat. It doubles each time.
const PAUSE: Duration = Duration::from_millis(200);

/// The pause between two lives. New roles and permissions can take some seconds to work everywhere.
const PAUSE_BETWEEN_LIVES: Duration = Duration::from_secs(20);
/// The part of the invocation that is reserved to erase the user and to report.
const TIME_TO_REPORT: Duration = Duration::from_secs(60);

/// What is percent-encoded in a segment of a path (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The errors of CodeDeploy after which there is nothing more to report: it knows the outcome already,
/// or waits no longer.
const REPORTED: [&str; 3] = [
    "LifecycleEventAlreadyCompletedException",
    "DeploymentDoesNotExistException",
    "InvalidLifecycleEventHookExecutionIdException",
];

/// Answers the events of CodeDeploy until Lambda ends the process.
///
/// # Errors
/// The errors of the Lambda runtime, or why no call can be signed.
pub async fn run(settings: CanarySettings) -> Result<(), lambda_http::Error> {
    let canary = Canary::new(settings).await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Hook>| {
        let deadline = Duration::from_millis(event.context.deadline);
        canary.answer(&event.payload, deadline).await
    }))
    .await
}

/// The event of a lifecycle hook of CodeDeploy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Hook {
    deployment_id: String,
    lifecycle_event_hook_execution_id: String,
}

/// The outcome was not reported to CodeDeploy.
#[derive(Debug, Error)]
#[error("the outcome was not reported to CodeDeploy: {0}")]
struct NotReported(String);

/// The outcome of the invocation, as the Lambda runtime reports it. Lambda invokes the function again.
impl From<NotReported> for Diagnostic {
    fn from(error: NotReported) -> Self {
        Self {
            error_type: String::from("NotReported"),
            error_message: error.to_string(),
        }
    }
}

/// Why a version is not fit for traffic.
#[derive(Debug, Error)]
enum Unfit {
    /// The version was not invoked.
    #[error("{step}: the function was not invoked: {cause}")]
    NotInvoked { step: &'static str, cause: String },
    /// The version crashed, ran out of time, or did not start.
    #[error("{step}: the function failed: {cause}")]
    Failed { step: &'static str, cause: String },
    /// There was no time left for the rest of the life.
    #[error("the time of the canary is over")]
    Late,
    /// The answer differs from what the contract says.
    #[error("{step}: the answer is {status}{code}, and not {expected}")]
    Answer {
        step: &'static str,
        status: u16,
        /// The code of an error, after a space.
        code: String,
        expected: &'static str,
    },
}

/// An answer of the version.
struct Answer {
    step: &'static str,
    status: u16,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Checks the answer. `expected` says in words what is checked.
    fn expect(
        self,
        expected: &'static str,
        holds: impl FnOnce(&Self) -> bool,
    ) -> Result<(), Unfit> {
        if holds(&self) {
            return Ok(());
        }
        Err(Unfit::Answer {
            step: self.step,
            status: self.status,
            code: match self.code() {
                "" => String::new(),
                code => format!(" {code}"),
            },
            expected,
        })
    }

    fn is(&self, status: StatusCode) -> bool {
        self.status == status.as_u16()
    }

    fn is_error(&self, status: StatusCode, code: &str) -> bool {
        self.is(status) && self.code() == code
    }
}

/// Runs the life of a user.
struct Canary {
    target: String,
    serving: String,
    runs: bool,
    lives: u8,
    lambda: AwsClient,
    codedeploy: AwsClient,
}

impl Canary {
    async fn new(settings: CanarySettings) -> Result<Self, CallError> {
        let CanarySettings {
            target,
            serving,
            runs,
            lives,
            region,
            lambda,
            codedeploy,
        } = settings;
        let credentials = EnvironmentVariableCredentialsProvider::new();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let config = config.build();
        let at = |endpoint: Option<Endpoint>| {
            let mut config = config.to_builder();
            config.set_endpoint_url(endpoint.map(|endpoint| endpoint.url));
            config.build()
        };
        Ok(Self {
            target,
            serving,
            runs,
            lives,
            lambda: AwsClient::new("lambda", &at(lambda)).await?,
            codedeploy: AwsClient::new("codedeploy", &at(codedeploy)).await?,
        })
    }

    /// Checks the version, and reports the outcome to CodeDeploy. Lambda ends the invocation at
    /// `deadline`, a time after the Unix epoch.
    async fn answer(&self, hook: &Hook, deadline: Duration) -> Result<Value, NotReported> {
        let left = (SystemTime::UNIX_EPOCH + deadline).duration_since(SystemTime::now());
        let left = left.unwrap_or_default().saturating_sub(TIME_TO_REPORT);
        let checked = match self.runs {
            true => self.check(Instant::now() + left).await,
            false => Ok(()),
        };
        let status = match &checked {
            Ok(()) if self.runs => {
                tracing::info!("the new version is fit for traffic");
                "Succeeded"
            }
            Ok(()) => {
                tracing::warn!("the new version is not checked: CANARY is skip");
                "Succeeded"
            }
            Err(unfit) => {
                tracing::error!(cause = %unfit, "the new version is not fit for traffic");
                "Failed"
            }
        };
        self.report(hook, status)
            .await
            .inspect_err(|error| tracing::error!(cause = %error, "the outcome was not reported"))?;
        Ok(json!({ "status": status }))
    }

    /// Runs the life of a user. If it fails, runs that of another user, up to the number of lives: the
    /// failure may pass. A version that is not fit fails each time.
    async fn check(&self, deadline: Instant) -> Result<(), Unfit> {
        let mut lives = 1;
        loop {
            let Err(unfit) = self.live_and_clean_up(deadline).await else {
                return Ok(());
            };
            if lives >= self.lives || Instant::now() + PAUSE_BETWEEN_LIVES >= deadline {
                return Err(unfit);
            }
            tracing::warn!(cause = %unfit, "a life of the canary failed, another one begins");
            sleep(PAUSE_BETWEEN_LIVES).await;
            lives += 1;
        }
    }

    /// Runs the life of a user. Only its history stays.
    async fn live_and_clean_up(&self, deadline: Instant) -> Result<(), Unfit> {
        let user_id = format!("{CANARY}-{}", Uuid::new_v4());
        // If the process is killed, this line names the user that is left.
        tracing::info!(user_id, "a life of the canary begins");
        let lived = timeout_at(deadline, self.live(&user_id)).await;
        let lived = lived.unwrap_or(Err(Unfit::Late));
        if lived.is_err() && self.clean_up(&self.target, &user_id).await.is_err() {
            // The version that serves can erase what the new one made, if both have the same tables.
            if let Err(unfit) = self.clean_up(&self.serving, &user_id).await {
                tracing::error!(user_id, cause = %unfit, "the user of the canary is left over");
            }
        }
        lived
    }

    /// Erases the user through `version`, if it exists.
    async fn clean_up(&self, version: &str, user_id: &str) -> Result<(), Unfit> {
        let path = format!("/users/{user_id}");
        let request = (Method::DELETE, path.as_str(), "erase=true");
        self.call(version, "clean up", request, None)
            .await?
            .expect("204 or 404", |answer| {
                answer.is(StatusCode::NO_CONTENT) || answer.is(StatusCode::NOT_FOUND)
            })
    }

    async fn live(&self, user_id: &str) -> Result<(), Unfit> {
        let email = format!("{user_id}@example.com");
        let by_email = format!("email={email}");
        let path = format!("/users/{user_id}");
        let path = path.as_str();
        let history = format!("{path}/history");
        let deleted = format!("/deleted-users/{user_id}");
        let restore = format!("{deleted}/restore");
        let is_user = |answer: &Answer, name: &str, version: u64| {
            answer.is(StatusCode::OK)
                && answer.body["userId"] == user_id
                && answer.body["name"] == name
                && answer.body["email"] == email.as_str()
                && answer.body["version"] == version
        };

        let user = json!({ "userId": user_id, "name": "Canary", "email": email });
        self.step("create", (Method::POST, "/users", ""), Some(&user))
            .await?
            .expect("201", |answer| answer.is(StatusCode::CREATED))?;
        self.step("read", (Method::GET, path, "consistent=true"), None)
            .await?
            .expect("the created user", |answer| is_user(answer, "Canary", 1))?;
        self.step("find by email", (Method::GET, "/users", &by_email), None)
            .await?
            .expect("the created user", |answer| {
                is_user(answer, "Canary", 1)
                    // With UNIQUE_EMAILS=off, there is no lookup by email.
                    || answer.is_error(StatusCode::BAD_REQUEST, "invalid_parameter")
            })?;
        self.step("list", (Method::GET, "/users", "limit=1"), None)
            .await?
            .expect("a page", |answer| {
                answer.is(StatusCode::OK) && answer.body["items"].is_array()
            })?;
        let patch = json!({ "name": "Canary, patched" });
        self.step("patch", (Method::PATCH, path, ""), Some(&patch))
            .await?
            .expect("the patched user", |answer| {
                is_user(answer, "Canary, patched", 2)
            })?;
        self.step("history", (Method::GET, &history, ""), None)
            .await?
            .expect("the two writes", |answer| {
                let records = &answer.body["items"];
                answer.is_error(StatusCode::NOT_FOUND, "history_off")
                    || answer.is(StatusCode::OK)
                        && records[0]["type"] == "user.updated"
                        && records[1]["type"] == "user.created"
                        && records[0]["actor"]["id"] == CANARY
            })?;
        self.step("delete", (Method::DELETE, path, ""), None)
            .await?
            .expect("204", |answer| answer.is(StatusCode::NO_CONTENT))?;
        self.step(
            "read after delete",
            (Method::GET, path, "consistent=true"),
            None,
        )
        .await?
        .expect("404", |answer| answer.is(StatusCode::NOT_FOUND))?;
        let restored = self
            .step("restore", (Method::POST, &restore, ""), None)
            .await?;
        // With DELETED_USERS_DAYS=0, nothing is left to restore or to erase.
        if !restored.is(StatusCode::NOT_FOUND) {
            restored.expect("the restored user", |answer| {
                is_user(answer, "Canary, patched", 4)
            })?;
            self.step("erase", (Method::DELETE, path, "erase=true"), None)
                .await?
                .expect("204", |answer| answer.is(StatusCode::NO_CONTENT))?;
        }
        for (path, query) in [(path, "consistent=true"), (&deleted, "")] {
            self.step("read after erase", (Method::GET, path, query), None)
                .await?
                .expect("404", |answer| answer.is(StatusCode::NOT_FOUND))?;
        }
        Ok(())
    }

    /// Sends a request through the version that is checked.
    async fn step(
        &self,
        step: &'static str,
        request: (Method, &str, &str),
        body: Option<&Value>,
    ) -> Result<Answer, Unfit> {
        self.call(&self.target, step, request, body).await
    }

    /// Invokes a version with the event that a REST API would send for a method, a path and a query.
    /// The caller is a service with the name of the canary.
    async fn call(
        &self,
        version: &str,
        step: &'static str,
        (method, path, query): (Method, &str, &str),
        body: Option<&Value>,
    ) -> Result<Answer, Unfit> {
        let query: Option<Value> = query
            .split_once('=')
            .map(|(name, value)| json!({ name: value }));
        // PATCH accepts this media type, too.
        let headers = body.map(|_| json!({ "Content-Type": "application/json" }));
        let event = json!({
            "httpMethod": method.as_str(),
            "path": path,
            "headers": headers,
            "queryStringParameters": query,
            "requestContext": {
                "requestId": Uuid::new_v4(),
                "identity": { "userArn": CANARY },
            },
            "body": body.map(Value::to_string),
        });
        let function = utf8_percent_encode(version, RESERVED);
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let payload = self
            .post(&self.lambda, &path, "application/json", &[], &event)
            .await
            .map_err(|cause| Unfit::NotInvoked { step, cause })?;
        let failed = |cause| Unfit::Failed { step, cause };
        let response: Value =
            serde_json::from_slice(&payload).map_err(|error| failed(error.to_string()))?;
        let Some(status) = response["statusCode"].as_u64() else {
            // The type of Lambda's error says what happened. Its message is left out, because it may quote
            // anything.
            let kind = response["errorType"]
                .as_str()
                .unwrap_or("no proxy response");
            return Err(failed(kind.to_owned()));
        };
        let body = response["body"].as_str().unwrap_or_default();
        Ok(Answer {
            step,
            status: u16::try_from(status).unwrap_or_default(),
            body: serde_json::from_str(body).unwrap_or_default(),
        })
    }

    /// Tells CodeDeploy the outcome
    /// (<https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_PutLifecycleEventHookExecutionStatus.html>).
    async fn report(&self, hook: &Hook, status: &str) -> Result<(), NotReported> {
        let input = json!({
            "deploymentId": hook.deployment_id,
            "lifecycleEventHookExecutionId": hook.lifecycle_event_hook_execution_id,
            "status": status,
        });
        let fields = [(
            "x-amz-target",
            "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus",
        )];
        self.post(
            &self.codedeploy,
            "/",
            "application/x-amz-json-1.1",
            &fields,
            &input,
        )
        .await
        .map(drop)
        .or_else(
            |cause| match REPORTED.iter().any(|name| cause.contains(name)) {
                true => Ok(()),
                false => Err(NotReported(cause)),
            },
        )
    }

    /// The body of the answer to a call. Repeats a call that failed because the service was busy. If
    /// Lambda ran the function all the same, the next step fails, and another life begins.
    async fn post(
        &self,
        client: &AwsClient,
        path: &str,
        content_type: &'static str,
        fields: &[(&'static str, &'static str)],
        input: &Value,
    ) -> Result<Vec<u8>, String> {
        let mut repeats = 0;
        loop {
            let answer = client.post(path, content_type, fields, input.to_string());
            let answer = answer.await.map_err(|error: CallError| error.to_string())?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer.into_body());
            }
            let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if !is_busy || repeats == REPEATS {
                return Err(format!("the answer is {status} {}", error_type(&answer)));
            }
            sleep(PAUSE * 2_u32.pow(repeats)).await;
            repeats += 1;
        }
    }
}

/// The type of an error of AWS. Some services have it in a header field, some in the body
/// (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>).
fn error_type(answer: &Response<Vec<u8>>) -> String {
    let field = answer.headers().get("x-amzn-errortype");
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    match field.and_then(|field| field.to_str().ok()) {
        Some(field) => field.to_owned(),
        None => body["__type"].as_str().unwrap_or_default().to_owned(),
    }
}
