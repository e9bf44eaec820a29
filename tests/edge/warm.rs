//! What is warmed is a hit for the clients that come later, and no request of theirs.

use std::io::Read;

use flate2::Compression;
use flate2::read::GzEncoder;
use http::Method;
use serde_json::{Value, json};

use crate::image::{IMAGES, jpeg};
use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

/// Warms, and gives the last line.
async fn warm(edge: &Edge, mut order: Value) -> Value {
    order["wait"] = true.into();
    let answer = edge.admin(Method::POST, "/v1/warm", &order).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

async fn metrics(edge: &Edge) -> String {
    edge.admin(Method::GET, "/metrics", &Value::Null)
        .await
        .text()
}

fn text() -> Reply {
    Reply::ok("a text that is worth compressing ".repeat(40))
        .cache_control("max-age=600")
        .header("content-type", "text/plain")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_warmed_is_a_hit_and_counted_apart() {
    let origin = Origin::start().await;
    for path in ["/a", "/b", "/c?x=1"] {
        origin.serve(path.split('?').next().unwrap(), text());
    }
    origin.serve("/private", Reply::ok("x").cache_control("private"));
    let edge = Edge::before(&origin).await;
    let urls = [
        "/a",
        "/b",
        "https://localhost/c?x=1",
        "/private",
        "/nothing",
    ];
    let order = json!({ "site": "site", "urls": urls });
    let record = warm(&edge, order.clone()).await;
    assert_eq!(record["state"], "done", "{record}");
    assert_eq!(record["filled"], 3, "{record}");
    assert_eq!(record["uncacheable_reasons"], json!({ "private": 1 }));
    assert_eq!(record["failed_reasons"], json!({ "status-404": 1 }));
    assert_eq!(record["failures"][0]["url"], "/nothing");

    let text = metrics(&edge).await;
    assert!(!text.contains("brim_requests_total"), "{text}");
    assert!(!text.contains("brim_cache_requests_total"));
    for line in [
        "brim_warm_requests_total{site=\"site\",outcome=\"filled\"} 3\n",
        "brim_warm_requests_total{site=\"site\",outcome=\"failed\"} 1\n",
        "brim_warm_jobs{state=\"running\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }

    for path in ["/a", "/b", "/c?x=1"] {
        let answer = edge.get(path).await;
        assert!(answer.header("cache-status").contains("; hit"), "{path}");
    }
    let text = metrics(&edge).await;
    let line = "brim_cache_requests_total{site=\"site\",cache=\"hit\",tier=\"mem\"} 3\n";
    assert!(text.contains(line), "{text}");
    let again = warm(&edge, order).await;
    assert_eq!(again["hits"], 3, "{again}");
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_are_made_beforehand() {
    let origin = Origin::start().await;
    origin.serve("/a", text());
    let edge = Edge::before(&origin).await;
    let order = json!({ "site": "site", "urls": ["/a"], "accept_encoding": ["br", "gzip"] });
    let record = warm(&edge, order).await;
    assert_eq!((&record["filled"], &record["hits"]), (&1.into(), &1.into()));
    edge.settled().await;
    let before = metrics(&edge).await;
    for coding in ["br", "gzip"] {
        let answer = edge.get_with("/a", &[("accept-encoding", coding)]).await;
        assert_eq!(answer.header("content-encoding"), coding);
        let told = answer.header("cache-status");
        assert!(told.contains("; hit") && told.contains("mem"), "{told}");
    }
    assert!(before.contains("brim_flights 0"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_drained_and_stored_in_chunks() {
    let origin = Origin::start().await;
    let content = Content::pattern(5, 24 << 20);
    origin.serve(
        "/large",
        Reply::ok(content.clone()).cache_control("max-age=600"),
    );
    let edge = Edge::before(&origin).await;
    let record = warm(&edge, json!({ "site": "site", "urls": ["/large"] })).await;
    assert_eq!(record["filled"], 1, "{record}");
    assert_eq!(record["filled_bytes"], 24 << 20);
    let answer = edge.get("/large").await;
    assert!(answer.header("cache-status").contains("; hit"));
    assert!(answer.body == content.to_bytes());
    assert_eq!(origin.count_for("/large"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitemap_in_gzip_is_read_through_the_site() {
    let origin = Origin::start().await;
    let index = "<?xml version=\"1.0\"?><sitemapindex><sitemap><loc>https://localhost/1.xml.gz</loc>\
                 </sitemap></sitemapindex>";
    let list = "<urlset><url><loc>https://localhost/a</loc></url><url><loc>https://localhost/b</loc>\
                </url><url><loc>https://elsewhere.example/c</loc></url></urlset>";
    let mut packed = Vec::new();
    GzEncoder::new(list.as_bytes(), Compression::fast())
        .read_to_end(&mut packed)
        .unwrap();
    origin.serve("/sitemap.xml", Reply::ok(index));
    origin.serve("/1.xml.gz", Reply::ok(packed));
    origin.serve("/a", text());
    origin.serve("/b", text());
    let edge = Edge::before(&origin).await;
    let record = warm(&edge, json!({ "site": "site", "sitemap": "/sitemap.xml" })).await;
    assert_eq!(record["filled"], 2, "{record}");
    assert_eq!(record["sitemaps"], 2, "{record}");
    assert_eq!(record["failed_reasons"], json!({ "other-site": 1 }));
    assert!(
        edge.get("/b")
            .await
            .header("cache-status")
            .contains("; hit")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_lets_go_of_its_pulls() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve("/slow", text().hold_head(&gate));
    let edge = Edge::before(&origin).await;
    let order = json!({ "site": "site", "urls": ["/slow", "/slow?2"] });
    let answer = edge.admin(Method::POST, "/v1/warm", &order).await;
    assert_eq!(answer.status, 202);
    let job: Value = serde_json::from_slice(&answer.body).unwrap();
    let place = answer.header("location");
    assert_eq!(place, format!("/v1/warm/{}", job["id"].as_str().unwrap()));
    gate.reached(2).await;
    edge.readers(2).await;
    let answer = edge.admin(Method::DELETE, &place, &Value::Null).await;
    let job: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(job["state"], "cancelled");
    edge.readers_at_most(0).await;
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_has_failed_and_the_others_go_on() {
    let origin = Origin::start().await;
    origin.serve(
        "/cut",
        Reply::ok(Content::pattern(1, 100_000))
            .cache_control("max-age=600")
            .close_after(1000),
    );
    origin.serve("/a", text());
    let edge = Edge::before(&origin).await;
    let order = json!({ "site": "site", "urls": ["/cut", "/a"], "concurrency": 1 });
    let record = warm(&edge, order).await;
    assert_eq!(
        (&record["filled"], &record["failed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(record["failures"][0]["url"], "/cut", "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_made_beforehand_and_shown_among_the_forms() {
    let origin = Origin::start().await;
    let resource = Resource::new(jpeg(160, 120))
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .cache_control("max-age=600");
    origin.serve_resource("/a.jpg", resource);
    let edge = Edge::with(&origin, IMAGES).await;
    let order = json!({
        "site": "site", "urls": ["/a.jpg", "/a.jpg?width=80"], "accept": ["image/webp,*/*"],
    });
    let record = warm(&edge, order).await;
    assert_eq!(record["done"], 2, "{record}");
    assert_eq!(record["failed"], 0, "{record}");
    edge.settled().await;
    for target in ["/a.jpg", "/a.jpg?width=80"] {
        let answer = edge.get_with(target, &[("accept", "image/webp,*/*")]).await;
        assert_eq!(answer.header("content-type"), "image/webp");
        assert!(answer.header("cache-status").contains("; hit"));
    }
    assert_eq!(origin.count(), 1);
    let target = "/v1/objects?site=site&url=/a.jpg";
    let answer = edge.admin(Method::GET, target, &Value::Null).await;
    let report: Value = serde_json::from_slice(&answer.body).unwrap();
    let forms = report["variants"][0]["forms"].as_array().unwrap();
    assert_eq!(forms.len(), 2, "{forms:?}");
    for form in forms {
        assert_eq!(form["content_type"], "image/webp");
        assert!(form["form"].as_str().unwrap().starts_with("picture;"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_need_the_node_or_the_origin_come_first() {
    let origin = Origin::start().await;
    let (clients, warmed) = (Gate::closed(), Gate::closed());
    origin.serve("/held", text().hold_body(1, &clients));
    origin.on("/slow", {
        let warmed = warmed.clone();
        move |_| text().hold_head(&warmed)
    });
    origin.serve("/a", text());
    let edge = Edge::with_node(
        &origin,
        "+++\nmax_connections = 3\n",
        "[limits]\nin_flight = 4\n",
    )
    .await;
    let pipeline = edge.node().pipeline();
    assert!(pipeline.has_room());
    let mut held = Vec::new();
    for query in ["/held?1", "/held?2"] {
        let mut client = edge.http().open(query, &[]).await.unwrap();
        client.until(1).await.unwrap();
        held.push(client);
    }
    assert!(!pipeline.has_room());
    clients.open();
    for client in held {
        client.whole().await.unwrap();
    }

    // Of three connections, one is for warming.
    let urls = ["/slow?1", "/slow?2", "/slow?3"];
    let order = json!({ "site": "site", "urls": urls });
    let answer = edge.admin(Method::POST, "/v1/warm", &order).await;
    let place = answer.header("location");
    warmed.reached(1).await;
    assert_eq!(edge.get("/a").await.status, 200);
    assert_eq!(warmed.arrivals(), 1);
    warmed.open();
    let answer = edge.admin(Method::DELETE, &place, &Value::Null).await;
    assert_eq!(answer.status, 200);
}
