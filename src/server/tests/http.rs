use std::sync::Arc;

use ::http::{Method, Request, StatusCode, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::super::{ListenerConfig, Mode};
use super::support::{
    Edge, body, get, get_h2, h1_over, h2_over, listener, pattern, text, tls_listener, within,
};

fn both_protocols() -> ListenerConfig {
    ListenerConfig {
        h2: true,
        ..listener("plain")
    }
}

/// Writes raw bytes and reads to the end of the connection.
async fn exchange(edge: &Edge, request: &str) -> String {
    let mut stream = edge.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_connection_answers_many_requests_and_knows_its_peer() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut client = edge.h1().await;
    for _ in 0..3 {
        let response = client.send_request(get("/peer")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(text(response).await, "plain false - HTTP/1.1");
    }
    assert_eq!(edge.server.report()[0].accepted, 1);
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let edge = Edge::start(vec![tls_listener()]);
    let mut h1 = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    let response = h1.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "https true localhost HTTP/1.1");
    let mut none = h1_over(edge.connect_tls(&[]).await).await;
    let response = none.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "https true localhost HTTP/1.1");
    let stream = edge.connect_tls(&["http/1.1", "h2"]).await;
    let mut h2 = h2_over(stream).await;
    let response = h2.send_request(get_h2("https", "/peer")).await.unwrap();
    assert_eq!(text(response).await, "https true localhost HTTP/2.0");
}

#[tokio::test]
async fn one_plain_port_speaks_both_by_the_first_bytes() {
    let edge = Edge::start(vec![both_protocols()]);
    let mut h1 = edge.h1().await;
    let response = h1.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "plain false - HTTP/1.1");
    let mut h2 = h2_over(edge.connect().await).await;
    let response = h2.send_request(get_h2("http", "/peer")).await.unwrap();
    assert_eq!(text(response).await, "plain false - HTTP/2.0");
}

