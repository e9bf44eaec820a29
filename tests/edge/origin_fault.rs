//! An origin that lies or dies: every client sees it, nothing of it is kept.

use http::StatusCode;

use crate::support::client::Failure;
use crate::support::content::Content;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_an_error_on_every_protocol_and_is_not_stored() {
    let content = Content::pattern(9, 300_000);
    for (name, broken) in [
        ("closed", Reply::ok(content.clone()).close_after(100_000)),
        ("reset", Reply::ok(content.clone()).reset_after(100_000)),
        (
            "chunked",
            Reply::ok(content.clone()).chunked().close_after(100_000),
        ),
        ("short", Reply::ok(content.clone()).declared_length(400_000)),
    ] {
        let origin = Origin::start().await;
        let whole = Reply::ok(content.clone()).cache_control("max-age=60");
        let broken = broken.cache_control("max-age=60");
        origin.serve_in_turn("/a", [broken.clone(), broken.clone(), broken, whole]);
        let edge = Edge::before(&origin).await;
        for client in [edge.http(), edge.h1(), edge.h2()] {
            match client.get("/a").await {
                Err(Failure::Broken {
                    status, received, ..
                }) => {
                    assert_eq!(status, StatusCode::OK, "{name}");
                    assert!(
                        content.to_bytes().starts_with(&received),
                        "{name}: other bytes than the origin's"
                    );
                }
                // A stream that is reset right behind its head may take the head along.
                Err(Failure::NoAnswer(why)) if why.contains("INTERNAL_ERROR") => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(edge.get("/a").await.body, content.to_bytes(), "{name}");
        assert_eq!(
            origin.count_for("/a"),
            4,
            "{name}: each request fetched anew"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_a_fill_that_breaks_are_told_too() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let content = Content::pattern(2, 200_000);
    origin.serve(
        "/a",
        Reply::ok(content)
            .cache_control("max-age=60")
            .hold_body(100_000, &gate)
            .close_after(150_000),
    );
    let edge = Edge::before(&origin).await;
    let mut readers = Vec::new();
    for client in [edge.http(), edge.h2(), edge.h1()] {
        let mut reader = client.open("/a", &[]).await.unwrap();
        reader.until(1000).await.unwrap();
        readers.push(reader);
    }
    gate.open();
    for reader in readers {
        assert!(matches!(reader.whole().await, Err(Failure::Broken { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_make_no_sense_are_a_502() {
    let origin = Origin::start().await;
    origin.serve("/garbage", Reply::raw("this is not HTTP\r\n\r\n"));
    origin.serve(
        "/coding",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\nabc"),
    );
    origin.serve(
        "/lengths",
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    );
    origin.serve("/unasked", Reply::new(304, ""));
    origin.serve(
        "/part",
        Reply::new(206, "abc").header("content-range", "bytes 0-2/9"),
    );
    let edge = Edge::before(&origin).await;
    for path in ["/garbage", "/coding", "/lengths", "/unasked", "/part"] {
        let answer = edge.get(path).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_GATEWAY,
            "{path}: {}",
            answer.text()
        );
        assert!(
            answer.header("proxy-status").starts_with("edge; error="),
            "{path}"
        );
        assert!(
            answer.text().contains("request edge-"),
            "{path}: an id to look for in the log"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_origin_is_a_504() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("late").hold_head(&Gate::closed()));
    let edge = Edge::with(&origin, "---\nfirst_byte_timeout = \"200ms\"\n+++\n").await;
    assert_eq!(edge.get("/a").await.status, StatusCode::GATEWAY_TIMEOUT);
}
