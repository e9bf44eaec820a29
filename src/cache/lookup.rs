use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName};

use crate::policy::{self, Reuse, Unusable};
use crate::semantics::status_fields::Forward;
use crate::store::{Body, Entry, EntryKey, Object, Part, Purged, Tier};

use super::marks::Mark;
use super::{Ask, Cache, FillError};

/// An object and the tier it came from.
#[derive(Clone)]
pub struct Stored {
    /// The object.
    pub object: Arc<Object>,
    /// Where it was.
    pub tier: Tier,
    /// Where its head is kept.
    pub(super) id: u128,
    /// The varying fields that are known of its URL.
    pub(super) fields: Vec<HeaderName>,
}

/// What is stored for an [`Ask`], and what may be done with it now.
pub enum Lookup {
    /// Fresh.
    Hit(Stored),
    /// Stale, but may be served while it is validated behind the answer (RFC 5861 §3).
    HitAndRefresh(Stored, Forwarding),
    /// The origin must be asked.
    Forward(Forwarding),
}

/// What a request that goes forward takes along.
pub struct Forwarding {
    /// The reason, as RFC 9211 names it.
    pub why: Forward,
    /// The reason more closely.
    pub because: Because,
    /// A stale object that can be validated, or served when the origin fails.
    pub candidate: Option<Stored>,
    /// Where the answer belongs.
    pub(super) id: u128,
    /// The varying fields that are known of this URL.
    pub(super) fields: Vec<HeaderName>,
    /// Whether the candidate was purged softly.
    pub(super) soft_purged: bool,
}

/// A short memory of the last answer for a key.
#[derive(Debug, Clone)]
pub enum Remembered {
    /// It could not be stored, for this reason: nobody waits for the next one.
    Uncacheable(&'static str),
    /// The origin failed: it is not asked again for a moment.
    Failing(FillError),
}

/// Why a request goes forward, more closely than RFC 9211 tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// The store was not looked at.
    HandedOn,
    /// Nothing is stored for the URL.
    NothingStored,
    /// Nothing is stored for these request fields.
    NoVariant,
    /// What is stored was purged.
    Purged,
    /// The tiers have lost the body of what is stored.
    BodyGone,
    /// What is stored is not used as it is.
    Unusable(Unusable),
}

impl Because {
    /// A closed word, where it says more than `fwd` does.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::HandedOn
            | Self::NothingStored
            | Self::NoVariant
            | Self::Unusable(Unusable::Stale) => None,
            Self::Purged => Some("purged"),
            Self::BodyGone => Some("body-gone"),
            Self::Unusable(why) => Some(why.as_str()),
        }
    }

    fn why(self) -> Forward {
        match self {
            Self::HandedOn => Forward::Bypass,
            Self::NothingStored => Forward::UriMiss,
            Self::NoVariant => Forward::VaryMiss,
            Self::Purged | Self::BodyGone => Forward::Miss,
            Self::Unusable(why) if why.is_by_request() => Forward::Request,
            Self::Unusable(_) => Forward::Stale,
        }
    }
}

/// Where an ask's object is, or would be.
struct Located {
    id: u128,
    fields: Vec<HeaderName>,
    found: Option<Stored>,
}

impl Cache {
    /// What is stored for `ask`. Memory is looked at without waiting; disk only if memory has nothing.
    pub async fn lookup(&self, ask: &Ask) -> Lookup {
        match self.stored_for(ask).await {
            Lookup::Forward(forwarding) if forwarding.candidate.is_none() => {
                match Box::pin(self.equivalent(ask)).await {
                    Some(stored) => Lookup::Hit(stored),
                    None => Lookup::Forward(forwarding),
                }
            }
            found => found,
        }
    }

    /// What is stored for the very URL of `ask`.
    pub(super) async fn stored_for(&self, ask: &Ask) -> Lookup {
        let located = match self.locate_in_memory(ask) {
            Some(located) => located,
            None => Box::pin(self.locate(ask)).await,
        };
        match self.judge(ask, located) {
            Lookup::Hit(stored) if self.lacks_body(ask, &stored.object).await => {
                Lookup::Forward(body_gone(stored.id, stored.fields))
            }
            // Nor may it stand in while it is validated, or be told to be still right by a 304.
            Lookup::HitAndRefresh(stored, _) if self.lacks_body(ask, &stored.object).await => {
                Lookup::Forward(body_gone(stored.id, stored.fields))
            }
            Lookup::Forward(forwarding) => match &forwarding.candidate {
                Some(stored) if self.lacks_body(ask, &stored.object).await => {
                    Lookup::Forward(body_gone(forwarding.id, forwarding.fields))
                }
                Some(_) | None => Lookup::Forward(forwarding),
            },
            found @ (Lookup::Hit(_) | Lookup::HitAndRefresh(..)) => found,
        }
    }

