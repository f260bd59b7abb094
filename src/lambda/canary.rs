//! The canary: the function that CodeDeploy runs before traffic shifts to a new version of the
//! service. It runs the life of a user through the new version, and fails the deployment if a step
//! fails (<https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html>).

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use http::{Method, StatusCode};
use lambda_http::{LambdaEvent, lambda_runtime, lambda_runtime::Diagnostic, service_fn};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
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

/// Answers the events of CodeDeploy until Lambda ends the process.
///
/// # Errors
/// The errors of the Lambda runtime, or why no call can be signed.
pub async fn run(settings: CanarySettings) -> Result<(), lambda_http::Error> {
    let canary = Canary::new(settings).await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Hook>| {
        canary.answer(&event.payload).await
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
    lambda: AwsClient,
    codedeploy: AwsClient,
}

impl Canary {
    async fn new(settings: CanarySettings) -> Result<Self, CallError> {
        let CanarySettings {
            target,
            serving,
            runs,
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
            lambda: AwsClient::new("lambda", &at(lambda)).await?,
            codedeploy: AwsClient::new("codedeploy", &at(codedeploy)).await?,
        })
    }

    /// Checks the version, and reports the outcome to CodeDeploy.
    async fn answer(&self, hook: &Hook) -> Result<Value, NotReported> {
        let checked = match self.runs {
            true => self.check().await,
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

    /// Runs the life of a user. Only its history stays.
    async fn check(&self) -> Result<(), Unfit> {
        let user_id = format!("{CANARY}-{}", Uuid::new_v4());
        let lived = self.live(&user_id).await;
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
        for path in [path, &deleted] {
            self.step("read after erase", (Method::GET, path, ""), None)
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
                "requestId": format!("{CANARY}-{}", Uuid::new_v4()),
                "identity": { "userArn": CANARY },
            },
            "body": body.map(Value::to_string),
        });
        let function = utf8_percent_encode(version, NON_ALPHANUMERIC);
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
        .map_err(NotReported)
    }

    /// The body of the answer to a call. Repeats a call that AWS refused because it was busy.
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
                let error = answer.headers().get("x-amzn-errortype");
                let error = error.and_then(|error| error.to_str().ok());
                return Err(format!(
                    "the answer is {status} {}",
                    error.unwrap_or_default()
                ));
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(repeats)).await;
            repeats += 1;
        }
    }
}
