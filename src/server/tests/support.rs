use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{Answer, Config, ListenerConfig, Peer, Server};
use crate::clock::SystemClock;
use crate::pipeline::RequestLimits;
use crate::semantics::interim::Interim;
use crate::tls;

/// Longer than anything here takes; a test that meets it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers by path, with what the tests need.
#[derive(Debug)]
pub(super) struct Scripted {
    /// `/wait` adds a permit when it runs…
    waiting: Semaphore,
    /// …and waits for one of these.
    go: Semaphore,
    /// The way for interim answers of the last `/hints`.
    last: Mutex<Option<Interim>>,
}

fn hint(interim: Option<Interim>, link: &str) -> Option<Interim> {
    if let Some(interim) = &interim {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_str(link).unwrap());
        interim.tell(StatusCode::EARLY_HINTS, &headers);
    }
    interim
}

impl Scripted {
    /// Waits until so many more `/wait` run.
    pub(super) async fn running(&self, count: u32) {
        within(self.waiting.acquire_many(count))
            .await
            .unwrap()
            .forget();
    }

    /// Lets so many `/wait` go on.
    pub(super) fn let_go(&self, count: usize) {
        self.go.add_permits(count);
    }
}

impl Answer for Scripted {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
        interim: Option<Interim>,
    ) -> Response<Self::Body> {
        let path = request.uri().path().to_owned();
        let (_, rest) = path.split_once('/').unwrap();
        let (name, argument) = rest.split_once('/').unwrap_or((rest, ""));
        match name {
            "peer" => whole(format!(
                "{} {} {} {:?}",
                peer.listener,
                peer.secure,
                peer.sni.as_deref().unwrap_or("-"),
                request.version()
            )),
            "bytes" => whole(pattern(argument.parse().unwrap())),
            "stream" => streamed(argument.parse().unwrap()),
            "hints" => {
                let interim = hint(interim, argument);
                // An origin is never so fast that it answers within the request's first turn.
                tokio::task::yield_now().await;
                let mut response = whole(if interim.is_some() { "told" } else { "no way" });
                *self.last.lock() = interim;
                *response.status_mut() = StatusCode::from_u16(700).unwrap();
                response
            }
            "hint-and-wait" => {
                let interim = hint(interim, argument);
                self.waiting.add_permits(1);
                self.go.acquire().await.unwrap().forget();
                hint(interim, "second");
                whole("done")
            }
            // To a request that was answered before.
            "late" => {
                let last = self.last.lock().take();
                hint(last, "late");
                whole("late")
            }
            "panic" => panic!("asked to"),
            "never" => std::future::pending().await,
            "wait" => {
                // Says that it waits only once it does: the answer then takes a turn of its own.
                let says_so = async {
                    self.waiting.add_permits(1);
                    std::future::pending::<Infallible>().await
                };
                tokio::select! {
                    biased;
                    permit = self.go.acquire() => permit.unwrap().forget(),
                    never = says_so => match never {},
                }
                whole("done")
            }
            _ => {
                let mut response = whole("no such path");
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }
}

fn whole(body: impl Into<Bytes>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    Response::new(Full::new(body.into()).boxed_unsync())
}

/// The same bytes as `pattern`, in pieces of odd sizes and without a known length.
fn streamed(size: usize) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut left = pattern(size);
    let mut pieces = Vec::new();
    let mut piece = 1;
    while !left.is_empty() {
        pieces.push(left.split_to(piece.min(left.len())));
        piece = piece * 3 + 1;
    }
    Response::new(Pieces(pieces.into()).boxed_unsync())
}

#[derive(Debug)]
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Bytes that differ with place and size.
pub(super) fn pattern(size: usize) -> Bytes {
    let start = u8::try_from(size % 251).unwrap();
    (start..=250).chain(0..=250).cycle().take(size).collect()
}

/// A running server with one listener or more.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) server: Server,
    pub(super) answer: Arc<Scripted>,
    pub(super) config: Config,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) state: tempfile::TempDir,
}

pub(super) fn listener(name: &str) -> ListenerConfig {
    ListenerConfig::new(name, vec!["127.0.0.1:0".parse().unwrap()])
}

/// A listener of all protocols over TLS.
pub(super) fn tls_listener() -> ListenerConfig {
    ListenerConfig {
        tls: true,
        h2: true,
        ..listener("https")
    }
}

impl Edge {
    pub(super) fn start(listeners: Vec<ListenerConfig>) -> Self {
        let names = ["localhost", "a.test"].map(str::to_owned).to_vec();
        Self::with_tls(
            listeners,
            &tls::Config {
                self_signed: names,
                ..tls::Config::default()
            },
        )
    }

    pub(super) fn with_tls(listeners: Vec<ListenerConfig>, tls_config: &tls::Config) -> Self {
        let state = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let now = clock.now();
        let tickets = tls::Tickets::new(tls_config.ticket_rotation, clock).unwrap();
        let tls = tls::load(tls_config, state.path(), now, &tickets).unwrap();
        let mut roots = RootCertStore::empty();
        let own: PathBuf = state.path().join("tls/self-signed.pem");
        let files = tls_config
            .certificates
            .iter()
            .map(|files| files.cert.clone());
        for file in files.chain(own.exists().then_some(own)) {
            roots
                .add(CertificateDer::from_pem_file(file).unwrap())
                .unwrap();
        }
        let config = Config {
            listeners,
            workers: 2,
            request_limits: RequestLimits::default(),
        };
        let answer = Arc::new(Scripted {
            waiting: Semaphore::new(0),
            go: Semaphore::new(0),
            last: Mutex::default(),
        });
        let server = Server::start(&config, Some(&tls), &answer).unwrap();
        Self {
            server,
            answer,
            config,
            roots: Arc::new(roots),
            tls,
            state,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.addresses()[0].1
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    pub(super) async fn connect_tls(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let config = self.client_config(alpn);
        self.handshake(config, "localhost").await.unwrap()
    }

    pub(super) fn client_config(&self, alpn: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    pub(super) async fn handshake(
        &self,
        config: ClientConfig,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, self.connect().await)
            .await
    }

    pub(super) async fn h1(&self) -> http1::SendRequest<Empty<Bytes>> {
        h1_over(self.connect().await).await
    }

    pub(super) async fn h2(&self) -> http2::SendRequest<Empty<Bytes>> {
        h2_over(self.connect_tls(&["h2"]).await).await
    }
}

pub(super) async fn h1_over<T>(io: T) -> http1::SendRequest<Empty<Bytes>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) async fn h2_over<T>(io: T) -> http2::SendRequest<Empty<Bytes>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A GET for HTTP/1, with Host.
pub(super) fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path)
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

/// A GET for HTTP/2.
pub(super) fn get_h2(scheme: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("{scheme}://localhost{path}"))
        .body(Empty::new())
        .unwrap()
}

pub(super) async fn body(response: Response<Incoming>) -> Bytes {
    within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes()
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(body(response).await.to_vec()).unwrap()
}

/// A hanging test fails instead.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// Waits until something outside of this task's reach is so.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
