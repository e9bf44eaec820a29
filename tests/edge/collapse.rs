//! One fetch however many wait; readers follow the running fill (DESIGN: flights).

use http::StatusCode;

use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_of_one_cold_url_are_one_fetch() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("shared")
            .cache_control("max-age=60")
            .hold_head(&gate),
    );
    let edge = Edge::before(&origin).await;
    let client = edge.http();
    let asking = tokio::spawn(async move { client.many(200, "/a", &[]).await });
    gate.reached(1).await;
    gate.open();
    for answer in asking.await.unwrap() {
        assert_eq!(answer.unwrap().text(), "shared");
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_have_their_first_bytes_while_the_origin_still_sends() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let content = Content::pattern(7, 200_000);
    origin.serve(
        "/a",
        Reply::ok(content.clone())
            .cache_control("max-age=60")
            .hold_body(100_000, &gate),
    );
    let edge = Edge::before(&origin).await;
    let mut readers = Vec::new();
    for client in [edge.http(), edge.h1(), edge.h2()] {
        let mut reader = client.open("/a", &[]).await.unwrap();
        reader.until(50_000).await.unwrap();
        readers.push(reader);
    }
    gate.reached(1).await;
    assert_eq!(gate.arrivals(), 1);
    gate.open();
    for reader in readers {
        assert_eq!(reader.whole().await.unwrap().body, content.to_bytes());
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_hurts_nobody() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let content = Content::pattern(3, 2_000_000);
    origin.serve(
        "/a",
        Reply::ok(content.clone())
            .cache_control("max-age=60")
            .hold_body(1_000_000, &gate),
    );
    let edge = Edge::before(&origin).await;
    let mut leader = edge.http().open("/a", &[]).await.unwrap();
    leader.until(1000).await.unwrap();
    let mut follower = edge.http().open("/a", &[]).await.unwrap();
    follower.until(1000).await.unwrap();
    drop(leader);
    gate.open();
    assert_eq!(follower.whole().await.unwrap().body, content.to_bytes());
    assert_eq!(edge.get("/a").await.body, content.to_bytes());
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_of_an_uncacheable_answer_go_their_own_way() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.on("/a", move |request| {
        let first = request.header("x-none").is_none();
        let reply = Reply::ok("mine").cache_control("no-store");
        if first { reply.hold_head(&held) } else { reply }
    });
    let edge = Edge::before(&origin).await;
    let client = edge.http();
    let asking = tokio::spawn(async move { client.many(20, "/a", &[]).await });
    gate.reached(1).await;
    gate.open();
    for answer in asking.await.unwrap() {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, "mine")
        );
        assert!(!answer.header("cache-status").contains("collapsed"));
    }
    assert_eq!(origin.count_for("/a"), 20, "each has an answer of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_large_object_holds_nobody_back() {
    let origin = Origin::start().await;
    let content = Content::pattern(5, 12 << 20);
    origin.serve("/a", Reply::ok(content.clone()).cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let mut slow = edge.http().open("/a", &[]).await.unwrap();
    slow.until(1).await.unwrap();
    assert_eq!(edge.get("/a").await.body, content.to_bytes());
    assert_eq!(slow.whole().await.unwrap().body, content.to_bytes());
    assert_eq!(origin.count_for("/a"), 1);
}
