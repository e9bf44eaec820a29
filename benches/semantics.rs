//! What every request parses.

use std::hint::black_box;

use brim::semantics::{date, etag, negotiate::AcceptEncoding, path, range};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header};

fn parsers(bench: &mut Criterion) {
    bench.bench_function("path canonical", |b| {
        b.iter(|| path::canonical(black_box("/assets/img/photo-1024.3f2a.jpg")).is_ok());
    });
    bench.bench_function("path escaped", |b| {
        b.iter(|| path::canonical(black_box("/assets/./%69mg/a%2fb.jpg")).is_ok());
    });
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_static("gzip, deflate, br, zstd");
    headers.insert(header::ACCEPT_ENCODING, value);
    bench.bench_function("accept-encoding", |b| {
        b.iter(|| AcceptEncoding::of(black_box(&headers)).quality("br"));
    });
    bench.bench_function("date", |b| {
        b.iter(|| date::parse(black_box(b"Sun, 06 Nov 1994 08:49:37 GMT")));
    });
    bench.bench_function("etag list", |b| {
        b.iter(|| etag::list(black_box(b"\"abc\", W/\"def\", \"ghi;br.0123456789ab\"")).count());
    });
    let value = HeaderValue::from_static("bytes=0-99, 500-999, -10");
    bench.bench_function("range", |b| {
        b.iter(|| range::resolve(black_box(Some(&value)), 1 << 20));
    });
}

criterion_group!(benches, parsers);
criterion_main!(benches);
