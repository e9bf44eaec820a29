//! A site as a plain HTTP cache: what both ends say passes, and the RFCs alone decide.

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::support::client::{Answer, exchange_raw};
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

const SETTINGS: &str = "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"DELETE\", \"M-SEARCH\"]\n\
    max_request_body = \"1MiB\"\n---\nclient_headers = \"transparent\"\n+++\n[origin.retries]\ncount = 0\n\
    [cache]\nset_cookie = \"store\"\nauthorization = \"rfc\"\nrespect_request_directives = true\n\
    status_ttl = {}\ntags = [\"Cache-Groups\"]\n[compression]\nenabled = false\n\
    [headers.response]\nset = {}\nremove = []\n";

async fn send(edge: &Edge, method: &str, target: &str, body: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let fields = [("content-type", "text/plain")];
    edge.http()
        .send(method, target, &fields, Bytes::from(body.to_owned()))
        .await
        .unwrap()
}

fn is_hit(answer: &Answer) -> bool {
    answer.header("cache-status").contains("; hit")
}

#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_fields_pass_both_ways_and_those_of_the_connection_do_not() {
    let origin = Origin::start().await;
    origin.serve(
        "/a",
        Reply::ok("x")
            .cache_control("max-age=60")
            .header("x-odd", "kept")
            .header("server", "some")
            .header("set-cookie", "a=b")
            .header("connection", "x-hop")
            .header("x-hop", "gone"),
    );
    let edge = Edge::with(&origin, SETTINGS).await;
    let fields = [
        ("x-own", "mine"),
        ("cookie", "c=d"),
        ("via", "1.1 before"),
        ("connection", "x-mine"),
        ("x-mine", "gone"),
        ("te", "trailers"),
    ];
    for turn in 0..2 {
        let answer = edge.get_with("/a", &fields).await;
        assert_eq!(is_hit(&answer), turn == 1);
        assert_eq!(answer.header("x-odd"), "kept");
        assert_eq!(answer.header("server"), "some");
        assert_eq!(answer.header("set-cookie"), "a=b");
        assert!(!answer.headers.contains_key("x-hop"));
    }
    let asked = &origin.requests_for("/a")[0];
    assert_eq!(asked.header("x-own"), Some("mine"));
    assert_eq!(asked.header("cookie"), Some("c=d"));
    assert_eq!(asked.header("via"), Some("1.1 before, 1.1 edge"));
    assert_eq!(asked.header("x-mine"), None);
    assert_eq!(asked.header("te"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_no_part_of_the_key_unless_the_answer_varies_by_them() {
    let origin = Origin::start().await;
    origin.serve("/same", Reply::ok("x").cache_control("max-age=60"));
    origin.on("/varies", |request| {
        Reply::ok(request.header("x-kind").unwrap_or("none").to_owned())
            .cache_control("max-age=60")
            .header("vary", "X-Kind")
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    for kind in ["red", "blue"] {
        edge.get_with("/same", &[("x-kind", kind)]).await;
        for _ in 0..2 {
            let answer = edge.get_with("/varies", &[("x-kind", kind)]).await;
            assert_eq!(answer.text(), kind);
        }
    }
    assert_eq!(origin.count_for("/same"), 1);
    assert_eq!(
        origin.count_for("/varies"),
        2,
        "the first one knew its fields"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_method_passes_with_its_body_and_invalidates_its_url() {
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        let origin = Origin::start().await;
        origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
        let edge = Edge::with(&origin, SETTINGS).await;
        edge.get("/a").await;
        assert!(is_hit(&edge.get("/a").await));
        let answer = send(&edge, method, "/a", "a body").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header("cache-status").contains("fwd=method"));
        let passed = origin.requests_for("/a")[1].clone();
        assert_eq!(passed.method.as_str(), method);
        assert_eq!(passed.body, "a body");
        assert_eq!(passed.header("content-type"), Some("text/plain"));
        assert!(!is_hit(&edge.get("/a").await), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_method_that_fails_invalidates_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", |request| match request.method == Method::GET {
        true => Reply::ok("x").cache_control("max-age=60"),
        false => Reply::new(500, "no"),
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    edge.get("/a").await;
    assert_eq!(send(&edge, "POST", "/a", "b").await.status.as_u16(), 500);
    assert!(is_hit(&edge.get("/a").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn location_and_content_location_of_the_same_host_are_invalidated_and_of_others_not() {
    let origin = Origin::start().await;
    for path in ["/made", "/other", "/shown"] {
        origin.serve(path, Reply::ok("x").cache_control("max-age=60"));
    }
    origin.serve(
        "/do",
        Reply::new(201, "")
            .header("location", "/made")
            .header("content-location", "shown"),
    );
    origin.serve(
        "/abroad",
        Reply::new(201, "").header("location", "http://elsewhere.example/other"),
    );
    let edge = Edge::with(&origin, SETTINGS).await;
    for path in ["/made", "/other", "/shown"] {
        edge.get(path).await;
    }
    send(&edge, "POST", "/do", "b").await;
    send(&edge, "POST", "/abroad", "b").await;
    assert!(!is_hit(&edge.get("/made").await));
    assert!(!is_hit(&edge.get("/shown").await));
    assert!(is_hit(&edge.get("/other").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_group_invalidation_takes_the_members_of_a_group() {
    let origin = Origin::start().await;
    let grouped = |group: &str| {
        Reply::ok("x")
            .cache_control("max-age=60")
            .header("cache-groups", group)
    };
    origin.serve("/a", grouped("\"one\", \"two\""));
    origin.serve("/b", grouped("\"One\""));
    origin.on("/do", |request| {
        let safe = request.method == Method::GET;
        let group = if safe { "\"One\"" } else { "\"one\"" };
        Reply::ok("").header("cache-group-invalidation", group)
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    edge.get("/a").await;
    edge.get("/b").await;
    edge.get("/do").await;
    assert!(
        is_hit(&edge.get("/b").await),
        "a safe method invalidates nothing"
    );
    send(&edge, "POST", "/do", "b").await;
    assert!(!is_hit(&edge.get("/a").await));
    assert!(
        is_hit(&edge.get("/b").await),
        "groups are told apart by case"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_holds_for_a_fetch_that_is_running_and_after_a_restart() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let (held, old) = (gate.clone(), std::sync::atomic::AtomicBool::new(true));
    origin.on("/a", move |request| {
        if request.method != Method::GET {
            return Reply::ok("done");
        }
        let first = old.swap(false, std::sync::atomic::Ordering::SeqCst);
        let reply = Reply::ok(if first { "old" } else { "new" }).cache_control("max-age=60");
        if first { reply.hold_head(&held) } else { reply }
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    let client = edge.http();
    let running = tokio::spawn(async move { client.get("/a").await.unwrap() });
    gate.reached(1).await;
    send(&edge, "POST", "/a", "b").await;
    assert_eq!(edge.get("/a").await.text(), "new");
    gate.open();
    assert_eq!(running.await.unwrap().text(), "old");
    assert_eq!(edge.get("/a").await.text(), "new");
    let asked = origin.count_for("/a");
    send(&edge, "POST", "/a", "b").await;
    let edge = edge.restart().await;
    edge.get("/a").await;
    assert_eq!(
        origin.count_for("/a"),
        asked + 2,
        "the invalidation was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_shows_its_own_url_answers_later_gets() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let text = if request.method == Method::POST {
            "posted"
        } else {
            "got"
        };
        Reply::ok(text)
            .cache_control("max-age=60")
            .header("content-location", "/a")
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    assert_eq!(send(&edge, "POST", "/a", "b").await.text(), "posted");
    let answer = edge.get("/a").await;
    assert!(is_hit(&answer), "{}", answer.header("cache-status"));
    assert_eq!(answer.text(), "posted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_413_and_reaches_nobody() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x"));
    let edge = Edge::with(&origin, SETTINGS).await;
    let large = "x".repeat((1 << 20) + 1);
    let answer = send(&edge, "POST", "/a", &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(origin.count_for("/a"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_reaches_the_origin_and_freshens_or_ends_what_is_stored() {
    let origin = Origin::start().await;
    let resource =
        |text: &'static str, tag: &str| Resource::new(text).etag(tag).cache_control("max-age=10");
    origin.serve_resource("/a", resource("one", "\"1\""));
    let edge = Edge::with(&origin, SETTINGS).await;
    assert_eq!(
        edge.http()
            .head("/a")
            .await
            .unwrap()
            .header("content-length"),
        "3"
    );
    assert_eq!(origin.requests_for("/a")[0].method, Method::HEAD);
    edge.get("/a").await;
    edge.pass_seconds(20);
    edge.http().head("/a").await.unwrap();
    assert!(
        is_hit(&edge.get("/a").await),
        "the same tag and length: fresh again"
    );
    origin.serve_resource("/a", resource("two", "\"2\""));
    edge.pass_seconds(20);
    edge.http().head("/a").await.unwrap();
    let answer = edge.get("/a").await;
    assert_eq!(answer.text(), "two");
    assert!(!is_hit(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_an_http_1_1_client_and_are_never_stored() {
    let origin = Origin::start().await;
    let raw = "HTTP/1.1 103 Early Hints\r\nlink: </x.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n\
        HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok";
    origin.serve("/a", Reply::raw(raw));
    let edge = Edge::with(&origin, SETTINGS).await;
    let request = "GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let first = exchange_raw(edge.address("http"), request).await.unwrap();
    assert!(first.starts_with("HTTP/1.1 103 "), "{first}");
    assert!(first.contains("link: </x.css>; rel=preload"));
    assert!(!first.contains("x-hop"));
    let (_, last) = first.split_once("\r\n\r\n").unwrap();
    assert!(last.starts_with("HTTP/1.1 200 ") && last.ends_with("ok"));
    assert!(
        !last.contains("preload"),
        "not merged into the final answer"
    );
    let second = exchange_raw(edge.address("http"), request).await.unwrap();
    assert!(second.starts_with("HTTP/1.1 200 "), "{second}");
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_final_status_passes_and_is_kept_while_it_is_fresh() {
    for status in [203, 299, 301, 302, 404, 410, 499, 500, 503, 599, 799, 999] {
        let origin = Origin::start().await;
        origin.serve("/a", Reply::new(status, "x").cache_control("max-age=60"));
        let edge = Edge::with(&origin, SETTINGS).await;
        for turn in 0..2 {
            let answer = edge.get("/a").await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(is_hit(&answer), turn == 1, "{status}");
        }
        edge.pass_seconds(61);
        assert!(!is_hit(&edge.get("/a").await), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_transfer_coding_is_refused() {
    let origin = Origin::start().await;
    let raw = "HTTP/1.1 200 OK\r\ntransfer-encoding: odd\r\n\r\nok";
    origin.serve("/a", Reply::raw(raw));
    let edge = Edge::with(&origin, SETTINGS).await;
    assert_eq!(edge.get("/a").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_condition_goes_along_only_where_answers_are_its_own() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/kept",
        Resource::new("x").etag("\"1\"").cache_control("max-age=60"),
    );
    origin.serve_resource(
        "/own",
        Resource::new("x").etag("\"1\"").cache_control("no-store"),
    );
    let edge = Edge::with(&origin, SETTINGS).await;
    let fields = [("if-none-match", "\"1\"")];
    let kept = edge.get_with("/kept", &fields).await;
    assert_eq!(
        kept.status,
        StatusCode::NOT_MODIFIED,
        "answered by the node"
    );
    assert_eq!(
        origin.requests_for("/kept")[0].header("if-none-match"),
        None
    );
    edge.get("/own").await;
    let own = edge.get_with("/own", &fields).await;
    assert_eq!(
        own.status,
        StatusCode::NOT_MODIFIED,
        "answered by the origin"
    );
    assert_eq!(
        origin.requests_for("/own")[1].header("if-none-match"),
        Some("\"1\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_chose_the_stored_variant_go_along_when_it_is_validated() {
    let origin = Origin::start().await;
    let resource = Resource::new("x")
        .etag("\"1\"")
        .cache_control("max-age=10")
        .header("vary", "x-kind");
    origin.serve_resource("/a", resource);
    let edge = Edge::with(&origin, SETTINGS).await;
    let fields = [("x-kind", "red")];
    edge.get_with("/a", &fields).await;
    edge.pass_seconds(20);
    edge.get_with("/a", &fields).await;
    let asked = &origin.requests_for("/a")[1];
    assert_eq!(asked.header("if-none-match"), Some("\"1\""));
    assert_eq!(asked.header("x-kind"), Some("red"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_takes_too_long_is_given_up() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("x").cache_control("max-age=60").hold_head(&gate),
    );
    let edge = Edge::with(&origin, "[cache]\nobject_deadline = \"50ms\"\n").await;
    let answer = edge.get("/a").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(
        answer
            .header("proxy-status")
            .contains("http_response_timeout")
    );
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_its_unsafe_request_behind_still_has_its_url_invalidated() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.on("/a", move |request| match request.method == Method::GET {
        true => Reply::ok("x").cache_control("max-age=60"),
        false => Reply::ok("done").hold_head(&held),
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    edge.get("/a").await;
    let client = edge.http();
    let leaving = tokio::spawn(async move {
        let fields = [("content-type", "text/plain")];
        client
            .send(Method::POST, "/a", &fields, Bytes::from_static(b"b"))
            .await
    });
    gate.reached(1).await;
    leaving.abort();
    gate.open();
    crate::support::within_deadline("an invalidation", async {
        while is_hit(&edge.get("/a").await) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_fails_on_for_one_client_is_no_error_for_the_next() {
    let origin = Origin::start().await;
    origin.on("/a", |request| match request.header("x-odd") {
        Some(_) => Reply::raw("what is this?\r\n\r\n"),
        None => Reply::ok("fine").cache_control("max-age=60"),
    });
    let edge = Edge::with(&origin, SETTINGS).await;
    let odd = edge.get_with("/a", &[("x-odd", "1")]).await;
    assert_eq!(odd.status, StatusCode::BAD_GATEWAY);
    assert_eq!(edge.get("/a").await.text(), "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_collapsing_a_clients_condition_does_not_keep_the_object_out() {
    let origin = Origin::start().await;
    let resource = Resource::new("x").etag("\"1\"").cache_control("max-age=60");
    origin.serve_resource("/a", resource);
    let settings = SETTINGS.replace("[cache]\n", "[cache]\ncollapse = false\n");
    let edge = Edge::with(&origin, &settings).await;
    let answer = edge.get_with("/a", &[("if-none-match", "\"1\"")]).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert_eq!(origin.requests_for("/a")[0].header("if-none-match"), None);
    // The body comes in behind the answer that needed none.
    crate::support::within_deadline("the stored object", async {
        while !is_hit(&edge.get("/a").await) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
