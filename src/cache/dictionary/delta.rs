use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::semantics::dictionary::{allowed_origin, is_readable};
use crate::store::{Entry, EntryKey, Object, Tier};
use crate::variant::{Coding, DeltaCoding, DictionaryHash, encode};

use super::super::behind::Errand;
use super::super::codings::{Dictionaries, Effort};
use super::super::derive::{Decline, Wanted};
use super::super::form::{coded_object, tell_digest};
use super::super::marks::Mark;
use super::super::{Ask, Cache, Form, Pressure, Served, Story};
use super::keep::{hash_of, may_be_dictionary};
use super::offer::offered;
use super::versions::{Listed, hex};

/// Codings against dictionaries that wait; who finds no place comes again.
pub(in super::super) const DELTAS_WAITING: usize = 64;

/// While one is being made, requests for it do not ask for it again. Longer than any takes.
const MAKING_FOR: Duration = Duration::from_secs(120);

/// In percent of the smallest other coding that is stored: one that saves less is not worth its place.
const WORTH_PERCENT: u64 = 90;

/// A coding against a dictionary that the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaForm {
    /// The coding.
    pub coding: DeltaCoding,
    /// SHA-256 of the dictionary.
    pub dictionary: DictionaryHash,
}

impl DeltaForm {
    /// As in the keys of made forms.
    pub(in super::super) fn key(&self) -> String {
        let token = self.coding.token();
        format!("coding={token};dictionary={}", hex(&self.dictionary))
    }
}

/// A coding against a dictionary that is to be made.
pub(in super::super) struct Delta {
    ask: Arc<Ask>,
    source: Arc<Object>,
    form: DeltaForm,
    id: u128,
    /// What is marked as being made.
    marked: u128,
}

impl Errand for Delta {
    async fn run(self, cache: Arc<Cache>) {
        let outcome = cache.make_delta(&self).await;
        cache.marks.clear(self.marked);
        let Some(outcome) = outcome else { return };
        let decline = match outcome {
            Dictionaries::Coded | Dictionaries::Kept => None,
            Dictionaries::NoGain => Some(("no-gain", Decline::ForLong)),
            Dictionaries::Unknown => Some(("unknown-dictionary", Decline::TimedOut)),
            Dictionaries::NotNow => Some(("not-now", Decline::ForNow)),
        };
        if let Some((reason, decline)) = decline {
            cache.decline(self.id, reason, decline);
        }
        cache.codings.dictionary(&self.ask.zone.name, outcome);
    }
}

/// Whether a pattern lists a dictionary.
enum Listing {
    Lists,
    /// The list that lies at this place must be looked at.
    Perhaps(u128),
    No,
}

impl Cache {
    /// The coding of `source` against the client's dictionary, if memory has it; else it is made for those who come
    /// later.
    pub fn delta(&self, ask: &Ask, source: &Served, form: DeltaForm) -> Option<Served> {
        let made = self.made(ask, source, &Form::Delta(form));
        if made.is_none() && !source.is_growing() {
            self.want_delta(ask, &source.object, form);
        }
        made
    }

    /// As [`Cache::delta`], for the client that had `source` pulled.
    pub(in super::super) fn want_offered(&self, ask: &Ask, source: &Arc<Object>) {
        let can_read = || is_readable(&ask.headers, || allowed_origin(&source.headers()));
        if let Some(form) = offered(ask, can_read)
            && may_be_dictionary(ask, source)
        {
            self.want_delta(ask, source, form);
        }
    }

    /// Has a coding against a dictionary made, unless nobody here has the dictionary.
    fn want_delta(&self, ask: &Ask, source: &Arc<Object>, form: DeltaForm) {
        let site = &ask.zone.name;
        let id = self.form_id(source, &form.key());
        // A list that must be looked at first is looked at once, however many hashes are asked for.
        let marked = match self.lists(ask, &form.dictionary) {
            Listing::Lists => id,
            Listing::Perhaps(list) => list,
            Listing::No => return self.codings.dictionary(site, Dictionaries::Unknown),
        };
        let uptime = self.clock.uptime();
        if self.marks.of(id, uptime).is_some() || self.marks.of(marked, uptime).is_some() {
            return;
        }
        self.marks
            .set(marked, Mark::Deferred("making"), uptime + MAKING_FOR);
        let delta = Delta {
            ask: Arc::new(ask.behind()),
            source: Arc::clone(source),
            form,
            id,
            marked,
        };
        if !self.deltas.hand_in(delta) {
            self.marks.clear(marked);
            self.codings.dictionary(site, Dictionaries::NotNow);
        }
    }

