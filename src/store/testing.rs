//! What the tests of this room share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::entry::{Entry, EntryKey, Kept, Placement, Tier};
use super::object::{Body, Draft, Object};
use super::tiers::Store;
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

/// What most tests do for a site without settings of its own.
impl Store {
    pub(super) fn memory(&self, key: &EntryKey) -> Option<Entry> {
        self.site("demo").memory(key)
    }

    pub(super) async fn load(&self, key: &EntryKey) -> Option<(Entry, Tier)> {
        self.site("demo").load(key).await
    }

    pub(super) async fn load_placed(
        &self,
        key: &EntryKey,
        placement: Placement,
    ) -> Option<(Entry, Tier)> {
        self.site("demo").load_placed(key, placement).await
    }

    pub(super) async fn insert(&self, key: EntryKey, entry: Entry, placement: Placement) -> Kept {
        self.site("demo").insert(key, entry, placement).await
    }

    pub(super) fn remove(&self, key: &EntryKey) {
        self.site("demo").remove(key);
    }

    pub(super) fn may_contain(&self, key: &EntryKey) -> bool {
        self.site("demo").may_contain(key)
    }
}
