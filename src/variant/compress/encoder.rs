use std::io::{self, Write};

use bytes::Bytes;

use super::super::config::Coding;
use super::{brotli, gzip, zstd};

/// One content coding over a stream of pieces. What has been pushed and flushed can be decoded by the
/// other side at once.
pub struct Encoder {
    stream: Stream,
}

enum Stream {
    Gzip(Box<gzip::Stream>),
    Brotli(Box<brotli::Stream>),
    Zstd(Box<zstd::Stream>),
    /// The coder could not be made (no memory); told by the first call that can tell.
    Broken(io::ErrorKind),
}

impl Encoder {
    /// A coder at `level`; levels outside the coding's range are clamped into it.
    #[must_use]
    pub fn new(coding: Coding, level: u32) -> Self {
        let stream = match coding {
            Coding::Gzip => Stream::Gzip(Box::new(gzip::encoder(level))),
            Coding::Brotli => Stream::Brotli(Box::new(brotli::encoder(level))),
            Coding::Zstd => match zstd::encoder(level) {
                Ok(encoder) => Stream::Zstd(Box::new(encoder)),
                Err(error) => Stream::Broken(error.kind()),
            },
        };
        Self { stream }
    }

    /// A coder for content of a known length, which makes windows and tables fit: the same bytes in any pieces.
    #[must_use]
    pub(super) fn of_length(coding: Coding, level: u32, length: usize) -> Self {
        let stream = match coding {
            Coding::Gzip => Stream::Gzip(Box::new(gzip::encoder(level))),
            Coding::Brotli => Stream::Brotli(Box::new(brotli::encoder_of_length(level, length))),
            Coding::Zstd => match zstd::encoder_of_length(level, length) {
                Ok(encoder) => Stream::Zstd(Box::new(encoder)),
                Err(error) => Stream::Broken(error.kind()),
            },
        };
        Self { stream }
    }

    /// Takes a piece and gives what is ready, which is often nothing.
    ///
    /// # Errors
    /// The coder failed; the stream cannot be continued.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.writer()?.write_all(piece)?;
        Ok(self.take())
    }

    /// Gives everything that was pushed so far, at some cost in size.
    ///
    /// # Errors
    /// The coder failed; the stream cannot be continued.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        self.writer()?.flush()?;
        Ok(self.take())
    }

    /// Gives the rest, with the end of the stream.
    ///
    /// # Errors
    /// The coder failed; what was given before is not a whole stream.
    pub fn finish(self) -> io::Result<Bytes> {
        let rest = match self.stream {
            Stream::Gzip(encoder) => encoder.finish()?,
            Stream::Brotli(encoder) => encoder.into_inner(),
            Stream::Zstd(encoder) => encoder.finish()?,
            Stream::Broken(kind) => return Err(kind.into()),
        };
        Ok(Bytes::from(rest))
    }

    fn writer(&mut self) -> io::Result<&mut dyn Write> {
        match &mut self.stream {
            Stream::Gzip(encoder) => Ok(encoder),
            Stream::Brotli(encoder) => Ok(encoder),
            Stream::Zstd(encoder) => Ok(encoder),
            Stream::Broken(kind) => Err((*kind).into()),
        }
    }

    fn take(&mut self) -> Bytes {
        let ready = match &mut self.stream {
            Stream::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Stream::Brotli(encoder) => std::mem::take(encoder.get_mut()),
            Stream::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            Stream::Broken(_) => Vec::new(),
        };
        Bytes::from(ready)
    }
}

