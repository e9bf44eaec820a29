use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;

use super::journal::Limits;
use super::notes::Note;
use super::slot::{ANY_TAG, Invalidation, Purge, PurgeItem, Purged, Slot, Subject, TrafficSlot};
use super::table::{Clocks, SiteClock};
use crate::clock::{Clock, ManualClock};
use crate::store::testing::plain_draft;
use crate::store::{Body, Draft, Object};

const MANY: usize = 1_000_000;

fn open(state: &Path) -> Clocks {
    Clocks::open(state, MANY).unwrap()
}

fn hard(slot: Slot) -> PurgeItem {
    PurgeItem {
        slot,
        kind: Purge::Hard,
    }
}

fn soft(slot: Slot) -> PurgeItem {
    PurgeItem {
        slot,
        kind: Purge::Soft,
    }
}

fn url(url: u128) -> Slot {
    Slot::Url { site: None, url }
}

fn prefix(site: &str, prefix: &str) -> Slot {
    Slot::Prefix {
        site: site.into(),
        host: None,
        prefix: prefix.to_owned(),
    }
}

fn tag(site: &str, tag: u128) -> Slot {
    Slot::Tag {
        site: site.into(),
        tag,
    }
}

/// What becomes of something without a host.
fn check_at(
    clocks: &Clocks,
    site: &SiteClock,
    (url, path, tags): (u128, &str, &[u128]),
    body_seq: u64,
    checked_seq: u64,
) -> Purged {
    let subject = Subject {
        url,
        host: None,
        path,
        tags,
    };
    clocks.check_marks(site, &subject, body_seq, checked_seq)
}

/// An object of site `demo` with URL 11, path `/a/x.css` and tags 1 and 2.
fn object(body_seq: u64, checked_seq: u64) -> Object {
    Draft {
        path: "/a/x.css".into(),
        tags: vec![1, 2],
        body_seq,
        checked_seq,
        ..plain_draft("key", Body::Inline(Bytes::new()))
    }
    .seal()
}

/// What becomes of an object that was there before the purge.
async fn check_one(item: PurgeItem, expect: Purged) {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let (before, object) = (site.epoch(), object(0, 0));
    assert_eq!(clocks.check(&site, &object), Purged::No);
    let sequence = clocks.purge(vec![item.clone()]).await.unwrap();
    assert_eq!(sequence, 1);
    assert_eq!(clocks.check(&site, &object), expect, "{item:?}");
    if expect != Purged::No {
        assert_ne!(site.epoch(), before, "{item:?}");
    }
    let fetched_since = self::object(sequence, sequence);
    assert_eq!(clocks.check(&site, &fetched_since), Purged::No, "{item:?}");
}

#[tokio::test]
async fn each_slot_hits_what_it_names_and_nothing_else() {
    check_one(hard(Slot::Everything), Purged::Hard).await;
    check_one(soft(Slot::Everything), Purged::Soft).await;
    check_one(hard(Slot::Site("demo".into())), Purged::Hard).await;
    check_one(hard(Slot::Site("other".into())), Purged::No).await;
    check_one(hard(Slot::Site("dem".into())), Purged::No).await;
    check_one(hard(url(11)), Purged::Hard).await;
    check_one(soft(url(11)), Purged::Soft).await;
    check_one(hard(url(11 + 64)), Purged::No).await;
    check_one(hard(tag("demo", 2)), Purged::Hard).await;
    check_one(soft(tag("demo", 1)), Purged::Soft).await;
    check_one(hard(tag("demo", 12)), Purged::No).await;
    check_one(hard(tag("other", 1)), Purged::No).await;
    check_one(hard(prefix("demo", "/a/")), Purged::Hard).await;
    check_one(hard(prefix("demo", "/a/x.css")), Purged::Hard).await;
    check_one(hard(prefix("demo", "")), Purged::Hard).await;
    check_one(hard(prefix("demo", "/ab")), Purged::No).await;
    check_one(hard(prefix("demo", "/a/x.css.map")), Purged::No).await;
    check_one(hard(prefix("demo", "/A/")), Purged::No).await;
    check_one(hard(prefix("other", "/a/")), Purged::No).await;
}

#[tokio::test]
async fn a_prefix_ends_where_it_says() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    clocks
        .purge(vec![hard(prefix("demo", "/a/"))])
        .await
        .unwrap();
    let check = |path: &str| check_at(&clocks, &site, (0, path, &[]), 0, 0);
    assert_eq!(check("/a/"), Purged::Hard);
    assert_eq!(check("/a/b"), Purged::Hard);
    assert_eq!(check("/ab"), Purged::No);
    assert_eq!(check("/a"), Purged::No);
    assert_eq!(check(""), Purged::No);
}

#[tokio::test]
async fn hard_beats_soft_and_validation_lifts_only_soft() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let both = vec![soft(tag("demo", 1)), hard(url(11))];
    clocks.purge(both).await.unwrap();
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(0, 1)), Purged::Hard);

    clocks.purge(vec![soft(Slot::Everything)]).await.unwrap();
    assert_eq!(clocks.check(&site, &object(1, 1)), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(1, 2)), Purged::No);
    // A later soft purge of the same slot does not take the hard one back.
    clocks.purge(vec![soft(url(11))]).await.unwrap();
    assert_eq!(clocks.check(&site, &object(0, 3)), Purged::Hard);
}

#[tokio::test]
async fn a_fill_that_began_before_a_purge_is_caught_by_its_marks() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let began = clocks.sequence();
    clocks.purge(vec![hard(tag("demo", 7))]).await.unwrap();
    let check = |tags: &[u128], began: u64| check_at(&clocks, &site, (1, "/", tags), began, began);
    assert_eq!(check(&[], began), Purged::No);
    assert_eq!(check(&[7], began), Purged::Hard);
    assert_eq!(check(&[7], clocks.sequence()), Purged::No);
}

