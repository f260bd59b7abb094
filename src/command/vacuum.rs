//! `user-service vacuum`: compacts the file of the local server.

use std::path::PathBuf;

use clap::Args;

use super::{Error, say, store::check_file};
use crate::local::dynamodb;

/// Compacts the file of --data, so that nothing of what was deleted is left in it
///
/// It also deletes what has expired. No server may use the file at the same time.
#[derive(Debug, Args)]
pub(super) struct VacuumOptions {
    /// The file of the local server
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Why the file was not compacted.
pub(super) fn run(options: VacuumOptions) -> Result<(), Error> {
    let file = options
        .data
        .ok_or("vacuum needs to know which file: --data FILE")?;
    check_file(&file)?;
    let size = || std::fs::metadata(&file).map(|file| file.len());
    let before = size()?;
    dynamodb::vacuum(&file)?;
    let shown = file.display();
    say(&format!("{shown}: {before} bytes before, {} now.", size()?));
    Ok(())
}
