//! Interim answers on their way to the client.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::ListenerConfig;
use super::support::{Edge, get_h2, h2_over, listener, pattern, text, tls_listener, within};

fn hint(link: &str) -> String {
    format!("HTTP/1.1 103 Early Hints\r\nlink: {link}\r\n\r\n")
}

async fn head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(within(io.read_u8()).await.unwrap());
    }
    String::from_utf8(got).unwrap()
}

/// Reads an answer whose body is `body`, and gives its head.
async fn answer(io: &mut (impl AsyncRead + Unpin), body: &[u8]) -> String {
    let head = head(io).await;
    let mut got = vec![0; body.len()];
    within(io.read_exact(&mut got)).await.unwrap();
    assert!(got == body, "{head}");
    head
}

async fn ask(io: &mut (impl AsyncWrite + Unpin), paths: &[&str]) {
    let requests: String = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .collect();
    io.write_all(requests.as_bytes()).await.unwrap();
}

async fn told_while_it_is_waited_for(edge: &Edge, mut io: impl AsyncRead + AsyncWrite + Unpin) {
    for _ in 0..3 {
        ask(&mut io, &["/hint-and-wait/first"]).await;
        assert_eq!(head(&mut io).await, hint("first"));
        edge.answer.running(1).await;
        edge.answer.let_go(1);
        assert_eq!(head(&mut io).await, hint("second"));
        let last = answer(&mut io, b"done").await;
        assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "{last}");
        assert!(!last.contains("link"), "{last}");
    }
}

#[tokio::test]
async fn it_comes_while_the_answer_is_waited_for() {
    let edge = Edge::start(vec![listener("plain")]);
    let io = edge.connect().await;
    told_while_it_is_waited_for(&edge, io).await;
}

#[tokio::test]
async fn it_comes_over_tls_too() {
    let edge = Edge::start(vec![tls_listener()]);
    let io = edge.connect_tls(&["http/1.1"]).await;
    told_while_it_is_waited_for(&edge, io).await;
}

#[tokio::test]
async fn it_comes_before_an_answer_of_any_status() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut io = edge.connect().await;
    ask(&mut io, &["/hints/a"]).await;
    assert_eq!(head(&mut io).await, hint("a"));
    let last = answer(&mut io, b"told").await;
    assert!(last.starts_with("HTTP/1.1 700 "), "{last}");
}

#[tokio::test]
async fn it_is_never_before_or_inside_the_answer_of_an_earlier_request() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut io = edge.connect().await;
    let large = pattern(3_000_000);
    ask(
        &mut io,
        &[
            "/bytes/3000000",
            "/hint-and-wait/first",
            "/bytes/3000000",
            "/hints/a",
            "/peer",
        ],
    )
    .await;
    assert!(!answer(&mut io, &large).await.contains("link"));
    assert_eq!(head(&mut io).await, hint("first"));
    edge.answer.let_go(1);
    assert_eq!(head(&mut io).await, hint("second"));
    answer(&mut io, b"done").await;
    answer(&mut io, &large).await;
    assert_eq!(head(&mut io).await, hint("a"));
    let last = answer(&mut io, b"told").await;
    assert!(last.starts_with("HTTP/1.1 700 "), "{last}");
    answer(&mut io, b"plain false - HTTP/1.1").await;
}

#[tokio::test]
async fn told_too_late_it_is_dropped() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut io = edge.connect().await;
    for _ in 0..3 {
        ask(&mut io, &["/hints/a"]).await;
        head(&mut io).await;
        answer(&mut io, b"told").await;
        ask(&mut io, &["/late"]).await;
        let late = answer(&mut io, b"late").await;
        assert!(late.starts_with("HTTP/1.1 200 OK\r\n"), "{late}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_or_http_2_gets_none() {
    let edge = Edge::start(vec![ListenerConfig {
        h2: true,
        ..listener("plain")
    }]);
    let mut io = edge.connect().await;
    io.write_all(b"GET /hints/a HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    within(io.read_to_string(&mut all)).await.unwrap();
    assert!(all.starts_with("HTTP/1.0 700 "), "{all}");
    assert!(all.ends_with("no way"), "{all}");

    let mut h2 = h2_over(edge.connect().await).await;
    let response = h2.send_request(get_h2("http", "/hints/a")).await.unwrap();
    assert_eq!(response.status().as_u16(), 700);
    assert_eq!(text(response).await, "no way");
}
