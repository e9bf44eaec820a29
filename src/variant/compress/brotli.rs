use std::io::{self, Read, Write};

use brotli::enc::BrotliEncoderParams;
use brotli::{CompressorWriter, Decompressor};

use super::DecodeError;

const QUALITY_MAX: u32 = 11;
const BUFFER_BYTES: usize = 16 << 10;

/// A stream's length is not known, and its window is memory for as long as it runs: 1 MiB loses about
/// 1 % against 4 MiB on scripts and styles.
const STREAM_WINDOW_BITS: u32 = 20;
const WINDOW_BITS_MIN: u32 = 16;
const WINDOW_BITS_MAX: u32 = 22;

pub(super) type Stream = CompressorWriter<Vec<u8>>;

pub(super) fn encoder(level: u32) -> Stream {
    Stream::with_params(
        Vec::new(),
        BUFFER_BYTES,
        &parameters(level, STREAM_WINDOW_BITS, 0),
    )
}

/// The smallest window that reaches over the whole content.
pub(super) fn encoder_of_length(level: u32, length: usize) -> Stream {
    let parameters = parameters(level, window_bits(length), length);
    Stream::with_params(Vec::new(), BUFFER_BYTES, &parameters)
}

pub(super) fn encode(level: u32, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = encoder_of_length(level, content.len());
    encoder.write_all(content)?;
    Ok(encoder.into_inner())
}

pub(super) fn decoder(coded: &[u8]) -> Decompressor<&[u8]> {
    Decompressor::new(coded, BUFFER_BYTES)
}

/// Whether a stream begins as no decoder of the content coding takes it: 0010001 and a 0, then the window's own six bits
/// ("large window", which is no part of RFC 7932 §9.1).
pub(super) fn has_large_window(coded: &[u8]) -> bool {
    coded.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// What was not read, once the decoder has said that there is no more content. Only the next read after that complains about
/// what is in its own buffer.
pub(super) fn rest(mut decoder: Decompressor<&[u8]>) -> Result<&[u8], DecodeError> {
    decoder.read(&mut [0]).map_err(DecodeError::Corrupt)?;
    Ok(decoder.into_inner())
}

fn parameters(level: u32, window_bits: u32, size_hint: usize) -> BrotliEncoderParams {
    BrotliEncoderParams {
        quality: i32::try_from(level.min(QUALITY_MAX)).unwrap_or(0),
        lgwin: i32::try_from(window_bits).unwrap_or(0),
        size_hint,
        ..BrotliEncoderParams::default()
    }
}

/// The smallest window that reaches over the whole content: the decoder of the client allocates it.
fn window_bits(length: usize) -> u32 {
    length
        .checked_next_power_of_two()
        .map_or(WINDOW_BITS_MAX, usize::trailing_zeros)
        .clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
}