#[tokio::test]
async fn what_was_found_valid_is_not_looked_at_again_until_the_next_purge() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let (site, other) = (clocks.site("demo"), clocks.site("other"));
    let object = object(0, 0);
    assert_eq!(clocks.check(&site, &object), Purged::No);
    assert_eq!(object.cleared_epoch.load(Ordering::Relaxed), site.epoch());

    let (mine, theirs) = (site.epoch(), other.epoch());
    clocks.purge(vec![hard(tag("other", 1))]).await.unwrap();
    assert_eq!(site.epoch(), mine);
    assert_ne!(other.epoch(), theirs);

    // A purge that hits something else of the site makes it look again, and remember again.
    clocks.purge(vec![hard(tag("demo", 99))]).await.unwrap();
    assert_ne!(site.epoch(), mine);
    assert_eq!(clocks.check(&site, &object), Purged::No);
    assert_eq!(object.cleared_epoch.load(Ordering::Relaxed), site.epoch());

    // What was purged is never remembered as valid.
    clocks.purge(vec![soft(url(11))]).await.unwrap();
    assert_eq!(clocks.check(&site, &object), Purged::Soft);
    assert_eq!(clocks.check(&site, &object), Purged::Soft);
    assert_ne!(object.cleared_epoch.load(Ordering::Relaxed), site.epoch());
}

#[tokio::test]
async fn clocks_outlive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let items = vec![
        hard(url(11)),
        soft(tag("demo", 2)),
        hard(prefix("demo", "/p/")),
        soft(Slot::Site("demo".into())),
        soft(Slot::Everything),
    ];
    let identity = {
        let clocks = open(state.path());
        for item in &items {
            clocks.purge(vec![item.clone()]).await.unwrap();
        }
        clocks.identity().to_owned()
    };
    let clocks = open(state.path());
    assert_eq!(clocks.identity(), identity);
    assert_eq!(clocks.sequence(), 5);
    assert_eq!(clocks.slots(), 5);
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(1, 1)), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(1, 4)), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(1, 5)), Purged::No);
    assert_eq!(
        check_at(&clocks, &site, (0, "/p/q", &[]), 2, 5),
        Purged::Hard
    );
    assert_eq!(clocks.purge(vec![hard(url(1))]).await.unwrap(), 6);
}

#[tokio::test]
async fn calls_at_the_same_time_share_commits_and_have_numbers_of_their_own() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Arc::new(open(state.path()));
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let clocks = Arc::clone(&clocks);
            tokio::spawn(async move { clocks.purge(vec![hard(url(n))]).await.unwrap() })
        })
        .collect();
    let mut sequences = Vec::new();
    for call in calls {
        sequences.push(call.await.unwrap());
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=200).collect::<Vec<u64>>());
    assert_eq!(clocks.sequence(), 200);
}

#[tokio::test]
async fn a_purge_holds_when_its_call_returns() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    for n in 0..50 {
        let fetched = object(clocks.sequence(), clocks.sequence());
        assert_eq!(clocks.check(&site, &fetched), Purged::No, "{n}");
        clocks.purge(vec![hard(url(11))]).await.unwrap();
        assert_eq!(clocks.check(&site, &fetched), Purged::Hard, "{n}");
    }
    assert_eq!(clocks.slots(), 1);
}

#[tokio::test]
async fn too_many_clocks_raise_the_floor_and_nothing_purged_comes_back() {
    let state = tempfile::tempdir().unwrap();
    let max = 20;
    {
        let clocks = Clocks::open(state.path(), max).unwrap();
        let site = clocks.site("demo");
        let kept_fresh = object(0, 0);
        for n in 0..100u128 {
            let slot = match n % 3 {
                0 => url(1000 + n),
                1 => tag("demo", 1000 + n),
                _ => prefix("demo", &format!("/p/{n}")),
            };
            clocks.purge(vec![hard(slot)]).await.unwrap();
            assert!(clocks.slots() <= max, "{}", clocks.slots());
        }
        assert!(clocks.floor() >= 80, "{}", clocks.floor());
        // The price: it was never purged itself.
        assert_eq!(clocks.check(&site, &kept_fresh), Purged::Hard);
        let recent = object(clocks.floor(), clocks.floor());
        assert_eq!(clocks.check(&site, &recent), Purged::No);
    }
    let clocks = Clocks::open(state.path(), max).unwrap();
    let site = clocks.site("demo");
    assert!(clocks.floor() >= 80);
    assert!(clocks.slots() <= max);
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    for n in 0..100u64 {
        let path = format!("/p/{n}");
        let (url, tags) = (1000 + u128::from(n), [1000 + u128::from(n)]);
        assert_eq!(
            check_at(&clocks, &site, (url, &path, &tags), n, n),
            Purged::Hard,
            "{n}"
        );
    }
}

#[tokio::test]
async fn one_purge_of_more_than_fits_purges_all_that_is_older() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Clocks::open(state.path(), 10).unwrap();
    let items = (0..50).map(|n| soft(url(n))).collect();
    let sequence = clocks.purge(items).await.unwrap();
    assert_eq!((clocks.slots(), clocks.floor()), (0, sequence));
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(sequence, sequence)), Purged::No);
}

#[tokio::test]
async fn an_object_from_a_future_that_was_lost_is_not_trusted() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(5, 5)), Purged::Hard);
}

#[tokio::test]
async fn a_corrupt_database_starts_anew_under_another_name() {
    let state = tempfile::tempdir().unwrap();
    let identity = open(state.path()).identity().to_owned();
    let file = state.path().join("purge.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    let clocks = open(state.path());
    assert_ne!(clocks.identity(), identity);
    assert_eq!(clocks.sequence(), 0);
    clocks.purge(vec![hard(Slot::Everything)]).await.unwrap();
}

#[tokio::test]
async fn closed_clocks_refuse_purges_and_let_the_database_go() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    clocks.purge(vec![hard(url(11))]).await.unwrap();
    clocks.close().await;
    assert!(clocks.purge(vec![hard(Slot::Everything)]).await.is_err());
    assert_eq!(
        clocks.check(&clocks.site("demo"), &object(0, 0)),
        Purged::Hard
    );
    assert_eq!(open(state.path()).sequence(), 1);
}

#[tokio::test]
async fn a_slow_database_lets_no_new_fetch_see_a_purge_too_early() {
    // While a purge is being written, `sequence` still gives the number before it, so that what is
    // fetched meanwhile counts as older than the purge.
    let state = tempfile::tempdir().unwrap();
    let clocks = Arc::new(open(state.path()));
    let site = clocks.site("demo");
    for _ in 0..20 {
        let purge = tokio::spawn({
            let clocks = Arc::clone(&clocks);
            async move { clocks.purge(vec![hard(Slot::Site("demo".into()))]).await }
        });
        let began = clocks.sequence();
        let sequence = purge.await.unwrap().unwrap();
        let expect = if began < sequence {
            Purged::Hard
        } else {
            Purged::No
        };
        assert_eq!(clocks.check(&site, &object(began, began)), expect);
    }
}

