use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::policy::Freshness;

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

/// A stored response: its fields, and its body or where the body is.
#[derive(Debug)]
pub struct Object {
    /// The whole key as text, compared on every hit.
    pub key: Box<str>,
    /// The site that it belongs to.
    pub site: Box<str>,
    /// The keyed hash that exact purges name.
    pub url: u128,
    /// The path without the query, for prefix purges.
    pub path: Box<str>,
    /// Random, and never given to other bytes: the chunks are kept under it.
    pub version: u128,
    /// The status of the response.
    pub status: StatusCode,
    /// The fields of the response.
    pub headers: HeaderMap,
    /// How long it may be used.
    pub freshness: Freshness,
    /// The body.
    pub body: Body,
    /// Keyed hashes of its tags.
    pub tags: Vec<u128>,
    /// The purge sequence when the fetch of its bytes started.
    pub body_seq: u64,
    /// The purge sequence when its last successful validation started.
    pub checked_seq: u64,
    /// Uptime at which its fetch, or its last validation, began: a later one of the same process is newer. Not kept
    /// on disk, where it is zero.
    pub fetch_started: Duration,
    /// Short free text, such as how a variant was made.
    pub detail: Box<str>,
    /// The purge epoch of its site at which it was last found to be valid; 0 is never. Not kept on disk.
    pub cleared_epoch: AtomicU64,
    /// Whether a disk takes it once it has been asked for more often. Not kept on disk.
    pub awaits_uses: AtomicBool,
    /// Its fields as they last went out. Not kept on disk.
    pub dressed: Dressed,
}

/// The fields of an object as whoever serves it last made them, with a stamp of what they were made by.
/// Making them once and copying them is cheaper than making them for every request.
#[derive(Debug, Default)]
pub struct Dressed(ArcSwapOption<(u64, HeaderMap)>);

impl Dressed {
    /// A copy of the fields, if they were made by what `stamp` stands for.
    #[must_use]
    pub fn get(&self, stamp: u64) -> Option<HeaderMap> {
        let kept = self.0.load();
        let (made_by, headers) = &**kept.as_ref()?;
        (*made_by == stamp).then(|| headers.clone())
    }

    /// Keeps the fields.
    pub fn set(&self, stamp: u64, headers: HeaderMap) {
        self.0.store(Some(Arc::new((stamp, headers))));
    }
}

/// The body of an [`Object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Kept with the head.
    Inline(Bytes),
    /// Kept as chunks of [`CHUNK_BYTES`] under the object's version.
    Chunked {
        /// Bytes of all chunks together.
        length: u64,
    },
}

impl Body {
    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunked { length } => *length,
        }
    }
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
    /// What the entry costs in memory, about.
    pub(super) fn weight(&self) -> usize {
        // What the tier itself needs for an entry, and the allocations around one, as measured.
        const OVERHEAD: usize = 256;
        let own = match self {
            Self::Chunk(bytes) => bytes.len(),
            Self::Vary(index) => {
                let fields: usize = index.fields.iter().map(|name| name.as_str().len()).sum();
                let variants: usize = index.variants.iter().map(|(key, _)| key.len() + 48).sum();
                index.key.len() + fields + variants
            }
            Self::Object(object) => {
                let fields: usize = object
                    .headers
                    .iter()
                    // Twice: as they came and as they go out.
                    .map(|(name, value)| name.as_str().len() + value.len() + 2 * 112)
                    .sum();
                let body = match &object.body {
                    Body::Inline(bytes) => bytes.len(),
                    Body::Chunked { .. } => 0,
                };
                size_of::<Object>()
                    + object.key.len()
                    + object.site.len()
                    + object.path.len()
                    + object.detail.len()
                    + object.tags.len() * size_of::<u128>()
                    + fields
                    + body
            }
        };
        OVERHEAD + own
    }
}
