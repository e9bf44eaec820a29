use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::semantics::digest::{Digester, REPR_DIGEST};
use crate::semantics::media_type;
use crate::store::{
    Admission, Body, CHUNK_BYTES, Entry, EntryKey, Object, Part, Placement, SiteStore, VaryIndex,
};
use crate::variant;

use super::flight::VaryTrait;
use super::pull::chunk_buffer;
use super::{Ask, Cache, Zone};

/// An immutable version: 128 random bits (a counter lost by a crash would be used again, and old chunks
/// would match).
pub(super) fn new_version() -> u128 {
    let mut bytes = [0_u8; 16];
    // Without the system's random numbers TLS could not work either; a clash is then still unlikely, as the
    // address of the buffer and the bytes left in it differ.
    if getrandom::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random numbers");
    }
    u128::from_le_bytes(bytes)
}

impl Cache {
    /// Puts an object's head where look-ups find it, unless a newer one is there.
    pub(super) async fn install(
        &self,
        ask: &Ask,
        id: u128,
        object: Arc<Object>,
        vary: Option<&VaryTrait>,
    ) {
        if let Some(vary) = vary {
            self.index_variant(ask, id, vary).await;
        }
        let store = &ask.zone.store;
        if let Some(Entry::Object(present)) = store.memory(&EntryKey::head(id))
            && is_newer(&present, &object)
        {
            return;
        }
        self.learn_equivalents(ask, &object);
        let placement = match &object.body {
            Body::Inline(bytes) => self.placement(bytes.len() as u64),
            Body::Chunked { .. } => Placement::MemoryAndDisk,
        };
        store
            .insert(EntryKey::head(id), Entry::Object(object), placement)
            .await;
    }

    /// Notes at the URL's own place by which fields it varies, and where this variant is.
    async fn index_variant(&self, ask: &Ask, id: u128, vary: &VaryTrait) {
        let store = &ask.zone.store;
        let mut variants = match store.load(&EntryKey::head(ask.id)).await {
            Some((Entry::Vary(index), _))
                if *index.key == *ask.key && index.fields == vary.fields =>
            {
                if index.variants.iter().any(|(_, known)| *known == id) {
                    return;
                }
                index.variants.clone()
            }
            _ => Vec::new(),
        };
        variants.push((vary.secondary.clone(), id));
        let over = variants
            .len()
            .saturating_sub(ask.zone.policy.max_variants.max(1));
        for (_, dropped) in variants.drain(..over) {
            store.remove(&EntryKey::head(dropped));
        }
        let index = VaryIndex {
            key: ask.key.as_str().into(),
            fields: vary.fields.clone(),
            variants,
        };
        let entry = Entry::Vary(Arc::new(index));
        store
            .insert(EntryKey::head(ask.id), entry, Placement::MemoryAndDisk)
            .await;
    }

    pub(super) fn placement(&self, body_bytes: u64) -> Placement {
        if self.fits_memory(body_bytes) {
            Placement::MemoryAndDisk
        } else {
            Placement::DiskPreferred
        }
    }
}

impl Cache {
    /// Whether a tier takes a body of this length to which the disk has said this.
    pub(super) fn keeps(&self, body_bytes: u64, admission: Admission) -> bool {
        self.fits_memory(body_bytes) || admission.is_granted()
    }

    /// Where a block goes that was pulled by itself. Without a disk it goes into memory although its object is too
    /// large for that: a client that reads on in small ranges would otherwise pull it again with each.
    pub(super) fn block_placement(&self, zone: &Zone, body_bytes: u64) -> Placement {
        if zone.store.has_disk() {
            self.placement(body_bytes)
        } else {
            Placement::MemoryAndDisk
        }
    }
}

/// An older fetch never replaces a newer one.
fn is_newer(present: &Object, coming: &Object) -> bool {
    let rank = |object: &Object| (object.checked_seq, object.fetch_started());
    present.is_of(coming.key()) && rank(present) > rank(coming)
}

/// Puts a growing body into the tiers, chunk by chunk.
pub(super) struct Keeping {
    cache: Arc<Cache>,
    object: Arc<Object>,
    /// Whether a small body is kept beside its head instead of in it, because other forms of it are
    /// expected and their hits need the head alone.
    apart: bool,
    max_bytes: u64,
    length: Option<u64>,
    buffer: BytesMut,
    chunks: u32,
    store: Arc<SiteStore>,
    /// Whether the disk takes it.
    admission: Admission,
    /// Of what was taken in so far, where the finished object is to tell it.
    digest: Option<Digester>,
    /// A stored object whose body has been the same so far, byte for byte.
    same: Option<Arc<Object>>,
}

