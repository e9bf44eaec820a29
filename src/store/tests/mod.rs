//! The store as a whole, on real folders; above all what it must survive of foyer's known defects.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::store::clocks::{Purge, PurgeItem, Purged, Slot};
use crate::store::codec::Record;
use crate::store::config::{Config, DiskConfig, MemoryConfig};
use crate::store::disk::Patience;
use crate::store::entry::{CHUNK_BYTES, Entry, EntryKey, Kept, Placement, Tier};
use crate::store::error::StoreError;
use crate::store::folder::{DiskTrouble, Geometry, block_file};
use crate::store::object::{Body, Draft, Object};
use crate::store::report::{CloseOutcome, DiskStats, TierState};
use crate::store::testing::plain_draft;
use crate::store::tiers::{Store, Tuning};

mod defects;
mod disks;
mod faults;

const DEADLINE: Duration = Duration::from_secs(60);
const BOTH: Kept = Kept {
    memory: true,
    disk: true,
};
const NEITHER: Kept = Kept {
    memory: false,
    disk: false,
};

/// The folders of a node.
struct Place {
    root: TempDir,
    memory_bytes: u64,
    tuning: Tuning,
}

impl Place {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            memory_bytes: 64 << 20,
            tuning: Tuning {
                geometry: Some(Geometry {
                    block_bytes: 2 << 20,
                    blocks: 32,
                }),
                patience: Patience {
                    insert: Duration::from_secs(20),
                    // A busy machine is slow.
                    load: DEADLINE,
                    stall: DEADLINE,
                    open: DEADLINE,
                    retry: Duration::from_millis(5),
                    ..Patience::default()
                },
                device: None,
            },
        }
    }

    fn with_memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    fn with_blocks(mut self, block_bytes: u64, blocks: u64) -> Self {
        self.tuning.geometry = Some(Geometry {
            block_bytes,
            blocks,
        });
        self
    }

    fn config(&self) -> Config {
        config_in(self.root.path(), self.memory_bytes)
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("disk/data")
    }

    async fn open(&self) -> Arc<Store> {
        Store::open_tuned(&self.config(), Handle::current(), self.tuning.clone())
            .await
            .unwrap()
    }
}

fn config_in(root: &Path, memory_bytes: u64) -> Config {
    Config {
        memory: MemoryConfig {
            size_bytes: memory_bytes,
            ..MemoryConfig::default()
        },
        disks: vec![DiskConfig::new(root.join("disk"), 128 << 20)],
        state: root.join("state"),
        max_clocks: 1000,
    }
}

fn inline(n: u64, body: &[u8]) -> Object {
    Draft {
        url: u128::from(n),
        ..plain_draft(
            &format!("key {n}"),
            Body::Inline(Bytes::copy_from_slice(body)),
        )
    }
    .seal()
}

fn entry(n: u64, body: &[u8]) -> Entry {
    Entry::Object(Arc::new(inline(n, body)))
}

/// A body that can only be that of `n`.
fn body_of(n: u64, length: usize) -> Vec<u8> {
    n.to_le_bytes().into_iter().cycle().take(length).collect()
}

