//! `user-service claim-emails`: claims the email addresses of users who have no claim. Also finds
//! claims that are left over: their users do not exist or have another address.

use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    Error,
    progress::Progress,
    repeated, say,
    store::{self, TableOptions},
};
use crate::{
    settings::Endpoint,
    store::{Claimed, Consistency, Limit, UserStore},
    user::User,
};

/// Claims the email addresses of users who have no claim
///
/// It reads the table of users, and claims each address that nobody has claimed. The tables
/// are in the file of --data, in the DynamoDB at AWS_ENDPOINT_URL_DYNAMODB, or with --aws in
/// the DynamoDB of your AWS configuration. It can run while the service runs. You can run it
/// again after it was stopped. It lists users who share an address, and does not change them.
#[derive(Debug, Args)]
pub(super) struct ClaimOptions {
    /// Use the tables in this file of the local server
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Use the tables in AWS, with the credentials and the region of your AWS
    /// configuration
    #[arg(long)]
    aws: bool,
    /// The maximum number of claims a second: 1 to 10,000
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Also delete claims that are left over: their users do not exist or have another address
    #[arg(long)]
    give_up_left_over: bool,
}

/// The name of the command.
const COMMAND: &str = "claim-emails";

/// Runs the command, and reports what it has done.
///
/// # Errors
/// Why the command stopped before the end of the tables.
pub(super) async fn run(
    options: ClaimOptions,
    tables: &TableOptions,
    endpoint: Option<Endpoint>,
) -> Result<(), Error> {
    if tables.emails_table().is_none() {
        return Err("without unique emails there is nothing to claim".into());
    }
    let place = store::place(COMMAND, options.data, options.aws, endpoint)?;
    let store = store::open_existing(tables, place).await?;
    let report = claim_emails(&store, options.rate, options.give_up_left_over).await?;
    say(&report.to_string());
    Ok(())
}

/// Finds the claims that are left over: their user does not exist or has another address. Releases
/// them only if `gives_up` is set, because with the wrong table of users, every claim seems to be
/// left over. Then walks the table of users, and claims each address that nobody has claimed. The
/// two walks together write at most `rate` times a second. A user who has a claim keeps it. So this
/// can run while the service runs, and can run again after it was stopped at any point.
async fn claim_emails(store: &UserStore, rate: u32, gives_up: bool) -> Result<Report, Error> {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (left_over, unreadable_claims) = left_over(store, &mut pace, gives_up).await?;
    let mut report = Report {
        left_over,
        given_up: gives_up,
        unreadable_claims,
        ..Report::default()
    };
    let progress = Progress::start("users", store.count_users_about().await);
    let mut start = None;
    loop {
        let page = repeated(|| store.list(Limit::MAX, start.as_ref(), Consistency::Strong)).await?;
        let claimed = repeated(|| store.have_claims(&page.items)).await?;
        for (user, claimed) in page.items.iter().zip(claimed) {
            report.add(user, claim(store, user, claimed, &mut pace).await?);
            progress.advance(1);
        }
        start = page.next;
        if start.is_none() {
            return Ok(report);
        }
    }
}

/// Claims the address of a user, unless the user has a claim and its item records it.
async fn claim(
    store: &UserStore,
    user: &User,
    has_claim: bool,
    pace: &mut Interval,
) -> Result<Claimed, Error> {
    let recorded = user.held_claim();
    if has_claim && recorded.is_some() && recorded == user.email_key() {
        return Ok(Claimed::Before);
    }
    pace.tick().await;
    let claimed = repeated(|| store.claim_for(user.user_id())).await?;
    let is_recorded_only = has_claim && claimed == Claimed::Now;
    Ok(if is_recorded_only {
        Claimed::Before
    } else {
        claimed
    })
}

/// Walks the table of claims, and returns how many are left over, and how many name no user.
async fn left_over(
    store: &UserStore,
    pace: &mut Interval,
    gives_up: bool,
) -> Result<(u64, usize), Error> {
    let progress = Progress::start("claims", store.count_claims_about().await);
    let (mut left_over, mut unreadable_claims) = (0, 0);
    let mut start = None;
    loop {
        let (claims, unreadable, next) = repeated(|| store.claims(start.as_ref())).await?;
        (0..claims.len() + unreadable).for_each(|_| progress.advance(1));
        unreadable_claims += unreadable;
        for claim in repeated(|| store.left_over(claims.clone())).await? {
            if gives_up {
                pace.tick().await;
                left_over += u64::from(repeated(|| store.release_left_over(&claim)).await?);
            } else {
                left_over += 1;
            }
        }
        start = next;
        if start.is_none() {
            return Ok((left_over, unreadable_claims));
        }
    }
}

/// What the command found and did.
#[derive(Debug, Default)]
struct Report {
    left_over: u64,
    given_up: bool,
    /// Claims that name no user.
    unreadable_claims: usize,
    users: u64,
    claimed: u64,
    before: u64,
    without: u64,
    /// Users whose address another user has claimed, each with the `userId` of that other user.
    shared: Vec<(String, String)>,
    /// Users whose address has a claim that names no user.
    unreadable: Vec<String>,
}

impl Report {
    fn add(&mut self, user: &User, claimed: Claimed) {
        self.users += 1;
        match claimed {
            Claimed::Now => self.claimed += 1,
            Claimed::Before => self.before += 1,
            Claimed::Nothing => self.without += 1,
            Claimed::Unreadable => self.unreadable.push(user.user_id().to_owned()),
            Claimed::ByAnother(owner) => self.shared.push((user.user_id().to_owned(), owner)),
        }
    }
}

/// What to tell the person who ran the command.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.left_over, self.given_up) {
            (0, _) => {}
            (claims, true) => {
                writeln!(f, "Claims that were left over, and are given up: {claims}.")?;
            }
            (claims, false) => writeln!(
                f,
                "Claims that are left over, of users who are gone or have another address: \
                 {claims}. If this is the right table of users, --give-up-left-over gives them up."
            )?,
        }
        if self.unreadable_claims > 0 {
            writeln!(
                f,
                "Claims that name no user, so nobody can have the address: {}. The command doctor \
                 tells how to delete them. Then run this again.",
                self.unreadable_claims
            )?;
        }
        write!(
            f,
            "{} users: {} claimed now, {} before, {} without an email address, {} with that of \
             another user.",
            self.users,
            self.claimed,
            self.before,
            self.without,
            self.shared.len()
        )?;
        for (user_id, owner) in &self.shared {
            write!(f, "\n  {user_id} has the address of {owner}")?;
        }
        for user_id in &self.unreadable {
            write!(f, "\n  {user_id} has an address whose claim names no user")?;
        }
        if !self.shared.is_empty() {
            f.write_str(
                "\nThese are left as they are; give one user of each pair another address, or \
                 delete that user.",
            )?;
        }
        Ok(())
    }
}
