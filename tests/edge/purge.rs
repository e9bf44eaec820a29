//! A purge holds from its answer on: every variant, every tier, running fills, restarts.

use serde_json::json;

use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

fn numbered(origin: &Origin, path: &str) {
    let text = |number: usize| {
        format!(
            "version {number} {}",
            "of a text that is worth compressing ".repeat(20)
        )
    };
    let replies = (1..20).map(|number| {
        Reply::ok(text(number))
            .cache_control("max-age=600")
            .header("content-type", "text/plain")
            .header("etag", &format!("\"{number}\""))
            .header("surrogate-key", "red blue")
    });
    origin.serve_in_turn(path, replies.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_purge_takes_every_variant() {
    let origin = Origin::start().await;
    numbered(&origin, "/dir/a");
    let edge = Edge::before(&origin).await;
    for (turn, what) in [
        json!({"urls": ["https://localhost/dir/a"]}),
        json!({"sites": ["site"], "urls": ["/dir/a"]}),
        json!({"sites": ["site"], "prefixes": ["/dir/"]}),
        json!({"sites": ["site"], "prefixes": ["/di*"]}),
        json!({"sites": ["site"], "tags": ["blue"]}),
        json!({"sites": ["site"], "everything": true}),
        json!({"everything": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let expect = format!("version {}", turn + 1);
        for coding in ["identity", "gzip", "identity", "gzip"] {
            let answer = edge
                .get_with("/dir/a", &[("accept-encoding", coding)])
                .await;
            if coding == "identity" {
                assert!(
                    answer.text().starts_with(&expect),
                    "{what}: {}",
                    &answer.text()[..12]
                );
            }
            assert!(
                answer
                    .header("etag")
                    .starts_with(&format!("\"{}", turn + 1)),
                "{what}: {}",
                answer.header("etag")
            );
        }
        edge.purge(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_what_it_does_not_name() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    numbered(&origin, "/ab");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.get("/ab").await;
    edge.purge(json!({"sites": ["site"], "urls": ["/a"]})).await;
    edge.purge(json!({"sites": ["site"], "prefixes": ["/a/"]}))
        .await;
    edge.purge(json!({"sites": ["site"], "tags": ["blu"]}))
        .await;
    assert!(edge.get("/ab").await.header("cache-status").contains("hit"));
    assert_eq!((origin.count_for("/a"), origin.count_for("/ab")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_for_a_fill_that_was_running() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let old = Reply::ok("old")
        .cache_control("max-age=600")
        .hold_body(1, &gate);
    origin.serve_in_turn("/a", [old, Reply::ok("new").cache_control("max-age=600")]);
    let edge = Edge::before(&origin).await;
    let mut running = edge.http().open("/a", &[]).await.unwrap();
    running.until(1).await.unwrap();
    edge.purge(json!({"sites": ["site"], "urls": ["/a"]})).await;
    assert_eq!(
        edge.get("/a").await.text(),
        "new",
        "a request after the purge does not join the older fill"
    );
    gate.open();
    assert_eq!(
        running.whole().await.unwrap().text(),
        "old",
        "whoever asked before it may have the old one"
    );
    assert_eq!(
        edge.get("/a").await.text(),
        "new",
        "the older fill, finished later, does not come back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_after_a_restart() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.purge(json!({"sites": ["site"], "tags": ["red"]}))
        .await;
    let edge = edge.restart().await;
    assert!(edge.get("/a").await.text().starts_with("version 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_makes_stale_and_validates() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.purge(json!({"sites": ["site"], "urls": ["/a"], "soft": true}))
        .await;
    let answer = edge.get("/a").await;
    assert!(
        answer.header("cache-status").contains("fwd=stale"),
        "{}",
        answer.header("cache-status")
    );
    assert_eq!(
        origin.requests_for("/a")[1].header("if-none-match"),
        Some("\"1\"")
    );
}
