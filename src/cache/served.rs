use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::semantics::status_fields::Forward;
use crate::store::{Body, CHUNK_BYTES, Entry, EntryKey, Object, Part, SiteStore, Tier};

use super::blocks::{Block, BlockSource};
use super::flight::{HeadBody, Seat};
use super::reader::Tiers;
use super::sparse::has_parts;
use super::{Reader, Stored};

/// An answer to an [`super::Ask`]: a stored object, or one that is still growing.
pub struct Served {
    /// Status, fields, freshness and version.
    pub object: Arc<Object>,
    /// The body's length; `None` while a growing body's is unknown.
    pub length: Option<u64>,
    /// Where it came from and why.
    pub story: Story,
    /// Whether the origin has applied the client's own conditions and range: the answer goes out as it is.
    pub handed_on: bool,
    pub(super) from: From,
    /// How blocks that no tier has are pulled.
    pub(super) source: Option<Arc<BlockSource>>,
    /// Where the head is kept, to be dropped when the body turns out to have a hole.
    pub(super) head: Option<u128>,
    /// The block that the answer begins with, if it must be pulled.
    pub(super) missing: Option<u32>,
    /// That block, once it is there.
    pub(super) first: Option<(u32, Block)>,
}

/// Where the bytes of a [`Served`] come from.
pub(super) enum From {
    /// The tiers.
    Tiers,
    /// A running fill.
    Flight(Seat),
}

/// Where an answer came from and why: what `Cache-Status` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Story {
    /// `None` is a hit.
    pub forward: Option<Forward>,
    /// The tier of a hit.
    pub tier: Option<Tier>,
    /// The origin's status when the request went forward.
    pub forward_status: Option<StatusCode>,
    /// Whether the answer went into the tiers.
    pub stored: bool,
    /// Whether another request's fill served it.
    pub collapsed: bool,
    /// Why the request went forward, where that says more than `forward`; a closed word.
    pub because: Option<&'static str>,
    /// A closed reason, for example why it was not stored.
    pub reason: Option<&'static str>,
}

impl Story {
    /// A hit from `tier`.
    #[must_use]
    pub fn hit(tier: Tier) -> Self {
        Self {
            forward: None,
            tier: Some(tier),
            forward_status: None,
            stored: false,
            collapsed: false,
            because: None,
            reason: None,
        }
    }
}

impl Served {
    pub(super) fn stored(found: Stored, story: Story, source: Option<Arc<BlockSource>>) -> Self {
        Self {
            length: Some(found.object.body.length()),
            object: found.object,
            story,
            handed_on: false,
            from: From::Tiers,
            source,
            head: Some(found.id),
            missing: None,
            first: None,
        }
    }

    /// A stored object as a source of other forms, to be looked at: nothing tells when its body has a hole.
    #[must_use]
    pub fn of_tiers(object: Arc<Object>) -> Self {
        Self::made(object, Story::hit(Tier::Memory), 0).without_head()
    }

    /// A stored made form.
    pub(super) fn made(object: Arc<Object>, story: Story, id: u128) -> Self {
        Self {
            length: Some(object.body.length()),
            object,
            story,
            handed_on: false,
            from: From::Tiers,
            source: None,
            head: Some(id),
            missing: None,
            first: None,
        }
    }

    /// The same with its whole body at hand, for who has had to read all of it.
    pub(super) fn holding(self, content: Bytes) -> Self {
        let length = Some(content.len() as u64);
        let mut draft = self.object.draft();
        draft.body = Body::Inline(content);
        Self {
            object: Arc::new(draft.seal()),
            length,
            from: From::Tiers,
            source: None,
            head: None,
            missing: None,
            first: None,
            ..self
        }
    }

    pub(super) fn in_flight(
        seat: Seat,
        head: &super::flight::Head,
        story: Story,
        source: Option<Arc<BlockSource>>,
    ) -> Self {
        let from = match head.body {
            HeadBody::Growing | HeadBody::HandedOn => From::Flight(seat),
            HeadBody::Stored | HeadBody::Sparse => From::Tiers,
        };
        Self {
            object: Arc::clone(&head.object),
            length: head.length,
            story,
            handed_on: head.body == HeadBody::HandedOn,
            from,
            source,
            head: None,
            missing: None,
            first: None,
        }
    }

    /// The whole body, if it is at hand without waiting.
    #[must_use]
    pub fn whole(&self, store: &SiteStore) -> Option<Bytes> {
        match (&self.from, &self.object.body) {
            (From::Flight(_), _) => None,
            (From::Tiers, Body::Inline(bytes)) => Some(bytes.clone()),
            (From::Tiers, Body::Chunked { length }) if *length <= CHUNK_BYTES as u64 => {
                let key = EntryKey {
                    id: self.object.version,
                    part: Part::Chunk(0),
                };
                match store.memory(&key) {
                    Some(Entry::Chunk(bytes)) if bytes.len() as u64 == *length => Some(bytes),
                    _ => None,
                }
            }
            (From::Tiers, Body::Chunked { .. }) => None,
        }
    }

    /// Whether it can go out without waiting for the origin: else [`super::Cache::ready`] comes first.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        self.missing.is_none()
    }

    /// Whether the body is still growing.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        matches!(self.from, From::Flight(_))
    }

    /// The bytes from `start` to `end` (exclusive; `None` is all that comes).
    #[must_use]
    pub fn into_reader(
        self,
        cache: &super::Cache,
        store: &Arc<SiteStore>,
        start: u64,
        end: Option<u64>,
    ) -> Reader {
        let seat = match self.from {
            From::Tiers => None,
            From::Flight(seat) => Some(seat),
        };
        let tiers = Tiers {
            store: Arc::clone(store),
            blocks: Arc::clone(&cache.blocks),
            has_parts: has_parts(&self.object),
            source: self.source,
            head: self.head,
            length: self.length,
            placement: cache.placement(self.length.unwrap_or(u64::MAX)),
        };
        let mut reader = Reader::new(self.object, seat, tiers, self.first);
        reader.aim(start, end);
        reader
    }
}
