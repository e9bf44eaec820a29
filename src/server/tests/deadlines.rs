use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use super::super::{H2Config, ListenerConfig};
use super::support::{Edge, get, get_h2, h1_over, listener, text, tls_listener, until, within};

const SHORT: Duration = Duration::from_millis(250);
/// Machines are slow at times; what matters is that the deadline is not the long one.
const SLACK: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

/// Reads to the end, and tells how long it took and whether it was a reset.
async fn end_of(stream: &mut TcpStream, since: Instant) -> (Duration, bool) {
    let mut rest = Vec::new();
    let result = within(stream.read_to_end(&mut rest)).await;
    let reset = result.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    (since.elapsed(), reset)
}

fn assert_short(took: Duration) {
    assert!(took >= SHORT.mul_f32(0.8) && took < SLACK, "{took:?}");
}

fn with(
    config: ListenerConfig,
    header: Duration,
    idle: Duration,
    write: Duration,
) -> ListenerConfig {
    ListenerConfig {
        handshake_timeout: header,
        header_timeout: header,
        idle_timeout: idle,
        write_timeout: write,
        h2_config: H2Config {
            idle_timeout: idle,
            ..config.h2_config
        },
        ..config
    }
}

#[tokio::test]
async fn a_silent_client_has_the_header_time_from_accept() {
    for config in [
        listener("plain"),
        ListenerConfig {
            h2: true,
            ..listener("both")
        },
        ListenerConfig {
            h1: false,
            h2: true,
            ..listener("prior knowledge")
        },
    ] {
        let edge = Edge::start(vec![with(config, SHORT, LONG, LONG)]);
        let since = Instant::now();
        let (took, _) = end_of(&mut edge.connect().await, since).await;
        assert_short(took);
        until(|| edge.server.report()[0].timeouts == 1).await;
    }
}

