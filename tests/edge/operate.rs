//! What an operator does: reload, explain, look at metrics.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_effect_and_keeps_connections_and_objects() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let mut connection = edge.h1().connect().await.unwrap();
    connection.get("/a", &[]).await.unwrap();
    edge.reload(
        &origin,
        "[headers.response]\nset = { \"X-New\" = \"yes\" }\n",
    )
    .await;
    let answer = connection.get("/a", &[]).await.unwrap();
    assert_eq!(answer.header("x-new"), "yes");
    assert!(answer.header("cache-status").contains("hit"));
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_site_key_decision_and_reason_and_changes_nothing() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    origin.serve("/never", Reply::ok("x").cache_control("no-store"));
    let edge = Edge::before(&origin).await;
    let explain = async |path: &str| -> Value {
        let target = format!("/v1/explain?url=https://localhost{path}");
        let answer = edge.admin(Method::GET, &target, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    };
    let before = explain("/a").await;
    assert_eq!(
        (&before["site"], &before["decision"]),
        (&json!("site"), &json!("forward"))
    );
    assert_eq!(origin.count(), 0);
    edge.get("/a").await;
    let after = explain("/a").await;
    assert_eq!(
        (&after["decision"], &after["ttl_seconds"]),
        (&json!("hit"), &json!(60))
    );
    assert!(after["key"].as_str().unwrap().contains("/a"));
    edge.get("/never").await;
    assert!(
        explain("/never").await["reason"]
            .as_str()
            .unwrap()
            .contains("no-store")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("12345").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.get("/a").await;
    let lines = [
        "brim_requests_total{site=\"site\",cache=\"hit\",status=\"2xx\"} 1",
        "brim_requests_total{site=\"site\",cache=\"miss\",status=\"2xx\"} 1",
        "brim_response_body_bytes_total{site=\"site\",cache=\"hit\"} 5",
        "brim_fills_total{site=\"site\",outcome=\"stored\"} 1",
    ];
    // An answer is counted when its last byte has gone, which a client may learn before the counter.
    crate::support::within_deadline("the counters", async {
        loop {
            let text = edge
                .admin(Method::GET, "/metrics", &Value::Null)
                .await
                .text();
            if lines.iter().all(|line| text.contains(line)) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_door_wants_a_token_for_all_but_health() {
    let origin = Origin::start().await;
    let edge = Edge::before(&origin).await;
    let client = crate::support::client::Client::plain(edge.node().admin_address().unwrap());
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/v1/status", 401),
        ("/v1/sites", 401),
    ] {
        assert_eq!(
            client.get(path).await.unwrap().status.as_u16(),
            status,
            "{path}"
        );
    }
    let status = edge.admin(Method::GET, "/v1/status", &Value::Null).await;
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(
        (&status["id"], &status["sites"]),
        (&json!("edge"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn response_fields_are_set_and_removed_as_the_site_says() {
    let origin = Origin::start().await;
    let reply = Reply::ok("x")
        .cache_control("max-age=60")
        .header("server", "secret/1")
        .header("cdn-cache-control", "max-age=60");
    origin.serve("/a", reply.header("surrogate-key", "t"));
    let edge = Edge::with(&origin, "[cors]\norigins = [\"https://shop.example\"]\n").await;
    let answer = edge
        .get_with("/a", &[("origin", "https://shop.example")])
        .await;
    for gone in ["server", "cdn-cache-control", "surrogate-key"] {
        assert_eq!(answer.header(gone), "", "{gone}");
    }
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://shop.example"
    );
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(answer.header("via"), "1.1 edge");
    let other = edge
        .get_with("/a", &[("origin", "https://evil.example")])
        .await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}