    /// Whether the tiers have lost the beginning of a body that cannot be pulled by itself.
    async fn lacks_body(&self, ask: &Ask, object: &Object) -> bool {
        !self.body_is_at_hand(ask, object)
            && !self.can_mend(ask, object)
            && !Box::pin(self.has_body(ask, object)).await
    }

    /// A fresh object for `ask` whose head is in memory.
    pub(super) fn fresh_in_memory(&self, ask: &Ask) -> Option<Stored> {
        let located = self.locate_in_memory(ask)?;
        match self.judge(ask, located) {
            Lookup::Hit(stored) => Some(stored),
            _ => None,
        }
    }

    /// A fresh object for `ask` that memory has now.
    pub(super) fn just_installed(&self, ask: &Ask) -> Option<Stored> {
        let located = self.locate_in_memory(ask)?;
        match self.judge(ask, located) {
            Lookup::Hit(stored)
                if self.body_may_be_there(ask, &stored.object)
                    || self.can_mend(ask, &stored.object) =>
            {
                Some(stored)
            }
            _ => None,
        }
    }

    /// Whether the body begins in the head or, as far as can be told without waiting, in a tier.
    fn body_may_be_there(&self, ask: &Ask, object: &Object) -> bool {
        match object.body {
            Body::Inline(_) | Body::Chunked { length: 0 } => true,
            Body::Chunked { .. } => {
                let first = EntryKey::chunk(object.version, 0);
                ask.zone.store.may_contain(&first)
            }
        }
    }

    /// Whether the body begins in the head or in memory.
    pub(super) fn body_is_at_hand(&self, ask: &Ask, object: &Object) -> bool {
        match object.body {
            Body::Inline(_) | Body::Chunked { length: 0 } => true,
            Body::Chunked { .. } => ask
                .zone
                .store
                .memory(&EntryKey::chunk(object.version, 0))
                .is_some(),
        }
    }

    /// Whether the body of a stored object begins in a tier. Tiers are lossy: a head whose bytes are gone is
    /// a miss, not a broken answer.
    pub(super) async fn has_body(&self, ask: &Ask, object: &Object) -> bool {
        match object.body {
            Body::Inline(_) | Body::Chunked { length: 0 } => true,
            Body::Chunked { .. } => {
                let first = EntryKey {
                    id: object.version,
                    part: Part::Chunk(0),
                };
                let store = &ask.zone.store;
                store.memory(&first).is_some() || store.load(&first).await.is_some()
            }
        }
    }

    /// What is remembered of the last answer for what goes forward here: why it could not be stored, or how the
    /// origin failed.
    #[must_use]
    pub fn remembered(&self, forwarding: &Forwarding) -> Option<Remembered> {
        match self.marks.of(forwarding.id, self.clock.uptime())? {
            Mark::Uncacheable(reason) => Some(Remembered::Uncacheable(reason)),
            Mark::Failing(error) => Some(Remembered::Failing(error)),
            // The others are remembered of other ids.
            Mark::Declined(_) | Mark::Deferred(_) | Mark::NoParts | Mark::Changed => None,
        }
    }

    fn judge(&self, ask: &Ask, located: Located) -> Lookup {
        let Located { id, fields, found } = located;
        let forwarding = |because: Because, candidate, soft_purged| Forwarding {
            why: because.why(),
            because,
            candidate,
            id,
            fields,
            soft_purged,
        };
        let Some(stored) = found else {
            let because = if forwarding_is_varied(&id, ask) {
                Because::NoVariant
            } else {
                Because::NothingStored
            };
            return Lookup::Forward(forwarding(because, None, false));
        };
        let soft_purged = match self.store.clocks().check(&ask.zone.clock, &stored.object) {
            Purged::Hard => return Lookup::Forward(forwarding(Because::Purged, None, false)),
            Purged::Soft => true,
            Purged::No => false,
        };
        let now = self.clock.now();
        let (config, freshness) = (&ask.zone.policy, &stored.object.freshness());
        let why = || policy::why_unusable(config, &ask.headers, freshness, soft_purged, now);
        match policy::reuse(config, &ask.headers, freshness, soft_purged, now) {
            Reuse::Fresh => Lookup::Hit(stored),
            Reuse::StaleWhileRevalidate => {
                let because = Because::Unusable(why());
                let again = forwarding(because, Some(stored.clone()), soft_purged);
                Lookup::HitAndRefresh(stored, again)
            }
            Reuse::Validate => {
                let why = why();
                if policy::answers_reload(why, &stored.object.headers()) {
                    return Lookup::Hit(stored);
                }
                let because = Because::Unusable(why);
                Lookup::Forward(forwarding(because, Some(stored), soft_purged))
            }
        }
    }

