use std::time::Duration;

use super::source::Wrong;

const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// `"30s"`: a whole number and one unit.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let fix = "write a whole number and one of ms, s, m, h, d, such as \"30s\"";
    let (number, unit) = split(text).ok_or_else(|| Wrong::new("not a duration", fix))?;
    if unit.is_empty() {
        return match number {
            0 => Ok(Duration::ZERO),
            _ => Err(Wrong::new(
                "a duration without a unit",
                format!("write \"{number}s\""),
            )),
        };
    }
    let Some((_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(format!("{unit:?} is no unit of time"), fix));
    };
    number
        .checked_mul(*factor)
        .map(Duration::from_millis)
        .ok_or_else(|| Wrong::new("longer than can be counted", fix))
}

/// The same, for a command line.
///
/// # Errors
/// What is wrong, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|wrong| format!("{}; {}", wrong.problem, wrong.fix))
}

/// `"64MiB"`: a whole number and one unit.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let fix = "write a whole number and one of B, KiB, MiB, GiB, TiB, such as \"64MiB\"";
    let (number, unit) = split(text).ok_or_else(|| Wrong::new("not a size", fix))?;
    if unit.is_empty() {
        return match number {
            0 => Ok(0),
            _ => Err(Wrong::new(
                "a size without a unit",
                format!("write \"{number}B\", or use KiB, MiB or GiB"),
            )),
        };
    }
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let binary = SIZE_UNITS.iter().find(|(name, _)| {
            name.chars().next() == unit.chars().next().map(|c| c.to_ascii_uppercase())
        });
        return Err(match binary {
            Some((name, _)) => Wrong::new(
                format!("{unit:?} is no unit of size here"),
                format!("write \"{number}{name}\""),
            ),
            None => Wrong::new(format!("{unit:?} is no unit of size"), fix),
        });
    };
    number
        .checked_mul(*factor)
        .ok_or_else(|| Wrong::new("larger than can be counted", fix))
}

/// In the largest unit that leaves no rest.
pub(super) fn duration_text(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    in_largest_unit(milliseconds, DURATION_UNITS)
}

/// In the largest unit that leaves no rest.
pub(super) fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    in_largest_unit(bytes, SIZE_UNITS)
}

fn in_largest_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let largest = units
        .iter()
        .rev()
        .find(|(_, factor)| amount.is_multiple_of(*factor));
    match largest {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => amount.to_string(),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_duration(text: &str, expect: Option<u64>) {
        let expect = expect.map(Duration::from_millis);
        assert_eq!(duration(text).ok(), expect, "{text}");
    }

    #[track_caller]
    fn check_size(text: &str, expect: Result<u64, &str>) {
        match (size(text), expect) {
            (Ok(bytes), Ok(expect)) => assert_eq!(bytes, expect, "{text}"),
            (Err(wrong), Err(fix)) => assert!(wrong.fix.contains(fix), "{text}: {wrong:?}"),
            (got, expect) => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        check_duration("5ms", Some(5));
        check_duration("30s", Some(30_000));
        check_duration("8h", Some(28_800_000));
        check_duration("365d", Some(365 * 86_400_000));
        check_duration("0", Some(0));
        check_duration("0s", Some(0));
        for wrong in [
            "",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "10",
            "1w",
            "1S",
            "99999999999999999999s",
            "999999999999999999d",
            "١s",
        ] {
            check_duration(wrong, None);
        }
    }

    #[test]
    fn sizes_are_a_number_and_a_binary_unit() {
        check_size("0", Ok(0));
        check_size("256B", Ok(256));
        check_size("8KiB", Ok(8192));
        check_size("4GiB", Ok(4 << 30));
        check_size("64MB", Err("64MiB"));
        check_size("64m", Err("64MiB"));
        check_size("1g", Err("1GiB"));
        check_size("100", Err("100B"));
        check_size("-1B", Err("whole number"));
        check_size("18446744073709551615TiB", Err("whole number"));
        check_size("5 apples", Err("whole number"));
    }

    proptest! {
        #[test]
        fn texts_of_durations_are_read_back(milliseconds in 0_u64..10_u64.pow(15)) {
            let length = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration(&duration_text(length)), Ok(length));
        }

        #[test]
        fn texts_of_sizes_are_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _first = (duration(&text), size(&text));
        }
    }
}
