//! No-Vary-Search: one stored response answers for all queries that it declares the same.

use serde_json::json;

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

const ON: &str = "[cache]\nno_vary_search = true\n";

fn reply(body: &'static str, rule: &str) -> Reply {
    Reply::ok(body)
        .cache_control("max-age=60")
        .header("no-vary-search", rule)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_answer_serves_the_queries_that_it_declares_the_same() {
    let origin = Origin::start().await;
    origin.serve("/a", reply("x", "params=(\"utm\"), key-order"));
    let edge = Edge::with(&origin, ON).await;
    edge.get("/a?v=1&w=2&utm=mail").await;
    for same in ["/a?utm=ad&w=2&v=1", "/a?v=1&w=2", "/a?w=%32&%75tm&v=1"] {
        let answer = edge.get(same).await;
        assert!(answer.header("cache-status").contains("hit"), "{same}");
    }
    assert_eq!(origin.count_for("/a"), 1);
    for other in ["/a?v=2&w=2", "/a?v=1", "/a", "/a?V=1&w=2"] {
        let answer = edge.get(other).await;
        let status = answer.header("cache-status");
        assert!(status.contains("fwd=uri-miss"), "{other}: {status}");
    }
    assert_eq!(origin.count_for("/a"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_fresh_answer_under_its_own_rule_serves_another_query() {
    let origin = Origin::start().await;
    origin.serve("/a", reply("x", "params=(\"utm\")"));
    origin.on("/b", |request| match request.query() {
        Some("n=1") => reply("strict", "params=(\"other\")"),
        _ => reply("loose", "params=(\"n\")"),
    });
    let edge = Edge::with(&origin, ON).await;
    edge.get("/a?utm=1").await;
    edge.pass_seconds(61);
    edge.get("/a?utm=2").await;
    assert_eq!(origin.count_for("/a"), 2, "a stale one does not count");
    edge.purge(json!({ "prefixes": ["https://localhost/a"] }))
        .await;
    edge.get("/a?utm=3").await;
    assert_eq!(origin.count_for("/a"), 3, "a purged one does not count");

    assert_eq!(edge.get("/b?n=1").await.text(), "strict");
    assert_eq!(edge.get("/b?n=2").await.text(), "loose");
    // Its own rule does not let the strict one answer for others, nor do others stand in for it.
    assert_eq!(edge.get("/b?n=1").await.text(), "strict");
    assert_eq!(edge.get("/b?n=3").await.text(), "loose");
    assert_eq!(origin.count_for("/b"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_field_means_nothing_where_the_site_does_not_obey_it() {
    let origin = Origin::start().await;
    origin.serve("/a", reply("x", "params"));
    origin.serve("/b", reply("x", "except=()"));
    let edge = Edge::before(&origin).await;
    edge.get("/b?x=1").await;
    edge.get("/b?x=2").await;
    assert_eq!(origin.count_for("/b"), 2);
    let obeying = Edge::with(&origin, ON).await;
    obeying.get("/a?x=1").await;
    obeying.get("/a?x=2").await;
    assert_eq!(
        origin.count_for("/a"),
        2,
        "malformed: every difference counts"
    );
}
