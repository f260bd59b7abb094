//! `user-service forget-erased`: erases users again that a restored backup has brought back.

use std::path::PathBuf;

use clap::Args;

use super::{
    Error, repeated, say,
    store::{self, TableOptions},
};
use crate::{settings::Endpoint, store::Author, user::Actor};

/// Erases users again that a restored backup has brought back
///
/// It reads the records of erasures in the table of the history, and erases each user and deleted
/// user that was created before its erasure. If the history is restored, too, --erasures-of names the
/// table that was in use, because only that table has the later erasures. The tables are in the file
/// of --data, in the DynamoDB at AWS_ENDPOINT_URL_DYNAMODB, or with --aws in the DynamoDB of your AWS
/// configuration. The command can run while the service runs, and can be run again.
#[derive(Debug, Args)]
pub(super) struct ForgetOptions {
    /// Use the tables in this file of the local server
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Use the tables in AWS, with the credentials and the region of your AWS configuration
    #[arg(long)]
    aws: bool,
    /// The history that has the erasures, if it is not --history-table
    #[arg(long, value_name = "NAME")]
    erasures_of: Option<String>,
}

/// The name of the command.
const COMMAND: &str = "forget-erased";

/// Runs the command, and reports what it has done.
///
/// # Errors
/// Why the command stopped before the end of the table.
pub(super) async fn run(
    options: ForgetOptions,
    tables: &TableOptions,
    endpoint: Option<Endpoint>,
) -> Result<(), Error> {
    let place = store::place(COMMAND, options.data, options.aws, endpoint)?;
    let store = store::open_existing(tables, place).await?;
    store.check_all_but_keys().await?;
    let actor = Actor::Command(COMMAND);
    let author = Author::command(&actor);
    let history = options.erasures_of.as_deref();
    let (mut erasures, mut erased) = (0_u64, 0_u64);
    let mut start = None;
    loop {
        let (records, next) = repeated(|| store.erasures(history, start.clone())).await?;
        for record in records {
            erasures += 1;
            erased += u64::from(repeated(|| store.erase_again(author, &record)).await?);
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    say(&format!(
        "{erasures} records of erasures: {erased} users erased again."
    ));
    Ok(())
}
