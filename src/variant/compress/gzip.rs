use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

const LEVEL_MAX: u32 = 9;

pub(super) type Stream = GzEncoder<Vec<u8>>;

pub(super) fn encoder(level: u32) -> Stream {
    Stream::new(Vec::new(), Compression::new(level.clamp(1, LEVEL_MAX)))
}

pub(super) fn encode(level: u32, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = encoder(level);
    encoder.write_all(content)?;
    encoder.finish()
}

/// RFC 1952 §2.2: a file is a series of members, so all of them are read.
pub(super) fn decoder(coded: &[u8]) -> impl Read {
    MultiGzDecoder::new(coded)
}
