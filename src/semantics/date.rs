//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// The last second that four digits of year can say.
const LAST_SECOND: u64 = 253_402_300_799;

const SHORT_DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads a date in any of the three forms, names in any case, and otherwise to the letter.
///
/// The name of the day is not compared with the date. A two-digit year below 70 is of this century:
/// RFC 9110 asks for a window of fifty years around now, which a function without a clock
/// cannot have; from 2020 on the two rules differ only for dates decades away.
#[must_use]
pub fn parse(text: &[u8]) -> Option<SystemTime> {
    let text = text.trim_ascii();
    imf_fixdate(text)
        .or_else(|| rfc_850(text))
        .or_else(|| asctime(text))?
        .time()
}

/// Writes a date in the preferred form. Times outside the years 1970 to 9999 are moved to the nearest
/// second inside; fractions of a second are cut off.
#[must_use]
pub fn format(time: SystemTime) -> HeaderValue {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
        .min(LAST_SECOND);
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Fields> {
    let mut cursor = Cursor(text);
    cursor.name(&SHORT_DAYS)?;
    cursor.literal(", ")?;
    let day = cursor.digits(2)?;
    cursor.literal(" ")?;
    let month = cursor.name(&MONTHS)?;
    cursor.literal(" ")?;
    let year = cursor.digits(4)?;
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" GMT")?;
    cursor.end(Fields {
        year,
        month,
        day,
        second_of_day,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc_850(text: &[u8]) -> Option<Fields> {
    let mut cursor = Cursor(text);
    cursor.name(&LONG_DAYS)?;
    cursor.literal(", ")?;
    let day = cursor.digits(2)?;
    cursor.literal("-")?;
    let month = cursor.name(&MONTHS)?;
    cursor.literal("-")?;
    let short_year = cursor.digits(2)?;
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" GMT")?;
    cursor.end(Fields {
        year: short_year + if short_year < 70 { 2000 } else { 1900 },
        month,
        day,
        second_of_day,
    })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Fields> {
    let mut cursor = Cursor(text);
    cursor.name(&SHORT_DAYS)?;
    cursor.literal(" ")?;
    let month = cursor.name(&MONTHS)?;
    cursor.literal(" ")?;
    let day = match cursor.literal(" ") {
        Some(()) => cursor.digits(1)?,
        None => cursor.digits(2)?,
    };
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" ")?;
    let year = cursor.digits(4)?;
    cursor.end(Fields {
        year,
        month,
        day,
        second_of_day,
    })
}

struct Fields {
    year: u32,
    /// 1 to 12.
    month: u32,
    day: u32,
    second_of_day: u32,
}

impl Fields {
    fn time(&self) -> Option<SystemTime> {
        if self.day == 0 || self.day > days_in_month(self.year, self.month) {
            return None;
        }
        let days = days_since_epoch(self.year.into(), self.month.into(), self.day.into());
        let seconds = days * 86_400 + i64::from(self.second_of_day);
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that the
/// leap day is the last of its year; 719 468 days lie between 0000-03-01 and the epoch.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, expect: &str) -> Option<()> {
        let (head, rest) = self.0.split_at_checked(expect.len())?;
        head.eq_ignore_ascii_case(expect.as_bytes()).then_some(())?;
        self.0 = rest;
        Some(())
    }

    /// One of `names`: its number, from 1.
    fn name(&mut self, names: &[&str]) -> Option<u32> {
        (1..)
            .zip(names)
            .find_map(|(number, name)| self.literal(name).map(|()| number))
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (head, rest) = self.0.split_at_checked(count)?;
        let number = head.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + u32::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(number)
    }

    fn time_of_day(&mut self) -> Option<u32> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        // 60 is a leap second, which the grammar allows.
        let second = self.digits(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<i64>) {
        let found = parse(text.as_bytes()).map(|time| {
            time.duration_since(SystemTime::UNIX_EPOCH).map_or_else(
                |before| -i64::try_from(before.duration().as_secs()).unwrap(),
                |since| i64::try_from(since.as_secs()).unwrap(),
            )
        });
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn three_forms() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Thu, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878));
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Thu Aug 18 02:01:18 2050", Some(2_544_400_878));
    }

    #[test]
    fn names_in_any_case() {
        check("THU, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878));
        check("Thu, 18 AUG 2050 02:01:18 GMT", Some(2_544_400_878));
        check("Thu, 18 Aug 2050 02:01:18 gMT", Some(2_544_400_878));
        check("thursday, 18-aug-50 02:01:18 gmt", Some(2_544_400_878));
    }

    #[test]
    fn odd_dates_are_no_dates() {
        check("0", None);
        check("", None);
        check("Thu, 18 Aug 2050 02:01:18 UTC", None);
        check("Thu, 18 Aug 2050 02:01:18 AEST", None);
        check("Thu, 18 Aug 2050 02:01:18", None);
        check("Thu 18 Aug 2050 02:01:18 GMT", None);
        check("Thu, 18  Aug  2050 02:01:18 GMT", None);
        check("Thu, 18-Aug-2050 02:01:18 GMT", None);
        check("Thu, 18 Aug 2050 02.01.18 GMT", None);
        check("Thu, 18 Aug 2050 2:01:18 GMT", None);
        check("Thu, 18 Aug 50 02:01:18 GMT", None);
        check("Thu, 8 Aug 2050 02:01:18 GMT", None);
        check("Thu, 18 Aug 2050 02:01:18 GMT, x", None);
        check("Foo, 18 Aug 2050 02:01:18 GMT", None);
    }

    #[test]
    fn impossible_dates_are_no_dates() {
        check("Thu, 00 Jan 1970 00:00:00 GMT", None);
        check("Thu, 30 Feb 2024 00:00:00 GMT", None);
        check("Thu, 29 Feb 2023 00:00:00 GMT", None);
        check("Thu, 29 Feb 1900 00:00:00 GMT", None);
        check("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800));
        check("Thu, 29 Feb 2000 00:00:00 GMT", Some(951_782_400));
        check("Thu, 01 Jan 1970 24:00:00 GMT", None);
        check("Thu, 01 Jan 1970 00:60:00 GMT", None);
        check("Thu, 01 Jan 1970 00:00:60 GMT", Some(60));
        check("Thu, 01 Jan 1970 00:00:61 GMT", None);
    }

    #[test]
    fn far_away() {
        check("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1));
        check("Mon, 01 Jan 1601 00:00:00 GMT", Some(-11_644_473_600));
        check("Sun, 07 Feb 2106 06:28:16 GMT", Some(1 << 32));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
    }

    #[test]
    fn times_beyond_the_form_are_written_as_its_ends() {
        let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 5);
        assert_eq!(format(beyond), "Fri, 31 Dec 9999 23:59:59 GMT");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(format(before), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0..=LAST_SECOND) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(format(time).as_bytes()), Some(time));
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>) {
            prop_assert!(parse(&text).is_none() || text.len() >= 24);
        }

        #[test]
        fn near_misses_are_survived(text in "(Sun|Sunday),? [0-9 -]{2,3}[- ](Feb|Nov)[- ][0-9]{2,4} [0-9:]{5,8} ?(GMT)?") {
            if let Some(time) = parse(text.as_bytes()).filter(|time| *time >= SystemTime::UNIX_EPOCH) {
                prop_assert_eq!(parse(format(time).as_bytes()), Some(time));
            }
        }
    }
}
