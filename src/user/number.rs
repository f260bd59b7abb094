//! Numbers in the exact form that DynamoDB stores.
//!
//! The digits stay text, because `f64` and `u64` cannot hold 38 digits.

/// The maximum number of significant digits in a DynamoDB number
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html>).
const MAX_DIGITS: usize = 38;
/// The exponents that a DynamoDB number can have, in scientific notation.
const EXPONENTS: std::ops::RangeInclusive<i64> = -130..=125;

/// The text that DynamoDB returns for the JSON number `text`: decimal digits without an exponent
/// and without superfluous zeros. `None` if DynamoDB cannot store the number exactly.
pub(super) fn canonical(text: &str) -> Option<String> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", text),
    };
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(String::from("0"));
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    // The value is 0.SIGNIFICANT times ten to the power of `point`.
    let point = i64::from(exponent.parse::<i32>().ok()?)
        + i64::try_from(significant.len() + trailing_zeros).ok()?
        - i64::try_from(fraction.len()).ok()?;
    if significant.len() > MAX_DIGITS || !EXPONENTS.contains(&(point - 1)) {
        return None;
    }
    let width = usize::try_from(point.unsigned_abs()).ok()?;
    Some(if point <= 0 {
        format!("{sign}0.{}{significant}", "0".repeat(width))
    } else if width >= significant.len() {
        format!("{sign}{significant:0<width$}")
    } else {
        let (whole, fraction) = significant.split_at(width);
        format!("{sign}{whole}.{fraction}")
    })
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_number_is_written_as_dynamodb_gives_it_back() {
        for (json, dynamodb) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.000", "0"),
            ("0e999999999999999999999", "0"),
            ("1", "1"),
            ("1.0", "1"),
            ("100", "100"),
            ("-1.50", "-1.5"),
            ("1e2", "100"),
            ("12.5E-1", "1.25"),
            ("0.001", "0.001"),
            ("120e-4", "0.012"),
            (
                "12345678901234567890123456789012345678",
                "12345678901234567890123456789012345678",
            ),
        ] {
            assert_eq!(canonical(json).as_deref(), Some(dynamodb), "{json}");
        }
    }

    #[test]
    fn a_number_that_dynamodb_would_round_or_refuse_is_none() {
        for json in [
            "123456789012345678901234567890123456789",
            "0.123456789012345678901234567890123456789",
            "1e126",
            "-1e126",
            "1e-131",
            "1e99999999999999999999",
            "1e9223372036854775807",
        ] {
            assert_eq!(canonical(json), None, "{json}");
        }
        assert!(canonical("1e125").is_some());
        assert!(canonical("1e-130").is_some());
    }
}
