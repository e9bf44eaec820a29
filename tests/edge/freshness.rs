//! RFC 9111 §4.2, 5861: fresh answers come from the store, stale ones are validated or stand in.

use http::StatusCode;

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_object_is_a_hit_and_a_stale_one_is_validated() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/a",
        Resource::new("hello")
            .etag("\"1\"")
            .cache_control("max-age=60"),
    );
    let edge = Edge::before(&origin).await;

    let first = edge.get("/a").await;
    assert_eq!(
        first.header("cache-status"),
        "edge; fwd=uri-miss; fwd-status=200; ttl=60; stored"
    );
    edge.pass_seconds(10);
    let hit = edge.get("/a").await;
    assert_eq!(
        (hit.text().as_str(), hit.header("age").as_str()),
        ("hello", "10")
    );
    assert_eq!(hit.header("cache-status"), "edge; hit; ttl=50; detail=mem");
    assert_eq!(origin.count_for("/a"), 1);

    edge.pass_seconds(60);
    let validated = edge.get("/a").await;
    assert_eq!(validated.status, StatusCode::OK);
    assert_eq!(validated.text(), "hello");
    assert!(
        validated
            .header("cache-status")
            .contains("fwd=stale; fwd-status=304"),
        "{}",
        validated.header("cache-status")
    );
    let asked = origin.requests_for("/a");
    assert_eq!(asked[1].header("if-none-match"), Some("\"1\""));
    assert!(edge.get("/a").await.header("cache-status").contains("hit"));
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_stored_is_not() {
    let origin = Origin::start().await;
    origin.serve("/no-store", Reply::ok("x").cache_control("no-store"));
    origin.serve(
        "/private",
        Reply::ok("x").cache_control("private, max-age=60"),
    );
    origin.serve(
        "/cookie",
        Reply::ok("x")
            .cache_control("max-age=60")
            .header("set-cookie", "a=b"),
    );
    origin.serve("/nothing", Reply::ok("x"));
    let edge = Edge::before(&origin).await;
    for (path, reason) in [
        ("/no-store", "no-store"),
        ("/private", "private"),
        ("/cookie", "set-cookie"),
        ("/nothing", "no-freshness"),
    ] {
        for turn in 1..=2 {
            let answer = edge.get(path).await;
            assert!(
                answer
                    .header("cache-status")
                    .contains(&format!("detail={reason}")),
                "{path}: {}",
                answer.header("cache-status")
            );
            assert_eq!(origin.count_for(path), turn, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_hit_starts_one_refresh() {
    let origin = Origin::start().await;
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("one").cache_control("max-age=10, stale-while-revalidate=60"),
            Reply::ok("two").cache_control("max-age=10, stale-while-revalidate=60"),
        ],
    );
    let edge = Edge::before(&origin).await;
    assert_eq!(edge.get("/a").await.text(), "one");
    edge.pass_seconds(20);
    let stale = edge.get("/a").await;
    assert_eq!(stale.text(), "one");
    assert!(
        stale
            .header("cache-status")
            .starts_with("edge; hit; ttl=-10"),
        "{}",
        stale.header("cache-status")
    );
    origin.asked("/a", 2).await;
    // The refresh is stored a moment after the origin has answered it.
    crate::support::within_deadline("the refreshed object", async {
        while edge.get("/a").await.text() != "two" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_origin_leaves_the_stale_object() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("still here").cache_control("max-age=10"));
    origin.serve(
        "/strict",
        Reply::ok("x").cache_control("max-age=10, must-revalidate"),
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.get("/strict").await;
    origin.die().await;
    edge.pass_seconds(20);
    let stale = edge.get("/a").await;
    assert_eq!(stale.text(), "still here");
    assert!(
        stale
            .header("cache-status")
            .contains("detail=\"mem;stale-if-error\""),
        "{}",
        stale.header("cache-status")
    );
    let strict = edge.get("/strict").await;
    assert_eq!(strict.status, StatusCode::BAD_GATEWAY);
    assert!(
        strict.header("proxy-status").contains("error="),
        "{:?}",
        strict.headers
    );
    origin.revive().await;
    edge.pass_seconds(2);
    assert!(
        edge.get("/a")
            .await
            .header("cache-status")
            .contains("fwd=stale")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_does_not_replace_a_stale_object() {
    let origin = Origin::start().await;
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("good").cache_control("max-age=10"),
            Reply::status(503),
            Reply::status(404),
        ],
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.pass_seconds(20);
    assert_eq!(edge.get("/a").await.text(), "good");
    edge.pass_seconds(20);
    assert_eq!(
        edge.get("/a").await.status,
        StatusCode::NOT_FOUND,
        "a 404 does replace it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_page_is_remembered_for_ten_seconds() {
    let origin = Origin::start().await;
    origin.serve("/gone", Reply::new(404, "no such thing"));
    let edge = Edge::before(&origin).await;
    assert_eq!(edge.get("/gone").await.status, StatusCode::NOT_FOUND);
    edge.pass_seconds(9);
    assert_eq!(edge.get("/gone").await.text(), "no such thing");
    assert_eq!(origin.count_for("/gone"), 1);
    edge.pass_seconds(2);
    edge.get("/gone").await;
    assert_eq!(origin.count_for("/gone"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_survive_a_restart() {
    let origin = Origin::start().await;
    let large = crate::support::content::Content::pattern(1, 3_000_000);
    origin.serve("/small", Reply::ok("small").cache_control("max-age=600"));
    origin.serve(
        "/large",
        Reply::ok(large.clone()).cache_control("max-age=600"),
    );
    let edge = Edge::before(&origin).await;
    edge.get("/small").await;
    edge.get("/large").await;
    let edge = edge.restart().await;
    let small = edge.get("/small").await;
    assert_eq!(small.text(), "small");
    assert!(
        small
            .header("cache-status")
            .contains("hit; ttl=600; detail=disk"),
        "{}",
        small.header("cache-status")
    );
    assert_eq!(edge.get("/large").await.body, large.to_bytes());
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_what_is_immutable_is_a_hit_while_it_is_fresh() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60, immutable"));
    let edge = Edge::with(&origin, "[cache]\nrespect_request_directives = true\n").await;
    edge.get("/a").await;
    edge.pass_seconds(10);
    for directives in ["no-cache", "max-age=0"] {
        let answer = edge.get_with("/a", &[("cache-control", directives)]).await;
        assert!(
            answer.header("cache-status").contains("hit"),
            "{directives}"
        );
    }
    edge.pass_seconds(60);
    edge.get_with("/a", &[("cache-control", "no-cache")]).await;
    assert_eq!(origin.count_for("/a"), 2, "it lengthens no lifetime");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_for_the_node_alone_starts_anew_for_clients_where_the_site_wants_that() {
    let origin = Origin::start().await;
    origin.serve(
        "/a",
        Reply::ok("x")
            .cache_control("max-age=5")
            .header("cdn-cache-control", "max-age=600"),
    );
    let told = async |settings: &str| {
        let edge = Edge::with(&origin, settings).await;
        let first = edge.get("/a").await.header("date");
        edge.pass_seconds(100);
        let hit = edge.get("/a").await;
        assert!(hit.header("cache-status").contains("hit; ttl=500"));
        (hit.header("age"), hit.header("date") == first)
    };
    assert_eq!(told("").await, ("100".to_owned(), true));
    let anew = told("[cache]\nrewrite_age = true\n").await;
    assert_eq!(anew, ("0".to_owned(), false));
}
