//! The user service as a Lambda function behind API Gateway.

use std::{env, process::ExitCode, time::SystemTime};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use lambda_http::{lambda_runtime, service_fn};
use user_service::{
    access::AuthMode,
    api::Api,
    endpoint::Endpoint,
    event, log,
    request::BasePath,
    response::AllowedOrigins,
    store::{self, Tables, UserStore},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log::init(log::Format::Json, env::var("RUST_LOG").ok().as_deref());
    let api = match api() {
        Ok(api) => api,
        Err(message) => {
            tracing::error!(cause = message, "not started");
            return ExitCode::FAILURE;
        }
    };
    match lambda_runtime::run(service_fn(|event| event::answer(&api, event))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = %error, "stopped");
            ExitCode::FAILURE
        }
    }
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn api() -> Result<Api, String> {
    variable("AWS_LAMBDA_RUNTIME_API").ok_or(
        "this binary is for Lambda, which sets AWS_LAMBDA_RUNTIME_API; \
         on your machine, use `cargo run`",
    )?;
    let users = variable("TABLE_NAME")
        .ok_or("TABLE_NAME is not set: the name of the DynamoDB table of users")?;
    let emails = match variable("UNIQUE_EMAILS").as_deref() {
        None | Some("on") => Some(variable("EMAILS_TABLE_NAME").ok_or(
            "EMAILS_TABLE_NAME is not set: the name of the DynamoDB table of claims on email \
             addresses; with UNIQUE_EMAILS=off, users may share one",
        )?),
        Some("off") => None,
        Some(_) => return Err(String::from("UNIQUE_EMAILS is on or off")),
    };
    let idempotency_keys = variable("IDEMPOTENCY_TABLE_NAME").ok_or(
        "IDEMPOTENCY_TABLE_NAME is not set: the name of the DynamoDB table of idempotency keys",
    )?;
    let auth_mode = variable("AUTH_MODE").ok_or(
        "AUTH_MODE is not set: what the gateway asks of callers, which is IAM, COGNITO or NONE",
    )?;
    let auth_mode = AuthMode::parse(&auth_mode)?;
    let origins = variable("ALLOWED_ORIGINS").unwrap_or_default();
    let origins =
        AllowedOrigins::parse(&origins).map_err(|error| format!("ALLOWED_ORIGINS: {error}"))?;
    let base_path = variable("BASE_PATH").unwrap_or_default();
    let base_path = BasePath::parse(&base_path).map_err(|error| format!("BASE_PATH: {error}"))?;
    let tables = Tables {
        users,
        emails,
        idempotency_keys,
    };
    let store = UserStore::new(&sdk_config()?, tables);
    Ok(Api::new(
        store,
        SystemTime::now,
        auth_mode,
        origins,
        base_path,
    ))
}

/// Lambda puts region and credentials into the environment, so nothing else is
/// looked at: the whole chain of providers would only cost time at a cold start.
fn sdk_config() -> Result<SdkConfig, String> {
    let region = variable("AWS_REGION").ok_or("AWS_REGION is not set: Lambda does that")?;
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(store::http_client())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    if let Some(endpoint) = Endpoint::configured(variable) {
        config = config.endpoint_url(endpoint.url);
    }
    Ok(config.build())
}
