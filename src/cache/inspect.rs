use std::sync::Arc;

use http::HeaderName;

use crate::policy;
use crate::store::{
    Body, CHUNK_BYTES, ClockHit, Entry, EntryKey, Inspected, Object, Present, Purged,
};
use crate::variant::{self, Wish};

use super::codings::Effort;
use super::form::{Form, IDENTITY, variant_key};
use super::marks::Mark;
use super::sibling::SIBLING;
use super::upgrade::BEST;
use super::{Cache, FillError, Remembered, Zone};

/// Chunks of one object that are looked for: 512 GiB.
const CHUNKS_MAX: u32 = 1 << 20;

/// Chunks looked for before others get their turn.
const CHUNKS_AT_ONCE: u32 = 4096;

/// What is stored under one key.
#[derive(Debug)]
pub struct Inspection {
    /// The request fields that choose among the variants.
    pub vary: Vec<HeaderName>,
    /// One without a `Vary`; those that are still there with one.
    pub variants: Vec<StoredVariant>,
    /// What is remembered of the last answer, where it says why nothing is stored.
    pub remembered: Option<Remembered>,
}

/// A stored response.
#[derive(Debug)]
pub struct StoredVariant {
    /// The values of the varying fields, as they choose; `None` without a `Vary`.
    pub secondary: Option<String>,
    /// Its head.
    pub object: Arc<Object>,
    /// Which tiers have this head.
    pub tiers: Present,
    /// Its chunks, if its body is in chunks.
    pub chunks: Option<Chunks>,
    /// What the purge clocks say.
    pub purged: Purged,
    /// Which of them.
    pub clocks: Vec<ClockHit>,
    /// Its tags: the hash that is stored, and the text where the response's own fields or the site's rules tell it.
    pub tags: Vec<(u128, Option<String>)>,
    /// What was made of it: codings and pictures. Pictures of other sizes than automatic ones are known only since the
    /// start.
    pub forms: Vec<StoredForm>,
}

/// A made form that is stored.
#[derive(Debug)]
pub struct StoredForm {
    /// How it was made, such as `coding=br;level=5`.
    pub form: String,
    /// Its head.
    pub object: Arc<Object>,
    /// Which tiers have this head.
    pub tiers: Present,
    /// Its chunks, if its body is in chunks.
    pub chunks: Option<Chunks>,
}

impl StoredForm {
    /// With which effort it was made, if it is a coding or the content of one.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let detail = self.object.detail();
        if detail.contains(SIBLING) {
            Effort::Sibling
        } else if detail.contains(";dictionary=") {
            Effort::Dictionary
        } else if detail.starts_with(IDENTITY) {
            Effort::Undone
        } else if detail.ends_with(BEST) {
            Effort::Best
        } else {
            Effort::First
        }
    }
}

/// How one form of an object stands.
#[derive(Debug)]
pub struct FormState {
    /// It, if it is stored.
    pub stored: Option<StoredForm>,
    /// Whether it was made with all effort, or cannot be made better.
    pub is_best: bool,
    /// Whether it is being made.
    pub is_being_made: bool,
    /// Why it is not tried for now.
    pub declined: Option<&'static str>,
}

/// How many chunks of a body are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunks {
    /// All that the body has.
    pub total: u64,
    /// Those that some tier has.
    pub present: u64,
    /// Those that the memory tier has.
    pub memory: u64,
    /// Those that the disk tier has.
    pub disk: u64,
}

impl Cache {
    /// What is stored under the full text of a key, for people: nothing is used, moved, validated or counted.
    pub async fn inspect(&self, zone: &Zone, key: &str) -> Inspection {
        let id = self.store.hash(&[key.as_bytes()]);
        let mut inspection = Inspection {
            vary: Vec::new(),
            variants: Vec::new(),
            remembered: self.mark_of(id),
        };
        let Inspected { memory, disk } = zone.store.inspect(&EntryKey::head(id)).await;
        let is_index = |entry: &Entry| match entry {
            Entry::Vary(index) if *index.key == *key => Some(Arc::clone(index)),
            _ => None,
        };
        // As a request does: what memory has counts.
        let first = memory.as_ref().or(disk.as_ref());
        let Some(index) = first.and_then(is_index) else {
            let variant = self
                .variant(zone, key, None, Inspected { memory, disk })
                .await;
            inspection.variants.extend(variant);
            return inspection;
        };
        inspection.vary.clone_from(&index.fields);
        for (secondary, id) in &index.variants {
            let inspected = zone.store.inspect(&EntryKey::head(*id)).await;
            let secondary = Some(secondary.clone());
            let variant = self.variant(zone, key, secondary, inspected).await;
            inspection.variants.extend(variant);
        }
        inspection
    }

    async fn variant(
        &self,
        zone: &Zone,
        key: &str,
        secondary: Option<String>,
        inspected: Inspected,
    ) -> Option<StoredVariant> {
        let (object, tiers) = head(key, inspected)?;
        Some(StoredVariant {
            secondary,
            tiers,
            chunks: self.chunks(zone, &object).await,
            purged: self.store.clocks().check(&zone.clock, &object),
            clocks: self.store.clocks().hits(&object),
            tags: self.tags_of(zone, &object),
            forms: self.forms(zone, &object).await,
            object,
        })
    }

