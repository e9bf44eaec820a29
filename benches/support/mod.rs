//! What benches and tests of the store stand on: objects as they come from an origin, and what the process takes.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "each bench uses a part of it"
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brim::policy::{Freshness, KeyConfig, KeyParts, primary_key, url_key};
use brim::store::{Body, Draft, Entry, EntryKey, Store};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

/// A resource of the site `site` as the node stores it, and where: a request for `path` finds it.
pub fn object(store: &Store, path: &str, version: u128, body: Bytes) -> (EntryKey, Entry) {
    let none = HeaderMap::new();
    let parts = KeyParts {
        site: "site",
        scheme: None,
        host: None,
        path,
        query: None,
        request: &none,
        forwarded: &[],
    };
    let key = primary_key(&parts, &KeyConfig::default());
    let url = url_key("site", None, path, None);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("cache-control", "public, max-age=86400"),
        ("etag", "\"5f3c-61a2b7c8d9e0f\""),
        ("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("date", "Wed, 25 Nov 2026 12:00:00 GMT"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let sequence = store.clocks().sequence();
    let draft = Draft {
        key: (&*key).into(),
        site: "site".into(),
        url: store.hash(&[url.as_bytes()]),
        path: path.into(),
        version,
        status: StatusCode::OK,
        headers,
        freshness: Freshness {
            received_at: SystemTime::now(),
            initial_age: Duration::ZERO,
            lifetime: Duration::from_hours(24),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: false,
            must_revalidate: false,
        },
        body: Body::Inline(body),
        tags: Vec::new(),
        body_seq: sequence,
        checked_seq: sequence,
        detail: "".into(),
        fetch_started: Duration::ZERO,
    };
    let id = store.hash(&[key.as_bytes()]);
    (EntryKey::head(id), Entry::Object(Arc::new(draft.seal())))
}

/// The resident set of this process.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Bytes that no two objects share.
pub fn body(number: u64, length: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    // As much room as the bytes need: what the node stores has been cut to size.
    Bytes::copy_from_slice(&bytes[..length])
}
