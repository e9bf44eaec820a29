use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::control::Control;
use crate::semantics::interim::{INTERIM_MAX, Interim, Tell};

/// Bytes of one interim answer's head; a larger one is dropped.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The interim answers of one HTTP/1.1 connection, between who has them and the layer that writes them.
///
/// Requests are numbered from 1. The two counts are touched by the connection's own task; others only look at them to
/// save work, and [`Interims::take`] judges again.
#[derive(Debug)]
pub(super) struct Interims {
    control: Arc<Control>,
    /// Requests that were handed to the service. The protocol layer hands over one after the other.
    begun: AtomicU64,
    /// Requests whose final answer was handed to the protocol layer.
    answered: AtomicU64,
    waiting: AtomicBool,
    queue: Mutex<Queue>,
}

/// What waits for the wire, all of it for one request.
#[derive(Debug, Default)]
struct Queue {
    request: u64,
    told: usize,
    heads: BytesMut,
}

impl Interims {
    pub(super) fn new(control: Arc<Control>) -> Arc<Self> {
        Arc::new(Self {
            control,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            queue: Mutex::default(),
        })
    }

    /// A request is handed to the service; gives its number.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// The way for a request's interim answers.
    pub(super) fn of(self: &Arc<Self>, request: u64) -> Interim {
        let to: Arc<dyn Tell> = Arc::clone(self) as Arc<dyn Tell>;
        Interim::new(to, request)
    }

    /// The request's final answer goes to the protocol layer next.
    pub(super) fn answered(&self, request: u64) {
        self.answered.store(request, Relaxed);
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Relaxed) == self.begun.load(Relaxed)
    }

    /// What waits for the request that is under way; what was for another one is dropped.
    fn take(&self) -> Bytes {
        self.waiting.store(false, Relaxed);
        let mut queue = self.queue.lock();
        let heads = queue.heads.split().freeze();
        // A connection that has nothing to say keeps no buffer for it.
        queue.heads = BytesMut::new();
        if queue.request == self.begun.load(Relaxed) {
            heads
        } else {
            Bytes::new()
        }
    }
}

impl Tell for Interims {
    fn tell(&self, request: u64, status: StatusCode, headers: &HeaderMap) {
        if request != self.begun.load(Relaxed) || request == self.answered.load(Relaxed) {
            return;
        }
        let Some(head) = head_of(status, headers) else {
            return;
        };
        let mut queue = self.queue.lock();
        if queue.request < request {
            *queue = Queue {
                request,
                ..Queue::default()
            };
        }
        if queue.request > request || queue.told >= INTERIM_MAX {
            return;
        }
        queue.told += 1;
        queue.heads.extend_from_slice(&head);
        drop(queue);
        self.waiting.store(true, Release);
        // The protocol layer flushes in each of its turns, which is where it is written.
        self.control.wake();
    }
}

