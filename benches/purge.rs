//! Purges: how many a second are durable, by the clocks alone and through the admin door; what a clock costs in
//! memory; what a hit costs while there are none, and while there are a million; how long a check can be held up
//! while a hundred thousand are put in place.
//!
//! Counts and ratios, not a statistic: `cargo bench --bench purge`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench has nobody to tell, prints what it finds, and measures time"
)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use brim::clock::SystemClock;
use brim::node::Node;
use brim::policy::Freshness;
use brim::store::{
    Body, Config, Draft, MemoryConfig, Object, Purge, PurgeItem, Purged, Slot, Store,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::runtime::Runtime;

const MILLION: u64 = 1_000_000;

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    clocks(&runtime, folder.path());
    door(folder.path());
}

/// As spread as hashes are.
fn hash(n: u64) -> u128 {
    u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn items(numbers: std::ops::Range<u64>, of: impl Fn(u64) -> Slot) -> Vec<PurgeItem> {
    let item = |n| PurgeItem {
        slot: of(n),
        kind: Purge::Hard,
    };
    numbers.map(item).collect()
}

fn clocks(runtime: &Runtime, folder: &Path) {
    let site: Arc<str> = "demo".into();
    let url = |n| Slot::Url {
        site: Some(Arc::clone(&site)),
        url: hash(n),
    };
    let tag = |n| Slot::Tag {
        site: Arc::clone(&site),
        tag: hash(n),
    };
    let store = open(runtime, &folder.join("state"));
    let purge = |items| runtime.block_on(store.clocks().purge(items)).unwrap();

    let mut next = 0;
    for batch in [1000, 10_000, 100_000] {
        let calls = (200_000 / batch).clamp(1, 50);
        let started = Instant::now();
        for _ in 0..calls {
            purge(items(next..next + batch, url));
            next += batch;
        }
        rate(&format!("URLs, {batch} a commit"), calls * batch, started);
    }
    let zone = store.clocks().site("demo");
    let object = object(store.clocks().sequence());
    let none = instructions(|| hits(&store, &object, 2 * MILLION));

    let before = resident_bytes();
    let slots = store.clocks().slots();
    let started = Instant::now();
    for n in 0..MILLION / 100_000 {
        let from = 1 << 40 | (n * 100_000);
        purge(items(from..from + 100_000, tag));
    }
    rate("tags up to a million, 100 000 a commit", MILLION, started);
    let grown = resident_bytes().saturating_sub(before);
    let held = store.clocks().slots() - slots;
    println!("{:.0} bytes resident a clock", grown as f64 / held as f64);
    let fresh = self::object(store.clocks().sequence());
    let many = instructions(|| hits(&store, &fresh, 2 * MILLION));
    if let (Some(none), Some(many)) = (none, many) {
        println!(
            "instructions of a hit's check, no tags: {:.2}",
            none as f64 / 2e6
        );
        println!(
            "instructions of a hit's check, a million tags: {:.2}",
            many as f64 / 2e6
        );
    }
    let started = Instant::now();
    hits(&store, &fresh, 10 * MILLION);
    println!(
        "{:.1} ns a hit's check",
        started.elapsed().as_secs_f64() * 1e9 / 1e7
    );

    // With a million there, again, and a reader that checks all the time.
    let stop = Arc::new(AtomicBool::new(false));
    let longest = Arc::new(AtomicU64::new(0));
    let reader = std::thread::spawn({
        let (store, stop, longest) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&longest));
        move || {
            let zone = store.clocks().site("demo");
            while !stop.load(Ordering::Relaxed) {
                let object = self::object(store.clocks().sequence());
                let started = Instant::now();
                black_box(store.clocks().check(&zone, &object));
                let took = u64::try_from(started.elapsed().as_nanos()).unwrap();
                longest.fetch_max(took, Ordering::Relaxed);
            }
        }
    });
    for batch in [5000, 100_000] {
        let started = Instant::now();
        for _ in 0..3 {
            purge(items(next..next + batch, url));
            next += batch;
        }
        rate(
            &format!("URLs over a million clocks, {batch} a commit"),
            3 * batch,
            started,
        );
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    let longest = longest.load(Ordering::Relaxed) as f64 / 1e6;
    println!("longest check meanwhile, with what the machine itself held it up: {longest:.2} ms");
    assert_eq!(store.clocks().check(&zone, &object), Purged::No);

    runtime.block_on(store.close(Duration::from_secs(10)));
    drop(store);
    let bytes = std::fs::metadata(folder.join("state/purge.redb"))
        .unwrap()
        .len();
    let started = Instant::now();
    let store = open(runtime, &folder.join("state"));
    println!(
        "{} clocks: {} MiB on disk, read in {:.2} s",
        store.clocks().slots(),
        bytes >> 20,
        started.elapsed().as_secs_f64()
    );
    runtime.block_on(store.close(Duration::from_secs(10)));
}

