//! Bodies: given bytes, or a long pattern that is never whole in memory.

use std::ops::Range;

use bytes::Bytes;

/// A body that can be cut at any place.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Bytes),
    /// `pattern(seed, …)` of this length.
    Pattern {
        seed: u64,
        length: u64,
    },
}

impl Content {
    pub fn pattern(seed: u64, length: u64) -> Self {
        Self::Pattern { seed, length }
    }

    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern { length, .. } => *length,
        }
    }

    /// The bytes in `range`, which must lie inside.
    pub fn slice(&self, range: Range<u64>) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.slice(index(range.start)..index(range.end)),
            Self::Pattern { seed, .. } => pattern(*seed, range),
        }
    }

    pub fn to_bytes(&self) -> Bytes {
        self.slice(0..self.length())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

/// Bytes that tell their own place and `seed`: every aligned word of eight is a hash of both, so a
/// piece at the wrong offset, or of another version, cannot pass for the right one.
pub fn pattern(seed: u64, range: Range<u64>) -> Bytes {
    let first_word = range.start / 8;
    let last_word = range.end.div_ceil(8);
    let mut bytes = Vec::with_capacity(index((last_word - first_word) * 8));
    for word in first_word..last_word {
        bytes.extend_from_slice(&mixed(seed.rotate_left(32) ^ word).to_le_bytes());
    }
    let skip = index(range.start - first_word * 8);
    let length = index(range.end - range.start);
    Bytes::from(bytes).slice(skip..skip + length)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a body of the test's own")
}

/// The finaliser of SplitMix64.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
