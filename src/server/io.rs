use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::control::Control;
use super::sniff;

/// The lowest layer: tells the connection's control when the socket takes bytes and when it does
/// not, and ends in a reset when the control says so.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    control: Arc<Control>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, control: Arc<Control>) -> Self {
        Self { stream, control }
    }

    fn note(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.control.blocked(),
            Poll::Ready(Ok(_)) => self.control.wrote(),
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.control.ends_in_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::trace!(%error, "a connection ends without a reset");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The layer right under the HTTP parser, above TLS: the place of the *scanner*. It sees every
/// byte before the parser does, so whatever checks heads and framing or counts frames goes into
/// [`Inbound::scan`], and ends the connection by an error from there.
#[derive(Debug)]
pub(super) struct Inbound<T> {
    io: T,
    control: Arc<Control>,
    stage: Stage,
    /// Bytes that were read to learn the protocol; the parser gets them first.
    read_ahead: Bytes,
}

#[derive(Debug)]
enum Stage {
    Http1,
    /// So many bytes of the HTTP/2 preface have not come yet.
    Preface {
        missing: usize,
    },
    Frames,
}

impl<T> Inbound<T> {
    /// Under an HTTP/1 parser.
    pub(super) fn http1(io: T, control: Arc<Control>, read_ahead: Bytes) -> Self {
        Self {
            io,
            control,
            stage: Stage::Http1,
            read_ahead,
        }
    }

    /// Under an HTTP/2 parser.
    pub(super) fn http2(io: T, control: Arc<Control>, read_ahead: Bytes) -> Self {
        control.speaks_http2();
        Self {
            io,
            control,
            stage: Stage::Preface {
                missing: sniff::PREFACE.len(),
            },
            read_ahead,
        }
    }

    fn scan(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.stage {
            Stage::Http1 => self.control.heard(),
            Stage::Preface { missing } => {
                *missing = missing.saturating_sub(bytes.len());
                if *missing == 0 {
                    self.stage = Stage::Frames;
                    self.control.greeted();
                }
            }
            Stage::Frames => {}
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Inbound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.read_ahead.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        } else {
            let first = this
                .read_ahead
                .split_to(this.read_ahead.len().min(buffer.remaining()));
            buffer.put_slice(&first);
        }
        this.scan(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Inbound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