fn hard_url(url: u128) -> Invalidation {
    Invalidation {
        slot: TrafficSlot::Url(url),
        kind: Purge::Hard,
    }
}

fn soft_tag(tag: u128) -> Invalidation {
    Invalidation {
        slot: TrafficSlot::Tag(tag),
        kind: Purge::Soft,
    }
}

fn hard_urls(urls: std::ops::Range<u128>) -> Vec<Invalidation> {
    urls.map(hard_url).collect()
}

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(SystemTime::UNIX_EPOCH))
}

/// Clocks that keep few invalidations.
fn open_small(state: &Path, max_traffic: usize, clock: &Arc<ManualClock>) -> Clocks {
    let limits = Limits {
        max_clocks: MANY,
        max_traffic,
    };
    Clocks::open_with(state, limits, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

/// What a crash at this moment would leave: the files as they are.
fn crashed(state: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(state).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn an_invalidation_holds_when_its_call_returns() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let (site, other) = (clocks.site("demo"), clocks.site("other"));
    let fetched = object(0, 0);
    assert_eq!(clocks.check(&site, &fetched), Purged::No);
    let (mine, theirs) = (site.epoch(), other.epoch());

    let items = vec![soft_tag(2), hard_url(12)];
    assert_eq!(clocks.invalidate("demo", items).await.unwrap(), 1);
    assert_eq!(clocks.sequence(), 1);
    assert_eq!(clocks.check(&site, &fetched), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(0, 1)), Purged::No);
    assert_ne!(site.epoch(), mine);

    assert_eq!(
        clocks.invalidate("demo", vec![hard_url(11)]).await.unwrap(),
        2
    );
    assert_eq!(clocks.check(&site, &fetched), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(1, 2)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(2, 2)), Purged::No);

    // Not the other site's, which does not even look again.
    assert_eq!(other.epoch(), theirs);
    assert_eq!(clocks.check(&other, &object(0, 0)), Purged::No);
    assert_eq!((clocks.traffic(), clocks.slots()), (3, 0));
    assert_eq!(clocks.invalidate("demo", Vec::new()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_fetch_that_began_before_an_invalidation_is_caught_by_it() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    for n in 1..50 {
        let began = clocks.sequence();
        let number = clocks.invalidate("demo", vec![hard_url(11)]).await.unwrap();
        assert_eq!(number, n);
        assert_eq!(clocks.check(&site, &object(began, began)), Purged::Hard);
        let again = clocks.sequence();
        assert_eq!(clocks.check(&site, &object(again, again)), Purged::No);
    }
    assert_eq!(clocks.traffic(), 1);
}

#[tokio::test]
async fn purges_and_invalidations_at_the_same_time_have_numbers_of_their_own() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Arc::new(open(state.path()));
    let calls: Vec<_> = (0..200u128)
        .map(|n| {
            let clocks = Arc::clone(&clocks);
            tokio::spawn(async move {
                let began = clocks.sequence();
                let number = match n % 2 {
                    0 => clocks.purge(vec![hard(url(n))]).await.unwrap(),
                    _ => clocks.invalidate("demo", vec![hard_url(n)]).await.unwrap(),
                };
                let site = clocks.site("demo");
                let check = |began| check_at(&clocks, &site, (n, "/", &[]), began, began);
                assert_eq!(check(began), Purged::Hard);
                assert_eq!(check(number), Purged::No);
                number
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for call in calls {
        numbers.push(call.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn invalidations_outlive_a_restart_and_a_crash() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    clocks.purge(vec![hard(url(5))]).await.unwrap();
    for _ in 0..3 {
        let items = vec![hard_url(11), soft_tag(7)];
        clocks.invalidate("demo", items).await.unwrap();
    }
    let crash = crashed(state.path());
    clocks.close().await;
    for state in [&crash, &state] {
        let clocks = open(state.path());
        let sequence = clocks.sequence();
        assert!(sequence >= 4);
        assert_eq!(
            (clocks.traffic(), clocks.slots(), clocks.floor()),
            (2, 1, 0)
        );
        let site = clocks.site("demo");
        let check = |url, tags: &[u128], at| check_at(&clocks, &site, (url, "/", tags), at, at);
        assert_eq!(check(11, &[], 3), Purged::Hard);
        assert_eq!(check(11, &[], 4), Purged::No);
        assert_eq!(check(1, &[7], 3), Purged::Soft);
        assert_eq!(check(1, &[7], 4), Purged::No);
        assert_eq!(check(5, &[], 0), Purged::Hard);

        let number = clocks.invalidate("demo", vec![hard_url(12)]).await.unwrap();
        assert_eq!(number, sequence + 1);
        clocks.close().await;
        assert_eq!(open(state.path()).traffic(), 3);
    }
}

#[tokio::test]
async fn a_loss_of_power_takes_invalidations_but_gives_no_number_twice() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    for _ in 0..10 {
        clocks.invalidate("demo", vec![hard_url(1)]).await.unwrap();
    }
    let fetched = object(clocks.sequence(), clocks.sequence());
    clocks.close().await;
    std::fs::remove_file(state.path().join("traffic.log")).unwrap();

    let clocks = open(state.path());
    let site = clocks.site("demo");
    assert_eq!(clocks.traffic(), 0);
    assert_eq!(clocks.check(&site, &fetched), Purged::No);
    // Had this purge a number that was given before, it would miss what was fetched then.
    clocks.purge(vec![hard(url(11))]).await.unwrap();
    assert_eq!(clocks.check(&site, &fetched), Purged::Hard);
}

#[tokio::test]
async fn too_many_invalidations_raise_the_clock_of_their_site_alone() {
    let state = tempfile::tempdir().unwrap();
    let clock = manual();
    let clocks = open_small(state.path(), 8, &clock);
    let (site, other) = (clocks.site("demo"), clocks.site("other"));
    clocks
        .invalidate("demo", hard_urls(100..106))
        .await
        .unwrap();
    clocks
        .invalidate("other", hard_urls(200..202))
        .await
        .unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (8, 0));
    // What is there already takes no room.
    clocks
        .invalidate("demo", hard_urls(100..106))
        .await
        .unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (8, 0));

    // The call of the other makes one too many; the site with the most of them pays.
    let number = clocks
        .invalidate("other", hard_urls(202..203))
        .await
        .unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (3, 1));
    assert_eq!((clocks.slots(), clocks.floor()), (1, 0));
    assert_eq!(number, 4);
    let check = |clocks: &Clocks| {
        let (site, other) = (clocks.site("demo"), clocks.site("other"));
        assert_eq!(clocks.check(&site, &object(2, 2)), Purged::Hard);
        assert_eq!(clocks.check(&site, &object(3, 3)), Purged::No);
        assert_eq!(clocks.check(&other, &object(0, 0)), Purged::No);
        let check = |url| check_at(clocks, &other, (url, "/", &[]), 1, 1);
        assert_eq!(check(201), Purged::Hard);
        assert_eq!(check(202), Purged::Hard);
        assert_eq!(check(203), Purged::No);
    };
    check(&clocks);
    drop((clocks, site, other));
    let clocks = open_small(state.path(), 8, &clock);
    assert_eq!((clocks.traffic(), clocks.slots()), (3, 1));
    check(&clocks);
}

#[tokio::test]
async fn soft_invalidations_that_overflow_purge_the_site_softly() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open_small(state.path(), 4, &manual());
    let items = (0..5).map(soft_tag).collect();
    assert_eq!(clocks.invalidate("demo", items).await.unwrap(), 1);
    assert_eq!((clocks.traffic(), clocks.overflows()), (0, 1));
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(0, 1)), Purged::No);
}

