use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{Config, Protocol, Scheme, Server};
use super::error::OriginError;
use super::head::{FIELDS_MAX, HEAD_BYTES_MAX};
use super::resolve::{Resolver, Unresolved};
use super::upload::Sending;

/// The next address is tried beside the first after this long (RFC 8305 §8).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// What one stream may have under way: at 100 ms of distance still 10 MB/s.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Room for sixteen stalled streams before they stop the others of their connection.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// A connection with open streams is asked this often whether it still lives, and given as long to say so.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Streams of a new connection until the server has told its limit.
const STREAMS_AT_FIRST: usize = 100;

/// Makes connections to one server.
#[derive(Debug)]
pub(super) struct Dialer {
    resolver: Resolver,
    name: Arc<str>,
    tls: Option<(TlsConnectorConfig, ServerName<'static>)>,
    prior_knowledge: bool,
    speaks_h1: bool,
    connect_timeout: Duration,
}

type TlsConnectorConfig = Arc<ClientConfig>;

/// A new connection, its driver already running.
#[derive(Debug)]
pub(super) enum Connection {
    H1(H1),
    H2(H2),
}

/// One HTTP/1.1 connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct H1 {
    pub(super) sender: http1::SendRequest<Sending>,
    received: Arc<AtomicU64>,
    driver: Driver,
}

impl H1 {
    /// Bytes that ever came over this connection.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(super) fn driver(&self) -> AbortHandle {
        self.driver.0.clone()
    }
}

/// One HTTP/2 connection. It closes when the last of its senders and streams is gone.
#[derive(Debug)]
pub(super) struct H2 {
    pub(super) sender: http2::SendRequest<Sending>,
    /// What the server allows at one time, as last told.
    pub(super) streams_max: Arc<AtomicUsize>,
}

