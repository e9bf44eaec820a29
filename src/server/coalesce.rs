use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One TLS record's worth (RFC 8446 section 5.1). Less than this is held, full ones are written.
const RECORD_BYTES: usize = 16 << 10;

/// A writer between the HTTP/2 layer and TLS that gathers what one turn of the connection writes.
///
/// The HTTP/2 layer writes and flushes each frame on its own, which makes a TLS record and a
/// system call of every frame; for small answers that is half of their cost. So a flush here only
/// notes that one is due, and the connection's driver calls [`Turn::flush`] after each turn, which
/// makes it true. Nothing is held across turns that the socket would take.
///
/// Large frames are not copied: as soon as a full record is there, it goes down together with what
/// is held, and only the part that does not fill a record is kept.
///
/// Whoever uses this without calling [`Turn::flush`] after each poll holds bytes back for ever.
#[derive(Debug)]
pub(super) struct Coalesce<T> {
    shared: Arc<Mutex<Held<T>>>,
    vectored: bool,
}

/// The driver's end of a [`Coalesce`].
#[derive(Debug)]
pub(super) struct Turn<T> {
    shared: Arc<Mutex<Held<T>>>,
}

/// The lock is only ever taken by the connection's own task: the HTTP layer and the driver hold
/// the two ends and run one after the other.
#[derive(Debug)]
struct Held<T> {
    io: T,
    /// Always shorter than a record.
    bytes: Vec<u8>,
    flush_due: bool,
}

/// Puts a coalescing writer before `io`.
pub(super) fn coalesce<T: AsyncWrite>(io: T) -> (Coalesce<T>, Turn<T>) {
    let vectored = io.is_write_vectored();
    let shared = Arc::new(Mutex::new(Held {
        io,
        bytes: Vec::new(),
        flush_due: false,
    }));
    let turn = Turn {
        shared: Arc::clone(&shared),
    };
    (Coalesce { shared, vectored }, turn)
}

impl<T: AsyncWrite + Unpin> Turn<T> {
    /// Writes what the turn left behind and flushes. Pending when the socket takes no more: the
    /// task is then woken when it does, and the driver's next turn ends here again.
    pub(super) fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().poll_flush(cx)
    }
}

impl<T: AsyncWrite + Unpin> Held<T> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.drain(..written.min(self.bytes.len()));
        }
        if self.flush_due {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flush_due = false;
        }
        // A connection that has nothing to say keeps no buffer for it.
        if self.bytes.capacity() > 0 {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flush_due = true;
        loop {
            let given: usize = slices.iter().map(|slice| slice.len()).sum();
            let all = self.bytes.len() + given;
            if all < RECORD_BYTES {
                for slice in slices {
                    self.bytes.extend_from_slice(slice);
                }
                return Poll::Ready(Ok(given));
            }
            let held = self.bytes.len();
            let whole_records = all - all % RECORD_BYTES;
            let written = {
                let first = first_bytes(&self.bytes, slices, whole_records);
                ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &first))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.drain(..written.min(held));
            if let Some(taken @ 1..) = written.checked_sub(held) {
                return Poll::Ready(Ok(taken));
            }
        }
    }
}

/// The first `limit` bytes of what is held and what is given.
fn first_bytes<'a>(
    held: &'a [u8],
    given: &'a [IoSlice<'_>],
    limit: usize,
) -> SmallVec<[IoSlice<'a>; 8]> {
    let mut left = limit;
    let mut first = SmallVec::new();
    let all = std::iter::once(held).chain(given.iter().map(|slice| &**slice));
    for slice in all {
        let part = slice.get(..slice.len().min(left)).unwrap_or_default();
        left -= part.len();
        if !part.is_empty() {
            first.push(IoSlice::new(part));
        }
    }
    first
}