#[tokio::test(start_paused = true)]
async fn a_sites_clock_is_raised_once_a_second_and_calls_beyond_twice_the_bound_wait() {
    let state = tempfile::tempdir().unwrap();
    let clock = manual();
    let clocks = open_small(state.path(), 8, &clock);
    let raised = clocks.invalidate("demo", hard_urls(0..9)).await.unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (0, 1));

    // Within the second there is room for twice as many.
    clocks
        .invalidate("demo", hard_urls(100..116))
        .await
        .unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (16, 1));
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(raised, raised)), Purged::No);

    clock.advance(Duration::from_millis(999));
    let call = clocks.invalidate("demo", hard_urls(11..12));
    let waited = tokio::time::timeout(Duration::from_secs(5), call).await;
    assert!(waited.is_err());
    // The thread has done the above when it answers this one.
    clocks.purge(vec![hard(url(1))]).await.unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (16, 1));
    assert_eq!(clocks.check(&site, &object(raised, raised)), Purged::No);

    clock.advance(Duration::from_millis(1));
    let number = clocks.invalidate("demo", hard_urls(11..12)).await.unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (0, 2));
    assert_eq!(clocks.check(&site, &object(raised, raised)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(number, number)), Purged::No);
}

#[tokio::test]
async fn a_purge_of_what_was_invalidated_outlives_the_overflow() {
    let state = tempfile::tempdir().unwrap();
    let clock = manual();
    {
        let clocks = open_small(state.path(), 4, &clock);
        let demo = |kind: Purge| Invalidation {
            slot: TrafficSlot::Url(11),
            kind,
        };
        // Before and after a purge of the same URL, weaker each time.
        let before = vec![demo(Purge::Soft)];
        assert_eq!(clocks.invalidate("demo", before).await.unwrap(), 1);
        let purge = vec![hard(url(11))];
        assert_eq!(clocks.purge(purge).await.unwrap(), 2);
        let after = vec![demo(Purge::Soft)];
        assert_eq!(clocks.invalidate("demo", after).await.unwrap(), 3);
        let site = clocks.site("demo");
        assert_eq!(clocks.check(&site, &object(1, 9)), Purged::Hard);
        assert_eq!(clocks.check(&site, &object(2, 2)), Purged::Soft);
        let more = (1000..1004).map(soft_tag).collect();
        clocks.invalidate("demo", more).await.unwrap();
        assert_eq!((clocks.traffic(), clocks.overflows()), (0, 1));
        assert_eq!(clocks.check(&site, &object(1, 9)), Purged::Hard);
    }
    let clocks = open_small(state.path(), 4, &clock);
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &object(1, 9)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(2, 3)), Purged::Soft);
}

#[tokio::test]
async fn invalidations_raise_no_floor_but_go_below_one() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Clocks::open(state.path(), 10).unwrap();
    clocks.invalidate("demo", hard_urls(0..1000)).await.unwrap();
    assert_eq!((clocks.slots(), clocks.floor()), (0, 0));
    let items = (0..11).map(|n| hard(url(n))).collect();
    clocks.purge(items).await.unwrap();
    assert_eq!(clocks.floor(), 2);
    assert_eq!((clocks.slots(), clocks.traffic()), (0, 0));
}

/// Invalidates the URLs 1 to 5 by a call each, changes the log, and opens again.
async fn after_change_of_log(change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, Clocks) {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    for n in 1..=5 {
        clocks.invalidate("demo", vec![hard_url(n)]).await.unwrap();
    }
    clocks.close().await;
    let path = state.path().join("traffic.log");
    let mut log = std::fs::read(&path).unwrap();
    change(&mut log);
    std::fs::write(&path, log).unwrap();
    let clocks = open(state.path());
    (state, clocks)
}

#[tokio::test]
async fn a_torn_tail_of_the_log_is_cut_off() {
    let (state, clocks) = after_change_of_log(|log| log.truncate(log.len() - 3)).await;
    assert_eq!((clocks.traffic(), clocks.floor()), (4, 0));
    // What is written next is not written behind the torn part.
    clocks.invalidate("demo", vec![hard_url(9)]).await.unwrap();
    clocks.close().await;
    let clocks = open(state.path());
    assert_eq!((clocks.traffic(), clocks.floor()), (5, 0));
    let (_state, clocks) = after_change_of_log(|log| log.fill(0)).await;
    assert_eq!((clocks.traffic(), clocks.floor()), (0, 0));
}

