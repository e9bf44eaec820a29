use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// A request's body on its way to an origin.
#[derive(Default)]
pub enum Upload {
    /// There is none: neither Content-Length nor Transfer-Encoding goes out.
    #[default]
    None,
    /// It is pulled piece by piece as the origin takes it, and at most once.
    Stream {
        /// What Content-Length says; without it HTTP/1.1 gets chunks.
        length: Option<u64>,
        /// Its data. It has deadlines of its own: while it has nothing to give, the origin is not blamed.
        pieces: BoxBody<Bytes, UploadError>,
    },
}

/// Why a request's body did not come whole. None of it is the origin's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The client went away, or broke the framing.
    #[error("it was cut off")]
    Cut,
    /// It is longer than is taken.
    #[error("it is longer than {limit_bytes} bytes")]
    TooLarge {
        /// `max_request_body`
        limit_bytes: u64,
    },
    /// It took too long.
    #[error("it was not there within {limit:?}")]
    Timeout {
        /// `body_timeout`
        limit: Duration,
    },
}

impl UploadError {
    /// The status that a client gets if nothing was sent yet.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// A closed label for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cut => "upload-cut",
            Self::TooLarge { .. } => "upload-too-large",
            Self::Timeout { .. } => "upload-timeout",
        }
    }
}

impl Upload {
    /// A body whose data come from `pieces`; trailers are not passed on.
    pub fn stream(
        length: Option<u64>,
        pieces: impl Body<Data = Bytes, Error = UploadError> + Send + Sync + 'static,
    ) -> Self {
        Self::Stream {
            length,
            pieces: pieces.boxed(),
        }
    }

    /// Whether there is no body at all; one of no bytes is a body.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What Content-Length says.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Stream { length, .. } => *length,
        }
    }

    /// What the protocol layer pulls, and what the exchange knows of it.
    pub(super) fn split(self) -> (Sending, Uploading) {
        match self {
            Self::None => (Sending(None), Uploading(None)),
            Self::Stream { length, pieces } => {
                let progress = Arc::new(Progress::new(length));
                let streaming = Streaming {
                    pieces: Some(pieces),
                    left: length,
                    progress: Arc::clone(&progress),
                };
                (
                    Sending(Some(Box::new(streaming))),
                    Uploading(Some(progress)),
                )
            }
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Stream { length, .. } => f
                .debug_struct("Stream")
                .field("length", length)
                .finish_non_exhaustive(),
        }
    }
}

/// The body of a request as the protocol layer pulls it.
#[derive(Debug, Default)]
pub(super) struct Sending(Option<Box<Streaming>>);

struct Streaming {
    /// `None` once nothing more is wanted of it.
    pieces: Option<BoxBody<Bytes, UploadError>>,
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Sending {
    /// For Content-Length.
    pub(super) fn length(&self) -> Option<u64> {
        self.0.as_ref().and_then(|streaming| streaming.left)
    }
}

impl Body for Sending {
    type Data = Bytes;
    /// HTTP/2 resets a stream with the reason that it finds here; why the body failed is in [`Uploading`].
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match &mut self.0 {
            Some(streaming) => streaming
                .poll_piece(context)
                .map(|piece| Some(piece.transpose()?.map(Frame::data))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|streaming| streaming.progress.state.lock().phase == Phase::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(streaming) => streaming
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Streaming {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, h2::Error>> {
        match self.progress.order(context.waker()) {
            Order::Go => {}
            Order::Hold => {
                self.pieces = None;
                return Poll::Pending;
            }
            Order::Stop => {
                self.pieces = None;
                return Poll::Ready(Err(h2::Reason::CANCEL.into()));
            }
        }
        // Ends with the first piece, or when there is none yet: frames without data are passed over.
        let piece = loop {
            let Some(pieces) = &mut self.pieces else {
                return Poll::Ready(Ok(None));
            };
            let Poll::Ready(frame) = Pin::new(pieces).poll_frame(context) else {
                self.progress.enter(Phase::Waiting);
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) if piece.is_empty() => {}
                Some(Ok(Ok(piece))) => break Ok(Some(piece)),
                Some(Ok(Err(_trailers))) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(None),
            }
        };
        Poll::Ready(self.account(piece))
    }

    /// What a piece, an end or an error means for the exchange.
    fn account(
        &mut self,
        piece: Result<Option<Bytes>, UploadError>,
    ) -> Result<Option<Bytes>, h2::Error> {
        let bytes = piece
            .as_ref()
            .map_or(0, |piece| piece.as_ref().map_or(0, Bytes::len));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let left = self.left.map(|left| left.checked_sub(bytes));
        let phase = match (&piece, left) {
            (Err(error), _) => Phase::Failed(*error),
            // Neither more nor less than was promised: what follows would be taken for another request.
            (Ok(Some(_)), Some(None)) | (Ok(None), Some(Some(1..))) => {
                Phase::Failed(UploadError::Cut)
            }
            (Ok(Some(_)), Some(Some(1..)) | None) => Phase::Taken,
            (Ok(Some(_)), Some(Some(0))) | (Ok(None), _) => Phase::Done,
        };
        self.left = left.map(Option::unwrap_or_default);
        if phase != Phase::Taken {
            self.pieces = None;
        }
        self.progress.enter(phase);
        match (phase, piece) {
            (Phase::Taken | Phase::Done | Phase::Waiting, Ok(piece)) => Ok(piece),
            (Phase::Failed(_), _) | (_, Err(_)) => Err(h2::Reason::CANCEL.into()),
        }
    }
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The origin has been given all that there was.
    Taken,
    /// The client is waited for.
    Waiting,
    /// All is given.
    Done,
    Failed(UploadError),
}

/// What becomes of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Go,
    /// Nothing more goes out, and the exchange goes on: the answer is still coming.
    Hold,
    /// The exchange is over.
    Stop,
}

/// What the two ends of an upload, which are polled by different tasks, tell each other.
#[derive(Debug)]
struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase was entered last.
    since: Instant,
    order: Order,
    /// Of who pulls.
    waker: Option<Waker>,
}

impl Progress {
    fn new(length: Option<u64>) -> Self {
        Self {
            state: Mutex::new(State {
                phase: if length == Some(0) {
                    Phase::Done
                } else {
                    Phase::Taken
                },
                since: Instant::now(),
                order: Order::Go,
                waker: None,
            }),
        }
    }

