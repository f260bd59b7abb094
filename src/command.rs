//! The command line of `user-service` (feature `local`). Without a command, it serves.

mod claim_emails;
mod cloudformation;
mod doctor;
mod forget_erased;
mod progress;
mod reconcile;
mod serve;
mod store;
mod vacuum;

use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    settings::{Endpoint, LocalSettings},
    store as dynamodb,
};

/// Runs the user service on this machine, with an embedded DynamoDB.
///
/// If AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL is set, it uses the DynamoDB at that URL
/// (DynamoDB Local, LocalStack, AWS). If that DynamoDB is on this machine, it needs no AWS
/// configuration. Otherwise, it uses your AWS configuration.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Environment:\n  AWS_ENDPOINT_URL_DYNAMODB  Use the DynamoDB at this URL; AWS_ENDPOINT_URL does so for all of AWS\n  RUST_LOG                   What to log, such as debug or user_service=warn [default: info]\n  EVENTS_SECRET              The secret that signs the events of --events-to, such as whsec_...\n  ALLOWED_ORIGINS            The origins whose pages may call the service, or * [default: those of this machine, or none where the DynamoDB is elsewhere]"
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
    Doctor(doctor::DoctorOptions),
    ForgetErased(forget_erased::ForgetOptions),
    Reconcile(reconcile::ReconcileOptions),
    Vacuum(vacuum::VacuumOptions),
}

/// A sentence for the person at the terminal, or a line for each of several faults.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The options of tables that each command uses. Each command takes them all, before its name or after
/// it, and its help shows these.
const USED: [(&str, &[&str]); 5] = [
    ("claim-emails", &["table", "emails_table"]),
    (
        "doctor",
        &[
            "table",
            "emails_table",
            "idempotency_table",
            "deleted_users_table",
            "history_table",
            "deleted_users_days",
            "history",
            "unique_emails",
        ],
    ),
    (
        "forget-erased",
        &[
            "table",
            "emails_table",
            "deleted_users_table",
            "history_table",
            "history_days",
            "unique_emails",
        ],
    ),
    (
        "reconcile",
        &[
            "table",
            "emails_table",
            "deleted_users_table",
            "history_table",
            "deleted_users_days",
            "history",
            "history_days",
            "unique_emails",
        ],
    ),
    ("vacuum", &[]),
];

impl Options {
    /// Reads the command line. Ends the process if it is wrong, or asks for help.
    pub fn of_command_line() -> Self {
        let tables = store::TableOptions::augment_args(clap::Command::new(""));
        let is_of_tables = |id: &clap::Id| tables.get_arguments().any(|arg| arg.get_id() == id);
        let mut command = Self::command();
        command.build();
        for (name, used) in USED {
            command = command.mut_subcommand(name, |command| {
                command.mut_args(|arg| {
                    let id = arg.get_id();
                    let is_hidden = is_of_tables(id) && !used.contains(&id.as_str());
                    arg.hide(is_hidden)
                })
            });
        }
        let options = Self::from_arg_matches(&command.get_matches());
        options.unwrap_or_else(|error| error.exit())
    }

    /// The exit code if [`run`] fails.
    pub fn code_of_failure(&self) -> ExitCode {
        match self.command {
            // Its code 1 means that it found faults.
            Some(Command::Doctor(_)) => ExitCode::from(doctor::NOT_CHECKED),
            Some(
                Command::ClaimEmails(_)
                | Command::ForgetErased(_)
                | Command::Reconcile(_)
                | Command::Vacuum(_),
            )
            | None => ExitCode::FAILURE,
        }
    }
}

/// Runs the command that `options` name. `variable` looks up a variable of the environment. Returns
/// the exit code.
///
/// # Errors
/// Why the command was not done.
pub async fn run(
    options: Options,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<ExitCode, Error> {
    let Options {
        serve,
        tables,
        command,
    } = options;
    let settings = LocalSettings::read(&variable, tables.named())?;
    let done = match command {
        None => serve::run(serve, &tables, settings).await,
        Some(Command::ClaimEmails(mut options)) => {
            options.data = options.data.or(serve.data);
            claim_emails::run(options, &tables, settings.endpoint).await
        }
        Some(Command::Doctor(mut options)) => {
            options.data = options.data.or(serve.data);
            let of_cloudformation = Endpoint::of("AWS_ENDPOINT_URL_CLOUDFORMATION", variable);
            return doctor::run(options, &tables, settings.endpoint, of_cloudformation).await;
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
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Writes a line to the standard output. A failure to write is ignored, because nobody may be
/// reading.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Makes `call` of a command that writes. See [`patiently`].
async fn repeated<T, Call>(call: impl FnMut() -> Call) -> Result<T, String>
where
    Call: Future<Output = Result<T, dynamodb::Error>>,
{
    let done = patiently(call).await;
    done.map_err(|error| format!("{error}; what is done stays done: run this again"))
}

/// Makes `call`, and repeats it after a second if its failure may be temporary. Makes it at most
/// ten times.
async fn patiently<T, Call>(call: impl FnMut() -> Call) -> Result<T, dynamodb::Error>
where
    Call: Future<Output = Result<T, dynamodb::Error>>,
{
    let repeats = ConstantBuilder::new()
        .with_delay(Duration::from_secs(1))
        .with_max_times(9);
    call.retry(repeats)
        .when(|error| matches!(error, dynamodb::Error::Unavailable(_)))
        .await
}
