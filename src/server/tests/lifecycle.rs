use std::net::SocketAddr;
use std::time::Duration;

use ::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Config, DrainOutcome, ListenerConfig, Server, ServerError};
use super::support::{Edge, get, get_h2, listener, text, tls_listener, until, within};

const PATIENT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_address_has_its_share_and_no_more() {
    let config = ListenerConfig {
        max_connections_per_ip: 2,
        ..listener("plain")
    };
    let edge = Edge::start(vec![config]);
    let mut first = edge.h1().await;
    let mut second = edge.h1().await;
    assert!(first.send_request(get("/peer")).await.is_ok());
    assert!(second.send_request(get("/peer")).await.is_ok());
    // The reset may come before connect returns.
    if let Ok(mut third) = TcpStream::connect(edge.address()).await {
        let mut nothing = Vec::new();
        let ended = within(third.read_to_end(&mut nothing)).await;
        assert!(ended.is_err() || nothing.is_empty());
    }
    until(|| edge.server.report()[0].refused_address == 1).await;
    drop(first);
    until(|| edge.server.report()[0].open == 1).await;
    let mut fourth = edge.h1().await;
    assert!(fourth.send_request(get("/peer")).await.is_ok());
}

#[tokio::test]
async fn an_idle_connection_gives_its_place_to_a_new_one() {
    let config = ListenerConfig {
        max_connections: 2,
        ..listener("plain")
    };
    let edge = Edge::start(vec![config]);
    let mut idle = edge.h1().await;
    assert!(idle.send_request(get("/peer")).await.is_ok());
    let mut busy = edge.h1().await;
    let waiting = tokio::spawn(async move { busy.send_request(get("/wait")).await });
    edge.answer.running(1).await;
    let mut newcomer = edge.h1().await;
    let response = within(newcomer.send_request(get("/peer"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(edge.server.report()[0].shed, 1);
    edge.answer.let_go(1);
    let response = within(waiting).await.unwrap().unwrap();
    assert_eq!(text(response).await, "done");
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_closes_what_idles() {
    let edge = Edge::start(vec![tls_listener(), listener("plain")]);
    let plain = edge.server.addresses()[1].1;
    let mut h2 = edge.h2().await;
    let running_h2 = h2.send_request(get_h2("https", "/wait"));
    let stream = TcpStream::connect(plain).await.unwrap();
    let mut h1 = super::support::h1_over(stream).await;
    let running_h1 = h1.send_request(get("/wait"));
    let stream = TcpStream::connect(plain).await.unwrap();
    let mut idle = super::support::h1_over(stream).await;
    assert!(idle.send_request(get("/peer")).await.is_ok());

    let drained = async {
        edge.answer.running(2).await;
        edge.server.drain(PATIENT).await
    };
    let (outcome, from_h2, from_h1, ()) = within(async {
        tokio::join!(drained, running_h2, running_h1, async {
            // The idle one goes at once; then nobody is let in.
            until(|| idle.is_closed()).await;
            until(|| std::net::TcpStream::connect(plain).is_err()).await;
            edge.answer.let_go(2);
        })
    })
    .await;
    // Those that knocked while the workers were closing count too.
    assert!(outcome.finished >= 3 && outcome.cut == 0, "{outcome:?}");
    let from_h1 = from_h1.unwrap();
    assert_eq!(from_h1.headers()["connection"], "close");
    assert_eq!(text(from_h1).await, "done");
    assert_eq!(text(from_h2.unwrap()).await, "done");
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_end() {
    let edge = Edge::start(vec![tls_listener()]);
    let mut h2 = edge.h2().await;
    let hanging = tokio::spawn(async move { h2.send_request(get_h2("https", "/never")).await });
    until(|| edge.server.report()[0].open == 1).await;
    let outcome = within(edge.server.drain(Duration::from_millis(50))).await;
    assert_eq!(
        outcome,
        DrainOutcome {
            finished: 0,
            cut: 1
        }
    );
    assert!(within(hanging).await.unwrap().is_err());
    let again = within(edge.server.drain(PATIENT)).await;
    assert_eq!((again.finished, again.cut), (0, 0));
    assert!(matches!(
        edge.server.reconcile(&edge.config, None),
        Err(ServerError::Stopped)
    ));
}

#[tokio::test]
async fn requests_that_are_on_the_wire_when_a_drain_begins_are_answered() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut stream = edge.connect().await;
        stream
            .write_all(b"GET /bytes/3 HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        clients.push(stream);
    }
    let outcome = within(edge.server.drain(PATIENT)).await;
    assert_eq!((outcome.finished, outcome.cut), (20, 0));
    for mut stream in clients {
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_reload_adds_and_removes_listeners_and_leaves_the_rest() {
    let edge = Edge::start(vec![listener("one"), listener("two")]);
    let addresses = edge.server.addresses();
    let mut kept = edge.h1().await;
    assert!(kept.send_request(get("/peer")).await.is_ok());
    let stream = TcpStream::connect(addresses[1].1).await.unwrap();
    let mut removed = super::support::h1_over(stream).await;
    let running = removed.send_request(get("/wait"));

    let config = Config {
        listeners: vec![listener("three"), listener("one")],
        ..edge.config.clone()
    };
    let (response, ()) = within(async {
        tokio::join!(running, async {
            edge.answer.running(1).await;
            edge.server.reconcile(&config, Some(&edge.tls)).unwrap();
            edge.answer.let_go(1);
        })
    })
    .await;
    let response = response.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "done");

    let now = edge.server.addresses();
    let names: Vec<&str> = now.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["three", "one"]);
    assert_eq!(now[1].1, addresses[0].1);
    let response = kept.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "one false - HTTP/1.1");
    let mut new = edge.h1().await;
    let response = new.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "three false - HTTP/1.1");
    until(|| std::net::TcpStream::connect(addresses[1].1).is_err()).await;
}

#[tokio::test]
async fn a_failed_reload_changes_nothing() {
    let edge = Edge::start(vec![listener("one")]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = ListenerConfig {
        bind: vec![taken.local_addr().unwrap()],
        ..listener("two")
    };
    let config = Config {
        listeners: vec![bad],
        ..edge.config.clone()
    };
    let error = edge.server.reconcile(&config, None).unwrap_err();
    assert!(error.to_string().contains("listener \"two\""), "{error}");
    let config = Config {
        listeners: vec![tls_listener()],
        ..edge.config.clone()
    };
    assert!(matches!(
        edge.server.reconcile(&config, None),
        Err(ServerError::NoTls { .. })
    ));
    let mut client = edge.h1().await;
    let response = client.send_request(get("/peer")).await.unwrap();
    assert_eq!(text(response).await, "one false - HTTP/1.1");
}

#[tokio::test]
async fn an_address_may_move_to_another_listener() {
    let edge = Edge::start(vec![listener("one")]);
    let address = edge.address();
    let moved = ListenerConfig {
        bind: vec![address],
        ..listener("two")
    };
    let config = Config {
        listeners: vec![moved],
        ..edge.config.clone()
    };
    edge.server.reconcile(&config, None).unwrap();
    until(|| edge.server.addresses() == [("two".into(), address)]).await;
    // The old socket of a worker is closed a moment after the new one listens, and whoever waits in its queue then is
    // reset: such a client comes again.
    within(async {
        while !answers_at(address).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whether a connection of its own is answered.
async fn answers_at(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let request = b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
}

#[tokio::test]
async fn dropping_the_server_ends_everything() {
    let edge = Edge::start(vec![listener("plain")]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until(|| edge.server.report()[0].open == 1).await;
    drop::<Server>(edge.server);
    let mut nothing = Vec::new();
    drop(within(stream.read_to_end(&mut nothing)).await);
    assert!(nothing.is_empty());
}