fn hits(store: &Store, object: &Object, count: u64) {
    let zone = store.clocks().site("demo");
    for _ in 0..count {
        black_box(store.clocks().check(black_box(&zone), black_box(object)));
    }
}

fn rate(what: &str, count: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {:.0} a second", count as f64 / seconds);
}

fn open(runtime: &Runtime, state: &Path) -> Arc<Store> {
    let config = Config {
        memory: MemoryConfig::default(),
        disks: Vec::new(),
        state: state.to_owned(),
        max_clocks: 4_000_000,
    };
    let opened = Store::open(&config, runtime.handle().clone());
    runtime.block_on(opened).unwrap()
}

fn object(sequence: u64) -> Object {
    Draft {
        key: "demo p=/a.css".into(),
        site: "demo".into(),
        url: 1,
        path: "/a.css".into(),
        version: 1,
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        freshness: Freshness {
            received_at: SystemTime::UNIX_EPOCH,
            initial_age: Duration::ZERO,
            lifetime: Duration::from_hours(1),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: false,
            must_revalidate: false,
        },
        body: Body::Inline(Bytes::new()),
        tags: (1..65).collect(),
        body_seq: sequence,
        checked_seq: sequence,
        detail: "".into(),
        fetch_started: Duration::ZERO,
    }
    .seal()
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// User instructions of this thread, counted by `perf` from outside; `None` where it cannot.
fn instructions(act: impl FnOnce()) -> Option<u64> {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let thread = thread.file_name().unwrap().to_str().unwrap().to_owned();
    let mut perf = std::process::Command::new("perf")
        .args(["stat", "-x", ",", "-e", "instructions:u", "-t", &thread])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    // It says nothing when it has begun.
    std::thread::sleep(Duration::from_millis(300));
    act();
    std::process::Command::new("kill")
        .args(["-INT", &perf.id().to_string()])
        .status()
        .ok()?;
    let mut said = String::new();
    perf.stderr.take()?.read_to_string(&mut said).ok()?;
    perf.wait().ok()?;
    let line = said.lines().find(|line| line.contains("instructions"))?;
    line.split(',').next()?.parse().ok()
}

/// The same through HTTP and JSON.
fn door(folder: &Path) {
    let config = folder.join("config");
    std::fs::create_dir_all(config.join("sites")).unwrap();
    let site = "hosts = [\"localhost\"]\n[origin]\nurl = \"http://127.0.0.1:9\"\n";
    std::fs::write(config.join("sites/demo.toml"), site).unwrap();
    let node = "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
        [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
        [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n";
    std::fs::write(config.join("edge.toml"), node).unwrap();
    let config = brim::config::load(&config).unwrap();
    let node = Node::start(config, &SystemClock::shared()).unwrap();
    let (address, token) = (node.admin_address().unwrap(), node.admin_token().to_owned());
    for batch in [5000, 50_000, 100_000_usize] {
        let calls = 200_000_usize.div_ceil(batch);
        let urls: Vec<String> = (0..batch)
            .map(|n| format!("https://localhost/assets/some/folder/{batch}/{n}.css?v=1"))
            .collect();
        let body = serde_json::json!({ "urls": urls }).to_string();
        let started = Instant::now();
        for _ in 0..calls {
            let answer = post(address, &token, &body);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        rate(
            &format!("URLs by the admin door, {batch} a call"),
            (calls * batch) as u64,
            started,
        );
    }
    node.drain();
}

fn post(address: SocketAddr, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /v1/purge HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
