//! What operators see of a stored object, and that looking leaves it as it is.

use http::Method;
use serde_json::{Value, json};

use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};
use crate::support::within_deadline;

async fn objects(edge: &Edge, question: &str) -> Value {
    let target = format!("/v1/objects?{question}");
    let answer = edge.admin(Method::GET, &target, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

async fn absent(edge: &Edge, question: &str) -> String {
    let target = format!("/v1/objects?{question}");
    let answer = edge.admin(Method::GET, &target, &Value::Null).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

/// Waits until the disk has what was stored.
async fn written(edge: &Edge) {
    edge.settled().await;
    let store = edge.node().pipeline().cache().store();
    assert!(store.settle(std::time::Duration::from_secs(20)).await);
}

fn text() -> Reply {
    Reply::ok("a text that is worth compressing ".repeat(40))
        .cache_control("max-age=60, stale-while-revalidate=30, stale-if-error=90")
        .header("content-type", "text/plain")
        .header("etag", "\"1\"")
        .header("surrogate-key", "red blue")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_object_shows_its_head_age_tags_and_codings() {
    let origin = Origin::start().await;
    origin.serve("/a", text());
    let edge = Edge::before(&origin).await;
    edge.get_with("/a?x=1", &[("accept-encoding", "br")]).await;
    written(&edge).await;
    edge.pass_seconds(20);
    let report = objects(&edge, "url=https://localhost/a%3Fx=1").await;
    assert_eq!(
        (&report["site"], &report["key"]),
        (&"site".into(), &"site p=/a q=x=1".into())
    );
    let object = &report["variants"][0];
    assert_eq!(report["variants"].as_array().unwrap().len(), 1);
    assert_eq!(object["status"], 200);
    assert_eq!(object["headers"]["etag"], json!(["\"1\""]));
    assert_eq!(
        (&object["age_seconds"], &object["ttl_seconds"]),
        (&20.into(), &40.into())
    );
    assert_eq!(object["lifetime_seconds"], 60);
    assert_eq!(object["stale_while_revalidate_seconds"], 30);
    assert_eq!(object["stale_if_error_seconds"], 90);
    assert_eq!(object["tiers"], json!(["mem", "disk"]));
    assert_eq!(object["body_bytes"], 33 * 40);
    // What has other forms keeps its body apart from its head.
    let chunks = json!({"total": 1, "present": 1, "mem": 1, "disk": 1});
    assert_eq!(object["chunks"], chunks);
    let tags = object["tags"].as_array().unwrap();
    let texts: Vec<_> = tags
        .iter()
        .map(|tag| tag["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["red", "blue"]);
    assert!(
        tags.iter()
            .all(|tag| tag["hash"].as_str().unwrap().len() == 32)
    );
    assert_eq!(object["version"].as_str().unwrap().len(), 32);
    assert_eq!(object["purged"], "no");
    let forms = object["forms"].as_array().unwrap();
    assert_eq!(forms.len(), 1, "{forms:?}");
    assert_eq!(forms[0]["form"], "coding=br");
    assert_eq!(forms[0]["tiers"], json!(["mem", "disk"]));

    let key = objects(&edge, "site=site&key=site%20p=/a%20q=x=1").await;
    assert_eq!(key, report);
    let path = objects(&edge, "site=site&url=/a%3Fx=1").await;
    assert_eq!(path, report);
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_by_vary_are_listed_with_what_chooses_them() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let language = request.header("accept-language").unwrap_or("").to_owned();
        Reply::ok(language)
            .cache_control("max-age=60")
            .header("vary", "accept-language")
    });
    let edge = Edge::before(&origin).await;
    for language in ["de", "en", "de"] {
        edge.get_with("/a", &[("accept-language", language)]).await;
        edge.settled().await;
        edge.get_with("/a", &[("accept-language", language)]).await;
        edge.settled().await;
    }
    let report = objects(&edge, "url=https://localhost/a").await;
    assert_eq!(report["vary"], json!(["accept-language"]));
    let variants = report["variants"].as_array().unwrap();
    let keys: Vec<_> = variants
        .iter()
        .map(|variant| variant["secondary_key"].as_str().unwrap().to_owned())
        .collect();
    for language in ["de", "en"] {
        assert!(keys.iter().any(|key| key.contains(language)), "{keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chunks_of_a_large_object_are_counted_by_tier() {
    let origin = Origin::start().await;
    let resource = Resource::new(Content::pattern(3, 4 << 20))
        .etag("\"v1\"")
        .cache_control("max-age=600");
    origin.serve_resource("/large", resource);
    let edge = Edge::before(&origin).await;
    edge.get_with("/large", &[("range", "bytes=600000-600009")])
        .await;
    let chunks = chunks_on_disk(&edge, 1).await;
    assert_eq!(
        (&chunks["total"], &chunks["present"]),
        (&8.into(), &1.into())
    );
    edge.get("/large").await;
    let chunks = chunks_on_disk(&edge, 8).await;
    assert_eq!(
        (&chunks["total"], &chunks["present"]),
        (&8.into(), &8.into())
    );
}

/// The chunks of `/large`, once the disk has so many: they are put away behind the answer.
async fn chunks_on_disk(edge: &Edge, count: u64) -> Value {
    within_deadline("chunks on disk", async {
        loop {
            let target = "/v1/objects?url=https://localhost/large";
            let answer = edge.admin(Method::GET, target, &Value::Null).await;
            let report: Value = serde_json::from_slice(&answer.body).unwrap();
            let chunks = &report["variants"][0]["chunks"];
            if chunks["disk"] == count {
                return chunks.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_purge_that_hits_is_named() {
    let origin = Origin::start().await;
    origin.serve("/dir/a", text());
    let edge = Edge::before(&origin).await;
    edge.get("/dir/a").await;
    for (what, expect) in [
        (
            json!({"sites": ["site"], "tags": ["blue"], "soft": true}),
            (
                "soft",
                json!({"target": "tag", "name": "blue", "mode": "soft", "sequence": 1}),
            ),
        ),
        (
            json!({"sites": ["site"], "prefixes": ["/dir/"]}),
            (
                "hard",
                json!({"target": "prefix", "name": "/dir/", "mode": "hard", "sequence": 2}),
            ),
        ),
        (
            json!({"sites": ["site"], "urls": ["/dir/a"]}),
            (
                "hard",
                json!({"target": "url", "mode": "hard", "sequence": 3}),
            ),
        ),
        (
            json!({"sites": ["site"], "everything": true}),
            (
                "hard",
                json!({"target": "site", "mode": "hard", "sequence": 4}),
            ),
        ),
        (
            json!({"everything": true}),
            (
                "hard",
                json!({"target": "everything", "mode": "hard", "sequence": 5}),
            ),
        ),
    ] {
        edge.purge(what).await;
        let report = objects(&edge, "site=site&url=/dir/a").await;
        let object = &report["variants"][0];
        assert_eq!(object["purged"], expect.0);
        let purges = object["purges"].as_array().unwrap();
        assert!(purges.contains(&expect.1), "{} not in {purges:?}", expect.1);
    }
    edge.get("/dir/a").await;
    edge.settled().await;
    let report = objects(&edge, "site=site&url=/dir/a").await;
    let object = &report["variants"][0];
    assert_eq!(
        (&object["purged"], &object["body_seq"]),
        (&"no".into(), &5.into())
    );
    assert!(object.get("purges").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_brings_nothing_into_memory_and_counts_as_no_hit() {
    let origin = Origin::start().await;
    origin.serve("/a", text());
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    written(&edge).await;
    let edge = edge.restart().await;
    let stats = || edge.node().pipeline().cache().store().stats();
    let before = stats();
    for _ in 0..3 {
        let report = objects(&edge, "url=https://localhost/a").await;
        assert_eq!(report["variants"][0]["tiers"], json!(["disk"]));
    }
    assert_eq!(stats().memory, before.memory);
    let disk = |stats: brim::store::Stats| stats.disks.first().map(|disk| (disk.hits, disk.misses));
    assert_eq!(disk(stats()), disk(before));
    let metrics = edge.admin(Method::GET, "/metrics", &Value::Null).await;
    assert!(!metrics.text().contains("brim_requests_total"));
    assert_eq!(origin.count(), 1);
    let answer = edge.get("/a").await;
    assert!(answer.header("cache-status").contains("detail=disk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_has_a_reason() {
    let origin = Origin::start().await;
    origin.serve("/private", Reply::ok("x").cache_control("private"));
    let edge = Edge::before(&origin).await;
    assert_eq!(
        absent(&edge, "url=https://localhost/a").await,
        "Nothing is stored under the key 'site p=/a'."
    );
    edge.get("/private").await;
    let error = absent(&edge, "url=https://localhost/private").await;
    assert!(error.contains("could not be stored: private"), "{error}");
    let target = "/v1/objects?site=site&key=other%20p=/a";
    let answer = edge.admin(Method::GET, target, &Value::Null).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("no key of the site 'site'"));
}
