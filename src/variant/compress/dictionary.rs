use std::io::{self, Write};

use brotli::enc::{BrotliAlloc, BrotliEncoderParams, StandardAlloc};
use bytes::Bytes;
use zstd::stream::{raw::CParameter, write};

use super::super::config::Coding;

/// A content coding against a dictionary that the client has (RFC 9842 §4 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeltaCoding {
    /// `dcz`
    Zstd,
    /// `dcb`
    Brotli,
}

/// SHA-256 of a dictionary's bytes.
pub type DictionaryHash = [u8; 32];

/// RFC 9842 §4.1: what is not Brotli, then the hash.
const BROTLI_MAGIC: [u8; 4] = [0xff, b'D', b'C', b'B'];
/// RFC 9842 §5.1: a skippable frame that holds the hash.
const ZSTD_MAGIC: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0];

/// RFC 9842 §4.2: windows of up to 16 MB.
const BROTLI_WINDOW_BITS_MAX: u32 = 24;
const BROTLI_WINDOW_BITS_MIN: u32 = 16;
/// RFC 9842 §5.2: at least 8 MB, or 1.25 times the dictionary, are what every client has.
const ZSTD_WINDOW_BYTES: usize = 8 << 20;
const ZSTD_WINDOW_BITS_MIN: u32 = 17;
const ZSTD_WINDOW_BITS_MAX: u32 = 27;
const ZSTD_LEVEL_MAX: u32 = 19;
/// Levels 0 and 1 of the encoder cannot use a dictionary.
const BROTLI_LEVEL_MIN: u32 = 2;
const BROTLI_LEVEL_MAX: u32 = 11;

impl DeltaCoding {
    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Zstd => "dcz",
            Self::Brotli => "dcb",
        }
    }

    /// The coding without a dictionary.
    #[must_use]
    pub fn plain(self) -> Coding {
        match self {
            Self::Zstd => Coding::Zstd,
            Self::Brotli => Coding::Brotli,
        }
    }

    /// The coding with a dictionary, where there is one.
    #[must_use]
    pub fn of_plain(coding: Coding) -> Option<Self> {
        match coding {
            Coding::Zstd => Some(Self::Zstd),
            Coding::Brotli => Some(Self::Brotli),
            Coding::Gzip => None,
        }
    }

    /// The coding of that name, in any case.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        [Self::Zstd, Self::Brotli]
            .into_iter()
            .find(|coding| token.eq_ignore_ascii_case(coding.token()))
    }
}

/// Codes `content` against `dictionary`, whose SHA-256 is `hash`. Levels outside the coding's range are clamped into it.
///
/// # Errors
/// The encoder failed; an empty dictionary is refused, because no client asks for one.
pub fn encode_delta(
    coding: DeltaCoding,
    level: u32,
    dictionary: &[u8],
    hash: &DictionaryHash,
    content: &[u8],
) -> io::Result<Bytes> {
    if dictionary.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the dictionary is empty",
        ));
    }
    let coded = match coding {
        DeltaCoding::Zstd => zstd(level, dictionary, hash, content)?,
        DeltaCoding::Brotli => brotli(level, dictionary, hash, content)?,
    };
    Ok(Bytes::from(coded.into_boxed_slice()))
}

fn zstd(
    level: u32,
    dictionary: &[u8],
    hash: &DictionaryHash,
    content: &[u8],
) -> io::Result<Vec<u8>> {
    let mut out = Vec::from(ZSTD_MAGIC);
    out.extend_from_slice(hash);
    let level = i32::try_from(level.clamp(1, ZSTD_LEVEL_MAX)).unwrap_or(1);
    let mut encoder = write::Encoder::with_ref_prefix(out, level, dictionary)?;
    encoder.set_parameter(CParameter::WindowLog(zstd_window_bits(
        dictionary.len(),
        content.len(),
    )))?;
    encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    encoder.write_all(content)?;
    encoder.finish()
}

/// A window that reaches back over the whole dictionary, as far as clients must follow.
fn zstd_window_bits(dictionary: usize, content: usize) -> u32 {
    let allowed = ZSTD_WINDOW_BYTES.max(dictionary.saturating_add(dictionary / 4));
    let wanted = bits_over(dictionary.saturating_add(content));
    wanted
        .min(allowed.ilog2())
        .clamp(ZSTD_WINDOW_BITS_MIN, ZSTD_WINDOW_BITS_MAX)
}

fn brotli(
    level: u32,
    dictionary: &[u8],
    hash: &DictionaryHash,
    content: &[u8],
) -> io::Result<Vec<u8>> {
    let bits = bits_over(dictionary.len().saturating_add(content.len()))
        .clamp(BROTLI_WINDOW_BITS_MIN, BROTLI_WINDOW_BITS_MAX);
    let level = level.clamp(BROTLI_LEVEL_MIN, BROTLI_LEVEL_MAX);
    let parameters = BrotliEncoderParams {
        quality: i32::try_from(level).unwrap_or(0),
        lgwin: i32::try_from(bits).unwrap_or(0),
        size_hint: content.len(),
        ..BrotliEncoderParams::default()
    };
    let mut out = Vec::from(BROTLI_MAGIC);
    out.extend_from_slice(hash);
    with_dictionary(
        &mut io::Cursor::new(content),
        &mut out,
        &parameters,
        StandardAlloc::default(),
        dictionary,
    )?;
    Ok(out)
}

