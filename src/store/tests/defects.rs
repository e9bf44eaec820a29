//! What the cache library was seen to do wrong as a disk tier, and this store must not: the rows of which
//! no other file here has a test.

use super::*;

/// 3 and 4: what was removed comes back after the second restart at the latest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_holds_after_any_number_of_restarts() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..100 {
        insert(&store, n, &body_of(n, 3000)).await;
    }
    let items = (0..50)
        .map(|n| hard(Slot::Url { site: None, url: n }))
        .collect();
    store.clocks().purge(items).await.unwrap();
    for n in 0..50 {
        store.remove(&key(n));
    }
    close(&store).await;
    for round in 0..4 {
        let store = place.open().await;
        let site = store.clocks().site("demo");
        let mut usable = 0;
        for n in 0..100 {
            if let Some((Entry::Object(object), _)) = store.load(&key(n)).await {
                let purged = store.clocks().check(&site, &object) == Purged::Hard;
                assert_eq!(purged, n < 50, "{n} in round {round}");
                usable += u32::from(!purged);
            }
            // Something else that is removed in each round.
            store.remove(&key(1000 + n));
        }
        assert_eq!(usable, 50);
        insert(&store, 2000 + round, b"more").await;
        close(&store).await;
    }
}

/// 6: each hit in memory writes the object again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_write_nothing() {
    let place = Place::new();
    let store = place.open().await;
    insert(&store, 1, &body_of(1, 50_000)).await;
    assert!(store.settle(DEADLINE).await);
    let written = || store.stats().disks.remove(0).written_bytes;
    let before = written();
    for _ in 0..1000 {
        assert!(store.load(&key(1)).await.is_some());
        assert!(store.memory(&key(1)).is_some());
    }
    let disk = Placement::DiskPreferred;
    insert_placed(&store, 2, disk).await;
    let after_second = written();
    for _ in 0..100 {
        assert!(store.load_placed(&key(2), disk).await.is_some());
    }
    assert!(after_second - before < 5000);
    assert_eq!(written(), after_second);
    close(&store).await;
}

async fn insert_placed(store: &Store, n: u64, placement: Placement) {
    store.insert(key(n), entry(n, b"small"), placement).await;
    assert!(store.settle(DEADLINE).await);
}

/// 7: emptying the memory tier leaves its capacity used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_everything_was_purged_there_is_room_for_as_much_again() {
    let place = Place::new().with_memory(16 << 20);
    let store = place.open().await;
    let mut kept = Vec::new();
    for round in 0..3u64 {
        for n in 0..1000 {
            insert(&store, n, &body_of(n + round, 10_000)).await;
        }
        let in_memory = (0..1000).filter(|n| store.memory(&key(*n)).is_some());
        kept.push(in_memory.count());
        let everything = vec![hard(Slot::Everything)];
        store.clocks().purge(everything).await.unwrap();
        let site = store.clocks().site("demo");
        for n in 0..1000 {
            if let Some(Entry::Object(object)) = store.memory(&key(n)) {
                assert_eq!(store.clocks().check(&site, &object), Purged::Hard);
                store.remove(&key(n));
            }
        }
        assert_eq!(store.stats().memory.used_bytes, 0);
    }
    assert_eq!(kept, [1000, 1000, 1000]);
    close(&store).await;
}

/// 8: what is too large is dropped without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_a_block_is_refused_and_counted() {
    let place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    let mut kept = 0;
    for over in 0..400u32 {
        let length = (1 << 20) - 400 + over as usize;
        let chunk = Entry::Chunk(vec![7; length].into());
        let key = EntryKey::chunk(1, over);
        let outcome = store.insert(key, chunk, Placement::DiskPreferred).await;
        assert!(store.settle(DEADLINE).await);
        let found = store.load_placed(&key, Placement::DiskPreferred).await;
        assert_eq!(found.is_some(), outcome.disk, "{over}");
        kept += u64::from(outcome.disk);
    }
    let stats = store.stats().disks.remove(0);
    assert!((1..400).contains(&kept));
    assert_eq!((stats.refused_size, stats.lost), (400 - kept, 0));
    close(&store).await;
}

/// 11: what was written again before its block went is not found after a restart, nor what is behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_all_that_was_there_also_what_was_written_again() {
    let place = Place::new().with_blocks(1 << 20, 16);
    let store = place.open().await;
    let disk = Placement::DiskPreferred;
    for n in 0..1500u64 {
        store
            .insert(key(n), entry(n, &body_of(n, 30_000)), disk)
            .await;
        assert!(store.settle(DEADLINE).await);
        for hot in 0..10 {
            if store.load_placed(&key(hot), disk).await.is_none() {
                let entry = entry(hot, &body_of(hot, 30_000));
                store.insert(key(hot), entry, disk).await;
            }
        }
    }
    assert!(store.settle(DEADLINE).await);
    let stats = store.stats().disks.remove(0);
    assert!(stats.rewrites > 0);
    let before: Vec<u64> = (0..1500).filter(|n| store.may_contain(&key(*n))).collect();
    assert_eq!(stats.entries, before.len() as u64, "none is left over");
    close(&store).await;
    let store = place.open().await;
    let after: Vec<u64> = (0..1500).filter(|n| store.may_contain(&key(*n))).collect();
    assert_eq!(before, after);
    for n in after {
        // Some go while the first are written again.
        if let Some((found, _)) = store.load_placed(&key(n), disk).await {
            assert_eq!(body(&found), body_of(n, 30_000));
        }
    }
    assert_eq!(store.stats().disks.remove(0).corrupt, 0);
    close(&store).await;
}

/// 12: what was handed over by many at once is partly not found after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_all_that_many_have_written_at_once() {
    let place = Place::new().with_blocks(2 << 20, 32);
    let store = place.open().await;
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in task * 1000..task * 1000 + 250 {
                    let entry = entry(n, &body_of(n, 10_000));
                    let kept = store.insert(key(n), entry, Placement::DiskPreferred).await;
                    assert!(kept.disk);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    close(&store).await;
    let store = place.open().await;
    for n in (0..8u64).flat_map(|task| task * 1000..task * 1000 + 250) {
        let (found, _) = store.load(&key(n)).await.unwrap();
        assert_eq!(body(&found), body_of(n, 10_000), "{n}");
    }
    close(&store).await;
}

/// 15: a runtime that ends without a close takes what was written with it.
#[test]
fn a_runtime_that_ends_without_a_close_loses_what_was_under_way_at_most() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let place = Place::new();
    let first = runtime();
    first.block_on(async {
        let store = place.open().await;
        for n in 0..50 {
            insert(&store, n, &body_of(n, 20_000)).await;
        }
        assert!(store.settle(DEADLINE).await);
        for n in 50..100 {
            insert(&store, n, &body_of(n, 20_000)).await;
        }
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        let store = place.open().await;
        until("the folder is free", || trouble(&store).is_none()).await;
        let mut found = 0;
        for n in 0..100 {
            if let Some((entry, _)) = store.load(&key(n)).await {
                assert_eq!(body(&entry), body_of(n, 20_000));
                found += u32::from(n < 50);
            }
        }
        assert_eq!(found, 50);
        close(&store).await;
    });
}