fn key(n: u64) -> EntryKey {
    // As a keyed hash would: the low bits choose shards.
    EntryKey::head(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn body(entry: &Entry) -> Bytes {
    match entry {
        Entry::Object(object) => match &object.body {
            Body::Inline(bytes) => bytes.clone(),
            Body::Chunked { .. } => panic!("chunked"),
        },
        Entry::Chunk(bytes) => bytes.clone(),
        Entry::Vary(_) => panic!("vary"),
    }
}

fn trouble(store: &Store) -> Option<DiskTrouble> {
    match &store.tiers()[1].state {
        TierState::Ready => None,
        TierState::Down(trouble) => Some(trouble.clone()),
    }
}

fn disk_stats(store: &Store) -> DiskStats {
    store.stats().disks.remove(0)
}

async fn insert(store: &Store, n: u64, body: &[u8]) -> Kept {
    store
        .insert(key(n), entry(n, body), Placement::MemoryAndDisk)
        .await
}

async fn close(store: &Store) {
    assert_eq!(store.close(DEADLINE).await, CloseOutcome::Complete);
}

/// Waits for something that happens on its own.
async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, waiting).await.is_ok(),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_inserted_is_found_in_memory_then_on_disk_then_after_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    assert!(trouble(&store).is_none());
    assert_eq!(insert(&store, 1, b"one").await, BOTH);
    assert_eq!(body(&store.memory(&key(1)).unwrap()), "one");
    let id = store.hash(&[b"a", b"b"]);
    close(&store).await;
    assert_eq!(trouble(&store).unwrap().as_str(), "closed");
    assert_eq!(body(&store.memory(&key(1)).unwrap()), "one");
    drop(store);

    let store = place.open().await;
    assert!(store.memory(&key(1)).is_none());
    let (found, tier) = store.load(&key(1)).await.unwrap();
    assert_eq!(
        (body(&found), tier),
        (Bytes::from_static(b"one"), Tier::Disk)
    );
    let (_, tier) = store.load(&key(1)).await.unwrap();
    assert_eq!(tier, Tier::Memory);
    assert!(store.load(&key(2)).await.is_none());
    assert_eq!(store.hash(&[b"a", b"b"]), id);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_a_large_object_leave_the_memory_tier_alone() {
    let place = Place::new().with_memory(4 << 20);
    let store = place.open().await;
    insert(&store, 1, b"small").await;
    for n in 0..20 {
        let chunk = Entry::Chunk(body_of(u64::from(n), CHUNK_BYTES).into());
        let kept = store
            .insert(EntryKey::chunk(7, n), chunk, Placement::DiskPreferred)
            .await;
        assert!(kept.disk && !kept.memory);
    }
    for n in 0..20 {
        let key = EntryKey::chunk(7, n);
        assert!(store.memory(&key).is_none());
        assert!(store.may_contain(&key));
        let (chunk, tier) = store
            .load_placed(&key, Placement::DiskPreferred)
            .await
            .unwrap();
        assert_eq!(tier, Tier::Disk);
        assert_eq!(body(&chunk), body_of(u64::from(n), CHUNK_BYTES));
    }
    assert!(store.memory(&key(1)).is_some());
    assert_eq!(store.stats().memory.entries, 1);
    close(&store).await;
}

#[test]
fn it_may_be_called_from_any_runtime() {
    let shared = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let place = Place::new();
    let store = shared.block_on(place.open());
    shared.block_on(insert(&store, 1, b"one"));
    shared.block_on(store.settle(DEADLINE));
    std::thread::scope(|scope| {
        for n in 2..4 {
            let store = &store;
            scope.spawn(move || {
                let core = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                core.block_on(async {
                    let found = store.load_placed(&key(1), Placement::DiskPreferred).await;
                    assert!(found.is_some());
                    assert_eq!(insert(store, n, b"more").await, BOTH);
                    let item = hard(Slot::Url {
                        site: None,
                        url: u128::from(n),
                    });
                    store.clocks().purge(vec![item]).await.unwrap();
                });
            });
        }
    });
    shared.block_on(close(&store));
}

fn hard(slot: Slot) -> PurgeItem {
    PurgeItem {
        slot,
        kind: Purge::Hard,
    }
}

/// foyer 1 and 3: what was removed is still found in its write queue, and again after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_holds_whatever_still_finds_the_entry() {
    let place = Place::new();
    let store = place.open().await;
    let site = store.clocks().site("demo");
    let check = |store: &Store, found: Option<(Entry, Tier)>| {
        let Some((Entry::Object(object), _)) = found else {
            return;
        };
        let site = store.clocks().site("demo");
        assert_eq!(store.clocks().check(&site, &object), Purged::Hard);
    };
    for n in 0..200 {
        assert_eq!(insert(&store, n, &body_of(n, 3000)).await, BOTH);
        let Some(Entry::Object(object)) = store.memory(&key(n)) else {
            panic!("not in memory")
        };
        assert_eq!(store.clocks().check(&site, &object), Purged::No);
    }
    let items = (0..200)
        .map(|n| hard(Slot::Url { site: None, url: n }))
        .collect();
    store.clocks().purge(items).await.unwrap();
    for n in 0..200 {
        store.remove(&key(n));
        assert!(store.memory(&key(n)).is_none());
        // Also while it is still in the write queue.
        assert!(store.load(&key(n)).await.is_none());
    }
    close(&store).await;
    let store = place.open().await;
    for n in 0..200 {
        check(&store, store.load(&key(n)).await);
    }
    close(&store).await;
}

