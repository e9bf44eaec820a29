//! What stored objects take of the process's memory:
//!
//! ```text
//! cargo bench --bench footprint -- tiny   [--objects 10000000] [--mib 256]
//! cargo bench --bench footprint -- memory [--objects 1000000]
//! cargo bench --bench footprint -- disk   [--objects 1000000] [--folder PATH]
//! cargo bench --bench footprint -- shrink [--mib 512]
//! ```
//!
//! `tiny` sends objects of 100 bytes through a memory tier and compares what the process takes with the tier's size.
//! `memory` and `disk` hold objects of 1 KiB in one tier and tell the bytes for each; for the disk a fresh process opens
//! what was written, and another one an empty tier. `shrink` tells what the process gives back when the tier is made
//! smaller. Without a word all four are done with a hundredth of the numbers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench has nobody to tell but its reader"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brim::store::{Config, DiskConfig, MemoryConfig, Placement, Store};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TINY_BYTES: usize = 100;
const SMALL_BYTES: usize = 1024;
/// What the process may take beyond the tier: the allocator's own, and what is being inserted.
const BEYOND_BYTES: u64 = 32 << 20;

struct Plan {
    what: Vec<String>,
    objects: Option<u64>,
    mib: Option<u64>,
    folder: PathBuf,
}

fn main() {
    let own = tempfile::tempdir().unwrap();
    let mut plan = Plan {
        what: Vec::new(),
        objects: None,
        mib: None,
        folder: own.path().to_owned(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value");
        match word.as_str() {
            "--objects" => plan.objects = Some(value().parse().expect("a number")),
            "--mib" => plan.mib = Some(value().parse().expect("a number")),
            "--folder" => plan.folder = value().into(),
            // What `cargo bench` adds.
            flag if flag.starts_with('-') => {}
            what => plan.what.push(what.to_owned()),
        }
    }
    let short = plan.what.is_empty();
    if short {
        plan.what = ["tiny", "memory", "disk", "shrink"]
            .map(String::from)
            .into();
    }
    let objects = |whole: u64| {
        plan.objects
            .unwrap_or(if short { whole / 100 } else { whole })
    };
    for what in &plan.what {
        match what.as_str() {
            "tiny" => tiny(
                objects(10_000_000),
                plan.mib.unwrap_or(if short { 16 } else { 256 }),
            ),
            "memory" => memory(objects(1_000_000)),
            "disk" => disk(objects(1_000_000), &plan.folder),
            "shrink" => shrink(plan.mib.unwrap_or(if short { 64 } else { 512 })),
            "open" => open_and_tell(&plan.folder, objects(1_000_000)),
            other => panic!("{other}? tiny, memory, disk or shrink"),
        }
    }
}

fn open(runtime: &Runtime, folder: &Path, memory_mib: u64, disk_bytes: Option<u64>) -> Arc<Store> {
    let config = Config {
        memory: MemoryConfig {
            size_bytes: memory_mib << 20,
            ..MemoryConfig::default()
        },
        disks: disk_bytes
            .map(|size_bytes| DiskConfig::new(folder.join("cache"), size_bytes))
            .into_iter()
            .collect(),
        state: folder.join("state"),
        max_clocks: 1000,
    };
    runtime
        .block_on(Store::open(&config, runtime.handle().clone()))
        .unwrap()
}

fn insert(runtime: &Runtime, store: &Store, number: u64, length: usize, placement: Placement) {
    let path = format!("/assets/{number:08}.bin");
    let body = support::body(number, length);
    let (key, entry) = support::object(store, &path, u128::from(number), body);
    runtime.block_on(store.site("demo").insert(key, entry, placement));
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// # Panics
/// When the process takes more than the tier may.
fn tiny(objects: u64, size_mib: u64) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&runtime, folder.path(), size_mib, None);
    let before = support::resident_bytes();
    let began = Instant::now();
    let mut most = 0;
    for number in 0..objects {
        insert(
            &runtime,
            &store,
            number,
            TINY_BYTES,
            Placement::MemoryAndDisk,
        );
        if (number + 1) % (objects / 10) == 0 {
            let growth = support::resident_bytes().saturating_sub(before);
            most = most.max(growth);
            let memory = store.stats().memory;
            println!(
                "tiny: {} inserted: {} MiB taken, {} MiB by the tier's account, {} entries, {} bytes each",
                number + 1,
                mib(growth),
                mib(memory.used_bytes),
                memory.entries,
                growth / memory.entries.max(1)
            );
        }
    }
    println!("tiny: {objects} objects in {:?}", began.elapsed());
    assert!(
        most <= (size_mib << 20) + BEYOND_BYTES,
        "{} MiB are taken by a tier of {size_mib} MiB",
        mib(most)
    );
}

