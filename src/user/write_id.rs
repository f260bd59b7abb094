//! The id of a write.

use std::fmt;

use uuid::{Builder, Uuid};

use super::Timestamp;

/// The number of ticks in a millisecond: what the 12 bits after the milliseconds count.
const TICKS_IN_A_MILLISECOND: u64 = 1 << 12;

/// The id of one write of a user. It is the revision of the item, and the id of the record in the
/// history.
///
/// It is a version 7 UUID whose time has a resolution of a quarter of a microsecond (RFC 9562
/// section 6.2, method 3). The ids of the writes of one user have the order of the writes, also if
/// the clocks of the writers differ. As text, they have the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(Uuid);

impl WriteId {
    /// The id of a write at the time `now`. It follows the id of the `previous` write.
    pub fn after(previous: Option<Self>, now: Timestamp) -> Self {
        let next = previous.map(|id| id.ticks() + 1);
        Self::new(ticks(now).max(next.unwrap_or_default()), random())
    }

    /// The id of a deletion or an erasure at the time `now`, after the write with this id. It follows
    /// this id at once, whatever the time is. So a user who is created again at the same time gets a
    /// later id. (A creation reads nothing, so its id cannot follow one that it knows.)
    ///
    /// There can be several of these after one write, if a backup was restored between them. They have
    /// the order of their times.
    pub fn ended(self, now: Timestamp) -> Self {
        Self::new(self.ticks() + 1, ticks(now) << 2 | random() & 0b11)
    }

    /// The id with this time, and with the lower 62 bits of `tail` at its end.
    fn new(ticks: u64, tail: u64) -> Self {
        let in_millisecond = (ticks % TICKS_IN_A_MILLISECOND) as u16;
        let mut bytes = [0; 10];
        // The builder puts the version and the variant before these two parts.
        bytes[..2].copy_from_slice(&in_millisecond.to_be_bytes());
        bytes[2..].copy_from_slice(&tail.to_be_bytes());
        let millis = ticks / TICKS_IN_A_MILLISECOND;
        Self(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }

    /// Reads an id. `None` if `text` is not the id of a write.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let is_canonical = uuid.hyphenated().to_string() == text;
        (uuid.get_version_num() == 7 && is_canonical).then_some(Self(uuid))
    }

    /// The second in the id. `None` if it is after the year 9999.
    #[cfg(feature = "local")]
    pub fn second(self) -> Option<Timestamp> {
        Timestamp::from_unix_seconds(self.ticks() / TICKS_IN_A_MILLISECOND / 1_000)
    }

    /// The time in the id, in ticks since 1970.
    fn ticks(self) -> u64 {
        let (high, _) = self.0.as_u64_pair();
        (high >> 16) * TICKS_IN_A_MILLISECOND + (high & (TICKS_IN_A_MILLISECOND - 1))
    }
}

fn random() -> u64 {
    let (_, low) = Uuid::new_v4().as_u64_pair();
    low
}

fn ticks(time: Timestamp) -> u64 {
    let nanoseconds = time.unix_nanoseconds();
    let ticks = nanoseconds * u128::from(TICKS_IN_A_MILLISECOND) / 1_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(nanoseconds: u64) -> Timestamp {
        Timestamp::from(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    }

    #[test]
    fn the_ids_of_writes_have_the_order_of_the_writes_as_text_too() {
        let now = 1_700_000_000_000_000_000;
        let first = WriteId::after(None, at(now));
        let after_a_microsecond = WriteId::after(None, at(now + 1_000));
        let by_a_slow_clock = WriteId::after(Some(after_a_microsecond), at(now - 5_000_000));
        let end = by_a_slow_clock.ended(at(now + 50_000));
        let end_after_a_restore = by_a_slow_clock.ended(at(now + 51_000));
        let created_again = WriteId::after(None, at(now + 2_000));
        let ids = [
            first,
            after_a_microsecond,
            by_a_slow_clock,
            end,
            end_after_a_restore,
            created_again,
        ];
        assert!(ids.is_sorted());
        let texts = ids.map(|id| id.to_string());
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(
            texts.clone().map(|text| WriteId::parse(&text)),
            ids.map(Some)
        );
    }

    #[test]
    fn only_the_text_of_an_id_is_read() {
        for text in [
            "",
            "1",
            "c56a4180-65aa-42ec-a945-5fd21dec0538",
            "018BCFE5-6800-7000-8000-000000000000",
            "018bcfe568007000800000000000000",
        ] {
            assert_eq!(WriteId::parse(text), None, "{text}");
        }
    }
}
