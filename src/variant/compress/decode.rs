use std::io::{self, Read};

use bytes::Bytes;

use super::super::config::Coding;
use super::{brotli, gzip, zstd};

/// What is compared at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Why a coded body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The content is larger than allowed; a bomb, or just not meant to be held whole.
    #[error("the decoded body is larger than {limit} bytes")]
    TooLarge {
        /// The limit that it passes.
        limit: u64,
    },
    /// The bytes are not a whole stream of that coding.
    #[error("the body is not what its content coding says")]
    Corrupt(#[source] io::Error),
}

/// Decodes a whole body into at most `limit` bytes; no more than that is ever held.
///
/// # Errors
/// See [`DecodeError`]. A truncated stream and bytes after its end are both corrupt.
pub fn decode(coding: Coding, coded: &[u8], limit: u64) -> Result<Bytes, DecodeError> {
    match coding {
        Coding::Gzip => read_all(gzip::decoder(coded), limit),
        Coding::Brotli => read_all(brotli::decoder(coded), limit),
        Coding::Zstd if coded.is_empty() => {
            // zstd takes no frame at all for an empty body; the other codings do not.
            Err(DecodeError::Corrupt(io::ErrorKind::UnexpectedEof.into()))
        }
        Coding::Zstd => read_all(zstd::decoder(coded).map_err(DecodeError::Corrupt)?, limit),
    }
}

/// Whether a coded body holds just `content`, in a form that every client of that coding reads: one gzip member or zstd
/// frame, and a window that the content coding allows. Decodes some kilobytes at a time, and no further than to the first
/// difference.
///
/// # Errors
/// [`DecodeError::Corrupt`]: it is no such form, is cut off, or more follows its end.
pub fn holds(coding: Coding, coded: &[u8], content: &[u8]) -> Result<bool, DecodeError> {
    let (same, rest) = match coding {
        // RFC 1952 §2.2 has series of members, but not all clients read on after the first one.
        Coding::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(coded);
            (gives(&mut decoder, content)?, decoder.into_inner())
        }
        Coding::Brotli => {
            if brotli::has_large_window(coded) {
                let error = io::Error::other("a window that the content coding does not have");
                return Err(DecodeError::Corrupt(error));
            }
            let mut decoder = brotli::decoder(coded);
            (gives(&mut decoder, content)?, brotli::rest(decoder)?)
        }
        Coding::Zstd => {
            let mut decoder = zstd::frame(coded).map_err(DecodeError::Corrupt)?;
            (gives(&mut decoder, content)?, decoder.finish())
        }
    };
    if same && !rest.is_empty() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "more follows the end");
        return Err(DecodeError::Corrupt(error));
    }
    Ok(same)
}

/// Whether a reader gives just this; only then it is read to its end.
fn gives(reader: &mut impl Read, content: &[u8]) -> Result<bool, DecodeError> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut awaited = content;
    loop {
        let read = reader.read(&mut buffer).map_err(DecodeError::Corrupt)?;
        if read == 0 {
            return Ok(awaited.is_empty());
        }
        match (buffer.get(..read), awaited.split_at_checked(read)) {
            (Some(piece), Some((now, later))) if piece == now => awaited = later,
            _ => return Ok(false),
        }
    }
}

fn read_all(mut reader: impl Read, limit: u64) -> Result<Bytes, DecodeError> {
    let mut content = Vec::new();
    reader
        .by_ref()
        .take(limit)
        .read_to_end(&mut content)
        .map_err(DecodeError::Corrupt)?;
    // One more read tells the end from the limit, and lets the reader complain about what follows.
    match reader.read(&mut [0]) {
        Ok(0) => Ok(Bytes::from(content.into_boxed_slice())),
        Ok(_) => Err(DecodeError::TooLarge { limit }),
        Err(error) => Err(DecodeError::Corrupt(error)),
    }
}

#[cfg(test)]
mod tests {
    use ::brotli as library_brotli;
    use ::zstd as library_zstd;

