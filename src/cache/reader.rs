use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::store::{Body, Entry, EntryKey, Object, Placement, SiteStore};

use super::FillError;
use super::blocks::{BLOCK, Block, BlockSource, Blocks, Interest, SPAN_MAX, Wanted, block_at};
use super::flight::{Piece, Seat};

/// A reader that begins this far behind what a running fill has does not wait for it, if it can have its part by
/// itself.
const FAR_AHEAD_BYTES: u64 = 4 << 20;

type Loading = Pin<Box<dyn Future<Output = Result<Block, FillError>> + Send>>;

/// The bytes of one answer, in order, from memory, disk, a running fill, or the origin block by block.
pub struct Reader {
    object: Arc<Object>,
    tiers: Tiers,
    seat: Option<Seat>,
    position: u64,
    end: Option<u64>,
    chunk: Option<(u32, Bytes)>,
    loading: Option<Loading>,
    /// Keeps the blocks coming that were asked for ahead.
    interest: Option<Interest>,
    /// Blocks to ask for at one time: the longer it reads on, the more.
    span: u32,
    failed: bool,
}

/// Where a reader finds bytes that no flight holds.
pub(super) struct Tiers {
    pub(super) store: Arc<SiteStore>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) source: Option<Arc<BlockSource>>,
    /// Whether the origin is known to give parts.
    pub(super) has_parts: bool,
    /// Where the object's head is kept: dropped when its body has a hole that cannot be mended, so that the
    /// next request is a miss.
    pub(super) head: Option<u128>,
    /// The body's length, if it is known.
    pub(super) length: Option<u64>,
    /// Whether chunks read from disk are worth a place in memory.
    pub(super) placement: Placement,
}

impl Reader {
    pub(super) fn new(
        object: Arc<Object>,
        seat: Option<Seat>,
        tiers: Tiers,
        first: Option<(u32, Block)>,
    ) -> Self {
        let (chunk, interest) = match first {
            Some((number, block)) => (Some((number, block.bytes)), block.interest),
            None => (None, None),
        };
        Self {
            end: tiers.length,
            object,
            tiers,
            seat,
            position: 0,
            chunk,
            loading: None,
            interest,
            span: 1,
            failed: false,
        }
    }

    /// Turns to the bytes from `start` to `end` (exclusive; `None` is all that comes). Those of a running fill can
    /// only be had in ascending order.
    pub fn aim(&mut self, start: u64, end: Option<u64>) {
        self.position = start;
        self.end = end.or(self.tiers.length);
        self.loading = None;
        self.interest = self.interest.take().filter(|_| self.chunk.is_some());
        self.span = 1;
        if self.tiers.has_parts
            && self.tiers.source.is_some()
            && let Some(seat) = &self.seat
            && start > seat.flight().received().saturating_add(FAR_AHEAD_BYTES)
        {
            self.seat = None;
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
        self.interest = None;
        if let (FillError::Hole | FillError::Changed, Some(id)) = (&error, self.tiers.head) {
            let store = &self.tiers.store;
            self.tiers.blocks.forget(store, id, self.object.version);
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
        let Some(number) = block_at(self.position) else {
            return Poll::Ready(Err(FillError::Hole));
        };
        loop {
            if let Some((held, bytes)) = &self.chunk
                && *held == number
            {
                let start = usize::try_from(self.position % BLOCK).unwrap_or(usize::MAX);
                let rest = (start < bytes.len()).then(|| bytes.slice(start..));
                // The last piece of a chunk lets go of it, so that a slow client does not pin it twice.
                self.chunk = None;
                return Poll::Ready(Ok(rest));
            }
            if self.loading.is_none() {
                let key = EntryKey::chunk(self.object.version, number);
                if let Some(Entry::Chunk(bytes)) = self.tiers.store.memory(&key)
                    && self.is_right(number, bytes.len())
                {
                    self.chunk = Some((number, bytes));
                    continue;
                }
                self.loading = Some(self.load(number));
            }
            let Some(loading) = &mut self.loading else {
                continue;
            };
            match loading.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(loaded) => {
                    self.loading = None;
                    match loaded {
                        Ok(block) => {
                            if let Some(interest) = block.interest {
                                self.pulling(interest);
                                self.read_ahead(number.saturating_add(1));
                            }
                            self.chunk = Some((number, block.bytes));
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }

    /// What the length of chunk `number` must be, if that can be told.
    fn length_of(&self, number: u32) -> Option<usize> {
        let start = u64::from(number) * BLOCK;
        let length = self.tiers.length?.saturating_sub(start).min(BLOCK);
        usize::try_from(length).ok()
    }

    fn is_right(&self, number: u32, length: usize) -> bool {
        self.length_of(number).is_none_or(|right| right == length)
    }

    /// The longer a reader goes on, the more is pulled at one time.
    fn pulling(&mut self, interest: Interest) {
        self.interest = Some(interest);
        self.span = (self.span * 2).min(SPAN_MAX);
    }

    /// The next blocks are asked for while this one goes out, or each fetch would make the reader wait anew.
    fn read_ahead(&mut self, number: u32) {
        let wanted = self.wanted(number);
        if number <= wanted.last
            && let Some(interest) = self.tiers.blocks.ahead(&wanted)
        {
            self.pulling(interest);
        }
    }

    fn load(&self, number: u32) -> Loading {
        let blocks = Arc::clone(&self.tiers.blocks);
        let wanted = self.wanted(number);
        Box::pin(async move { blocks.block(&wanted).await })
    }

    fn wanted(&self, number: u32) -> Wanted {
        let last = self
            .end
            .and_then(|end| block_at(end.saturating_sub(1)))
            .unwrap_or(number);
        Wanted {
            version: self.object.version,
            number,
            length: self.length_of(number),
            last,
            span: self.span,
            placement: self.tiers.placement,
            store: Arc::clone(&self.tiers.store),
            source: self.tiers.source.clone(),
        }
    }
}
