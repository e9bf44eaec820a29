//! Conditional requests, both ways: ours to the origin and the client's to us (RFC 9111 §4.3, RFC 9110 §13).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;

use crate::semantics::{
    date, digest,
    etag::{Condition, EntityTag},
    hop_by_hop,
};

/// The fields that make a request for a stored response conditional (RFC 9111 §4.3.1): `If-None-Match` when it
/// has a tag, `If-Modified-Since` when it has a date, both when both. Empty when it has no validator.
#[must_use]
pub fn conditional_fields(stored: &HeaderMap) -> SmallVec<[(HeaderName, HeaderValue); 2]> {
    let tag = stored
        .get(header::ETAG)
        .map(|tag| (header::IF_NONE_MATCH, tag.clone()));
    // RFC 9110 §13.1.3: a sender must not make a condition of what is no date.
    let modified = stored
        .get(header::LAST_MODIFIED)
        .filter(|value| date::parse(value.as_bytes()).is_some())
        .map(|value| (header::IF_MODIFIED_SINCE, value.clone()));
    tag.into_iter().chain(modified).collect()
}

/// Fields that describe the stored body, which a 304 does not bring (RFC 9111 §3.2). A digest of content that is not there
/// is one of nothing (RFC 9530, appendix B.2).
const BODY_FIELDS: [HeaderName; 6] = [
    digest::CONTENT_DIGEST,
    digest::CONTENT_MD5,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
];

/// Brings stored fields up to date with those of a 304 (RFC 9111 §3.2): what it has replaces all lines of that name,
/// what it omits stays.
///
/// `Age` and `Date` are the exception: they say how old the response is, and without them in the 304 the
/// stored ones would make the validated response as old as before. The caller adds a `Date` where one is
/// missing.
pub fn update_stored(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    stored.remove(header::AGE);
    stored.remove(header::DATE);
    for name in not_modified.keys() {
        if hop_by_hop::is_hop_by_hop(name) || BODY_FIELDS.contains(name) {
            continue;
        }
        stored.remove(name);
        for value in not_modified.get_all(name) {
            stored.append(name, value.clone());
        }
    }
}

/// What the answer to a HEAD says about the stored answer to a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHead {
    /// It is still the same: bring its fields up to date with [`update_stored`].
    Freshened,
    /// It has changed: it is stale from now on.
    Outdated,
    /// Nothing.
    Untold,
}

/// What a HEAD response says about the stored response that a GET would have got (RFC 9111 §4.3.5): whatever it names
/// of `ETag`, `Last-Modified` and `Content-Length` must be as stored. Only a 200 is a word about a stored 200.
#[must_use]
pub fn freshen_by_head(
    stored: (StatusCode, &HeaderMap),
    stored_length: u64,
    head: (StatusCode, &HeaderMap),
) -> ByHead {
    let ((stored_status, stored), (head_status, head)) = (stored, head);
    if head_status != StatusCode::OK || stored_status != StatusCode::OK {
        return ByHead::Untold;
    }
    let agrees = |name: HeaderName| {
        head.get(&name)
            .is_none_or(|value| stored.get(&name) == Some(value))
    };
    let has_length = head.get(header::CONTENT_LENGTH).is_none_or(|length| {
        let length = length.to_str().ok().and_then(|text| text.parse().ok());
        length == Some(stored_length)
    });
    if agrees(header::ETAG) && agrees(header::LAST_MODIFIED) && has_length {
        ByHead::Freshened
    } else {
        ByHead::Outdated
    }
}

