//! TLS: who is trusted, what is agreed on, how it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::super::config::{Config, Protocol, Scheme, Server, TlsVerification};
use super::super::fetch::Origin;
use super::super::script::{Scripted, Talk, config, fetched, get};
use super::h2::serve_h2;

struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self, name: &str, alpn: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(tls))
    }
}

#[derive(Clone, Copy)]
enum End {
    Notice,
    NoNotice,
}

/// One close-delimited answer over TLS and HTTP/1.1.
async fn answer_to_the_close(acceptor: TlsAcceptor, talk: Talk, end: End) {
    let Ok(mut tls) = acceptor.accept(talk.into_stream()).await else {
        return;
    };
    let mut request = [0; 4096];
    let read = tokio::io::AsyncReadExt::read(&mut tls, &mut request).await;
    assert!(read.is_ok());
    tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")
        .await
        .unwrap();
    tls.flush().await.unwrap();
    if let End::Notice = end {
        tls.shutdown().await.unwrap();
    }
}

fn secure(scripted: &Scripted) -> Server {
    Server {
        scheme: Scheme::Https,
        host: "localhost".to_owned(),
        ..scripted.server()
    }
}

fn trusting(authority: &Authority, scripted: &Scripted) -> Config {
    let mut settings = config(vec![secure(scripted)]);
    settings.verification = TlsVerification::Authority(authority.file());
    settings
}

async fn h1_server(authority: &Authority, name: &str, end: End) -> Scripted {
    let acceptor = authority.acceptor(name, &[b"http/1.1"]);
    Scripted::start(move |_, talk| answer_to_the_close(acceptor.clone(), talk, end)).await
}

async fn outcome(settings: &Config) -> Result<Vec<u8>, &'static str> {
    let origin = Origin::new(settings).unwrap();
    fetched(&origin, get("/"))
        .await
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn an_own_authority_is_trusted() {
    let authority = Authority::new();
    let scripted = h1_server(&authority, "localhost", End::Notice).await;
    assert_eq!(
        outcome(&trusting(&authority, &scripted)).await.unwrap(),
        b"hello"
    );
}

#[tokio::test]
async fn a_close_without_notice_is_a_cut() {
    let authority = Authority::new();
    let scripted = h1_server(&authority, "localhost", End::NoNotice).await;
    assert_eq!(
        outcome(&trusting(&authority, &scripted)).await,
        Err("truncated")
    );
}

#[tokio::test]
async fn a_stranger_is_refused_unless_verification_is_off() {
    let authority = Authority::new();
    let scripted = h1_server(&authority, "localhost", End::Notice).await;
    let mut settings = config(vec![secure(&scripted)]);
    let origin = Origin::new(&settings).unwrap();
    let error = origin.fetch(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "tls");
    assert_eq!(error.proxy_status(), "tls_certificate_error");
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);

    settings.verification = TlsVerification::Authority(Authority::new().file());
    assert!(
        Origin::new(&settings).is_err(),
        "that authority's file is gone"
    );

    settings.verification = TlsVerification::Off;
    assert_eq!(outcome(&settings).await.unwrap(), b"hello");
}

#[tokio::test]
async fn the_name_is_checked_and_can_be_set() {
    let authority = Authority::new();
    let scripted = h1_server(&authority, "inner.example", End::Notice).await;
    let mut settings = trusting(&authority, &scripted);
    assert_eq!(outcome(&settings).await, Err("tls"));
    settings.sni = Some("inner.example".to_owned());
    assert_eq!(outcome(&settings).await.unwrap(), b"hello");
}

#[tokio::test]
async fn the_protocol_is_agreed_on() {
    let authority = Authority::new();
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (ours, theirs, expect) in [
        (
            vec![Protocol::H2, Protocol::H1],
            both,
            Ok(b"over h2".to_vec()),
        ),
        (vec![Protocol::H2], both, Ok(b"over h2".to_vec())),
        (vec![Protocol::H2], &[], Err("tls")),
        (vec![Protocol::H1], &[], Ok(b"hello".to_vec())),
        (
            vec![Protocol::H2, Protocol::H1],
            &both[1..],
            Ok(b"hello".to_vec()),
        ),
        (vec![Protocol::H1], &both[..1], Err("tls")),
    ] {
        let acceptor = authority.acceptor("localhost", theirs);
        let scripted = Scripted::start(move |_, talk| {
            let acceptor = acceptor.clone();
            async move {
                let offers_h2 = acceptor
                    .config()
                    .alpn_protocols
                    .first()
                    .is_some_and(|p| p == b"h2");
                if !offers_h2 {
                    return answer_to_the_close(acceptor, talk, End::Notice).await;
                }
                if let Ok(tls) = acceptor.accept(talk.into_stream()).await {
                    serve_h2(tls, |_| http::Response::new("over h2".into())).await;
                }
            }
        })
        .await;
        let mut settings = trusting(&authority, &scripted);
        settings.protocols = ours.clone();
        assert_eq!(outcome(&settings).await, expect, "{ours:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_counts_as_connecting() {
    let authority = Authority::new();
    let scripted = Scripted::start(|_, talk| talk.closed()).await;
    let mut settings = trusting(&authority, &scripted);
    settings.connect_timeout = Duration::from_millis(50);
    assert_eq!(outcome(&settings).await, Err("connect-timeout"));
}

#[test]
fn a_file_without_a_certificate_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    let mut settings = config(vec![Server {
        scheme: Scheme::Https,
        host: "localhost".to_owned(),
        port: 443,
        base_path: String::new(),
        weight: 1,
        backup: false,
    }]);
    settings.verification = TlsVerification::Authority(file);
    assert_eq!(Origin::new(&settings).unwrap_err().kind(), "authority");
}
