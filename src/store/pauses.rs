//! The pauses of a write that competes with other writes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Error, REQUEST_TIMEOUT, UserStore};

/// The longest pause, in rounds. With a smaller number, writers conflict again while DynamoDB is
/// busy. With a larger number, a writer that had a conflict falls behind new writers.
const LONGEST_PAUSE_IN_ROUNDS: u32 = 16;
/// The lower and the upper bound of the longest pause.
const LONGEST_PAUSE: (Duration, Duration) = (Duration::from_millis(160), Duration::from_secs(2));

/// The pauses of one write. A pause follows each round that fails because of another writer or a
/// busy DynamoDB. Each pause is random, so that the same writers do not conflict again
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
///
/// The first pause lasts at most two rounds. The maximum doubles with each pause, up to 16 rounds.
/// These 16 rounds count as at least 160 ms and at most 2 s. A round includes the response time of
/// DynamoDB, so pauses are longer when DynamoDB is busy. (Backoff crates support only fixed times.)
pub(super) struct Pauses {
    deadline: Instant,
    round_began: Instant,
    rounds: u32,
}

impl Pauses {
    /// The pauses of a write whose first round begins now.
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
    /// [`Error::Unavailable`] if there is no time left for another round.
    pub(super) async fn pause(&mut self) -> Result<(), Error> {
        if self.wait().await {
            return Ok(());
        }
        let cause = "other writers were at work, or DynamoDB was busy";
        Err(Error::Unavailable(cause.to_owned()))
    }

    /// Waits before the next round. Returns `false` if there is no time left for another round.
    pub(super) async fn wait(&mut self) -> bool {
        let round = self.round_began.elapsed();
        self.rounds += 1;
        let (least, most) = LONGEST_PAUSE;
        let longest = (round * LONGEST_PAUSE_IN_ROUNDS).clamp(least, most);
        let longest = round.saturating_mul(1 << self.rounds.min(16)).min(longest);
        let now = Instant::now();
        // The next round must be able to end before the deadline.
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
