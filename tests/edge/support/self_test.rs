//! The support itself: an origin that did not do what it says would make every other test a lie.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::client::{Client, Failure, Fields, Raw, exchange_raw};
use super::content::{Content, pattern};
use super::gate::Gate;
use super::origin::Origin;
use super::reply::{Reply, Resource};

async fn origin_and_client() -> (Origin, Client) {
    let origin = Origin::start().await;
    let client = Client::plain(origin.address());
    (origin, client)
}

#[tokio::test]
async fn the_origin_answers_counts_and_remembers() {
    let (origin, client) = origin_and_client().await;
    origin.serve("/a", Reply::ok("one").cache_control("max-age=5"));
    origin.on_any(|request| Reply::ok(format!("any {}", request.query().unwrap_or("none"))));
    origin.serve_in_turn("/turn", [Reply::ok("1"), Reply::status(503)]);

    let mut connection = client.connect().await.unwrap();
    let answer = connection
        .get("/a?x=1", &[("accept", "text/plain")])
        .await
        .unwrap();
    assert_eq!(
        (answer.text(), answer.header("cache-control")),
        ("one".into(), "max-age=5".into())
    );
    assert_eq!(answer.version, Version::HTTP_11);
    let answer = connection.get("/b?y", &[]).await.unwrap();
    assert_eq!(answer.text(), "any y");
    for expect in [200, 503, 503] {
        assert_eq!(client.get("/turn").await.unwrap().status, expect);
    }

    origin.asked("/turn", 3).await;
    let first = &origin.requests_for("/a")[0];
    assert_eq!((&first.method, &*first.target), (&Method::GET, "/a?x=1"));
    assert_eq!(first.header("accept"), Some("text/plain"));
    assert_eq!(first.connection, origin.requests_for("/b")[0].connection);
    assert_eq!(
        (
            origin.count(),
            origin.count_for("/turn"),
            origin.connections()
        ),
        (5, 3, 4)
    );
    origin.forget();
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(origin.url(), format!("http://{}", origin.address()));
}

#[tokio::test]
async fn request_bodies_arrive() {
    let (origin, client) = origin_and_client().await;
    origin.on("/in", |request| Reply::ok(request.body.clone()));
    let body = Bytes::from_static(b"some body");
    let answer = client
        .send(Method::PUT, "/in", &[], body.clone())
        .await
        .unwrap();
    assert_eq!(answer.body, body);
    let chunks = "POST /in HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
    let mut raw = Raw::connect(origin.address()).await.unwrap();
    raw.send(chunks).await.unwrap();
    assert!(
        raw.head()
            .await
            .unwrap()
            .ends_with("content-length: 5\r\n\r\n")
    );
    assert_eq!(raw.read_until("e").await.unwrap(), "abcde");
    raw.finish().await.unwrap();
    assert_eq!(raw.rest().await, "");
    Raw::connect(origin.address())
        .await
        .unwrap()
        .reset()
        .unwrap();
}

#[tokio::test]
async fn a_body_comes_whole_by_every_framing() {
    let (origin, client) = origin_and_client().await;
    let content = Content::pattern(7, 200_003);
    origin.serve("/length", Reply::ok(content.clone()));
    origin.serve("/chunked", Reply::ok(content.clone()).chunked());
    origin.serve("/close", Reply::ok(content.clone()).until_close());
    for path in ["/length", "/chunked", "/close"] {
        let answer = client.get(path).await.unwrap();
        assert!(answer.body == content.to_bytes(), "{path}");
    }
    assert!(client.head("/length").await.unwrap().body.is_empty());
    let four = client.many(4, "/chunked", &[("accept", "*/*")]).await;
    assert!(
        four.iter()
            .all(|answer| answer.as_ref().is_ok_and(|a| a.status == 200))
    );
}

