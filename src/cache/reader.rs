use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::runtime::Handle;

use crate::semantics::etag::EntityTag;
use crate::store::{Body, CHUNK_BYTES, Entry, EntryKey, Object, Part, Placement, Store};

use super::flight::{Piece, Seat};
use super::{Ask, FillError};

const CHUNK: u64 = CHUNK_BYTES as u64;

type Loading = Pin<Box<dyn Future<Output = Result<Bytes, FillError>> + Send>>;

/// The bytes of one answer, in order, from memory, disk or a running fill.
pub struct Reader {
    object: Arc<Object>,
    tiers: Tiers,
    seat: Option<Seat>,
    position: u64,
    end: Option<u64>,
    chunk: Option<(u64, Bytes)>,
    loading: Option<Loading>,
    failed: bool,
}

/// Where a reader finds bytes that no flight holds.
pub(super) struct Tiers {
    pub(super) store: Arc<Store>,
    pub(super) fills: Handle,
    pub(super) refetch: Option<Arc<Refetch>>,
    /// Where the object's head is kept: dropped when its body has a hole that cannot be mended, so that the
    /// next request is a miss.
    pub(super) head: Option<u128>,
    /// Whether chunks read from disk are worth a place in memory.
    pub(super) placement: Placement,
}

impl Reader {
    pub(super) fn new(
        object: Arc<Object>,
        seat: Option<Seat>,
        tiers: Tiers,
        position: u64,
        end: Option<u64>,
    ) -> Self {
        let known = if seat.is_none() {
            Some(object.body.length())
        } else {
            None
        };
        Self {
            end: end.or(known),
            object,
            tiers,
            seat,
            position,
            chunk: None,
            loading: None,
            failed: false,
        }
    }