    /// Whether a dictionary is listed, as far as memory tells.
    fn lists(&self, ask: &Ask, hash: &DictionaryHash) -> Listing {
        let dictionaries = &ask.zone.compression.dictionaries;
        let mut listing = Listing::No;
        for pattern in dictionaries.covering(&ask.path) {
            match self.versions_at_once(ask, pattern) {
                Listed::Here(hashes) if hashes.contains(hash) => return Listing::Lists,
                Listed::Perhaps(list) => listing = Listing::Perhaps(list),
                Listed::Here(_) | Listed::Nowhere => {}
            }
        }
        listing
    }

    /// A dictionary that is listed, from whatever tier has it. Its bytes are what their hash says: an answer against others
    /// would be garbage at the client.
    async fn dictionary_bytes(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        hash: &DictionaryHash,
    ) -> Option<Bytes> {
        let compression = &ask.zone.compression;
        for pattern in compression.dictionaries.covering(&ask.path) {
            if !self.versions(ask, pattern).await.contains(hash) {
                continue;
            }
            let Some(kept) = self.dictionary(ask, pattern, hash).await else {
                continue;
            };
            let bytes = self.stored_bytes(ask, &kept, compression.max_size_bytes);
            if let Some(bytes) = bytes.await
                && hash_of(bytes.clone()).await.as_ref() == Some(hash)
            {
                return Some(bytes);
            }
        }
        None
    }

    /// `None` when it was there already.
    async fn make_delta(self: &Arc<Self>, delta: &Delta) -> Option<Dictionaries> {
        let Delta {
            ask, source, form, ..
        } = delta;
        if self.pressure() != Pressure::Ample {
            return Some(Dictionaries::NotNow);
        }
        let served = Served::made(Arc::clone(source), Story::hit(Tier::Memory), 0).without_head();
        let wanted = Wanted::new(self, source, Form::Delta(*form));
        // A disk may have it; then memory has it now.
        if self.stored_form(ask, &served, &wanted).await.is_some() {
            return None;
        }
        let Some(dictionary) = self.dictionary_bytes(ask, &form.dictionary).await else {
            return Some(Dictionaries::Unknown);
        };
        let Some(content) = self.content(ask, source).await else {
            return Some(Dictionaries::NotNow);
        };
        let content_bytes = content.len() as u64;
        let plain = form.coding.plain();
        let level = ask.zone.compression.best_level.of(plain);
        let (coding, hash) = (form.coding, form.dictionary);
        let coder = &self.upgrades.coder;
        let coded = match coder
            .encode_delta(coding, level, dictionary, hash, content.clone())
            .await
        {
            Some(Ok(coded)) => coded,
            Some(Err(error)) => {
                tracing::warn!(%error, coding = coding.token(), "a body could not be coded");
                return Some(Dictionaries::NotNow);
            }
            None => return Some(Dictionaries::NotNow),
        };
        let coded_bytes = coded.bytes.len() as u64;
        self.codings.made(
            &ask.zone.name,
            (plain, Effort::Dictionary),
            (content_bytes, coded_bytes),
            coded.cpu,
        );
        let other = match self.smallest_bytes(ask, source) {
            Some(bytes) => bytes,
            None => first_level_bytes(ask, plain, content).await?,
        };
        if coded_bytes.saturating_mul(100) > other.saturating_mul(WORTH_PERCENT) {
            return Some(Dictionaries::NoGain);
        }
        let mut draft = coded_object(source, &wanted.key, coding.token());
        tell_digest(&mut draft, source, &coded.bytes).await;
        let short = hex(hash.get(..4).unwrap_or_default());
        draft.detail = format!("{};level={level};dictionary={short}", coding.token()).into();
        self.keep_form(ask, draft, wanted.id, &coded.bytes).await;
        Some(Dictionaries::Coded)
    }

    /// Bytes of the smallest ordinary coding of `source` that is in memory.
    fn smallest_bytes(&self, ask: &Ask, source: &Object) -> Option<u64> {
        let length = |coding: Coding| {
            let id = self.form_id(source, &Form::Coded(coding, 0).key());
            match ask.zone.store.memory(&EntryKey::head(id))? {
                Entry::Object(object) => Some(object.body.length()),
                Entry::Vary(_) | Entry::Chunk(_) => None,
            }
        };
        [Coding::Zstd, Coding::Brotli, Coding::Gzip]
            .into_iter()
            .filter_map(length)
            .min()
    }
}

/// Bytes of the ordinary coding, which is made at the first level to know them.
async fn first_level_bytes(ask: &Ask, coding: Coding, content: Bytes) -> Option<u64> {
    let level = ask.zone.compression.first_level.of(coding);
    let encoded = tokio::task::spawn_blocking(move || encode(coding, level, &content));
    let encoded = encoded.await.ok()?.ok()?;
    Some(encoded.len() as u64)
}
