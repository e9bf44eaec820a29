use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// RFC 9113 section 3.4.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection without ALPN speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// Reads until the first bytes tell HTTP/2 by prior knowledge (RFC 9113 section 3.3) from
/// HTTP/1, and returns what it read. Ends at the first byte that differs from the preface or at
/// the end of the stream; the caller bounds the time.
pub(super) async fn spoken<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<(Spoken, Bytes)> {
    let mut read = Vec::with_capacity(PREFACE.len());
    loop {
        if read == PREFACE {
            return Ok((Spoken::Http2, read.into()));
        }
        if !PREFACE.starts_with(&read) {
            return Ok((Spoken::Http1, read.into()));
        }
        let missing = PREFACE.len() - read.len();
        let limit = u64::try_from(missing).unwrap_or(u64::MAX);
        if (&mut *io).take(limit).read_buf(&mut read).await? == 0 {
            return Ok((Spoken::Http1, read.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(pieces: &[&[u8]], expect: Spoken, expect_read: &[u8]) {
        let mut io = tokio_test_reader(pieces);
        let (spoken, read) = spoken(&mut io).await.unwrap();
        assert_eq!((spoken, &read[..]), (expect, expect_read));
    }

    /// Gives one piece a read, then the end.
    fn tokio_test_reader(pieces: &[&[u8]]) -> impl AsyncRead + Unpin {
        let mut all: Box<dyn AsyncRead + Unpin> = Box::new(tokio::io::empty());
        for piece in pieces.iter().rev() {
            let piece = io::Cursor::new(piece.to_vec());
            all = Box::new(piece.chain(all));
        }
        all
    }

    #[tokio::test]
    async fn the_preface_is_told_from_requests_however_it_is_cut() {
        check(&[PREFACE, b"more"], Spoken::Http2, PREFACE).await;
        check(
            &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"],
            Spoken::Http2,
            PREFACE,
        )
        .await;
        check(
            &[b"GET / HTTP/1.1\r\n\r\n"],
            Spoken::Http1,
            b"GET / HTTP/1.1\r\n\r\n",
        )
        .await;
        check(
            &[b"P", b"OST / HTTP/1.1"],
            Spoken::Http1,
            b"POST / HTTP/1.1",
        )
        .await;
        check(&[b"PRI * HTTP"], Spoken::Http1, b"PRI * HTTP").await;
        check(&[], Spoken::Http1, b"").await;
    }
}
