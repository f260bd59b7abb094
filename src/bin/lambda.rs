//! The user service as a Lambda function behind API Gateway.

use std::process::ExitCode;

use user_service::{
    lambda, log,
    settings::{self, Settings},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let filter = settings::log_filter(settings::environment);
    let function_name = settings::function_name(settings::environment);
    let format = log::Format::Json {
        function_name: function_name.as_deref().unwrap_or(log::SERVICE),
    };
    log::init(format, filter.as_deref());
    let settings = match Settings::for_lambda(settings::environment) {
        Ok(settings) => settings,
        Err(faults) => {
            tracing::error!(cause = %faults, "not started");
            return ExitCode::FAILURE;
        }
    };
    match lambda::run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = %error, "stopped");
            ExitCode::FAILURE
        }
    }
}