/// foyer 2: a load from disk that races a removal or an update puts the old value into memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_races_an_update_does_not_bring_the_old_version_back() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..300 {
        // On disk only.
        let old = entry(n, b"old");
        store.insert(key(n), old, Placement::DiskPreferred).await;
        if n % 3 == 0 {
            store.settle(DEADLINE).await;
        }
        let load = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.load(&key(n)).await }
        });
        insert(&store, n, b"new").await;
        load.await.unwrap();
        assert_eq!(body(&store.memory(&key(n)).unwrap()), "new", "{n}");
    }
    close(&store).await;
    let store = place.open().await;
    for n in 0..300 {
        if let Some((found, _)) = store.load(&key(n)).await {
            assert_eq!(body(&found), "new", "{n}");
        }
    }
    close(&store).await;
}

/// foyer 5 and 8: an update that is too large is dropped without a word, and the old version stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_too_large_for_the_disk_leaves_nothing_old_behind() {
    let place = Place::new().with_memory(1 << 20).with_blocks(1 << 20, 16);
    let store = place.open().await;
    insert(&store, 1, b"old").await;
    store.settle(DEADLINE).await;
    let kept = insert(&store, 1, &vec![0; (1 << 20) - 200]).await;
    assert_eq!(kept, NEITHER);
    assert!(store.load(&key(1)).await.is_none());
    assert_eq!(disk_stats(&store).refused_size, 1);
    close(&store).await;
}

/// foyer 5: the same when the write queue is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_the_disk_has_no_time_for_leaves_nothing_old_behind() {
    let mut place = Place::new().with_memory(1 << 20);
    place.tuning.patience.insert = Duration::from_millis(10);
    let store = place.open().await;
    insert(&store, 1, b"old").await;
    store.settle(DEADLINE).await;

    let tier = store.disk_tier().unwrap();
    let large = Record {
        head: Bytes::from(vec![0; 1 << 20]),
        body: Bytes::new(),
    };
    let mut taken = Vec::new();
    while let Some(room) = tier.reserve(&large).await {
        taken.push(room);
    }
    assert_eq!(taken.len(), 15, "no more than half of the flush buffer");
    let rest = Record {
        head: Bytes::from(vec![0; (1 << 20) - 70 * 1024]),
        body: Bytes::new(),
    };
    taken.extend(tier.reserve(&rest).await);
    let refused = disk_stats(&store).refused_full;

    let kept = insert(&store, 1, &body_of(1, 100_000)).await;
    assert!(kept.memory && !kept.disk);
    assert_eq!(disk_stats(&store).refused_full, refused + 1);
    store.remove(&EntryKey::head(0));
    drop(taken);
    // Gone from memory, nothing old comes from disk.
    for n in 100..200 {
        let other = Entry::Chunk(vec![0; 20_000].into());
        store.insert(key(n), other, Placement::MemoryAndDisk).await;
    }
    if let Some((found, _)) = store.load(&key(1)).await {
        assert_eq!(body(&found).len(), 100_000);
    }
    close(&store).await;
}

/// foyer drops a fifth of what many tasks insert when nothing holds them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_dropped_without_a_count() {
    let place = Place::new().with_memory(1 << 20).with_blocks(8 << 20, 16);
    let store = place.open().await;
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for n in task * 100..task * 100 + 20 {
                    let body = body_of(n, 400_000);
                    let outcome = store
                        .insert(key(n), entry(n, &body), Placement::DiskPreferred)
                        .await;
                    if outcome.disk {
                        kept.push(n);
                    }
                }
                kept
            })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    assert!(store.settle(DEADLINE).await);
    let stats = disk_stats(&store);
    assert_eq!(stats.lost, 0);
    assert_eq!(stats.waiting_bytes, 0);
    assert_eq!(kept.len() as u64 + stats.refused_full, 160);
    for n in kept {
        let found = store.load(&key(n)).await;
        let (found, _) = found.unwrap_or_else(|| panic!("{:?}", store.stats().disks));
        assert_eq!(body(&found), body_of(n, 400_000));
    }
    close(&store).await;
}

