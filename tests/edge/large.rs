//! Large objects: whole or by blocks, shared, continued, never mixed, never whole in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use crate::support::client::{Answer, Failure};
use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};
use crate::support::within_deadline;

const BLOCK: u64 = 512 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Memory alone: what is larger than 2 MiB is kept nowhere as a whole.
const NO_DISK: &str = "[cache.memory]\nsize = \"64MiB\"\n";

fn file(content: &Content) -> Resource {
    Resource::new(content.clone())
        .etag("\"1\"")
        .header("accept-ranges", "bytes")
        .cache_control("max-age=3600")
}

async fn range(edge: &Edge, first: u64, end: u64) -> Answer {
    let value = format!("bytes={first}-{}", end - 1);
    edge.get_with("/a", &[("range", &value)]).await
}

#[track_caller]
fn check_part(answer: &Answer, content: &Content, first: u64, end: u64) {
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    let place = format!("bytes {first}-{}/{}", end - 1, content.length());
    assert_eq!(answer.header("content-range"), place);
    assert_eq!(answer.header("content-length"), (end - first).to_string());
    assert!(answer.body == content.slice(first..end), "wrong bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_range_pulls_only_its_blocks() {
    let origin = Origin::start().await;
    let content = Content::pattern(1, 5 * GIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    let first = 3 * GIB + 400_000;
    let answer = range(&edge, first, first + 300_000).await;
    check_part(&answer, &content, first, first + 300_000);
    assert_eq!(answer.header("etag"), "\"1\"");
    let story = answer.header("cache-status");
    assert!(
        story.contains("fwd=uri-miss; fwd-status=206; ttl=3600; stored"),
        "{story}"
    );
    assert_eq!(origin.body_bytes(), 2 * BLOCK);
    let asked = origin.requests_for("/a");
    assert_eq!(asked.len(), 2);
    let aligned = format!("bytes={}-{}", 3 * GIB, 3 * GIB + BLOCK - 1);
    assert_eq!(asked[0].header("range"), Some(&*aligned));
    assert_eq!(asked[1].header("if-range"), Some("\"1\""));

    let again = range(&edge, first, first + 300_000).await;
    check_part(&again, &content, first, first + 300_000);
    assert!(again.header("cache-status").contains("edge; hit"));
    let head = edge.http().head("/a").await.unwrap();
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(head.header("content-length"), (5 * GIB).to_string());
    assert_eq!(origin.count_for("/a"), 2);

    let other = range(&edge, 0, 10).await;
    check_part(&other, &content, 0, 10);
    let story = other.header("cache-status");
    assert!(
        story.contains("fwd=partial; fwd-status=206; ttl=3600; stored"),
        "{story}"
    );
    assert_eq!(origin.body_bytes(), 3 * BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_of_one_cold_object_share_its_blocks() {
    const CLIENTS: u64 = 32;
    let origin = Origin::start().await;
    let content = Content::pattern(2, 5 * GIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, content) = (edge.http(), content.clone());
        clients.spawn(async move {
            let mut touched = BTreeSet::new();
            let mut random = number;
            for _ in 0..4 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Few places, so that some meet.
                let first = (random >> 33) % 24 * 97 * MIB + (random >> 20) % BLOCK;
                let end = first + 1 + (random >> 40) % 400_000;
                let value = format!("bytes={first}-{}", end - 1);
                let answer = client.get_with("/a", &[("range", &value)]).await.unwrap();
                check_part(&answer, &content, first, end);
                touched.extend(first / BLOCK..=(end - 1) / BLOCK);
            }
            touched
        });
    }
    let touched: BTreeSet<u64> = within_deadline("all clients", clients.join_all())
        .await
        .into_iter()
        .flatten()
        .collect();
    let least = touched.len() as u64 * BLOCK;
    assert!(
        origin.body_bytes() <= least + least / 10,
        "{} bytes for {} blocks",
        origin.body_bytes(),
        touched.len()
    );
    let heads = origin.requests_for("/a");
    let unconditional = heads
        .iter()
        .filter(|head| head.header("if-range").is_none());
    assert_eq!(unconditional.count(), 1, "one request learnt the head");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_pulls_ahead_but_never_beyond_the_end() {
    let origin = Origin::start().await;
    let content = Content::pattern(3, 100 * MIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    let end = 20 * MIB;
    check_part(&range(&edge, 10, end).await, &content, 10, end);
    assert_eq!(origin.body_bytes(), end);
    // Of 40 blocks 1, then 1, 2, 4, 8, 16 and the rest, if not faster.
    assert!(origin.count_for("/a") <= 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn suffixes_and_ends_of_cold_objects_are_found() {
    let origin = Origin::start().await;
    let content = Content::pattern(4, 100 * MIB + 5);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    let answer = edge.get_with("/a", &[("range", "bytes=-100")]).await;
    check_part(&answer, &content, 100 * MIB - 95, 100 * MIB + 5);
    assert_eq!(
        origin.body_bytes(),
        2 * BLOCK + 5,
        "the first and the last two"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_of_a_cold_object_is_416() {
    let origin = Origin::start().await;
    let content = Content::pattern(5, 3 * MIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    let answer = edge.get_with("/a", &[("range", "bytes=99999999-")]).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        answer.header("content-range"),
        format!("bytes */{}", 3 * MIB)
    );
    assert_eq!(origin.count(), 2, "the second brings the length");
    let fields = [("range", "bytes=99999999-"), ("if-range", "\"other\"")];
    let answer = edge.get_with("/a", &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "the range does not apply");
    assert_eq!(answer.body, content.to_bytes());

    origin.serve_resource("/empty", file(&Content::from("")));
    let answer = edge.get_with("/empty", &[("range", "bytes=0-5")]).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_is_stored_whole_by_its_first_range() {
    let origin = Origin::start().await;
    let content = Content::pattern(6, 1000);
    // Needs no validator: it is all there.
    let plain = Resource::new(content.clone()).cache_control("max-age=60");
    origin.serve_resource("/a", plain);
    let edge = Edge::before(&origin).await;
    check_part(&range(&edge, 5, 10).await, &content, 5, 10);
    let whole = edge.get("/a").await;
    assert_eq!(whole.body, content.to_bytes());
    assert!(whole.header("cache-status").contains("hit"));
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_without_ranges_is_asked_once_and_remembered() {
    let origin = Origin::start().await;
    let content = Content::pattern(7, 3 * MIB);
    origin.serve_resource("/a", file(&content).without_ranges());
    let edge = Edge::before(&origin).await;
    check_part(&range(&edge, 5, 10).await, &content, 5, 10);
    assert_eq!(origin.count_for("/a"), 1, "its answer was taken as it came");
    edge.purge(serde_json::json!({"sites": ["site"], "urls": ["https://localhost/a"]}))
        .await;
    check_part(&range(&edge, 5, 10).await, &content, 5, 10);
    let asked = origin.requests_for("/a");
    assert_eq!(asked.len(), 2);
    assert!(asked[0].header("range").is_some());
    assert!(asked[1].header("range").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_of_no_use_lead_to_the_whole() {
    let content = Content::pattern(8, 3 * MIB);
    let part = |place: &str| {
        Reply::new(206, content.slice(0..BLOCK))
            .header("content-range", place)
            .header("etag", "\"1\"")
            .cache_control("max-age=60")
    };
    let right = format!("bytes 0-{}/{}", BLOCK - 1, 3 * MIB);
    for (name, useless) in [
        (
            "no place",
            Reply::new(206, content.slice(0..BLOCK)).header("etag", "\"1\""),
        ),
        (
            "another place",
            part(&format!("bytes 1-{BLOCK}/{}", 3 * MIB)),
        ),
        ("no length", part(&format!("bytes 0-{}/*", BLOCK - 1))),
        ("coded", part(&right).header("content-encoding", "br")),
        (
            "weak",
            Reply::new(206, content.slice(0..BLOCK))
                .header("content-range", &right)
                .header("etag", "W/\"1\"")
                .cache_control("max-age=60"),
        ),
        (
            "not to be stored",
            Reply::new(206, content.slice(0..BLOCK))
                .header("content-range", &right)
                .header("etag", "\"1\"")
                .cache_control("no-store"),
        ),
    ] {
        let origin = Origin::start().await;
        let whole = file(&content);
        origin.on("/a", move |request| match request.header("range") {
            Some(_) => useless.clone(),
            None => whole.reply(request),
        });
        let edge = Edge::before(&origin).await;
        check_part(&range(&edge, 5, 10).await, &content, 5, 10);
        assert_eq!(origin.count_for("/a"), 2, "{name}");
        assert_eq!(edge.get("/a").await.body, content.to_bytes(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_a_validator_when_it_is_old_enough() {
    let content = Content::pattern(9, 3 * MIB);
    // The second of the clock's start.
    let now = "Fri, 15 Jan 2027 08:00:00 GMT";
    for (modified, asked) in [("Fri, 15 Jan 2027 07:59:59 GMT", 2), (now, 2)] {
        let origin = Origin::start().await;
        let resource = Resource::new(content.clone())
            .last_modified(modified)
            .header("date", now)
            .cache_control("max-age=60");
        origin.serve_resource("/a", resource);
        let edge = Edge::before(&origin).await;
        check_part(&range(&edge, 5, BLOCK + 5).await, &content, 5, BLOCK + 5);
        let requests = origin.requests_for("/a");
        assert_eq!(requests.len(), asked, "{modified}");
        let condition = requests[1].header("if-range");
        assert_eq!(condition, (modified != now).then_some(modified));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_any_block_border_never_mixes() {
    const BLOCKS: u64 = 5;
    let old = Content::pattern(10, BLOCKS * BLOCK);
    let new = Content::pattern(11, BLOCKS * BLOCK);
    for border in 1..BLOCKS {
        let origin = Origin::start().await;
        origin.serve_resource("/a", file(&old));
        let edge = Edge::before(&origin).await;
        let place = border * BLOCK;
        check_part(
            &range(&edge, place - 9, place).await,
            &old,
            place - 9,
            place,
        );
        origin.serve_resource("/a", file(&new).etag("\"2\""));
        let value = format!("bytes={}-{}", place - 9, place + 8);
        let cut = edge.http().get_with("/a", &[("range", &value)]).await;
        match cut {
            Err(Failure::Broken {
                headers, received, ..
            }) => {
                assert_eq!(headers["etag"], "\"1\"");
                let right = old.slice(place - 9..place);
                assert!(right.starts_with(&received), "border {border}");
            }
            // A connection that breaks right behind the head may take the head along.
            Err(Failure::NoAnswer(_)) => {}
            Ok(_) => panic!("border {border}: {cut:?}"),
        }
        let whole = edge.get("/a").await;
        assert_eq!(whole.header("etag"), "\"2\"");
        assert!(whole.body == new.to_bytes(), "border {border}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_reader_of_the_whole_never_mixes() {
    const BLOCKS: u64 = 9;
    let old = Content::pattern(12, BLOCKS * BLOCK);
    let new = Content::pattern(13, BLOCKS * BLOCK);
    for border in 1..BLOCKS {
        let origin = Origin::start().await;
        let (before, after) = (file(&old), file(&new).etag("\"2\""));
        let changed = AtomicBool::new(false);
        origin.on("/a", move |request| {
            let first = request.header("range").and_then(|value| {
                value
                    .strip_prefix("bytes=")?
                    .split('-')
                    .next()?
                    .parse::<u64>()
                    .ok()
            });
            if first.is_some_and(|first| first >= border * BLOCK) {
                changed.store(true, Ordering::SeqCst);
            }
            if changed.load(Ordering::SeqCst) {
                after.reply(request)
            } else {
                before.reply(request)
            }
        });
        let edge = Edge::before(&origin).await;
        range(&edge, 0, 1).await;
        match edge.http().get("/a").await {
            Err(Failure::Broken { received, .. }) => {
                assert!(old.to_bytes().starts_with(&received), "border {border}");
            }
            Ok(whole) => assert!(whole.body == old.to_bytes(), "border {border}"),
            Err(Failure::NoAnswer(_)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_first_after_a_change_gets_the_new_version() {
    let origin = Origin::start().await;
    let (old, new) = (Content::pattern(14, 4 * MIB), Content::pattern(15, 5 * MIB));
    origin.serve_resource("/a", file(&old));
    let edge = Edge::before(&origin).await;
    range(&edge, 0, 10).await;
    origin.serve_resource("/a", file(&new).etag("\"2\""));
    // Nothing of the answer has gone out when the change is seen.
    let answer = range(&edge, 3 * MIB, 3 * MIB + 10).await;
    check_part(&answer, &new, 3 * MIB, 3 * MIB + 10);
    assert_eq!(answer.header("etag"), "\"2\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_between_the_first_look_and_the_first_block_starts_again() {
    // The end of an object whose length is not known takes two requests: it changes in between, once and twice.
    for changes in 1..=2 {
        let origin = Origin::start().await;
        let contents: Vec<_> = (0..3)
            .map(|n| Content::pattern(40 + n, (4 + n) * MIB))
            .collect();
        let files: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(n, content)| file(content).etag(&format!("\"{n}\"")))
            .collect();
        let seen = AtomicUsize::new(0);
        origin.on("/a", move |request| {
            let number = seen.fetch_add(1, Ordering::SeqCst);
            let version = match (number, changes) {
                (0, _) => 0,
                (1 | 2, _) | (_, 1) => 1,
                _ => 2,
            };
            files[version].reply(request)
        });
        let edge = Edge::before(&origin).await;
        let answer = edge.get_with("/a", &[("range", "bytes=-10")]).await;
        let last = usize::try_from(changes).unwrap();
        let length = contents[last].length();
        check_part(&answer, &contents[last], length - 10, length);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_fill_is_continued_by_ranges() {
    let origin = Origin::start().await;
    let content = Content::pattern(16, 3_000_000);
    let broken = AtomicBool::new(false);
    let whole = file(&content);
    origin.on("/a", move |request| {
        let reply = whole.reply(request);
        if broken.swap(true, Ordering::SeqCst) {
            reply
        } else {
            reply.close_after(1_700_000)
        }
    });
    let edge = Edge::before(&origin).await;
    let cut = edge.http().get("/a").await;
    let Err(Failure::Broken { received, .. }) = cut else {
        panic!("{cut:?}");
    };
    assert!(content.to_bytes().starts_with(&received));
    origin.forget();
    let answer = edge.get("/a").await;
    assert!(answer.body == content.to_bytes());
    assert_eq!(
        origin.body_bytes(),
        3_000_000 - 3 * BLOCK,
        "three blocks were there"
    );
    for request in origin.requests_for("/a") {
        assert_eq!(request.header("if-range"), Some("\"1\""));
    }
    origin.forget();
    assert!(edge.get("/a").await.body == content.to_bytes());
    assert_eq!(origin.count(), 0, "it is whole now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_abandoned_fill_has_pulled_is_kept() {
    let origin = Origin::start().await;
    let content = Content::pattern(17, 100 * MIB);
    let gate = Gate::closed();
    let (whole, held) = (file(&content), gate.clone());
    origin.on("/a", move |request| {
        whole.reply(request).hold_body(5 * MIB, &held)
    });
    let edge = Edge::before(&origin).await;
    let mut reader = edge.http().open("/a", &[]).await.unwrap();
    reader
        .until(usize::try_from(4 * MIB).unwrap())
        .await
        .unwrap();
    gate.reached(1).await;
    drop(reader);
    origin.aborted(1).await;
    origin.forget();
    check_part(&range(&edge, 0, 3 * MIB).await, &content, 0, 3 * MIB);
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_body_without_a_validator_is_thrown_away() {
    let origin = Origin::start().await;
    let content = Content::pattern(18, 3_000_000);
    let whole = Reply::ok(content.clone())
        .header("accept-ranges", "bytes")
        .cache_control("max-age=60");
    origin.serve_in_turn("/a", [whole.clone().close_after(1_700_000), whole]);
    let edge = Edge::before(&origin).await;
    edge.http().get("/a").await.unwrap_err();
    assert!(edge.get("/a").await.body == content.to_bytes());
    assert!(origin.requests_for("/a")[1].header("range").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_range_does_not_wait_for_a_running_fill() {
    let origin = Origin::start().await;
    let content = Content::pattern(19, 100 * MIB);
    let gate = Gate::closed();
    let (whole, held) = (file(&content), gate.clone());
    origin.on("/a", move |request| {
        let reply = whole.reply(request);
        match request.header("range") {
            Some(_) => reply,
            None => reply.hold_body(MIB, &held),
        }
    });
    let edge = Edge::before(&origin).await;
    let mut reader = edge.http().open("/a", &[]).await.unwrap();
    reader.until(1000).await.unwrap();
    gate.reached(1).await;
    let place = 50 * MIB;
    check_part(
        &range(&edge, place, place + 10).await,
        &content,
        place,
        place + 10,
    );
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_behind_a_stale_part_does_not_pull_the_whole() {
    let origin = Origin::start().await;
    let (old, new) = (Content::pattern(20, 2 * GIB), Content::pattern(21, 2 * GIB));
    let stale_soon = "max-age=10, stale-while-revalidate=600";
    let resource = |content: &Content, tag: &str| {
        Resource::new(content.clone())
            .etag(tag)
            .header("accept-ranges", "bytes")
            .cache_control(stale_soon)
    };
    origin.serve_resource("/a", resource(&old, "\"1\""));
    let edge = Edge::before(&origin).await;
    range(&edge, 0, 10).await;
    origin.serve_resource("/a", resource(&new, "\"2\""));
    edge.pass_seconds(20);
    origin.forget();
    check_part(&range(&edge, 0, 10).await, &old, 0, 10);
    origin.asked("/a", 1).await;
    within_deadline("the new version", async {
        while range(&edge, 0, 10).await.header("etag") != "\"2\"" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    check_part(&range(&edge, 0, 10).await, &new, 0, 10);
    let requests = origin.requests_for("/a");
    assert_eq!(requests[0].header("if-none-match"), Some("\"1\""));
    assert!(requests[0].header("range").is_some());
    assert_eq!(origin.body_bytes(), BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_may_want_whole_objects_only() {
    for settings in [
        "[cache]\nslice = \"never\"\n",
        "---\nrange_requests = \"never\"\n+++\n",
    ] {
        let origin = Origin::start().await;
        let content = Content::pattern(22, 3 * MIB);
        origin.serve_resource("/a", file(&content));
        let edge = Edge::with(&origin, settings).await;
        check_part(&range(&edge, MIB, MIB + 9).await, &content, MIB, MIB + 9);
        assert!(edge.get("/a").await.body == content.to_bytes());
        assert_eq!(origin.count_for("/a"), 1, "{settings}");
        assert!(origin.requests()[0].header("range").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_all_speeds_get_right_bytes_without_a_disk() {
    const READERS: usize = 60;
    let origin = Origin::start().await;
    let length = 16 * MIB;
    let content = Content::pattern(23, length);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::with_node(&origin, "", NO_DISK).await;
    let expect = content.to_bytes();
    let fast_are_done = Arc::new(Gate::closed());
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let (client, expect) = (edge.http(), expect.clone());
        let gate = Arc::clone(&fast_are_done);
        readers.spawn(async move {
            let mut reader = client.open("/a", &[]).await.unwrap();
            assert_eq!(reader.header("content-length"), expect.len().to_string());
            if number % 2 == 0 {
                // Each stops at another place.
                reader.until(number * 200_000).await.unwrap();
                gate.pass_through().await;
            }
            let whole = reader.whole().await.unwrap();
            assert!(whole.body == expect, "reader {number}");
            number % 2
        });
    }
    let mut fast = 0;
    within_deadline("the fast readers", async {
        while fast < READERS / 2 {
            fast += readers.join_next().await.unwrap().unwrap();
        }
    })
    .await;
    fast_are_done.open();
    within_deadline("the slow readers", readers.join_all()).await;
    assert!(
        origin.body_bytes() <= 3 * length,
        "{} bytes",
        origin.body_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_ranges_in_a_row_pull_their_block_once_without_a_disk() {
    let origin = Origin::start().await;
    let content = Content::pattern(24, GIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::with_node(&origin, "", NO_DISK).await;
    for step in 0..10 {
        let first = 7 * MIB + step * 10_000;
        check_part(
            &range(&edge, first, first + 10_000).await,
            &content,
            first,
            first + 10_000,
        );
    }
    assert_eq!(origin.body_bytes(), BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_object_outlives_a_restart() {
    let origin = Origin::start().await;
    let content = Content::pattern(25, GIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    range(&edge, 9 * MIB, 9 * MIB + 10).await;
    let edge = edge.restart().await;
    let answer = range(&edge, 9 * MIB, 9 * MIB + 10).await;
    check_part(&answer, &content, 9 * MIB, 9 * MIB + 10);
    let told = answer.header("cache-status");
    assert!(
        told.contains("edge; hit"),
        "{told} {:?}",
        edge.node().tiers()
    );
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_in_between_fails_the_reader_and_keeps_the_object() {
    let origin = Origin::start().await;
    let content = Content::pattern(26, 10 * MIB);
    origin.serve_resource("/a", file(&content));
    let edge = Edge::before(&origin).await;
    range(&edge, 0, 10).await;
    origin.serve("/a", Reply::status(503));
    let value = format!("bytes=5-{}", BLOCK + 5);
    let cut = edge.http().get_with("/a", &[("range", &value)]).await;
    assert!(cut.is_err(), "{cut:?}");
    let answer = edge
        .get_with("/a", &[("range", "bytes=1000000-1000009")])
        .await;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing has gone out yet"
    );
    origin.serve_resource("/a", file(&content));
    edge.pass(Duration::from_secs(2));
    origin.forget();
    assert!(edge.get("/a").await.body == content.to_bytes());
    assert_eq!(
        origin.body_bytes(),
        10 * MIB - BLOCK,
        "the first block was there"
    );
}

fn parts_of(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let content_type = answer.header("content-type");
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap_or_else(|| panic!("{content_type}"));
    let body = answer.body.as_ref();
    let mark = format!("--{boundary}");
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = body[from..]
        .windows(mark.len())
        .position(|w| w == mark.as_bytes())
    {
        places.push(from + at);
        from += at + mark.len();
    }
    let last = *places.last().unwrap();
    assert_eq!(&body[last..], format!("{mark}--\r\n").as_bytes());
    places
        .windows(2)
        .map(|pair| {
            let part = &body[pair[0] + mark.len() + 2..pair[1] - 2];
            let end = part.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let head = String::from_utf8_lossy(&part[..end]).into_owned();
            (head, part[end + 4..].to_vec())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_as_multipart() {
    let origin = Origin::start().await;
    let large = Content::pattern(27, GIB);
    let small = Content::pattern(28, 5000);
    for (path, content) in [("/large", &large), ("/small", &small)] {
        origin.serve_resource(path, file(content).header("content-type", "video/mp4"));
    }
    let edge = Edge::before(&origin).await;
    for (path, content) in [("/large", &large), ("/small", &small)] {
        let length = content.length();
        for client in [edge.http(), edge.h1(), edge.h2()] {
            let value = "bytes=4000-4099, 0-9, -1";
            let answer = client.get_with(path, &[("range", value)]).await.unwrap();
            assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
            assert_eq!(answer.header("content-range"), "");
            assert_eq!(
                answer.header("content-length"),
                answer.body.len().to_string()
            );
            let parts = parts_of(&answer);
            let places = [(0, 10), (4000, 4100), (length - 1, length)];
            assert_eq!(parts.len(), places.len());
            for ((head, bytes), (first, end)) in parts.iter().zip(places) {
                assert_eq!(*bytes, content.slice(first..end), "{head}");
                let place = format!("Content-Range: bytes {first}-{}/{length}", end - 1);
                assert_eq!(*head, format!("Content-Type: video/mp4\r\n{place}"));
            }
        }
    }
    assert!(origin.body_bytes() <= 2 * BLOCK + 5000);

    let one = edge
        .get_with("/small", &[("range", "bytes=0-5, 3-9, 9000-")])
        .await;
    assert_eq!(one.header("content-range"), "bytes 0-9/5000", "one is left");
    let many: Vec<String> = (0..40).map(|n| format!("{0}-{0}", n * 100)).collect();
    let value = format!("bytes={}", many.join(","));
    let whole = edge.get_with("/small", &[("range", &value)]).await;
    assert_eq!(
        (whole.status, whole.body),
        (StatusCode::OK, small.to_bytes())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_follow_a_running_fill() {
    let origin = Origin::start().await;
    let content = Content::pattern(29, 3 * MIB);
    let gate = Gate::closed();
    let reply = Reply::ok(content.clone())
        .cache_control("max-age=60")
        .hold_body(MIB, &gate);
    origin.serve("/a", reply);
    let edge = Edge::before(&origin).await;
    let client = edge.http();
    let value = format!("bytes=10-19,{}-{}", 2 * MIB, 2 * MIB + 9);
    let asking =
        tokio::spawn(async move { client.get_with("/a", &[("range", &value)]).await.unwrap() });
    gate.reached(1).await;
    gate.open();
    let parts = parts_of(&within_deadline("the parts", asking).await.unwrap());
    assert_eq!(parts[0].1, content.slice(10..20));
    assert_eq!(parts[1].1, content.slice(2 * MIB..2 * MIB + 10));
}