    /// The order, whose change wakes `waker`.
    fn order(&self, waker: &Waker) -> Order {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        state.order
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        state.phase = phase;
        state.since = Instant::now();
    }

    fn give(&self, order: Order) {
        let mut state = self.state.lock();
        state.order = state.order.max(order);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What an exchange knows of its upload. Its drop stops what is left of that.
#[derive(Debug)]
pub(super) struct Uploading(Option<Arc<Progress>>);

impl Uploading {
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether nothing is left to send.
    pub(super) fn is_done(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|progress| progress.state.lock().phase == Phase::Done)
    }

    pub(super) fn error(&self) -> Option<UploadError> {
        match self.0.as_ref()?.state.lock().phase {
            Phase::Failed(error) => Some(error),
            Phase::Taken | Phase::Waiting | Phase::Done => None,
        }
    }

    /// Sends no more of it, but lets the exchange go on.
    pub(super) fn hold(&self) {
        if let Some(progress) = &self.0 {
            progress.give(Order::Hold);
        }
    }

    /// Waits for what `answer` gives, at most `limit` after the origin has been given the last piece that there was.
    /// While the client is waited for, the origin is not.
    pub(super) async fn bound<F: Future>(&self, limit: Duration, answer: F) -> Option<F::Output> {
        let mut answer = std::pin::pin!(answer);
        let start = Instant::now();
        // Ends with the answer, or when neither the origin nor the client has moved for `limit`; the client's own
        // deadline ends the upload and with it the answer.
        loop {
            let deadline = self.origin_waited_for_since(start) + limit;
            if let Ok(output) = timeout_at(deadline, answer.as_mut()).await {
                return Some(output);
            }
            if self.origin_waited_for_since(start) + limit <= Instant::now() {
                return None;
            }
        }
    }

    fn origin_waited_for_since(&self, start: Instant) -> Instant {
        let Some(progress) = &self.0 else {
            return start;
        };
        let state = progress.state.lock();
        match state.phase {
            Phase::Waiting => Instant::now(),
            Phase::Taken | Phase::Done | Phase::Failed(_) => state.since.max(start),
        }
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(progress) = &self.0 {
            progress.give(Order::Stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::super::script::fed;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn pull(sending: &mut Sending) -> Option<Result<Bytes, h2::Error>> {
        poll_fn(|context| Pin::new(&mut *sending).poll_frame(context))
            .await
            .map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_origin_is_not_waited_for_while_the_client_is() {
        let (feed, upload) = fed(None);
        let (mut sending, uploading) = upload.split();
        let pulling = tokio::spawn(async move {
            while pull(&mut sending).await.is_some() {}
            Instant::now()
        });
        let feeding = tokio::spawn(async move {
            // Longer than the limit between any two pieces.
            for _ in 0..3 {
                tokio::time::sleep(3 * LIMIT).await;
                feed.send(Ok("x".into())).await.unwrap();
            }
        });
        let answered = uploading.bound(LIMIT, pending::<()>()).await;
        assert_eq!(answered, None);
        let ended = pulling.await.unwrap();
        feeding.await.unwrap();
        // The clock of timers counts whole milliseconds.
        let waited = ended.elapsed().abs_diff(LIMIT);
        assert!(waited <= Duration::from_millis(2), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_no_more_is_given_the_limit() {
        let (feed, upload) = fed(None);
        let (mut sending, uploading) = upload.split();
        feed.send(Ok("x".into())).await.unwrap();
        assert_eq!(pull(&mut sending).await.unwrap().unwrap(), "x");
        let start = Instant::now();
        assert_eq!(uploading.bound(LIMIT, pending::<()>()).await, None);
        assert!(start.elapsed().abs_diff(LIMIT) <= Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_body_the_limit_is_a_limit() {
        let (_sending, uploading) = Upload::None.split();
        assert_eq!(uploading.bound(LIMIT, async { 1 }).await, Some(1));
        assert_eq!(uploading.bound(LIMIT, pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_held_upload_waits_and_a_stopped_one_fails() {
        let (feed, upload) = fed(None);
        let (mut sending, uploading) = upload.split();
        uploading.hold();
        let pulling = tokio::spawn(async move { pull(&mut sending).await });
        feed.closed().await;
        assert!(!pulling.is_finished() && !uploading.is_done());
        drop(uploading);
        assert!(pulling.await.unwrap().unwrap().is_err());
    }
}
