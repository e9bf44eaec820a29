//! What the tests of this room share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::entry::Entry;
use super::object::{Body, Draft, Object};
use crate::policy::Freshness;

pub(super) fn plain_object(key: &str, body: Body) -> Object {
    plain_draft(key, body).seal()
}

pub(super) fn plain_draft(key: &str, body: Body) -> Draft {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/css"));
    headers.append("x-twice", HeaderValue::from_static("one"));
    headers.append("x-twice", HeaderValue::from_bytes(b"t\xffo").unwrap());
    Draft {
        key: key.into(),
        site: "demo".into(),
        url: 11,
        path: "/x".into(),
        version: 12,
        status: StatusCode::OK,
        headers,
        freshness: Freshness {
            received_at: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5),
            initial_age: Duration::from_secs(3),
            lifetime: Duration::from_secs(60),
            stale_while_revalidate: Duration::from_millis(1500),
            stale_if_error: Duration::MAX,
            always_validate: true,
            must_revalidate: false,
        },
        body,
        tags: vec![1, u128::MAX],
        body_seq: 0,
        checked_seq: 0,
        detail: "avif;w=800".into(),
        fetch_started: Duration::ZERO,
    }
}

pub(super) fn object(key: &str, body: &[u8]) -> Entry {
    let body = Body::Inline(Bytes::copy_from_slice(body));
    Entry::Object(Arc::new(plain_object(key, body)))
}

pub(super) fn chunked_object(key: &str, length: u64) -> Entry {
    Entry::Object(Arc::new(plain_object(key, Body::Chunked { length })))
}

/// All of an entry that outlives the process, as text to compare.
pub(super) fn view(entry: &Entry) -> String {
    format!("{entry:?}")
}
