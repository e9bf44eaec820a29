//! Fields that are meant for one connection only (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

use super::list;

const FIELDS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` cannot name away. RFC 9110 §7.6.1 forbids a sender to name fields that are
/// meant for all recipients; obeying one that does would turn a private response into a storable one, or
/// misread its body.
const KEPT: [HeaderName; 12] = [
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::VARY,
    header::SET_COOKIE,
    header::AUTHORIZATION,
    header::HOST,
    header::DATE,
    header::AGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
];

/// Whether a field is always hop-by-hop.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    FIELDS.contains(name)
}

/// Removes the hop-by-hop fields, and what `Connection` names.
pub fn remove(headers: &mut HeaderMap) {
    let named: SmallVec<[HeaderName; 4]> = list::members(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !KEPT.contains(name))
        .collect();
    for name in named.iter().chain(&FIELDS) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(given: &[(&str, &str)], expect: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        remove(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, expect);
    }

    #[test]
    fn connection_fields_and_what_they_name_go() {
        check(
            &[
                ("Connection", "close, X-A"),
                ("Connection", "x-b;, bad name, x-c"),
                ("X-A", "1"),
                ("X-B", "1"),
                ("X-C", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Proxy-Authentication-Info", "x"),
                ("Proxy-Authorization", "x"),
                ("Proxy-Connection", "close"),
                ("TE", "trailers"),
                ("Transfer-Encoding", "chunked"),
                ("Upgrade", "h2c"),
                ("ETag", "\"a\""),
            ],
            &["etag", "x-b"],
        );
    }

    #[test]
    fn what_decides_about_storing_cannot_be_named_away() {
        check(
            &[
                ("Connection", "cache-control, Set-Cookie, vary, x-a"),
                ("Cache-Control", "no-store"),
                ("Set-Cookie", "a=b"),
                ("Vary", "*"),
                ("X-A", "1"),
            ],
            &["cache-control", "set-cookie", "vary"],
        );
    }

    proptest! {
        #[test]
        fn nothing_hop_by_hop_is_left(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(header::CONNECTION, value);
            }
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            remove(&mut headers);
            prop_assert!(headers.keys().all(|name| !is_hop_by_hop(name)));
        }
    }
}