/// What a client's conditions make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates a client's conditions on a representation, in the order of RFC 9110 §13.2.2.
///
/// `last_modified` is the `Last-Modified` field or, where there is none, the `Date` (RFC 9111 §4.3.2). For
/// `If-None-Match`, tags of representations that the node made count as their source's: a client
/// that has any made form of this version has it.
#[must_use]
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    etag: Option<&HeaderValue>,
    last_modified: Option<&HeaderValue>,
) -> Precondition {
    // Most requests have no condition to compare it with.
    let current = || etag.and_then(|tag| EntityTag::parse(tag.as_bytes()));
    let is_read = method == Method::GET || method == Method::HEAD;
    let passes_first = match Condition::of(request, &header::IF_MATCH) {
        Some(Condition::Any) => true,
        Some(condition) => {
            current().is_some_and(|current| condition.tags().any(|tag| tag.strong_eq(&current)))
        }
        None => !is_after(last_modified, request.get(header::IF_UNMODIFIED_SINCE)),
    };
    if !passes_first {
        return Precondition::Failed;
    }
    let matches = match Condition::of(request, &header::IF_NONE_MATCH) {
        Some(Condition::Any) => true,
        Some(condition) => current()
            .is_some_and(|current| condition.tags().any(|tag| tag.source() == current.source())),
        // RFC 9110 §13.1.3: only for GET and HEAD.
        None if is_read => is_at_or_before(last_modified, request.get(header::IF_MODIFIED_SINCE)),
        None => false,
    };
    match matches {
        false => Precondition::Proceed,
        true if is_read => Precondition::NotModified,
        true => Precondition::Failed,
    }
}

/// Whether `date` is later than `limit`; false when either is absent or no date.
fn is_after(date: Option<&HeaderValue>, limit: Option<&HeaderValue>) -> bool {
    both_times(date, limit).is_some_and(|(date, limit)| date > limit)
}

/// Whether `date` is not later than `limit`; false when either is absent or no date.
fn is_at_or_before(date: Option<&HeaderValue>, limit: Option<&HeaderValue>) -> bool {
    both_times(date, limit).is_some_and(|(date, limit)| date <= limit)
}

fn both_times(
    one: Option<&HeaderValue>,
    other: Option<&HeaderValue>,
) -> Option<(SystemTime, SystemTime)> {
    // The condition first: it is the one that is mostly absent.
    let other = date::parse(other?.as_bytes())?;
    Some((date::parse(one?.as_bytes())?, other))
}

/// Whether `Range` counts (RFC 9110 §13.1.5): without `If-Range` always, else only if it names exactly this
/// representation by a strong validator. A date is one when `Date` is at least a second later (RFC 9110 §8.8.2.2).
#[must_use]
pub fn range_applies(
    request: &HeaderMap,
    etag: Option<&HeaderValue>,
    last_modified: Option<&HeaderValue>,
    date: Option<&HeaderValue>,
) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    if let Some(asked) = EntityTag::parse(condition.as_bytes()) {
        return etag
            .and_then(|tag| EntityTag::parse(tag.as_bytes()))
            .is_some_and(|current| current.strong_eq(&asked));
    }
    let is_same = both_times(last_modified, Some(condition))
        .is_some_and(|(modified, asked)| modified == asked);
    is_same
        && both_times(date, last_modified).is_some_and(|(date, modified)| {
            date.duration_since(modified)
                .is_ok_and(|since| since >= Duration::from_secs(1))
        })
}

/// What names this very representation in `If-Range` (RFC 9110 §13.1.5): a strong `ETag`, or else a `Last-Modified`
/// that is at least a second older than its `Date` (RFC 9110 §8.8.2.2). `None` when it has neither.
#[must_use]
pub fn strong_validator(stored: &HeaderMap) -> Option<&HeaderValue> {
    if let Some(tag) = strong_tag(stored) {
        return Some(tag);
    }
    let modified = stored.get(header::LAST_MODIFIED);
    let (modified_at, date) = both_times(modified, stored.get(header::DATE))?;
    let old_enough = date
        .duration_since(modified_at)
        .is_ok_and(|since| since >= Duration::from_secs(1));
    modified.filter(|_| old_enough)
}

