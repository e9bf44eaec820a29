use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::control::Control;

/// Counts an answer from its request's head to the end of its body.
#[derive(Debug)]
pub(super) struct Answering {
    control: Arc<Control>,
}

impl Answering {
    pub(super) fn begin(control: &Arc<Control>) -> Self {
        control.answer_begins();
        Self {
            control: Arc::clone(control),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.control.answer_ends();
    }
}

/// A body on its way out: keeps its connection's control up to date, and cuts chunks to what an
/// HTTP/2 stream may hold unsent (the protocol layer takes a chunk whole, whatever its size).
#[derive(Debug)]
pub(super) struct Outgoing<B> {
    source: Source<B>,
    /// What is left of a chunk that was larger than a piece.
    rest: Bytes,
    multiplexed: Option<Multiplexed>,
    _answering: Answering,
}

#[derive(Debug)]
enum Source<B> {
    Answer(B),
    Text(Bytes),
}

/// What a body has to know on HTTP/2.
#[derive(Debug)]
pub(super) struct Multiplexed {
    pub(super) control: Arc<Control>,
    pub(super) stream: Arc<Stream>,
    pub(super) piece_bytes: usize,
}

impl<B> Outgoing<B> {
    /// The body of an answer.
    pub(super) fn of(body: B, answering: Answering, multiplexed: Option<Multiplexed>) -> Self {
        Self::from_source(Source::Answer(body), answering, multiplexed)
    }

    /// A body of our own; empty for none.
    pub(super) fn text(
        text: Bytes,
        answering: Answering,
        multiplexed: Option<Multiplexed>,
    ) -> Self {
        Self::from_source(Source::Text(text), answering, multiplexed)
    }

    fn from_source(
        source: Source<B>,
        answering: Answering,
        multiplexed: Option<Multiplexed>,
    ) -> Self {
        Self {
            source,
            rest: Bytes::new(),
            multiplexed,
            _answering: answering,
        }
    }

    fn hand_over(&mut self, mut data: Bytes) -> Frame<Chunk> {
        let Some(multiplexed) = &self.multiplexed else {
            return Frame::data(Chunk {
                bytes: data,
                owed_by: None,
            });
        };
        if data.len() > multiplexed.piece_bytes {
            self.rest = data.split_off(multiplexed.piece_bytes);
        }
        multiplexed.stream.handed_over();
        multiplexed.control.owes_chunk();
        Frame::data(Chunk {
            bytes: data,
            owed_by: Some(Arc::clone(&multiplexed.control)),
        })
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Chunk;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Self::Error>>> {
        let this = &mut *self;
        if let Some(multiplexed) = &this.multiplexed {
            multiplexed.stream.asked();
        }
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(this.hand_over(rest))));
        }
        let frame = match &mut this.source {
            Source::Answer(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(frame) => frame.map_err(Into::into)?,
                None => return Poll::Ready(None),
            },
            Source::Text(text) if text.is_empty() => return Poll::Ready(None),
            Source::Text(text) => Frame::data(std::mem::take(text)),
        };
        // Trailers are not ours to send: nothing that we answer has any.
        Poll::Ready(frame.into_data().ok().map(|data| Ok(this.hand_over(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.source {
                Source::Answer(body) => body.is_end_stream(),
                Source::Text(text) => text.is_empty(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let source = match &self.source {
            Source::Answer(body) => body.size_hint(),
            Source::Text(text) => SizeHint::with_exact(bytes_of(text)),
        };
        let rest = bytes_of(&self.rest);
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower().saturating_add(rest));
        if let Some(upper) = source.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

fn bytes_of(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// Body bytes that tell when HTTP/2 has written them, because nothing else does: it keeps them
/// while the client's window is shut, after the answer's own future has ended.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    owed_by: Option<Arc<Control>>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(control) = &self.owed_by {
            control.moved();
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(control) = &self.owed_by {
            control.chunk_gone();
        }
    }
}

/// Whether an HTTP/2 stream waits for its client: it has been given a chunk and has not asked for
/// the next one. (A stream whose body is not ready has asked, and waits for us.)
#[derive(Debug, Default)]
pub(super) struct Stream {
    asked: AtomicU64,
    handed_over: AtomicU64,
}

impl Stream {
    fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    fn handed_over(&self) {
        self.handed_over.store(self.asked.load(Relaxed), Relaxed);
    }

    /// The number of the chunk that the client does not take; it changes with progress.
    pub(super) fn waits_with(&self) -> Option<u64> {
        let asked = self.asked.load(Relaxed);
        (asked > 0 && self.handed_over.load(Relaxed) == asked).then_some(asked)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn body_of(bytes: usize, piece_bytes: Option<usize>) -> (Arc<Control>, Outgoing<Full<Bytes>>) {
        let control = Arc::new(Control::new());
        control.speaks_http2();
        let multiplexed = piece_bytes.map(|piece_bytes| Multiplexed {
            control: Arc::clone(&control),
            stream: Arc::new(Stream::default()),
            piece_bytes,
        });
        let answering = Answering::begin(&control);
        let body = Full::new(Bytes::from(vec![1; bytes]));
        (control, Outgoing::of(body, answering, multiplexed))
    }

    async fn pieces(body: &mut Outgoing<Full<Bytes>>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().remaining());
        }
        sizes
    }

    #[tokio::test]
    async fn chunks_are_cut_for_http_2_only() {
        let (_control, mut body) = body_of(100, None);
        assert_eq!(pieces(&mut body).await, [100]);
        let (_control, mut body) = body_of(100, Some(40));
        assert_eq!(body.size_hint().exact(), Some(100));
        assert_eq!(pieces(&mut body).await, [40, 40, 20]);
    }

    #[tokio::test]
    async fn what_is_owed_is_known_until_it_is_dropped() {
        let (control, mut body) = body_of(100, Some(40));
        assert!(control.activity().quiet_since.is_none());
        let first = body.frame().await.unwrap().unwrap();
        drop(body);
        let activity = control.activity();
        assert!(activity.owing_since.is_some() && activity.quiet_since.is_none());
        drop(first);
        let activity = control.activity();
        assert!(activity.owing_since.is_none() && activity.quiet_since.is_some());
    }

    #[tokio::test]
    async fn a_stream_waits_from_a_chunk_to_the_next_question() {
        let (_control, mut body) = body_of(100, Some(40));
        let stream = Arc::clone(&body.multiplexed.as_ref().unwrap().stream);
        assert_eq!(stream.waits_with(), None);
        let first = body.frame().await;
        let waits = stream.waits_with();
        assert!(waits.is_some());
        let second = body.frame().await;
        assert_ne!(stream.waits_with(), waits);
        drop((first, second));
        drop(pieces(&mut body).await);
        assert_eq!(stream.waits_with(), None);
    }
}
