use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING};

/// Whether an answer must keep the form that the origin gave it: it is coded already, or says `no-transform` (RFC 9111
/// §5.2.2.6).
pub(super) fn untouchable(headers: &HeaderMap) -> bool {
    has_coding(headers) || says_no_transform(headers)
}

pub(super) fn has_coding(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Splits at every comma, also in a quoted string: the word in there costs a variant, not a mistake.
pub(super) fn says_no_transform(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}
