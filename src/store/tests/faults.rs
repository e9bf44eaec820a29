//! Disks that fail, stall, lie, and folders that change under the node. Whatever happens: what is found
//! is right, a request goes on from memory, and the tier is used again when the disk is well.

use std::os::unix::fs::symlink;

use super::*;
use crate::store::faults::{EIO, ENOSPC, EROFS, Fault, Faults};

/// Objects that are on disk before something happens.
const OBJECTS: u64 = 40;

struct Faulty {
    place: Place,
    faults: Arc<Faults>,
}

impl Faulty {
    fn new() -> Self {
        let faults = Arc::new(Faults::default());
        let mut place = Place::new().with_blocks(1 << 20, 16);
        place.tuning.device = Some(faults.wrap());
        // Else the probe would find out before the test has seen what it wants to see.
        place.tuning.patience.probe = DEADLINE;
        Self { place, faults }
    }

    fn with_probes(mut self) -> Self {
        self.place.tuning.patience.probe = Duration::from_millis(10);
        self
    }

    /// A store with objects on disk alone.
    async fn filled(&self) -> Arc<Store> {
        let store = self.place.open().await;
        assert!(trouble(&store).is_none(), "{:?}", trouble(&store));
        put_all(&store, 0).await;
        store
    }
}

async fn put_all(store: &Store, from: u64) {
    for n in from..from + OBJECTS {
        let entry = entry(n, &body_of(n, 20_000));
        let kept = store.insert(key(n), entry, Placement::DiskPreferred).await;
        assert!(kept.disk, "{n}");
    }
    assert!(store.settle(DEADLINE).await);
}

/// How many of the objects are found. None may be another's.
async fn found(store: &Store) -> u64 {
    let mut found = 0;
    for n in 0..OBJECTS {
        let loaded = store.load_placed(&key(n), Placement::DiskPreferred).await;
        if let Some((entry, _)) = loaded {
            assert_eq!(body(&entry), body_of(n, 20_000), "{n}");
            found += 1;
        }
    }
    found
}

async fn is_given_up(store: &Store) -> DiskTrouble {
    until("the tier is given up", || trouble(store).is_some()).await;
    trouble(store).unwrap()
}

async fn is_back(store: &Store) {
    until("the tier is back", || trouble(store).is_none()).await;
    let n = 7_000_000;
    let entry = entry(n, b"again");
    let kept = store.insert(key(n), entry, Placement::DiskPreferred).await;
    assert!(kept.disk);
    assert!(store.settle(DEADLINE).await);
    assert_eq!(body(&store.load(&key(n)).await.unwrap().0), "again");
}

