//! Bounds: connections, the queue for them, how long they are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::super::config::{Keepalive, Queue};
use super::super::fetch::Origin;
use super::super::script::{HELLO, Scripted, config, fetched, get};

/// Answers only after `go`.
async fn held(go: &Arc<Semaphore>) -> Scripted {
    let go = Arc::clone(go);
    Scripted::start(move |_, mut talk| {
        let go = Arc::clone(&go);
        async move {
            while talk.request().await.is_some() {
                go.acquire().await.unwrap().forget();
                talk.send(HELLO).await;
            }
        }
    })
    .await
}

/// Lets others run until `what` is so.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_more_than_the_queue_holds_is_refused_and_the_others_come_in_turn() {
    let go = Arc::new(Semaphore::new(0));
    let scripted = held(&go).await;
    let mut settings = config(vec![scripted.server()]);
    settings.max_connections = 1;
    settings.queue.length = 2;
    let origin = Origin::new(&settings).unwrap();
    let mut running = Vec::new();
    for waiting in 0..3 {
        let fetching = Arc::clone(&origin);
        running.push(tokio::spawn(
            async move { fetched(&fetching, get("/")).await },
        ));
        let origin = Arc::clone(&origin);
        until(move || {
            let admission = origin.client().admission();
            admission.taken() == 1 && admission.waiting() == waiting
        })
        .await;
    }
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), ("queue-full", 503));
    go.add_permits(running.len());
    for task in running {
        assert_eq!(task.await.unwrap().unwrap(), b"hello");
    }
    assert_eq!(scripted.connections(), 1);
    assert_eq!(origin.client().admission().waiting(), 0);
}

#[tokio::test]
async fn waiting_has_an_end() {
    let go = Arc::new(Semaphore::new(0));
    let scripted = held(&go).await;
    let mut settings = config(vec![scripted.server()]);
    settings.max_connections = 1;
    settings.queue = Queue {
        length: 1,
        wait: Duration::from_millis(30),
    };
    let origin = Origin::new(&settings).unwrap();
    let first = Arc::clone(&origin);
    let first = tokio::spawn(async move { fetched(&first, get("/")).await });
    until(|| origin.client().admission().taken() == 1).await;
    let error = fetched(&origin, get("/")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status().as_u16()),
        ("queue-timeout", 503)
    );
    go.add_permits(1);
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let scripted = Scripted::start(move |_, mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.send(HELLO).await;
            talk.closed().await;
            tell.notify_one();
        }
    })
    .await;
    let mut settings = config(vec![scripted.server()]);
    settings.keepalive.idle = Duration::from_millis(30);
    let origin = Origin::new(&settings).unwrap();
    for round in 1..=2 {
        assert!(fetched(&origin, get("/")).await.is_ok());
        closed.notified().await;
        assert_eq!(scripted.connections(), round);
    }
}

#[tokio::test]
async fn no_more_connections_are_kept_than_asked_for() {
    for (max_idle, expect) in [(0, 8), (1, 7), (4, 4)] {
        let scripted = Scripted::answering(HELLO).await;
        let mut settings = config(vec![scripted.server()]);
        settings.keepalive = Keepalive {
            idle: Duration::from_secs(30),
            max_idle,
        };
        let origin = Origin::new(&settings).unwrap();
        for _ in 0..2 {
            let mut open = Vec::new();
            for _ in 0..4 {
                open.push(origin.fetch(get("/")).await.unwrap());
            }
            for mut response in open {
                assert!(response.body.chunk().await.unwrap().is_some());
            }
        }
        assert_eq!(scripted.connections(), expect, "max_idle {max_idle}");
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let first = Scripted::start(move |_, mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.send(HELLO).await;
            talk.closed().await;
            tell.notify_one();
        }
    })
    .await;
    let second = Scripted::answering(HELLO).await;
    let mut settings = config(vec![first.server(), second.server()]);
    settings.max_connections = 1;
    let origin = Origin::new(&settings).unwrap();
    assert!(fetched(&origin, get("/")).await.is_ok());
    assert!(fetched(&origin, get("/")).await.is_ok());
    closed.notified().await;
    assert_eq!((first.connections(), second.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_shares_few_connections() {
    let scripted = Scripted::answering(HELLO).await;
    let mut settings = config(vec![scripted.server()]);
    settings.max_connections = 4;
    settings.queue.length = 500;
    let origin = Origin::new(&settings).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..500 {
        let origin = Arc::clone(&origin);
        crowd.push(tokio::spawn(
            async move { fetched(&origin, get("/")).await },
        ));
    }
    for one in crowd {
        assert_eq!(one.await.unwrap().unwrap(), b"hello");
    }
    assert_eq!(scripted.connections(), 4);
    assert_eq!(scripted.requests().len(), 500);
    assert_eq!(origin.client().admission().taken(), 0);
}
