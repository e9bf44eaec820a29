//! RFC 9110 §13: a client that has it is told so.

use http::StatusCode;

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_gets_304() {
    let origin = Origin::start().await;
    let resource = Resource::new("hello")
        .etag("\"1\"")
        .last_modified(DATE)
        .cache_control("max-age=60");
    origin.serve_resource("/a", resource);
    let edge = Edge::before(&origin).await;
    for (name, value, expect) in [
        ("if-none-match", "\"1\"", 304),
        ("if-none-match", "\"0\", W/\"1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"2\"", 200),
        ("if-none-match", "1", 200),
        ("if-modified-since", DATE, 304),
        ("if-modified-since", "Friday, 15-Jan-27 08:00:01 GMT", 304),
        ("if-modified-since", "Fri, 15 Jan 2027 07:59:59 GMT", 200),
        ("if-match", "\"2\"", 412),
    ] {
        let answer = edge.get_with("/a", &[(name, value)]).await;
        assert_eq!(answer.status.as_u16(), expect, "{name}: {value}");
        if expect == 304 {
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("etag"), "\"1\"");
            assert_eq!(answer.header("cache-control"), "max-age=60");
            assert!(answer.header("content-length").is_empty());
        }
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_from_a_get() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("hello").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    for client in [edge.http(), edge.h1(), edge.h2()] {
        let answer = client.head("/a").await.unwrap();
        assert_eq!(
            (answer.status, answer.header("content-length").as_str()),
            (StatusCode::OK, "5")
        );
        assert!(answer.body.is_empty());
        assert!(answer.header("cache-status").contains("hit"));
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_brings_new_fields_to_the_stored_object() {
    let origin = Origin::start().await;
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("hello")
                .header("etag", "\"1\"")
                .header("x-note", "old")
                .cache_control("max-age=10"),
            Reply::new(304, "")
                .header("etag", "\"1\"")
                .header("x-note", "new")
                .cache_control("max-age=100"),
        ],
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.pass_seconds(20);
    let refreshed = edge.get("/a").await;
    assert_eq!(
        (
            refreshed.text().as_str(),
            refreshed.header("x-note").as_str()
        ),
        ("hello", "new")
    );
    edge.pass_seconds(50);
    let hit = edge.get("/a").await;
    assert!(
        hit.header("cache-status").contains("hit; ttl=50"),
        "{}",
        hit.header("cache-status")
    );
    assert_eq!(origin.count_for("/a"), 2);
}
