//! Requests that are not as they should be never reach the origin.

use crate::support::client::exchange_raw;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_refused_with_the_right_status() {
    let origin = Origin::start().await;
    origin.on_any(|_| Reply::ok("reached").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let long = "x".repeat(9000);
    let many: String = (0..150)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: local host\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n".to_owned(), 421),
        (
            "GET http://elsewhere/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            421,
        ),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(),
            405,
        ),
        ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501),
        (
            "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            405,
        ),
        (
            "GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {long}\r\n\r\n"),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
            431,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\n\r\n".to_owned(),
            417,
        ),
    ] {
        let head = request.lines().take(2).collect::<Vec<_>>().join(" | ");
        let head = &head[..head.len().min(90)];
        let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let answer = exchange_raw(edge.address("http"), request).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {}",
            answer.lines().next().unwrap_or("nothing")
        );
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_round_is_a_508() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x"));
    let edge = Edge::before(&origin).await;
    let answer = edge
        .get_with("/a", &[("cdn-loop", "other, edge; v=1")])
        .await;
    assert_eq!(answer.status.as_u16(), 508);
    edge.get_with("/a", &[("cdn-loop", "other")]).await;
    assert_eq!(
        origin.requests_for("/a")[0].header("cdn-loop"),
        Some("other, edge")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_spelling_of_a_path_is_one_object() {
    let origin = Origin::start().await;
    origin.serve("/a/b", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    for path in ["/a/b", "/a/./b", "/a/c/../b", "/%61/b", "/a/%62"] {
        let answer = exchange_raw(
            edge.address("http"),
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
        .await
        .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_without_host_gets_the_default_site_or_400() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let answer = exchange_raw(edge.address("http"), "GET /a HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 400") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_requests_at_one_time_the_next_is_a_503() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/held",
        Reply::ok("x").cache_control("max-age=60").hold_head(&gate),
    );
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::with_node(&origin, "", "[limits]\nin_flight = 1\n").await;
    let client = edge.http();
    let held = tokio::spawn(async move { client.get("/held").await });
    gate.reached(1).await;
    let refused = edge.get("/a").await;
    assert_eq!(refused.status.as_u16(), 503);
    assert_eq!(refused.header("retry-after"), "1");
    gate.open();
    assert_eq!(held.await.unwrap().unwrap().status.as_u16(), 200);
    assert_eq!(edge.get("/a").await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_sites_limit_is_a_413_and_reaches_nobody() {
    let origin = Origin::start().await;
    origin.on_any(|_| Reply::ok("reached"));
    let listed = "methods = [\"GET\", \"POST\", \"M-SEARCH\"]\n";
    let none = Edge::with(&origin, &format!("{listed}---\n")).await;
    let four = format!("{listed}max_request_body = \"4B\"\n---\n");
    let some = Edge::with(&origin, &four).await;
    for (edge, method, rest) in [
        (&none, "POST", "Content-Length: 1\r\n\r\nx"),
        (
            &none,
            "M-SEARCH",
            "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        (&some, "POST", "Content-Length: 5\r\n\r\n"),
        (
            &some,
            "POST",
            "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        ),
    ] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{rest}");
        let answer = exchange_raw(edge.address("http"), request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{rest}: {answer}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_get_belongs_to_neither_the_key_nor_the_origins_request() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    for body in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n",
    ] {
        let request = format!("GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}");
        let answer = exchange_raw(edge.address("http"), request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(origin.count(), 1);
    let asked = &origin.requests_for("/a")[0];
    assert_eq!(asked.header("content-length"), None);
    assert_eq!(asked.header("transfer-encoding"), None);
}
