//! The `version`.

/// Counts the writes of a user. A new user has version 1, and each write adds 1. The maximum is
/// 2^53 - 1, because JSON parsers agree exactly on integers up to this value (RFC 8259 section 6).
/// After the maximum, the count starts again at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

impl Version {
    /// The version of a new user.
    pub const FIRST: Self = Self(1);
    /// The last version before the count starts again.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Reads a DynamoDB number. `None` if the number is not a valid version.
    pub fn parse(number: &str) -> Option<Self> {
        let version = number.parse().map(Self).ok()?;
        (Self::FIRST.0..=Self::MAX.0)
            .contains(&version.0)
            .then_some(version)
    }

    /// The version as a number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The version after `version`. The first version if `version` is `None`.
    pub fn after(version: Option<Self>) -> Self {
        match version {
            Some(version) if version != Self::MAX => Self(version.0 + 1),
            Some(_) | None => Self::FIRST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_whole_number_that_json_keeps_and_begins_again_after_the_last() {
        for (number, version) in [
            ("0", None),
            ("1", Some(1)),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("18446744073709551615", None),
            ("99999999999999999999999999999999999999", None),
            ("1.5", None),
            ("-1", None),
        ] {
            assert_eq!(Version::parse(number), version.map(Version), "{number}");
        }
        assert_eq!(Version::after(None), Version::FIRST);
        assert_eq!(Version::after(Some(Version(7))), Version(8));
        assert_eq!(Version::after(Some(Version::MAX)), Version::FIRST);
    }
}
