//! The pauses of a write that is made again.

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
        let until = Instant::now() + self.longest.mul_f64(fastrand::f64());
        if self.deadline <= until {
            return false;
        }
        self.longest = (3 * self.longest).min(LONGEST_PAUSE);
        tokio::time::sleep_until(until).await;
        true
    }
}