async fn check_reads(fault: Fault, cold: bool) {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    faulty.faults.cold(cold);
    faulty.faults.reads(fault);
    // As many as it takes to give the tier up.
    for n in 0..16 {
        assert!(store.load(&key(n)).await.is_none());
    }
    // To open it again is to read, which fails.
    let word = is_given_up(&store).await.as_str();
    assert!(["reads-fail", "engine"].contains(&word), "{word}");
    let stats = store.stats().disks.remove(0);
    assert_eq!((stats.read_errors, stats.failures), (16, 1));
    // What comes in meanwhile is kept in memory.
    assert!(insert(&store, 5_000, b"memory").await.memory);
    assert!(store.load(&key(5_000)).await.is_some());
    faulty.faults.reads(None);
    is_back(&store).await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_fail_are_misses_and_end_the_tier_until_the_disk_is_well() {
    check_reads(EIO, false).await;
    check_reads(EIO, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_reads_are_misses_and_end_the_tier_until_the_disk_is_well() {
    check_reads(Fault::Part, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_read_that_fails_does_not_end_the_tier() {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    faulty.faults.cold(true);
    for n in 0..30 {
        faulty.faults.reads(EIO);
        assert!(store.load(&key(n)).await.is_none());
        faulty.faults.reads(None);
        assert!(store.load(&key(35)).await.is_some());
        store.remove(&key(35));
        let entry = entry(35, &body_of(35, 20_000));
        store.insert(key(35), entry, Placement::DiskPreferred).await;
        assert!(store.settle(DEADLINE).await);
    }
    assert!(trouble(&store).is_none());
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_fail_end_the_tier_though_the_page_cache_answers_others() {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    for n in 0..16 {
        faulty.faults.reads(EIO);
        assert!(store.load(&key(n)).await.is_none());
        faulty.faults.reads(None);
        let cached = store.load_placed(&key(35), Placement::DiskPreferred).await;
        assert!(cached.is_some() || trouble(&store).is_some(), "{n}");
    }
    // It may be back already.
    until("the tier was given up", || {
        store.stats().disks.remove(0).failures == 1
    })
    .await;
    is_back(&store).await;
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_and_was_replaced_does_not_come_back() {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    faulty.faults.reads(EIO);
    assert!(store.load(&key(3)).await.is_none());
    // Too large for a block: it is in memory alone, and not for long.
    let newer = entry(3, &body_of(3, 1_100_000));
    let kept = store.insert(key(3), newer, Placement::DiskPreferred).await;
    assert!(!kept.disk);
    for n in 4..20 {
        assert!(store.load(&key(n)).await.is_none());
    }
    is_given_up(&store).await;
    faulty.faults.reads(None);
    is_back(&store).await;
    assert!(store.load(&key(3)).await.is_none());
    assert_eq!(found(&store).await, OBJECTS - 1);
    close(&store).await;
}

/// As after a loss of power that took one page of lines and left the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_behind_a_damaged_one_do_not_come_back() {
    let place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    for n in 1..=9 {
        let entry = entry(n, b"before");
        assert!(
            store
                .insert(key(n), entry, Placement::DiskPreferred)
                .await
                .disk
        );
    }
    close(&store).await;
    let id = key(2).id.to_le_bytes();
    let mut damaged = 0;
    for number in 0..16 {
        let file = block_file(&place.data(), number);
        let mut bytes = fs::read(&file).unwrap();
        let lines = bytes.len() - 4096;
        if let Some(at) = bytes[lines..].windows(16).position(|window| window == id) {
            bytes[lines + at] ^= 1;
            damaged += 1;
            fs::write(&file, bytes).unwrap();
        }
    }
    assert_eq!(damaged, 1);

    let store = place.open().await;
    assert!(store.load(&key(9)).await.is_none());
    let newer = entry(9, b"behind");
    assert!(
        store
            .insert(key(9), newer, Placement::DiskPreferred)
            .await
            .disk
    );
    close(&store).await;

    let store = place.open().await;
    assert_eq!(body(&store.load(&key(9)).await.unwrap().0), "behind");
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_misses_and_counted() {
    for fault in [Fault::Flip, Fault::Lost] {
        let faulty = Faulty::new();
        let store = faulty.filled().await;
        faulty.faults.reads(fault);
        assert_eq!(found(&store).await, 0);
        if fault == Fault::Flip {
            assert_eq!(store.stats().disks.remove(0).corrupt, OBJECTS);
        }
        faulty.faults.reads(None);
        // Forgotten: nobody reads them again in vain.
        assert!(!store.may_contain(&key(1)));
        put_all(&store, 0).await;
        assert_eq!(found(&store).await, OBJECTS);
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bits_flipped_on_the_way_to_the_disk_are_misses() {
    let faulty = Faulty::new();
    let store = faulty.place.open().await;
    faulty.faults.writes(Fault::Flip);
    put_all(&store, 0).await;
    faulty.faults.writes(None);
    assert!(found(&store).await < OBJECTS);
    close(&store).await;
    let store = faulty.place.open().await;
    assert!(found(&store).await < OBJECTS);
    put_all(&store, 0).await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_hangs_is_a_miss_in_time() {
    let mut faulty = Faulty::new();
    faulty.place.tuning.patience.load = Duration::from_millis(20);
    let store = faulty.filled().await;
    faulty.faults.reads(Fault::Hang);
    assert!(store.load(&key(1)).await.is_none());
    assert_eq!(store.stats().disks.remove(0).read_errors, 1);
    faulty.faults.reads(None);
    assert!(store.load(&key(2)).await.is_some());
    assert!(trouble(&store).is_none());
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_a_disk() {
    let faulty = Faulty::new();
    faulty.faults.writes(Fault::Slow(Duration::from_millis(10)));
    faulty.faults.reads(Fault::Slow(Duration::from_millis(2)));
    let store = faulty.filled().await;
    assert_eq!(found(&store).await, OBJECTS);
    assert!(trouble(&store).is_none());
    close(&store).await;
}

/// foyer 9: its flusher panics at the first write error, and the tier is dead until it is opened anew.
async fn check_writes(fault: Fault, says: &str) {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    faulty.faults.writes(fault);
    assert_eq!(insert(&store, 100, b"during").await, BOTH);
    let given_up = is_given_up(&store).await;
    assert_eq!(given_up.as_str(), "write-failed");
    assert!(given_up.to_string().contains(says), "{given_up}");
    let stats = store.stats().disks.remove(0);
    assert!(stats.lost >= 1 && stats.failures == 1 && !stats.in_use);
    // Nobody who comes meanwhile notices.
    assert_eq!(body(&store.load(&key(100)).await.unwrap().0), "during");
    assert!(insert(&store, 101, b"meanwhile").await.memory);
    faulty.faults.writes(None);
    is_back(&store).await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
    let store = faulty.place.open().await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_error_ends_the_tier_until_the_disk_is_well() {
    check_writes(EIO, "Input/output error").await;
    check_writes(ENOSPC, "No space left").await;
    check_writes(EROFS, "Read-only file system").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_cut_short_leaves_nothing_wrong_behind() {
    check_writes(Fault::Part, "Input/output error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_disk_that_fails_is_noticed() {
    for (fault, word) in [(EIO, "write-failed"), (Fault::Lost, "writes-lost")] {
        let faulty = Faulty::new().with_probes();
        let store = faulty.filled().await;
        faulty.faults.writes(fault);
        assert_eq!(is_given_up(&store).await.as_str(), word);
        faulty.faults.writes(None);
        is_back(&store).await;
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_for_long_is_given_up_once_and_used_again_at_once() {
    let mut faulty = Faulty::new();
    faulty.place.tuning.patience.retry = Duration::from_millis(1);
    let store = faulty.filled().await;
    faulty.faults.writes(ENOSPC);
    insert(&store, 100, b"during").await;
    is_given_up(&store).await;
    // Many tries in vain later.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.stats().disks.remove(0).failures, 1);
    faulty.faults.writes(None);
    is_back(&store).await;
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_holds_up_one_insert_and_not_each() {
    let wait = Duration::from_millis(300);
    let mut faulty = Faulty::new();
    faulty.place.tuning.patience.insert = wait;
    faulty.place.tuning.patience.stall = Duration::from_secs(3);
    let store = faulty.filled().await;
    faulty.faults.writes(Fault::Hang);
    let started = tokio::time::Instant::now();
    let mut refused = 0;
    for n in 1000..1100u32 {
        let chunk = Entry::Chunk(vec![1; CHUNK_BYTES].into());
        let key = EntryKey::chunk(9, n);
        let kept = store.insert(key, chunk, Placement::DiskPreferred).await;
        refused += u32::from(!kept.disk);
    }
    assert!(refused > 50, "{refused}");
    // One wait, and the time that the machine takes for the rest.
    assert!(started.elapsed() < wait * 5, "{:?}", started.elapsed());
    assert_eq!(is_given_up(&store).await.as_str(), "stalled");
    faulty.faults.writes(None);
    is_back(&store).await;
    // The write that was under way has come back late, and has hurt nothing.
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_disk_that_hangs() {
    let faulty = Faulty::new();
    let store = faulty.filled().await;
    faulty.faults.writes(Fault::Hang);
    insert(&store, 100, b"lost").await;
    let outcome = store.close(Duration::from_millis(50)).await;
    assert_eq!(outcome, CloseOutcome::DeadlinePassed);
    faulty.faults.writes(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_takes_long_to_open_is_put_in_later() {
    let mut faulty = Faulty::new();
    close(&*faulty.filled().await).await;
    faulty.place.tuning.patience.open = Duration::ZERO;
    faulty.faults.reads(Fault::Hang);
    let store = faulty.place.open().await;
    assert_eq!(trouble(&store).unwrap().as_str(), "opening");
    let kept = insert(&store, 100, b"meanwhile").await;
    assert!(kept.memory && !kept.disk);
    assert!(store.load(&key(1)).await.is_none());
    faulty.faults.reads(None);
    is_back(&store).await;
    assert_eq!(found(&store).await, OBJECTS);
    assert_eq!(store.stats().disks.remove(0).failures, 0);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_may_be_closed_while_its_tier_is_being_opened() {
    let mut faulty = Faulty::new();
    close(&*faulty.filled().await).await;
    faulty.place.tuning.patience.open = Duration::ZERO;
    faulty.faults.reads(Fault::Hang);
    let store = faulty.place.open().await;
    close(&store).await;
    assert_eq!(trouble(&store).unwrap().as_str(), "closed");
    faulty.faults.reads(None);
    let store = faulty.place.open().await;
    is_back(&store).await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
}

/// Puts an empty folder in the place of something, with no moment between: the node would use it.
fn exchange(what: &Path, beside: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    fs::create_dir(beside).unwrap();
    renameat_with(CWD, what, CWD, beside, RenameFlags::EXCHANGE).unwrap();
}

/// Does something to the folder of a running node that does nothing.
async fn check_folder(word: &str, change: impl FnOnce(&Path)) {
    let mut place = Place::new().with_blocks(1 << 20, 16);
    place.tuning.patience.probe = Duration::from_millis(10);
    let store = place.open().await;
    put_all(&store, 0).await;
    let failures = || store.stats().disks.remove(0).failures;
    change(&place.root.path().join("disk"));
    until(word, || failures() > 0).await;
    is_back(&store).await;
    // And it is a whole tier: also the next start finds what came then.
    put_all(&store, 0).await;
    assert_eq!(found(&store).await, OBJECTS);
    close(&store).await;
    let store = place.open().await;
    assert_eq!(found(&store).await, OBJECTS, "{word}");
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_the_folder_of_a_running_node_is_noticed() {
    let block = |folder: &Path| block_file(&folder.join("data"), 3);
    check_folder("a block is removed", |folder| {
        fs::remove_file(block(folder)).unwrap();
    })
    .await;
    check_folder("a block is cut", |folder| {
        let file = fs::File::options().write(true).open(block(folder));
        file.unwrap().set_len(5000).unwrap();
    })
    .await;
    check_folder("a block is replaced by a folder", |folder| {
        exchange(&block(folder), &folder.with_extension("other"));
    })
    .await;
    check_folder("the fingerprint is removed", |folder| {
        fs::remove_file(folder.join("data/fingerprint")).unwrap();
    })
    .await;
    check_folder("the fingerprint is changed", |folder| {
        fs::write(folder.join("data/fingerprint"), "brim").unwrap();
    })
    .await;
    check_folder("the lock is removed", |folder| {
        fs::remove_file(folder.join("lock")).unwrap();
    })
    .await;
    check_folder("all is removed", |folder| {
        let away = folder.with_extension("away");
        fs::rename(folder, &away).unwrap();
        fs::remove_dir_all(away).unwrap();
    })
    .await;
    check_folder("all is moved away", |folder| {
        fs::rename(folder, folder.with_extension("away")).unwrap();
    })
    .await;
    check_folder("all is replaced by an empty folder", |folder| {
        exchange(folder, &folder.with_extension("other"));
    })
    .await;
}

/// Does something to the folder of a node that does not run. At least so many objects are found again.
async fn check_start(what: &str, at_least: u64, change: impl FnOnce(&Path)) {
    let place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    put_all(&store, 0).await;
    close(&store).await;
    change(&place.root.path().join("disk"));
    let store = place.open().await;
    assert!(trouble(&store).is_none(), "{what}: {:?}", trouble(&store));
    let again = found(&store).await;
    assert!((at_least..=OBJECTS).contains(&again), "{what}: {again}");
    put_all(&store, 0).await;
    assert_eq!(found(&store).await, OBJECTS, "{what}");
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_start_finds_in_the_folder_the_tier_is_used() {
    let block = |folder: &Path, number| block_file(&folder.join("data"), number);
    let told = |folder: &Path| folder.join("data/fingerprint");
    check_start("nothing has changed", OBJECTS, |_| {}).await;
    check_start("an empty block is missing", OBJECTS, |folder| {
        fs::remove_file(block(folder, 9)).unwrap();
    })
    .await;
    check_start("a block is missing", 0, |folder| {
        fs::remove_file(block(folder, 0)).unwrap();
    })
    .await;
    check_start("a block is cut", 0, |folder| {
        let file = fs::File::options().write(true).open(block(folder, 0));
        file.unwrap().set_len(300_000).unwrap();
    })
    .await;
    check_start("a block is empty", 0, |folder| {
        fs::write(block(folder, 0), "").unwrap();
    })
    .await;
    check_start("a block is too long", OBJECTS, |folder| {
        let file = fs::File::options().write(true).open(block(folder, 0));
        file.unwrap().set_len(3 << 20).unwrap();
    })
    .await;
    check_start("a block is a folder", 0, |folder| {
        fs::remove_file(block(folder, 0)).unwrap();
        fs::create_dir(block(folder, 0)).unwrap();
    })
    .await;
    check_start("a block is another block", 0, |folder| {
        fs::copy(block(folder, 0), block(folder, 5)).unwrap();
    })
    .await;
    check_start("the fingerprint is cut", 0, |folder| {
        let text = fs::read(told(folder)).unwrap();
        fs::write(told(folder), &text[..text.len() / 2]).unwrap();
    })
    .await;
    check_start("a bit of the fingerprint is flipped", 0, |folder| {
        let mut text = fs::read(told(folder)).unwrap();
        text[30] ^= 0x80;
        fs::write(told(folder), text).unwrap();
    })
    .await;
    check_start("the fingerprint is a folder", 0, |folder| {
        fs::remove_file(told(folder)).unwrap();
        fs::create_dir(told(folder)).unwrap();
    })
    .await;
    check_start("the data is a file", 0, |folder| {
        fs::remove_dir_all(folder.join("data")).unwrap();
        fs::write(folder.join("data"), "a file").unwrap();
    })
    .await;
    check_start("a removal was cut short", OBJECTS, |folder| {
        fs::create_dir(folder.join("old-0")).unwrap();
        fs::write(folder.join("old-0/block-00000001"), "x").unwrap();
    })
    .await;
    check_start("the lock holds no number", OBJECTS, |folder| {
        fs::write(folder.join("lock"), [0xff; 100]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_used_is_used_when_it_can() {
    let place = Place::new().with_blocks(1 << 20, 16);
    let folder = place.root.path().join("disk");
    // Nobody can go there, whatever his rights.
    symlink(&folder, &folder).unwrap();
    let store = place.open().await;
    assert_eq!(trouble(&store).unwrap().as_str(), "not-writable");
    assert!(insert(&store, 1, b"memory").await.memory);
    fs::remove_file(&folder).unwrap();
    is_back(&store).await;
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_tier_left_is_removed_behind_the_new_one() {
    let mut place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    put_all(&store, 0).await;
    close(&store).await;
    fs::write(place.data().join("foyer-storage-direct-fs-00000001"), "x").unwrap();
    place = place.with_blocks(1 << 20, 10);
    let store = place.open().await;
    assert!(trouble(&store).is_none());
    assert_eq!(found(&store).await, 0);
    let disk = place.root.path().join("disk");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&disk)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    until("the old blocks are removed", || names() == ["data", "lock"]).await;
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 11);
    close(&store).await;
}
