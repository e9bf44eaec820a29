use std::io::{self, Write};

use bytes::Bytes;
use zstd::stream::raw::{self, InBuffer, Operation as _, OutBuffer};

use super::super::config::Coding;
use super::DecodeError;

/// How much larger content may be than its coded form (what text gets is some 10 ×; a bomb has 1000 × and more)…
const EXPANSION_MAX: u64 = 100;
/// …beyond this much, which short repetitive bodies may reach at any rate.
const FREE_BYTES: u64 = 256 << 10;
/// What the decoders write at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// Decodes a body as it comes. Never holds more than the content of one piece, within the limits.
pub struct Decoder {
    stream: Stream,
    limit: u64,
    fed: u64,
}

enum Stream {
    Gzip(Box<flate2::write::MultiGzDecoder<Sink>>),
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(Box<Zstd>),
}

impl Decoder {
    /// A decoder that gives at most `limit` bytes, and at most 100 times what it was fed.
    ///
    /// # Errors
    /// There is no memory for its tables.
    pub fn new(coding: Coding, limit: u64) -> io::Result<Self> {
        let sink = Sink::default();
        let stream = match coding {
            Coding::Gzip => Stream::Gzip(Box::new(flate2::write::MultiGzDecoder::new(sink))),
            Coding::Brotli => Stream::Brotli(Box::new(brotli::DecompressorWriter::new(
                sink,
                BUFFER_BYTES,
            ))),
            Coding::Zstd => Stream::Zstd(Box::new(Zstd::new(sink)?)),
        };
        Ok(Self {
            stream,
            limit,
            fed: 0,
        })
    }

    /// From now on only the expansion is bounded: for content that has begun to go out, and is not held.
    pub fn unbound(&mut self) {
        self.limit = u64::MAX;
    }

    /// Takes a piece of the coded body and gives the content that it completes.
    ///
    /// # Errors
    /// See [`DecodeError`]; the stream cannot be continued.
    pub fn push(&mut self, piece: &[u8]) -> Result<Bytes, DecodeError> {
        self.fed = self.fed.saturating_add(piece.len() as u64);
        let by_size = self
            .fed
            .saturating_mul(EXPANSION_MAX)
            .saturating_add(FREE_BYTES);
        let limit = self.limit.min(by_size);
        self.sink().limit = limit;
        let written = match &mut self.stream {
            // It keeps what it has until more comes, unless it is told to give it.
            Stream::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Stream::Brotli(decoder) => decoder.write_all(piece).and_then(|()| give_all(decoder)),
            Stream::Zstd(decoder) => decoder.write(piece),
        };
        self.given(written)
    }

    /// Gives the rest.
    ///
    /// # Errors
    /// As [`Decoder::push`]; the body ends before its content does.
    pub fn finish(mut self) -> Result<Bytes, DecodeError> {
        let ended = match &mut self.stream {
            Stream::Gzip(decoder) => decoder.try_finish(),
            Stream::Brotli(decoder) => decoder.close(),
            Stream::Zstd(decoder) => decoder.close(),
        };
        self.given(ended)
    }

    fn given(&mut self, done: io::Result<()>) -> Result<Bytes, DecodeError> {
        let sink = self.sink();
        if sink.is_over {
            return Err(DecodeError::TooLarge { limit: sink.limit });
        }
        let ready = std::mem::take(&mut sink.ready);
        done.map_err(DecodeError::Corrupt)?;
        Ok(Bytes::from(ready))
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.stream {
            Stream::Gzip(decoder) => decoder.get_mut(),
            Stream::Brotli(decoder) => decoder.get_mut(),
            Stream::Zstd(decoder) => &mut decoder.sink,
        }
    }
}

/// The library's writer gives one buffer for each write that it has taken whole, and keeps what is beyond until the next.
fn give_all(decoder: &mut brotli::DecompressorWriter<Sink>) -> io::Result<()> {
    // Ends when a buffer is not filled: what is there is bounded by the window, and by the sink.
    loop {
        let before = decoder.get_ref().taken;
        let _nothing = decoder.write(&[])?;
        if decoder.get_ref().taken - before < BUFFER_BYTES as u64 {
            return Ok(());
        }
    }
}

/// Takes what a decoder gives, and no more than is allowed.
#[derive(Default)]
struct Sink {
    ready: Vec<u8>,
    taken: u64,
    limit: u64,
    is_over: bool,
}

