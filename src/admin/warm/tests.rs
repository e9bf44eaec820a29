//! Orders to warm over a real socket, on a node that remembers what was pulled.

use std::io::Read;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::config::Bind;
use super::super::tests::{Answer, Edge};

async fn order(edge: &Edge, body: &Value) -> String {
    let answer = edge.post("/v1/warm", "shop", body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert!(answer.head.contains(&format!("location: /v1/warm/{id}")));
    id
}

async fn ended(edge: &Edge, id: &str) -> Value {
    let job = edge.door.warming().find(id).unwrap();
    job.ended.cancelled().await;
    edge.get(&format!("/v1/warm/{id}"), "shop").await.json()
}

/// Lets tasks run until `reached`.
async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

fn pulled(edge: &Edge) -> Vec<String> {
    let pulls = edge.node.pulls.lock();
    pulls.iter().map(|pull| pull.url.path.clone()).collect()
}

#[tokio::test]
async fn every_url_has_its_outcome_and_one_failure_stops_nothing() {
    let edge = Edge::open().await;
    let urls = [
        "/hit/1",
        "/new/1",
        "https://www.shop.example/new/2?x=1",
        "https://shop.example/new/2?x=1",
        "/private/1",
        "/gone/1",
        "nonsense",
        "https://blog.example/a",
        "/new/3",
    ];
    let id = order(&edge, &json!({ "site": "shop", "urls": urls })).await;
    let mut record = ended(&edge, &id).await;
    assert!(record["elapsed_seconds"].as_f64().unwrap() >= 0.0);
    record["elapsed_seconds"] = 0.into();
    assert_eq!(
        record,
        json!({
            "id": id, "site": "shop", "state": "done", "total": 9, "done": 9,
            "hits": 1, "revalidated": 0, "filled": 3, "uncacheable": 1, "failed": 4,
            "body_bytes": 24, "filled_bytes": 12, "sitemaps": 0, "elapsed_seconds": 0,
            "uncacheable_reasons": { "private": 1 },
            "failed_reasons": { "bad-url": 1, "other-site": 2, "status-404": 1 },
            "failures": record["failures"],
            "token": "shop"
        })
    );
    let failures = record["failures"].as_array().unwrap();
    let of = |url: &str| {
        failures
            .iter()
            .find(|failure| failure["url"] == url)
            .unwrap()
    };
    assert_eq!(of("/gone/1")["status"], 404);
    assert_eq!(of("/gone/1")["reason"], "status-404");
    let detail = of("https://blog.example/a")["detail"].as_str().unwrap();
    assert!(detail.contains("'shop'"), "{detail}");
    let pulls = edge.node.pulls.lock();
    assert_eq!(pulls.len(), 6);
    assert!(pulls.iter().all(|pull| pull.site == "shop"));
    assert!(pulls.iter().all(|pull| pull.host == "shop.example"));
}

#[tokio::test]
async fn variants_of_a_url_are_asked_for_one_after_the_other() {
    let edge = Edge::open().await;
    let id = order(
        &edge,
        &json!({
            "site": "shop", "urls": ["/a"], "accept_encoding": ["br", "gzip"],
            "headers": { "x-a": "b" }, "host": "shop.example:8443"
        }),
    )
    .await;
    let record = ended(&edge, &id).await;
    assert_eq!(
        (&record["total"], &record["filled"]),
        (&2.into(), &2.into())
    );
    let pulls = edge.node.pulls.lock();
    let codings: Vec<_> = pulls
        .iter()
        .map(|pull| pull.headers["accept-encoding"].to_str().unwrap())
        .collect();
    assert_eq!(codings, ["br", "gzip"]);
    assert_eq!(pulls[0].headers["x-a"], "b");
    assert_eq!(pulls[0].host, "shop.example:8443");
    assert_eq!(edge.node.most_under_way.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn pulls_at_one_time_are_bounded_and_fewer_while_clients_need_the_node() {
    let edge = Edge::open().await;
    let urls: Vec<_> = (0..40).map(|number| format!("/slow/{number}")).collect();
    let body = json!({ "site": "shop", "urls": urls, "concurrency": 5 });
    let id = order(&edge, &body).await;
    let node = &edge.node;
    until(|| node.under_way.load(Ordering::Relaxed) == 5).await;
    node.gate.0.add_permits(40);
    let record = ended(&edge, &id).await;
    assert_eq!(record["filled"], 40);
    assert_eq!(node.most_under_way.load(Ordering::Relaxed), 5);

    node.most_under_way.store(0, Ordering::Relaxed);
    node.is_busy.store(true, Ordering::Relaxed);
    let body = json!({ "site": "shop", "urls": ["/a", "/b", "/c"] });
    let id = order(&edge, &body).await;
    assert_eq!(ended(&edge, &id).await["filled"], 3);
    assert_eq!(node.most_under_way.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_shed_is_tried_again_and_then_given_up() {
    let edge = Edge::open().await;
    edge.node.sheds.store(3, Ordering::Relaxed);
    let body = json!({ "site": "shop", "urls": ["/shed/1"] });
    let id = order(&edge, &body).await;
    assert_eq!(ended(&edge, &id).await["filled"], 1);
    assert_eq!(pulled(&edge).len(), 4);

    edge.node.sheds.store(1000, Ordering::Relaxed);
    let id = order(&edge, &body).await;
    let record = ended(&edge, &id).await;
    assert_eq!(record["failed_reasons"], json!({ "busy": 1 }));
}

fn page(edge: &Edge, path: &str, text: &str) {
    let page = text.as_bytes().to_vec();
    edge.node.pages.lock().insert(path.to_owned(), page);
}

#[tokio::test]
async fn a_sitemap_and_what_it_lists_is_read_through_the_site() {
    let edge = Edge::open().await;
    page(
        &edge,
        "/index.xml",
        "<sitemapindex><sitemap><loc>https://shop.example/1.xml.gz</loc></sitemap>\
         <sitemap><loc>https://shop.example/gone/2.xml</loc></sitemap>\
         <sitemap><loc>https://shop.example/3.xml</loc></sitemap>\
         <sitemap><loc>https://blog.example/4.xml</loc></sitemap>\
         <sitemap><loc>https://shop.example/1.xml.gz</loc></sitemap></sitemapindex>",
    );
    let mut packed = Vec::new();
    let first = "<urlset><url><loc>https://shop.example/a?b&amp;c</loc></url>\
                 <url><loc>https://blog.example/b</loc></url></urlset>";
    GzEncoder::new(first.as_bytes(), Compression::fast())
        .read_to_end(&mut packed)
        .unwrap();
    edge.node.pages.lock().insert("/1.xml.gz".into(), packed);
    page(&edge, "/3.xml", "<html>");
    let body = json!({ "site": "shop", "urls": ["/first"], "sitemap": "/index.xml" });
    let id = order(&edge, &body).await;
    let record = ended(&edge, &id).await;
    assert_eq!(record["sitemaps"], 2, "{record}");
    assert_eq!(record["filled"], 2, "{record}");
    assert_eq!(record["total"], 6, "{record}");
    assert_eq!(record["done"], 6, "{record}");
    assert_eq!(
        record["failed_reasons"],
        json!({ "other-site": 2, "sitemap": 1, "status-404": 1 })
    );
    let paths = pulled(&edge);
    assert_eq!(
        paths.iter().filter(|path| *path == "/1.xml.gz").count(),
        1,
        "{paths:?}"
    );
    let pulls = edge.node.pulls.lock();
    assert!(
        pulls
            .iter()
            .any(|pull| pull.url.path == "/a" && pull.url.query.as_deref() == Some("b&c"))
    );
}

#[tokio::test]
async fn indexes_that_list_each_other_come_to_an_end() {
    let edge = Edge::open().await;
    for number in 0..10 {
        let index = format!(
            "<sitemapindex><sitemap><loc>https://shop.example/{}.xml</loc></sitemap></sitemapindex>",
            number + 1
        );
        page(&edge, &format!("/{number}.xml"), &index);
    }
    let body = json!({ "site": "shop", "sitemap": ["/0.xml"] });
    let id = order(&edge, &body).await;
    let record = ended(&edge, &id).await;
    assert_eq!(record["sitemaps"], 3, "{record}");
    assert_eq!(record["failed_reasons"], json!({ "too-many-sitemaps": 1 }));
}

#[tokio::test]
async fn a_job_ends_when_it_is_deleted_and_the_next_of_its_site_runs() {
    let edge = Edge::open().await;
    let body = json!({ "site": "shop", "urls": ["/slow/1", "/slow/2"] });
    let running = order(&edge, &body).await;
    let waiting = order(&edge, &json!({ "site": "shop", "urls": ["/a"] })).await;
    let node = &edge.node;
    until(|| node.under_way.load(Ordering::Relaxed) == 2).await;
    assert_eq!(edge.door.warming().unfinished(), (1, 1));
    let target = format!("/v1/warm/{running}");
    edge.ask("DELETE", &target, "reader", "")
        .await
        .refused(403, "'warm'");
    let answer = edge.ask("DELETE", &target, "shop", "").await;
    assert_eq!(answer.json()["state"], "cancelled");
    assert_eq!(node.under_way.load(Ordering::Relaxed), 0);
    assert_eq!(ended(&edge, &waiting).await["state"], "done");
    let jobs = edge.get("/v1/warm", "shop").await.json();
    let states: Vec<_> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["state"].clone())
        .collect();
    assert_eq!(states, ["cancelled", "done"]);
}

/// A connection on which an order waits for its end.
async fn waiting(edge: &Edge, body: &Value) -> BufReader<TcpStream> {
    let Bind::Tcp(address) = edge.door.place() else {
        panic!("the door is on TCP");
    };
    let body = body.to_string();
    let request = format!(
        "POST /v1/warm HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer shop-secret\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

#[tokio::test]
async fn who_waits_reads_lines_of_which_the_last_says_all() {
    let edge = Edge::open().await;
    let body = json!({ "site": "shop", "urls": ["/a", "/gone/1"], "wait": true });
    let answer: Answer = edge.post("/v1/warm", "shop", &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/x-ndjson"));
    let lines: Vec<Value> = answer
        .body
        .lines()
        // The others are of the chunked coding.
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["state"], &last["failures"][0]["url"]),
        (&"done".into(), &"/gone/1".into())
    );
}

#[tokio::test]
async fn a_job_ends_with_the_client_that_waits_for_it() {
    let edge = Edge::open().await;
    let body = json!({ "site": "shop", "urls": ["/slow/1"], "wait": true });
    let mut stream = waiting(&edge, &body).await;
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    let node = &edge.node;
    until(|| node.under_way.load(Ordering::Relaxed) == 1).await;
    let job = edge.door.warming().all().pop().unwrap();
    drop(stream);
    job.ended.cancelled().await;
    assert_eq!(job.record().state, super::WarmState::Cancelled);
    assert_eq!(node.under_way.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn jobs_that_wait_are_bounded() {
    let edge = Edge::open().await;
    let body = json!({ "site": "shop", "urls": ["/slow/1"] });
    for _ in 0..32 {
        order(&edge, &body).await;
    }
    let answer = edge.post("/v1/warm", "shop", &body).await;
    answer.refused(503, "Too much is waiting");
    edge.door.warming().stop();
    for job in edge.door.warming().all() {
        job.ended.cancelled().await;
    }
    assert_eq!(edge.door.warming().unfinished(), (0, 0));
}

#[tokio::test]
async fn a_wrong_order_is_told_what_is_wrong() {
    let edge = Edge::open().await;
    for (body, status, says) in [
        ("[", 400, "no order to warm"),
        (r#"{"url": ["/a"]}"#, 400, "`url`"),
        (r#"{"site": "shop"}"#, 400, "Nothing to warm"),
        (r#"{"site": "blog", "urls": ["/a"]}"#, 403, "'blog'"),
        (r#"{"site": "shop", "sitemap": 3}"#, 400, "sitemap: the URL"),
    ] {
        let answer = edge.ask("POST", "/v1/warm", "shop", body).await;
        answer.refused(status, says);
    }
    edge.ask("POST", "/v1/warm", "reader", "{}")
        .await
        .refused(403, "'warm'");
    edge.get("/v1/warm/0", "shop")
        .await
        .refused(404, "No warming");
    edge.ask("POST", "/v1/drain", "ops", "").await;
    let body = json!({ "site": "shop", "urls": ["/a"] });
    let answer = edge.post("/v1/warm", "shop", &body).await;
    answer.refused(503, "draining");
    assert!(edge.node.pulls.lock().is_empty());
}
