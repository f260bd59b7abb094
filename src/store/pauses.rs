//! The pauses of a write that is made again.

use std::time::Duration;

use tokio::time::Instant;

use super::{REQUEST_TIMEOUT, UserStore, call::Failure};
use crate::error::Error;

/// The longest pause, in rounds. A smaller number makes writers meet again while DynamoDB is
/// busy. A larger one lets a writer that met others fall behind new ones.
const LONGEST_PAUSE_IN_ROUNDS: u32 = 16;
/// The bounds of the longest pause.
const LONGEST_PAUSE: (Duration, Duration) = (Duration::from_millis(160), Duration::from_secs(2));

/// The pauses of one write, one after each round that met others. Each is random, so that the
/// same writers do not meet again
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). The first is at
/// most two rounds long. The bound doubles each time, up to 16 rounds, which count as 160 ms at
/// least and 2 s at most. A round includes DynamoDB's time, so a busy DynamoDB makes pauses
/// longer.
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

    /// Waits before a write that met others is made again.
    ///
    /// # Errors
    /// [`Error::Store`], which tells the caller `message`, where there is no time for it.
    pub(super) async fn pause(&mut self, message: &'static str) -> Result<(), Error> {
        match self.wait().await {
            true => Ok(()),
            false => Err(Failure::<()>::Conflict.into_error(message)),
        }
    }

    /// Waits; `false` where there is no time for it.
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
