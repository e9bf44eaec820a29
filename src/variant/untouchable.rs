use http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName};

/// Digests of the very bytes of the content (RFC 9530, and the older fields): they would be wrong for
/// any other form.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether an answer must keep the form that the origin gave it: it is coded already, says
/// `no-transform` (RFC 9111 §5.2.2.6), or carries a digest.
pub(super) fn untouchable(headers: &HeaderMap) -> bool {
    has_coding(headers)
        || says_no_transform(headers)
        || DIGESTS.iter().any(|n| headers.contains_key(n))
}

fn has_coding(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Splits at every comma, also in a quoted string: the word in there costs a variant, not a mistake.
fn says_no_transform(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}