#[tokio::test]
async fn a_dripping_header_does_not_move_its_deadline() {
    let edge = Edge::start(vec![with(listener("plain"), SHORT, LONG, LONG)]);
    let mut stream = edge.connect().await;
    let since = Instant::now();
    let mut drip = interval(Duration::from_millis(20));
    within(async {
        let request = b"GET / HTTP/1.1\r\nx: "
            .iter()
            .chain(std::iter::repeat(&b'y'));
        for byte in request {
            drip.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    })
    .await;
    assert_short(since.elapsed());
}

#[tokio::test]
async fn a_later_header_has_its_time_from_its_first_byte() {
    let edge = Edge::start(vec![with(listener("plain"), SHORT, LONG, LONG)]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET /bytes/3 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 1000];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    let since = Instant::now();
    stream.write_all(b"GET /again").await.unwrap();
    let (took, _) = end_of(&mut stream, since).await;
    assert_short(took);
}

#[tokio::test]
async fn a_silent_handshake_ends() {
    let config = ListenerConfig {
        handshake_timeout: SHORT,
        ..tls_listener()
    };
    let edge = Edge::start(vec![config]);
    let since = Instant::now();
    let (took, _) = end_of(&mut edge.connect().await, since).await;
    assert_short(took);
    until(|| edge.server.report()[0].handshake_failures == 1).await;
}

#[tokio::test]
async fn a_tls_client_that_asks_nothing_ends_by_the_header_time() {
    let config = ListenerConfig {
        header_timeout: SHORT,
        ..tls_listener()
    };
    let edge = Edge::start(vec![config]);
    for alpn in ["http/1.1", "h2"] {
        let since = Instant::now();
        let mut stream = edge.connect_tls(&[alpn]).await;
        let mut rest = Vec::new();
        drop(within(stream.read_to_end(&mut rest)).await);
        assert_short(since.elapsed());
    }
}

#[tokio::test]
async fn an_idle_h1_connection_is_closed() {
    let edge = Edge::start(vec![with(listener("plain"), LONG, SHORT, LONG)]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET /bytes/3 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let (took, reset) = end_of(&mut stream, Instant::now()).await;
    assert_short(took);
    assert!(!reset);
}

#[tokio::test]
async fn an_idle_h2_connection_is_closed_though_it_pings() {
    let edge = Edge::start(vec![with(tls_listener(), LONG, SHORT, SHORT)]);
    let stream = edge.connect_tls(&["h2"]).await;
    let (_requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let since = Instant::now();
    let pinging = tokio::spawn(async move {
        while pings.ping(h2::Ping::opaque()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    drop(within(connection).await);
    assert_short(since.elapsed());
    within(pinging).await.unwrap();
}

#[tokio::test]
async fn a_long_answer_is_not_idle() {
    let edge = Edge::start(vec![with(tls_listener(), SHORT, SHORT, LONG)]);
    let mut h2 = edge.h2().await;
    let mut h1 = h1_over(edge.connect_tls(&["http/1.1"]).await).await;
    let first = h2.send_request(get_h2("https", "/wait"));
    let second = h1.send_request(get("/wait"));
    let (first, second, ()) = within(async {
        tokio::join!(first, second, async {
            edge.answer.running(2).await;
            // The deadlines that must not fire have to pass.
            tokio::time::sleep(SHORT * 3).await;
            edge.answer.let_go(2);
        })
    })
    .await;
    assert_eq!(text(first.unwrap()).await, "done");
    assert_eq!(text(second.unwrap()).await, "done");
}

#[tokio::test]
async fn an_h1_client_that_does_not_read_is_reset() {
    let edge = Edge::start(vec![with(listener("plain"), LONG, LONG, SHORT)]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET /bytes/50000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until(|| edge.server.report()[0].stalls == 1).await;
    until(|| edge.server.report()[0].open == 0).await;
    let (_, reset) = end_of(&mut stream, Instant::now()).await;
    assert!(reset);
}

#[tokio::test]
async fn a_slow_h1_reader_that_makes_progress_is_served_to_the_end() {
    let edge = Edge::start(vec![with(listener("plain"), SHORT, SHORT, SHORT * 4)]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET /bytes/20000000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut pause = interval(Duration::from_millis(25));
    let mut buffer = vec![0; 500_000];
    let mut total = 0;
    within(async {
        loop {
            pause.tick().await;
            let mut piece = 0;
            while piece < buffer.len() {
                match stream.read(&mut buffer[piece..]).await.unwrap() {
                    0 => return,
                    read => {
                        piece += read;
                        total += read;
                    }
                }
            }
        }
    })
    .await;
    assert!(total > 20_000_000, "{total}");
}

#[tokio::test]
async fn an_h2_stream_whose_window_is_shut_is_reset_and_the_others_go_on() {
    let edge = Edge::start(vec![with(tls_listener(), LONG, LONG, SHORT)]);
    let stream = edge.connect_tls(&["h2"]).await;
    let (mut requests, connection) = h2::client::Builder::new()
        .initial_window_size(1000)
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let ask = |path: &str| {
        let (parts, Empty { .. }) = get_h2("https", path).into_parts();
        ::http::Request::from_parts(parts, ())
    };
    let (stalled, _) = requests.send_request(ask("/bytes/500000"), true).unwrap();
    let mut body = within(stalled).await.unwrap().into_body();
    let error = within(async {
        loop {
            // Taken, but the window is not opened again.
            match body.data().await.unwrap() {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(error.is_reset(), "{error}");
    assert_eq!(edge.server.report()[0].stalls, 1);
    let mut requests = within(requests.ready()).await.unwrap();
    let (next, _) = requests.send_request(ask("/bytes/500"), true).unwrap();
    assert_eq!(within(next).await.unwrap().status(), 200);
    drop((requests, body));
    connection.abort();
}

#[tokio::test]
async fn an_h2_connection_that_takes_nothing_is_reset() {
    let edge = Edge::start(vec![with(tls_listener(), LONG, LONG, SHORT)]);
    let stream = edge.connect_tls(&["h2"]).await;
    // The streams' windows are open, the connection's is not: small tails that no stream's own
    // deadline sees.
    let (mut requests, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..20 {
        requests = within(requests.ready()).await.unwrap();
        let (parts, Empty { .. }) = get_h2("https", "/bytes/10000").into_parts();
        let request = ::http::Request::from_parts(parts, ());
        held.push(requests.send_request(request, true).unwrap());
    }
    until(|| edge.server.report()[0].stalls > 0).await;
    until(|| edge.server.report()[0].open == 0).await;
    drop(held);
    drop(within(connection).await);
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_of_tls_is_reset() {
    let edge = Edge::start(vec![with(tls_listener(), LONG, LONG, SHORT)]);
    let mut stream = edge.connect_tls(&["http/1.1"]).await;
    stream
        .write_all(b"GET /bytes/50000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    until(|| edge.server.report()[0].stalls == 1).await;
    until(|| edge.server.report()[0].open == 0).await;
}
