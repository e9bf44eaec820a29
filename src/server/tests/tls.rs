use std::fs;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::ListenerConfig;
use super::support::{Edge, get, h1_over, text, tls_listener, until, within};
use crate::clock::SystemClock;
use crate::tls::{self, CertificateFiles, UnknownName};

#[track_caller]
fn assert_alert(error: &io::Error, expect: AlertDescription) {
    let inner = error.get_ref().unwrap().downcast_ref::<rustls::Error>();
    assert_eq!(inner, Some(&rustls::Error::AlertReceived(expect)));
}

fn files(folder: &tempfile::TempDir, names: &[&str]) -> CertificateFiles {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let stem = names[0].replace('*', "_");
    let cert = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let files = CertificateFiles {
        cert: folder.path().join(format!("{stem}.pem")),
        key: folder.path().join(format!("{stem}.key")),
    };
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_unknown_ones_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let config = tls::Config {
        certificates: vec![
            files(&folder, &["first.test"]),
            files(&folder, &["*.wild.test"]),
        ],
        self_signed: vec!["localhost".to_owned()],
        ..tls::Config::default()
    };
    let edge = Edge::with_tls(vec![tls_listener()], &config);
    // The client checks that the certificate is for the name.
    for name in ["first.test", "a.wild.test", "localhost"] {
        let stream = edge.handshake(edge.client_config(&[]), name).await.unwrap();
        let mut client = h1_over(stream).await;
        let answer = text(client.send_request(get("/peer")).await.unwrap()).await;
        assert_eq!(answer, format!("https true {name} HTTP/1.1"));
    }
    for name in ["other.test", "a.b.wild.test"] {
        let error = edge
            .handshake(edge.client_config(&[]), name)
            .await
            .unwrap_err();
        assert_alert(&error, AlertDescription::UnrecognisedName);
    }
    until(|| edge.server.report()[0].handshake_failures == 2).await;
}

#[tokio::test]
async fn a_client_without_a_name_gets_the_first_certificate_or_an_alert() {
    let edge = Edge::start(vec![tls_listener()]);
    // An address is no SNI (RFC 6066 section 3); the self-signed certificate names it.
    edge.handshake(edge.client_config(&[]), "127.0.0.1")
        .await
        .unwrap();
    let strict = tls::Config {
        self_signed: vec!["localhost".to_owned()],
        no_sni: UnknownName::Reject,
        ..tls::Config::default()
    };
    let edge = Edge::with_tls(vec![tls_listener()], &strict);
    let error = edge
        .handshake(edge.client_config(&[]), "127.0.0.1")
        .await
        .unwrap_err();
    assert_alert(&error, AlertDescription::UnrecognisedName);
}

#[tokio::test]
async fn protocols_that_nobody_shares_end_the_handshake() {
    let edge = Edge::start(vec![tls_listener()]);
    let config = edge.client_config(&["smtp"]);
    let error = edge.handshake(config, "localhost").await.unwrap_err();
    assert_alert(&error, AlertDescription::NoApplicationProtocol);

    let h2_only = ListenerConfig {
        h1: false,
        ..tls_listener()
    };
    let edge = Edge::start(vec![h2_only]);
    let mut stream = edge.connect_tls(&[]).await;
    let mut rest = Vec::new();
    // No ALPN and no HTTP/1: nothing to say.
    let ended = within(stream.read_to_end(&mut rest)).await;
    assert!(ended.is_err() || rest.is_empty());
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_what_clients_get() {
    let edge = Edge::start(vec![tls_listener()]);
    let stream = edge.connect_tls(&["h2"]).await;
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_closed() {
    let edge = Edge::start(vec![tls_listener()]);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let ended = within(stream.read_to_end(&mut answer)).await;
    assert!(ended.is_err() || !answer.starts_with(b"HTTP"));
}

/// Talks once, so that the tickets have come, and tells how the handshake went.
async fn visit(edge: &Edge, config: &rustls::ClientConfig) -> HandshakeKind {
    let stream = edge.handshake(config.clone(), "localhost").await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let mut client = h1_over(stream).await;
    text(client.send_request(get("/peer")).await.unwrap()).await;
    kind
}

#[tokio::test]
async fn sessions_resume_also_after_a_reload() {
    let mut edge = Edge::start(vec![tls_listener()]);
    let config = tls::Config {
        self_signed: vec!["localhost".to_owned(), "a.test".to_owned()],
        ..tls::Config::default()
    };
    let clock = SystemClock::shared();
    let now = clock.now();
    let tickets = tls::Tickets::new(config.ticket_rotation, clock).unwrap();
    let swap = |edge: &mut Edge| {
        let tls = tls::load(&config, edge.state.path(), now, &tickets).unwrap();
        edge.server.swap_tls(&tls).unwrap();
        edge.tls = tls;
    };
    swap(&mut edge);
    let client = edge.client_config(&["http/1.1"]);
    assert_eq!(visit(&edge, &client).await, HandshakeKind::Full);
    assert_eq!(visit(&edge, &client).await, HandshakeKind::Resumed);
    swap(&mut edge);
    assert_eq!(visit(&edge, &client).await, HandshakeKind::Resumed);
}

#[tokio::test]
async fn without_tickets_nothing_resumes() {
    let config = tls::Config {
        self_signed: vec!["localhost".to_owned()],
        session_tickets: false,
        ..tls::Config::default()
    };
    let edge = Edge::with_tls(vec![tls_listener()], &config);
    let client = edge.client_config(&["http/1.1"]);
    assert_eq!(visit(&edge, &client).await, HandshakeKind::Full);
    assert_eq!(visit(&edge, &client).await, HandshakeKind::Full);
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_when_allowed() {
    let client = |edge: &Edge| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(Arc::clone(&edge.roots))
            .with_no_client_auth()
    };
    let edge = Edge::start(vec![tls_listener()]);
    assert!(edge.handshake(client(&edge), "localhost").await.is_ok());
    let strict = tls::Config {
        self_signed: vec!["localhost".to_owned()],
        min_version: tls::MinVersion::Tls13,
        ..tls::Config::default()
    };
    let edge = Edge::with_tls(vec![tls_listener()], &strict);
    let error = edge
        .handshake(client(&edge), "localhost")
        .await
        .unwrap_err();
    assert_alert(&error, AlertDescription::ProtocolVersion);
}
