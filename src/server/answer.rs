use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use crate::semantics::interim::Interim;

/// What stands behind the door: it gets every request that a protocol layer accepted, and answers.
///
/// The future is dropped when the client goes or the connection is cut. A panic in it ends its
/// HTTP/2 stream or its HTTP/1 connection and nothing else. The HEAD answer may have a body: only
/// its length is used.
pub trait Answer: Send + Sync + 'static {
    /// The answer's body. An error in it ends an HTTP/1 connection short of its Content-Length or
    /// without the last chunk, and resets an HTTP/2 stream.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request. Interim answers go out through `interim` until the final one does; over HTTP/1.0 and
    /// HTTP/2 there is no way for them.
    fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
        interim: Option<Interim>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who asks, and where. One a connection; the parts are cheap to clone.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's end.
    pub address: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// The name that the client asked for in its TLS handshake, lower case.
    pub sni: Option<Arc<str>>,
    /// How long one of its request bodies may take.
    pub body_timeout: Duration,
}
