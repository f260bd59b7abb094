//! The user service as a Lambda function behind API Gateway. With `CANARY_TARGET`, the function that
//! checks a new version of it.

use std::process::ExitCode;

use user_service::{
    lambda, log,
    settings::{self, CanarySettings, Faults, Settings},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if !settings::is_started_by_lambda(settings::environment) {
        eprintln!(
            "user-service-lambda is the function of user-service. Only AWS Lambda can start it.\n\
             To run the service on this machine, start user-service: cargo run"
        );
        return ExitCode::FAILURE;
    }
    let filter = settings::log_filter(settings::environment);
    let function_name = settings::function_name(settings::environment);
    let format = log::Format::Json {
        function_name: function_name.as_deref().unwrap_or(log::SERVICE),
    };
    log::init(format, &filter.clone().unwrap_or_default());
    if let Err(faults) = filter {
        // A wrong level is no reason to answer nobody.
        tracing::warn!(cause = %faults, "the log has the level info");
    }
    let ended = match CanarySettings::read(settings::environment) {
        Some(settings) => started(settings, lambda::canary::run).await,
        None => started(Settings::for_lambda(settings::environment), lambda::run).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::FAILURE,
    }
}

/// Runs the function with its settings. Logs why it does not start, or why it stops.
async fn started<S>(
    settings: Result<S, Faults>,
    run: impl AsyncFnOnce(S) -> Result<(), lambda_http::Error>,
) -> Result<(), ()> {
    let settings = settings
        .inspect_err(|faults| tracing::error!(cause = %faults, "not started"))
        .map_err(drop)?;
    run(settings)
        .await
        .inspect_err(|error| tracing::error!(cause = %error, "stopped"))
        .map_err(drop)
}
