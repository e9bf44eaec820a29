//! What is cut off, malformed or too slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::super::error::OriginError;
use super::super::fetch::Origin;
use super::super::script::{HELLO, Scripted, config, fetched, get, origin};

async fn kind_of(scripted: &Scripted) -> &'static str {
    let origin = origin(vec![scripted.server()]);
    let error = fetched(&origin, get("/")).await.unwrap_err();
    error.kind()
}

#[tokio::test]
async fn a_cut_answer_is_an_error_wherever_it_is_cut() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n".to_owned(),
        format!("{chunked}5\r\nhello\r\n"),
        format!("{chunked}5\r\nhel"),
        format!("{chunked}5\r\nhello\r\n0\r\n"),
        chunked.to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
    ] {
        let scripted = Scripted::answering_once(cut.clone()).await;
        assert_eq!(kind_of(&scripted).await, "truncated", "{cut:?}");
        assert_eq!(scripted.requests().len(), 1, "bytes came, so once only");
    }
}

#[tokio::test]
async fn a_reset_in_the_body_is_an_error_even_where_the_end_is_the_close() {
    for start in [
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
    ] {
        let go = Arc::new(Notify::new());
        let wait = Arc::clone(&go);
        let scripted = Scripted::start(move |_, mut talk| {
            let wait = Arc::clone(&wait);
            async move {
                talk.request().await;
                talk.send(start).await;
                wait.notified().await;
                talk.reset();
            }
        })
        .await;
        let origin = origin(vec![scripted.server()]);
        let mut response = origin.fetch(get("/")).await.unwrap();
        assert_eq!(response.body.chunk().await.unwrap().unwrap(), "hello");
        go.notify_one();
        let error = response.body.chunk().await.unwrap_err();
        assert!(
            matches!(error, OriginError::Truncated { received: 5, .. }),
            "{error:?}"
        );
        assert!(response.body.chunk().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_head_with_two_meanings_is_refused() {
    let body = "\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 15\r\ntransfer-encoding: chunked",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
        "HTTP/1.1 200 OK\r\ncontent-length: +5",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 5",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x",
        "HTTP/1.1 600 Odd",
        "HTTP/1.1 20 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.1 200 OK\r\nx: a\0b",
        "HTTP/1.1 200 OK\r\nx: a\rb",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded",
        "HTTP/1.1 200 OK\r\nx : a",
        "HTTP/1.1 200 OK\r\nno colon",
        "nonsense",
    ] {
        let scripted = Scripted::answering(format!("{head}{body}")).await;
        assert_eq!(kind_of(&scripted).await, "malformed", "{head:?}");
        assert_eq!(scripted.requests().len(), 1, "{head:?}");
    }
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused() {
    let many = "x: y\r\n".repeat(201);
    let large = format!("x: {}\r\n", "y".repeat(70_000));
    for fields in [many, large] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let scripted = Scripted::answering(answer).await;
        assert_eq!(kind_of(&scripted).await, "head-too-large");
    }
    let just = "x: y\r\n".repeat(199);
    let scripted = Scripted::answering(format!(
        "HTTP/1.1 200 OK\r\n{just}content-length: 0\r\n\r\n"
    ))
    .await;
    let origin = origin(vec![scripted.server()]);
    assert!(fetched(&origin, get("/")).await.is_ok());
}

#[tokio::test]
async fn a_seventeenth_interim_answer_is_one_too_many() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17);
    let scripted = Scripted::answering(format!("{interim}{HELLO}")).await;
    let origin = origin(vec![scripted.server()]);
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "malformed");
}

#[tokio::test]
async fn a_bad_chunk_is_malformed() {
    for chunk in [
        "x\r\nhello",
        "5 5\r\nhello",
        "-5\r\nhello",
        "5\r\nhelloxx",
        "ffffffffffffffffff\r\nx",
    ] {
        let scripted = Scripted::answering(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
        ))
        .await;
        assert_eq!(kind_of(&scripted).await, "malformed", "{chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_an_answer_is_never_the_next_one() {
    let scripted = Scripted::answering(format!(
        "{HELLO}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    ))
    .await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..3 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
    assert_eq!(scripted.connections(), 3);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let scripted = Scripted::start(|_, talk| talk.closed()).await;
    let mut settings = config(vec![scripted.server()]);
    settings.first_byte_timeout = Duration::from_millis(50);
    let origin = Origin::new(&settings).unwrap();
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status().as_u16()),
        ("first-byte-timeout", 504)
    );
    assert_eq!(
        scripted.requests().len(),
        1,
        "timeouts are not tried again unless set"
    );
}

#[tokio::test]
async fn a_dripping_head_is_given_up_as_a_whole() {
    let scripted = Scripted::start(|_, mut talk| async move {
        talk.request().await;
        talk.send("HTTP/1.1 200 OK\r\n").await;
        talk.closed().await;
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.first_byte_timeout = Duration::from_millis(50);
    settings
        .retries
        .on
        .push(super::super::config::RetryOn::Timeout);
    let origin = Origin::new(&settings).unwrap();
    assert_eq!(
        fetched(&origin, get("/")).await.unwrap_err().kind(),
        "read-timeout"
    );
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_its_connection_closed() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let scripted = Scripted::start(move |_, mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello")
                .await;
            talk.closed().await;
            tell.notify_one();
        }
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.read_timeout = Duration::from_millis(50);
    let origin = Origin::new(&settings).unwrap();
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status().as_u16()),
        ("read-timeout", 504)
    );
    closed.notified().await;
}

#[tokio::test]
async fn a_dropped_body_closes_its_connection() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let scripted = Scripted::start(move |_, mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello")
                .await;
            talk.closed().await;
            tell.notify_one();
        }
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.max_connections = 1;
    let origin = Origin::new(&settings).unwrap();
    let mut response = origin.fetch(get("/")).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "hello");
    assert_eq!(origin.client().admission().taken(), 1);
    drop(response);
    assert_eq!(origin.client().admission().taken(), 0);
    closed.notified().await;
    // The only place is free again, and the next request does not meet the old connection.
    drop(origin.fetch(get("/")).await.unwrap());
    assert_eq!(scripted.connections(), 2);
}

#[tokio::test]
async fn a_dropped_fetch_closes_its_connection() {
    let asked = Arc::new(Notify::new());
    let closed = Arc::new(Notify::new());
    let (tell_asked, tell_closed) = (Arc::clone(&asked), Arc::clone(&closed));
    let scripted = Scripted::start(move |_, mut talk| {
        let (asked, closed) = (Arc::clone(&tell_asked), Arc::clone(&tell_closed));
        async move {
            talk.request().await;
            asked.notify_one();
            talk.closed().await;
            closed.notify_one();
        }
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    tokio::select! {
        _ = origin.fetch(get("/")) => panic!("nobody answered"),
        () = asked.notified() => {}
    }
    closed.notified().await;
    assert_eq!(origin.client().admission().taken(), 0);
}