    use super::super::encode;
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 4 << 20];
        for coding in CODINGS {
            let bomb = encode(coding, 5, &zeros).unwrap();
            assert!(bomb.len() < zeros.len() / 500);
            assert!(matches!(
                decode(coding, &bomb, 100_000),
                Err(DecodeError::TooLarge { limit: 100_000 })
            ));
        }
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        for coding in CODINGS {
            let coded = encode(coding, 5, b"12345").unwrap();
            assert_eq!(decode(coding, &coded, 5).unwrap().as_ref(), b"12345");
            assert!(matches!(
                decode(coding, &coded, 4),
                Err(DecodeError::TooLarge { .. })
            ));
            assert!(matches!(
                decode(coding, &coded, 0),
                Err(DecodeError::TooLarge { .. })
            ));
        }
    }

    #[test]
    fn what_is_not_whole_is_corrupt() {
        for coding in CODINGS {
            let coded = encode(coding, 5, &b"some text of a page ".repeat(50)).unwrap();
            for end in [0, 1, 5, coded.len() / 2, coded.len() - 1] {
                let result = decode(coding, &coded[..end], 10_000);
                assert!(
                    matches!(result, Err(DecodeError::Corrupt(_))),
                    "{coding:?} cut to {end}: {result:?}"
                );
            }
            let mut followed = coded.to_vec();
            followed.extend_from_slice(b"<script>");
            let result = decode(coding, &followed, 10_000);
            assert!(
                matches!(result, Err(DecodeError::Corrupt(_))),
                "{coding:?} followed by more: {result:?}"
            );
        }
    }

    #[test]
    fn what_holds_the_content_and_nothing_else_is_found_to() {
        let content = b"some text of a page ".repeat(5000);
        let other = [&content[..], b"!"].concat();
        for coding in CODINGS {
            let coded = encode(coding, 5, &content).unwrap();
            assert!(holds(coding, &coded, &content).unwrap(), "{coding:?}");
            for wrong in [
                &other[..],
                &content[1..],
                &content[..content.len() - 1],
                b"",
            ] {
                assert!(!holds(coding, &coded, wrong).unwrap(), "{coding:?}");
            }
            let mut swapped = content.clone();
            swapped[70_000] ^= 1;
            assert!(!holds(coding, &coded, &swapped).unwrap(), "{coding:?}");
            for end in [0, 1, 5, coded.len() / 2, coded.len() - 1] {
                let cut = holds(coding, &coded[..end], &content);
                assert!(!cut.unwrap_or(false), "{coding:?} cut to {end}");
            }
            // The end of a buffer is where a look at what follows could be missed.
            for room in 0..40 {
                let followed = [&coded[..], &vec![b'x'; 16 << 10][room..]].concat();
                assert!(holds(coding, &followed, &content).is_err(), "{coding:?}");
            }
            let twice = [&coded[..], &coded[..]].concat();
            let both = [&content[..], &content[..]].concat();
            assert!(!holds(coding, &twice, &content).unwrap_or(false));
            assert!(!holds(coding, &twice, &both).unwrap_or(false), "{coding:?}");
            for another in CODINGS.into_iter().filter(|another| *another != coding) {
                let mistaken = holds(another, &coded, &content);
                assert!(!mistaken.unwrap_or(false), "{coding:?} as {another:?}");
            }
            let empty = encode(coding, 5, b"").unwrap();
            assert!(holds(coding, &empty, b"").unwrap());
            assert!(!holds(coding, b"", b"").unwrap_or(false), "{coding:?}");
        }
    }

    #[test]
    fn what_follows_a_brotli_stream_that_ends_with_the_decoders_buffer_is_seen() {
        // Bytes that hardly get smaller, so that each more of them is one more of the coded ones.
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(20_000)
        .collect();
        let coded = (16_000..16_500).find_map(|length| {
            let coded = encode(Coding::Brotli, 1, &noise[..length]).unwrap();
            (coded.len() == 16 << 10).then_some((coded, &noise[..length]))
        });
        let (coded, content) = coded.unwrap();
        assert!(holds(Coding::Brotli, &coded, content).unwrap());
        let followed = [&coded[..], b"x"].concat();
        assert!(holds(Coding::Brotli, &followed, content).is_err());
    }

    #[test]
    fn windows_beyond_the_content_coding_are_refused() {
        let content = b"some text of a page ".repeat(600_000);
        let mut wide = library_brotli::enc::BrotliEncoderParams {
            quality: 1,
            lgwin: 26,
            large_window: true,
            ..Default::default()
        };
        wide.size_hint = content.len();
        let mut coded = Vec::new();
        library_brotli::BrotliCompress(&mut &content[..], &mut coded, &wide).unwrap();
        assert!(holds(Coding::Brotli, &coded, &content).is_err());
        let mut encoder = library_zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        io::Write::write_all(&mut encoder, &content).unwrap();
        let coded = encoder.finish().unwrap();
        assert!(holds(Coding::Zstd, &coded, &content).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            for coding in CODINGS {
                if let Ok(content) = decode(coding, &bytes, 1000) {
                    proptest::prop_assert!(content.len() <= 1000);
                }
            }
        }
    }
}