impl Keeping {
    pub(super) fn new(
        cache: Arc<Cache>,
        zone: &Zone,
        object: Arc<Object>,
        length: Option<u64>,
        admission: Admission,
    ) -> Self {
        Self {
            store: Arc::clone(&zone.store),
            admission,
            apart: has_other_forms(zone, &object, length),
            max_bytes: zone.policy.max_object_bytes,
            buffer: chunk_buffer(length),
            cache,
            object,
            length,
            chunks: 0,
            digest: None,
            same: None,
        }
    }

    /// Takes the version of `before` over if the bytes turn out to be the same: then the forms that were made of it
    /// stay. Worth the comparison only where there are any.
    pub(super) fn compared_with(mut self, before: Option<&Arc<Object>>) -> Self {
        let object = &self.object;
        let is_alike = |before: &&Arc<Object>| {
            let same_field =
                |name: &HeaderName| before.headers().get(name) == object.headers().get(name);
            before.status == object.status
                && same_field(&CONTENT_TYPE)
                && same_field(&CONTENT_ENCODING)
                && self
                    .length
                    .is_none_or(|length| length == before.body.length())
        };
        self.same = before.filter(|_| self.apart).filter(is_alike).cloned();
        self
    }

    pub(super) fn of_derived(
        cache: Arc<Cache>,
        store: &Arc<SiteStore>,
        object: Arc<Object>,
        max_bytes: u64,
        admission: Admission,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            admission,
            apart: false,
            max_bytes,
            buffer: BytesMut::new(),
            length: None,
            cache,
            object,
            chunks: 0,
            digest: None,
            same: None,
        }
    }

    /// Has the finished object tell its own digest.
    pub(super) fn digested(mut self, is_wanted: bool) -> Self {
        self.digest = is_wanted.then(Digester::default);
        self
    }

    /// Takes the next bytes. Gives the offset up to which they are in a tier; `None` when the body has
    /// grown too large to keep, or no tier took a piece of it.
    pub(super) async fn add(&mut self, mut bytes: &[u8]) -> Option<u64> {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            let grown = self.kept() + self.buffer.len() as u64;
            if grown > self.max_bytes || !self.cache.keeps(grown, self.admission) {
                return None;
            }
            // The last chunk of a body that fits one entry is kept back: it may go into the head.
            let full = self.buffer.len() == CHUNK_BYTES && (self.chunks > 0 || !bytes.is_empty());
            if full && !self.flush().await {
                return None;
            }
        }
        Some(self.kept())
    }

    /// Puts the rest away and gives the finished object, to be installed; `None` when no tier took the rest.
    pub(super) async fn finish(mut self) -> Option<Arc<Object>> {
        let length = self.kept() + self.buffer.len() as u64;
        let body = if self.chunks == 0 && !self.apart {
            Body::Inline(std::mem::take(&mut self.buffer).freeze())
        } else {
            if !self.buffer.is_empty() && !self.flush().await {
                return None;
            }
            Body::Chunked { length }
        };
        let mut draft = self.object.draft();
        draft.body = body;
        if let Some(digest) = self.digest.and_then(Digester::finish) {
            draft.headers.insert(REPR_DIGEST, digest);
        }
        if let Some(before) = self.same.filter(|before| before.body.length() == length) {
            draft.version = before.version;
            draft.body = before.body.clone();
        }
        Some(Arc::new(draft.seal()))
    }

    /// Whether this chunk of `before` has these bytes.
    async fn is_same(&self, before: &Object, chunk: &Bytes) -> bool {
        match &before.body {
            Body::Inline(bytes) => self.chunks == 0 && bytes == chunk,
            Body::Chunked { .. } => {
                let key = EntryKey::chunk(before.version, self.chunks);
                let found = self.store.load(&key).await;
                matches!(found, Some((Entry::Chunk(bytes), _)) if bytes == *chunk)
            }
        }
    }

    fn kept(&self) -> u64 {
        u64::from(self.chunks) * CHUNK_BYTES as u64
    }

    /// Whether a tier took the chunk.
    async fn flush(&mut self) -> bool {
        let next = chunk_buffer(self.rest());
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, next));
        let key = EntryKey {
            id: self.object.version,
            part: Part::Chunk(self.chunks),
        };
        if let Some(before) = self.same.take()
            && self.is_same(&before, &chunk).await
        {
            self.same = Some(before);
        }
        let placement = self
            .cache
            .placement(self.length.unwrap_or_else(|| self.kept()));
        let kept = self.store.insert(key, Entry::Chunk(chunk), placement).await;
        self.chunks += 1;
        kept.memory || kept.disk
    }

    fn rest(&self) -> Option<u64> {
        let next = self.kept() + CHUNK_BYTES as u64;
        self.length.map(|length| length.saturating_sub(next))
    }
}

fn has_other_forms(zone: &Zone, object: &Object, length: Option<u64>) -> bool {
    let headers = object.headers();
    let by_extension = media_type::type_of_extension(object.path());
    variant::eligible(
        &zone.compression,
        object.status,
        &headers,
        length,
        by_extension,
    ) || variant::applies(&zone.images, object.status, &headers)
}
