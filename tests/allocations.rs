//! What every request decides needs no heap: neither its key nor what becomes of a stored hit.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use brim::policy::{
    Config, Freshness, KeyConfig, KeyParts, Precondition, QueryMode, QueryPolicy, Reuse, evaluate,
    primary_key, range_applies, reuse, secondary_key, url_key,
};
use brim::semantics::range::{self, Ranges};
use brim::store::{self, Store};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn browser() -> HeaderMap {
    headers(&[
        (
            "accept",
            "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        ),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
        ("cache-control", "max-age=0"),
        ("cookie", "session=1234567890; lang=de"),
        ("if-none-match", "\"an-old-one\", W/\"another\""),
        ("range", "bytes=0-1023"),
    ])
}

#[track_caller]
fn needs_no_heap<T>(work: impl Fn() -> T) {
    let counted = allocation_counter::measure(|| {
        black_box(work());
    });
    assert_eq!(counted.count_total, 0, "{} bytes", counted.bytes_total);
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| {
        black_box(String::from("heap"));
    });
    assert_eq!(counted.count_total, 1);
}

#[tokio::test]
async fn a_key_and_its_hash_need_no_heap() {
    let folder = tempfile::tempdir().unwrap();
    let config = store::Config {
        memory: store::MemoryConfig::default(),
        disks: Vec::new(),
        state: folder.path().join("state"),
        max_clocks: 1000,
    };
    let store = Store::open(&config, tokio::runtime::Handle::current())
        .await
        .unwrap();
    let request = browser();
    let forwarded = [header::ACCEPT_LANGUAGE];
    let config = KeyConfig {
        host: true,
        query: QueryPolicy {
            mode: QueryMode::Exclude,
            names: vec!["utm_source".to_owned()],
            sort: true,
        },
        headers: vec![header::ACCEPT],
        cookies: vec!["lang".to_owned()],
    };
    let parts = KeyParts {
        site: "assets",
        scheme: Some("https"),
        host: Some("static.example.com"),
        path: "/assets/img/photo-1024.3f2a.jpg",
        query: Some("a=1&v=17"),
        request: &request,
        forwarded: &forwarded,
    };
    needs_no_heap(|| store.hash(&[primary_key(&parts, &config).as_bytes()]));
    needs_no_heap(|| {
        let url = url_key(parts.site, parts.host, parts.path, parts.query);
        store.hash(&[url.as_bytes()])
    });
    let fields = [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::ORIGIN,
    ];
    let vary = Config::default().vary;
    needs_no_heap(|| store.hash(&[secondary_key(&fields, &request, &vary).as_bytes()]));
}

#[test]
fn a_decision_on_a_stored_hit_needs_no_heap() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let freshness = Freshness {
        received_at: now,
        initial_age: Duration::ZERO,
        lifetime: Duration::from_hours(1),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        always_validate: false,
        must_revalidate: false,
    };
    let stored = headers(&[
        ("etag", "\"abc\""),
        ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    let (etag, modified) = (stored.get("etag"), stored.get("last-modified"));
    let request = browser();
    for respect_request_directives in [false, true] {
        let config = Config {
            respect_request_directives,
            ..Config::default()
        };
        assert_eq!(
            reuse(&config, &request, &freshness, false, now),
            Reuse::Fresh
        );
        assert_eq!(
            evaluate(&Method::GET, &request, etag, modified),
            Precondition::Proceed
        );
        assert!(matches!(
            range::resolve(request.get("range"), 1 << 20),
            Ranges::Parts(_)
        ));
        needs_no_heap(|| {
            (
                reuse(&config, &request, &freshness, false, now),
                evaluate(&Method::GET, &request, etag, modified),
                range_applies(&request, etag, modified, stored.get("date")),
                range::resolve(request.get("range"), 1 << 20),
            )
        });
    }
}
