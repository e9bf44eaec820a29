use std::sync::Arc;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, DATE, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method, StatusCode};

use crate::origin::RangeRequests;
use crate::policy::{self, Precondition, Slice};
use crate::semantics::range::{self, Ranges};
use crate::semantics::status_fields::Forward;
use crate::store::{Body, Object};

use super::blocks::{BLOCK, BlockSource, Wanted, block_at};
use super::flight::{Head, HeadBody, Seat};
use super::lookup::note_use;
use super::marks::Mark;
use super::{Ask, Cache, FillError, Forwarding, Lookup, Served, Stored, Story, Zone};

/// How often an answer is begun whose object turns out to have changed before its first bytes went out.
const TRIES: u32 = 4;

/// Whether the origin has said that it gives parts of it, or has given one.
pub(super) fn has_parts(object: &Object) -> bool {
    names_bytes(&object.headers())
}

fn names_bytes(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_RANGES).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|unit| unit.trim_ascii().eq_ignore_ascii_case(b"bytes"))
    })
}

/// Whether an answer with these fields can be put together of blocks: the origin gives parts, and a validator tells
/// those of one version from those of another.
pub(super) fn can_have_parts(zone: &Zone, headers: &HeaderMap, length: Option<u64>) -> bool {
    length.is_some_and(|length| length > BLOCK && block_at(length).is_some())
        && zone.origin.config().range_requests != RangeRequests::Never
        && names_bytes(headers)
        // Blocks are asked for as they are: of a coded body they would be parts of something else.
        && !headers.contains_key(CONTENT_ENCODING)
        && policy::strong_validator(headers).is_some()
}

impl Cache {
    /// A stored object as an answer to `ask`, fresh or stale.
    #[must_use]
    pub fn serve(&self, ask: &Arc<Ask>, stored: Stored) -> Served {
        note_use(ask, &stored.object, stored.id, Some(ask.id));
        self.unnoted(ask, stored)
    }

    fn unnoted(&self, ask: &Arc<Ask>, stored: Stored) -> Served {
        let story = Story::hit(stored.tier);
        let mut served = self.serve_stored(ask, stored, story);
        if let Some(number) = served.missing {
            served.story = Story {
                forward: Some(Forward::Partial),
                tier: None,
                forward_status: Some(StatusCode::PARTIAL_CONTENT),
                stored: true,
                collapsed: self.blocks.is_coming(served.object.version, number),
                because: None,
                reason: None,
            };
        }
        served
    }

    /// As [`Cache::serve`], told as `story`.
    pub(super) fn serve_stored(&self, ask: &Arc<Ask>, stored: Stored, story: Story) -> Served {
        let object = &stored.object;
        let length = object.body.length();
        // Only a body of several blocks can have a hole that is worth mending.
        let source = if length > BLOCK && matches!(object.body, Body::Chunked { .. }) {
            let varied = ask.varied(&stored.fields);
            let placement = self.block_placement(&ask.zone, length);
            BlockSource::of(ask, stored.id, object, Some(length), varied, placement)
        } else {
            None
        };
        let mut served = Served::stored(stored, story, source);
        served.missing = self.first_missing(ask, &served);
        served
    }

    /// The answer of a flight whose head has come.
    pub(super) fn serve_flight(
        &self,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        seat: Seat,
        head: &Head,
        story: Story,
    ) -> Served {
        let varied = ask.varied(&forwarding.fields);
        let placement = self.block_placement(&ask.zone, head.length.unwrap_or(u64::MAX));
        // What is not to be stored is not put away by blocks either.
        let id = match &head.vary {
            Some(vary) => self.secondary_id(ask, &vary.secondary),
            None => forwarding.id,
        };
        let source = (head.stored.is_ok() && !self.blocks.gives_no_parts(ask))
            .then(|| BlockSource::of(ask, id, &head.object, head.length, varied, placement))
            .flatten();
        let mut served = Served::in_flight(seat, head, story, source);
        if head.body != HeadBody::Growing {
            served.head = Some(id);
            served.missing = self.first_missing(ask, &served);
        }
        served
    }

    /// The block that the answer to `ask` begins with, if it has to be pulled and can be.
    fn first_missing(&self, ask: &Ask, served: &Served) -> Option<u32> {
        served.source.as_ref()?;
        let object = &served.object;
        let number = block_at(first_needed(ask, object)?)?;
        (!self
            .blocks
            .may_have(&ask.zone.store, object.version, number))
        .then_some(number)
    }

    /// Whether blocks of a stored object that are gone can be pulled again, so that it is of use without them.
    pub(super) fn can_mend(&self, ask: &Ask, object: &Object) -> bool {
        let length = match object.body {
            Body::Chunked { length } => length,
            Body::Inline(_) => return false,
        };
        object.status == StatusCode::OK
            && can_have_parts(&ask.zone, &object.headers(), Some(length))
            && !self.blocks.gives_no_parts(ask)
    }

    /// The answer to `ask`, if memory has it fresh and its first bytes with it.
    #[must_use]
    pub fn at_once(&self, ask: &Arc<Ask>) -> Option<Served> {
        self.head_at_once(ask)
            .filter(|served| self.begins_at_once(ask, served))
    }