#[tokio::test]
async fn a_damaged_log_purges_all_that_is_older() {
    let changes: [fn(&mut Vec<u8>); 3] = [
        |log| {
            let middle = log.len() - 100;
            log[middle] ^= 1;
        },
        |log| log[6] ^= 1,
        |log| *log = b"something else\n".to_vec(),
    ];
    for change in changes {
        let (state, clocks) = after_change_of_log(change).await;
        let sequence = clocks.sequence();
        assert!(sequence >= 5);
        assert_eq!(clocks.floor(), sequence);
        let site = clocks.site("demo");
        assert_eq!(clocks.check(&site, &object(4, 4)), Purged::Hard);
        let fetched = object(sequence, sequence);
        assert_eq!(clocks.check(&site, &fetched), Purged::No);
        // Once: the next start finds nothing wrong, and what was purged stays so.
        clocks.invalidate("demo", vec![hard_url(1)]).await.unwrap();
        clocks.close().await;
        let clocks = open(state.path());
        assert_eq!((clocks.traffic(), clocks.floor()), (1, sequence));
        let site = clocks.site("demo");
        assert_eq!(clocks.check(&site, &object(4, 4)), Purged::Hard);
        assert_eq!(clocks.check(&site, &fetched), Purged::No);
    }
}

#[tokio::test]
async fn the_log_of_a_lost_database_means_nothing_to_the_next() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    clocks.invalidate("demo", vec![hard_url(11)]).await.unwrap();
    clocks.close().await;
    std::fs::remove_file(state.path().join("purge.redb")).unwrap();
    let clocks = open(state.path());
    assert_eq!((clocks.sequence(), clocks.traffic()), (0, 0));
    assert_eq!(clocks.floor(), 0);
}

#[tokio::test]
async fn invalidations_go_to_the_database_while_the_log_cannot_be_written() {
    let state = tempfile::tempdir().unwrap();
    let clock = manual();
    let clocks = open_small(state.path(), 8, &clock);
    // In the way of the file that is written first.
    let obstacle = state.path().join("traffic.new");
    std::fs::create_dir(&obstacle).unwrap();
    clocks.invalidate("demo", vec![hard_url(11)]).await.unwrap();
    clocks
        .invalidate("other", vec![hard_url(12)])
        .await
        .unwrap();
    assert!(!state.path().join("traffic.log").exists());
    assert_eq!((clocks.traffic(), clocks.slots()), (2, 0));
    clocks.close().await;

    let clocks = open_small(state.path(), 8, &clock);
    let site = clocks.site("demo");
    assert_eq!((clocks.traffic(), clocks.slots()), (2, 0));
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    // What overflows leaves the database, too.
    clocks.invalidate("demo", hard_urls(20..28)).await.unwrap();
    assert_eq!((clocks.traffic(), clocks.overflows()), (1, 1));
    clocks.close().await;
    let clocks = open_small(state.path(), 8, &clock);
    assert_eq!((clocks.traffic(), clocks.slots()), (1, 1));

    // It is tried again after a second, and then has all of them.
    std::fs::remove_dir(&obstacle).unwrap();
    clock.advance(Duration::from_secs(2));
    clocks.invalidate("demo", vec![hard_url(30)]).await.unwrap();
    clocks.close().await;
    assert!(state.path().join("traffic.log").exists());
    let clocks = open_small(state.path(), 8, &clock);
    let (site, other) = (clocks.site("demo"), clocks.site("other"));
    assert_eq!(clocks.traffic(), 2);
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    assert_eq!(
        check_at(&clocks, &other, (12, "/", &[]), 1, 1),
        Purged::Hard
    );
}

#[tokio::test]
async fn the_log_is_written_anew_before_it_is_large() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let mut largest = 0;
    for _ in 0..60 {
        clocks.invalidate("demo", hard_urls(0..2000)).await.unwrap();
        let length = std::fs::metadata(state.path().join("traffic.log"))
            .unwrap()
            .len();
        largest = largest.max(length);
    }
    assert!((4 << 20..5 << 20).contains(&largest), "{largest}");
    clocks.close().await;
    let clocks = open(state.path());
    assert_eq!(clocks.traffic(), 2000);
    let site = clocks.site("demo");
    let check = |at| check_at(&clocks, &site, (1999, "/", &[]), at, at);
    assert_eq!((check(59), check(60)), (Purged::Hard, Purged::No));
}

#[tokio::test]
async fn closed_clocks_refuse_invalidations() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    clocks.close().await;
    assert!(clocks.invalidate("demo", vec![hard_url(1)]).await.is_err());
}

#[tokio::test]
async fn a_purge_of_a_url_makes_its_own_site_look_again_and_no_other() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let (site, other) = (clocks.site("demo"), clocks.site("other"));
    let (mine, theirs) = (site.epoch(), other.epoch());
    let slot = Slot::Url {
        site: Some("demo".into()),
        url: 11,
    };
    clocks.purge(vec![hard(slot)]).await.unwrap();
    assert_ne!(site.epoch(), mine);
    assert_eq!(other.epoch(), theirs);
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
}

#[tokio::test]
async fn a_hit_looks_at_no_table_however_many_clocks_there_are() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let items = (100..50_100).map(|n| hard(tag("demo", n)));
    clocks.purge(items.collect()).await.unwrap();
    let object = object(1, 1);
    let looks = || clocks.tables().looks.load(Ordering::Relaxed);
    let before = looks();
    assert_eq!(clocks.check(&site, &object), Purged::No);
    // The URL and the two tags.
    assert_eq!(looks() - before, 3);
    for _ in 0..1000 {
        assert_eq!(clocks.check(&site, &object), Purged::No);
    }
    assert_eq!(looks() - before, 3);
}

#[tokio::test]
async fn a_prefix_of_a_host_is_of_that_host_on_every_port() {
    let state = tempfile::tempdir().unwrap();
    let slot = Slot::Prefix {
        site: "demo".into(),
        host: Some("a.example".into()),
        prefix: "/a/".into(),
    };
    {
        let clocks = open(state.path());
        clocks.purge(vec![hard(slot)]).await.unwrap();
    }
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let check = |key: &str| {
        let object = Draft {
            key: key.into(),
            ..object(0, 0).draft()
        }
        .seal();
        clocks.check(&site, &object)
    };
    assert_eq!(check("demo h=a.example p=/a/x.css"), Purged::Hard);
    assert_eq!(check("demo h=a.example:8443 p=/a/x.css q=1"), Purged::Hard);
    assert_eq!(check("demo h=b.example p=/a/x.css"), Purged::No);
    assert_eq!(check("demo p=/a/x.css q=h=a.example"), Purged::No);
}