#[tokio::test]
async fn without_h2_the_preface_is_a_bad_request() {
    let edge = Edge::start(vec![listener("plain")]);
    let answer = exchange(&edge, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
}

/// Sizes around every border: nothing, one record, one piece, several.
fn sizes() -> impl Iterator<Item = usize> {
    let borders = [0, 1, 16 << 10, 64 << 10, 200_000];
    let around = borders
        .into_iter()
        .flat_map(|size: usize| [size.saturating_sub(1), size, size + 1]);
    // A congruential walk: every run the same, no two sizes alike.
    let walk = (0..120_usize).map(|n| (n * 7919 + 13) % 40_000);
    around.chain(walk)
}

async fn concurrent_requests_are_answered_right(edge: &Edge, scheme: &str, tls: bool) {
    let client = if tls {
        edge.h2().await
    } else {
        h2_over(edge.connect().await).await
    };
    let mut requests = JoinSet::new();
    for (number, size) in sizes().enumerate() {
        let kind = if number % 2 == 0 { "bytes" } else { "stream" };
        let mut client = client.clone();
        let request = get_h2(scheme, &format!("/{kind}/{size}"));
        requests.spawn(async move {
            client.ready().await.unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            (size, body(response).await)
        });
    }
    while let Some(done) = within(requests.join_next()).await {
        let (size, found) = done.unwrap();
        assert!(found == pattern(size), "body of {size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_h2_answers_come_whole_through_the_coalescing_writer() {
    let edge = Edge::start(vec![tls_listener()]);
    concurrent_requests_are_answered_right(&edge, "https", true).await;
    let edge = Edge::start(vec![both_protocols()]);
    concurrent_requests_are_answered_right(&edge, "http", false).await;
}

#[tokio::test]
async fn h1_bodies_come_whole_over_tls() {
    let edge = Edge::start(vec![tls_listener()]);
    let mut client = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    for size in [0, 1, 100_000, 3_000_000] {
        for kind in ["bytes", "stream"] {
            let response = client
                .send_request(get(&format!("/{kind}/{size}")))
                .await
                .unwrap();
            assert!(body(response).await == pattern(size), "{kind} {size}");
            client.ready().await.unwrap();
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let edge = Edge::start(vec![listener("plain")]);
    let request = "GET /bytes/3 HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20)
        + "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = exchange(&edge, &request).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 21);
    assert!(answer.ends_with("plain false - HTTP/1.1"));
}

#[tokio::test]
async fn http_1_0_gets_one_answer_a_connection() {
    let edge = Edge::start(vec![listener("plain")]);
    let answer = exchange(
        &edge,
        "GET /peer HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    )
    .await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("HTTP/1.0"), "{answer}");
    let answer = exchange(&edge, "GET /stream/9 HTTP/1.0\r\n\r\n").await;
    assert!(!answer.contains("chunked"), "{answer}");
}

fn head(uri: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::HEAD)
        .uri(uri)
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let edge = Edge::start(vec![tls_listener(), listener("plain")]);
    let mut h2 = edge.h2().await;
    let response = h2
        .send_request(head("https://localhost/bytes/500"))
        .await
        .unwrap();
    assert_eq!(response.headers()["content-length"], "500");
    assert!(body(response).await.is_empty());
    let response = h2
        .send_request(head("https://localhost/stream/500"))
        .await
        .unwrap();
    assert!(!response.headers().contains_key("content-length"));
    assert!(body(response).await.is_empty());

    let mut h1 = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    let response = h1.send_request(head("/bytes/500")).await.unwrap();
    assert_eq!(response.headers()["content-length"], "500");
    assert!(body(response).await.is_empty());
    let response = h1.send_request(head("/stream/500")).await.unwrap();
    assert_ne!(
        response
            .headers()
            .get("content-length")
            .map(|v| v.as_bytes()),
        Some(&b"0"[..])
    );
    assert!(body(response).await.is_empty());
    let response = h1.send_request(get("/peer")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused_unread() {
    let edge = Edge::start(vec![listener("plain")]);
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "v".repeat(60_000)
    );
    assert!(exchange(&edge, &huge).await.starts_with("HTTP/1.1 431"));
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x: 1\r\n".repeat(101)
    );
    assert!(exchange(&edge, &many).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_panic_ends_its_own_stream_or_connection_only() {
    let edge = Edge::start(vec![tls_listener()]);
    let mut h2 = edge.h2().await;
    let error = h2
        .send_request(get_h2("https", "/panic"))
        .await
        .unwrap_err();
    assert!(!error.is_timeout());
    let response = h2.send_request(get_h2("https", "/peer")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let mut h1 = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    assert!(h1.send_request(get("/panic")).await.is_err());
    let mut other = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    assert!(other.send_request(get("/peer")).await.is_ok());
}

#[tokio::test]
async fn a_redirecting_listener_sends_everything_to_https() {
    let redirecting = ListenerConfig {
        mode: Mode::RedirectHttps,
        ..listener("plain")
    };
    let edge = Edge::start(vec![redirecting, tls_listener()]);
    let port = edge.server.addresses()[1].1.port();
    let mut client = edge.h1().await;
    let request = Request::get("/a%20b?c=d")
        .header("host", "A.Example:80")
        .body(Empty::new())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(
        response.headers()["location"],
        format!("https://a.example:{port}/a%20b?c=d")
    );
    drop(response.into_body().collect().await.unwrap());

    let answer = exchange(&edge, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with("The request names no host.\n"), "{answer}");
    let answer = exchange(
        &edge,
        "TRACE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
}

#[tokio::test]
async fn each_worker_serves() {
    let edge = Edge::start(vec![listener("plain")]);
    let edge = Arc::new(edge);
    let mut requests = JoinSet::new();
    for _ in 0..32 {
        let edge = Arc::clone(&edge);
        requests.spawn(async move {
            let mut client = edge.h1().await;
            text(client.send_request(get("/peer")).await.unwrap()).await
        });
    }
    while let Some(done) = within(requests.join_next()).await {
        assert!(done.unwrap().starts_with("plain"));
    }
}
