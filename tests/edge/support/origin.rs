//! An origin on loopback that a test scripts: it answers as told, and remembers what it was asked.
//!
//! It speaks HTTP/1.1 on the bare socket, because no server library would send what broken origins
//! send.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::gate::Gate;
use super::reply::{End, Framing, Reply, Resource};
use super::within_deadline;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const PIECE_BYTES: u64 = 64 * 1024;

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// As on the wire, with the query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Counts the connections from 1: two requests with one number shared a connection.
    pub connection: usize,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&*self.target, |(path, _)| path)
    }

    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first value of a field, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The origin. It has a thread of its own, so a test that blocks does not block it, and it ends
/// with its last request when it is dropped.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Bound, never listening: keeps the port ours while the origin is dead.
    _reserved: TcpSocket,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Handler>>,
    fallback: Mutex<Option<Handler>>,
    seen: Mutex<Seen>,
    /// Changes with everything in `seen`.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    connections: usize,
    aborts: usize,
    body_bytes: u64,
}

impl Origin {
    /// Plain HTTP on a free port.
    pub async fn start() -> Self {
        Self::build(None).await
    }

    /// The same over TLS.
    pub async fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::build(Some(TlsAcceptor::from(config))).await
    }

    async fn build(tls: Option<TlsAcceptor>) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("origin")
            .enable_all()
            .build()
            .expect("a runtime for the origin");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let reserved = bound(any).expect("a free port");
        let address = reserved.local_addr().expect("the port's number");
        let origin = Self {
            address,
            shared: Arc::default(),
            tls,
            listening: Mutex::new(None),
            _reserved: reserved,
            runtime: Some(runtime),
        };
        origin.revive().await;
        origin
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`, or `https://localhost:port` with TLS.
    pub fn url(&self) -> String {
        match self.tls {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// Answers `path` (without query) by `handler`, from the next request on.
    pub fn on(&self, path: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        let handler: Handler = Arc::new(handler);
        self.shared.routes.lock().insert(path.to_owned(), handler);
    }

    /// Answers every path that has no handler of its own; without this they are 404.
    pub fn on_any(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.shared.fallback.lock() = Some(Arc::new(handler));
    }

    /// Always the same answer.
    pub fn serve(&self, path: &str, reply: Reply) {
        self.on(path, move |_| reply.clone());
    }

    /// One answer after the other; the last one stays.
    pub fn serve_in_turn(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let next = Mutex::new(0);
        self.on(path, move |_| {
            let mut next = next.lock();
            let turn = (*next).min(replies.len() - 1);
            *next += 1;
            replies[turn].clone()
        });
    }

    /// A file with validators and ranges.
    pub fn serve_resource(&self, path: &str, resource: Resource) {
        self.on(path, move |request| resource.reply(request));
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.lock().requests.clone()
    }

    pub fn requests_for(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path() == path);
        requests
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().requests.len()
    }

    pub fn count_for(&self, path: &str) -> usize {
        let seen = self.shared.seen.lock();
        seen.requests.iter().filter(|r| r.path() == path).count()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.seen.lock().connections
    }

    /// How many answers the other side did not want to the end.
    pub fn aborts(&self) -> usize {
        self.shared.seen.lock().aborts
    }

    /// How many bytes of bodies went out.
    pub fn body_bytes(&self) -> u64 {
        self.shared.seen.lock().body_bytes
    }

    /// Forgets the requests and their bytes, so that a test counts from here.
    pub fn forget(&self) {
        let mut seen = self.shared.seen.lock();
        seen.requests.clear();
        seen.body_bytes = 0;
    }

    /// Waits until `path` was asked for `count` times.
    pub async fn asked(&self, path: &str, count: usize) {
        self.until("requests at the origin", || self.count_for(path) >= count)
            .await;
    }

    /// Waits until `count` answers were given up by the other side.
    pub async fn aborted(&self, count: usize) {
        self.until("aborted answers at the origin", || self.aborts() >= count)
            .await;
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within_deadline(what, async {
            while !is_so() {
                changed.changed().await.expect("the origin is alive");
            }
        })
        .await;
    }

    /// Dies: connections are cut, new ones are refused. Returns when that is so.
    pub async fn die(&self) {
        let listening = self.listening.lock().take();
        if let Some(task) = listening {
            task.abort();
            // Cancelled is what it should be.
            drop(within_deadline("the origin's end", task).await);
        }
    }

    /// Listens again on the same port.
    pub async fn revive(&self) {
        self.die().await;
        let address = self.address;
        let shared = Arc::clone(&self.shared);
        let tls = self.tls.clone();
        let runtime = self.runtime.as_ref().expect("taken only by drop");
        let (is_up, up) = tokio::sync::oneshot::channel();
        let task = runtime.spawn(async move {
            let listener = bound(address)
                .and_then(|socket| socket.listen(1024))
                .expect("the reserved port");
            is_up.send(()).expect("revive waits for this");
            accept(listener, tls, shared).await;
        });
        *self.listening.lock() = Some(task);
        within_deadline("the origin's listener", up)
            .await
            .expect("the origin listens");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.changed.send_modify(|version| *version += 1);
    }

    fn answer(&self, request: &Request) -> Reply {
        let routed = self.routes.lock().get(request.path()).cloned();
        let handler = routed.or_else(|| self.fallback.lock().clone());
        handler.map_or_else(
            || Reply::new(404, "the test has no such path\n"),
            |handler| handler(request),
        )
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Ends when the task is aborted; the connections end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let mut number = 0;
        shared.note(|seen| {
            seen.connections += 1;
            number = seen.connections;
        });
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // An error here is the other side's doing, and what the test asked for.
            drop(converse(stream, tls, shared, number).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    number: usize,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = match tls {
        None => Wire::Plain(stream),
        Some(acceptor) => Wire::Tls(Box::new(acceptor.accept(stream).await?)),
    };
    let mut buffer = BytesMut::new();
    while let Some(request) = read_request(&mut wire, &mut buffer, number).await? {
        let reply = shared.answer(&request);
        let method = request.method.clone();
        shared.note(|seen| seen.requests.push(request));
        match write_reply(&mut wire, &shared, &method, &reply).await {
            Ok(After::KeepAlive) => {}
            Ok(After::Close) => {
                wire.shutdown().await?;
                return Ok(());
            }
            Ok(After::Reset) => return wire.tcp().set_zero_linger(),
            Err(error) => {
                shared.note(|seen| seen.aborts += 1);
                return Err(error);
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
    Reset,
}

async fn write_reply(
    wire: &mut Wire,
    shared: &Shared,
    method: &Method,
    reply: &Reply,
) -> io::Result<After> {
    if let Some(gate) = &reply.head_gate {
        wire.hold(gate).await?;
    }
    if let Some(raw) = &reply.raw {
        wire.write_all(raw).await?;
        wire.flush().await?;
        return Ok(match reply.end {
            End::ResetAfter(_) => After::Reset,
            End::Whole | End::CloseAfter(_) => After::Close,
        });
    }

    let is_bare = *method == Method::HEAD
        || reply.status == StatusCode::NOT_MODIFIED
        || reply.status == StatusCode::NO_CONTENT
        || reply.status.is_informational();
    let asks_to_close = reply.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
    });
    wire.write_all(head_text(reply).as_bytes()).await?;
    wire.flush().await?;
    if is_bare {
        return Ok(if asks_to_close {
            After::Close
        } else {
            After::KeepAlive
        });
    }

    let length = reply.content.length();
    let (stop, after) = match reply.end {
        End::Whole => (length, After::KeepAlive),
        End::CloseAfter(bytes) => (length.min(bytes), After::Close),
        End::ResetAfter(bytes) => (length.min(bytes), After::Reset),
    };
    let mut sent = 0;
    for (place, gate) in &reply.body_gates {
        write_body(wire, shared, reply, sent, stop.min(*place)).await?;
        sent = stop.min(*place);
        wire.hold(gate).await?;
    }
    write_body(wire, shared, reply, sent, stop).await?;
    if after != After::KeepAlive {
        return Ok(after);
    }
    match reply.framing {
        Framing::Chunked => wire.write_all(b"0\r\n\r\n").await?,
        Framing::Length => {}
        Framing::UntilClose | Framing::DeclaredLength(_) => return Ok(After::Close),
    }
    wire.flush().await?;
    Ok(if asks_to_close {
        After::Close
    } else {
        After::KeepAlive
    })
}

fn head_text(reply: &Reply) -> String {
    let reason = reply.status.canonical_reason().unwrap_or("Unnamed");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", reply.status.as_str());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // RFC 9110 section 8.6: a 304 or 204 without one leaves no doubt about its length.
    let has_length =
        reply.status != StatusCode::NOT_MODIFIED && reply.status != StatusCode::NO_CONTENT;
    match reply.framing {
        _ if !has_length => {}
        Framing::Length => {
            head.push_str(&format!("content-length: {}\r\n", reply.content.length()));
        }
        Framing::DeclaredLength(length) => head.push_str(&format!("content-length: {length}\r\n")),
        Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Framing::UntilClose => head.push_str("connection: close\r\n"),
    }
    head.push_str("\r\n");
    head
}

async fn write_body(
    wire: &mut Wire,
    shared: &Shared,
    reply: &Reply,
    from: u64,
    to: u64,
) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let next = to.min(at + PIECE_BYTES);
        let piece = reply.content.slice(at..next);
        // Before they go out: whoever has them finds them counted.
        shared.seen.lock().body_bytes += next - at;
        if reply.framing == Framing::Chunked {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(&piece);
            chunk.extend_from_slice(b"\r\n");
            wire.write_all(&chunk).await?;
        } else {
            wire.write_all(&piece).await?;
        }
        at = next;
    }
    wire.flush().await
}

async fn read_request(
    wire: &mut Wire,
    buffer: &mut BytesMut,
    connection: usize,
) -> io::Result<Option<Request>> {
    let head_length = loop {
        if let Some(place) = find(buffer, b"\r\n\r\n") {
            break place + 4;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without end"));
        }
        if wire.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = buffer.split_to(head_length);
    let mut request = parse_head(&head, connection)
        .ok_or_else(|| io::Error::other("the request's head makes no sense"))?;
    request.body = if request.headers.contains_key("transfer-encoding") {
        read_chunks(wire, buffer).await?
    } else {
        let length = request.header("content-length").unwrap_or("0").parse();
        let length = length.map_err(io::Error::other)?;
        read_exactly(wire, buffer, length).await?
    };
    Ok(Some(request))
}

fn parse_head(head: &[u8], connection: usize) -> Option<Request> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.trim_end().split("\r\n");
    let mut words = lines.next()?.split(' ');
    let method = words.next()?.parse().ok()?;
    let target = words.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    Some(Request {
        method,
        target,
        headers,
        body: Bytes::new(),
        connection,
    })
}

async fn read_exactly(wire: &mut Wire, buffer: &mut BytesMut, length: usize) -> io::Result<Bytes> {
    while buffer.len() < length {
        if wire.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks(wire: &mut Wire, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line_length = loop {
            if let Some(place) = find(buffer, b"\r\n") {
                break place;
            }
            if wire.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let line = String::from_utf8_lossy(&buffer[..line_length]).into_owned();
        buffer.advance(line_length + 2);
        let size = line.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        body.extend_from_slice(&read_exactly(wire, buffer, length).await?);
        read_exactly(wire, buffer, 2).await?;
        if length == 0 {
            return Ok(body.freeze());
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Waits at the gate, but not for a reader that has gone.
    async fn hold(&self, gate: &Gate) -> io::Result<()> {
        tokio::select! {
            biased;
            () = gate.pass() => Ok(()),
            error = self.gone() => Err(error),
        }
    }

    async fn gone(&self) -> io::Error {
        match self.tcp().peek(&mut [0]).await {
            Ok(0) => io::ErrorKind::ConnectionAborted.into(),
            // The next request, or an alert under TLS: not ours to read here.
            Ok(_) => std::future::pending().await,
            Err(error) => error,
        }
    }
}

impl AsyncRead for Wire {
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

impl AsyncWrite for Wire {
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
