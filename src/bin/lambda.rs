//! The user service as a Lambda function behind API Gateway.

use std::{env, process::ExitCode, time::SystemTime};

use aws_config::{
    BehaviorVersion, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::region::ProvideRegion,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use lambda_http::{lambda_runtime, service_fn};
use user_service::{
    api::Api,
    event::{self, BasePath},
    log,
    response::AllowedOrigins,
    store::UserStore,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log::init(log::Format::Json, env::var("RUST_LOG").ok().as_deref());
    let api = match api().await {
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

async fn api() -> Result<Api, String> {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(
            "this binary is for Lambda, which sets AWS_LAMBDA_RUNTIME_API; \
                    on your machine, use `cargo run`"
                .into(),
        );
    }
    let table = env::var("TABLE_NAME").unwrap_or_default();
    if table.is_empty() {
        return Err("TABLE_NAME is not set: the name of the DynamoDB table of users".into());
    }
    let origins = env::var("ALLOWED_ORIGINS").unwrap_or_default();
    let origins =
        AllowedOrigins::parse(&origins).map_err(|error| format!("ALLOWED_ORIGINS: {error}"))?;
    let base_path = BasePath::from(env::var("BASE_PATH").unwrap_or_default().as_str());
    let store = UserStore::new(&sdk_config().await?, table);
    Ok(Api::new(store, SystemTime::now, origins, base_path))
}

/// Lambda puts region and credentials into the environment, so nothing else is
/// looked at: the whole chain of providers would only cost time at a cold start.
async fn sdk_config() -> Result<SdkConfig, String> {
    let region = EnvironmentVariableRegionProvider::new().region().await;
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.ok_or("AWS_REGION is not set: Lambda does that")?)
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    if let Ok(endpoint) = env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        config = config.endpoint_url(endpoint);
    }
    Ok(config.build())
}
