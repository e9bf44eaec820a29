use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_ENCODING;

use crate::semantics::media_type;
use crate::store::{Body, Object, Tier};
use crate::variant::{self, DictionaryHash};

use super::super::behind::Errand;
use super::super::codings::Dictionaries;
use super::super::install::new_version;
use super::super::smallest::{forget_kept, is_kept, note_kept};
use super::super::{Ask, Cache, Derived, Form, Pressure, Served, Story};
use super::versions::{Noted, dictionary_key};

/// Contents that wait to be kept; what finds no place is tried at the next request for it.
pub(in super::super) const KEEPS_WAITING: usize = 64;

/// A stored object whose content is to be kept as a dictionary.
pub(in super::super) struct Keep {
    ask: Arc<Ask>,
    object: Arc<Object>,
    noted: Noted,
}

impl Errand for Keep {
    async fn run(self, cache: Arc<Cache>) {
        if cache.pressure() != Pressure::Ample {
            return forget_kept(&self.object);
        }
        // What cannot be kept is not tried again: it is the same until it is pulled anew.
        if cache.keep_dictionary(&self).await == Some(true) {
            let site = &self.ask.zone.name;
            cache.codings.dictionary(site, Dictionaries::Kept);
        }
    }
}

impl Cache {
    /// Has the content of a stored object kept that is asked for, if the edge marks it as a dictionary and that has not been
    /// done yet. One relaxed load, once it has.
    pub fn note_dictionary(&self, ask: &Ask, object: &Arc<Object>) {
        self.note_version(ask, object, Noted::Hit);
    }

    /// The same of one that was just pulled or that is asked for.
    pub(in super::super) fn note_version(&self, ask: &Ask, object: &Arc<Object>, noted: Noted) {
        let dictionaries = &ask.zone.compression.dictionaries;
        if is_kept(object)
            || dictionaries.covering(&ask.path).next().is_none()
            || !may_be_dictionary(ask, object)
            || !note_kept(object)
        {
            return;
        }
        let keep = Keep {
            ask: Arc::new(ask.behind()),
            object: Arc::clone(object),
            noted,
        };
        if !self.keeps.hand_in(keep) {
            forget_kept(object);
        }
    }

    /// Gives whether it was news; `None` when not all of it is there, or no tier takes it.
    async fn keep_dictionary(self: &Arc<Self>, keep: &Keep) -> Option<bool> {
        let Keep { ask, object, noted } = keep;
        let dictionaries = &ask.zone.compression.dictionaries;
        let pattern = dictionaries.covering(&ask.path).next()?;
        let content = self.content(ask, object).await?;
        if content.is_empty() {
            return None;
        }
        let hash = hash_of(content.clone()).await?;
        let known = self.dictionary(ask, pattern, &hash).await;
        let key = dictionary_key(ask, pattern, &hash);
        let sequences = (object.body_seq, object.checked_seq);
        match &object.body {
            // The chunks are there already, and are never given to other bytes. Those of an older version with the same
            // content go sooner.
            body @ Body::Chunked { .. } if !object.headers().contains_key(CONTENT_ENCODING) => {
                if known.is_none_or(|known| known.version != object.version) {
                    let draft = self.entry(ask, key, object.version, body.clone(), sequences);
                    self.keep_entry(ask, draft).await;
                }
            }
            Body::Chunked { .. } | Body::Inline(_) => {
                let is_whole = match &known {
                    Some(known) => self.has_body(ask, known).await,
                    None => false,
                };
                let empty = Body::Inline(Bytes::new());
                let draft = self.entry(ask, key, new_version(), empty, sequences);
                let id = draft.url;
                if !is_whole && !self.keep_form(ask, draft, id, &content).await {
                    return None;
                }
            }
        }
        Some(self.add_version(ask, pattern, (hash, *noted)).await)
    }

    /// The content of a stored object, with the origin's coding undone; `None` when it is not all in the tiers, or larger
    /// than the site codes.
    pub(super) async fn content(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        object: &Arc<Object>,
    ) -> Option<Bytes> {
        let compression = &ask.zone.compression;
        let headers = object.headers();
        let length = Some(object.body.length());
        let max_bytes = compression.max_size_bytes;
        let Some(coding) = variant::undoable(compression, object.status, &headers, length) else {
            return self.stored_bytes(ask, object, max_bytes).await;
        };
        let source = Served::made(Arc::clone(object), Story::hit(Tier::Memory), 0).without_head();
        match self.derive(ask, source, Form::Plain(coding), None).await {
            Derived::Ready(plain) => {
                let reader = plain.into_reader(self, &ask.zone.store, 0, None);
                reader.collect(max_bytes).await.ok().flatten()
            }
            Derived::Later(..) | Derived::Declined(..) => None,
        }
    }
}

/// Whether the edge could code the content, which it must to answer against it.
pub(super) fn may_be_dictionary(ask: &Ask, object: &Object) -> bool {
    let compression = &ask.zone.compression;
    let (headers, length) = (object.headers(), Some(object.body.length()));
    let by_extension = media_type::type_of_extension(&ask.path);
    object.status == StatusCode::OK
        && (variant::undoable(compression, object.status, &headers, length).is_some()
            || variant::eligible(compression, object.status, &headers, length, by_extension))
}

/// Away from the runtime's threads, for this is the work of milliseconds.
pub(super) async fn hash_of(content: Bytes) -> Option<DictionaryHash> {
    let hash = tokio::task::spawn_blocking(move || digest(&SHA256, &content));
    hash.await.ok()?.as_ref().try_into().ok()
}
