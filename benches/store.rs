//! The store: a hit in memory, an insert into memory, an insert into both tiers, a purge check.

#![expect(clippy::unwrap_used, reason = "a bench has nobody to tell")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brim::policy::Freshness;
use brim::store::{
    Body, Config, DiskConfig, Draft, Entry, EntryKey, MemoryConfig, Placement, Store, Subject,
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::runtime::Runtime;

const BODY_BYTES: usize = 16 << 10;
const ENTRIES: u64 = 4096;

fn entry(n: u64) -> Entry {
    let mut headers = HeaderMap::new();
    for name in ["content-type", "etag", "last-modified", "cache-control"] {
        headers.insert(name, HeaderValue::from_static("about as long as usual"));
    }
    let draft = Draft {
        key: format!("demo|https|localhost|/assets/{n}.css").into(),
        site: "demo".into(),
        url: u128::from(n),
        path: format!("/assets/{n}.css").into(),
        version: u128::from(n),
        status: StatusCode::OK,
        headers,
        freshness: Freshness {
            received_at: SystemTime::UNIX_EPOCH,
            initial_age: Duration::ZERO,
            lifetime: Duration::from_hours(1),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: false,
            must_revalidate: false,
        },
        body: Body::Inline(Bytes::from(vec![0; BODY_BYTES])),
        tags: vec![1, 2, 3],
        body_seq: 0,
        checked_seq: 0,
        detail: "".into(),
        fetch_started: Duration::ZERO,
    };
    Entry::Object(Arc::new(draft.seal()))
}

fn key(n: u64) -> EntryKey {
    EntryKey::head(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn open(runtime: &Runtime, folder: &std::path::Path, disk_bytes: Option<u64>) -> Arc<Store> {
    let config = Config {
        memory: MemoryConfig::default(),
        disks: disk_bytes
            .map(|size_bytes| DiskConfig::new(folder.join("disk"), size_bytes))
            .into_iter()
            .collect(),
        state: folder.join("state"),
        max_clocks: 1000,
    };
    runtime
        .block_on(Store::open(&config, runtime.handle().clone()))
        .unwrap()
}

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&runtime, &folder.path().join("memory"), None);
    let both = open(&runtime, &folder.path().join("both"), Some(1 << 30));
    let (demo, of_both) = (memory.site("demo"), both.site("demo"));
    for n in 0..ENTRIES {
        runtime.block_on(demo.insert(key(n), entry(n), Placement::MemoryAndDisk));
    }

    let mut n = 0;
    let mut next = move || {
        n = (n + 1) % ENTRIES;
        key(n)
    };
    criterion.bench_function("memory hit", |bench| {
        bench.iter(|| black_box(demo.memory(&next())).unwrap());
    });
    criterion.bench_function("memory miss", |bench| {
        let absent = key(ENTRIES);
        bench.iter(|| black_box(demo.memory(&absent)));
    });
    let site = memory.clocks().site("demo");
    let Some(Entry::Object(object)) = demo.memory(&key(1)) else {
        return;
    };
    criterion.bench_function("purge check, cleared", |bench| {
        bench.iter(|| black_box(memory.clocks().check(&site, &object)));
    });
    let tags = object.tags();
    let subject = Subject {
        url: object.url,
        host: None,
        path: object.path(),
        tags: &tags,
    };
    criterion.bench_function("purge check, whole", |bench| {
        bench.iter(|| memory.clocks().check_marks(&site, &subject, 0, 0));
    });

    let mut group = criterion.benchmark_group("insert");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    let sample = entry(0);
    group.bench_function("memory", |bench| {
        bench.iter(|| {
            runtime.block_on(demo.insert(next(), sample.clone(), Placement::MemoryAndDisk))
        });
    });
    group.bench_function("memory and disk", |bench| {
        bench.iter(|| {
            runtime.block_on(of_both.insert(next(), sample.clone(), Placement::MemoryAndDisk))
        });
    });
    group.finish();
    runtime.block_on(both.close(Duration::from_secs(30)));
}

criterion_group!(benches, store);
criterion_main!(benches);
