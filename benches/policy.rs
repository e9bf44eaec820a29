//! What every request decides, and what every fill decides once.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use brim::policy::{
    Config, Exchange, KeyParts, Storability, assess, evaluate, primary_key, reuse, secondary_key,
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

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

fn decisions(bench: &mut Criterion) {
    let config = Config::default();
    let request = headers(&[
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept", "image/avif,image/webp,image/*,*/*;q=0.8"),
        ("if-none-match", "\"abc\""),
    ]);
    let response = headers(&[
        ("cache-control", "public, max-age=31536000, immutable"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"abc\""),
        ("vary", "Accept-Encoding"),
    ]);
    let received_at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let exchange = Exchange {
        method: &Method::GET,
        path: "/assets/app.js",
        request: &request,
        status: StatusCode::OK,
        response: &response,
        requested_at: received_at,
        received_at,
    };
    bench.bench_function("assess", |b| {
        b.iter(|| assess(black_box(&config), black_box(&exchange)));
    });
    if let Storability::Store(freshness) = assess(&config, &exchange) {
        bench.bench_function("reuse", |b| {
            b.iter(|| reuse(&config, black_box(&request), &freshness, false, received_at));
        });
    }
    bench.bench_function("evaluate", |b| {
        let etag = response.get("etag");
        b.iter(|| evaluate(&Method::GET, black_box(&request), etag, None));
    });
    let parts = KeyParts {
        site: "assets",
        scheme: None,
        host: Some("static.example.com"),
        path: "/assets/img/photo-1024.3f2a.jpg",
        query: Some("v=17"),
        request: &request,
        forwarded: &[],
    };
    bench.bench_function("primary key", |b| {
        b.iter(|| primary_key(black_box(&parts), &config.key));
    });
    let fields = [
        HeaderName::from_static("accept"),
        HeaderName::from_static("accept-encoding"),
    ];
    bench.bench_function("secondary key", |b| {
        b.iter(|| secondary_key(&fields, black_box(&request), &config.vary));
    });
}

criterion_group!(benches, decisions);
criterion_main!(benches);
