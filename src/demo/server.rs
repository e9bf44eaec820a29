use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tracing::debug;

use super::answer::answer;
use super::assets::{self, Asset};
use super::error::DemoError;

/// More than a site's `max_connections` by default, so that the pool in front meets its own bound first.
const CONNECTIONS_MAX: usize = 512;

/// Longer than the pool in front keeps an idle connection: it, not this, decides when one ends.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// Loopback can fail to accept only for want of descriptors; a pause lets others give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bundled origin, listening on a free port of loopback until it is dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Demo {
    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When loopback has no port to give.
    pub async fn start() -> Result<Self, DemoError> {
        let listen = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen
            .await
            .map_err(|source| DemoError::Listen { source })?;
        let accepting = tokio::spawn(accept(listener, Arc::new(assets::all())));
        Ok(Self { address, accepting })
    }

    /// Where it listens, with plain HTTP/1.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Assets = Arc<HashMap<&'static str, Asset>>;

/// Ends when its task is aborted; the connections are its own and end with it.
async fn accept(listener: TcpListener, assets: Assets) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Never closed, so there is always a permit some day.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let assets = Arc::clone(&assets);
                connections.spawn(async move {
                    serve(stream, assets).await;
                    drop(permit);
                });
            }
            Err(error) => {
                debug!(%error, "the bundled origin could not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, assets: Assets) {
    let service = service_fn(|request: Request<Incoming>| {
        let path = request.uri().path();
        let response = answer(&assets, request.method(), path, request.headers());
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection of the bundled origin ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn exchange(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn it_serves_until_it_is_dropped() {
        let demo = Demo::start().await.unwrap();
        let mut stream = TcpStream::connect(demo.address()).await.unwrap();
        let head = exchange(
            &mut stream,
            "HEAD /logo.svg?v=1 HTTP/1.1\r\nHost: demo\r\n\r\n",
        )
        .await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: image/svg+xml\r\n"), "{head}");
        assert!(head.contains("date: "), "{head}");

        // The same connection goes on, and the whole of a large picture arrives.
        let head = exchange(
            &mut stream,
            "GET /photos/lake.jpg HTTP/1.1\r\nHost: demo\r\n\r\n",
        )
        .await;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(body, assets::all()["/photos/lake.jpg"].body);

        drop(demo);
        // End or reset: either way nothing more comes.
        assert!(stream.read_u8().await.is_err());
    }
}