    /// `None` when memory alone cannot tell.
    fn locate_in_memory(&self, ask: &Ask) -> Option<Located> {
        match ask.zone.store.memory(&EntryKey::head(ask.id))? {
            Entry::Object(object) if object.is_of(&ask.key) => Some(Located {
                id: ask.id,
                fields: Vec::new(),
                found: Some(Stored {
                    object,
                    tier: Tier::Memory,
                    id: ask.id,
                    fields: Vec::new(),
                }),
            }),
            Entry::Vary(index) if *index.key == *ask.key => {
                let id = self.varied_id(ask, &index.fields);
                match ask.zone.store.memory(&EntryKey::head(id))? {
                    Entry::Object(object) if object.is_of(&ask.key) => Some(Located {
                        id,
                        fields: index.fields.clone(),
                        found: Some(Stored {
                            object,
                            tier: Tier::Memory,
                            id,
                            fields: index.fields.clone(),
                        }),
                    }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    async fn locate(&self, ask: &Ask) -> Located {
        let nothing = |id, fields| Located {
            id,
            fields,
            found: None,
        };
        match ask.zone.store.load(&EntryKey::head(ask.id)).await {
            Some((Entry::Object(object), tier)) if object.is_of(&ask.key) => Located {
                id: ask.id,
                fields: Vec::new(),
                found: Some(Stored {
                    object,
                    tier,
                    id: ask.id,
                    fields: Vec::new(),
                }),
            },
            Some((Entry::Vary(index), _)) if *index.key == *ask.key => {
                let id = self.varied_id(ask, &index.fields);
                let found = match ask.zone.store.load(&EntryKey::head(id)).await {
                    Some((Entry::Object(object), tier)) if object.is_of(&ask.key) => Some(Stored {
                        object,
                        tier,
                        id,
                        fields: index.fields.clone(),
                    }),
                    _ => self.by_language(ask, &index).await,
                };
                let id = found.as_ref().map_or(id, |stored| stored.id);
                Located {
                    id,
                    fields: index.fields.clone(),
                    found,
                }
            }
            _ => nothing(ask.id, Vec::new()),
        }
    }

    /// Where the variant that answers `ask` is kept.
    pub(super) fn varied_id(&self, ask: &Ask, fields: &[HeaderName]) -> u128 {
        self.secondary_id(ask, &ask.secondary(fields))
    }

    pub(super) fn secondary_id(&self, ask: &Ask, secondary: &str) -> u128 {
        self.store
            .hash(&[ask.key.as_bytes(), b"vary", secondary.as_bytes()])
    }

    /// As `secondary_key`, of what the origin was really sent.
    pub(super) fn sent_secondary(ask: &Ask, fields: &[HeaderName], sent: &HeaderMap) -> String {
        policy::secondary_key(fields, sent, &ask.zone.policy.vary).to_string()
    }
}

/// Notes a request that a stored object answers, where a disk waits for one more. `id` is where its head is kept,
/// `leading` that of the head that leads there.
pub(super) fn note_use(ask: &Ask, object: &Arc<Object>, id: u128, leading: Option<u128>) {
    if !object.awaits_uses.load(Ordering::Relaxed) {
        return;
    }
    let ids = [Some(id), leading.filter(|leading| *leading != id)];
    let ids: Vec<u128> = ids.into_iter().flatten().collect();
    ask.zone.store.asked_again(object, &ids);
}

/// Goes forward for what is left of an object is of no use.
fn body_gone(id: u128, fields: Vec<HeaderName>) -> Forwarding {
    Forwarding {
        why: Because::BodyGone.why(),
        because: Because::BodyGone,
        candidate: None,
        id,
        fields,
        soft_purged: false,
    }
}

/// A variant's place differs from the URL's.
fn forwarding_is_varied(id: &u128, ask: &Ask) -> bool {
    *id != ask.id
}
