use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::admission::Slot;
use super::error::OriginError;
use super::folder::FileBody;
use super::pool::{Lease, Pool};
use super::upload::Uploading;

/// The body of an answer, pulled piece by piece.
///
/// It ends with `None` only if all of it came. Dropped before its end, it closes its HTTP/1.1 connection or
/// resets its HTTP/2 stream, and makes room for another request.
#[derive(Debug)]
pub struct Body(Inner);

#[derive(Debug)]
enum Inner {
    Done,
    Whole(Bytes),
    Exchange(Box<Exchange>),
    File(Box<FileBody>),
}

impl Body {
    pub(super) fn empty() -> Self {
        Self(Inner::Done)
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(bytes))
    }

    pub(super) fn file(file: FileBody) -> Self {
        Self(Inner::File(Box::new(file)))
    }

    /// The body of an exchange; if that has none, the connection is free at once.
    pub(super) fn exchange(exchange: Exchange) -> Self {
        if exchange.bodyless || exchange.incoming.is_end_stream() {
            exchange.finish();
            return Self::empty();
        }
        Self(Inner::Exchange(Box::new(exchange)))
    }

    /// The next piece, or `None` after the last. After an error or the end it gives `None` for ever.
    ///
    /// Pieces are never empty. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// When the rest does not come: cut off, malformed, or too slow.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        let piece = match &mut self.0 {
            Inner::Done => return Ok(None),
            Inner::Whole(bytes) => {
                Ok(Some(std::mem::take(bytes)).filter(|piece| !piece.is_empty()))
            }
            Inner::Exchange(exchange) => exchange.chunk().await,
            Inner::File(file) => file.chunk().await,
        };
        let ended = match (&piece, &self.0) {
            (Ok(Some(_)), Inner::Exchange(exchange)) => exchange.incoming.is_end_stream(),
            (Ok(Some(_)), _) => false,
            (Ok(None) | Err(_), _) => true,
        };
        if ended {
            let inner = std::mem::replace(&mut self.0, Inner::Done);
            if let (Ok(_), Inner::Exchange(exchange)) = (&piece, inner) {
                exchange.finish();
            }
        }
        piece
    }
}

/// An answer whose body is still coming. Its drop closes the connection, and only then frees the slot.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) incoming: Incoming,
    /// The request's body, which may still be under way.
    pub(super) uploading: Uploading,
    /// HEAD, 204 and 304: over HTTP/2 a careless server may send one all the same, which is not read.
    pub(super) bodyless: bool,
    pub(super) lease: Lease,
    /// Where the connection goes afterwards, if it can be used again.
    pub(super) home: Option<Arc<Pool>>,
    pub(super) slot: Slot,
    pub(super) server: Arc<str>,
    pub(super) length: Option<u64>,
    pub(super) received: u64,
    pub(super) read_timeout: Duration,
}

impl Exchange {
    async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        let deadline = Instant::now() + self.read_timeout;
        // Ends at the deadline at the latest: frames without bytes do not move it.
        loop {
            let Ok(frame) = timeout_at(deadline, self.incoming.frame()).await else {
                return Err(OriginError::ReadTimeout {
                    server: Arc::clone(&self.server),
                    limit: self.read_timeout,
                });
            };
            let piece = match frame {
                None => return self.end(),
                Some(Err(error)) => return Err(self.broken(&error)),
                // Trailers say nothing that a static file needs.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if piece.is_empty() {
                continue;
            }
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.received = self.received.saturating_add(bytes);
            if self.length.is_some_and(|length| self.received > length) {
                return Err(self.malformed("more bytes than its content-length"));
            }
            return Ok(Some(piece));
        }
    }

    fn end(&self) -> Result<Option<Bytes>, OriginError> {
        match self.length {
            Some(length) if self.received < length => Err(self.truncated()),
            Some(_) | None => Ok(None),
        }
    }

    fn broken(&self, error: &hyper::Error) -> OriginError {
        if let Some(failed) = self.uploading.error() {
            return OriginError::Upload(failed);
        }
        let bad_chunk = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some_and(|source| {
                matches!(
                    source.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                )
            });
        if bad_chunk {
            self.malformed("chunk")
        } else {
            self.truncated()
        }
    }

    fn truncated(&self) -> OriginError {
        OriginError::Truncated {
            server: Arc::clone(&self.server),
            received: self.received,
        }
    }

    fn malformed(&self, what: &'static str) -> OriginError {
        OriginError::Malformed {
            server: Arc::clone(&self.server),
            what,
        }
    }

    /// All came: the connection may serve the next request, which may start. One whose request was not sent whole is
    /// closed, or its stream reset.
    fn finish(self) {
        let Self {
            incoming,
            uploading,
            lease,
            home,
            slot,
            ..
        } = self;
        drop(incoming);
        match home {
            Some(pool) if uploading.is_done() => pool.give_back(lease),
            Some(_) | None => drop(lease),
        }
        drop(uploading);
        drop(slot);
    }
}
