//! Trying again where another writer was quicker.

use std::time::Duration;

use tokio::time::Instant;

use super::{REQUEST_TIMEOUT, UserStore, call::Failure};
use crate::error::Error;

/// The longest pause before a write is tried again, the first time and ever.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one write: at random, so that writers who have met do not meet again, and
/// longer and longer, until the request's deadline
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub(super) struct Pauses {
    deadline: Instant,
    longest: Duration,
}

impl Pauses {
    pub(super) fn of(store: &UserStore) -> Self {
        let deadline = store.deadline;
        Self {
            deadline: deadline.unwrap_or_else(|| Instant::now() + REQUEST_TIMEOUT),
            longest: FIRST_PAUSE,
        }
    }

    /// Waits; `false` where there is no time for it.
    pub(super) async fn pause(&mut self) -> bool {
        let until = Instant::now() + self.longest.mul_f64(fastrand::f64());
        if self.deadline <= until {
            return false;
        }
        self.longest = (3 * self.longest).min(LONGEST_PAUSE);
        tokio::time::sleep_until(until).await;
        true
    }
}

/// The rounds of one write, each of which decides anew on what is stored.
pub(super) struct Rounds {
    begun: u32,
    pauses: Pauses,
}

impl Rounds {
    pub(super) fn of(store: &UserStore) -> Self {
        Self {
            begun: 0,
            pauses: Pauses::of(store),
        }
    }

    /// Begins a round: the second at once, for the first often only shows what is stored,
    /// and those after it when a pause has passed. Tells whether one has: what was read
    /// before it is old.
    ///
    /// # Errors
    /// [`Error::Store`], which tells the caller `message`, at the request's deadline.
    pub(super) async fn next(&mut self, message: &'static str) -> Result<bool, Error> {
        let pauses = self.begun >= 2;
        if pauses && !self.pauses.pause().await {
            return Err(Failure::<()>::Conflict.into_error(message));
        }
        self.begun = self.begun.saturating_add(1);
        Ok(pauses)
    }
}
