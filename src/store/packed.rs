//! The fields of a stored response in little room.
//!
//! A `HeaderMap` of eight fields takes more than a kilobyte, and a node holds millions of stored
//! responses of which few are asked for at a time. So names that are usual are one byte, dates are
//! numbers, and values that many responses share are numbers of a table.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use parking_lot::RwLock;

use crate::semantics::date;

/// Names that are one byte. Nothing of this outlives the process, so the order is free.
static NAMES: [HeaderName; 48] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFERRER_POLICY,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("cross-origin-embedder-policy"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("x-powered-by"),
];

static CODES: LazyLock<HashMap<&'static str, u8>> = LazyLock::new(|| {
    NAMES
        .iter()
        .zip(1..)
        .map(|(name, code)| (name.as_str(), code))
        .collect()
});

/// The code of a name that is written out.
const WRITTEN_OUT: u8 = 0;

const VALUE_AS_IT_IS: u8 = 0;
const VALUE_DATE: u8 = 1;
const VALUE_SHARED: u8 = 2;

/// How a value stands for itself.
enum Value<'a> {
    AsItIs(&'a [u8]),
    /// Seconds since 1970.
    Date(u64),
    Shared(u16),
}

/// Appends the fields to `out`.
pub(super) fn put_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    put_number(out, headers.len() as u64);
    for (name, value) in headers {
        let code = CODES.get(name.as_str()).copied().unwrap_or(WRITTEN_OUT);
        out.push(code);
        if code == WRITTEN_OUT {
            put_bytes(out, name.as_str().as_bytes());
        }
        match short_form(name, code, value) {
            Value::AsItIs(bytes) => {
                out.push(VALUE_AS_IT_IS);
                put_bytes(out, bytes);
            }
            Value::Date(seconds) => {
                out.push(VALUE_DATE);
                put_number(out, seconds);
            }
            Value::Shared(number) => {
                out.push(VALUE_SHARED);
                put_number(out, number.into());
            }
        }
    }
}

fn short_form<'a>(name: &HeaderName, code: u8, value: &'a HeaderValue) -> Value<'a> {
    let as_it_is = Value::AsItIs(value.as_bytes());
    match *name {
        header::DATE | header::LAST_MODIFIED | header::EXPIRES => {
            // Only what comes out the same again: there are three spellings (RFC 9110 §5.6.7).
            let seconds = date::parse(value.as_bytes())
                .filter(|time| date::format(*time) == *value)
                .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            seconds.map_or(as_it_is, |since| Value::Date(since.as_secs()))
        }
        // Another one for nearly every response.
        header::ETAG
        | header::CONTENT_LENGTH
        | header::CONTENT_LOCATION
        | header::CONTENT_DISPOSITION
        | header::AGE
        | header::LINK
        | header::LOCATION
        | header::SET_COOKIE => as_it_is,
        _ if code == WRITTEN_OUT => as_it_is,
        _ => SHARED
            .number_of(code, value.as_bytes())
            .map_or(as_it_is, Value::Shared),
    }
}

