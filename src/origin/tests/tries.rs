//! Second tries, several servers, kept-alive connections that have gone stale.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::Notify;

use super::super::config::{RetryOn, Server};
use super::super::fetch::Origin;
use super::super::script::{HELLO, Scripted, config, fetched, get, nobody, origin};

/// Takes each request and breaks off without a byte.
async fn breaking() -> Scripted {
    Scripted::start(|_, mut talk| async move {
        talk.request().await;
    })
    .await
}

fn backup(server: Server) -> Server {
    Server {
        backup: true,
        ..server
    }
}

/// One answer a connection; the next request breaks it. From the connection number `works` on, all is well.
async fn going_stale(works: usize) -> Scripted {
    Scripted::start(move |number, mut talk| async move {
        talk.request().await;
        talk.send(HELLO).await;
        while talk.request().await.is_some() && number >= works {
            talk.send(HELLO).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_stale_connection_is_replaced_by_a_fresh_one_whatever_retries_says() {
    for count in [0, 1] {
        let scripted = going_stale(1).await;
        let mut settings = config(vec![scripted.server()]);
        settings.retries.count = count;
        let origin = Origin::new(&settings).unwrap();
        for _ in 0..3 {
            assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
        }
        assert_eq!(scripted.connections(), 2);
        assert_eq!(scripted.requests().len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_while_idle_is_noticed() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let scripted = Scripted::start(move |_, mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.send(HELLO).await;
            drop(talk);
            tell.notify_one();
        }
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..3 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
        closed.notified().await;
    }
    assert_eq!(scripted.connections(), 3);
}

#[tokio::test]
async fn a_request_that_changes_things_is_never_sent_twice() {
    let scripted = going_stale(1).await;
    let origin = origin(vec![scripted.server()]);
    assert!(fetched(&origin, get("/")).await.is_ok());
    let mut request = get("/");
    request.method = Method::DELETE;
    assert_eq!(fetched(&origin, request).await.unwrap_err().kind(), "reset");
    assert_eq!(scripted.requests().len(), 2);
}

#[tokio::test]
async fn a_break_before_the_first_byte_is_tried_once_more_on_a_fresh_connection() {
    let scripted = Scripted::start(|number, mut talk| async move {
        talk.request().await;
        if number > 0 {
            talk.send(HELLO).await;
        }
    })
    .await;
    let origin = origin(vec![scripted.server()]);
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    assert_eq!(scripted.connections(), 2);
}

#[tokio::test]
async fn the_second_try_goes_to_another_server() {
    let (bad, good) = (breaking().await, Scripted::answering(HELLO).await);
    let origin = origin(vec![bad.server(), good.server()]);
    for _ in 0..4 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
    assert_eq!(good.requests().len(), 4);
    assert_eq!(
        bad.requests().len(),
        2,
        "a break does not mark a server down"
    );
}

#[tokio::test]
async fn there_are_two_tries_and_no_more() {
    let (one, two) = (breaking().await, breaking().await);
    let both = origin(vec![one.server(), two.server()]);
    let error = fetched(&both, get("/")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        ("reset", StatusCode::BAD_GATEWAY)
    );
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));

    let mut settings = config(vec![one.server()]);
    settings.retries.count = 0;
    let never = Origin::new(&settings).unwrap();
    assert_eq!(fetched(&never, get("/")).await.unwrap_err().kind(), "reset");
    assert_eq!(one.requests().len(), 2);
}

#[tokio::test]
async fn what_is_not_listed_is_not_tried_again() {
    let scripted = breaking().await;
    let mut settings = config(vec![scripted.server()]);
    settings.retries.on = vec![RetryOn::Connect];
    let origin = Origin::new(&settings).unwrap();
    assert_eq!(
        fetched(&origin, get("/")).await.unwrap_err().kind(),
        "reset"
    );
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test]
async fn a_timeout_is_tried_again_if_listed() {
    let silent = Scripted::start(|_, talk| talk.closed()).await;
    let good = Scripted::answering(HELLO).await;
    let mut settings = config(vec![silent.server(), good.server()]);
    settings.first_byte_timeout = Duration::from_millis(500);
    settings.retries.on.push(RetryOn::Timeout);
    let origin = Origin::new(&settings).unwrap();
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn a_listed_status_is_tried_elsewhere_and_passed_on_when_tries_are_used_up() {
    let bad = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";
    let (sick, well) = (
        Scripted::answering(bad).await,
        Scripted::answering(HELLO).await,
    );
    let mut settings = config(vec![sick.server(), well.server()]);
    settings.retries.on = vec![RetryOn::Status503];
    let origin = Origin::new(&settings).unwrap();
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");

    let mut settings = config(vec![sick.server()]);
    settings.retries.on = vec![RetryOn::Status503];
    let origin = Origin::new(&settings).unwrap();
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"bad");
    assert_eq!(sick.requests().len(), 3);
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over() {
    let good = Scripted::answering(HELLO).await;
    let origin = origin(vec![nobody().await, good.server()]);
    for _ in 0..4 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_backup_is_asked_only_when_no_other_answers() {
    let (first, last) = (
        Scripted::answering(HELLO).await,
        Scripted::answering(HELLO).await,
    );
    let both = origin(vec![first.server(), backup(last.server())]);
    for _ in 0..3 {
        assert!(fetched(&both, get("/")).await.is_ok());
    }
    assert_eq!(last.requests().len(), 0);

    // Two that refuse use up both tries; nothing was sent yet, so the backup is still asked.
    let origin = origin(vec![nobody().await, nobody().await, backup(last.server())]);
    for _ in 0..3 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
    assert_eq!(last.requests().len(), 3);
}

#[tokio::test]
async fn nobody_there_is_an_error_that_says_so() {
    let origin = origin(vec![nobody().await]);
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "connect");
    assert_eq!(error.proxy_status(), "connection_refused");
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_name_without_an_address_is_an_error_of_its_own() {
    let mut nowhere = nobody().await;
    nowhere.host = "no-such-host.invalid".to_owned();
    let origin = origin(vec![nowhere]);
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!((error.kind(), error.proxy_status()), ("dns", "dns_error"));
}

#[tokio::test]
async fn weights_share_the_requests_out() {
    let (heavy, light) = (
        Scripted::answering(HELLO).await,
        Scripted::answering(HELLO).await,
    );
    let mut three = heavy.server();
    three.weight = 3;
    let origin = origin(vec![three, light.server()]);
    for _ in 0..8 {
        fetched(&origin, get("/")).await.unwrap();
    }
    assert_eq!((heavy.requests().len(), light.requests().len()), (6, 2));
}
