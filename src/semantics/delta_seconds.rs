//! `delta-seconds` (RFC 9111 §1.2.2): a whole number of seconds that may be larger than any integer.

use std::time::Duration;

/// What every larger number is taken as: 2^31 seconds, some 68 years (RFC 9111 §1.2.2).
pub const LONGEST: Duration = Duration::from_secs(1 << 31);

/// Reads digits, and nothing but digits; more than [`LONGEST`] means [`LONGEST`].
#[must_use]
pub fn parse(text: &[u8]) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut seconds: u64 = 0;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        // Once past the cap the value no longer matters, only that digits follow.
        seconds = (seconds * 10 + digit).min(LONGEST.as_secs());
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<u64>) {
        assert_eq!(
            parse(text.as_bytes()),
            expect.map(Duration::from_secs),
            "{text:?}"
        );
    }

    #[test]
    fn digits_only() {
        check("0", Some(0));
        check("00003600", Some(3600));
        check("", None);
        check("-1", None);
        check("+1", None);
        check("1.0", None);
        check("1a", None);
        check(" 1", None);
    }

    #[test]
    fn large_numbers_mean_very_long() {
        check("2147483647", Some((1 << 31) - 1));
        check("2147483648", Some(1 << 31));
        check("99999999999", Some(1 << 31));
        check(&"9".repeat(400), Some(1 << 31));
        check(&format!("{}5", "0".repeat(400)), Some(5));
    }

    proptest! {
        #[test]
        fn any_number_round_trips_up_to_the_cap(seconds: u64) {
            let parsed = parse(seconds.to_string().as_bytes()).unwrap();
            prop_assert_eq!(parsed.as_secs(), seconds.min(1 << 31));
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>) {
            let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            prop_assert_eq!(parse(&text).is_some(), all_digits);
        }
    }
}
