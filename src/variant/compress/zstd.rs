use std::io::{self, Read};

use zstd::stream::{read, write};

/// RFC 9659 §3: a decoder of the `zstd` content coding need not take windows above 8 MB. Levels up to 19
/// stay within 2^23 bytes; 20 and above do not.
const LEVEL_MAX: u32 = 19;
pub(super) const WINDOW_BITS_MAX: u32 = 23;

pub(super) type Stream = write::Encoder<'static, Vec<u8>>;

pub(super) fn encoder(level: u32) -> io::Result<Stream> {
    Stream::new(Vec::new(), clamped(level))
}

/// Says the length in the frame's header, and has tables that fit it.
pub(super) fn encoder_of_length(level: u32, length: usize) -> io::Result<Stream> {
    let mut encoder = Stream::new(Vec::new(), clamped(level))?;
    encoder.set_pledged_src_size(Some(length as u64))?;
    Ok(encoder)
}

/// Knows the length, which the frame's header then says and which makes the tables fit the content.
pub(super) fn encode(level: u32, content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, clamped(level))
}

pub(super) fn decoder(coded: &[u8]) -> io::Result<impl Read> {
    let mut decoder = read::Decoder::with_buffer(coded)?;
    decoder.window_log_max(WINDOW_BITS_MAX)?;
    Ok(decoder)
}

/// Decodes the first frame alone.
pub(super) fn frame(coded: &[u8]) -> io::Result<read::Decoder<'static, &[u8]>> {
    let mut decoder = read::Decoder::with_buffer(coded)?.single_frame();
    decoder.window_log_max(WINDOW_BITS_MAX)?;
    Ok(decoder)
}

fn clamped(level: u32) -> i32 {
    i32::try_from(level.clamp(1, LEVEL_MAX)).unwrap_or(1)
}