/// Codes a whole body at once; smaller than the stream of the same level, because the length is known.
///
/// # Errors
/// The coder failed (no memory).
pub fn encode(coding: Coding, level: u32, content: &[u8]) -> io::Result<Bytes> {
    let coded = match coding {
        Coding::Gzip => gzip::encode(level, content)?,
        Coding::Brotli => brotli::encode(level, content)?,
        Coding::Zstd => zstd::encode(level, content)?,
    };
    // It may stay in the cache for long: no spare capacity.
    Ok(Bytes::from(coded.into_boxed_slice()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode;
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    const LIMIT: u64 = 1 << 20;

    fn text(length: usize) -> Vec<u8> {
        "function edge(n) { return n * 7 + 3; }\n"
            .bytes()
            .cycle()
            .take(length)
            .collect()
    }

    #[track_caller]
    fn check(coding: Coding, level: u32, pieces: &[&[u8]]) {
        let whole = pieces.concat();
        let mut encoder = Encoder::new(coding, level);
        let mut coded = Vec::new();
        for piece in pieces {
            coded.extend_from_slice(&encoder.push(piece).unwrap());
        }
        coded.extend_from_slice(&encoder.finish().unwrap());
        assert_eq!(decode(coding, &coded, LIMIT).unwrap(), whole);

        let at_once = encode(coding, level, &whole).unwrap();
        assert_eq!(decode(coding, &at_once, LIMIT).unwrap(), whole);
    }

    #[test]
    fn every_coding_round_trips() {
        let long = text(100_000);
        for coding in CODINGS {
            for level in [0, 1, 5, 9, 99] {
                check(coding, level, &[]);
                check(coding, level, &[b"a"]);
                check(coding, level, &[b"", b"ab", b"", b"c"]);
            }
            check(coding, 4, &[&long, b"and", &long]);
        }
    }

    #[test]
    fn flushed_pieces_can_be_read_at_once() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, 3);
            let mut coded = Vec::new();
            let mut sent = Vec::new();
            for n in 0..5_usize {
                let piece = text(10 + n * 700);
                coded.extend_from_slice(&encoder.push(&piece).unwrap());
                coded.extend_from_slice(&encoder.flush().unwrap());
                sent.extend_from_slice(&piece);
                assert_eq!(prefix(coding, &coded), sent, "{coding:?} piece {n}");
            }
            coded.extend_from_slice(&encoder.finish().unwrap());
            assert_eq!(decode(coding, &coded, LIMIT).unwrap(), sent);
        }
    }

    /// What a client has after these bytes.
    fn prefix(coding: Coding, coded: &[u8]) -> Vec<u8> {
        use std::io::Read;
        let mut reader: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(gzip::decoder(coded)),
            Coding::Brotli => Box::new(brotli::decoder(coded)),
            Coding::Zstd => Box::new(zstd::decoder(coded).unwrap()),
        };
        let mut out = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            out.extend_from_slice(&buffer[..n]);
        }
        out
    }

    #[test]
    fn text_gets_much_smaller() {
        let body = text(50_000);
        for coding in CODINGS {
            assert!(encode(coding, 3, &body).unwrap().len() < body.len() / 20);
        }
    }

    #[test]
    fn zstd_windows_stay_within_8_mb() {
        // RFC 8878 §3.1.1.1: the descriptor byte follows the magic; then the window's, unless the
        // frame is a single segment.
        let mut encoder = Encoder::new(Coding::Zstd, 22);
        let mut coded = encoder.push(&text(3_000)).unwrap().to_vec();
        coded.extend_from_slice(&encoder.flush().unwrap());
        assert_eq!(coded[4] & 0x20, 0, "a stream is no single segment");
        let exponent = u32::from(coded[5] >> 3);
        assert!(10 + exponent <= 23, "window of 2^{}", 10 + exponent);
    }

    proptest! {
        #[test]
        fn any_pieces_round_trip(
            coding in prop::sample::select(CODINGS.to_vec()),
            level in 0_u32..7,
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..8),
        ) {
            let mut encoder = Encoder::new(coding, level);
            let mut coded = Vec::new();
            let mut sent = Vec::new();
            for (piece, flush) in &pieces {
                coded.extend_from_slice(&encoder.push(piece).unwrap());
                if *flush {
                    coded.extend_from_slice(&encoder.flush().unwrap());
                }
                sent.extend_from_slice(piece);
            }
            coded.extend_from_slice(&encoder.finish().unwrap());
            prop_assert_eq!(decode(coding, &coded, LIMIT).unwrap(), sent);
        }
    }
}
