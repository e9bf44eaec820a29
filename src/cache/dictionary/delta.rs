use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::semantics::dictionary::is_readable;
use crate::store::{Entry, EntryKey, Object, Tier};
use crate::variant::{Coding, DeltaCoding, DictionaryHash};

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
}

impl Errand for Delta {
    async fn run(self, cache: Arc<Cache>) {
        let Some(outcome) = cache.make_delta(&self).await else {
            return cache.marks.clear(self.id);
        };
        let decline = match outcome {
            // It is there.
            Dictionaries::Coded | Dictionaries::Kept => {
                cache.marks.clear(self.id);
                None
            }
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
        let can_read = || is_readable(&ask.headers, &source.headers());
        if let Some(form) = offered(ask, can_read)
            && may_be_dictionary(ask, source)
        {
            self.want_delta(ask, source, form);
        }
    }

    /// Has a coding against a dictionary made, unless nobody here has the dictionary.
    fn want_delta(&self, ask: &Ask, source: &Arc<Object>, form: DeltaForm) {
        let id = self.form_id(source, &form.key());
        let uptime = self.clock.uptime();
        if self.marks.of(id, uptime).is_some() {
            return;
        }
        let site = &ask.zone.name;
        if !self.may_know(ask, &form.dictionary) {
            return self.codings.dictionary(site, Dictionaries::Unknown);
        }
        self.marks
            .set(id, Mark::Deferred("making"), uptime + MAKING_FOR);
        let delta = Delta {
            ask: Arc::new(ask.behind()),
            source: Arc::clone(source),
            form,
            id,
        };
        if !self.deltas.hand_in(delta) {
            self.marks.clear(id);
            self.codings.dictionary(site, Dictionaries::NotNow);
        }
    }

    /// Whether a dictionary is listed, or a list must be looked at that is not in memory.
    fn may_know(&self, ask: &Ask, hash: &DictionaryHash) -> bool {
        let dictionaries = &ask.zone.compression.dictionaries;
        let mut covering = dictionaries.covering(&ask.path);
        covering.any(|pattern| match self.versions_at_once(ask, pattern) {
            Listed::Here(hashes) => hashes.contains(hash),
            Listed::Perhaps => true,
            Listed::Nowhere => false,
        })
    }

    async fn knows(&self, ask: &Ask, hash: &DictionaryHash) -> bool {
        let dictionaries = &ask.zone.compression.dictionaries;
        for pattern in dictionaries.covering(&ask.path) {
            if self.versions(ask, pattern).await.contains(hash) {
                return true;
            }
        }
        false
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
        if !self.knows(ask, &form.dictionary).await {
            return Some(Dictionaries::Unknown);
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
            .encode_delta(coding, level, dictionary, hash, content)
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
        let other = self.smallest_bytes(ask, source).unwrap_or(content_bytes);
        if coded_bytes.saturating_mul(100) > other.saturating_mul(WORTH_PERCENT) {
            return Some(Dictionaries::NoGain);
        }
        let mut draft = coded_object(source, &wanted.key, coding.token());
        tell_digest(&mut draft, source, &coded.bytes);
        let short = hex(hash.get(..4).unwrap_or_default());
        draft.detail = format!("{};level={level};dictionary={short}", coding.token()).into();
        self.keep_form(ask, draft, wanted.id, &coded.bytes).await;
        Some(Dictionaries::Coded)
    }

    /// A dictionary's bytes, which are what their hash says: an answer against others would be garbage at the client.
    async fn dictionary_bytes(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        hash: &DictionaryHash,
    ) -> Option<Bytes> {
        let object = self.dictionary(ask, hash).await?;
        let max_bytes = ask.zone.compression.max_size_bytes;
        let bytes = self.stored_bytes(ask, &object, max_bytes).await?;
        let found = hash_of(bytes.clone()).await?;
        (found == *hash).then_some(bytes)
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