fn memory(objects: u64) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&runtime, folder.path(), 16 << 10, None);
    let before = support::resident_bytes();
    for number in 0..objects {
        insert(
            &runtime,
            &store,
            number,
            SMALL_BYTES,
            Placement::MemoryAndDisk,
        );
    }
    let growth = support::resident_bytes().saturating_sub(before);
    let memory = store.stats().memory;
    assert_eq!(memory.entries, objects, "all of them are held");
    println!(
        "memory: {objects} objects of {SMALL_BYTES} bytes: {} bytes each, {} by the tier's account",
        growth / objects,
        memory.used_bytes / objects
    );
}

/// Room for twice the objects, each in a page or two.
fn disk_bytes(objects: u64) -> u64 {
    (objects * 8192).max(256 << 20)
}

fn disk(objects: u64, folder: &Path) {
    let full = folder.join("full");
    let runtime = Runtime::new().unwrap();
    let store = open(&runtime, &full, 1, Some(disk_bytes(objects)));
    // So that the buffers of the way to the disk are there before the first look.
    for number in 0..20_000 {
        insert(
            &runtime,
            &store,
            number,
            SMALL_BYTES,
            Placement::DiskPreferred,
        );
    }
    runtime.block_on(store.settle(Duration::from_secs(60)));
    let before = support::resident_bytes();
    for number in 20_000..20_000 + objects {
        insert(
            &runtime,
            &store,
            number,
            SMALL_BYTES,
            Placement::DiskPreferred,
        );
    }
    runtime.block_on(store.settle(Duration::from_secs(600)));
    let growth = support::resident_bytes().saturating_sub(before);
    let stats = store.stats().disks.remove(0);
    println!(
        "disk: {objects} objects of {SMALL_BYTES} bytes written: {} bytes each in this process ({} refused)",
        growth / objects,
        stats.refused_full
    );
    runtime.block_on(store.close(Duration::from_secs(60)));
    drop(runtime);
    let told = |folder: &Path| -> u64 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["open", "--objects", &objects.to_string(), "--folder"])
            .arg(folder)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    };
    let (full_bytes, empty_bytes) = (told(&full), told(&folder.join("empty")));
    println!(
        "disk: opened again: {} MiB, with an empty tier {} MiB: {} bytes each",
        mib(full_bytes),
        mib(empty_bytes),
        full_bytes.saturating_sub(empty_bytes) / objects
    );
    for name in ["full", "empty"] {
        std::fs::remove_dir_all(folder.join(name)).unwrap();
    }
}

/// Opens the tier, and prints what the process takes once that is done.
fn open_and_tell(folder: &Path, objects: u64) {
    let runtime = Runtime::new().unwrap();
    let store = open(&runtime, folder, 1, Some(disk_bytes(objects)));
    // Opening may go on behind: until two looks are the same.
    let mut last = 0;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(300));
        let now = support::resident_bytes();
        if now.abs_diff(last) < 64 << 10 && store.has_disk() {
            break;
        }
        last = now;
    }
    println!("{}", support::resident_bytes());
    runtime.block_on(store.close(Duration::from_secs(60)));
}

fn shrink(size_mib: u64) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&runtime, folder.path(), size_mib, None);
    let before = support::resident_bytes();
    let mut number = 0;
    while store.stats().memory.used_bytes < (size_mib << 20) / 100 * 98 {
        // As they come: some small, some large.
        let length = 200 << (number % 10);
        insert(&runtime, &store, number, length, Placement::MemoryAndDisk);
        number += 1;
    }
    let taken = || mib(support::resident_bytes().saturating_sub(before));
    println!("shrink: {} MiB taken by {size_mib} MiB of objects", taken());
    for thousandths in [750, 500, 250, 60] {
        store.scale_memory(thousandths);
        let at_once = taken();
        std::thread::sleep(Duration::from_secs(1));
        // The allocator gives back as it is used.
        for more in 0..1000 {
            insert(
                &runtime,
                &store,
                number + more,
                2000,
                Placement::MemoryAndDisk,
            );
        }
        number += 1000;
        println!(
            "shrink: {} MiB by the tier's account, {at_once} MiB taken at once, {} MiB a second later",
            mib(store.stats().memory.used_bytes),
            taken()
        );
    }
}