/// foyer 9: its flusher panics at the first write error, and the tier is dead until it is opened anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_is_given_up_and_taken_up_again() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::os::fd::AsRawFd;

    let place = Place::new().with_blocks(1 << 20, 8);
    let empty = place.open().await;
    close(&empty).await;
    // Files of memory in the place of the blocks, for these can be made to refuse writes.
    let files: Vec<_> = (0..8)
        .map(|number| {
            let file = memfd_create("block", MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&file, 1 << 20).unwrap();
            let block = block_file(&place.data(), number);
            fs::remove_file(&block).unwrap();
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::os::unix::fs::symlink(link, &block).unwrap();
            file
        })
        .collect();
    let mut place = place;
    place.tuning.patience.retry = Duration::from_secs(1);
    let store = place.open().await;
    assert!(trouble(&store).is_none(), "{:?}", trouble(&store));
    assert_eq!(insert(&store, 1, b"before").await, BOTH);
    store.settle(DEADLINE).await;

    for file in &files {
        fcntl_add_seals(file, SealFlags::WRITE).unwrap();
    }
    insert(&store, 2, b"lost").await;
    until("the tier is given up", || trouble(&store).is_some()).await;
    assert_eq!(trouble(&store).unwrap().as_str(), "write-failed");
    // The node goes on from memory.
    assert_eq!(body(&store.load(&key(2)).await.unwrap().0), "lost");
    let kept = insert(&store, 3, b"memory").await;
    assert!(kept.memory && !kept.disk);
    let stats = disk_stats(&store);
    assert!(!stats.in_use && stats.lost >= 1 && stats.failures == 1);

    for number in 0..8 {
        fs::remove_file(block_file(&place.data(), number)).unwrap();
    }
    until("the tier is back", || trouble(&store).is_none()).await;
    assert_eq!(insert(&store, 4, b"again").await, BOTH);
    close(&store).await;
    let store = place.open().await;
    assert_eq!(body(&store.load(&key(4)).await.unwrap().0), "again");
    close(&store).await;
}

/// foyer 10: with fewer blocks than its parts need, it waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_too_small_is_not_used() {
    let mut place = Place::new();
    place.tuning.geometry = None;
    let mut config = place.config();
    config.disks[0].size_bytes = 8 << 20;
    let store = Store::open_tuned(&config, Handle::current(), place.tuning.clone())
        .await
        .unwrap();
    assert_eq!(trouble(&store).unwrap().as_str(), "too-small");
    let kept = insert(&store, 1, b"one").await;
    assert!(kept.memory && !kept.disk);
    assert!(store.load(&key(1)).await.is_some());
    assert!(store.load(&key(2)).await.is_none());
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_size_that_is_allowed_works() {
    let mut place = Place::new();
    place.tuning.geometry = None;
    let store = place.open().await;
    assert!(trouble(&store).is_none());
    // Once around.
    for n in 0..300 {
        let chunk = Entry::Chunk(body_of(n, CHUNK_BYTES).into());
        let kept = store.insert(key(n), chunk, Placement::DiskPreferred).await;
        assert!(kept.disk, "{n}");
    }
    assert!(store.settle(DEADLINE).await);
    let (last, _) = store.load(&key(299)).await.unwrap();
    assert_eq!(body(&last), body_of(299, CHUNK_BYTES));
    assert!(store.load(&key(0)).await.is_none());
    close(&store).await;
}