/// The task that moves a connection's bytes; stopped by drop, which closes the socket at once.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dialer {
    pub(super) fn new(
        config: &Config,
        server: &Server,
        name: Arc<str>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, OriginError> {
        let tls = match (server.scheme, tls) {
            (Scheme::Https, Some(tls)) => {
                let asked = config.sni.as_deref().unwrap_or(&server.host);
                let asked =
                    ServerName::try_from(asked.to_owned()).map_err(|_| OriginError::Unusable {
                        why: format!("{asked:?} is no name for a TLS handshake"),
                    })?;
                Some((Arc::clone(tls), asked))
            }
            (Scheme::Https, None) => {
                return Err(OriginError::Unusable {
                    why: "no TLS for an https server".to_owned(),
                });
            }
            (Scheme::Http, _) => None,
        };
        let speaks_h1 = config.protocols.contains(&Protocol::H1);
        Ok(Self {
            resolver: Resolver::new(&server.host, server.port),
            name,
            prior_knowledge: tls.is_none() && !speaks_h1,
            tls,
            speaks_h1,
            connect_timeout: config.connect_timeout,
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a new connection may turn out to be HTTP/2, as far as is known before it is made.
    pub(super) fn may_speak_h2(&self) -> bool {
        match &self.tls {
            Some((tls, _)) => tls.alpn_protocols.iter().any(|name| name == b"h2"),
            None => self.prior_knowledge,
        }
    }

    /// Until when a connection that is asked for now may take.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.connect_timeout
    }

    pub(super) fn timed_out(&self) -> OriginError {
        OriginError::ConnectTimeout {
            server: Arc::clone(&self.name),
            limit: self.connect_timeout,
        }
    }

    /// Name, TCP, TLS, protocol. Dropping the future gives everything up.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<Connection, OriginError> {
        timeout_at(deadline, self.dial_unbounded(deadline))
            .await
            .map_err(|_| self.timed_out())?
    }

    async fn dial_unbounded(&self, deadline: Instant) -> Result<Connection, OriginError> {
        let patience = deadline
            .checked_sub(self.connect_timeout / 2)
            .unwrap_or(deadline);
        let addresses = self.resolver.addresses(patience, deadline).await.map_err(
            |unresolved| match unresolved {
                Unresolved::Failed(source) => OriginError::Dns {
                    server: Arc::clone(&self.name),
                    source,
                },
                Unresolved::TimedOut => self.timed_out(),
            },
        )?;
        let tcp = connect_any(&addresses)
            .await
            .map_err(|source| OriginError::Connect {
                server: Arc::clone(&self.name),
                source: Arc::new(source),
            })?;
        let Some((tls, asked)) = &self.tls else {
            return if self.prior_knowledge {
                self.h2(Stream::Plain(tcp)).await
            } else {
                self.h1(Stream::Plain(tcp)).await
            };
        };
        let tls = TlsConnector::from(Arc::clone(tls))
            .connect(asked.clone(), tcp)
            .await
            .map_err(|source| self.no_tls(source))?;
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        match (is_h2, self.speaks_h1) {
            (true, _) => self.h2(Stream::Tls(Box::new(tls))).await,
            (false, true) => self.h1(Stream::Tls(Box::new(tls))).await,
            (false, false) => Err(self.no_tls(io::Error::other("the server does not speak h2"))),
        }
    }

    async fn h1(&self, stream: Stream) -> Result<Connection, OriginError> {
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            stream,
            received: Arc::clone(&received),
        };
        // hyper refuses folded lines, spaces before colons and HTTP/0.9 unless told otherwise.
        let (sender, connection) = http1::Builder::new()
            .max_headers(FIELDS_MAX)
            .max_header_size(usize::try_from(HEAD_BYTES_MAX).unwrap_or(usize::MAX))
            .max_buf_size(usize::try_from(HEAD_BYTES_MAX).unwrap_or(usize::MAX))
            .handshake(TokioIo::new(counted))
            .await
            .map_err(|error| self.no_handshake(error))?;
        // Ends with the connection, or when its `H1` is dropped. Its result is told to who waits for an answer.
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "origin connection ended");
            }
        });
        Ok(Connection::H1(H1 {
            sender,
            received,
            driver: Driver(driver.abort_handle()),
        }))
    }

    async fn h2(&self, stream: Stream) -> Result<Connection, OriginError> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(STREAMS_AT_FIRST)
            .max_header_list_size(HEAD_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.no_handshake(error))?;
        let streams_max = Arc::new(AtomicUsize::new(STREAMS_AT_FIRST));
        let told = Arc::clone(&streams_max);
        // Ends with the connection: when its senders and streams are gone, or the server leaves.
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let driven = std::future::poll_fn(|context| {
                let polled = connection.as_mut().poll(context);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "origin connection ended");
            }
        });
        Ok(Connection::H2(H2 {
            sender,
            streams_max,
        }))
    }

    fn no_tls(&self, source: io::Error) -> OriginError {
        OriginError::Tls {
            server: Arc::clone(&self.name),
            source: Arc::new(source),
        }
    }

    fn no_handshake(&self, error: hyper::Error) -> OriginError {
        OriginError::Connect {
            server: Arc::clone(&self.name),
            source: Arc::new(io::Error::other(error)),
        }
    }
}

/// The first address that takes a connection. The next one is tried when one fails, or beside it when it is
/// slow. The caller bounds the time.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // Ends at the first success, or when no address is left and no attempt runs.
    loop {
        let started = match left.next() {
            Some(address) => {
                attempts.spawn(connect(address));
                true
            }
            None => false,
        };
        let joined = if started && left.len() > 0 {
            match tokio::time::timeout(NEXT_ADDRESS_AFTER, attempts.join_next()).await {
                Ok(joined) => joined,
                Err(_) => continue,
            }
        } else {
            attempts.join_next().await
        };
        match joined {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = io::Error::other(error),
            None => return Err(failure),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Plain or TLS.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Counts what comes in, so that a broken connection can be told from a broken answer.
///
/// A server may answer and close without reading all of an upload. What it said has still to be read then, so the
/// writing side takes no offence at a connection that is gone: the reading side finds out the same, at the right time.
#[derive(Debug)]
struct Counted {
    stream: Stream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let came = buffer.filled().len().saturating_sub(before);
        this.received
            .fetch_add(u64::try_from(came).unwrap_or(u64::MAX), Ordering::Release);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.get_mut().stream).poll_write(context, bytes) {
            Poll::Ready(Err(error)) if is_gone(&error) => Poll::Ready(Ok(bytes.len())),
            polled => polled,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.get_mut().stream).poll_flush(context) {
            Poll::Ready(Err(error)) if is_gone(&error) => Poll::Ready(Ok(())),
            polled => polled,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}
