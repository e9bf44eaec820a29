use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;

use super::object::{Object, allocated};

/// Bytes of a chunk, but for the last of a body.
///
/// 512 KiB: a range touches one or two chunks, and a sequential read is within a fifth of what 1 MiB
/// chunks give.
pub const CHUNK_BYTES: usize = 512 << 10;

/// Names one entry of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryKey {
    /// The keyed hash of the object's key, or, for a chunk, the object's version.
    pub id: u128,
    /// What is kept under that id.
    pub part: Part,
}

impl EntryKey {
    /// The head of the object whose key hashes to `id`.
    #[must_use]
    pub fn head(id: u128) -> Self {
        Self {
            id,
            part: Part::Head,
        }
    }

    /// Chunk `number` of the body with this version.
    #[must_use]
    pub fn chunk(version: u128, number: u32) -> Self {
        Self {
            id: version,
            part: Part::Chunk(number),
        }
    }
}

/// Written out, for the disk tier finds its entries by this hash after a restart: it must not depend on
/// how a compiler derives it.
impl Hash for EntryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.id);
        state.write_u64(match self.part {
            Part::Head => 0,
            Part::Chunk(number) => 1 + u64::from(number),
        });
    }
}

/// What is kept under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// An [`Object`] or a [`VaryIndex`]; replaced when a newer one comes.
    Head,
    /// A piece of a body; immutable, because its id is the version of the body.
    Chunk(u32),
}

/// One entry of the store; cheap to clone.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A stored response.
    Object(Arc<Object>),
    /// The variants of a key whose responses vary.
    Vary(Arc<VaryIndex>),
    /// A piece of a body.
    Chunk(Bytes),
}

/// Which request fields choose among the responses of a key, and the entries of those responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaryIndex {
    /// The whole key as text, compared on every hit.
    pub key: Box<str>,
    /// The request fields that choose.
    pub fields: Vec<HeaderName>,
    /// The secondary key and the entry id of each known variant.
    pub variants: Vec<(String, u128)>,
}

/// Where an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The memory tier.
    Memory,
    /// The disk tier.
    Disk,
}

impl Tier {
    /// The tier's short name, as in Cache-Status details and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "mem",
            Self::Disk => "disk",
        }
    }
}

/// Where an entry should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Both tiers.
    MemoryAndDisk,
    /// The disk tier alone: a part of an object that is larger than the memory tier takes.
    DiskPreferred,
}

/// Where an entry was put. Neither is possible: then nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// It is in the memory tier.
    pub memory: bool,
    /// It has been handed to the disk tier.
    pub disk: bool,
}

impl Entry {
    /// What the entry costs in memory, with what the tier itself needs for one.
    pub(super) fn weight(&self) -> usize {
        // foyer's record of an entry, and its place in the index, as measured.
        const RECORD: usize = 192;
        let own = match self {
            Self::Chunk(bytes) => allocated(bytes.len()) + allocated(24),
            Self::Vary(index) => {
                let fields = index.fields.iter().map(|name| name.as_str().len() + 32);
                let variants = index.variants.iter().map(|(key, _)| key.len() + 64);
                allocated(size_of::<VaryIndex>() + index.key.len() + 16)
                    + fields.sum::<usize>()
                    + variants.sum::<usize>()
            }
            Self::Object(object) => object.memory_bytes(),
        };
        RECORD + own
    }
}
