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
        Self::at(ticks(now).max(next.unwrap_or_default()))
    }

    /// The id of a deletion or an erasure after the write with this id. It follows this id at once,
    /// whatever the time is. A user who is created again at the same time gets a later id: a creation
    /// reads nothing, so its id cannot follow one that it knows.
    pub fn ended(self) -> Self {
        Self::at(self.ticks() + 1)
    }

    fn at(ticks: u64) -> Self {
        let mut bytes = Uuid::new_v4().into_bytes();
        let [high, low] = u16::to_be_bytes((ticks % TICKS_IN_A_MILLISECOND) as u16);
        // The builder puts these 12 bits behind the version.
        (bytes[0], bytes[1]) = (high, low);
        let random: &[u8; 10] = bytes.first_chunk().expect("a UUID has 16 bytes");
        let millis = ticks / TICKS_IN_A_MILLISECOND;
        Self(Builder::from_unix_timestamp_millis(millis, random).into_uuid())
    }

    /// Reads an id. `None` if `text` is not the id of a write.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let is_canonical = uuid.hyphenated().to_string() == text;
        (uuid.get_version_num() == 7 && is_canonical).then_some(Self(uuid))
    }

    /// The time in the id, in ticks since 1970.
    fn ticks(self) -> u64 {
        let (high, _) = self.0.as_u64_pair();
        (high >> 16) * TICKS_IN_A_MILLISECOND + (high & (TICKS_IN_A_MILLISECOND - 1))
    }
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
        let end = by_a_slow_clock.ended();
        let created_again = WriteId::after(None, at(now + 2_000));
        let ids = [
            first,
            after_a_microsecond,
            by_a_slow_clock,
            end,
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