/// foyer 13: another block size cuts its files, and then every read fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_made_for_something_else_starts_empty() {
    let fill = async |place: &Place| {
        let store = place.open().await;
        for n in 0..50 {
            insert(&store, n, &body_of(n, 30_000)).await;
        }
        close(&store).await;
    };
    let check_empty = async |place: &Place| {
        let store = place.open().await;
        assert!(trouble(&store).is_none());
        for n in 0..50 {
            assert!(store.load(&key(n)).await.is_none());
        }
        assert_eq!(disk_stats(&store).read_errors, 0);
        assert_eq!(insert(&store, 1, b"new").await, BOTH);
        close(&store).await;
    };
    let mut place = Place::new();
    for blocks in [(4 << 20, 16), (1 << 20, 64), (1 << 20, 20)] {
        fill(&place).await;
        place = place.with_blocks(blocks.0, blocks.1);
        check_empty(&place).await;
    }
    // Files of a larger device are not left lying about.
    assert!(!block_file(&place.data(), 20).exists());
    // Ids of another hash key mean nothing.
    fill(&place).await;
    fs::remove_file(place.root.path().join("state/hash.key")).unwrap();
    check_empty(&place).await;
    // Nor do sequence numbers of other clocks: a purge would not reach what carries them.
    fill(&place).await;
    fs::remove_file(place.root.path().join("state/purge.redb")).unwrap();
    check_empty(&place).await;
}

