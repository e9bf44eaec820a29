//! HTTP/2 towards the origin.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};

use super::super::config::Protocol;
use super::super::fetch::Origin;
use super::super::script::{Scripted, config, fetched, get, head};

/// Serves one connection.
pub(super) async fn serve_h2<S, A>(stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(http::Request<Incoming>) -> http::Response<Full<Bytes>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(served);
}

fn over_h2(scripted: &Scripted) -> Arc<Origin> {
    let mut settings = config(vec![scripted.server()]);
    settings.protocols = vec![Protocol::H2];
    Origin::new(&settings).unwrap()
}

#[tokio::test]
async fn prior_knowledge_shares_one_connection() {
    let scripted = Scripted::start(|_, talk| {
        serve_h2(talk.into_stream(), |request| {
            let told = format!("{} {:?}", request.uri(), request.headers().get("host"));
            http::Response::new(told.into())
        })
    })
    .await;
    let origin = over_h2(&scripted);
    let mut running = Vec::new();
    for number in 0..20 {
        let origin = Arc::clone(&origin);
        running.push(tokio::spawn(async move {
            fetched(&origin, get(&format!("/{number}"))).await
        }));
    }
    for (number, task) in running.into_iter().enumerate() {
        let got = String::from_utf8(task.await.unwrap().unwrap()).unwrap();
        assert_eq!(got, format!("http://{}/{number} None", scripted.address));
    }
    assert_eq!(scripted.connections(), 1);
    assert!(fetched(&origin, head("/")).await.unwrap().is_empty());
    assert_eq!(origin.client().admission().taken(), 0);
}

/// Plays HTTP/2 by hand, for what a proper server does not do.
async fn by_hand<F, P>(play: F) -> Scripted
where
    F: Fn(usize, h2::server::Connection<tokio::net::TcpStream, Bytes>) -> P
        + Clone
        + Send
        + Sync
        + 'static,
    P: Future<Output = ()> + Send,
{
    Scripted::start(move |number, talk| {
        let play = play.clone();
        async move {
            if let Ok(connection) = h2::server::handshake(talk.into_stream()).await {
                play(number, connection).await;
            }
        }
    })
    .await
}

fn with_length(length: &str) -> http::Response<()> {
    http::Response::builder()
        .header("content-length", length)
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_stream_reset_in_the_body_is_a_cut() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let scripted = by_hand(move |_, mut connection| {
        let wait = Arc::clone(&wait);
        async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(with_length("9"), false).unwrap();
                body.send_data("hello".into(), false).unwrap();
                let wait = Arc::clone(&wait);
                tokio::spawn(async move {
                    wait.notified().await;
                    body.send_reset(h2::Reason::INTERNAL_ERROR);
                });
            }
        }
    })
    .await;
    let origin = over_h2(&scripted);
    let mut response = origin.fetch(get("/")).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "hello");
    go.notify_one();
    let error = response.body.chunk().await.unwrap_err();
    assert_eq!(error.kind(), "truncated");
    assert_eq!(origin.client().admission().taken(), 0);
}

#[tokio::test]
async fn a_body_unlike_its_length_is_an_error() {
    for (length, body) in [("9", "hello"), ("3", "hello")] {
        let scripted = by_hand(move |_, mut connection| async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut stream = respond.send_response(with_length(length), false).unwrap();
                drop(stream.send_data(body.into(), true));
            }
        })
        .await;
        let origin = over_h2(&scripted);
        assert!(fetched(&origin, get("/")).await.is_err(), "{length}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let scripted = by_hand(|_, mut connection| async move {
        let mut first = true;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if std::mem::take(&mut first) {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                let mut body = respond.send_response(with_length("5"), false).unwrap();
                body.send_data("hello".into(), true).unwrap();
            }
        }
    })
    .await;
    let origin = over_h2(&scripted);
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_connection_that_went_away_is_replaced() {
    let scripted = by_hand(|_, mut connection| async move {
        if let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(with_length("5"), false).unwrap();
            body.send_data("hello".into(), true).unwrap();
            connection.graceful_shutdown();
        }
        while connection.accept().await.is_some() {}
    })
    .await;
    let origin = over_h2(&scripted);
    for _ in 0..3 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_dropped_body_resets_its_stream_and_not_the_connection() {
    let reset = Arc::new(Notify::new());
    let tell = Arc::clone(&reset);
    let scripted = by_hand(move |_, mut connection| {
        let tell = Arc::clone(&tell);
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.uri().path() == "/small" {
                    let mut body = respond.send_response(with_length("5"), false).unwrap();
                    body.send_data("hello".into(), true).unwrap();
                    continue;
                }
                let mut body = respond.send_response(with_length("9"), false).unwrap();
                body.send_data("hello".into(), false).unwrap();
                let tell = Arc::clone(&tell);
                tokio::spawn(async move {
                    let reason = std::future::poll_fn(|context| body.poll_reset(context)).await;
                    assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
                    tell.notify_one();
                });
            }
        }
    })
    .await;
    let origin = over_h2(&scripted);
    let mut response = origin.fetch(get("/large")).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "hello");
    drop(response);
    reset.notified().await;
    assert_eq!(fetched(&origin, get("/small")).await.unwrap(), b"hello");
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_silent_shared_connection_gets_no_new_requests() {
    let scripted = by_hand(|number, mut connection| async move {
        let mut kept = Vec::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if number == 0 {
                kept.push(respond);
            } else {
                let mut body = respond.send_response(with_length("5"), false).unwrap();
                body.send_data("hello".into(), true).unwrap();
            }
        }
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.protocols = vec![Protocol::H2];
    settings.first_byte_timeout = Duration::from_millis(500);
    let origin = Origin::new(&settings).unwrap();
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "first-byte-timeout");
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    assert_eq!(scripted.connections(), 2);
}

#[tokio::test]
async fn more_streams_than_the_server_allows_get_a_second_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let scripted = Scripted::start(move |_, talk| {
        let wait = Arc::clone(&wait);
        async move {
            let service = service_fn(move |_| {
                let wait = Arc::clone(&wait);
                async move {
                    wait.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from("hello"))))
                }
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(2)
                .serve_connection(TokioIo::new(talk.into_stream()), service)
                .await;
            drop(served);
        }
    })
    .await;
    let origin = over_h2(&scripted);
    // The first answer has told the server's limit.
    gate.add_permits(1);
    assert!(fetched(&origin, get("/")).await.is_ok());
    let mut running = Vec::new();
    for _ in 0..4 {
        let origin = Arc::clone(&origin);
        running.push(tokio::spawn(
            async move { fetched(&origin, get("/")).await },
        ));
    }
    while scripted.connections() < 2 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(4);
    for task in running {
        assert_eq!(task.await.unwrap().unwrap(), b"hello");
    }
}
