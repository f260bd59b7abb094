//! The time of a write.

use std::{fmt, time::SystemTime};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// A point in time. Its text has whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        Self(moment.into())
    }
}

impl Timestamp {
    /// The time `seconds` after 1970. `None` if it is after the year 9999.
    pub fn from_unix_seconds(seconds: u64) -> Option<Self> {
        let seconds = seconds.try_into().ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// The Unix time in nanoseconds.
    pub(super) fn unix_nanoseconds(self) -> u128 {
        self.0.unix_timestamp_nanos().try_into().unwrap_or_default()
    }

    /// The Unix time in seconds, as DynamoDB's Time to Live (TTL) uses it.
    pub fn unix_seconds(self) -> u64 {
        self.0.unix_timestamp().try_into().unwrap_or_default()
    }
}

/// RFC 3339, in UTC, with milliseconds: `2026-01-31T09:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RFC_3339_MILLISECONDS: &[BorrowedFormatItem<'_>] = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let text = self
            .0
            .format(RFC_3339_MILLISECONDS)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_timestamp_shows_milliseconds_and_nothing_finer() {
        let fine = UNIX_EPOCH + Duration::from_nanos(1_999_999);
        assert_eq!(
            Timestamp::from(fine).to_string(),
            "1970-01-01T00:00:00.001Z"
        );
    }
}
