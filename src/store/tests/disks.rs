//! Several disks, what they take, and what one site may keep of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::clock::{ManualClock, SharedClock};

use crate::store::admission::{Admission, Newcomer, Refusal};
use crate::store::config::{Config, DiskConfig, MemoryConfig, Quota};
use crate::store::disk::Patience;
use crate::store::entry::{CHUNK_BYTES, Entry, EntryKey, Placement, Tier, VaryIndex};
use crate::store::folder::Geometry;
use crate::store::object::{Body, Draft};
use crate::store::report::{DiskStats, SiteStats, TierState};
use crate::store::site::SiteStore;
use crate::store::testing::plain_draft;
use crate::store::tiers::{Store, Tuning};

use super::{DEADLINE, close, until};

const MIB: u64 = 1 << 20;

/// A node with disks `a`, `b` and so on.
struct Place {
    root: TempDir,
    disks: Vec<DiskConfig>,
    clock: Arc<ManualClock>,
    memory_bytes: u64,
    retry: Duration,
}

impl Place {
    fn with_disks(count: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].into_iter().take(count);
        let disks = names
            .map(|name| DiskConfig::new(root.path().join(name), 64 * MIB))
            .collect();
        Self {
            root,
            disks,
            clock: Arc::new(ManualClock::starting_at(SystemTime::UNIX_EPOCH)),
            memory_bytes: 64 * MIB,
            retry: Duration::from_millis(5),
        }
    }

    async fn open(&self) -> Arc<Store> {
        let config = Config {
            memory: MemoryConfig {
                size_bytes: self.memory_bytes,
                ..MemoryConfig::default()
            },
            disks: self.disks.clone(),
            state: self.root.path().join("state"),
            max_clocks: 1000,
        };
        let tuning = Tuning {
            geometry: Some(Geometry {
                block_bytes: 4 * MIB,
                blocks: 16,
            }),
            patience: Patience {
                insert: Duration::from_secs(20),
                retry: self.retry,
                open: DEADLINE,
                ..Patience::default()
            },
            device: None,
        };
        let clock = Arc::clone(&self.clock) as SharedClock;
        Store::open_as(&config, Handle::current(), tuning, clock)
            .await
            .unwrap()
    }

    fn path(&self, disk: usize) -> &Path {
        &self.disks[disk].path
    }
}

/// As a keyed hash would: all bits are of use.
fn id(n: u64) -> u128 {
    let mut mixed = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    mixed ^= mixed >> 61;
    mixed.wrapping_mul(0xd6e8_feb8_6659_fd93_a5a3_564e_27f8_8651)
}

fn key(n: u64) -> EntryKey {
    EntryKey::head(id(n))
}

fn object(n: u64, version: u64, body: Body) -> Draft {
    Draft {
        version: id(version),
        ..plain_draft(&format!("key {n}"), body)
    }
}

