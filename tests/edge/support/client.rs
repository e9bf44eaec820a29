//! Clients over HTTP/1.1, HTTP/1.1 in TLS and HTTP/2 in TLS that tell a whole answer from one that
//! was cut off, and a bare socket for what no client would send.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::within_deadline;

static TLS12_ONLY: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Fields of a request.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// All values of a field, joined as RFC 9110 section 5.3 allows; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Not a whole answer.
#[derive(Debug)]
pub enum Failure {
    /// The head came and the body was cut off.
    Broken {
        status: StatusCode,
        headers: Box<HeaderMap>,
        received: Bytes,
        why: String,
    },
    /// No connection, no handshake or no head.
    NoAnswer(String),
}

impl Failure {
    fn no_answer(error: impl Debug) -> Self {
        Self::NoAnswer(format!("{error:?}"))
    }

    /// What came of the body before it broke; nothing if there was no head.
    pub fn received(&self) -> Bytes {
        match self {
            Self::Broken { received, .. } => received.clone(),
            Self::NoAnswer(_) => Bytes::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 in TLS.
    H1,
    /// HTTP/2 in TLS.
    H2,
}

/// Where to connect and how. Every request has a connection of its own; [`Client::connect`] gives
/// one for several.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    protocol: Protocol,
    authority: String,
    server_name: String,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Client {
    pub fn new(protocol: Protocol, address: SocketAddr) -> Self {
        Self {
            address,
            protocol,
            authority: "localhost".to_owned(),
            server_name: "localhost".to_owned(),
            versions: rustls::ALL_VERSIONS,
        }
    }

    pub fn plain(address: SocketAddr) -> Self {
        Self::new(Protocol::Plain, address)
    }

    pub fn h1(address: SocketAddr) -> Self {
        Self::new(Protocol::H1, address)
    }

    pub fn h2(address: SocketAddr) -> Self {
        Self::new(Protocol::H2, address)
    }

    /// The host that requests name and TLS asks for.
    #[must_use]
    pub fn host(mut self, authority: &str) -> Self {
        let name = authority
            .rsplit_once(':')
            .map_or(authority, |(name, _)| name);
        self.server_name = name.to_owned();
        self.authority = authority.to_owned();
        self
    }

    /// A TLS name that differs from the requests' host.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = name.to_owned();
        self
    }

    /// No newer TLS than 1.2.
    #[must_use]
    pub fn tls12(mut self) -> Self {
        self.versions = TLS12_ONLY;
        self
    }

    pub async fn get(&self, target: &str) -> Result<Answer, Failure> {
        self.get_with(target, &[]).await
    }

    pub async fn get_with(&self, target: &str, fields: Fields<'_>) -> Result<Answer, Failure> {
        self.send(Method::GET, target, fields, Bytes::new()).await
    }

    pub async fn head(&self, target: &str) -> Result<Answer, Failure> {
        self.send(Method::HEAD, target, &[], Bytes::new()).await
    }

    pub async fn send(
        &self,
        method: Method,
        target: &str,
        fields: Fields<'_>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut connection = self.connect().await?;
        connection.send(method, target, fields, body).await
    }

    /// The answer's head, with the body still to come. Dropping it disconnects.
    pub async fn open(&self, target: &str, fields: Fields<'_>) -> Result<Streaming, Failure> {
        self.connect().await?.open(target, fields).await
    }

    /// `count` clients at once, each with a connection of its own.
    pub async fn many(
        &self,
        count: usize,
        target: &str,
        fields: Fields<'_>,
    ) -> Vec<Result<Answer, Failure>> {
        let mut requests = JoinSet::new();
        for _ in 0..count {
            let client = self.clone();
            let target = target.to_owned();
            let fields = owned(fields);
            requests.spawn(async move { client.get_with(&target, &borrowed(&fields)).await });
        }
        within_deadline("many requests", requests.join_all()).await
    }

    pub async fn connect(&self) -> Result<Connection, Failure> {
        within_deadline("a connection", self.connect_at_leisure()).await
    }

    async fn connect_at_leisure(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(Failure::no_answer)?;
        stream.set_nodelay(true).map_err(Failure::no_answer)?;
        if self.protocol == Protocol::Plain {
            let (sender, driver) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(Failure::no_answer)?;
            return Ok(Connection::new(
                self,
                Sender::H1(sender),
                Driver::of(driver),
            ));
        }

        let name = ServerName::try_from(self.server_name.clone()).map_err(Failure::no_answer)?;
        let tls = TlsConnector::from(Arc::new(self.tls_config()))
            .connect(name, stream)
            .await
            .map_err(Failure::no_answer)?;
        let session = Session::of(tls.get_ref().1);
        let (sender, driver) = if session.alpn.as_deref() == Some(b"h2") {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
                .await
                .map_err(Failure::no_answer)?;
            (Sender::H2(sender), Driver::of(driver))
        } else {
            let (sender, driver) = http1::handshake(TokioIo::new(tls))
                .await
                .map_err(Failure::no_answer)?;
            (Sender::H1(sender), Driver::of(driver))
        };
        if self.protocol == Protocol::H2 && matches!(sender, Sender::H1(_)) {
            return Err(Failure::no_answer("the server did not choose h2"));
        }
        let mut connection = Connection::new(self, sender, driver);
        connection.session = Some(session);
        Ok(connection)
    }

    fn tls_config(&self) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = AnyCertificate(provider.signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .expect("the provider knows these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = match self.protocol {
            Protocol::H2 => vec![b"h2".to_vec()],
            Protocol::Plain | Protocol::H1 => vec![b"http/1.1".to_vec()],
        };
        config
    }
}

/// What TLS agreed on.
#[derive(Clone, Debug)]
pub struct Session {
    pub certificate: Option<CertificateDer<'static>>,
    pub alpn: Option<Vec<u8>>,
    pub version: Option<ProtocolVersion>,
}

impl Session {
    fn of(connection: &rustls::ClientConnection) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        Self {
            certificate: chain.first().map(|first| first.clone().into_owned()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            version: connection.protocol_version(),
        }
    }
}

/// One connection for one request after the other, or, over h2, for several at once.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    driver: Arc<Driver>,
    authority: String,
    scheme: &'static str,
    pub session: Option<Session>,
}

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// The task that moves a connection's bytes; the connection ends with it.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Driver {
    fn of<F>(connection: F) -> Self
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        // An error of the connection shows in its requests.
        Self(tokio::spawn(async move { drop(connection.await) }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    fn new(client: &Client, sender: Sender, driver: Driver) -> Self {
        Self {
            sender,
            driver: Arc::new(driver),
            authority: client.authority.clone(),
            scheme: match client.protocol {
                Protocol::Plain => "http",
                Protocol::H1 | Protocol::H2 => "https",
            },
            session: None,
        }
    }

    /// A second handle to an h2 connection, for requests at the same time.
    pub fn share(&self) -> Option<Self> {
        let Sender::H2(sender) = &self.sender else {
            return None;
        };
        Some(Self {
            sender: Sender::H2(sender.clone()),
            driver: Arc::clone(&self.driver),
            authority: self.authority.clone(),
            scheme: self.scheme,
            session: self.session.clone(),
        })
    }

    pub async fn get(&mut self, target: &str, fields: Fields<'_>) -> Result<Answer, Failure> {
        self.open(target, fields).await?.whole().await
    }

    pub async fn send(
        &mut self,
        method: Method,
        target: &str,
        fields: Fields<'_>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let head = self.start(method, target, fields, body).await?;
        head.whole().await
    }

    pub async fn open(&mut self, target: &str, fields: Fields<'_>) -> Result<Streaming, Failure> {
        self.start(Method::GET, target, fields, Bytes::new()).await
    }

    async fn start(
        &mut self,
        method: Method,
        target: &str,
        fields: Fields<'_>,
        body: Bytes,
    ) -> Result<Streaming, Failure> {
        let request = self.request(method, target, fields, body)?;
        let response = within_deadline("an answer's head", async {
            match &mut self.sender {
                Sender::H1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::H2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
        .map_err(Failure::no_answer)?;
        let (parts, body) = response.into_parts();
        Ok(Streaming {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body,
            received: BytesMut::new(),
            _driver: Arc::clone(&self.driver),
        })
    }

    /// `target` is a path with query, or a URL whose host is then asked for.
    fn request(
        &self,
        method: Method,
        target: &str,
        fields: Fields<'_>,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let uri: Uri = target.parse().map_err(Failure::no_answer)?;
        let authority = match uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => self.authority.clone(),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = http::Request::builder().method(method);
        request = match &self.sender {
            Sender::H1(_) => request.uri(path),
            Sender::H2(_) => request.uri(format!("{}://{authority}{path}", self.scheme)),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let names_host = fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if matches!(self.sender, Sender::H1(_)) && !names_host {
            request = request.header("host", authority);
        }
        request.body(Full::new(body)).map_err(Failure::no_answer)
    }
}

/// An answer whose body is still coming. Over h1, and as the last handle over h2, dropping it
/// disconnects; otherwise it resets the stream.
#[derive(Debug)]
pub struct Streaming {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    body: Incoming,
    received: BytesMut,
    _driver: Arc<Driver>,
}

impl Streaming {
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }

    /// The next piece of the body, `None` at its right end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(frame) = within_deadline("a piece of a body", self.body.frame()).await else {
                return Ok(None);
            };
            match frame {
                Ok(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        self.received.extend_from_slice(&piece);
                        return Ok(Some(piece));
                    }
                }
                Err(error) => {
                    return Err(Failure::Broken {
                        status: self.status,
                        headers: Box::new(self.headers.clone()),
                        received: self.received.clone().freeze(),
                        why: format!("{error:?}"),
                    });
                }
            }
        }
    }

    /// Reads on until `bytes` of the body have come in all.
    pub async fn until(&mut self, bytes: usize) -> Result<(), Failure> {
        while self.received.len() < bytes {
            if self.next().await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// What has come so far.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The answer with its body whole.
    pub async fn whole(mut self) -> Result<Answer, Failure> {
        while self.next().await?.is_some() {}
        Ok(Answer {
            status: self.status,
            version: self.version,
            headers: self.headers,
            body: self.received.freeze(),
        })
    }
}

/// A bare socket, for requests that are wrong or come in pieces.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = within_deadline("a connection", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within_deadline("a write", self.0.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// Leaves with a reset.
    pub fn reset(self) -> io::Result<()> {
        self.0.set_zero_linger()
    }

    /// Up to and with the first `mark`, or what there was before the end.
    pub async fn read_until(&mut self, mark: &str) -> io::Result<String> {
        let mut text = Vec::new();
        within_deadline("a mark in an answer", async {
            while !text.ends_with(mark.as_bytes()) {
                match self.0.read_u8().await {
                    Ok(byte) => text.push(byte),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// An answer's head.
    pub async fn head(&mut self) -> io::Result<String> {
        self.read_until("\r\n\r\n").await
    }

    /// Everything up to the end. A reset is an end as well: a server that refuses a request may
    /// close before it has read all of it.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = within_deadline("the end of an answer", self.0.read_to_end(&mut bytes)).await;
        drop(read);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Sends `bytes` on a connection of their own and gives what comes until it is closed.
pub async fn exchange_raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> io::Result<String> {
    let mut raw = Raw::connect(address).await?;
    raw.send(bytes).await?;
    Ok(raw.rest().await)
}

fn joined(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    values.join(", ")
}

fn owned(fields: Fields<'_>) -> Vec<(String, String)> {
    let pairs = fields.iter();
    pairs
        .map(|(name, value)| (String::from(*name), String::from(*value)))
        .collect()
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

/// Takes any certificate: the tests look at it themselves when it matters.
#[derive(Debug)]
struct AnyCertificate(rustls::crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