/// Whether a 206 that answers `If-Range` is of the stored representation: parts may only be combined under equal
/// strong validators (RFC 9110 §15.3.7.3).
#[must_use]
pub fn is_part_of(stored: &HeaderMap, partial: &HeaderMap) -> bool {
    // A 206 must bring the ETag that a 200 would have; a Last-Modified it may leave out.
    let same_tag = partial.get(header::ETAG) == stored.get(header::ETAG);
    let left_out_or_same = |name| {
        partial
            .get(&name)
            .is_none_or(|value| stored.get(&name) == Some(value))
    };
    same_tag
        && left_out_or_same(header::CONTENT_ENCODING)
        && (strong_tag(stored).is_some() || left_out_or_same(header::LAST_MODIFIED))
}

fn strong_tag(stored: &HeaderMap) -> Option<&HeaderValue> {
    stored
        .get(header::ETAG)
        .filter(|tag| EntityTag::parse(tag.as_bytes()).is_some_and(|tag| !tag.weak))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{BEFORE, Fields, NOW, SOON, headers};
    use super::*;

    #[test]
    fn stored_validators_become_conditions() {
        #[track_caller]
        fn check(stored: Fields<'_>, expect: Fields<'_>) {
            let found = conditional_fields(&headers(stored));
            let found: Vec<_> = found
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            assert_eq!(found, expect);
        }
        check(&[], &[]);
        check(&[("etag", "\"a\"")], &[("if-none-match", "\"a\"")]);
        check(
            &[("etag", "W/\"a\""), ("last-modified", NOW)],
            &[("if-none-match", "W/\"a\""), ("if-modified-since", NOW)],
        );
        check(&[("last-modified", "yesterday")], &[]);
    }

    #[test]
    fn a_304_updates_what_does_not_describe_the_body() {
        let mut stored = headers(&[
            ("content-type", "text/css"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("x-old", "1"),
            ("x-both", "1"),
            ("x-both", "2"),
            ("age", "500"),
            ("date", BEFORE),
            ("cache-control", "max-age=1"),
        ]);
        let not_modified = headers(&[
            ("content-type", "text/plain"),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("transfer-encoding", "chunked"),
            ("content-foo", "1"),
            ("x-both", "3"),
            ("date", NOW),
            ("cache-control", "max-age=60"),
        ]);
        update_stored(&mut stored, &not_modified);
        let expect = headers(&[
            ("content-type", "text/css"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("x-old", "1"),
            ("x-both", "3"),
            ("content-foo", "1"),
            ("date", NOW),
            ("cache-control", "max-age=60"),
        ]);
        assert_eq!(stored, expect);
    }

    #[test]
    fn a_head_freshens_what_it_agrees_with_and_outdates_the_rest() {
        #[track_caller]
        fn check(status: u16, head: Fields<'_>, expect: ByHead) {
            let stored = headers(&[("etag", "\"a\""), ("last-modified", NOW)]);
            let head = headers(head);
            let status = StatusCode::from_u16(status).unwrap();
            let found = freshen_by_head((StatusCode::OK, &stored), 5, (status, &head));
            assert_eq!(found, expect, "{status} {head:?}");
        }
        use ByHead::{Freshened, Outdated, Untold};
        check(
            200,
            &[
                ("etag", "\"a\""),
                ("last-modified", NOW),
                ("content-length", "5"),
            ],
            Freshened,
        );
        check(200, &[("etag", "\"a\"")], Freshened);
        check(200, &[("x-new", "1")], Freshened);
        check(200, &[("etag", "\"b\""), ("content-length", "5")], Outdated);
        check(200, &[("etag", "W/\"a\"")], Outdated);
        check(200, &[("last-modified", SOON)], Outdated);
        check(200, &[("content-length", "6")], Outdated);
        check(200, &[("content-length", "x")], Outdated);
        check(404, &[("etag", "\"b\"")], Untold);
        check(304, &[("etag", "\"b\"")], Untold);
        let none = HeaderMap::new();
        let named = headers(&[("etag", "\"a\"")]);
        let found = freshen_by_head((StatusCode::OK, &none), 0, (StatusCode::OK, &named));
        assert_eq!(found, Outdated, "a validator where there was none");
    }

    #[track_caller]
    fn check(method: &Method, request: Fields<'_>, current: Fields<'_>, expect: Precondition) {
        let current = headers(current);
        let found = evaluate(
            method,
            &headers(request),
            current.get(header::ETAG),
            current.get(header::LAST_MODIFIED),
        );
        assert_eq!(found, expect, "{request:?} on {current:?}");
    }

    #[track_caller]
    fn check_get(request: Fields<'_>, expect: Precondition) {
        let current: Fields<'_> = &[("etag", "\"a\""), ("last-modified", NOW)];
        check(&Method::GET, request, current, expect);
        check(&Method::HEAD, request, current, expect);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        use Precondition::{NotModified, Proceed};
        check_get(&[], Proceed);
        check_get(&[("if-none-match", "\"a\"")], NotModified);
        check_get(&[("if-none-match", "W/\"a\"")], NotModified);
        check_get(&[("if-none-match", "\"x\", \"a\" , \"y\"")], NotModified);
        check_get(
            &[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")],
            NotModified,
        );
        check_get(&[("if-none-match", "*")], NotModified);
        check_get(&[("if-none-match", "\"b\"")], Proceed);
        check_get(&[("if-none-match", "a")], Proceed);
        check_get(&[("if-none-match", "w/\"a\"")], Proceed);
        check_get(&[("if-none-match", "\"a;br.0123456789ab\"")], NotModified);
        check_get(
            &[("if-none-match", "\"b\""), ("if-modified-since", NOW)],
            Proceed,
        );
        check(&Method::GET, &[("if-none-match", "\"a\"")], &[], Proceed);
        check(
            &Method::GET,
            &[("if-none-match", "a")],
            &[("etag", "a")],
            Proceed,
        );
        check(
            &Method::PUT,
            &[("if-none-match", "*")],
            &[],
            Precondition::Failed,
        );
    }

    #[test]
    fn if_modified_since_compares_times() {
        use Precondition::{NotModified, Proceed};
        check_get(&[("if-modified-since", NOW)], NotModified);
        check_get(&[("if-modified-since", SOON)], NotModified);
        check_get(&[("if-modified-since", BEFORE)], Proceed);
        check_get(
            &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
            NotModified,
        );
        check_get(&[("if-modified-since", "x")], Proceed);
        check(&Method::GET, &[("if-modified-since", NOW)], &[], Proceed);
        check(
            &Method::PUT,
            &[("if-modified-since", NOW)],
            &[("last-modified", NOW)],
            Proceed,
        );
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        use Precondition::{Failed, NotModified, Proceed};
        check_get(&[("if-match", "\"a\"")], Proceed);
        check_get(&[("if-match", "*")], Proceed);
        check_get(&[("if-match", "W/\"a\"")], Failed);
        check_get(&[("if-match", "\"b\"")], Failed);
        check_get(&[("if-match", "\"a;br.0123456789ab\"")], Failed);
        check_get(&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed);
        check_get(
            &[("if-match", "\"a\""), ("if-none-match", "\"a\"")],
            NotModified,
        );
        check_get(&[("if-unmodified-since", NOW)], Proceed);
        check_get(&[("if-unmodified-since", BEFORE)], Failed);
        check_get(&[("if-unmodified-since", "x")], Proceed);
        check_get(
            &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)],
            Proceed,
        );
        check(
            &Method::GET,
            &[("if-unmodified-since", BEFORE)],
            &[],
            Proceed,
        );
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
        #[track_caller]
        fn check(condition: &str, current: Fields<'_>, expect: bool) {
            let current = headers(current);
            let found = range_applies(
                &headers(&[("if-range", condition)]),
                current.get(header::ETAG),
                current.get(header::LAST_MODIFIED),
                current.get(header::DATE),
            );
            assert_eq!(found, expect, "{condition} on {current:?}");
        }
        check("\"a\"", &[("etag", "\"a\"")], true);
        check("\"a\"", &[("etag", "W/\"a\"")], false);
        check("W/\"a\"", &[("etag", "W/\"a\"")], false);
        check("\"a\"", &[("etag", "\"a;br.0123456789ab\"")], false);
        check("a", &[("etag", "a")], false);
        check("\"a\"", &[], false);
        check(BEFORE, &[("last-modified", BEFORE), ("date", NOW)], true);
        check(NOW, &[("last-modified", NOW), ("date", NOW)], false);
        check(BEFORE, &[("last-modified", BEFORE)], false);
        check(SOON, &[("last-modified", BEFORE), ("date", NOW)], false);
        assert!(range_applies(&HeaderMap::new(), None, None, None));
    }

    #[test]
    fn parts_are_combined_under_strong_validators_only() {
        #[track_caller]
        fn validator(stored: Fields<'_>, expect: Option<&str>) {
            let stored = headers(stored);
            let found = strong_validator(&stored).map(|value| value.to_str().unwrap());
            assert_eq!(found, expect, "{stored:?}");
        }
        validator(&[("etag", "\"a\"")], Some("\"a\""));
        validator(&[("etag", "W/\"a\"")], None);
        let dated: Fields<'_> = &[
            ("etag", "W/\"a\""),
            ("last-modified", BEFORE),
            ("date", NOW),
        ];
        validator(dated, Some(BEFORE));
        validator(&[("last-modified", NOW), ("date", NOW)], None);
        validator(&[("last-modified", BEFORE)], None);

        #[track_caller]
        fn part(stored: Fields<'_>, partial: Fields<'_>, expect: bool) {
            assert_eq!(
                is_part_of(&headers(stored), &headers(partial)),
                expect,
                "{partial:?}"
            );
        }
        let tagged: Fields<'_> = &[("etag", "\"a\""), ("last-modified", BEFORE)];
        part(tagged, &[("etag", "\"a\"")], true);
        part(tagged, &[("etag", "\"b\"")], false);
        part(tagged, &[("etag", "W/\"a\"")], false);
        part(tagged, &[("last-modified", BEFORE)], false);
        part(
            tagged,
            &[("etag", "\"a\""), ("content-encoding", "br")],
            false,
        );
        let dated: Fields<'_> = &[("last-modified", BEFORE), ("date", NOW)];
        part(dated, &[("last-modified", BEFORE)], true);
        part(dated, &[], true);
        part(dated, &[("last-modified", NOW)], false);
        part(dated, &[("etag", "\"a\"")], false);
    }

    proptest! {
        #[test]
        fn any_condition_is_survived(value in prop::collection::vec(any::<u8>(), 0..40), which in 0usize..5) {
            let names = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE,
                header::IF_UNMODIFIED_SINCE, header::IF_RANGE];
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut request = HeaderMap::new();
                request.insert(&names[which], value.clone());
                let found = evaluate(&Method::GET, &request, Some(&value), Some(&value));
                prop_assert!(found != Precondition::Failed || names[which] == header::IF_MATCH);
                let applies = range_applies(&request, Some(&value), Some(&value), Some(&value));
                prop_assert!(applies || names[which] == header::IF_RANGE);
            }
        }

        #[test]
        fn a_representation_always_matches_its_own_validators(tag in "(W/)?\"[!#-~]{0,10}\"") {
            let stored = headers(&[("etag", &tag), ("last-modified", NOW)]);
            let mut request = HeaderMap::new();
            for (name, value) in conditional_fields(&stored) {
                request.insert(name, value);
            }
            let found = evaluate(&Method::GET, &request, stored.get("etag"), stored.get("last-modified"));
            prop_assert_eq!(found, Precondition::NotModified);
        }
    }
}