/// Reads the fields at the front of `packed`. `None` if it is not what [`put_fields`] wrote.
pub(super) fn fields(mut packed: &[u8]) -> Option<HeaderMap> {
    let packed = &mut packed;
    let count = usize::try_from(take_number(packed)?).ok()?;
    let mut headers = HeaderMap::try_with_capacity(count.min(packed.len()) + ROOM).ok()?;
    // All values in one piece, apart from the stored ones: what a client reads slowly then holds this
    // piece, and not the object.
    let mut values = BytesMut::with_capacity(packed.len() + count.min(packed.len()) * DATE_BYTES);
    for _ in 0..count {
        let name = match take_byte(packed)? {
            WRITTEN_OUT => HeaderName::from_bytes(take_bytes(packed)?).ok()?,
            code => NAMES.get(usize::from(code) - 1)?.clone(),
        };
        match take_byte(packed)? {
            VALUE_AS_IT_IS => values.put_slice(take_bytes(packed)?),
            VALUE_DATE => {
                let since = Duration::from_secs(take_number(packed)?);
                let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
                values.put_slice(date::format(time).as_bytes());
            }
            VALUE_SHARED => {
                let number = usize::try_from(take_number(packed)?).ok()?;
                values.put_slice(SHARED.value(number)?);
            }
            _ => return None,
        }
        let value = HeaderValue::from_maybe_shared(values.split().freeze()).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

/// Fields that an answer gets beside the stored ones: `Age`, `Via`, `Content-Length`, `Accept-Ranges`,
/// `Cache-Status` and some.
const ROOM: usize = 6;
/// Of a date as text (RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

/// Values that were seen before; what is in here stays until the process ends, so it is bounded.
static SHARED: LazyLock<SharedValues> = LazyLock::new(SharedValues::new);

/// Of all names, and of one: one origin with a new value for each response must not take it all.
const SHARED_MAX: usize = 8192;
const SHARED_OF_NAME_MAX: usize = 512;
/// Longer values are kept as they are: they are seldom alike.
const SHARED_BYTES_MAX: usize = 256;

struct SharedValues {
    values: Box<[OnceLock<Box<[u8]>>]>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<Box<[u8]>, u16>,
    of_name: HashMap<u8, usize>,
}

impl SharedValues {
    fn new() -> Self {
        Self {
            values: (0..SHARED_MAX).map(|_| OnceLock::new()).collect(),
            known: RwLock::default(),
        }
    }

    fn value(&self, number: usize) -> Option<&[u8]> {
        self.values.get(number)?.get().map(|value| &**value)
    }

    fn number_of(&self, name: u8, value: &[u8]) -> Option<u16> {
        if value.len() > SHARED_BYTES_MAX {
            return None;
        }
        if let Some(number) = self.known.read().numbers.get(value) {
            return Some(*number);
        }
        let mut known = self.known.write();
        if let Some(number) = known.numbers.get(value) {
            return Some(*number);
        }
        let next = known.numbers.len();
        let of_name = known.of_name.entry(name).or_default();
        if *of_name >= SHARED_OF_NAME_MAX {
            return None;
        }
        let place = self.values.get(next)?;
        let number = u16::try_from(next).ok()?;
        *of_name += 1;
        place.get_or_init(|| value.into());
        known.numbers.insert(value.into(), number);
        Some(number)
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn take_byte(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

pub(super) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take_byte(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(fields_in: &[(&str, &str)], packed_bytes_max: usize) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields_in {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut packed = Vec::new();
        put_fields(&mut packed, &headers);
        assert_eq!(fields(&packed), Some(headers));
        assert!(packed.len() <= packed_bytes_max, "{}", packed.len());
    }

    #[test]
    fn usual_fields_take_little_room() {
        check(
            &[
                ("server", "nginx/1.22.1"),
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("content-type", "image/jpeg"),
                ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("etag", "\"65f2a0b1-400\""),
                ("cache-control", "public, max-age=86400"),
                ("accept-ranges", "bytes"),
            ],
            60,
        );
    }

    #[test]
    fn dates_in_another_spelling_stay_as_they_are() {
        for value in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "0",
            "",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            check(&[("expires", value), ("date", value)], 80);
        }
    }

    #[test]
    fn one_name_does_not_take_all_numbers() {
        let shared = SharedValues::new();
        let taken = (0..1000)
            .filter(|n: &u32| shared.number_of(7, &n.to_le_bytes()).is_some())
            .count();
        assert_eq!(taken, SHARED_OF_NAME_MAX);
        assert_eq!(shared.number_of(8, b"of another"), Some(512));
        assert_eq!(shared.number_of(7, &1_u32.to_le_bytes()), Some(1));
        assert_eq!(shared.number_of(8, &[0; SHARED_BYTES_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_were(
            list in proptest::collection::vec(
                ("(vary|date|etag|x-[a-z]{1,5}|set-cookie)", "[ -~]{0,40}"),
                0..20,
            ),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &list {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value.trim()).unwrap(),
                );
            }
            let mut packed = Vec::new();
            put_fields(&mut packed, &headers);
            prop_assert_eq!(fields(&packed), Some(headers));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(fields(&bytes));
        }

        #[test]
        fn a_number_comes_back(number: u64) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut left = &out[..];
            prop_assert_eq!(take_number(&mut left), Some(number));
            prop_assert!(left.is_empty());
        }
    }
}
