use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version};

/// Fields that an answer may have (RFC 9110 leaves the limit to us).
pub(super) const FIELDS_MAX: usize = 200;
/// Bytes of an answer's head.
pub(super) const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Digits of a Content-Length: enough for any file, and no sum of two of them overflows.
const LENGTH_DIGITS_MAX: usize = 18;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed(&'static str),
    TooLarge,
}

/// Checks what the parser below lets through although it has more than one meaning (RFC 9112 §6.3), and gives
/// the Content-Length. A status above 599 passes only where `any_status` says so.
pub(super) fn check(
    any_status: bool,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<Option<u64>, Refused> {
    if status.as_u16() > 599 && !any_status {
        return Err(Refused::Malformed("status"));
    }
    // Nothing of ours asks for an upgrade.
    if status.is_informational() {
        return Err(Refused::Malformed("unasked 101"));
    }
    if headers.len() > FIELDS_MAX {
        return Err(Refused::TooLarge);
    }
    let length = content_length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if length.is_some() {
            return Err(Refused::Malformed("content-length with transfer-encoding"));
        }
        // HTTP/2 has no transfer codings (RFC 9113 §8.2.2), and HTTP/1.0 had none.
        if version != Version::HTTP_11
            || codings.next().is_some()
            || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        {
            return Err(Refused::Malformed("transfer-encoding"));
        }
    }
    Ok(length)
}

/// The one Content-Length; equal repeats count as one (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let next = digits(value).ok_or(Refused::Malformed("content-length"))?;
        if length.is_some_and(|first| first != next) {
            return Err(Refused::Malformed("two content-lengths"));
        }
        length = Some(next);
    }
    Ok(length)
}

fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let plain = !text.is_empty()
        && text.len() <= LENGTH_DIGITS_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Makes repeats of one Content-Length one.
pub(super) fn single_length(headers: &mut HeaderMap, length: Option<u64>) {
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[track_caller]
    fn check_head(
        status: u16,
        version: Version,
        lines: &[(&str, &str)],
        expect: Result<Option<u64>, Refused>,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(check(false, status, version, &map(lines)), expect);
    }

    const H1: Version = Version::HTTP_11;

    #[test]
    fn plain_heads_pass() {
        check_head(200, H1, &[], Ok(None));
        check_head(200, H1, &[("content-length", "12")], Ok(Some(12)));
        check_head(200, H1, &[("transfer-encoding", "Chunked")], Ok(None));
        check_head(
            200,
            H1,
            &[("content-length", "7"), ("content-length", "7")],
            Ok(Some(7)),
        );
        check_head(
            200,
            Version::HTTP_2,
            &[("content-length", "999999999999999999")],
            Ok(Some(999_999_999_999_999_999)),
        );
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        let malformed = |what| Err(Refused::Malformed(what));
        for odd in ["", "+5", "-1", "5, 5", "5 ", "0x5", "1234567890123456789"] {
            check_head(
                200,
                H1,
                &[("content-length", odd)],
                malformed("content-length"),
            );
        }
        check_head(
            200,
            H1,
            &[("content-length", "5"), ("content-length", "6")],
            malformed("two content-lengths"),
        );
        check_head(
            200,
            H1,
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            malformed("content-length with transfer-encoding"),
        );
        for odd in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            check_head(
                200,
                H1,
                &[("transfer-encoding", odd)],
                malformed("transfer-encoding"),
            );
        }
        check_head(
            200,
            H1,
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            malformed("transfer-encoding"),
        );
        for version in [Version::HTTP_10, Version::HTTP_2] {
            check_head(
                200,
                version,
                &[("transfer-encoding", "chunked")],
                malformed("transfer-encoding"),
            );
        }
        check_head(101, H1, &[], malformed("unasked 101"));
        check_head(600, H1, &[], malformed("status"));
        check_head(999, H1, &[], malformed("status"));
    }

    #[test]
    fn a_status_beyond_the_classes_passes_where_it_may() {
        for status in [600, 999] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(check(true, status, H1, &HeaderMap::new()), Ok(None));
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let mut headers = HeaderMap::new();
        for _ in 0..=FIELDS_MAX {
            headers.append("x", HeaderValue::from_static("y"));
        }
        assert_eq!(
            check(false, StatusCode::OK, H1, &headers),
            Err(Refused::TooLarge)
        );
    }
}