#[tokio::test]
async fn a_body_that_is_cut_off_shows_as_broken() {
    let (origin, client) = origin_and_client().await;
    let content = Content::pattern(1, 100_000);
    let reply = Reply::ok(content.clone());
    origin.serve("/a", reply.clone().close_after(1000));
    origin.serve("/b", reply.clone().chunked().close_after(1000));
    origin.serve("/c", reply.clone().declared_length(100_001));
    origin.serve("/d", reply.clone().chunked().reset_after(1000));
    for (path, received) in [("/a", 1000), ("/b", 1000), ("/c", 100_000), ("/d", 1000)] {
        let failure = client.get(path).await.unwrap_err();
        let Failure::Broken {
            status,
            headers,
            why,
            ..
        } = &failure
        else {
            panic!("{path}: {failure:?}");
        };
        assert_eq!(*status, StatusCode::OK);
        assert!(!headers.is_empty() && !why.is_empty());
        assert!(failure.received() == content.slice(0..received), "{path}");
    }
}

#[tokio::test]
async fn no_head_shows_as_no_answer() {
    let (origin, client) = origin_and_client().await;
    origin.serve("/reset", Reply::reset());
    origin.serve("/raw", Reply::raw("HTTP/1.1 abc\r\n\r\n"));
    for path in ["/reset", "/raw"] {
        let failure = client.get(path).await.unwrap_err();
        let Failure::NoAnswer(why) = &failure else {
            panic!("{path}: {failure:?}");
        };
        assert!(!why.is_empty());
        assert!(failure.received().is_empty());
    }
    let text = exchange_raw(origin.address(), "GET /raw HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(text, "HTTP/1.1 abc\r\n\r\n");
}

#[tokio::test]
async fn gates_hold_the_head_and_the_body() {
    let (origin, client) = origin_and_client().await;
    let (head, body) = (Gate::closed(), Gate::closed());
    let reply = Reply::ok("first second")
        .hold_head(&head)
        .hold_body(6, &body);
    origin.serve("/g", reply);

    let opening = tokio::spawn(async move { client.open("/g", &[]).await });
    head.reached(1).await;
    assert!(!opening.is_finished());
    head.admit(1);
    let mut answer = opening.await.unwrap().unwrap();
    answer.until(6).await.unwrap();
    body.reached(1).await;
    assert_eq!(
        (answer.received(), answer.header("content-length")),
        (&b"first "[..], "12".into())
    );
    body.open();
    assert_eq!(answer.whole().await.unwrap().text(), "first second");
    assert_eq!((head.arrivals(), body.arrivals()), (1, 1));
}

#[tokio::test]
async fn a_reader_that_leaves_is_counted_as_an_abort() {
    let (origin, client) = origin_and_client().await;
    let gate = Gate::closed();
    origin.serve("/g", Reply::ok("first second").hold_body(6, &gate));
    let mut answer = client.open("/g", &[]).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "first ");
    assert_eq!(origin.aborts(), 0);
    drop(answer);
    origin.aborted(1).await;
}

#[tokio::test]
async fn an_origin_dies_and_comes_back_on_its_port() {
    let (origin, client) = origin_and_client().await;
    let gate = Gate::closed();
    origin.serve("/g", Reply::ok("first second").hold_body(6, &gate));
    let mut answer = client.open("/g", &[]).await.unwrap();
    answer.until(6).await.unwrap();
    origin.die().await;
    assert!(matches!(answer.whole().await, Err(Failure::Broken { .. })));
    assert!(matches!(client.get("/g").await, Err(Failure::NoAnswer(_))));
    origin.revive().await;
    gate.open();
    assert_eq!(client.get("/g").await.unwrap().text(), "first second");
}

