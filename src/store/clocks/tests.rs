use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;

use super::slot::{Purge, PurgeItem, Purged, Slot};
use super::table::Clocks;
use crate::store::testing::plain_object;
use crate::store::{Body, Object};

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

fn prefix(site: &str, prefix: &str) -> Slot {
    Slot::Prefix {
        site: site.to_owned(),
        prefix: prefix.to_owned(),
    }
}

fn tag(site: &str, tag: u128) -> Slot {
    Slot::Tag {
        site: site.to_owned(),
        tag,
    }
}

/// An object of site `demo` with URL 11, path `/a/x.css` and tags 1 and 2.
fn object(body_seq: u64, checked_seq: u64) -> Object {
    Object {
        path: "/a/x.css".into(),
        tags: vec![1, 2],
        body_seq,
        checked_seq,
        ..plain_object("key", Body::Inline(Bytes::new()))
    }
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
    check_one(hard(Slot::Url(11)), Purged::Hard).await;
    check_one(soft(Slot::Url(11)), Purged::Soft).await;
    check_one(hard(Slot::Url(11 + 64)), Purged::No).await;
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
    let check = |path: &str| clocks.check_marks(&site, 0, path, &[], 0, 0);
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
    let both = vec![soft(tag("demo", 1)), hard(Slot::Url(11))];
    clocks.purge(both).await.unwrap();
    assert_eq!(clocks.check(&site, &object(0, 0)), Purged::Hard);
    assert_eq!(clocks.check(&site, &object(0, 1)), Purged::Hard);

    clocks.purge(vec![soft(Slot::Everything)]).await.unwrap();
    assert_eq!(clocks.check(&site, &object(1, 1)), Purged::Soft);
    assert_eq!(clocks.check(&site, &object(1, 2)), Purged::No);
    // A later soft purge of the same slot does not take the hard one back.
    clocks.purge(vec![soft(Slot::Url(11))]).await.unwrap();
    assert_eq!(clocks.check(&site, &object(0, 3)), Purged::Hard);
}

#[tokio::test]
async fn a_fill_that_began_before_a_purge_is_caught_by_its_marks() {
    let state = tempfile::tempdir().unwrap();
    let clocks = open(state.path());
    let site = clocks.site("demo");
    let began = clocks.sequence();
    clocks.purge(vec![hard(tag("demo", 7))]).await.unwrap();
    let check = |tags: &[u128], began: u64| clocks.check_marks(&site, 1, "/", tags, began, began);
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
    clocks.purge(vec![soft(Slot::Url(11))]).await.unwrap();
    assert_eq!(clocks.check(&site, &object), Purged::Soft);
    assert_eq!(clocks.check(&site, &object), Purged::Soft);
    assert_ne!(object.cleared_epoch.load(Ordering::Relaxed), site.epoch());
}

#[tokio::test]
async fn clocks_outlive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let items = vec![
        hard(Slot::Url(11)),
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
        clocks.check_marks(&site, 0, "/p/q", &[], 2, 5),
        Purged::Hard
    );
    assert_eq!(clocks.purge(vec![hard(Slot::Url(1))]).await.unwrap(), 6);
}

#[tokio::test]
async fn calls_at_the_same_time_share_commits_and_have_numbers_of_their_own() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Arc::new(open(state.path()));
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let clocks = Arc::clone(&clocks);
            tokio::spawn(async move { clocks.purge(vec![hard(Slot::Url(n))]).await.unwrap() })
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
        clocks.purge(vec![hard(Slot::Url(11))]).await.unwrap();
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
                0 => Slot::Url(1000 + n),
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
            clocks.check_marks(&site, url, &path, &tags, n, n),
            Purged::Hard,
            "{n}"
        );
    }
}

#[tokio::test]
async fn one_purge_of_more_than_fits_purges_all_that_is_older() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Clocks::open(state.path(), 10).unwrap();
    let items = (0..50).map(|n| soft(Slot::Url(n))).collect();
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
    clocks.purge(vec![hard(Slot::Url(11))]).await.unwrap();
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

/// The clocks as one would write them down: a list of purges.
#[derive(Debug, Default)]
struct Naive {
    purges: Vec<(u64, PurgeItem)>,
}

impl Naive {
    fn check(&self, site: &str, probe: &Probe) -> Purged {
        self.purges
            .iter()
            .filter(|(_, item)| match &item.slot {
                Slot::Url(url) => *url == probe.url,
                Slot::Prefix { site: at, prefix } => at == site && probe.path.starts_with(prefix),
                Slot::Tag { site: at, tag } => at == site && probe.tags.contains(tag),
                Slot::Site(at) => at == site,
                Slot::Everything => true,
            })
            .map(|(sequence, item)| match item.kind {
                Purge::Hard if *sequence > probe.body_seq => Purged::Hard,
                Purge::Soft if *sequence > probe.checked_seq => Purged::Soft,
                Purge::Hard | Purge::Soft => Purged::No,
            })
            .max()
            .unwrap_or(Purged::No)
    }
}

#[derive(Debug, Clone)]
struct Probe {
    url: u128,
    path: String,
    tags: Vec<u128>,
    body_seq: u64,
    checked_seq: u64,
}

fn items() -> impl Strategy<Value = PurgeItem> {
    let site = prop_oneof![Just("a".to_owned()), Just("ab".to_owned())];
    let slot = prop_oneof![
        4 => (0u128..6).prop_map(Slot::Url),
        4 => (site.clone(), "(/[ab]{0,2}){0,3}").prop_map(|(site, prefix)| Slot::Prefix { site, prefix }),
        4 => (site.clone(), 0u128..6).prop_map(|(site, tag)| Slot::Tag { site, tag }),
        1 => site.prop_map(Slot::Site),
        1 => Just(Slot::Everything),
    ];
    (slot, any::<bool>()).prop_map(|(slot, is_hard)| if is_hard { hard(slot) } else { soft(slot) })
}

fn probes() -> impl Strategy<Value = Probe> {
    let tags = proptest::collection::vec(0u128..6, 0..3);
    (0u128..6, "(/[ab]{0,2}){1,3}", tags, 0u64..8, 0u64..8).prop_map(
        |(url, path, tags, body_seq, after)| Probe {
            url,
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
                    let name = if m % 2 == 0 { "a" } else { "ab" };
                    let site = clocks.site(name);
                    let object = objects.entry(m).or_insert_with(|| Object {
                        url: probe.url,
                        path: probe.path.as_str().into(),
                        tags: probe.tags.clone(),
                        body_seq: probe.body_seq,
                        checked_seq: probe.checked_seq,
                        ..plain_object("key", Body::Inline(Bytes::new()))
                    });
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
}
