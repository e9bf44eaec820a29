use std::io::{self, Read};

use bytes::Bytes;

use super::super::config::Coding;
use super::{brotli, gzip, zstd};

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
