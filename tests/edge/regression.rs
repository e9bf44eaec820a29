//! Mistakes that were made once.

use brim::store::{Body, Entry, EntryKey};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

const TRANSPARENT: &str = "methods = [\"GET\", \"HEAD\", \"POST\"]\nmax_request_body = \"1MiB\"\n---\n\
    client_headers = \"transparent\"\n+++\n";

fn is_hit(status: &str) -> bool {
    status.contains("; hit")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_comes_with_a_304_is_not_stored_where_cookies_are_stripped() {
    let origin = Origin::start().await;
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("x")
                .cache_control("max-age=10")
                .header("etag", "\"1\""),
            Reply::status(304)
                .cache_control("max-age=10")
                .header("set-cookie", "sid=somebody"),
        ],
    );
    let edge = Edge::with(&origin, "[cache]\nset_cookie = \"strip\"\n").await;
    edge.get("/a").await;
    edge.pass_seconds(20);
    edge.get("/a").await;
    let hit = edge.get("/a").await;
    assert!(is_hit(&hit.header("cache-status")));
    assert!(!hit.headers.contains_key("set-cookie"));
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_stripped_by_the_rule_that_lets_it_be_stored() {
    let origin = Origin::start().await;
    let content = Content::pattern(3, 3 << 20);
    origin.serve_resource(
        "/a.mp4",
        Resource::new(content.clone())
            .etag("\"1\"")
            .cache_control("max-age=60")
            .header("content-type", "video/mp4")
            .header("set-cookie", "sid=somebody"),
    );
    let rule =
        "[[rule]]\nwhen = { content_type = [\"video/*\"] }\ncache = { set_cookie = \"strip\" }\n";
    let edge = Edge::with(&origin, rule).await;
    let fields = [("range", "bytes=1000000-1000009")];
    edge.get_with("/a.mp4", &fields).await;
    let hit = edge.get_with("/a.mp4", &fields).await;
    assert_eq!(hit.body, content.slice(1_000_000..1_000_010));
    assert!(
        is_hit(&hit.header("cache-status")),
        "{}",
        hit.header("cache-status")
    );
    assert!(!hit.headers.contains_key("set-cookie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_one_clients_condition_is_not_stored_for_others() {
    for status in [412, 416] {
        let origin = Origin::start().await;
        origin.on("/a", move |request| {
            let conditional =
                request.header("if-match").is_some() || request.header("range").is_some();
            match conditional {
                true => Reply::new(status, "yours").cache_control("max-age=60"),
                false => Reply::ok("x").cache_control("no-store"),
            }
        });
        let edge = Edge::with(&origin, TRANSPARENT).await;
        edge.get("/a").await;
        let fields = [("if-match", "\"x\""), ("range", "bytes=9999-")];
        let own = edge.get_with("/a", &fields).await;
        assert_eq!(own.status.as_u16(), status);
        assert_eq!(edge.get("/a").await.text(), "x", "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_range_of_what_is_not_stored_comes_whole() {
    let content = Content::pattern(5, 12 << 20);
    let far = 9_000_000..9_000_100_u64;
    let fields = [("range", "bytes=9000000-9000099")];
    for (directives, ranges) in [("no-store", true), ("max-age=60", false)] {
        let origin = Origin::start().await;
        let resource = Resource::new(content.clone())
            .etag("\"1\"")
            .header("accept-ranges", "bytes")
            .cache_control(directives);
        let resource = if ranges {
            resource
        } else {
            resource.without_ranges()
        };
        origin.serve_resource("/a", resource);
        let edge = Edge::before(&origin).await;
        for _ in 0..3 {
            let part = edge.get_with("/a", &fields).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{directives}");
            assert_eq!(part.body, content.slice(far.clone()), "{directives}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_query_is_not_answered_by_its_twin() {
    let origin = Origin::start().await;
    origin.on("/p", |request| {
        let text = if request.method == Method::POST {
            "done"
        } else {
            "x"
        };
        Reply::ok(text)
            .cache_control("max-age=60")
            .header("no-vary-search", "params=(\"u\")")
    });
    let settings = TRANSPARENT.to_owned() + "[cache]\nno_vary_search = true\n";
    let edge = Edge::with(&origin, &settings).await;
    edge.get("/p?u=1").await;
    assert!(is_hit(&edge.get("/p?u=2").await.header("cache-status")));
    edge.purge(json!({"urls": ["http://localhost/p?u=2"], "sites": ["site"]}))
        .await;
    let purged = edge.http().get("/p?u=2").await.unwrap();
    assert!(
        !is_hit(&purged.header("cache-status")),
        "{}",
        purged.header("cache-status")
    );
    assert!(is_hit(&edge.get("/p?u=3").await.header("cache-status")));
    edge.http()
        .send(Method::POST, "/p?u=3", &[], Bytes::from_static(b"b"))
        .await
        .unwrap();
    assert!(!is_hit(&edge.get("/p?u=3").await.header("cache-status")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_may_not_have_stored_ends_no_other_clients_reading() {
    let origin = Origin::start().await;
    let content = Content::pattern(7, 32 << 20);
    let resource = Resource::new(content.clone())
        .etag("\"1\"")
        .cache_control("max-age=10");
    origin.on("/a", move |request| {
        // It does not know of If-None-Match.
        let mut request = request.clone();
        request.headers.remove("if-none-match");
        resource.reply(&request)
    });
    let edge = Edge::with(&origin, "[cache]\nauthorization = \"rfc\"\n").await;
    edge.get_with("/a", &[("range", "bytes=0-9")]).await;
    let mut reading = edge.http().open("/a", &[]).await.unwrap();
    reading.until(1).await.unwrap();
    edge.pass_seconds(20);
    let own = [("range", "bytes=0-9"), ("authorization", "Bearer x")];
    assert_eq!(edge.get_with("/a", &own).await.body, content.slice(0..10));
    assert_eq!(reading.whole().await.unwrap().body, content.to_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_varies_by_what_the_node_says_itself_is_a_hit_for_its_scheme() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        Reply::ok(
            request
                .header("x-forwarded-proto")
                .unwrap_or("none")
                .to_owned(),
        )
        .cache_control("max-age=60")
        .header("vary", "X-Forwarded-Proto")
    });
    let edge = Edge::before(&origin).await;
    for _ in 0..2 {
        assert_eq!(edge.http().get("/a").await.unwrap().text(), "http");
        assert_eq!(edge.h1().get("/a").await.unwrap().text(), "https");
    }
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vary_that_comes_with_a_304_is_obeyed() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let kind = request.header("x-kind").unwrap_or("none").to_owned();
        match request.header("if-none-match") {
            Some(_) if kind == "red" => Reply::status(304)
                .cache_control("max-age=60")
                .header("vary", "x-kind"),
            _ => Reply::ok(kind)
                .cache_control("max-age=10")
                .header("etag", "\"1\""),
        }
    });
    let edge = Edge::with(&origin, TRANSPARENT).await;
    edge.get_with("/a", &[("x-kind", "red")]).await;
    edge.pass_seconds(20);
    edge.get_with("/a", &[("x-kind", "red")]).await;
    let red = edge.get_with("/a", &[("x-kind", "red")]).await;
    assert_eq!(red.text(), "red");
    assert!(is_hit(&red.header("cache-status")));
    assert_eq!(
        edge.get_with("/a", &[("x-kind", "blue")]).await.text(),
        "blue"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_form_is_as_young_as_its_validated_source() {
    let origin = Origin::start().await;
    let text = "a line of text that is worth compressing\n".repeat(200);
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok(text)
                .cache_control("max-age=10")
                .header("content-type", "text/plain")
                .header("x-old", "1")
                .header("etag", "\"1\""),
            Reply::status(304)
                .cache_control("max-age=30")
                .header("x-old", "2"),
        ],
    );
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    let fields = [("accept-encoding", "br")];
    edge.get_with("/a", &fields).await;
    let made = edge.get_with("/a", &fields).await;
    edge.pass_seconds(20);
    edge.get("/a").await;
    edge.pass_seconds(5);
    for _ in 0..2 {
        let again = edge.get_with("/a", &fields).await;
        assert_eq!(again.header("etag"), made.header("etag"), "the same bytes");
        assert_eq!(again.body, made.body);
        assert_eq!(again.header("content-encoding"), "br");
        assert_eq!(again.header("age"), "5");
        assert_eq!(again.header("x-old"), "2");
        assert!(
            again.header("cache-status").contains("hit; ttl=25"),
            "{}",
            again.header("cache-status")
        );
    }
    assert_eq!(origin.count_for("/a"), 2);
}

/// Found by the soak: the head of a compressible object outlived a bit flip and its bytes did not.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_object_whose_bytes_are_gone_is_not_validated_but_fetched() {
    let origin = Origin::start().await;
    let text = "of a text that is worth compressing ".repeat(20);
    origin.serve_resource(
        "/a.css",
        Resource::new(Content::from(Bytes::from(text.clone())))
            .etag("\"1\"")
            .header("content-type", "text/css")
            .header("cache-control", "max-age=10"),
    );
    let edge = Edge::before(&origin).await;
    let store = edge.node().pipeline().cache().store();
    for coding in ["identity", "gzip"] {
        edge.get("/a.css").await;
        edge.settled().await;
        let head = EntryKey::head(store.hash(&[b"site p=/a.css"]));
        let Some(Entry::Object(object)) = store.site("site").memory(&head) else {
            panic!("the head is kept under the hash of its key");
        };
        assert!(matches!(object.body, Body::Chunked { .. }), "kept apart");
        store
            .site("site")
            .remove(&EntryKey::chunk(object.version, 0));
        edge.pass_seconds(20);
        let answer = edge
            .get_with("/a.css", &[("accept-encoding", coding)])
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header("cache-status").contains("body-gone"));
        if coding == "identity" {
            assert_eq!(answer.text(), text);
        }
    }
    let requests = origin.requests_for("/a.css");
    assert!(
        requests
            .iter()
            .all(|request| request.header("if-none-match").is_none())
    );
}
