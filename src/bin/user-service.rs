//! The user service on this machine: `cargo run`.

use std::process::ExitCode;

use user_service::{
    command::{self, Options},
    log, settings,
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::of_command_line();
    let filter = settings::log_filter(settings::environment);
    // `command::run` reports a filter that is wrong.
    log::init(
        log::Format::of_standard_error(),
        &filter.unwrap_or_default(),
    );
    let code_of_failure = options.code_of_failure();
    match command::run(options, settings::environment).await {
        Ok(code) => code,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("error: {line}");
            }
            code_of_failure
        }
    }
}