    /// What is left, when it is known, in bytes.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.position))
    }

    /// The next piece; `None` at the end. After an error there is no more.
    pub async fn next(&mut self) -> Option<Result<Bytes, FillError>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The whole rest, if it is not longer than `limit` bytes.
    ///
    /// # Errors
    /// What the fill failed with; `Ok(None)` when it is too long.
    pub async fn collect(mut self, limit: u64) -> Result<Option<Bytes>, FillError> {
        if self.remaining().is_some_and(|rest| rest > limit) {
            return Ok(None);
        }
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Some(Bytes::new()));
        };
        if self.remaining() == Some(0) {
            return Ok(Some(first));
        }
        let mut whole = BytesMut::from(first);
        while let Some(piece) = self.next().await.transpose()? {
            if (whole.len() + piece.len()) as u64 > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// As [`Reader::next`], for polled bodies.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, FillError>>> {
        if self.failed || self.end.is_some_and(|end| self.position >= end) {
            self.seat = None;
            return Poll::Ready(None);
        }
        let piece = match self.poll_piece(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        match piece {
            Ok(Some(bytes)) => {
                let bytes = self.bounded(bytes);
                self.position += bytes.len() as u64;
                Poll::Ready(Some(Ok(bytes)))
            }
            // A body that ends before its length is cut off, never ended cleanly.
            Ok(None) if self.end.is_some() => Poll::Ready(Some(Err(self.fail(FillError::Hole)))),
            Ok(None) => {
                self.seat = None;
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(self.fail(error)))),
        }
    }

    fn fail(&mut self, error: FillError) -> FillError {
        self.failed = true;
        self.seat = None;
        if let (FillError::Hole, Some(id)) = (&error, self.tiers.head) {
            self.tiers.store.remove(&EntryKey::head(id));
        }
        error
    }

    fn bounded(&self, mut bytes: Bytes) -> Bytes {
        if let Some(end) = self.end {
            let most = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            bytes.truncate(most);
        }
        bytes
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FillError>> {
        if let Some(seat) = &self.seat
            && self.loading.is_none()
        {
            match seat.poll_piece(self.position, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Piece::Bytes(bytes)) => return Poll::Ready(Ok(Some(bytes))),
                Poll::Ready(Piece::End) => return Poll::Ready(Ok(None)),
                Poll::Ready(Piece::Failed(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Piece::Behind) => {}
            }
        }
        if let (None, Body::Inline(bytes)) = (&self.seat, &self.object.body) {
            let start = usize::try_from(self.position).unwrap_or(usize::MAX);
            let rest = (start < bytes.len()).then(|| bytes.slice(start..));
            return Poll::Ready(Ok(rest));
        }
        self.poll_chunk(context)
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FillError>> {
        let number = self.position / CHUNK;
        loop {
            if let Some((held, bytes)) = &self.chunk
                && *held == number
            {
                let start = usize::try_from(self.position % CHUNK).unwrap_or(usize::MAX);
                let rest = (start < bytes.len()).then(|| bytes.slice(start..));
                // The last piece of a chunk lets go of it, so that a slow client does not pin it twice.
                self.chunk = None;
                return Poll::Ready(Ok(rest));
            }
            if self.loading.is_none() {
                let Ok(part) = u32::try_from(number) else {
                    return Poll::Ready(Err(FillError::Hole));
                };
                let key = EntryKey {
                    id: self.object.version,
                    part: Part::Chunk(part),
                };
                if let Some(Entry::Chunk(bytes)) = self.tiers.store.memory(&key) {
                    self.chunk = Some((number, bytes));
                    continue;
                }
                self.loading = Some(self.load(key, number));
            }
            let Some(loading) = &mut self.loading else {
                continue;
            };
            match loading.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(loaded) => {
                    self.loading = None;
                    match loaded {
                        Ok(bytes) => self.chunk = Some((number, bytes)),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }

    fn load(&self, key: EntryKey, number: u64) -> Loading {
        let store = Arc::clone(&self.tiers.store);
        let refetch = self.tiers.refetch.clone();
        let fills = self.tiers.fills.clone();
        let placement = self.tiers.placement;
        let length = match &self.object.body {
            Body::Chunked { length } if self.seat.is_none() => Some(*length),
            _ => self.end,
        };
        Box::pin(async move {
            if let Some((Entry::Chunk(bytes), _)) = store.load_placed(&key, placement).await {
                return Ok(bytes);
            }
            let (Some(refetch), Some(length)) = (refetch, length) else {
                return Err(FillError::Hole);
            };
            let first = number * CHUNK;
            let last = (first + CHUNK).min(length).saturating_sub(1);
            // Origin connections live on the fills' runtime, whoever asks.
            fills
                .spawn(async move { refetch.range(first, last).await })
                .await
                .unwrap_or(Err(FillError::Hole))
        })
    }
}

/// How a missing part of an object is fetched again: the same request with a range that only holds for the
/// very representation that is stored (RFC 9110 §13.1.5).
pub(super) struct Refetch {
    ask: Arc<Ask>,
    varied: HeaderMap,
    validator: HeaderValue,
}

impl Refetch {
    /// `None` when the object has no strong validator: then a hole cannot be mended.
    pub(super) fn of(ask: &Arc<Ask>, object: &Object, varied: HeaderMap) -> Option<Arc<Self>> {
        let tag = object.headers.get(ETAG)?;
        let strong = EntityTag::parse(tag.as_bytes()).is_some_and(|tag| !tag.weak);
        strong.then(|| {
            Arc::new(Self {
                ask: Arc::clone(ask),
                varied,
                validator: tag.clone(),
            })
        })
    }

    async fn range(&self, first: u64, last: u64) -> Result<Bytes, FillError> {
        let range =
            HeaderValue::try_from(format!("bytes={first}-{last}")).map_err(|_| FillError::Hole)?;
        let request = self.ask.origin_request(
            &self.varied,
            vec![(RANGE, range), (IF_RANGE, self.validator.clone())],
        );
        let mut response = self.ask.zone.origin.fetch(request).await?;
        let wanted = format!("bytes {first}-{last}/");
        let fits = response.status == StatusCode::PARTIAL_CONTENT
            && response.headers.get(ETAG) == Some(&self.validator)
            && response
                .headers
                .get(CONTENT_RANGE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with(&wanted));
        if !fits {
            return Err(FillError::Hole);
        }
        let length = last - first + 1;
        let mut bytes = BytesMut::new();
        while let Some(piece) = response.body.chunk().await? {
            if (bytes.len() + piece.len()) as u64 > length {
                return Err(FillError::Hole);
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() as u64 != length {
            return Err(FillError::Hole);
        }
        Ok(bytes.freeze())
    }
}