impl Write for Sink {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let taken = self.taken.saturating_add(content.len() as u64);
        if taken > self.limit {
            self.is_over = true;
            return Err(io::Error::other("more content than is allowed"));
        }
        self.taken = taken;
        self.ready.extend_from_slice(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The library's writer takes an unfinished frame for a whole one, so this drives its engine.
struct Zstd {
    engine: raw::Decoder<'static>,
    sink: Sink,
    buffer: Vec<u8>,
    /// Whether the last frame is whole; without any frame there is no content.
    is_whole: bool,
}

impl Zstd {
    fn new(sink: Sink) -> io::Result<Self> {
        let mut engine = raw::Decoder::new()?;
        engine.set_parameter(raw::DParameter::WindowLogMax(super::zstd::WINDOW_BITS_MAX))?;
        Ok(Self {
            engine,
            sink,
            buffer: vec![0; BUFFER_BYTES],
            is_whole: false,
        })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(piece);
        // Ends when all is read and nothing more comes: each turn reads or gives something.
        loop {
            let (before, was_whole) = (input.pos(), self.is_whole);
            if before == piece.len() && was_whole {
                return Ok(());
            }
            let mut output = OutBuffer::around(self.buffer.as_mut_slice());
            let wanted = self.engine.run(&mut input, &mut output)?;
            let given = output.pos();
            self.is_whole = wanted == 0;
            self.sink
                .write_all(self.buffer.get(..given).unwrap_or_default())?;
            let is_idle = input.pos() == before && given == 0;
            if input.pos() == piece.len() && given < BUFFER_BYTES || is_idle {
                return Ok(());
            }
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if self.is_whole {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{decode, encode};
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn streamed(
        coding: Coding,
        coded: &[u8],
        piece: usize,
        limit: u64,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(coding, limit).unwrap();
        let mut content = Vec::new();
        for piece in coded.chunks(piece) {
            content.extend_from_slice(&decoder.push(piece)?);
        }
        content.extend_from_slice(&decoder.finish()?);
        Ok(content)
    }

    /// Words in no order, which get some four times smaller.
    fn text(length: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = [
            "edge ", "of ", "a ", "cache ", "is ", "fresh ", "stale ", "and ",
        ];
        let mut state = 1_u32;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            WORDS[(state >> 29) as usize].bytes()
        });
        words.flatten().take(length).collect()
    }

    #[test]
    fn pieces_of_any_size_give_the_content() {
        let content = text(300_000);
        for coding in CODINGS {
            let coded = encode(coding, 5, &content).unwrap();
            for piece in [1, 7, 1000, 1 << 20] {
                let found = streamed(coding, &coded, piece, 1 << 20).unwrap();
                assert!(found == content, "{coding:?} by {piece}");
            }
            let empty = encode(coding, 5, b"").unwrap();
            assert_eq!(streamed(coding, &empty, 5, 0).unwrap(), b"");
        }
    }

    #[test]
    fn content_comes_while_the_body_does() {
        let content = text(300_000);
        for coding in CODINGS {
            let coded = encode(coding, 5, &content).unwrap();
            let mut decoder = Decoder::new(coding, 1 << 20).unwrap();
            let half = decoder.push(&coded[..coded.len() / 2]).unwrap();
            assert!(half.len() > 10_000, "{coding:?}: {}", half.len());
            assert!(content.starts_with(&half));
        }
    }

    #[test]
    fn a_message_that_was_flushed_comes_at_once() {
        let long = text(300_000);
        for coding in CODINGS {
            let mut encoder = super::super::Encoder::new(coding, 5);
            let mut decoder = Decoder::new(coding, 1 << 20).unwrap();
            for message in [&b"one"[..], b"two", &long, b"three", &long[..20_000]] {
                let mut coded = encoder.push(message).unwrap().to_vec();
                coded.extend_from_slice(&encoder.flush().unwrap());
                assert!(decoder.push(&coded).unwrap() == message, "{coding:?}");
            }
            let rest = decoder.push(&encoder.finish().unwrap()).unwrap();
            assert!(rest.is_empty() && decoder.finish().unwrap().is_empty());
        }
    }

    #[test]
    fn several_members_and_frames_are_one_body() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let one = encode(coding, 5, b"one ").unwrap();
            let two = encode(coding, 5, b"two").unwrap();
            let both = [&one[..], &two[..]].concat();
            for piece in [1, 5, 1000] {
                assert_eq!(streamed(coding, &both, piece, 100).unwrap(), b"one two");
            }
        }
    }

    #[test]
    fn what_is_not_whole_is_corrupt() {
        for coding in CODINGS {
            let coded = encode(coding, 5, &text(5000)).unwrap();
            for piece in [1, 100_000] {
                for end in [0, 1, 5, coded.len() / 2, coded.len() - 1] {
                    let result = streamed(coding, &coded[..end], piece, 1 << 20);
                    assert!(
                        matches!(result, Err(DecodeError::Corrupt(_))),
                        "{coding:?} cut to {end}: {result:?}"
                    );
                }
                let mut followed = coded.to_vec();
                followed.extend_from_slice(b"<script>");
                let result = streamed(coding, &followed, piece, 1 << 20);
                assert!(
                    matches!(result, Err(DecodeError::Corrupt(_))),
                    "{coding:?} followed by more: {result:?}"
                );
            }
        }
    }

    #[test]
    fn bombs_stop_early() {
        let zeros = vec![0; 64 << 20];
        for coding in CODINGS {
            let bomb = encode(coding, 9, &zeros).unwrap();
            for piece in [1, 4096, 1 << 20] {
                let mut decoder = Decoder::new(coding, u64::MAX).unwrap();
                let mut given = 0;
                let mut fed = 0;
                let error = loop {
                    let end = (fed + piece).min(bomb.len());
                    match decoder.push(&bomb[fed..end]) {
                        Ok(content) => given += content.len(),
                        Err(error) => break error,
                    }
                    assert!(end < bomb.len(), "{coding:?}: {given}");
                    fed = end;
                };
                assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
                assert!(given <= (fed + piece) * 100 + (256 << 10));
            }
            assert!(matches!(
                streamed(coding, &bomb[..100], 10, 5000),
                Err(DecodeError::TooLarge { .. } | DecodeError::Corrupt(_))
            ));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_decoding_at_once(
            coding in prop::sample::select(CODINGS.to_vec()),
            content in prop::collection::vec(any::<u8>(), 0..2000),
            flip in any::<prop::sample::Index>(),
            flips in any::<bool>(),
            piece in 1_usize..300,
        ) {
            let mut coded = encode(coding, 4, &content).unwrap().to_vec();
            if flips {
                let at = flip.index(coded.len());
                coded[at] ^= 0x10;
            }
            let at_once = decode(coding, &coded, 1 << 20).ok();
            let in_pieces = streamed(coding, &coded, piece, 1 << 20).ok();
            prop_assert_eq!(in_pieces.as_deref(), at_once.as_deref());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
            for coding in CODINGS {
                if let Ok(content) = streamed(coding, &bytes, piece, 1000) {
                    prop_assert!(content.len() <= 1000);
                }
            }
        }
    }
}