#[tokio::test]
async fn an_object_with_more_tags_than_were_kept_goes_with_any_tag_of_its_site() {
    let state = tempfile::tempdir().unwrap();
    let crowded = |at| {
        let mut draft = object(at, at).draft();
        draft.tags = vec![1, ANY_TAG];
        draft.seal()
    };
    {
        let clocks = open(state.path());
        let (site, other) = (clocks.site("demo"), clocks.site("other"));
        clocks.purge(vec![soft(tag("demo", 77))]).await.unwrap();
        assert_eq!(clocks.check(&site, &crowded(0)), Purged::Soft);
        assert_eq!(clocks.check(&site, &object(0, 0)), Purged::No);
        assert_eq!(clocks.check(&other, &crowded(0)), Purged::No);
        clocks.purge(vec![hard(tag("demo", 78))]).await.unwrap();
    }
    let clocks = open(state.path());
    let site = clocks.site("demo");
    assert_eq!(clocks.check(&site, &crowded(0)), Purged::Hard);
    assert_eq!(clocks.check(&site, &crowded(2)), Purged::No);
    clocks.invalidate("demo", vec![soft_tag(79)]).await.unwrap();
    assert_eq!(clocks.check(&site, &crowded(2)), Purged::Soft);
}

#[tokio::test]
async fn what_was_noted_of_a_purge_is_found_after_a_restart_and_a_crash() {
    let state = tempfile::tempdir().unwrap();
    let note = |n: usize| Note {
        id: format!("id{n}"),
        text: format!("text {n}"),
    };
    let clocks = open(state.path());
    for n in 1..=3 {
        let items = vec![hard(url(1))];
        clocks.purge_noted(items, note(n)).await.unwrap();
    }
    let crash = crashed(state.path());
    clocks.close().await;
    for state in [&state, &crash] {
        let clocks = open(state.path());
        for n in 1..=3 {
            let noted = clocks.noted(&format!("id{n}")).unwrap();
            assert_eq!((noted.sequence, &*noted.text), (n, &*format!("text {n}")));
        }
        assert_eq!(clocks.noted("id4"), None);
        // One that is too long is not kept, and its purge holds all the same.
        let long = Note {
            id: "long".into(),
            text: "x".repeat(1 << 20),
        };
        clocks.purge_noted(vec![hard(url(1))], long).await.unwrap();
        assert_eq!(clocks.noted("long"), None);
    }
}

/// Some purges, each in its own commit, and what is then in the files.
async fn after_purges(count: u128) -> (tempfile::TempDir, String) {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    for n in 0..count {
        let items = vec![hard(url(n)), hard(tag("demo", n))];
        clocks.purge(items).await.unwrap();
    }
    let identity = clocks.identity().to_owned();
    let crash = crashed(state.path());
    clocks.close().await;
    (crash, identity)
}

/// Either all that was confirmed holds, or the clocks have another name, by which the disk tier is emptied.
#[track_caller]
fn nothing_purged_comes_back(clocks: &Clocks, identity: &str, count: u128, what: &str) {
    if clocks.identity() != identity {
        return;
    }
    let site = clocks.site("demo");
    for n in 0..count {
        let before = u64::try_from(n).unwrap();
        let check = |at, subject| check_at(clocks, &site, subject, at, at);
        assert_eq!(check(before, (n, "/", &[])), Purged::Hard, "{what}: {n}");
        assert_eq!(check(before, (999, "/", &[n])), Purged::Hard, "{what}: {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// In the file as a crash leaves it, and as an end leaves it.
    #[test]
    fn no_flipped_bit_and_no_cut_of_the_database_brings_anything_back(
        at in any::<proptest::sample::Index>(),
        near_the_start in any::<bool>(),
        bit in 0u8..8,
        cut in any::<bool>(),
        is_clean in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let count = 4;
            let (state, identity) = after_purges(count).await;
            if is_clean {
                open(state.path()).close().await;
            }
            let file = state.path().join("purge.redb");
            let mut content = std::fs::read(&file).unwrap();
            let pages = content.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0));
            let used = (pages.unwrap() + 1) * 4096;
            let at = at.index(if near_the_start { 512 } else { used });
            if cut {
                content.truncate(at);
            } else {
                content[at] ^= 1 << bit;
            }
            std::fs::write(&file, &content).unwrap();
            let clocks = open(state.path());
            nothing_purged_comes_back(&clocks, &identity, count, &format!("{at} {bit} {cut}"));
            // It goes on, and what is purged from now on is kept.
            let sequence = clocks.purge(vec![hard(url(77))]).await.unwrap();
            let identity = clocks.identity().to_owned();
            clocks.close().await;
            let clocks = open(state.path());
            assert_eq!(clocks.identity(), identity);
            let site = clocks.site("demo");
            let check = |at| check_at(&clocks, &site, (77, "/", &[]), at, at);
            assert_eq!(check(sequence - 1), Purged::Hard);
        });
    }
}

#[tokio::test]
async fn a_database_that_lost_its_last_commit_is_not_believed() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    clocks.purge(vec![hard(url(1))]).await.unwrap();
    let earlier = crashed(state.path());
    clocks.purge(vec![hard(url(2))]).await.unwrap();
    let identity = clocks.identity().to_owned();
    clocks.close().await;
    let file = "purge.redb";
    std::fs::copy(earlier.path().join(file), state.path().join(file)).unwrap();
    let clocks = open(state.path());
    assert_ne!(clocks.identity(), identity);
    assert!(state.path().join("purge.corrupt").exists());
}

#[tokio::test]
async fn a_damaged_note_of_the_last_number_purges_all_that_is_older() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    for n in 0..3 {
        clocks.purge(vec![hard(url(n))]).await.unwrap();
    }
    clocks.close().await;
    let path = state.path().join("purge.seq");
    let mut content = std::fs::read(&path).unwrap();
    content[45] ^= 4;
    std::fs::write(&path, content).unwrap();
    let clocks = open(state.path());
    assert_eq!((clocks.sequence(), clocks.floor()), (3, 3));
    clocks.close().await;
    let clocks = open(state.path());
    assert_eq!(
        (clocks.sequence(), clocks.floor(), clocks.slots()),
        (3, 3, 0)
    );
}

const CHILD: &str = "BRIM_TEST_CLOCKS_CHILD";
/// So few that the floor rises all the time.
const CHILD_CLOCKS: usize = 40;

