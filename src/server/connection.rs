use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::coalesce::coalesce;
use super::control::Control;
use super::deadline::Timeouts;
use super::driver::{Driver, Ended};
use super::interim::{Interims, Interject};
use super::io::{Inbound, Socket};
use super::listener::{Listener, Settings};
use super::registry::{Event, Place};
use super::session::{Session, Way};
use super::sniff::{self, Spoken};
use super::streams::Streams;
use super::{Answer, Peer};

/// Flow control for what clients send: requests have hardly any body here.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// A fatal `unrecognized_name` alert (RFC 6066 section 3), in the clear before any key exists:
/// type 21, version 1.2 on the wire, two bytes, fatal, 112.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// An accepted socket with what it goes by.
#[derive(Debug)]
pub(super) struct Accepted<A> {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) listener: Arc<Listener>,
    pub(super) settings: Arc<Settings>,
    pub(super) answer: Arc<A>,
    pub(super) place: Place,
}

/// Serves one connection to its end.
pub(super) async fn serve<A: Answer>(accepted: Accepted<A>) {
    let Accepted {
        stream,
        address,
        local,
        listener,
        settings,
        answer,
        place,
    } = accepted;
    let control = place.control();
    let socket = Socket::new(stream, Arc::clone(control));
    let peer = Peer {
        address,
        local,
        listener: Arc::clone(&listener.name),
        secure: settings.tls.is_some(),
        sni: None,
        body_timeout: settings.config.body_timeout,
    };
    let served = Served {
        control: Arc::clone(control),
        listener,
        settings,
        answer,
    };
    let result = match served.settings.tls.clone() {
        Some(tls) => served.over_tls(socket, tls, peer).await,
        None => served.in_the_clear(socket, peer).await,
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

/// What all ways of serving need.
struct Served<A> {
    control: Arc<Control>,
    listener: Arc<Listener>,
    settings: Arc<Settings>,
    answer: Arc<A>,
}

impl<A: Answer> Served<A> {
    async fn over_tls(
        self,
        socket: Socket,
        tls: Arc<rustls::ServerConfig>,
        mut peer: Peer,
    ) -> Result<(), Ended> {
        let stream = match self.handshake(socket, tls).await {
            Ok(stream) => stream,
            Err(error) => {
                self.listener.registry.count(Event::HandshakeFailure);
                return Err(error);
            }
        };
        let session = stream.get_ref().1;
        peer.sni = session.server_name().map(Arc::from);
        let h2 = session.alpn_protocol() == Some(b"h2");
        // Boxed: the TLS state is large, and moves through several futures.
        let stream = Box::new(stream);
        if h2 {
            self.http2(stream, Bytes::new(), peer).await
        } else if self.settings.config.h1 {
            self.http1(stream, Bytes::new(), peer).await
        } else {
            Err(Ended::NoProtocol)
        }
    }

    async fn handshake(
        &self,
        socket: Socket,
        tls: Arc<rustls::ServerConfig>,
    ) -> Result<TlsStream<Socket>, Ended> {
        let deadline = self.control.accepted() + self.settings.config.handshake_timeout;
        let handshake = async {
            let acceptor = LazyConfigAcceptor::new(Acceptor::default(), socket);
            let mut start = acceptor.await.map_err(Ended::Handshake)?;
            // rustls would say `access_denied` for a name that the resolver refuses.
            if tls.cert_resolver.resolve(start.client_hello()).is_none() {
                let alert = start.io.write_all(&UNRECOGNIZED_NAME).await;
                return Err(alert.map_or_else(Ended::Handshake, |()| Ended::UnknownName));
            }
            start.into_stream(tls).await.map_err(Ended::Handshake)
        };
        timeout_at(deadline, Box::pin(handshake))
            .await
            .map_err(|_| Ended::HandshakeTimeout)?
    }

    async fn in_the_clear(self, mut socket: Socket, peer: Peer) -> Result<(), Ended> {
        let config = &self.settings.config;
        let (spoken, read_ahead) = match (config.h1, config.h2) {
            (true, false) => (Spoken::Http1, Bytes::new()),
            (false, true) => (Spoken::Http2, Bytes::new()),
            (true, true) => {
                let deadline = self.control.accepted() + config.header_timeout;
                match timeout_at(deadline, sniff::spoken(&mut socket)).await {
                    Ok(spoken) => spoken.map_err(Ended::Io)?,
                    Err(_) => {
                        self.listener.registry.count(Event::Timeout);
                        return Err(Ended::HeadTimeout);
                    }
                }
            }
            (false, false) => return Err(Ended::NoProtocol),
        };
        match spoken {
            Spoken::Http1 => self.http1(socket, read_ahead, peer).await,
            Spoken::Http2 => self.http2(socket, read_ahead, peer).await,
        }
    }

    async fn http1<T>(self, io: T, read_ahead: Bytes, peer: Peer) -> Result<(), Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = Inbound::http1(io, Arc::clone(&self.control), read_ahead);
        let interims = Interims::new(Arc::clone(&self.control));
        let io = Interject::new(io, Arc::clone(&interims));
        let http1 = self.settings.http1.clone();
        let driver = self.driver(self.settings.http1_timeouts());
        let session = Arc::new(self.session(peer, Way::Http1(interims)));
        let service = service_fn(move |request| {
            let begun = session.begin();
            let session = Arc::clone(&session);
            async move { Ok::<_, Infallible>(session.answer(begun, request).await) }
        });
        let connection = pin!(http1.serve_connection(TokioIo::new(io), service));
        driver
            .drive(
                connection,
                |connection| connection.graceful_shutdown(),
                |_| Poll::Ready(Ok(())),
            )
            .await
    }

    async fn http2<T>(self, io: T, read_ahead: Bytes, peer: Peer) -> Result<(), Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = Inbound::http2(io, Arc::clone(&self.control), read_ahead);
        let (io, turn) = coalesce(io);
        let streams = Streams::new(
            Arc::clone(&self.listener.registry),
            self.settings.config.write_timeout,
        );
        let h2 = self.settings.config.h2_config;
        let driver = self.driver(self.settings.http2_timeouts());
        let session = Arc::new(self.session(peer, Way::Http2(streams.clone())));
        let service = service_fn(move |request| {
            let begun = session.begin();
            let session = Arc::clone(&session);
            async move { Ok::<_, Infallible>(session.answer(begun, request).await) }
        });
        // No PINGs of ours: a dead client is found by the write and idle deadlines, and sleeping
        // ones are left to sleep. The limits on resets stay at the safe values of the h2 library.
        let connection = pin!(
            http2::Builder::new(streams)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_concurrent_streams(h2.max_concurrent_streams)
                .max_header_list_size(h2.max_header_list_bytes)
                .max_send_buf_size(h2.send_buffer_bytes)
                .serve_connection(TokioIo::new(io), service)
        );
        driver
            .drive(
                connection,
                |connection| connection.graceful_shutdown(),
                |cx| turn.flush(cx),
            )
            .await
    }

    fn driver(&self, timeouts: Timeouts) -> Driver {
        Driver {
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.listener.registry),
            timeouts,
        }
    }

    fn session(self, peer: Peer, way: Way) -> Session<A> {
        Session {
            answer: self.answer,
            peer,
            control: self.control,
            settings: self.settings,
            way,
        }
    }
}
