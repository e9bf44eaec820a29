use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use serde::Serialize;

/// One line of the access log. It is made on the hot path and therefore of parts that the request has
/// anyway and that are cheap to move or clone; all formatting happens on the log's thread.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the request's head was there.
    pub time: SystemTime,
    /// `-` when no site answers for the host.
    pub site: Arc<str>,
    /// As received.
    pub method: Method,
    /// Without port.
    pub host: Box<str>,
    /// Path and query as received, or `*`.
    pub target: PathAndQuery,
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub protocol: &'static str,
    /// Of the answer.
    pub status: u16,
    /// Sent, without framing.
    pub body_bytes: u64,
    /// From the request's head to the last byte of the answer, or to the cut.
    pub duration: Duration,
    /// Who asked.
    pub peer: IpAddr,
    /// `hit`, `stale`, `miss`, …
    pub cache: &'static str,
    /// The closed reason behind it, as in `Cache-Status`; empty when there is nothing to say.
    pub detail: Cow<'static, str>,
    /// Which tier had it: `memory`, `disk`, or empty.
    pub tier: &'static str,
    /// Whether the answer was sent whole.
    pub complete: bool,
    /// The id on an error page.
    pub request_id: Option<Box<str>>,
    /// As received.
    pub referer: Option<HeaderValue>,
    /// As received.
    pub user_agent: Option<HeaderValue>,
}

/// What is written; the order is the order in the line.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    site: &'a str,
    peer: IpAddr,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    protocol: &'static str,
    status: u16,
    body_bytes: u64,
    duration_seconds: f64,
    cache: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tier: &'static str,
    #[serde(skip_serializing_if = "is_true")]
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

impl Record {
    /// Appends this as one line of JSON. Bytes that are no UTF-8 become U+FFFD.
    pub(super) fn write_to(&self, buffer: &mut Vec<u8>) {
        let line = Line {
            time: Timestamp(self.time),
            site: &self.site,
            peer: self.peer,
            method: self.method.as_str(),
            host: &self.host,
            target: self.target.as_str(),
            protocol: self.protocol,
            status: self.status,
            body_bytes: self.body_bytes,
            duration_seconds: microseconds(self.duration),
            cache: self.cache,
            detail: &self.detail,
            tier: self.tier,
            complete: self.complete,
            request_id: self.request_id.as_deref(),
            referer: self.referer.as_ref().map(text),
            user_agent: self.user_agent.as_ref().map(text),
        };
        let start = buffer.len();
        // Neither a Vec nor these types can fail; half a line would break what reads the log.
        let written = serde_json::to_writer(&mut *buffer, &line).is_ok();
        if !written || buffer.write_all(b"\n").is_err() {
            buffer.truncate(start);
        }
    }
}

fn is_true(value: &bool) -> bool {
    *value
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// Seconds, rounded to microseconds so that the line has no noise digits.
fn microseconds(duration: Duration) -> f64 {
    Duration::new(
        duration.as_secs(),
        duration.subsec_micros().saturating_mul(1000),
    )
    .as_secs_f64()
}

/// A point in time that reads as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub SystemTime);

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = civil(since.as_secs() / 86_400);
        let second = since.as_secs() % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis()
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar. Years are counted
/// from March, so that the leap day is the last of its year, in cycles of 400 years (146 097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    // Day 0 of the count is 0000-03-01, 719 468 days earlier.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 153 days in every five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (400 * cycle + year + carry, month, day)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn record(target: &str) -> Record {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            site: "shop".into(),
            method: Method::GET,
            host: "shop.example".into(),
            target: target.parse().unwrap(),
            protocol: "HTTP/2.0",
            status: 200,
            body_bytes: 1234,
            duration: Duration::from_nanos(1_500_999),
            peer: Ipv4Addr::LOCALHOST.into(),
            cache: "hit",
            detail: Cow::Borrowed(""),
            tier: "memory",
            complete: true,
            request_id: None,
            referer: None,
            user_agent: None,
        }
    }

    fn line(record: &Record) -> String {
        let mut buffer = Vec::new();
        record.write_to(&mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_plain_line() {
        assert_eq!(
            line(&record("/a?b=1")),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"site\":\"shop\",\"peer\":\"127.0.0.1\",\
             \"method\":\"GET\",\"host\":\"shop.example\",\"target\":\"/a?b=1\",\
             \"protocol\":\"HTTP/2.0\",\"status\":200,\"body_bytes\":1234,\
             \"duration_seconds\":0.0015,\"cache\":\"hit\",\"tier\":\"memory\"}\n"
        );
    }

    #[test]
    fn hostile_values_stay_inside_their_string() {
        let mut record = record("/");
        record.user_agent = Some(HeaderValue::from_bytes(b"a\"b\\\t\xff").unwrap());
        record.referer = Some(HeaderValue::from_static("\",\"status\":500"));
        record.host = "x\ny".into();
        record.complete = false;
        record.request_id = Some("r1".into());
        record.detail = Cow::Borrowed("uri-miss");
        let line = line(&record);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user_agent"], "a\"b\\\t\u{fffd}");
        assert_eq!(value["referer"], "\",\"status\":500");
        assert_eq!(value["host"], "x\ny");
        assert_eq!(value["status"], 200);
        assert_eq!(value["complete"], false);
        assert_eq!(value["request_id"], "r1");
        assert_eq!(value["detail"], "uri-miss");
    }

    #[track_caller]
    fn check_time(seconds: u64, expect: &str) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Timestamp(time).to_string(), expect);
    }

    #[test]
    fn times_read_as_rfc_3339() {
        check_time(0, "1970-01-01T00:00:00.000Z");
        check_time(951_782_399, "2000-02-28T23:59:59.000Z");
        check_time(951_782_400, "2000-02-29T00:00:00.000Z");
        check_time(951_868_800, "2000-03-01T00:00:00.000Z");
        check_time(1_709_164_800, "2024-02-29T00:00:00.000Z");
        check_time(4_107_542_400, "2100-03-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn dates_agree_with_httpdate(seconds in 0_u64..250_000_000_000) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let expect = httpdate::fmt_http_date(time);
            let (year, month, day) = civil(seconds / 86_400);
            let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = names[usize::try_from(month).unwrap() - 1];
            let date = format!("{day:02} {month} {year:04}");
            prop_assert!(expect.contains(&date), "{} is not in {}", date, expect);
        }
    }
}
