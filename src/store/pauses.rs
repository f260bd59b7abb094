//! The pauses of a write that is made again.

use std::time::Duration;

use tokio::time::Instant;

use super::{REQUEST_TIMEOUT, UserStore, call::Failure};
use crate::error::Error;

/// How many rounds the longest pause lasts: fewer, and writers who meet on a busy DynamoDB
/// meet again; more, and one who has met others falls behind those who have not.
const LONGEST_PAUSE_IN_ROUNDS: u32 = 16;
/// The bounds of the longest pause.
const LONGEST_PAUSE: (Duration, Duration) = (Duration::from_millis(160), Duration::from_secs(2));

/// The pauses of one write, each after a round that met others. They last at random, so that
/// writers who have met do not meet again
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>): at most two
/// rounds the first time, and twice as long each time, until the request's deadline. A round
/// is as long as DynamoDB is busy.
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
        let until = Instant::now() + longest.mul_f64(fastrand::f64());
        if self.deadline <= until {
            return false;
        }
        tokio::time::sleep_until(until).await;
        self.round_began = Instant::now();
        true
    }
}
