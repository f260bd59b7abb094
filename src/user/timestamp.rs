//! The time of a write.

use std::{fmt, time::SystemTime};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// A point in time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

/// Truncates to whole milliseconds.
impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        Self(OffsetDateTime::from(moment).truncate_to_millisecond())
    }
}

impl Timestamp {
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
    fn a_timestamp_keeps_milliseconds_and_nothing_finer() {
        let moment = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let (coarse, fine) = (moment(1_000_000), moment(1_999_999));
        assert_eq!(Timestamp::from(fine), Timestamp::from(coarse));
        assert_eq!(
            Timestamp::from(fine).to_string(),
            "1970-01-01T00:00:00.001Z"
        );
    }
}
