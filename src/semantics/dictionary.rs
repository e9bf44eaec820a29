//! Compression dictionaries (RFC 9842): which one a client has, and whether its request may be answered with one.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Names the dictionary that the client has, by its hash (RFC 9842 §2.2).
pub const AVAILABLE_DICTIONARY: HeaderName = HeaderName::from_static("available-dictionary");
/// The name that the server gave it (RFC 9842 §2.3).
pub const DICTIONARY_ID: HeaderName = HeaderName::from_static("dictionary-id");
/// Says that an answer can be a dictionary for later requests (RFC 9842 §2.1).
pub const USE_AS_DICTIONARY: HeaderName = HeaderName::from_static("use-as-dictionary");

/// Longest name of a dictionary.
const NAME_MAX: usize = 1024;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The hash (SHA-256) of the dictionary that the client has. A field that is repeated, or is anything but one hash, counts as absent.
#[must_use]
pub fn available(request: &HeaderMap) -> Option<[u8; 32]> {
    let mut lines = request.get_all(AVAILABLE_DICTIONARY).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let item: sfv::Item = sfv::Parser::new(line.as_bytes()).parse().ok()?;
    item.bare_item.as_byte_sequence()?.try_into().ok()
}

/// The field for one hash, as it is written (RFC 9651 §4.1.8).
#[must_use]
pub fn field(hash: &[u8; 32]) -> Option<HeaderValue> {
    let hash = sfv::BareItem::ByteSequence(hash.to_vec());
    HeaderValue::try_from(sfv::ItemSerializer::new().bare_item(&hash).finish()).ok()
}

/// The name of the client's dictionary, as it is written; `None` when it is not one string of a length that may be given
/// (RFC 9842 §2.1.3).
#[must_use]
pub fn name(request: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = request.get_all(DICTIONARY_ID).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let item: sfv::Item = sfv::Parser::new(line.as_bytes()).parse().ok()?;
    let name = item.bare_item.as_string()?;
    if name.as_str().len() > NAME_MAX {
        return None;
    }
    HeaderValue::try_from(
        sfv::ItemSerializer::new()
            .bare_item(&item.bare_item)
            .finish(),
    )
    .ok()
}

/// Whether the page that asks may read the answer: else the length of an answer coded against a dictionary could tell it
/// of either (RFC 9842 §9.3). `allowed` gives the `Access-Control-Allow-Origin` that the answer will have, if it has one.
#[must_use]
pub fn is_readable(request: &HeaderMap, allowed: impl FnOnce() -> Option<HeaderValue>) -> bool {
    match reader(request) {
        Reader::Same => true,
        Reader::Other => false,
        Reader::Cors => {
            allowed().is_some_and(|allowed| allowed == "*" || Some(&allowed) == request.get(ORIGIN))
        }
    }
}

/// The one `Access-Control-Allow-Origin` of a response; browsers take several for none (Fetch §4.9).
#[must_use]
pub fn allowed_origin(response: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = response.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    let line = lines.next()?;
    lines.next().is_none().then(|| line.clone())
}

/// Who will read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The origin that it is of, or no browser.
    Same,
    /// Another origin, by leave.
    Cors,
    /// Another origin, which may show or run it but not read it.
    Other,
}

/// By the request's Fetch Metadata (W3C). Clients without it do not work for pages.
fn reader(request: &HeaderMap) -> Reader {
    let value = |name| request.get(name).map(|value| value.as_bytes());
    match (value(&FETCH_SITE), value(&FETCH_MODE)) {
        (None | Some(b"same-origin"), _) | (_, Some(b"navigate" | b"same-origin")) => Reader::Same,
        (_, Some(b"cors")) => Reader::Cors,
        _ => Reader::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    /// Of RFC 9842 §2.2.
    const FIELD: &str = ":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:";

    #[test]
    fn one_hash_is_read() {
        let hash = available(&headers(&[(AVAILABLE_DICTIONARY, FIELD)])).unwrap();
        assert_eq!(hash[..4], [0xa5, 0x91, 0xa6, 0xd4]);
    }

    #[test]
    fn anything_else_counts_as_absent() {
        for value in [
            "",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=",
            ":AAAA:",
            "::",
            ":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=",
            ":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:, :AAAA:",
            "\"pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=\"",
        ] {
            let fields = headers(&[(AVAILABLE_DICTIONARY, value)]);
            assert_eq!(available(&fields), None, "{value}");
        }
        assert_eq!(available(&HeaderMap::new()), None);
        let twice = headers(&[(AVAILABLE_DICTIONARY, FIELD), (AVAILABLE_DICTIONARY, FIELD)]);
        assert_eq!(available(&twice), None);
    }

    #[test]
    fn what_is_handed_on_is_written_anew() {
        let odd = headers(&[(
            AVAILABLE_DICTIONARY,
            " :pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:;x=\"<script>\"",
        )]);
        assert_eq!(field(&available(&odd).unwrap()).unwrap(), FIELD);
        let named = |value| name(&headers(&[(DICTIONARY_ID, value)]));
        assert_eq!(named("\"/app.js\";x=1").unwrap(), "\"/app.js\"");
        assert_eq!(named("/app.js"), None);
        assert_eq!(named("\"a\", \"b\""), None);
        let twice = headers(&[(DICTIONARY_ID, "\"a\""), (DICTIONARY_ID, "\"a\"")]);
        assert_eq!(name(&twice), None);
        let mut long = HeaderMap::new();
        let text = format!("\"{}\"", "a".repeat(NAME_MAX + 1));
        long.insert(DICTIONARY_ID, HeaderValue::try_from(text).unwrap());
        assert_eq!(name(&long), None);
    }

    #[test]
    fn only_who_may_read_the_answer_gets_one_against_a_dictionary() {
        let open = headers(&[(ACCESS_CONTROL_ALLOW_ORIGIN, "*")]);
        let named = headers(&[(ACCESS_CONTROL_ALLOW_ORIGIN, "https://www.example")]);
        let closed = HeaderMap::new();
        let asks = |site: &'static str, mode: &'static str| {
            headers(&[
                (FETCH_SITE, site),
                (FETCH_MODE, mode),
                (ORIGIN, "https://www.example"),
            ])
        };
        for (site, mode, response, expect) in [
            ("same-origin", "no-cors", &closed, true),
            ("same-origin", "cors", &closed, true),
            ("same-site", "no-cors", &open, false),
            ("cross-site", "no-cors", &open, false),
            ("cross-site", "cors", &closed, false),
            ("cross-site", "cors", &open, true),
            ("same-site", "cors", &named, true),
            ("none", "navigate", &closed, true),
            ("cross-site", "navigate", &closed, true),
            ("none", "no-cors", &closed, false),
            ("cross-site", "websocket", &open, false),
        ] {
            let request = asks(site, mode);
            assert_eq!(
                is_readable(&request, || allowed_origin(response)),
                expect,
                "{site} {mode}"
            );
        }
        assert!(is_readable(&HeaderMap::new(), || None));
        let other = headers(&[(ACCESS_CONTROL_ALLOW_ORIGIN, "https://else.example")]);
        let two = headers(&[
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ]);
        for response in [other, two] {
            let request = asks("cross-site", "cors");
            assert!(!is_readable(&request, || allowed_origin(&response)));
        }
    }
}