    fn tags_of(&self, zone: &Zone, object: &Object) -> Vec<(u128, Option<String>)> {
        let policy::Tags { names, .. } = policy::tags(&object.headers(), &zone.policy.tags);
        let known: Vec<(u128, String)> = names
            .into_iter()
            .chain(zone.tags.iter().cloned())
            .map(|text| (self.tag(&text), text))
            .collect();
        let text = |hash: u128| {
            let found = known.iter().find(|(known, _)| *known == hash);
            found.map(|(_, text)| text.clone())
        };
        let tags = object.tags();
        tags.into_iter().map(|hash| (hash, text(hash))).collect()
    }

    /// How `form` of `source` stands: nothing is used, moved, made or counted.
    pub async fn form_state(&self, zone: &Zone, source: &Object, form: &Form) -> FormState {
        let key = form.key();
        let id = self.form_id(source, &key);
        let inspected = zone.store.inspect(&EntryKey::head(id)).await;
        let stored = match head(&variant_key(source, &key), inspected) {
            Some((object, tiers)) => Some(StoredForm {
                form: key.into_owned(),
                tiers,
                chunks: self.chunks(zone, &object).await,
                object,
            }),
            None => None,
        };
        let declined = match self.form_mark(source, id, form) {
            Some(Mark::Declined(reason) | Mark::Deferred(reason)) => Some(reason),
            _ => None,
        };
        FormState {
            is_best: stored
                .as_ref()
                .is_some_and(|stored| stored.object.detail().ends_with(BEST)),
            stored,
            is_being_made: self.flights.has(id),
            declined,
        }
    }

    /// What was made of a version. Forms are found by the hash of how they are made, so these are tried: the site's
    /// codings, its automatic pictures, and the pictures that are remembered.
    async fn forms(&self, zone: &Zone, source: &Object) -> Vec<StoredForm> {
        let codings = &zone.compression;
        let codings = codings
            .codings
            .iter()
            .map(|coding| Form::Coded(*coding, codings.first_level.of(*coding)));
        let pictures = [(false, false), (false, true), (true, false), (true, true)]
            .map(|(avif, webp)| variant::recipe(&zone.images, &Wish::auto(), avif, webp))
            .map(Form::Picture);
        let mut ids: Vec<u128> = codings
            .chain(pictures)
            .map(|form| self.form_id(source, &form.key()))
            .chain(self.made.variants_of(source.version))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let prefix = variant_key(source, "");
        let mut forms = Vec::new();
        for id in ids {
            let inspected = zone.store.inspect(&EntryKey::head(id)).await;
            let objects = [&inspected.memory, &inspected.disk];
            let form = objects.into_iter().flatten().find_map(|entry| match entry {
                Entry::Object(object) => object.key().strip_prefix(&prefix).map(str::to_owned),
                Entry::Vary(_) | Entry::Chunk(_) => None,
            });
            let Some(form) = form else { continue };
            if let Some((object, tiers)) = head(&variant_key(source, &form), inspected) {
                forms.push(StoredForm {
                    form,
                    tiers,
                    chunks: self.chunks(zone, &object).await,
                    object,
                });
            }
        }
        forms.sort_by(|a, b| a.form.cmp(&b.form));
        forms
    }

    async fn chunks(&self, zone: &Zone, object: &Object) -> Option<Chunks> {
        let Body::Chunked { length } = object.body else {
            return None;
        };
        let total = length.div_ceil(CHUNK_BYTES as u64);
        let mut chunks = Chunks {
            total,
            ..Chunks::default()
        };
        let last = u32::try_from(total).unwrap_or(u32::MAX).min(CHUNKS_MAX);
        for number in 0..last {
            let found = zone.store.present(&EntryKey::chunk(object.version, number));
            chunks.memory += u64::from(found.memory);
            chunks.disk += u64::from(found.disk);
            chunks.present += u64::from(found.memory || found.disk);
            if number % CHUNKS_AT_ONCE == CHUNKS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        Some(chunks)
    }

    fn mark_of(&self, id: u128) -> Option<Remembered> {
        match self.marks.of(id, self.clock.uptime())? {
            Mark::Uncacheable(reason) => Some(Remembered::Uncacheable(reason)),
            Mark::Failing(error) => Some(Remembered::Failing(FillError::clone(&error))),
            Mark::Declined(_) | Mark::Deferred(_) | Mark::NoParts | Mark::Changed => None,
        }
    }
}

/// The object of `key`: the one in memory, else the one on disk, and which tiers have that very version.
fn head(key: &str, inspected: Inspected) -> Option<(Arc<Object>, Present)> {
    let own = |entry: Option<Entry>| match entry {
        Some(Entry::Object(object)) if object.is_of(key) => Some(object),
        _ => None,
    };
    let (memory, disk) = (own(inspected.memory), own(inspected.disk));
    let object = memory.as_ref().or(disk.as_ref()).map(Arc::clone)?;
    let is_this = |found: &Option<Arc<Object>>| {
        found
            .as_ref()
            .is_some_and(|found| found.version == object.version)
    };
    let tiers = Present {
        memory: is_this(&memory),
        disk: is_this(&disk),
    };
    Some((object, tiers))
}
