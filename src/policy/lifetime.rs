//! How long a response stays fresh, and how old it is on arrival (RFC 9111 §4.2.1 to §4.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::semantics::{cache_control::CacheControl, date, delta_seconds, list};

use super::config::{Config, StatusTtl};
use super::storable::Exchange;

/// RFC 9111 §4.2.2 suggests a tenth of the time since the last change.
const HEURISTIC_DIVISOR: u32 = 10;
/// No guess is longer.
const HEURISTIC_MAX: Duration = Duration::from_secs(86_400);

/// The directives that decide for this cache, and where they stand.
pub(super) struct Directives {
    pub(super) cache_control: CacheControl,
    /// From an RFC 9213 field: `Cache-Control` and `Expires` then mean nothing to us.
    pub(super) is_targeted: bool,
}

impl Directives {
    /// The first targeted field that is valid, else `Cache-Control`.
    pub(super) fn of(config: &Config, response: &HeaderMap) -> Self {
        let targeted = config
            .targeted
            .iter()
            .find_map(|name| CacheControl::targeted(response, name));
        match targeted {
            Some(cache_control) => Self {
                cache_control,
                is_targeted: true,
            },
            None => Self {
                cache_control: CacheControl::of(response),
                is_targeted: false,
            },
        }
    }

    /// `s-maxage`, else `max-age`, else `Expires - Date`.
    pub(super) fn explicit_lifetime(&self, exchange: &Exchange<'_>) -> Option<Duration> {
        self.cache_control
            .s_maxage
            .or(self.cache_control.max_age)
            .or_else(|| {
                if self.is_targeted {
                    return None;
                }
                expires_lifetime(exchange)
            })
    }
}

/// RFC 9111 §5.3: several lines, or one that is no date, are a time in the past.
fn expires_lifetime(exchange: &Exchange<'_>) -> Option<Duration> {
    let mut lines = exchange.response.get_all(header::EXPIRES).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let lifetime = date::parse(first.as_bytes()).and_then(|expires| {
        let date = date_of(exchange.response, &header::DATE).unwrap_or(exchange.received_at);
        expires.duration_since(date).ok()
    });
    Some(lifetime.unwrap_or_default())
}

/// A tenth of the time since the last change, at most a day. `None` without a valid `Last-Modified` that
/// lies in the past.
pub(super) fn heuristic_lifetime(exchange: &Exchange<'_>) -> Option<Duration> {
    let modified = date_of(exchange.response, &header::LAST_MODIFIED)?;
    let date = date_of(exchange.response, &header::DATE).unwrap_or(exchange.received_at);
    let unchanged = date.duration_since(modified).ok()?;
    Some((unchanged / HEURISTIC_DIVISOR).min(HEURISTIC_MAX))
}

/// RFC 9110 §15.1: statuses whose responses may be stored without being told so. 206 is one of them, as the part of a
/// response that it is (RFC 9111 §3.3); [`assess`](super::assess) never takes it for a whole one.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The site's word for a status: the exact one before its class.
pub(super) fn status_lifetime(rules: &StatusTtl, status: StatusCode) -> Option<Duration> {
    let class = status.as_u16() / 100;
    rules
        .exact
        .iter()
        .find(|(exact, _)| *exact == status)
        .map(|&(_, lifetime)| lifetime)
        .or_else(|| {
            rules
                .class
                .iter()
                .find(|(known, _)| *known == class)
                .map(|&(_, lifetime)| lifetime)
        })
}

/// corrected_initial_age of RFC 9111 §4.2.3.
pub(super) fn initial_age(exchange: &Exchange<'_>) -> Duration {
    let apparent_age = date_of(exchange.response, &header::DATE)
        .and_then(|date| exchange.received_at.duration_since(date).ok())
        .unwrap_or_default();
    let response_delay = exchange
        .received_at
        .duration_since(exchange.requested_at)
        .unwrap_or_default();
    apparent_age.max(age_value(exchange.response).saturating_add(response_delay))
}

/// RFC 9111 §5.1: of several values the first counts; what is no number of seconds is ignored, and so is
/// a parameter behind one.
fn age_value(response: &HeaderMap) -> Duration {
    response
        .get(header::AGE)
        .and_then(|line| line.as_bytes().split(|&byte| byte == b',').next())
        .and_then(|first| list::split(first, b';').next())
        .and_then(delta_seconds::parse)
        .unwrap_or_default()
}

