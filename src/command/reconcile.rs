//! `user-service reconcile`: makes tables consistent that were restored to slightly different moments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use clap::Args;

use super::{
    Error,
    progress::Progress,
    repeated, say,
    store::{self, TableOptions},
};
use crate::{
    settings::Endpoint,
    store::{Author, HistoryRecord, Reconciled, UserStore},
    user::Actor,
};

/// Makes restored users, deleted users and history consistent
///
/// A restore does not cut all tables at the same moment. This command finds users that are behind
/// their history, and users that are also deleted users. It gives them a new version, and changes no
/// field. It never deletes a user: a user that is also a deleted user stays a user. It lists users
/// that are missing from both tables. The tables are in the file of --data, in the DynamoDB at
/// AWS_ENDPOINT_URL_DYNAMODB, or with --aws in the DynamoDB of your AWS configuration. The command can
/// run while the service runs, and can be run again.
#[derive(Debug, Args)]
pub(super) struct ReconcileOptions {
    /// Use the tables in this file of the local server
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Use the tables in AWS, with the credentials and the region of your AWS configuration
    #[arg(long)]
    aws: bool,
}

/// The name of the command.
const COMMAND: &str = "reconcile";

/// Runs the command, and reports what it has done.
///
/// # Errors
/// Why the command stopped before the end of the tables.
pub(super) async fn run(
    options: ReconcileOptions,
    tables: &TableOptions,
    endpoint: Option<Endpoint>,
) -> Result<(), Error> {
    let place = store::place(COMMAND, options.data, options.aws, endpoint)?;
    let store = store::open_existing(tables, place).await?;
    store.check_all_but_keys().await?;
    let mut report = Report::default();
    walk_deleted_users(&store, &mut report).await?;
    walk_history(&store, &mut report).await?;
    say(&report.to_string());
    Ok(())
}

/// Walks the deleted users, and finds those that are also users.
async fn walk_deleted_users(store: &UserStore, report: &mut Report) -> Result<(), Error> {
    let progress = Progress::start("deleted users", store.count_deleted_users_about().await);
    let mut start = None;
    loop {
        let (page, twice) = repeated(|| store.deleted_who_are_users(start.as_ref())).await?;
        page.items.iter().for_each(|_| progress.advance(1));
        report.deleted_users += page.items.len();
        for user_id in twice {
            reconcile(store, &user_id, report).await?;
        }
        start = page.next;
        if start.is_none() {
            return Ok(());
        }
    }
}

/// Walks the history, and finds the users that are behind it, and those that are missing.
async fn walk_history(store: &UserStore, report: &mut Report) -> Result<(), Error> {
    let progress = Progress::start("records", store.count_records_about().await);
    let mut start = None;
    loop {
        let read = repeated(|| store.newest_records(start.clone())).await?;
        let (records, count, next) = read;
        (0..count).for_each(|_| progress.advance(1));
        report.records += count;
        for user_id in repeated(|| store.disagreeing(&records)).await? {
            reconcile(store, &user_id, report).await?;
        }
        start = next;
        if start.is_none() {
            return Ok(());
        }
    }
}

async fn reconcile(store: &UserStore, user_id: &str, report: &mut Report) -> Result<(), Error> {
    let actor = Actor::Command(COMMAND);
    let author = Author::command(&actor);
    let (done, newest) = repeated(|| store.reconcile(author, user_id)).await?;
    report.add(user_id, done, newest);
    Ok(())
}

/// What the command found and did.
#[derive(Debug, Default)]
struct Report {
    records: usize,
    deleted_users: usize,
    caught_up: u64,
    deleted_caught_up: u64,
    undeleted: u64,
    erased: BTreeSet<String>,
    taken: BTreeSet<String>,
    /// Users that are missing, each with its newest record.
    missing: BTreeMap<String, Option<HistoryRecord>>,
}

impl Report {
    fn add(&mut self, user_id: &str, done: Reconciled, newest: Option<HistoryRecord>) {
        match done {
            Reconciled::Agrees => {}
            Reconciled::CaughtUp => self.caught_up += 1,
            Reconciled::DeletedCaughtUp => self.deleted_caught_up += 1,
            Reconciled::Undeleted => self.undeleted += 1,
            // The records of a user can be on two pages, so these can be found twice.
            Reconciled::Erased => drop(self.erased.insert(user_id.to_owned())),
            Reconciled::Taken => drop(self.taken.insert(user_id.to_owned())),
            Reconciled::Missing => drop(self.missing.insert(user_id.to_owned(), newest)),
        }
    }
}

/// What to tell the person who ran the command.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Records read: {}", self.records)?;
        writeln!(f, "Deleted users read: {}", self.deleted_users)?;
        writeln!(
            f,
            "Users that were behind their history, repaired: {}",
            self.caught_up
        )?;
        writeln!(
            f,
            "Deleted users that were behind their history, repaired: {}",
            self.deleted_caught_up
        )?;
        writeln!(
            f,
            "Users that were also deleted users, repaired: {}",
            self.undeleted
        )?;
        write!(f, "Users that are missing: {}", self.missing.len())?;
        if !self.erased.is_empty() {
            write!(
                f,
                "\nUsers that were erased, but exist: {}. Run forget-erased.",
                self.erased.len()
            )?;
        }
        if !self.taken.is_empty() {
            write!(
                f,
                "\nUsers left as they are, because another user has claimed their address: {}. Run \
                 claim-emails, and then reconcile again.",
                self.taken.len()
            )?;
        }
        for (user_id, newest) in &self.missing {
            write!(f, "\n  {user_id} is missing")?;
            if let Some(record) = newest {
                write!(
                    f,
                    "; its newest record is {} at {}",
                    record.event_type, record.time
                )?;
            }
        }
        Ok(())
    }
}