/// The head as HTTP/1.1 has it. `None` if it is too long.
fn head_of(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut line = String::new();
    write!(line, "HTTP/1.1 {} {reason}\r\n", status.as_u16()).ok()?;
    let mut head = line.into_bytes();
    for (name, value) in headers {
        // No line end can be in either: their types have none.
        let parts: [&[u8]; 4] = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if head.len() + bytes + 2 > HEAD_BYTES_MAX {
            return None;
        }
        for part in parts {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

/// The layer between the HTTP/1 parser and what is below it that writes interim answers, which the HTTP/1 layer itself
/// cannot.
///
/// One may be written where no answer's bytes are on their way: the HTTP/1 layer has handed the request to the service,
/// and has nothing of an earlier answer left. It flushes only what it has written whole, so a flush says the latter;
/// and it flushes in each turn. What it writes first after such a flush is a 100 or the beginning of the final answer, so
/// what waits goes before it. A flush behind an answer clears the way for the next request already: an origin may be so
/// fast, or this thread so late, that a request and its final answer meet in one turn. Then only an interim answer to a
/// pipelined request is dropped, while the answer before it is not all out.
#[derive(Debug)]
pub(super) struct Interject<T> {
    io: T,
    interims: Arc<Interims>,
    /// The request before whose final answer the HTTP/1 layer was seen to have nothing left to write. No request is 0.
    clear_for: u64,
    /// The request whose final answer has begun to be written.
    over_for: u64,
    /// What is left of interim answers that are being written.
    rest: Bytes,
}

impl<T> Interject<T> {
    pub(super) fn new(io: T, interims: Arc<Interims>) -> Self {
        Self {
            io,
            interims,
            // Nothing goes before the first answer.
            clear_for: 1,
            over_for: 0,
            rest: Bytes::new(),
        }
    }

    /// The HTTP/1 layer has nothing left to write.
    fn flushes(&mut self) {
        let request = self.interims.begun.load(Relaxed);
        self.clear_for = request;
        if self.interims.is_answered() {
            self.over_for = request;
            self.clear_for = request.wrapping_add(1);
        }
        self.take(request);
    }

    /// The HTTP/1 layer writes.
    fn writes(&mut self) {
        let request = self.interims.begun.load(Relaxed);
        self.take(request);
        if self.interims.is_answered() {
            self.over_for = request;
        }
        self.clear_for = 0;
    }

    fn take(&mut self, request: u64) {
        let may = self.clear_for == request && self.over_for != request && self.rest.is_empty();
        if may && self.interims.waiting.load(Acquire) {
            self.rest = self.interims.take();
        }
    }
}

impl<T: AsyncWrite + Unpin> Interject<T> {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written.min(self.rest.len()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Interject<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Interject<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes();
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    /// Takes what each entry of the script says, 0 is Pending; after its end everything.
    #[derive(Debug, Default)]
    struct Scripted {
        script: Vec<usize>,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Scripted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.script.pop() {
                Some(0) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                most => {
                    let count = bytes.len().min(most.unwrap_or(usize::MAX));
                    self.taken.extend_from_slice(&bytes[..count]);
                    Poll::Ready(Ok(count))
                }
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The layer as the HTTP/1 layer uses it.
    struct Layer(Interject<Scripted>);

    impl Layer {
        fn over(script: Vec<usize>) -> (Arc<Interims>, Self) {
            let interims = Interims::new(Arc::new(Control::new()));
            let io = Scripted {
                script,
                taken: Vec::new(),
            };
            let layer = Self(Interject::new(io, Arc::clone(&interims)));
            (interims, layer)
        }

        async fn write(&mut self, mut bytes: &[u8]) {
            while !bytes.is_empty() {
                let write = poll_fn(|cx| Pin::new(&mut self.0).poll_write(cx, bytes));
                bytes = &bytes[write.await.unwrap()..];
            }
        }

        async fn flush(&mut self) {
            let flush = poll_fn(|cx| Pin::new(&mut self.0).poll_flush(cx));
            flush.await.unwrap();
        }

        fn taken(&mut self) -> Vec<u8> {
            std::mem::take(&mut self.0.io.taken)
        }
    }

    fn hint(interims: &Arc<Interims>, request: u64) {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a>"));
        interims.of(request).tell(StatusCode::EARLY_HINTS, &headers);
    }

    #[tokio::test]
    async fn it_waits_until_nothing_of_the_answer_before_is_left() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let first = interims.begin();
        layer.flush().await;
        interims.answered(first);
        layer.write(b"fir").await;
        // The next request was in the same packet.
        let second = interims.begin();
        hint(&interims, second);
        layer.write(b"st").await;
        assert_eq!(layer.taken(), b"first");
        layer.flush().await;
        assert_eq!(layer.taken(), HINT);
        interims.answered(second);
        layer.write(b"second").await;
        assert_eq!(layer.taken(), b"second");
    }

    #[tokio::test]
    async fn two_answers_in_one_piece_leave_no_room_for_it() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let first = interims.begin();
        layer.flush().await;
        interims.answered(first);
        let second = interims.begin();
        hint(&interims, second);
        interims.answered(second);
        layer.write(b"first, second").await;
        layer.flush().await;
        layer.write(b", more of the second").await;
        assert_eq!(layer.taken(), b"first, second, more of the second");
    }

    #[tokio::test]
    async fn it_comes_before_the_answer_that_is_ready_at_the_same_time_and_never_inside() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let request = interims.begin();
        layer.flush().await;
        hint(&interims, request);
        interims.answered(request);
        layer.write(b"he").await;
        // Told by a task that had not seen yet that the answer was there.
        interims.answered(request - 1);
        hint(&interims, request);
        interims.answered(request);
        layer.write(b"ad").await;
        layer.flush().await;
        layer.write(b"body").await;
        assert_eq!(layer.taken(), [HINT, b"headbody"].concat());
    }

    #[tokio::test]
    async fn a_100_does_not_end_the_time_for_it() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let request = interims.begin();
        layer.flush().await;
        layer.write(b"100").await;
        hint(&interims, request);
        layer.flush().await;
        assert_eq!(layer.taken(), [b"100", HINT].concat());
    }

    #[tokio::test]
    async fn what_is_for_an_earlier_request_is_dropped() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let first = interims.begin();
        layer.flush().await;
        interims.answered(first);
        layer.write(b"first").await;
        layer.flush().await;
        hint(&interims, first);
        let second = interims.begin();
        hint(&interims, first);
        layer.flush().await;
        interims.answered(second);
        layer.write(b"second").await;
        assert_eq!(layer.taken(), b"firstsecond");
    }

    #[tokio::test]
    async fn more_than_the_limits_are_dropped() {
        let (interims, mut layer) = Layer::over(Vec::new());
        let request = interims.begin();
        let mut large = HeaderMap::new();
        let value = HeaderValue::try_from("x".repeat(HEAD_BYTES_MAX)).unwrap();
        large.insert("link", value);
        let told = interims.of(request);
        told.tell(StatusCode::EARLY_HINTS, &large);
        for _ in 0..2 * INTERIM_MAX {
            hint(&interims, request);
        }
        layer.flush().await;
        hint(&interims, request);
        layer.flush().await;
        assert_eq!(layer.taken(), HINT.repeat(INTERIM_MAX));
    }

    proptest! {
        #[test]
        fn a_slow_client_gets_the_same_bytes(
            script in proptest::collection::vec(0_usize..20, 0..60),
            hints in 0_usize..5,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let taken = runtime.block_on(async {
                let (interims, mut layer) = Layer::over(script);
                for _ in 0..2 {
                    let request = interims.begin();
                    layer.flush().await;
                    for _ in 0..hints {
                        hint(&interims, request);
                    }
                    interims.answered(request);
                    layer.write(b"the answer").await;
                    layer.flush().await;
                }
                layer.taken()
            });
            let one = [HINT.repeat(hints), b"the answer".to_vec()].concat();
            prop_assert_eq!(taken, one.repeat(2));
        }
    }
}