impl<T: AsyncRead + Unpin> AsyncRead for Coalesce<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.lock().io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesce<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shared.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    /// Due, not done: see the type.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().flush_due = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.shared.lock();
        ready!(held.poll_flush(cx))?;
        Pin::new(&mut held.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;

    /// Takes what each entry of the script says, 0 is Pending, and notes the size of each write.
    #[derive(Debug, Default)]
    struct Scripted {
        script: Vec<usize>,
        writes: Vec<usize>,
        taken: Vec<u8>,
        flushes: usize,
        shut: bool,
    }

    impl AsyncWrite for Scripted {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let given: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let room = self.script.pop().unwrap_or(usize::MAX);
            if room == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = given.len().min(room);
            self.taken.extend_from_slice(&given[..taken]);
            self.writes.push(taken);
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn small_frames_of_a_turn_go_out_as_one_write() {
        let (mut writer, turn) = coalesce(Scripted::default());
        for _ in 0..10 {
            writer.write_all(&[7; 100]).await.unwrap();
            writer.flush().await.unwrap();
        }
        assert!(turn.shared.lock().io.writes.is_empty());
        poll_fn(|cx| turn.flush(cx)).await.unwrap();
        let held = turn.shared.lock();
        assert_eq!(held.io.writes, [1000]);
        assert_eq!(held.io.flushes, 1);
        assert_eq!(held.bytes.capacity(), 0);
    }

    #[tokio::test]
    async fn large_frames_go_out_in_whole_records_with_what_is_held() {
        let (mut writer, turn) = coalesce(Scripted::default());
        writer.write_all(&[1; 100]).await.unwrap();
        writer.write_all(&[2; 40_000]).await.unwrap();
        assert_eq!(turn.shared.lock().io.writes, [2 * RECORD_BYTES]);
        poll_fn(|cx| turn.flush(cx)).await.unwrap();
        let held = turn.shared.lock();
        assert_eq!(
            held.io.writes,
            [2 * RECORD_BYTES, 40_100 - 2 * RECORD_BYTES]
        );
        assert_eq!(held.io.taken.len(), 40_100);
    }

    #[tokio::test]
    async fn shutdown_writes_what_is_held_first() {
        let (mut writer, turn) = coalesce(Scripted::default());
        writer.write_all(b"goodbye").await.unwrap();
        writer.shutdown().await.unwrap();
        let held = turn.shared.lock();
        assert_eq!(held.io.taken, b"goodbye");
        assert!(held.io.shut);
    }

    #[tokio::test]
    async fn a_full_socket_holds_the_writer_back() {
        let (client, server): (DuplexStream, DuplexStream) = tokio::io::duplex(1000);
        let (mut writer, turn) = coalesce(server);
        let mut taken = 0;
        let stuck = poll_fn(|cx| {
            loop {
                match Pin::new(&mut writer).poll_write(cx, &[0; 5000]) {
                    Poll::Ready(written) => taken += written.unwrap(),
                    Poll::Pending => return Poll::Ready(taken),
                }
            }
        })
        .await;
        assert!(stuck <= 1000 + RECORD_BYTES, "{stuck}");
        drop((client, turn));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn bytes_arrive_whole_and_in_order(
            frames in proptest::collection::vec(0_usize..40_000, 1..30),
            script in proptest::collection::vec(prop_oneof![Just(0), 1_usize..20_000], 0..200),
            turns in any::<u32>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let io = Scripted { script, ..Scripted::default() };
            let (mut writer, turn) = coalesce(io);
            // 251 is prime, so no two frames' bytes fall into step.
            let bytes: Vec<u8> = (0..=250).cycle().take(frames.iter().sum()).collect();
            let mut left = &bytes[..];
            runtime.block_on(async {
                for (index, size) in frames.iter().enumerate() {
                    let (frame, later) = left.split_at(*size);
                    left = later;
                    let (head, body) = frame.split_at(size / 3);
                    let mut given = [IoSlice::new(head), IoSlice::new(body)];
                    let mut rest = &mut given[..];
                    while rest.iter().any(|slice| !slice.is_empty()) {
                        let written = writer.write_vectored(rest).await.unwrap();
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    writer.flush().await.unwrap();
                    if turns >> (index % 32) & 1 == 1 {
                        poll_fn(|cx| turn.flush(cx)).await.unwrap();
                    }
                }
                poll_fn(|cx| turn.flush(cx)).await.unwrap();
            });
            prop_assert!(turn.shared.lock().io.taken == bytes);
        }
    }
}