    /// The answer to `ask`, if memory has it fresh. It may be of no use by itself: see [`Cache::begins_at_once`].
    #[must_use]
    pub fn head_at_once(&self, ask: &Arc<Ask>) -> Option<Served> {
        let stored = self.fresh_in_memory(ask)?;
        Some(self.unnoted(ask, stored))
    }

    /// Whether memory has the first bytes of what it had at once. Then that is in use.
    #[must_use]
    pub fn begins_at_once(&self, ask: &Ask, served: &Served) -> bool {
        let begins = self.body_is_at_hand(ask, &served.object) && served.is_at_hand();
        if begins {
            self.note_at_once(ask, served);
        }
        begins
    }

    /// Notes that what memory had at once is in use: itself, or as what something else is made of.
    pub fn note_at_once(&self, ask: &Ask, served: &Served) {
        if let Some(id) = served.head {
            note_use(ask, &served.object, id, Some(ask.id));
        }
    }

    /// Makes sure of the first bytes before the head goes out: what turns out to have changed or to be gone is then
    /// pulled anew, instead of being cut off.
    ///
    /// # Errors
    /// As [`Cache::fill`].
    pub async fn ready(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        served: Served,
    ) -> Result<Served, FillError> {
        let mut served = served;
        let mut tries = TRIES;
        loop {
            let (head, version) = (served.head, served.object.version);
            let error = match self.with_first_block(ask, served).await {
                Ok(served) => return Ok(served),
                Err(error) => error,
            };
            tries -= 1;
            if tries == 0 || !matches!(error, FillError::Changed | FillError::Hole) {
                return Err(error);
            }
            if let Some(id) = head {
                self.blocks.forget(&ask.zone.store, id, version);
            }
            served = match self.lookup(ask).await {
                Lookup::Forward(forwarding) => self.filled(ask, &forwarding).await?,
                // Somebody else has pulled the new version meanwhile.
                Lookup::Hit(stored) | Lookup::HitAndRefresh(stored, _) => self.serve(ask, stored),
            };
        }
    }

    /// Waits for the block that the answer begins with, if it is missing.
    pub(super) async fn with_first_block(
        &self,
        ask: &Ask,
        mut served: Served,
    ) -> Result<Served, FillError> {
        let Some(number) = served.missing.take() else {
            return Ok(served);
        };
        let wanted = Wanted {
            version: served.object.version,
            number,
            length: None,
            last: number,
            span: 1,
            placement: self.placement(served.length.unwrap_or(u64::MAX)),
            store: Arc::clone(&ask.zone.store),
            source: served.source.clone(),
        };
        let block = self.blocks.block(&wanted).await?;
        served.first = Some((number, block));
        Ok(served)
    }

    /// The block to begin with when a range of an object is asked for of which nothing is stored: it brings the
    /// length and the validator by which all others can be pulled. `None` asks for the whole.
    pub(super) fn opening(&self, ask: &Ask, forwarding: &Forwarding) -> Option<u32> {
        let position = range::first_position(ask.headers.get(RANGE))?;
        let mark = self.marks.of(forwarding.id, self.clock.uptime());
        if matches!(mark, Some(Mark::Uncacheable(_))) {
            return None;
        }
        let is_worthwhile = match &forwarding.candidate {
            Some(stored) => self.can_mend(ask, &stored.object),
            None => !self.blocks.gives_no_parts(ask),
        };
        (self.may_slice(ask) && is_worthwhile)
            .then(|| block_at(position))
            .flatten()
    }

    /// As [`Cache::opening`], for a validation that nobody waits for: a large object that has changed is not pulled
    /// whole for it.
    pub(super) fn opening_behind(&self, ask: &Ask, forwarding: &Forwarding) -> Option<u32> {
        let stored = forwarding.candidate.as_ref()?;
        if !self.may_slice(ask) || !self.can_mend(ask, &stored.object) {
            return None;
        }
        let position = range::first_position(ask.headers.get(RANGE)).unwrap_or(0);
        block_at(position)
    }

    fn may_slice(&self, ask: &Ask) -> bool {
        ask.zone.policy.slice == Slice::Auto
            && ask.zone.origin.config().range_requests == RangeRequests::Auto
    }
}

/// Where the body of the answer begins, in the object; `None` when it has no body.
fn first_needed(ask: &Ask, object: &Object) -> Option<u64> {
    let headers = object.headers();
    let [etag, modified, date] = [ETAG, LAST_MODIFIED, DATE].map(|name| headers.get(name));
    let conditional = policy::evaluate(&Method::GET, &ask.headers, etag, modified.or(date));
    if conditional != Precondition::Proceed {
        return None;
    }
    if !policy::range_applies(&ask.headers, etag, modified, date) {
        return Some(0);
    }
    match range::resolve(ask.headers.get(RANGE), object.body.length()) {
        Ranges::Whole => Some(0),
        Ranges::Parts(parts) => parts.first().map(|part| part.start),
        Ranges::Unsatisfiable => None,
    }
}
