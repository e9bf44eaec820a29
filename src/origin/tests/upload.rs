//! Requests with a body.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;

use super::super::config::{Protocol, RetryOn};
use super::super::fetch::Origin;
use super::super::script::{
    HELLO, Scripted, config, fed, fetched, get, nobody, origin, post, read, server,
};
use super::super::upload::{Upload, UploadError};

fn whole(length: Option<u64>, text: &'static str) -> Upload {
    let pieces = Full::new(Bytes::from_static(text.as_bytes()));
    Upload::stream(length, pieces.map_err(|never| match never {}))
}

/// A server that wants `wanted` behind each head.
async fn wanting(wanted: &'static str) -> Scripted {
    Scripted::start(move |_, mut talk| async move {
        while talk.request().await.is_some() {
            let got = talk.take(wanted.len()).await;
            assert_eq!(String::from_utf8(got).unwrap(), wanted);
            talk.send(HELLO).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_with_it_and_the_connection_is_kept() {
    let scripted = wanting("a body").await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..2 {
        let got = fetched(&origin, post("/", whole(Some(6), "a body"))).await;
        assert_eq!(got.unwrap(), b"hello");
    }
    for head in scripted.requests() {
        assert!(head.starts_with("POST / HTTP/1.1\r\nhost: "), "{head}");
        assert!(head.contains("\r\ncontent-length: 6\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let scripted = wanting("6\r\na body\r\n0\r\n\r\n").await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..2 {
        let got = fetched(&origin, post("/", whole(None, "a body"))).await;
        assert_eq!(got.unwrap(), b"hello");
    }
    let heads = scripted.requests();
    assert!(heads[0].contains("\r\ntransfer-encoding: chunked\r\n"));
    assert!(!heads[0].contains("content-length"));
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn no_body_is_not_a_body_of_no_bytes() {
    let scripted = wanting("").await;
    let origin = origin(vec![scripted.server()]);
    for (body, length) in [(Upload::None, false), (whole(Some(0), ""), true)] {
        let mut request = post("/", body);
        // What the cache room may have taken over from the client.
        request.headers.insert("content-length", 7_u64.into());
        request
            .headers
            .insert("expect", http::HeaderValue::from_static("100-continue"));
        assert_eq!(fetched(&origin, request).await.unwrap(), b"hello");
        let head = scripted.requests().pop().unwrap();
        assert_eq!(head.contains("\r\ncontent-length: 0\r\n"), length, "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("expect"));
        assert!(!head.contains('7') || scripted.address.to_string().contains('7'));
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn an_early_refusal_is_read_and_the_rest_of_the_body_is_dropped() {
    let refusal =
        "HTTP/1.1 413 Too Much\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo much!";
    let scripted = Scripted::start(move |_, mut talk| async move {
        talk.request().await;
        // Closed with bytes unread, which resets the connection.
        talk.send(refusal).await;
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    let (feed, body) = fed(None);
    let feeding = tokio::spawn(async move {
        while feed
            .send(Ok(Bytes::from(vec![b'x'; 1 << 16])))
            .await
            .is_ok()
        {}
    });
    let mut response = origin.fetch(post("/", body)).await.unwrap();
    assert_eq!(response.status.as_u16(), 413);
    assert_eq!(read(&mut response).await.unwrap(), b"too much!");
    feeding.await.unwrap();
    assert_eq!(origin.client().admission().taken(), 0);
}

#[tokio::test]
async fn an_early_refusal_leaves_no_half_sent_request_on_a_kept_connection() {
    let refusal = "HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno";
    let scripted = Scripted::start(move |number, mut talk| async move {
        talk.request().await;
        talk.send(if number == 0 { refusal } else { HELLO }).await;
        talk.closed().await;
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    let (feed, body) = fed(Some(100));
    feed.send(Ok("some".into())).await.unwrap();
    assert_eq!(fetched(&origin, post("/", body)).await.unwrap(), b"no");
    feed.closed().await;
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    assert_eq!(scripted.connections(), 2);
}

#[tokio::test]
async fn an_answer_may_begin_before_the_body_has_ended() {
    let scripted = Scripted::start(|_, mut talk| async move {
        while talk.request().await.is_some() {
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
                .await;
            let body = talk.take(6).await;
            talk.send(body).await;
        }
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..2 {
        let (feed, body) = fed(Some(6));
        let mut response = origin.fetch(post("/", body)).await.unwrap();
        feed.send(Ok("a ".into())).await.unwrap();
        feed.send(Ok("body".into())).await.unwrap();
        assert_eq!(read(&mut response).await.unwrap(), b"a body");
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_request_with_a_body_is_tried_again_only_if_nothing_was_sent() {
    let scripted = Scripted::start(|_, mut talk| async move {
        talk.request().await;
    })
    .await;
    let mut settings = config(vec![nobody().await, scripted.server()]);
    settings.retries.count = 5;
    settings.retries.on = vec![RetryOn::Connect, RetryOn::Reset, RetryOn::Timeout];
    let origin = Origin::new(&settings).unwrap();
    for sent in 1..3 {
        let error = fetched(&origin, post("/", whole(Some(6), "a body")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "reset");
        assert_eq!(scripted.connections(), sent);
    }
}

#[tokio::test]
async fn the_body_goes_whole_to_the_server_that_takes_the_connection() {
    let scripted = wanting("a body").await;
    let origin = origin(vec![nobody().await, scripted.server()]);
    for _ in 0..3 {
        let got = fetched(&origin, post("/", whole(Some(6), "a body"))).await;
        assert_eq!(got.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_status_is_not_tried_again_for_a_method_that_may_have_done_something() {
    let scripted = Scripted::answering("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n").await;
    let mut settings = config(vec![scripted.server()]);
    settings.retries.on = vec![RetryOn::Status503];
    let origin = Origin::new(&settings).unwrap();
    let response = origin.fetch(post("/", Upload::None)).await.unwrap();
    assert_eq!(response.status.as_u16(), 503);
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test]
async fn a_body_that_fails_ends_the_exchange_and_is_not_the_origins_fault() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let scripted = taking(protocol).await;
        let mut settings = config(vec![server(scripted.address)]);
        settings.protocols = vec![protocol];
        let origin = Origin::new(&settings).unwrap();
        for (length, last, kind) in [
            (None, Err(UploadError::Cut), "upload-cut"),
            (
                None,
                Err(UploadError::TooLarge { limit_bytes: 4 }),
                "upload-too-large",
            ),
            (Some(6), Ok("too much".into()), "upload-cut"),
        ] {
            let (feed, body) = fed(length);
            let fetching = tokio::spawn({
                let origin = Arc::clone(&origin);
                async move { fetched(&origin, post("/", body)).await }
            });
            feed.send(Ok("some".into())).await.unwrap();
            feed.send(last).await.unwrap();
            let error = fetching.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.proxy_status(), "http_request_error");
        }
        let (feed, body) = fed(Some(6));
        drop(feed);
        let error = fetched(&origin, post("/", body)).await.unwrap_err();
        assert_eq!(error.kind(), "upload-cut");
        assert_eq!(origin.client().admission().taken(), 0);
    }
}

/// Reads every request to its end, and answers with it.
async fn taking(protocol: Protocol) -> Scripted {
    Scripted::start(move |_, talk| async move {
        let stream = TokioIo::new(talk.into_stream());
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async {
            let length = request.headers().get("content-length").cloned();
            let body = request.into_body().collect().await?.to_bytes();
            let mut response = http::Response::new(Full::new(body));
            if let Some(length) = length {
                response.headers_mut().insert("x-length", length);
            }
            Ok::<_, hyper::Error>(response)
        });
        let served = match protocol {
            Protocol::H1 => {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(stream, service)
                    .await
            }
            Protocol::H2 => {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
                    .await
            }
        };
        drop(served);
    })
    .await
}

#[tokio::test]
async fn a_large_body_goes_through_either_protocol() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let scripted = taking(protocol).await;
        let mut settings = config(vec![scripted.server()]);
        settings.protocols = vec![protocol];
        let origin = Origin::new(&settings).unwrap();
        for length in [Some(3 << 20), None] {
            let (feed, body) = fed(length);
            let feeding = tokio::spawn(async move {
                for number in 0..48_u8 {
                    let piece = Bytes::from(vec![number; 1 << 16]);
                    feed.send(Ok(piece)).await.unwrap();
                }
            });
            let mut response = origin.fetch(post("/", body)).await.unwrap();
            assert_eq!(response.headers.contains_key("x-length"), length.is_some());
            let got = read(&mut response).await.unwrap();
            assert_eq!(got.len(), 3 << 20);
            assert!(
                got.chunks(1 << 16)
                    .zip(0..48_u8)
                    .all(|(piece, number)| { piece.iter().all(|byte| *byte == number) })
            );
            feeding.await.unwrap();
        }
        assert_eq!(scripted.connections(), 1);
    }
}

#[tokio::test]
async fn over_http_2_an_early_answer_is_read_and_the_stream_is_then_reset() {
    let reset = Arc::new(Notify::new());
    let seen = Arc::clone(&reset);
    let scripted = Scripted::start(move |_, talk| {
        let seen = Arc::clone(&seen);
        async move {
            let mut connection = h2::server::handshake(talk.into_stream()).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let response = http::Response::builder().status(413).body(()).unwrap();
                let mut answer = respond.send_response(response, false).unwrap();
                answer.send_data("too much!".into(), true).unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    while let Some(Ok(piece)) = body.data().await {
                        drop(body.flow_control().release_capacity(piece.len()));
                    }
                    seen.notify_one();
                });
            }
        }
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.protocols = vec![Protocol::H2];
    let origin = Origin::new(&settings).unwrap();
    let (feed, body) = fed(None);
    let mut response = origin.fetch(post("/", body)).await.unwrap();
    assert_eq!(response.status.as_u16(), 413);
    assert_eq!(read(&mut response).await.unwrap(), b"too much!");
    feed.closed().await;
    reset.notified().await;
    assert_eq!(origin.client().admission().taken(), 0);
}

#[tokio::test]
async fn giving_up_drops_the_body() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let scripted = taking(protocol).await;
        let mut settings = config(vec![scripted.server()]);
        settings.protocols = vec![protocol];
        let origin = Origin::new(&settings).unwrap();
        let (feed, body) = fed(None);
        let fetching = tokio::spawn(async move { fetched(&origin, post("/", body)).await });
        feed.send(Ok("some".into())).await.unwrap();
        feed.send(Ok("more".into())).await.unwrap();
        fetching.abort();
        feed.closed().await;
    }
}
