//! RFC 9110 §14: parts of stored objects, small and large.

use http::StatusCode;

use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Resource;

const LENGTH: u64 = 3_000_000;

async fn check(edge: &Edge, content: &Content, range: &str, expect: Option<(u64, u64)>) {
    for client in [edge.http(), edge.h2()] {
        let answer = client.get_with("/a", &[("range", range)]).await.unwrap();
        match expect {
            Some((first, end)) => {
                assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
                assert_eq!(
                    answer.header("content-range"),
                    format!("bytes {first}-{}/{LENGTH}", end - 1),
                    "{range}"
                );
                assert_eq!(answer.body, content.slice(first..end), "{range}");
            }
            None => {
                assert_eq!(answer.status, StatusCode::OK, "{range}");
                assert_eq!(answer.body, content.to_bytes(), "{range}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_ranges_come_from_the_store_also_when_it_is_cold() {
    let origin = Origin::start().await;
    let content = Content::pattern(4, LENGTH);
    origin.serve_resource(
        "/a",
        Resource::new(content.clone())
            .etag("\"1\"")
            .cache_control("max-age=60"),
    );
    let edge = Edge::before(&origin).await;
    for (range, expect) in [
        ("bytes=0-0", Some((0, 1))),
        ("bytes=524280-524300", Some((524_280, 524_301))),
        ("bytes=2999999-", Some((2_999_999, LENGTH))),
        ("bytes=-10", Some((LENGTH - 10, LENGTH))),
        ("bytes=-99999999", Some((0, LENGTH))),
        ("bytes=1000000-99999999", Some((1_000_000, LENGTH))),
        ("bytes=5-2", None),
        ("lines=1-2", None),
        ("bytes=x", None),
    ] {
        check(&edge, &content, range, expect).await;
    }
    assert_eq!(origin.body_bytes(), LENGTH, "each block came once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_satisfied_is_416() {
    let origin = Origin::start().await;
    origin.serve_resource("/a", Resource::new("hello").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let answer = edge.get_with("/a", &[("range", "bytes=5-")]).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(answer.header("content-range"), "bytes */5");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_needs_the_very_version() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/a",
        Resource::new("hello")
            .etag("\"1\"")
            .cache_control("max-age=60"),
    );
    let edge = Edge::before(&origin).await;
    for (tag, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let answer = edge
            .get_with("/a", &[("range", "bytes=1-2"), ("if-range", tag)])
            .await;
        assert_eq!(answer.status.as_u16(), status, "{tag}");
    }
}
