//! The command line of `user-service` (feature `local`). Without a command, it serves.

mod claim_emails;
mod forget_erased;
mod progress;
mod reconcile;
mod serve;
mod store;
mod vacuum;

use std::{
    io::{Write, stdout},
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use clap::{Parser, Subcommand};

use crate::{settings::LocalSettings, store as dynamodb};

/// Runs the user service on this machine, with an embedded DynamoDB.
///
/// If AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL is set, it uses the DynamoDB at that URL
/// (DynamoDB Local, LocalStack, AWS). If that DynamoDB is on this machine, it needs no AWS
/// configuration. Otherwise, it uses your AWS configuration.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Environment:\n  AWS_ENDPOINT_URL_DYNAMODB  Use the DynamoDB at this URL; AWS_ENDPOINT_URL does so for all of AWS\n  RUST_LOG                   What to log, such as debug or user_service=warn [default: info]\n  ALLOWED_ORIGINS            The origins whose pages may call the service, or * [default: those of this machine, or none where the DynamoDB is elsewhere]"
)]
pub struct Options {
    #[command(flatten)]
    serve: serve::ServeOptions,
    #[command(flatten)]
    tables: store::TableOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    ClaimEmails(claim_emails::ClaimOptions),
    ForgetErased(forget_erased::ForgetOptions),
    Reconcile(reconcile::ReconcileOptions),
    Vacuum(vacuum::VacuumOptions),
}

/// A sentence for the person at the terminal, or a line for each of several faults.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that `options` name. `variable` looks up a variable of the environment.
///
/// # Errors
/// Why the command was not done.
pub async fn run(options: Options, variable: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
    let Options {
        serve,
        tables,
        command,
    } = options;
    let settings = LocalSettings::read(variable, tables.named())?;
    match command {
        None => serve::run(serve, &tables, settings).await,
        Some(Command::ClaimEmails(mut options)) => {
            options.data = options.data.or(serve.data);
            claim_emails::run(options, &tables, settings.endpoint).await
        }
        Some(Command::ForgetErased(mut options)) => {
            options.data = options.data.or(serve.data);
            forget_erased::run(options, &tables, settings.endpoint).await
        }
        Some(Command::Reconcile(mut options)) => {
            options.data = options.data.or(serve.data);
            reconcile::run(options, &tables, settings.endpoint).await
        }
        Some(Command::Vacuum(mut options)) => {
            options.data = options.data.or(serve.data);
            vacuum::run(options)
        }
    }
}

/// Writes a line to the standard output. A failure to write is ignored, because nobody may be
/// reading.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Makes `call`, and repeats it after a second if its failure may be temporary. Makes it at most
/// ten times.
async fn repeated<T, Call>(call: impl FnMut() -> Call) -> Result<T, String>
where
    Call: Future<Output = Result<T, dynamodb::Error>>,
{
    let repeats = ConstantBuilder::new()
        .with_delay(Duration::from_secs(1))
        .with_max_times(9);
    call.retry(repeats)
        .when(|error| matches!(error, dynamodb::Error::Unavailable(_)))
        .await
        .map_err(|error| format!("{error}; what is done stays done: run this again"))
}
