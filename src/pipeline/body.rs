use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use crate::cache::{FillError, Reader};
use crate::clock::SharedClock;
use crate::telemetry::{AccessLog, AnswerTier, CacheResult, Counted, Record, SiteMetrics};

use super::multipart::Parts;

/// The body of an answer. A body that cannot be finished ends in an error, so that the connection breaks
/// off or the stream is reset: never a clean end.
pub struct Body {
    from: Source,
    /// Written into the log and the metrics when the body is dropped, sent or not.
    tally: Option<Box<Tally>>,
}

enum Source {
    Empty,
    Whole(Bytes),
    // Boxed: most answers are whole, and would carry its room about.
    Reader(Box<Reader>),
    Parts(Box<Parts>),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Source::Empty)
    }

    /// These bytes.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self::of(Source::Whole(bytes))
        }
    }

    /// What a reader gives.
    #[must_use]
    pub fn reader(reader: Reader) -> Self {
        Self::of(Source::Reader(Box::new(reader)))
    }

    /// Several parts of one object.
    #[must_use]
    pub(super) fn parts(parts: Parts) -> Self {
        Self::of(Source::Parts(Box::new(parts)))
    }

    fn of(from: Source) -> Self {
        Self { from, tally: None }
    }

    pub(super) fn counted(mut self, tally: Tally) -> Self {
        let mut tally = Box::new(tally);
        tally.complete = http_body::Body::is_end_stream(&self);
        self.tally = Some(tally);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = FillError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FillError>>> {
        let piece = match &mut self.from {
            Source::Empty => None,
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.from = Source::Empty;
                Some(Ok(bytes))
            }
            Source::Reader(reader) => match reader.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => piece,
            },
            Source::Parts(parts) => match parts.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => piece,
            },
        };
        if let Some(tally) = &mut self.tally {
            match &piece {
                Some(Ok(bytes)) => tally.body_bytes += bytes.len() as u64,
                Some(Err(_)) => tally.result = CacheResult::Error,
                None => {}
            }
        }
        let ended = piece.is_none() || (matches!(piece, Some(Ok(_))) && self.is_end_stream());
        if let Some(tally) = &mut self.tally {
            tally.complete |= ended;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            Source::Empty => true,
            Source::Whole(_) => false,
            Source::Reader(reader) => reader.remaining() == Some(0),
            Source::Parts(parts) => parts.remaining() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Reader(reader) => reader
                .remaining()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Parts(parts) => SizeHint::with_exact(parts.remaining()),
        }
    }
}

/// What one request adds to the log and the metrics, once its answer is gone.
pub(super) struct Tally {
    pub(super) clock: SharedClock,
    pub(super) started: Duration,
    pub(super) metrics: Arc<SiteMetrics>,
    pub(super) log: Option<(Arc<AccessLog>, Box<Record>)>,
    pub(super) result: CacheResult,
    pub(super) tier: AnswerTier,
    pub(super) status: StatusCode,
    pub(super) body_bytes: u64,
    pub(super) complete: bool,
    pub(super) _in_flight: [Counted; 2],
}

impl Drop for Tally {
    fn drop(&mut self) {
        let took = self.clock.uptime().saturating_sub(self.started);
        self.metrics
            .request(self.result, self.tier, self.status, self.body_bytes, took);
        if let Some((log, mut record)) = self.log.take() {
            record.body_bytes = self.body_bytes;
            record.duration = took;
            record.complete = self.complete;
            log.record(*record);
        }
    }
}
