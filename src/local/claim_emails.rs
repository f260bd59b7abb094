//! `user-service claim-emails`: claims for users from before, whose email addresses
//! nobody has claimed, and finds claims that are left over from a time when nobody kept
//! them.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    page::Limit,
    store::{Claimed, UserStore},
    user::User,
};

/// How often a call is made that fails for a while, and how long it is between two.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// How many are walked between two lines of progress.
const WALKED_PER_LINE: u64 = 1_000;

/// Says on the standard error how far a walk is: a bar on a terminal, which goes with this,
/// and a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    /// What is walked, in the plural.
    what: &'static str,
}

impl Progress {
    fn start(what: &'static str, count_about: Option<u64>) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, about {eta} to go");
        let bar = ProgressBar::new(count_about.unwrap_or_default())
            .with_style(style.expect("the template is one"))
            .with_message(what)
            .with_finish(ProgressFinish::AndClear);
        bar.tick();
        Self { bar, what }
    }

    fn advance(&self) {
        self.bar.inc(1);
        let walked = self.bar.position();
        if self.bar.is_hidden() && walked.is_multiple_of(WALKED_PER_LINE) {
            let what = self.what;
            let line = match self.bar.length() {
                Some(about) if about >= walked => {
                    format!("Walked {walked} {what} of about {about}")
                }
                Some(_) | None => format!("Walked {walked} {what}"),
            };
            // Whether anyone reads along makes no difference to the walk.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// What was found, and done.
#[derive(Debug, Default)]
pub struct Report {
    left_over: u64,
    given_up: bool,
    users: u64,
    claimed: u64,
    before: u64,
    without: u64,
    /// Who shares an address: the user, and who has it.
    shared: Vec<(String, String)>,
}

/// Finds the claims whose user is gone or has another address, and gives them up where
/// that is asked for: in the wrong table of users, every claim is one. Then walks the table
/// of users and claims for each who has an address that nobody has: `rate` of both together
/// a second at most. It can run while the service does, and again after it was stopped
/// anywhere: a user who has a claim keeps it.
///
/// # Errors
/// Why the table was not walked to its end, as a sentence.
pub async fn claim_emails(store: &UserStore, rate: u32, gives_up: bool) -> Result<Report, String> {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut report = Report {
        left_over: left_over(store, &mut pace, gives_up).await?,
        given_up: gives_up,
        ..Report::default()
    };
    let progress = Progress::start("users", store.count_users_about().await);
    let mut cursor = None;
    loop {
        let page = again(|| store.list(Limit::MOST, cursor.as_ref(), true)).await?;
        let claimed = again(async || store.have_claims(&page.items).await).await?;
        for (user, claimed) in page.items.iter().zip(claimed) {
            let claimed = match claimed {
                true => Claimed::Before,
                false => claim(store, user, &mut pace).await?,
            };
            report.add(user, claimed);
            progress.advance();
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(report);
        }
    }
}

async fn left_over(store: &UserStore, pace: &mut Interval, gives_up: bool) -> Result<u64, String> {
    let progress = Progress::start("claims", store.count_claims_about().await);
    let mut left_over = 0;
    let mut cursor = None;
    loop {
        let (claims, next) = again(|| store.claims(cursor.as_ref())).await?;
        claims.iter().for_each(|_| progress.advance());
        for claim in again(|| store.left_over(claims.clone())).await? {
            if gives_up {
                pace.tick().await;
                left_over += u64::from(again(|| store.give_up(&claim)).await?);
            } else {
                left_over += 1;
            }
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(left_over);
        }
    }
}

async fn claim(store: &UserStore, user: &User, pace: &mut Interval) -> Result<Claimed, String> {
    pace.tick().await;
    again(|| store.claim_for(user)).await
}

/// The outcome of `call`, made again where it may do better.
async fn again<T>(
    mut call: impl AsyncFnMut() -> Result<T, crate::error::Error>,
) -> Result<T, String> {
    let mut attempt = 1;
    loop {
        match call().await {
            Ok(outcome) => return Ok(outcome),
            Err(error) if error.retry_after().is_some() && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                let cause = error
                    .cause()
                    .map_or_else(|| error.to_string(), str::to_owned);
                return Err(format!(
                    "{cause}; what is claimed stays claimed: run this again"
                ));
            }
        }
    }
}

impl Report {
    fn add(&mut self, user: &User, claimed: Claimed) {
        self.users += 1;
        match claimed {
            Claimed::Now => self.claimed += 1,
            Claimed::Before => self.before += 1,
            Claimed::Nothing => self.without += 1,
            Claimed::ByAnother(owner) => self.shared.push((user.user_id().to_owned(), owner)),
        }
    }

    /// What to tell the person who has run it.
    pub fn text(&self) -> String {
        let Self {
            left_over,
            given_up,
            users,
            claimed,
            before,
            without,
            shared,
        } = self;
        let mut text = String::new();
        match (left_over, given_up) {
            (0, _) => {}
            (claims, true) => {
                let _ = writeln!(
                    text,
                    "Claims that were left over, and are given up: {claims}."
                );
            }
            (claims, false) => {
                let _ = writeln!(
                    text,
                    "Claims that are left over, of users who are gone or have another address: \
                     {claims}. If this is the right table of users, --give-up-left-over gives \
                     them up."
                );
            }
        }
        let _ = write!(
            text,
            "{users} users: {claimed} claimed now, {before} before, {without} without an email \
             address, {} with that of another user.",
            shared.len()
        );
        for (user_id, owner) in shared {
            let _ = write!(text, "\n  {user_id} has the address of {owner}");
        }
        if !shared.is_empty() {
            text.push_str(
                "\nThese are left as they are; give one user of each pair another address, or delete that user.",
            );
        }
        text
    }
}