fn date_of(response: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    response
        .get(name)
        .and_then(|value| date::parse(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{BEFORE, Fields, NOW, SOON, Sample, at, seconds};
    use super::super::storable::Storability;

    /// Seconds of freshness that are left on arrival; `None` when the response is stale at once or not stored.
    #[track_caller]
    fn check_status(status: u16, response: Fields<'_>, expect: Option<i64>) {
        let sample = Sample {
            status,
            response,
            ..Sample::default()
        };
        let found = match sample.assess() {
            Storability::Store(freshness) if freshness.is_fresh(at(0)) => {
                Some(freshness.ttl(at(0)))
            }
            Storability::Store(_) | Storability::Refuse(_) => None,
        };
        assert_eq!(found, expect, "{status} {response:?}");
    }

    #[track_caller]
    fn check(response: Fields<'_>, expect: Option<i64>) {
        check_status(200, response, expect);
    }

    #[test]
    fn s_maxage_before_max_age_before_expires() {
        check(&[("cache-control", "max-age=3600")], Some(3600));
        check(
            &[
                ("cache-control", "max-age=0, s-maxage=60"),
                ("expires", "0"),
            ],
            Some(60),
        );
        check(
            &[
                ("cache-control", "s-maxage=1"),
                ("cache-control", "max-age=60"),
                ("expires", SOON),
            ],
            Some(1),
        );
        check(
            &[("expires", SOON), ("cache-control", "max-age=60")],
            Some(60),
        );
        check(&[("expires", SOON), ("cache-control", "max-age=abc")], None);
        check(&[("expires", SOON), ("cache-control", "foo=bar")], Some(10));
        check(
            &[
                ("cache-control", "foo=\"max-age=3600\", max-age=-1"),
                ("last-modified", BEFORE),
            ],
            None,
        );
        check(
            &[("cache-control", "max-age=99999999999")],
            Some(365 * 86_400),
        );
    }

    #[test]
    fn expires_is_counted_from_date() {
        check(&[("expires", SOON), ("date", NOW)], Some(10));
        check(&[("expires", SOON)], Some(10));
        check(&[("expires", SOON), ("date", "x")], Some(10));
        check(&[("expires", NOW), ("date", NOW)], None);
        check(&[("expires", "0"), ("date", NOW)], None);
        check(&[("expires", SOON), ("expires", SOON)], None);
        check(&[("expires", BEFORE)], None);
        // A slow Date lengthens the lifetime and the age by the same.
        check(&[("expires", SOON), ("date", BEFORE)], Some(10));
        // A fast one shortens the lifetime.
        check(&[("expires", SOON), ("date", SOON)], None);
        check(&[("expires", "Thu, 18 Aug 2050 02:01:18 UTC")], None);
    }

    #[test]
    fn age_counts_from_the_first_number() {
        let with_age = |age: &str, expect: Option<i64>| {
            check(&[("cache-control", "max-age=100"), ("age", age)], expect);
        };
        with_age("10", Some(90));
        with_age("100", None);
        with_age("2147483648", None);
        with_age("99999999999", None);
        with_age("0, 7200", Some(100));
        with_age("7200, 0", None);
        with_age("old, 0", Some(100));
        with_age(", 7200", Some(100));
        with_age("-7200", Some(100));
        with_age("7200.0", Some(100));
        with_age("\"7200\"", Some(100));
        with_age("10;foo=bar", Some(90));
        with_age("", Some(100));
        check(
            &[
                ("cache-control", "max-age=100"),
                ("age", "10"),
                ("age", "7200"),
            ],
            Some(90),
        );
        check(&[("expires", SOON), ("age", "15")], None);
        check(&[("expires", SOON), ("date", NOW), ("age", "5")], Some(5));
    }

    #[test]
    fn the_larger_of_apparent_and_told_age_counts() {
        check(
            &[("cache-control", "max-age=150"), ("date", BEFORE)],
            Some(50),
        );
        check(
            &[
                ("cache-control", "max-age=150"),
                ("date", BEFORE),
                ("age", "20"),
            ],
            Some(50),
        );
        check(
            &[
                ("cache-control", "max-age=150"),
                ("date", SOON),
                ("age", "20"),
            ],
            Some(130),
        );
        let slow = Sample {
            response: &[("cache-control", "max-age=150"), ("age", "20")],
            delay: seconds(3),
            ..Sample::default()
        };
        assert_eq!(slow.stored().initial_age, seconds(23));
    }

    #[test]
    fn heuristics_take_a_tenth_of_the_time_since_the_change() {
        let old = [("last-modified", BEFORE), ("date", NOW)];
        check(&old, Some(10));
        check(&[("last-modified", BEFORE)], Some(10));
        check(
            &[("last-modified", "Sun, 06 Nov 1904 08:49:37 GMT")],
            Some(86_400),
        );
        check(&[("last-modified", SOON)], None);
        check(&[("last-modified", "x")], None);
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            check_status(status, &old, Some(10));
        }
        for status in [
            201, 202, 299, 302, 303, 307, 400, 403, 499, 500, 502, 503, 504, 599,
        ] {
            check_status(status, &old, None);
            check_status(
                status,
                &[("last-modified", BEFORE), ("cache-control", "public")],
                Some(10),
            );
        }
        check_status(200, &[], None);
        check_status(
            200,
            &[
                ("last-modified", BEFORE),
                ("content-disposition", "attachment"),
            ],
            Some(10),
        );
    }

    #[test]
    fn a_part_may_be_guessed_fresh_as_a_part() {
        assert!(super::is_heuristically_cacheable(
            http::StatusCode::PARTIAL_CONTENT
        ));
        check_status(206, &[("last-modified", BEFORE), ("date", NOW)], None);
    }

    #[test]
    fn expires_may_be_written_in_three_forms_and_any_case() {
        for (form, expect) in [
            ("Sunday, 06-Nov-94 08:49:47 GMT", 10),
            ("Sun Nov  6 08:49:47 1994", 10),
            ("SUN, 06 nov 1994 08:49:47 gmt", 10),
            ("Tue, 19 Jan 2038 14:14:08 GMT", 365 * 86_400),
            ("Sun, 07 Feb 2106 06:28:16 GMT", 365 * 86_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 365 * 86_400),
        ] {
            check(&[("expires", form), ("date", NOW)], Some(expect));
        }
    }

    #[test]
    fn an_expires_that_is_no_date_is_in_the_past() {
        for odd in [
            "0",
            "",
            "-1",
            "never",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 50 02:01:18 GMT",
        ] {
            // A validator, so that it is stored and stale rather than not stored.
            check(&[("expires", odd), ("etag", "\"a\"")], None);
            check(&[("expires", odd), ("last-modified", BEFORE)], None);
        }
    }

    #[test]
    fn of_two_lifetimes_the_smaller_counts() {
        check(&[("cache-control", "max-age=60, max-age=5")], Some(5));
        check(
            &[
                ("cache-control", "max-age=5"),
                ("cache-control", "max-age=60"),
            ],
            Some(5),
        );
        check(
            &[("cache-control", "s-maxage=60, s-maxage=5, max-age=100")],
            Some(5),
        );
    }

    #[test]
    fn very_long_lifetimes_do_not_overflow() {
        for text in [
            "2147483647",
            "2147483648",
            "2147483649",
            "99999999999",
            "00000000099999999999",
        ] {
            check(
                &[("cache-control", &format!("max-age={text}"))],
                Some(365 * 86_400),
            );
        }
        check(&[("cache-control", "max-age=\"60\"")], Some(60));
        check(&[("cache-control", "mAx-AgE=0060, foo=bar, baz")], Some(60));
        for text in ["-60", "'60'", "60.0", "60s", "a60", " 60"] {
            check(
                &[
                    ("cache-control", &format!("max-age={text}")),
                    ("expires", SOON),
                ],
                None,
            );
        }
    }

    #[test]
    fn any_final_status_is_fresh_when_told_so() {
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599, 999,
        ] {
            check_status(status, &[("cache-control", "max-age=60")], Some(60));
            check_status(status, &[("expires", SOON)], Some(10));
        }
    }

    #[test]
    fn a_targeted_field_stands_in_for_both() {
        let cdn = |targeted: &str, own: &str, expect: Option<i64>| {
            check(
                &[
                    ("cdn-cache-control", targeted),
                    ("cache-control", own),
                    ("expires", SOON),
                ],
                expect,
            );
        };
        cdn("max-age=100", "max-age=1", Some(100));
        cdn("max-age=1", "max-age=100", Some(1));
        cdn("max-age=100", "no-store", Some(100));
        cdn("max-age=100", "private, no-cache", Some(100));
        cdn("max-age=0", "max-age=100", None);
        cdn("no-store", "max-age=100", None);
        cdn("no-cache, max-age=60", "max-age=100", Some(60));
        cdn("private", "max-age=100", None);
        cdn("foo", "max-age=100", None);
        cdn("max-age=60, foo=bar;x", "max-age=100", Some(60));
        // Void ones leave the word to Cache-Control.
        cdn("", "max-age=100", Some(100));
        cdn("max-age=60,,", "max-age=100", Some(100));
        cdn("max-age=\"60\"", "max-age=100", Some(100));
        cdn("max-age=6.0", "max-age=100", Some(100));
        cdn("Max-Age=60", "no-store", None);
    }

    proptest! {
        #[test]
        fn any_fields_are_survived(
            values in prop::collection::vec((0usize..6, "[ -~]{0,30}"), 0..8),
        ) {
            let names = ["cache-control", "expires", "date", "age", "vary", "cdn-cache-control"];
            let fields: Vec<_> = values.iter().map(|(at, value)| (names[*at], value.as_str())).collect();
            Sample { response: &fields, ..Sample::default() }.assess();
        }

        #[test]
        fn more_age_never_leaves_more_freshness(max_age in 0u64..1000, age in 0u64..1000, more in 0u64..1000) {
            let directive = format!("max-age={max_age}");
            let ttl = |age: u64| {
                let age = age.to_string();
                let response = [("cache-control", directive.as_str()), ("age", age.as_str())];
                Sample { response: &response, ..Sample::default() }.stored().ttl(at(0))
            };
            prop_assert!(ttl(age + more) <= ttl(age));
        }
    }
}