/// foyer 14: two processes write over each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_on_a_folder_serves_from_memory_until_the_first_has_gone() {
    let place = Place::new();
    let first = place.open().await;
    insert(&first, 1, b"one").await;

    let again = Store::open(&place.config(), Handle::current()).await;
    match again.unwrap_err() {
        StoreError::InUse { holder, .. } => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other}"),
    }

    let mut config = place.config();
    config.state = place.root.path().join("another state");
    let second = Store::open_tuned(&config, Handle::current(), place.tuning.clone())
        .await
        .unwrap();
    let told = trouble(&second).unwrap();
    assert_eq!(told.as_str(), "in-use");
    assert!(
        told.to_string()
            .contains(&format!("process {}", std::process::id())),
        "{told}"
    );
    let kept = insert(&second, 2, b"two").await;
    assert!(kept.memory && !kept.disk);

    close(&first).await;
    until("the second takes over", || trouble(&second).is_none()).await;
    assert_eq!(insert(&second, 3, b"three").await, BOTH);
    close(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_used_leaves_the_node_on_memory() {
    let place = Place::new();
    fs::write(place.root.path().join("disk"), "a file").unwrap();
    let store = place.open().await;
    assert_eq!(trouble(&store).unwrap().as_str(), "not-writable");
    assert!(insert(&store, 1, b"one").await.memory);
    close(&store).await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_used_is_an_error() {
    let place = Place::new();
    fs::write(place.root.path().join("state"), "a file").unwrap();
    let refused = Store::open(&place.config(), Handle::current()).await;
    assert!(matches!(refused, Err(StoreError::State { .. })));
}

#[tokio::test]
async fn a_node_without_a_disk_is_complete() {
    let place = Place::new();
    let mut config = place.config();
    config.disks.clear();
    let store = Store::open(&config, Handle::current()).await.unwrap();
    assert_eq!(store.tiers().len(), 1);
    assert!(insert(&store, 1, b"one").await.memory);
    assert!(store.load(&key(1)).await.is_some());
    assert!(store.load(&key(2)).await.is_none());
    assert!(store.stats().disks.is_empty());
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_disk_is_a_miss_and_never_another_body() {
    let place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    for n in 0..200 {
        insert(&store, n, &body_of(n, 20_000)).await;
    }
    close(&store).await;
    // One byte in 40 kB: about half of the entries.
    let mut seed = 7usize;
    for number in 0..16 {
        let path = block_file(&place.data(), number);
        let mut block = fs::read(&path).unwrap();
        for _ in 0..26 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The index page at the front stays: without it the block is simply empty.
            let place = 4096 + (seed >> 20) % (block.len() - 4096);
            block[place] ^= 0x55;
        }
        fs::write(&path, block).unwrap();
    }
    let store = place.open().await;
    let mut found = 0;
    for n in 0..200 {
        if let Some((entry, _)) = store.load(&key(n)).await {
            assert_eq!(body(&entry), body_of(n, 20_000), "{n}");
            found += 1;
        }
    }
    assert!((1..200).contains(&found), "{found}");
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_no_entry_is_a_miss_and_forgotten() {
    let place = Place::new();
    let store = place.open().await;
    let tier = store.disk_tier().unwrap();
    let record = Record {
        head: Bytes::from_static(b"\xffnot an entry"),
        body: Bytes::new(),
    };
    let room = tier.reserve(&record).await.unwrap();
    tier.write(key(1), record, room);
    store.settle(DEADLINE).await;
    assert!(store.may_contain(&key(1)));
    assert!(store.load(&key(1)).await.is_none());
    assert_eq!(disk_stats(&store).corrupt, 1);
    assert!(!store.may_contain(&key(1)));
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_outlives_a_stream_of_what_is_not() {
    let place = Place::new().with_blocks(1 << 20, 32);
    let store = place.open().await;
    let hot = 0..60u64;
    let put = async |n: u64| {
        let entry = entry(n, &body_of(n, 30_000));
        store.insert(key(n), entry, Placement::DiskPreferred).await;
    };
    for n in hot.clone() {
        put(n).await;
    }
    // Five times the device. The first blocks go with little or no warning; what was in them is fetched
    // again, as a cache does, and stays from then on.
    let (mut asked, mut missed) = (0, 0);
    for n in 1000..6000u64 {
        put(n).await;
        if n % 10 == 0 {
            store.settle(DEADLINE).await;
            for m in 0..6 {
                let m = (n / 10 * 6 + m) % 60;
                asked += 1;
                let hit = store.load_placed(&key(m), Placement::DiskPreferred).await;
                if hit.is_none() {
                    missed += 1;
                    put(m).await;
                }
            }
        }
    }
    assert!(missed * 30 < asked, "{missed} of {asked} missed");
    assert!(disk_stats(&store).rewrites > 0);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_want_one_entry_cost_one_read() {
    let place = Place::new();
    let store = place.open().await;
    store
        .insert(key(1), entry(1, b"one"), Placement::DiskPreferred)
        .await;
    store.settle(DEADLINE).await;
    let loads: Vec<_> = (0..100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.load(&key(1)).await })
        })
        .collect();
    for load in loads {
        assert_eq!(body(&load.await.unwrap().unwrap().0), "one");
    }
    close(&store).await;
}

const CHILD: &str = "BRIM_TEST_STORE_CHILD";

/// Not a test of its own: the process that `kill_9_…` kills.
#[test]
fn the_child_process() {
    let Ok(root) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tuning = Place::new().tuning;
        let config = config_in(Path::new(&root), 64 << 20);
        let store = Store::open_tuned(&config, Handle::current(), tuning)
            .await
            .unwrap();
        for n in 0..300 {
            insert(&store, n, &body_of(n, 20_000)).await;
        }
        assert!(store.settle(DEADLINE).await);
        let items = vec![hard(Slot::Url { site: None, url: 5 })];
        assert_eq!(store.clocks().purge(items).await.unwrap(), 1);
        let mut out = std::io::stdout();
        writeln!(out, "ready").unwrap();
        out.flush().unwrap();
        // At full speed, until it is killed.
        for n in 1000.. {
            insert(&store, n % 1200, &body_of(n % 1200, 20_000)).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_neither_purges_nor_what_was_written() {
    let place = Place::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::tests::the_child_process", "--exact", "--nocapture"])
        .env(CHILD, place.root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.ends_with("ready")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready);

    let store = place.open().await;
    assert!(trouble(&store).is_none());
    assert_eq!(store.clocks().sequence(), 1);
    let site = store.clocks().site("demo");
    let mut found = 0;
    for n in (0..300).chain(1000..1200) {
        let Some((entry, _)) = store.load(&key(n)).await else {
            continue;
        };
        assert_eq!(body(&entry), body_of(n, 20_000), "{n}");
        let Entry::Object(object) = entry else {
            panic!("not an object")
        };
        let purged = store.clocks().check(&site, &object);
        assert_eq!(purged == Purged::Hard, n == 5, "{n}");
        found += u32::from(n < 300);
    }
    assert!(found > 250, "{found}");
    close(&store).await;
}