#[tokio::test]
async fn a_resource_answers_conditionals_and_ranges() {
    let date = "Tue, 03 Nov 2026 10:00:00 GMT";
    let (origin, client) = origin_and_client().await;
    let resource = Resource::new("0123456789")
        .etag("\"v1\"")
        .last_modified(date)
        .cache_control("max-age=60");
    origin.serve_resource("/r", resource.clone());
    origin.serve_resource("/whole", resource.without_ranges());

    let cases: &[(Fields<'_>, u16, &str)] = &[
        (&[], 200, "0123456789"),
        (&[("if-none-match", "\"v1\"")], 304, ""),
        (&[("if-none-match", "\"v0\", W/\"v1\"")], 304, ""),
        (&[("if-none-match", "\"v0\"")], 200, "0123456789"),
        (&[("if-modified-since", date)], 304, ""),
        (&[("range", "bytes=2-4")], 206, "234"),
        (&[("range", "bytes=8-99")], 206, "89"),
        (&[("range", "bytes=-3")], 206, "789"),
        (&[("range", "bytes=10-")], 416, ""),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"v1\"")],
            206,
            "234",
        ),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"v0\"")],
            200,
            "0123456789",
        ),
    ];
    for (fields, status, body) in cases {
        let answer = client.get_with("/r", fields).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &*answer.text()),
            (*status, *body),
            "{fields:?}"
        );
    }
    let answer = client
        .get_with("/whole", &[("range", "bytes=2-4")])
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn tls_shows_the_name_the_version_and_the_certificate() {
    let (config, certificate) = tls_for("example.test");
    let origin = Origin::start_tls(Arc::new(config)).await;
    origin.on("/t", |request| {
        Reply::ok(request.header("host").unwrap_or("").to_owned())
    });
    assert!(origin.url().starts_with("https://localhost:"));

    let client = Client::h1(origin.address())
        .host("example.test:8443")
        .tls12();
    let mut connection = client.connect().await.unwrap();
    let session = connection.session.clone().unwrap();
    assert_eq!(session.certificate.as_ref(), Some(&certificate));
    assert_eq!(session.version, Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(
        connection.get("/t", &[]).await.unwrap().text(),
        "example.test:8443"
    );
    let answer = connection.get("https://other.test/t", &[]).await.unwrap();
    assert_eq!(answer.text(), "other.test");
    assert!(connection.share().is_none());

    // This origin offers nothing by ALPN.
    let h2 = Client::h2(origin.address()).server_name("example.test");
    assert!(matches!(h2.get("/t").await, Err(Failure::NoAnswer(_))));
}

#[tokio::test]
async fn h2_requests_share_a_connection_and_a_reset_stream_shows_as_broken() {
    let mut config = tls_for("localhost").0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let tls = acceptor
            .accept(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        let mut streams = h2::server::handshake(tls).await.unwrap();
        while let Some(Ok((request, mut respond))) = streams.accept().await {
            let mut body = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            let is_cut = request.uri().path() == "/cut";
            body.send_data(Bytes::from_static(b"from h2"), !is_cut)
                .unwrap();
            if is_cut {
                body.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        }
    });

    let mut connection = Client::h2(address).connect().await.unwrap();
    let mut other = connection.share().unwrap();
    let (one, two) = tokio::join!(connection.get("/a", &[]), other.get("/b", &[]));
    let one = one.unwrap();
    assert_eq!((one.version, &*one.text()), (Version::HTTP_2, "from h2"));
    assert_eq!(two.unwrap().text(), "from h2");
    assert!(connection.get("/cut", &[]).await.is_err());
}

fn tls_for(name: &str) -> (rustls::ServerConfig, CertificateDer<'static>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (config, cert.der().clone())
}

#[test]
fn a_pattern_is_the_same_from_every_place_and_differs_by_seed() {
    let whole = pattern(3, 0..1000);
    for (from, to) in [(0_u16, 1000_u16), (1, 9), (7, 8), (8, 8), (511, 777)] {
        let part = pattern(3, from.into()..to.into());
        assert_eq!(part, whole[from.into()..to.into()]);
    }
    assert_ne!(pattern(4, 0..1000), whole);
}
