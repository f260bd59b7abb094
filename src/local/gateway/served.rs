//! The number of requests that a gateway has answered.

use std::{
    fmt::{self, Display},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hyper::StatusCode;

/// The number of answers, by class of status: 1xx first, 5xx last.
#[derive(Debug, Default)]
pub struct Served([AtomicU64; 5]);

impl Served {
    /// Counts an answer.
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = self.0.get(class) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// `3 requests: 2 answered 2xx, 1 answered 4xx`.
impl Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        let sum: u64 = counts.clone().sum();
        write!(f, "{sum} request{}", if sum == 1 { "" } else { "s" })?;
        let classes = counts.zip(1..).filter(|(count, _)| *count > 0);
        for (number, (count, class)) in classes.enumerate() {
            let separator = if number == 0 { ":" } else { "," };
            write!(f, "{separator} {count} answered {class}xx")?;
        }
        Ok(())
    }
}