fn inline(n: u64, version: u64, body: &[u8]) -> Entry {
    let body = Body::Inline(Bytes::copy_from_slice(body));
    Entry::Object(Arc::new(object(n, version, body).seal()))
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

/// As a fill would: asks first, then inserts. Whether the disk took it.
async fn fill(site: &SiteStore, n: u64, version: u64, length: usize) -> bool {
    site.count_use(id(n));
    let newcomer = Newcomer {
        id: id(n),
        version: id(version),
        bytes: Some(length as u64),
        whole: true,
    };
    let admission = site.admit(&newcomer);
    let entry = inline(n, version, &vec![7; length]);
    let kept = site.insert(key(n), entry, Placement::MemoryAndDisk).await;
    assert_eq!(kept.disk, admission.is_granted());
    kept.disk
}

async fn put(site: &SiteStore, n: u64, body: &[u8]) {
    let entry = inline(n, n, body);
    site.insert(key(n), entry, Placement::DiskPreferred).await;
}

fn disk(store: &Store, number: usize) -> DiskStats {
    store.stats().disks.remove(number)
}

fn stats_of(store: &Store, site: &str) -> SiteStats {
    let found = store
        .stats()
        .sites
        .into_iter()
        .find(|stats| *stats.name == *site);
    found.unwrap()
}

fn is_up(store: &Store, number: usize) -> bool {
    matches!(store.tiers()[number + 1].state, TierState::Ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_spread_by_the_sizes_of_the_disks_and_found_again() {
    let mut place = Place::with_disks(3);
    place.disks[1].size_bytes = 128 * MIB;
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..1000 {
        put(&site, n, &n.to_le_bytes()).await;
    }
    assert!(store.settle(DEADLINE).await);
    let writes: Vec<u64> = store.stats().disks.iter().map(|disk| disk.writes).collect();
    assert!((180..320).contains(&writes[0]), "{writes:?}");
    assert!((430..570).contains(&writes[1]), "{writes:?}");
    assert!((180..320).contains(&writes[2]), "{writes:?}");
    close(&store).await;
    drop((site, store));
    // The order in the configuration means nothing, and what another configuration put elsewhere is found.
    place.disks.reverse();
    place.disks[0].sites = vec!["other".into()];
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..1000u64 {
        let (found, tier) = site.load(&key(n)).await.unwrap();
        assert_eq!(
            (&body(&found)[..], tier),
            (&n.to_le_bytes()[..], Tier::Disk)
        );
    }
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_with_a_disk_of_its_own_writes_there_and_nobody_else_does() {
    let mut place = Place::with_disks(3);
    place.disks[1].sites = vec!["own".into()];
    place.disks[2].sites = vec!["own".into(), "another".into()];
    let store = place.open().await;
    let (own, other) = (store.site("own"), store.site("other"));
    for n in 0..100 {
        put(&own, n, b"own").await;
        put(&other, 1000 + n, b"other").await;
    }
    let writes: Vec<u64> = store.stats().disks.iter().map(|disk| disk.writes).collect();
    assert_eq!(writes[0], 100);
    assert_eq!(writes[1] + writes[2], 100);
    assert!(writes[1] > 0 && writes[2] > 0, "{writes:?}");
    close(&store).await;
    drop((own, other, store));
    // No disk for others at all.
    place.disks.remove(0);
    let store = place.open().await;
    let other = store.site("other");
    assert!(!other.has_disk() && store.site("own").has_disk());
    let kept = other.insert(key(1), inline(1, 1, b"x"), Placement::MemoryAndDisk);
    assert!(!kept.await.disk);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_one_object_lie_on_one_disk() {
    let place = Place::with_disks(3);
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..20 {
        let chunk = Entry::Chunk(vec![1; 1000].into());
        let key = EntryKey::chunk(id(1), n);
        assert!(site.insert(key, chunk, Placement::DiskPreferred).await.disk);
    }
    let mut writes: Vec<u64> = store.stats().disks.iter().map(|disk| disk.writes).collect();
    writes.sort_unstable();
    assert_eq!(writes, [0, 0, 20]);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_be_used_leaves_the_others_and_brings_nothing_old_when_it_comes() {
    let place = Place::with_disks(2);
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..60 {
        put(&site, n, b"old").await;
    }
    close(&store).await;
    drop((site, store));
    // Another node has the first disk for a while.
    let thief = crate::store::folder::Folder::claim(place.path(0)).unwrap();
    let store = place.open().await;
    let site = store.site("demo");
    assert!(!is_up(&store, 0) && is_up(&store, 1));
    let mut on_first = Vec::new();
    for n in 0..60 {
        match site.load_placed(&key(n), Placement::DiskPreferred).await {
            Some((found, _)) => assert_eq!(body(&found), "old"),
            None => on_first.push(n),
        }
    }
    assert!((10..50).contains(&on_first.len()), "{}", on_first.len());
    // What belongs to it goes to the other meanwhile; some is replaced, some removed, some is left.
    for n in &on_first {
        match n % 3 {
            0 => put(&site, *n, b"new").await,
            1 => site.remove(&key(*n)),
            _ => {}
        }
    }
    drop(thief);
    until("the disk is back", || is_up(&store, 0)).await;
    assert_eq!(disk(&store, 0).recoveries, 1);
    for n in &on_first {
        let found = site.load_placed(&key(*n), Placement::DiskPreferred).await;
        let found = found.map(|(entry, _)| body(&entry));
        match n % 3 {
            0 => assert_eq!(found.unwrap(), "new", "{n}"),
            1 => assert!(found.is_none(), "{n}"),
            _ => assert_eq!(found.unwrap(), "old", "{n}"),
        }
    }
    close(&store).await;
    drop((site, store));
    // Nor after a restart.
    let store = place.open().await;
    let site = store.site("demo");
    for n in &on_first {
        let found = site.load_placed(&key(*n), Placement::DiskPreferred).await;
        let found = found.map(|(entry, _)| body(&entry));
        match n % 3 {
            0 => assert_eq!(found.unwrap(), "new", "{n}"),
            1 => assert!(found.is_none(), "{n}"),
            _ => assert_eq!(found.unwrap(), "old", "{n}"),
        }
    }
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_without_an_account_leaves_the_absent_disk_empty() {
    let place = Place::with_disks(2);
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..40 {
        put(&site, n, b"old").await;
    }
    close(&store).await;
    drop((site, store));
    let thief = crate::store::folder::Folder::claim(place.path(0)).unwrap();
    let store = place.open().await;
    let marked = || {
        let files = fs::read_dir(place.root.path().join("state")).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        files.any(|file| {
            file.extension().is_some_and(|kind| kind == "doubts")
                && fs::read_to_string(file).is_ok_and(|text| text == "away\n")
        })
    };
    until("it is noted that the disk is away", marked).await;
    let site = store.site("demo");
    let mut on_second = 0;
    for n in 0..40 {
        let found = site.load_placed(&key(n), Placement::DiskPreferred).await;
        on_second += usize::from(found.is_some());
    }
    // As after kill -9: the note is all that is left.
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(place.root.path().join("state")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    close(&store).await;
    drop((site, store, thief));
    for file in fs::read_dir(copy.path()).unwrap() {
        let file = file.unwrap();
        let state = place.root.path().join("state");
        fs::copy(file.path(), state.join(file.file_name())).unwrap();
    }
    let store = place.open().await;
    let site = store.site("demo");
    assert!(is_up(&store, 0));
    let mut found = 0;
    for n in 0..40 {
        found += usize::from(site.load(&key(n)).await.is_some());
    }
    assert_eq!(found, on_second);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_versions_the_newer_is_found_and_the_older_forgotten() {
    let mut place = Place::with_disks(2);
    let versioned = |n: u64, sequence: u64, text: &[u8]| {
        let body = Body::Inline(Bytes::copy_from_slice(text));
        let draft = Draft {
            body_seq: sequence,
            ..object(n, n, body)
        };
        Entry::Object(Arc::new(draft.seal()))
    };
    // The first disk alone, then the second alone: each has a version of its own.
    for (disk, sequence, text) in [(0, 5, b"newer"), (1, 4, b"older")] {
        place.disks[1 - disk].sites = vec!["nobody".into()];
        place.disks[disk].sites = Vec::new();
        let all = place.disks.clone();
        place.disks = vec![all[disk].clone()];
        let store = place.open().await;
        let site = store.site("demo");
        for n in 0..20 {
            let entry = versioned(n, sequence, text);
            site.insert(key(n), entry, Placement::DiskPreferred).await;
        }
        close(&store).await;
        drop((site, store));
        place.disks = all;
    }
    place.disks[0].sites = Vec::new();
    place.disks[1].sites = Vec::new();
    let store = place.open().await;
    let site = store.site("demo");
    for n in 0..20 {
        let found = site.load_placed(&key(n), Placement::DiskPreferred).await;
        assert_eq!(body(&found.unwrap().0), "newer");
    }
    assert_eq!(disk(&store, 0).hits, 20);
    // Only one of the two still has it.
    let tiers: Vec<_> = store.disk_tiers();
    for n in 0..20 {
        let holders = tiers.iter().filter(|tier| tier.may_contain(&key(n)));
        assert_eq!(holders.count(), 1, "{n}");
    }
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_tier_of_its_own_is_not_flooded_and_floods_nobody() {
    let mut place = Place::with_disks(0);
    place.memory_bytes = 4 * MIB;
    let store = place.open().await;
    let (quiet, loud) = (store.site("quiet"), store.site("loud"));
    let quotas = |memory_bytes| {
        let quota = Quota {
            memory_bytes,
            disk_bytes: 0,
        };
        [("quiet", quota), ("loud", Quota::default())]
    };
    store.set_quotas(quotas(2 * MIB));
    let insert = async |site: &SiteStore, n: u64| {
        let entry = inline(n, n, &[1; 20_000]);
        site.insert(key(n), entry, Placement::MemoryAndDisk).await;
    };
    for n in 0..50 {
        insert(&quiet, n).await;
    }
    for n in 1000..3000 {
        insert(&loud, n).await;
    }
    assert!((0..50).all(|n| quiet.memory(&key(n)).is_some()));
    let held = |n: &u64| loud.memory(&key(*n)).is_some();
    let loud_before = (1000..3000).filter(held).count();
    for n in 5000..6000 {
        insert(&quiet, n).await;
    }
    assert_eq!((1000..3000).filter(held).count(), loud_before);
    let stats = stats_of(&store, "quiet");
    assert_eq!(stats.memory_capacity_bytes, Some(2 * MIB));
    assert!(stats.memory_used_bytes.unwrap() <= 2 * MIB);
    assert_eq!(stats.memory_hits, 50);
    assert!(store.stats().memory.hits >= 50);
    // Smaller, then none: from then on it shares.
    store.set_quotas(quotas(MIB));
    assert!(stats_of(&store, "quiet").memory_used_bytes.unwrap() <= MIB);
    store.set_quotas(quotas(0));
    assert_eq!(stats_of(&store, "quiet").memory_capacity_bytes, None);
    assert!(quiet.memory(&key(5999)).is_none());
    insert(&quiet, 7000).await;
    assert!(quiet.memory(&key(7000)).is_some());
    // A site that is gone from the configuration gives its part back.
    store.set_quotas(quotas(MIB));
    store.set_quotas([("loud", Quota::default())]);
    assert_eq!(stats_of(&store, "quiet").memory_capacity_bytes, None);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_shared_memory_tier_had_does_not_come_back_with_it() {
    let place = Place::with_disks(0);
    let store = place.open().await;
    let site = store.site("demo");
    let quota = |memory_bytes| Quota {
        memory_bytes,
        disk_bytes: 0,
    };
    let insert = async |n: u64, text: &[u8]| {
        let entry = inline(n, n, text);
        site.insert(key(n), entry, Placement::MemoryAndDisk).await;
    };
    insert(1, b"old").await;
    insert(2, b"old").await;
    site.set_quota(quota(MIB));
    insert(1, b"new").await;
    site.remove(&key(2));
    site.set_quota(quota(0));
    assert!(site.memory(&key(1)).is_none());
    assert!(site.memory(&key(2)).is_none());
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_bounds_what_is_written_within_one_turn_of_the_log() {
    let place = Place::with_disks(2);
    let store = place.open().await;
    let (bounded, free) = (store.site("bounded"), store.site("free"));
    bounded.set_quota(Quota {
        memory_bytes: 0,
        disk_bytes: 4 * MIB,
    });
    let mut taken = 0;
    for n in 0..100 {
        taken += u64::from(fill(&bounded, n, n, 100_000).await);
    }
    assert!((38..42).contains(&taken), "{taken}");
    assert!(stats_of(&store, "bounded").disk_written_bytes <= 4 * MIB);
    let refused: u64 = store
        .stats()
        .disks
        .iter()
        .map(|disk| disk.refused_quota)
        .sum();
    assert_eq!(refused, 100 - taken);
    // Nobody else feels it, and more is allowed at once.
    assert!(fill(&free, 1000, 1000, 100_000).await);
    bounded.set_quota(Quota {
        memory_bytes: 0,
        disk_bytes: 5 * MIB,
    });
    assert!(fill(&bounded, 200, 200, 100_000).await);
    bounded.set_quota(Quota {
        memory_bytes: 0,
        disk_bytes: 4 * MIB,
    });
    assert!(!fill(&bounded, 201, 201, 100_000).await);
    // Once the logs have gone around, what was written is gone, and so it counts no more.
    for n in 2000..3600 {
        put(&free, n, &vec![1; 100_000]).await;
    }
    assert_eq!(stats_of(&store, "bounded").disk_written_bytes, 0);
    assert!(fill(&bounded, 300, 300, 100_000).await);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_outgrows_the_quota_leaves_no_half_object() {
    let place = Place::with_disks(1);
    let store = place.open().await;
    let site = store.site("demo");
    site.set_quota(Quota {
        memory_bytes: 0,
        disk_bytes: 2 * MIB,
    });
    let newcomer = Newcomer {
        id: id(1),
        version: id(2),
        bytes: None,
        whole: true,
    };
    assert!(site.admit(&newcomer).is_granted());
    let mut taken = Vec::new();
    for n in 0..8 {
        let chunk = Entry::Chunk(vec![1; CHUNK_BYTES].into());
        let key = EntryKey::chunk(id(2), n);
        taken.push(site.insert(key, chunk, Placement::DiskPreferred).await.disk);
    }
    assert!(taken[0] && !taken[7], "{taken:?}");
    let chunked = Body::Chunked {
        length: 8 * CHUNK_BYTES as u64,
    };
    let head = Entry::Object(Arc::new(object(1, 2, chunked).seal()));
    let kept = site.insert(key(1), head, Placement::MemoryAndDisk).await;
    assert!(kept.memory && !kept.disk);
    // One whose length is known is not begun.
    let known = Newcomer {
        bytes: Some(8 * CHUNK_BYTES as u64),
        version: id(3),
        ..newcomer
    };
    assert_eq!(site.admit(&known), Admission::Refused(Refusal::Quota));
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_request_writes_also_when_memory_answers_it() {
    let mut place = Place::with_disks(2);
    for disk in &mut place.disks {
        disk.min_uses = 2;
    }
    let store = place.open().await;
    let site = store.site("demo");
    assert!(!fill(&site, 1, 1, 1000).await);
    let Some(Entry::Object(object)) = site.memory(&key(1)) else {
        panic!("not in memory")
    };
    assert!(object.awaits_uses.load(Ordering::Relaxed));
    let refused: u64 = store
        .stats()
        .disks
        .iter()
        .map(|disk| disk.refused_uses)
        .sum();
    assert_eq!(refused, 1);
    site.asked_again(&object, &[id(1)]);
    assert!(!object.awaits_uses.load(Ordering::Relaxed));
    let tiers = store.disk_tiers();
    until("it is written", || {
        tiers.iter().any(|tier| tier.may_contain(&key(1)))
    })
    .await;
    // A second fill does, too, and what was there once is wanted from then on.
    assert!(!fill(&site, 2, 2, 1000).await);
    assert!(fill(&site, 2, 3, 1000).await);
    assert!(fill(&site, 2, 4, 1000).await);
    drop(tiers);
    close(&store).await;
    drop((site, store));
    let store = place.open().await;
    let site = store.site("demo");
    assert!(site.load(&key(1)).await.is_some());
    assert!(fill(&site, 1, 5, 1000).await, "it was there");
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variant_takes_its_index_and_its_chunks_along() {
    let mut place = Place::with_disks(1);
    place.disks[0].min_uses = 2;
    let store = place.open().await;
    let site = store.site("demo");
    let index = VaryIndex {
        key: "key 1".into(),
        fields: vec![http::header::ACCEPT],
        variants: vec![("accept:x".into(), id(2))],
    };
    site.count_use(id(1));
    site.count_use(id(2));
    let newcomer = Newcomer {
        id: id(2),
        version: id(3),
        bytes: Some(1_000_000),
        whole: true,
    };
    assert!(!site.admit(&newcomer).is_granted());
    for n in 0..2 {
        let chunk = Entry::Chunk(vec![1; 500_000].into());
        let key = EntryKey::chunk(id(3), n);
        site.insert(key, chunk, Placement::MemoryAndDisk).await;
    }
    let index = Entry::Vary(Arc::new(index));
    site.insert(key(1), index, Placement::MemoryAndDisk).await;
    let head = Arc::new(object(1, 3, Body::Chunked { length: 1_000_000 }).seal());
    let entry = Entry::Object(Arc::clone(&head));
    site.insert(key(2), entry, Placement::MemoryAndDisk).await;
    assert_eq!(disk(&store, 0).writes, 0);
    site.asked_again(&head, &[id(2), id(1)]);
    until("all of it is written", || disk(&store, 0).writes == 4).await;
    close(&store).await;
    drop((site, store));
    let store = place.open().await;
    let site = store.site("demo");
    for key in [
        key(1),
        key(2),
        EntryKey::chunk(id(3), 0),
        EntryKey::chunk(id(3), 1),
    ] {
        assert!(site.load(&key).await.is_some(), "{key:?}");
    }
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_written_to_at_its_rate_and_the_large_wait_first() {
    let mut place = Place::with_disks(1);
    place.disks[0].write_rate_bytes = MIB;
    let store = place.open().await;
    let site = store.site("demo");
    let mut n = 0;
    let mut flood = async |length: usize| {
        let mut taken = 0;
        for _ in 0..60 {
            n += 1;
            taken += u64::from(fill(&site, n, n, length).await);
        }
        taken
    };
    let large = flood(200_000).await;
    assert!((3..=5).contains(&large), "{large}");
    let small = flood(10_000).await;
    assert!((5..40).contains(&small), "{small}");
    assert_eq!(flood(10_000).await, 0);
    assert!(disk(&store, 0).written_bytes <= MIB + 20_000);
    place.clock.advance(Duration::from_millis(500));
    let small = flood(10_000).await;
    assert!((35..50).contains(&small), "{small}");
    assert!(disk(&store, 0).refused_rate > 100);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_stays_within_its_budget() {
    let place = Place::with_disks(1);
    let store = place.open().await;
    let site = store.site("demo");
    store.set_index_budget(57 * 1000);
    let mut small = 0;
    for n in 0..2000 {
        small += u64::from(fill(&site, n, n, 100).await);
    }
    assert!((740..=1000).contains(&small), "{small}");
    assert_eq!(disk(&store, 0).refused_index, 2000 - small);
    assert!(store.stats().index_bytes <= 57 * 1000);
    // What is large enough to fill the disk with so few goes on.
    let mut large = 0;
    for n in 3000..3100 {
        large += u64::from(fill(&site, n, n, 400_000).await);
    }
    assert_eq!(large, 100);
    close(&store).await;
}
