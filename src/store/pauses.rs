//! The pauses of a write under contention.

use std::time::Duration;

use tokio::time::Instant;

use super::{Error, REQUEST_TIMEOUT, UserStore};

/// The longest pause, in rounds. With a smaller number, writers meet again while DynamoDB is busy.
/// With a larger number, a writer waits so long that newer writers overtake it.
const LONGEST_PAUSE_IN_ROUNDS: u32 = 16;
/// The bounds of the longest pause.
const LONGEST_PAUSE: (Duration, Duration) = (Duration::from_millis(160), Duration::from_secs(2));

/// The pauses of one write: one after each round that another writer has disturbed. Each pause is
/// random, so that the same writers do not meet again
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
///
/// The first is at most two rounds long. This bound doubles with each pause, up to 16 rounds. The
/// longest pause is at least 160 ms and at most 2 s. A round includes DynamoDB's time, so pauses
/// are longer when DynamoDB is busy. (A crate for backoff knows fixed times only.)
pub(super) struct Pauses {
    deadline: Instant,
    round_began: Instant,
    rounds: u32,
}

impl Pauses {
    /// For a write whose first round begins now.
    pub(super) fn of(store: &UserStore) -> Self {
        let now = Instant::now();
        Self {
            deadline: store.deadline.unwrap_or(now + REQUEST_TIMEOUT),
            round_began: now,
            rounds: 0,
        }
    }

    /// Waits before the next round.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no time for one.
    pub(super) async fn pause(&mut self) -> Result<(), Error> {
        if self.wait().await {
            return Ok(());
        }
        let cause = "other writers were at work, or DynamoDB was busy";
        Err(Error::Unavailable(cause.to_owned()))
    }

    /// Waits before the next round; `false` if there is no time for one.
    pub(super) async fn wait(&mut self) -> bool {
        let round = self.round_began.elapsed();
        self.rounds += 1;
        let (least, most) = LONGEST_PAUSE;
        let longest = (round * LONGEST_PAUSE_IN_ROUNDS).clamp(least, most);
        let longest = round.saturating_mul(1 << self.rounds.min(16)).min(longest);
        let now = Instant::now();
        // The last round ends at the deadline.
        let Some(latest) = self
            .deadline
            .checked_sub(round)
            .filter(|latest| *latest > now)
        else {
            return false;
        };
        let until = now + longest.mul_f64(fastrand::f64());
        tokio::time::sleep_until(until.min(latest)).await;
        self.round_began = Instant::now();
        true
    }
}