/// Not a test of its own: the process that `no_confirmed_purge_…` kills. It says each purge that was confirmed, and
/// goes on from `BRIM_TEST_CLOCKS_CHILD`'s folder and number.
#[test]
fn the_child_process() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let (first, folder) = what.split_once(':').unwrap();
    let first: u64 = first.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let clocks = Clocks::open(Path::new(folder), CHILD_CLOCKS).unwrap();
        let mut out = std::io::stdout();
        for n in first.. {
            let items = vec![hard(child_slot(n)), hard(child_slot(n + 500_000))];
            let began = clocks.sequence();
            let sequence = match n % 5 {
                // Its clocks do not count, and its numbers do.
                0 => clocks.invalidate("demo", vec![hard_url(n.into())]).await,
                _ => clocks.purge(items).await,
            };
            let sequence = sequence.unwrap();
            assert!(sequence > began);
            writeln!(out, "held {n} {sequence}").unwrap();
            out.flush().unwrap();
        }
    });
}

fn child_slot(n: u64) -> Slot {
    match n % 3 {
        0 => url(n.into()),
        1 => tag("demo", n.into()),
        _ => prefix("demo", &format!("/{n}/")),
    }
}

#[tokio::test]
async fn no_confirmed_purge_is_lost_to_kill_9_nor_while_the_floor_rises() {
    // Not the same moments each time; a failure says which.
    let seed = u64::from(std::process::id());
    let mut random = seed;
    let state = tempfile::tempdir().unwrap();
    let mut held: Vec<(u64, u64)> = Vec::new();
    for round in 0..12 {
        let first = held.last().map_or(1, |(n, _)| n + 2);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "store::clocks::tests::the_child_process",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, format!("{first}:{}", state.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round);
        let count = 1 + (random >> 33) % 60;
        let told = |line: std::io::Result<String>| {
            let line = line.ok()?;
            let (_, numbers) = line.split_once("held ")?;
            let (n, sequence) = numbers.split_once(' ')?;
            Some((n.parse::<u64>().ok()?, sequence.parse::<u64>().ok()?))
        };
        let before = held.len();
        held.extend(
            lines
                .by_ref()
                .filter_map(told)
                .take(usize::try_from(count).unwrap()),
        );
        child.kill().unwrap();
        // What it still said was confirmed, too.
        held.extend(lines.filter_map(told));
        child.wait().unwrap();
        assert!(
            held.len() > before,
            "round {round} of {seed}: the child said nothing"
        );

        let clocks = Clocks::open(state.path(), CHILD_CLOCKS).unwrap();
        let site = clocks.site("demo");
        assert!(clocks.slots() <= CHILD_CLOCKS);
        assert!(clocks.sequence() >= held.last().unwrap().1);
        for (n, sequence) in &held {
            let slots = match n % 5 {
                0 => vec![url((*n).into())],
                _ => vec![child_slot(*n), child_slot(n + 500_000)],
            };
            for slot in slots {
                let (url, tag, path) = match &slot {
                    Slot::Url { url, .. } => (*url, 0, String::new()),
                    Slot::Tag { tag, .. } => (1_000_001, *tag, String::new()),
                    Slot::Prefix { prefix, .. } => (1_000_001, 2, format!("{prefix}x")),
                    Slot::Site(_) | Slot::Everything => unreachable!(),
                };
                let before = sequence - 1;
                assert_eq!(
                    check_at(
                        &clocks,
                        &site,
                        (url, &path, &[tag + 1_000_000, tag]),
                        before,
                        before
                    ),
                    Purged::Hard,
                    "round {round} of {seed}: {slot:?} at {sequence}"
                );
            }
        }
        // What is fetched now is not purged.
        let now = clocks.sequence();
        assert_eq!(
            check_at(&clocks, &site, (3, "/2/", &[4]), now, now),
            Purged::No
        );
        clocks.close().await;
    }
    assert!(held.len() > 24, "{}", held.len());
}

/// The clocks as one would write them down: a list of purges.
#[derive(Debug, Default)]
struct Naive {
    purges: Vec<(u64, PurgeItem)>,
    invalidations: Vec<(u64, String, Invalidation)>,
}

impl Naive {
    fn check(&self, site: &str, probe: &Probe) -> Purged {
        let invalidated = self
            .invalidations
            .iter()
            .filter(|(_, at, item)| {
                at == site
                    && match item.slot {
                        TrafficSlot::Url(url) => url == probe.url,
                        TrafficSlot::Tag(tag) => {
                            probe.tags.contains(&tag) || probe.tags.contains(&ANY_TAG)
                        }
                    }
            })
            .map(|(sequence, _, item)| probe.verdict(*sequence, item.kind));
        self.purges
            .iter()
            .filter(|(_, item)| match &item.slot {
                Slot::Url { url, .. } => *url == probe.url,
                Slot::Prefix {
                    site: at,
                    host,
                    prefix,
                } => {
                    **at == *site
                        && host
                            .as_deref()
                            .is_none_or(|host| Some(host) == probe.host.as_deref())
                        && probe.path.starts_with(prefix)
                }
                Slot::Tag { site: at, tag } => {
                    **at == *site && (probe.tags.contains(tag) || probe.tags.contains(&ANY_TAG))
                }
                Slot::Site(at) => **at == *site,
                Slot::Everything => true,
            })
            .map(|(sequence, item)| probe.verdict(*sequence, item.kind))
            .chain(invalidated)
            .max()
            .unwrap_or(Purged::No)
    }
}

#[derive(Debug, Clone)]
struct Probe {
    url: u128,
    host: Option<String>,
    path: String,
    tags: Vec<u128>,
    body_seq: u64,
    checked_seq: u64,
}

impl Probe {
    fn verdict(&self, sequence: u64, kind: Purge) -> Purged {
        match kind {
            Purge::Hard if sequence > self.body_seq => Purged::Hard,
            Purge::Soft if sequence > self.checked_seq => Purged::Soft,
            Purge::Hard | Purge::Soft => Purged::No,
        }
    }

    fn object(&self) -> Object {
        Draft {
            url: self.url,
            path: self.path.as_str().into(),
            tags: self.tags.clone(),
            body_seq: self.body_seq,
            checked_seq: self.checked_seq,
            ..plain_draft(&self.key(), Body::Inline(Bytes::new()))
        }
        .seal()
    }

    fn key(&self) -> String {
        match &self.host {
            Some(host) => format!("site h={host}:81 p=/"),
            None => "site p=/".to_owned(),
        }
    }
}

