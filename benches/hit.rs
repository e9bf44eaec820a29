//! What a stored hit costs before any byte of it moves: its key, the key's hash, and the decision.
//! The bounds are 200 ns for key and hash, 300 ns for the decision; tests/allocations.rs counts their heap.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use brim::policy::{
    Config, Freshness, KeyConfig, KeyParts, evaluate, primary_key, range_applies, reuse, url_key,
};
use brim::semantics::range;
use brim::store::{self, Store};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::runtime::Runtime;

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

fn browser(conditions: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut request = headers(&[
        ("accept", "image/avif,image/webp,image/*,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
        ("cache-control", "max-age=0"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
        ),
    ]);
    request.extend(headers(conditions));
    request
}

fn key(bench: &mut Criterion) {
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let Ok(runtime) = Runtime::new() else { return };
    let config = store::Config {
        memory: store::MemoryConfig::default(),
        disks: Vec::new(),
        state: folder.path().join("state"),
        max_clocks: 1000,
    };
    let Ok(store) = runtime.block_on(Store::open(&config, runtime.handle().clone())) else {
        return;
    };
    let request = browser(&[]);
    let parts = KeyParts {
        site: "assets",
        scheme: None,
        host: Some("static.example.com"),
        path: "/assets/img/photo-1024.3f2a.jpg",
        query: Some("v=17"),
        request: &request,
        forwarded: &[],
    };
    let config = KeyConfig::default();
    bench.bench_function("key and hash", |b| {
        b.iter(|| {
            let key = primary_key(black_box(&parts), &config);
            (store.hash(&[key.as_bytes()]), key)
        });
    });
    bench.bench_function("url key and hash", |b| {
        b.iter(|| {
            let key = url_key(black_box(parts.site), parts.host, parts.path, parts.query);
            store.hash(&[key.as_bytes()])
        });
    });
}

fn decision(bench: &mut Criterion) {
    let config = Config::default();
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
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    let requests = [
        ("decision, plain", browser(&[])),
        (
            "decision, if-none-match",
            browser(&[(
                "if-none-match",
                "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
            )]),
        ),
        (
            "decision, if-modified-since",
            browser(&[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")]),
        ),
        ("decision, range", browser(&[("range", "bytes=1024-2047")])),
        (
            "decision, range of a tag",
            browser(&[
                ("range", "bytes=1024-2047"),
                ("if-range", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
            ]),
        ),
    ];
    for (name, request) in &requests {
        let (etag, modified) = (stored.get("etag"), stored.get("last-modified"));
        bench.bench_function(name, |b| {
            b.iter(|| {
                let request = black_box(request);
                let usable = reuse(&config, request, &freshness, false, now);
                let condition = evaluate(&Method::GET, request, etag, modified);
                let applies = range_applies(request, etag, modified, stored.get("date"));
                let ranges = range::resolve(request.get("range").filter(|_| applies), 1 << 20);
                (usable, condition, ranges)
            });
        });
    }
}

criterion_group!(benches, key, decision);
criterion_main!(benches);
