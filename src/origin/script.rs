//! Origins for the tests: raw TCP that follows a script, and configurations in front of it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::{Config, Protocol, Queue, Scheme, Server, Source};
use super::error::OriginError;
use super::fetch::Origin;
use super::message::{Request, Response};
use super::upload::{Upload, UploadError};

/// A server whose every connection plays a script.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// One connection of it.
pub(super) struct Talk {
    stream: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
    read: Vec<u8>,
}

impl Scripted {
    /// `play` gets the number of the connection, from 0, and the connection, which closes when it is dropped.
    pub(super) async fn start<F, P>(play: F) -> Self
    where
        F: Fn(usize, Talk) -> P + Send + Sync + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, record) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::AcqRel);
                let talk = Talk {
                    stream,
                    requests: Arc::clone(&record),
                    read: Vec::new(),
                };
                tokio::spawn(play(number, talk));
            }
        });
        Self {
            address,
            connections,
            requests,
            task,
        }
    }

    /// Answers every request of every connection with these bytes.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Vec<u8> = answer.into();
        Self::start(move |_, mut talk| {
            let answer = answer.clone();
            async move {
                while talk.request().await.is_some() {
                    talk.send(&answer).await;
                }
            }
        })
        .await
    }

    /// Answers one request with these bytes and closes.
    pub(super) async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Vec<u8> = answer.into();
        Self::start(move |_, mut talk| {
            let answer = answer.clone();
            async move {
                talk.request().await;
                talk.send(&answer).await;
            }
        })
        .await
    }

    pub(super) fn server(&self) -> Server {
        server(self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Talk {
    /// The next request's head, or `None` when the other side has closed.
    pub(super) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                self.requests.lock().push(head.clone());
                return Some(head);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Reads so many bytes behind the head.
    pub(super) async fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.read.len() < bytes {
            match self.stream.read_buf(&mut self.read).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let bytes = bytes.min(self.read.len());
        self.read.drain(..bytes).collect()
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have gone, which the test finds out for itself.
        let sent: io::Result<()> = self.stream.write_all(bytes.as_ref()).await;
        drop(sent);
    }

    /// Waits until the other side closes.
    pub(super) async fn closed(mut self) {
        while self.request().await.is_some() {}
    }

    /// Breaks the connection off with RST.
    pub(super) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

pub(super) fn server(address: SocketAddr) -> Server {
    Server {
        scheme: Scheme::Http,
        host: address.ip().to_string(),
        port: address.port(),
        base_path: String::new(),
        weight: 1,
        backup: false,
    }
}

/// HTTP/1.1, long deadlines: a test shortens the one that it is about.
pub(super) fn config(servers: Vec<Server>) -> Config {
    let long = Duration::from_secs(30);
    Config {
        protocols: vec![Protocol::H1],
        connect_timeout: long,
        first_byte_timeout: long,
        read_timeout: long,
        queue: Queue {
            length: 10,
            wait: long,
        },
        ..Config::new(Source::Servers(servers))
    }
}

pub(super) fn origin(servers: Vec<Server>) -> Arc<Origin> {
    Origin::new(&config(servers)).unwrap()
}

/// An address that refuses connections.
pub(super) async fn nobody() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server(listener.local_addr().unwrap())
}

pub(super) fn get(path: &str) -> Request {
    Request {
        method: Method::GET,
        path: path.to_owned(),
        query: None,
        client_host: None,
        headers: HeaderMap::new(),
        body: Upload::None,
        interim: None,
    }
}

pub(super) fn head(path: &str) -> Request {
    Request {
        method: Method::HEAD,
        ..get(path)
    }
}

/// A body that a test gives piece by piece; it ends with the sender.
pub(super) struct Fed(mpsc::Receiver<Result<Bytes, UploadError>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

pub(super) fn post(path: &str, body: Upload) -> Request {
    Request {
        method: Method::POST,
        body,
        ..get(path)
    }
}

/// A body and the end that feeds it.
pub(super) fn fed(length: Option<u64>) -> (mpsc::Sender<Result<Bytes, UploadError>>, Upload) {
    let (feed, pieces) = mpsc::channel(1);
    (feed, Upload::stream(length, Fed(pieces)))
}

/// The whole body.
pub(super) async fn read(response: &mut Response) -> Result<Vec<u8>, OriginError> {
    let mut all = Vec::new();
    while let Some(piece) = response.body.chunk().await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Fetches and reads the whole body.
pub(super) async fn fetched(origin: &Origin, request: Request) -> Result<Vec<u8>, OriginError> {
    let mut response = origin.fetch(request).await?;
    read(&mut response).await
}

pub(super) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