fn with_dictionary<Alloc: BrotliAlloc>(
    content: &mut io::Cursor<&[u8]>,
    out: &mut Vec<u8>,
    parameters: &BrotliEncoderParams,
    alloc: Alloc,
    dictionary: &[u8],
) -> io::Result<usize> {
    let (mut input, mut output) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    brotli::enc::BrotliCompressCustomIoCustomDict(
        &mut brotli::IoReaderWrapper(content),
        &mut brotli::IoWriterWrapper(out),
        &mut input,
        &mut output,
        parameters,
        alloc,
        &mut |_, _, _, _| (),
        dictionary,
        io::ErrorKind::UnexpectedEof.into(),
    )
}

const BUFFER_BYTES: usize = 64 << 10;

/// The bits of the smallest power of two that is not below `bytes`.
fn bits_over(bytes: usize) -> u32 {
    bytes
        .checked_next_power_of_two()
        .map_or(usize::BITS - 1, usize::trailing_zeros)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const CODINGS: [DeltaCoding; 2] = [DeltaCoding::Zstd, DeltaCoding::Brotli];
    const HASH: DictionaryHash = [7; 32];

    fn decoded(coding: DeltaCoding, dictionary: &[u8], coded: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        match coding {
            DeltaCoding::Zstd => {
                let body = coded.strip_prefix(&ZSTD_MAGIC).unwrap();
                let body = body.strip_prefix(&HASH).unwrap();
                let mut reader =
                    ::zstd::stream::read::Decoder::with_ref_prefix(body, dictionary).unwrap();
                reader.window_log_max(ZSTD_WINDOW_BITS_MAX).unwrap();
                reader.read_to_end(&mut content).unwrap();
            }
            DeltaCoding::Brotli => {
                let body = coded.strip_prefix(&BROTLI_MAGIC).unwrap();
                let body = body.strip_prefix(&HASH).unwrap();
                let mut reader = ::brotli::Decompressor::new_with_custom_dict(
                    body,
                    BUFFER_BYTES,
                    dictionary.to_vec().into(),
                );
                reader.read_to_end(&mut content).unwrap();
            }
        }
        content
    }

    /// Lines that do not repeat, like a bundle of scripts.
    fn script(lines: u32, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut text = String::new();
        for line in 0..lines {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(&format!("let v{line}=f({state:x},{:x});\n", state >> 7));
        }
        text.into_bytes()
    }

    #[test]
    fn a_small_change_is_a_small_delta() {
        let old = script(10_000, 1);
        let mut new = old.clone();
        new.splice(100_000..100_000, script(100, 2));
        for coding in CODINGS {
            for level in [1, 5, 11, 19] {
                let delta = encode_delta(coding, level, &old, &HASH, &new).unwrap();
                assert_eq!(decoded(coding, &old, &delta), new, "{coding:?} {level}");
                assert!(
                    delta.len() * 20 < new.len(),
                    "{coding:?} {level}: {} of {}",
                    delta.len(),
                    new.len()
                );
            }
        }
    }

    #[test]
    fn nothing_in_common_costs_little() {
        let (old, new) = (script(100, 1), script(100, 99));
        for coding in CODINGS {
            let delta = encode_delta(coding, 9, &old, &HASH, &new).unwrap();
            assert_eq!(decoded(coding, &old, &delta), new);
            assert!(delta.len() < new.len());
            let empty = encode_delta(coding, 9, &old, &HASH, b"").unwrap();
            assert_eq!(decoded(coding, &old, &empty), b"");
            assert!(encode_delta(coding, 9, b"", &HASH, &new).is_err());
            assert!(encode_delta(coding, 9, b"x", &HASH, &new).is_ok());
        }
    }

    #[test]
    fn windows_stay_within_what_clients_have() {
        assert_eq!(zstd_window_bits(100, 100), ZSTD_WINDOW_BITS_MIN);
        assert_eq!(zstd_window_bits(300_000, 300_000), 20);
        assert_eq!(zstd_window_bits(6 << 20, 6 << 20), 23);
        assert_eq!(zstd_window_bits(40 << 20, 40 << 20), 25);
        assert_eq!(
            zstd_window_bits(usize::MAX, usize::MAX),
            ZSTD_WINDOW_BITS_MAX
        );
    }

    #[test]
    fn tokens_are_read_back() {
        for coding in CODINGS {
            assert_eq!(DeltaCoding::of_token(coding.token()), Some(coding));
        }
        assert_eq!(DeltaCoding::of_token("DCB"), Some(DeltaCoding::Brotli));
        assert_eq!(DeltaCoding::of_token("br"), None);
    }
}
