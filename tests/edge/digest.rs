//! RFC 9530: a body that is not what its digest says is passed on and not stored.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

/// Of `{"hello": "world"}` and a line feed.
const HELLO: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

fn reply(body: &'static str, field: &str, digest: &str) -> Reply {
    Reply::ok(body)
        .cache_control("max-age=60")
        .header(field, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_its_digest_says_is_passed_on_and_not_stored() {
    let origin = Origin::start().await;
    origin.serve("/content", reply("damaged", "content-digest", HELLO));
    origin.serve("/repr", reply("damaged", "repr-digest", HELLO).chunked());
    origin.serve("/empty", reply("", "repr-digest", HELLO));
    let edge = Edge::before(&origin).await;
    for (path, body) in [
        ("/content", "damaged"),
        ("/repr", "damaged"),
        ("/empty", ""),
    ] {
        for turn in 1..=2 {
            let answer = edge.get(path).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.text(), body);
            let digests = ["content-digest", "repr-digest"].map(|name| answer.header(name));
            assert_eq!(digests.concat(), HELLO);
            assert_eq!(origin.count_for(path), turn, "{path}");
        }
    }
    let metrics = edge.admin(Method::GET, "/metrics", &Value::Null).await;
    let line = "brim_digest_mismatches_total{site=\"site\"} 6";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_agrees_or_has_no_digest_to_check_is_stored() {
    let origin = Origin::start().await;
    let hello = "{\"hello\": \"world\"}\n";
    origin.serve("/same", reply(hello, "repr-digest", HELLO));
    origin.serve("/chunked", reply(hello, "content-digest", HELLO).chunked());
    origin.serve("/malformed", reply("x", "content-digest", "sha-256=x"));
    origin.serve("/unknown", reply("x", "content-digest", "md5=:AAAA:"));
    origin.serve("/unencoded", reply("x", "unencoded-digest", HELLO));
    let edge = Edge::before(&origin).await;
    for path in ["/same", "/chunked", "/malformed", "/unknown", "/unencoded"] {
        let first = edge.get(path).await;
        let hit = edge.get(path).await;
        assert_eq!(origin.count_for(path), 1, "{path}");
        for name in ["content-digest", "repr-digest", "unencoded-digest"] {
            assert_eq!(first.header(name), hit.header(name), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_says_of_a_part_is_not_said_of_the_whole() {
    let origin = Origin::start().await;
    let body = bytes::Bytes::from(vec![b'x'; 2 << 20]);
    let resource = Resource::new(body.clone())
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .header("content-digest", HELLO)
        .cache_control("max-age=60");
    origin.serve_resource("/large", resource);
    let edge = Edge::before(&origin).await;
    let part = edge.get_with("/large", &[("range", "bytes=0-9")]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-digest"), "");
    let whole = edge.get("/large").await;
    assert_eq!(whole.body, body);
    assert_eq!(whole.header("content-digest"), "");
}