fn items() -> impl Strategy<Value = PurgeItem> {
    let site = prop_oneof![Just("a".to_owned()), Just("ab".to_owned())];
    let slot = prop_oneof![
        4 => (proptest::option::of(site.clone()), 0u128..6).prop_map(|(site, url)| {
            // Its site is in its hash; objects of even URLs are of the first site.
            let site = site.map(|_| if url % 2 == 0 { "a" } else { "ab" }.into());
            Slot::Url { site, url }
        }),
        4 => (site.clone(), proptest::option::of("[hi]"), "(/[ab]{0,2}){0,3}").prop_map(
            |(site, host, prefix)| Slot::Prefix {
                site: site.into(),
                host: host.map(Into::into),
                prefix,
            }
        ),
        4 => (site.clone(), 1u128..7).prop_map(|(site, tag)| self::tag(&site, tag)),
        1 => site.prop_map(|site| Slot::Site(site.into())),
        1 => Just(Slot::Everything),
    ];
    (slot, any::<bool>()).prop_map(|(slot, is_hard)| if is_hard { hard(slot) } else { soft(slot) })
}

#[derive(Debug, Clone)]
enum Step {
    Purge(Vec<PurgeItem>),
    Invalidate(String, Vec<Invalidation>),
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    let site = prop_oneof![Just("a".to_owned()), Just("ab".to_owned())];
    let slot = prop_oneof![
        (0u128..6).prop_map(TrafficSlot::Url),
        (1u128..7).prop_map(TrafficSlot::Tag)
    ];
    let kind = prop_oneof![Just(Purge::Hard), Just(Purge::Soft)];
    let item = (slot, kind).prop_map(|(slot, kind)| Invalidation { slot, kind });
    prop_oneof![
        3 => proptest::collection::vec(items(), 1..3).prop_map(Step::Purge),
        6 => (site, proptest::collection::vec(item, 1..5))
            .prop_map(|(site, items)| Step::Invalidate(site, items)),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn probes() -> impl Strategy<Value = Probe> {
    // 0 is any tag.
    let tags = proptest::collection::vec(0u128..7, 0..3);
    let host = proptest::option::of("[hi]");
    (0u128..6, host, "(/[ab]{0,2}){1,3}", tags, 0u64..8, 0u64..8).prop_map(
        |(url, host, path, tags, body_seq, after)| Probe {
            url,
            host,
            path,
            tags,
            body_seq,
            checked_seq: body_seq + after,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_clocks_are_the_list_of_purges(
        calls in proptest::collection::vec(proptest::collection::vec(items(), 1..4), 1..8),
        probes in proptest::collection::vec(probes(), 1..30),
        restart_after in 0usize..8,
        max in prop_oneof![Just(MANY), Just(4usize)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let mut clocks = Clocks::open(state.path(), max).unwrap();
            let mut naive = Naive::default();
            let mut objects: HashMap<usize, Object> = HashMap::new();
            for (n, call) in calls.into_iter().enumerate() {
                let sequence = clocks.purge(call.clone()).await.unwrap();
                naive.purges.extend(call.into_iter().map(|item| (sequence, item)));
                if n == restart_after {
                    drop(clocks);
                    clocks = Clocks::open(state.path(), max).unwrap();
                    // What is remembered in objects does not outlive the process.
                    objects.clear();
                }
                for (m, probe) in probes.iter().enumerate() {
                    // An object belongs to one site.
                    let name = if probe.url % 2 == 0 { "a" } else { "ab" };
                    let site = clocks.site(name);
                    let object = objects.entry(m).or_insert_with(|| probe.object());
                    let (got, expect) = (clocks.check(&site, object), naive.check(name, probe));
                    if probe.body_seq > clocks.sequence() || probe.body_seq < clocks.floor() {
                        assert_eq!(got, Purged::Hard);
                    } else {
                        assert_eq!(got, expect, "{probe:?} {naive:?}");
                    }
                    assert!(got >= expect || probe.body_seq > clocks.sequence());
                    assert!(clocks.slots() <= max);
                }
            }
        });
    }

    #[test]
    fn purges_and_invalidations_are_one_list(
        steps in proptest::collection::vec(steps(), 1..12),
        probes in proptest::collection::vec(probes(), 1..20),
        max_traffic in prop_oneof![Just(MANY), Just(3usize)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let clock = manual();
            let mut crash;
            let mut clocks = open_small(state.path(), max_traffic, &clock);
            let mut naive = Naive::default();
            let mut objects: HashMap<usize, Object> = HashMap::new();
            for step in steps {
                // The clock of a site may be raised at each step.
                clock.advance(Duration::from_secs(1));
                let before = clocks.sequence();
                match step {
                    Step::Purge(items) => {
                        let sequence = clocks.purge(items.clone()).await.unwrap();
                        assert_eq!(sequence, before + 1);
                        naive.purges.extend(items.into_iter().map(|item| (sequence, item)));
                    }
                    Step::Invalidate(site, items) => {
                        let sequence = clocks.invalidate(&site, items.clone()).await.unwrap();
                        assert_eq!(sequence, before + 1);
                        let items = items.into_iter().map(|item| (sequence, site.clone(), item));
                        naive.invalidations.extend(items);
                    }
                    Step::Restart => {
                        clocks.close().await;
                        clocks = open_small(state.path(), max_traffic, &clock);
                        assert!(clocks.sequence() >= before);
                        objects.clear();
                    }
                    Step::Crash => {
                        crash = crashed(state.path());
                        clocks.close().await;
                        for entry in std::fs::read_dir(crash.path()).unwrap() {
                            let entry = entry.unwrap();
                            std::fs::copy(entry.path(), state.path().join(entry.file_name())).unwrap();
                        }
                        clocks = open_small(state.path(), max_traffic, &clock);
                        assert!(clocks.sequence() >= before);
                        objects.clear();
                    }
                }
                assert!(clocks.traffic() <= max_traffic);
                assert_eq!(clocks.floor(), 0);
                for (m, probe) in probes.iter().enumerate() {
                    let name = if probe.url % 2 == 0 { "a" } else { "ab" };
                    let site = clocks.site(name);
                    let object = objects.entry(m).or_insert_with(|| probe.object());
                    let (got, expect) = (clocks.check(&site, object), naive.check(name, probe));
                    if probe.body_seq > clocks.sequence() {
                        assert_eq!(got, Purged::Hard);
                    } else if max_traffic == MANY {
                        assert_eq!(got, expect, "{probe:?} {naive:?}");
                    } else {
                        assert!(got >= expect, "{probe:?} {naive:?}");
                    }
                }
            }
        });
    }
}
