use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, DATE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::origin::{self, OriginError, Upload};
use crate::policy::{self, Exchange, Freshness, NotStored, Storability, VaryRule};
use crate::semantics::date;
use crate::semantics::digest::{CONTENT_DIGEST, REPR_DIGEST, Verdict, Verifier};
use crate::store::{ANY_TAG, Admission, Body, CHUNK_BYTES, Draft, Newcomer, Object, Refusal};
use crate::telemetry::FillOutcome;

use super::ask::{Conditions, is_made_here, is_read};
use super::dictionary::{Noted, imply_vary, is_delta};
use super::flight::{Head, HeadBody, Landing, Pilot, VaryTrait};
use super::install::{Keeping, new_version};
use super::marks::Mark;
use super::opening::Opened;
use super::{Ask, Cache, FillError, Zone};

/// How long the last bytes of a body wait for the tiers to take it.
const KEEPING_PATIENCE: Duration = Duration::from_millis(20);

/// While an origin fails, stale objects are served and it is asked once in this time.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Whether a fill may install what it pulls.
#[derive(Clone, Copy)]
pub(super) enum Storing {
    Yes,
    No(NotStored),
}

/// What a fill asks the origin for.
pub(super) enum Errand {
    /// The object, for everybody who waits for it.
    Object,
    /// The object, for one client: answers for its key are each client's own.
    Alone,
    /// What the client asked for, in its own words: a HEAD, an unsafe method with its body, or past the store.
    HandOn(Method, Mutex<Upload>),
}

impl Errand {
    fn method(&self) -> &Method {
        match self {
            Self::Object | Self::Alone => &Method::GET,
            Self::HandOn(method, _) => method,
        }
    }

    /// Whether a failure tells something of the object, and an error may be answered by a stale one.
    fn is_for_the_object(&self) -> bool {
        is_read(self.method())
    }
}

/// One pull from the origin.
pub(super) struct Fill {
    pub(super) cache: Arc<Cache>,
    pub(super) ask: Arc<Ask>,
    pub(super) id: u128,
    pub(super) candidate: Option<Arc<Object>>,
    pub(super) soft_purged: bool,
    pub(super) varied: HeaderMap,
    /// Uptime at which it was begun.
    pub(super) started: Duration,
    /// When it must be done.
    pub(super) ends_at: Option<Instant>,
    pub(super) errand: Errand,
    pub(super) storing: Storing,
    /// The one block that is asked for, instead of the whole.
    pub(super) opening: Option<u32>,
}

/// How a fill ends; the pilot comes back when it has not landed.
pub(super) type Flown = Result<(FillOutcome, u64), (FillError, Pilot)>;

impl Fill {
    pub(super) async fn run(self, pilot: Pilot, mut landing: Landing) {
        let metrics = Arc::clone(&self.ask.zone.metrics);
        let started = self.started;
        let _in_flight = metrics.fill_in_flight();
        let (outcome, bytes) = match self.pull(pilot, &mut landing).await {
            Ok((outcome, bytes)) => (outcome, bytes),
            Err((error, pilot)) => {
                // A body that broke off midway is worth another try at once, unless a stale object is there.
                let at_the_head = pilot.received() == 0 || self.candidate.is_some();
                if error.is_origins_fault() && at_the_head && self.errand.is_for_the_object() {
                    let until = self.cache.clock.uptime() + BACK_OFF;
                    let mark = Mark::Failing(error.clone());
                    self.cache.marks.set(self.id, mark, until);
                }
                // Nobody may find a flight that is about to fail.
                landing.close();
                tracing::debug!(site = %self.ask.zone.name, %error, "fill failed");
                if let FillError::Origin(error) = &error
                    && !matches!(**error, OriginError::Upload(_))
                {
                    metrics.origin_error(error.kind());
                }
                let bytes = pilot.received();
                pilot.fail(&error);
                let outcome = match error {
                    FillError::Abandoned => FillOutcome::Abandoned,
                    _ => FillOutcome::Failed,
                };
                (outcome, bytes)
            }
        };
        let took = self.cache.clock.uptime().saturating_sub(started);
        metrics.fill(outcome, bytes, took);
    }

    async fn pull(&self, pilot: Pilot, landing: &mut Landing) -> Flown {
        let Ok(_under_way) = self.cache.under_way.try_acquire() else {
            return Err((FillError::Overloaded, pilot));
        };
        let pilot = match self.opening {
            Some(block) => match self.open(block, pilot, landing).await {
                Opened::Landed(flown) => return flown,
                Opened::Answered(pilot, response, times) => {
                    return self.answered(pilot, landing, response, times).await;
                }
                Opened::Whole(pilot) => pilot,
            },
            None => pilot,
        };
        match self.fetch(&pilot, None).await {
            Ok((response, times)) => self.answered(pilot, landing, response, times).await,
            Err(error) => Err((error, pilot)),
        }
    }

    /// Asks the origin; gives up when nobody waits for the answer.
    pub(super) async fn fetch(
        &self,
        pilot: &Pilot,
        range: Option<HeaderValue>,
    ) -> Result<(origin::Response, Times), FillError> {
        let conditions = self.conditions(range);
        let method = self.errand.method().clone();
        let mut request = self.ask.message(method, &self.varied, conditions);
        if let Errand::HandOn(_, upload) = &self.errand {
            request.body = std::mem::take(&mut *upload.lock());
        }
        let requested_at = self.cache.clock.now();
        let response = tokio::select! {
            fetched = self.ask.zone.origin.fetch(request) => fetched?,
            () = self.deadline() => {
                return Err(FillError::Deadline(self.ask.zone.policy.object_deadline));
            }
            // An unsafe request that was sent is seen through: what it has changed must be invalidated.
            () = pilot.abandoned(), if is_read(self.errand.method()) => {
                return Err(FillError::Abandoned);
            }
        };
        let times = Times {
            requested_at,
            received_at: self.cache.clock.now(),
        };
        Ok((response, times))
    }

    async fn answered(
        &self,
        pilot: Pilot,
        landing: &mut Landing,
        response: origin::Response,
        times: Times,
    ) -> Flown {
        if !is_read(self.errand.method()) {
            self.cache
                .invalidate_after(&self.ask, self.errand.method(), &response)
                .await;
            return self.stream(pilot, landing, response, &times).await;
        }
        if self.is_worse_than_stale(response.status, times.received_at) {
            return Err((FillError::Status(response.status), pilot));
        }
        if self.errand.method() == Method::HEAD {
            self.freshen_by_head(&response, &times, pilot.sequence())
                .await;
        }
        if self.hands_on() || self.errand.method() == Method::HEAD {
            return self.stream(pilot, landing, response, &times).await;
        }
        if response.status == StatusCode::NOT_MODIFIED {
            return match self.validated(&response, &pilot, &times).await {
                Some(head) => {
                    self.cache.marks.clear(self.id);
                    pilot.publish_head(head);
                    landing.close();
                    pilot.finish();
                    Ok((FillOutcome::NotModified, 0))
                }
                None => Err((FillError::Unasked(response.status), pilot)),
            };
        }
        if response.status == StatusCode::PARTIAL_CONTENT {
            return Err((FillError::Unasked(response.status), pilot));
        }
        self.stream(pilot, landing, response, &times).await
    }

    /// Whether the client's own conditions and range go to the origin: what is one client's own anyway is better
    /// not sent at all when that client has it.
    fn hands_on(&self) -> bool {
        match (&self.errand, &self.candidate) {
            (Errand::Object, _) | (Errand::Alone, Some(_)) => false,
            (Errand::HandOn(method, _), _) if !is_read(method) => true,
            (Errand::Alone, None) | (Errand::HandOn(..), _) => self.ask.is_transparent(),
        }
    }

    /// The conditions of the request; `range` is what the node itself wants a part of.
    fn conditions(&self, range: Option<HeaderValue>) -> Conditions {
        if self.hands_on() && range.is_none() {
            return Conditions::Theirs;
        }
        let mut ours = match (&self.errand, &self.candidate) {
            (Errand::Object | Errand::Alone, Some(object)) => {
                policy::conditional_fields(&object.headers()).into_vec()
            }
            _ => Vec::new(),
        };
        ours.extend(range.map(|range| (RANGE, range)));
        Conditions::Ours(ours)
    }

    pub(super) fn assess(
        &self,
        zone: &Zone,
        status: StatusCode,
        headers: &HeaderMap,
        times: &Times,
    ) -> Result<Freshness, NotStored> {
        if let Storing::No(reason) = self.storing {
            return Err(reason);
        }
        let exchange = Exchange {
            method: self.errand.method(),
            path: &self.ask.path,
            request: &self.ask.headers,
            status,
            response: headers,
            requested_at: times.requested_at,
            received_at: times.received_at,
        };
        let storable = if self.errand.method() == Method::POST {
            policy::assess_post(&zone.policy, &exchange, &self.ask.target())
        } else {
            policy::assess(&zone.policy, &exchange)
        };
        match storable {
            Storability::Store(freshness) => Ok(freshness),
            Storability::Refuse(reason) => Err(reason),
        }
    }

    pub(super) fn object(
        &self,
        zone: &Zone,
        status: StatusCode,
        headers: &HeaderMap,
        freshness: Freshness,
        sequence: u64,
    ) -> Draft {
        let policy::Tags { names, overflow } = policy::tags(headers, &zone.policy.tags);
        if overflow {
            zone.metrics.tag_overflow();
        }
        let names = names.iter().chain(&zone.tags);
        let any = overflow.then_some(ANY_TAG);
        Draft {
            key: self.ask.key.as_str().into(),
            site: (&*zone.name).into(),
            url: self.ask.url(&self.cache.store),
            path: self.ask.path.as_str().into(),
            version: new_version(),
            status,
            tags: names.map(|tag| self.cache.tag(tag)).chain(any).collect(),
            headers: compact(headers),
            freshness,
            body: Body::Chunked { length: 0 },
            body_seq: sequence,
            checked_seq: sequence,
            detail: "".into(),
            fetch_started: self.started,
        }
    }

    async fn stream(
        &self,
        pilot: Pilot,
        landing: &mut Landing,
        response: origin::Response,
        times: &Times,
    ) -> Flown {
        let origin::Response {
            status,
            mut headers,
            content_length,
            mut body,
            ..
        } = response;
        imply_vary(&mut headers, self.ask.passes_dictionary());
        let zone = self.ask.zone.for_response(status, &headers);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::format(times.received_at));
        }
        let handed_on = self.is_handed_on(status);
        let mut keep = self.assess(&zone, status, &headers, times);
        // An answer to one client's conditions or range is no answer for others (RFC 9110 §13, §14).
        if handed_on && is_read(self.errand.method()) {
            keep = Err(NotStored::Status);
        }
        if is_delta(&headers) && !self.ask.shows_dictionary() {
            keep = Err(NotStored::VaryBypass);
        }
        if keep.is_ok() {
            policy::stored_fields(&zone.policy, &mut headers);
        }
        // What no tier takes whole may still be kept in parts, as they are asked for.
        let has_parts = status == StatusCode::OK
            && self.can_have_parts(&headers, content_length)
            && !self.cache.blocks.gives_no_parts(&self.ask)
            && content_length.is_some_and(|length| length <= zone.policy.max_object_bytes);
        headers.remove(CONTENT_LENGTH);
        let vary = self.learnt_vary(&headers);
        let place = self.place(vary.as_ref());
        let fits = content_length.is_none_or(|length| length <= zone.policy.max_object_bytes);
        let version = new_version();
        let admission = match keep.is_ok() && fits {
            true => {
                self.count_use(place);
                zone.store.admit(&Newcomer {
                    id: place,
                    version,
                    bytes: content_length,
                    whole: true,
                })
            }
            false => Admission::Refused(Refusal::Size),
        };
        let is_kept =
            fits && content_length.is_none_or(|length| self.cache.keeps(length, admission));
        if keep.is_ok() && !is_kept && !has_parts {
            keep = Err(match admission {
                Admission::Granted | Admission::Refused(Refusal::Size | Refusal::NoDisk) => {
                    NotStored::TooLarge
                }
                Admission::Refused(_) => NotStored::NotAdmitted,
            });
        }
        // Both fields speak of these bytes: the answer is whole, and as the origin coded it.
        let mut digests = (keep.is_ok() && status == StatusCode::OK)
            .then(|| Verifier::of(&headers, &[CONTENT_DIGEST, REPR_DIGEST]))
            .flatten();
        let freshness = keep.unwrap_or_else(|_| Freshness::stale_at(times.received_at));
        let mut object = self.object(&zone, status, &headers, freshness, self.sequence(&pilot));
        object.version = version;
        object.body = Body::Chunked {
            length: content_length.unwrap_or(0),
        };
        let object = Arc::new(object.seal());
        if handed_on {
            landing.close();
        } else if let Err(NotStored::NotAdmitted) = &keep {
            // The next one may be: it finds neither this one nor a mark.
            landing.close();
        } else if let Err(reason) = &keep {
            self.remember_uncacheable(&zone, landing, *reason);
            self.give_up_the_stored(*reason).await;
        } else {
            self.cache.marks.clear(self.id);
            if let Some(vary) = &vary {
                landing.also_as(self.cache.secondary_id(&self.ask, &vary.secondary));
            }
        }
        let sparse = (keep.is_ok() && has_parts).then(|| Arc::clone(&object));
        if sparse.is_some() {
            pilot.leave_to_ranges();
        }
        let mut keeping = (keep.is_ok() && is_kept).then(|| {
            Keeping::new(
                Arc::clone(&self.cache),
                &zone,
                Arc::clone(&object),
                content_length,
                admission,
            )
            .compared_with(self.candidate.as_ref())
        });
        let head = Head {
            object: Arc::clone(&object),
            length: content_length,
            stored: keep.map(drop),
            body: match handed_on {
                true => HeadBody::HandedOn,
                false => HeadBody::Growing,
            },
            personal: self.ask.is_personal(),
            vary: vary.clone(),
        };
        if content_length == Some(0) {
            if !self.is_as_digested(digests) {
                keeping = None;
            }
            let outcome = self.keep(keeping, None, vary.as_ref()).await;
            landing.close();
            pilot.publish_head(head);
            pilot.finish();
            return Ok((outcome, 0));
        }
        pilot.publish_head(head);
        loop {
            let piece = match self.next_piece(&pilot, &mut body, content_length).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    if error.leaves_a_part() {
                        self.keep(None, sparse, vary.as_ref()).await;
                    }
                    return Err((error, pilot));
                }
            };
            if let Some(digests) = &mut digests {
                digests.update(&piece);
            }
            if let Some(kept) = &mut keeping {
                match kept.add(&piece).await {
                    Some(kept_to) => pilot.kept_to(kept_to),
                    None => keeping = None,
                }
            }
            let received = pilot.received() + piece.len() as u64;
            if content_length == Some(received) {
                let sparse = match self.is_as_digested(digests) {
                    true => sparse,
                    false => {
                        keeping = None;
                        None
                    }
                };
                // Kept before its last bytes go out: who has the whole of it and asks again finds a hit. Only a
                // disk that is slow does not hold the client up.
                let mut kept = pin!(self.keep(keeping, sparse, vary.as_ref()));
                let outcome = tokio::time::timeout(KEEPING_PATIENCE, kept.as_mut()).await;
                if outcome.is_ok() {
                    landing.close();
                }
                pilot.publish(piece).await;
                let outcome = match outcome {
                    Ok(outcome) => outcome,
                    Err(_) => kept.await,
                };
                landing.close();
                pilot.finish();
                return Ok((outcome, received));
            }
            pilot.publish(piece).await;
        }
        let received = pilot.received();
        if !self.is_as_digested(digests) {
            keeping = None;
        }
        let outcome = self.keep(keeping, None, vary.as_ref()).await;
        landing.close();
        pilot.finish();
        Ok((outcome, received))
    }

    /// Whether a body that is whole is what its digests say (RFC 9530). If not, it is not stored: the client that waits
    /// for it gets it all the same, with the fields by which it can tell; whether the body or the digest is wrong
    /// is not for this node to say, but a store would spread the damage.
    fn is_as_digested(&self, digests: Option<Verifier>) -> bool {
        if digests.map(Verifier::finish) != Some(Verdict::Different) {
            return true;
        }
        let zone = &self.ask.zone;
        tracing::warn!(site = %zone.name, path = %self.ask.path, "a body is not what its digest says");
        zone.metrics.digest_mismatch();
        self.mark_uncacheable(zone, NotStored::DigestMismatch);
        false
    }

    /// Puts what is whole where look-ups find it; else the head of `sparse`, whose missing blocks are then pulled as
    /// they are needed.
    async fn keep(
        &self,
        keeping: Option<Keeping>,
        sparse: Option<Arc<Object>>,
        vary: Option<&VaryTrait>,
    ) -> FillOutcome {
        let finished = match keeping {
            Some(keeping) => keeping.finish().await,
            None => None,
        };
        let outcome = match finished {
            Some(_) => FillOutcome::Stored,
            None => FillOutcome::NotStored,
        };
        if let Some(object) = finished.or(sparse) {
            let place = self.place(vary);
            let installed = Arc::clone(&object);
            self.cache.install(&self.ask, place, object, vary).await;
            if outcome == FillOutcome::Stored {
                self.cache
                    .note_version(&self.ask, &installed, Noted::Pulled);
                self.cache.want_offered(&self.ask, &installed);
            }
        }
        outcome
    }

    /// Counts the request for what is kept at `place`, and for the head that leads there.
    pub(super) fn count_use(&self, place: u128) {
        let store = &self.ask.zone.store;
        store.count_use(place);
        if place != self.ask.id {
            store.count_use(self.ask.id);
        }
    }

    /// Where the answer is kept.
    pub(super) fn place(&self, vary: Option<&VaryTrait>) -> u128 {
        vary.map_or(self.id, |vary| {
            self.cache.secondary_id(&self.ask, &vary.secondary)
        })
    }

    /// Whether the answer is the client's as it is: the origin has looked at its conditions and range.
    fn is_handed_on(&self, status: StatusCode) -> bool {
        match &self.errand {
            Errand::Object => false,
            Errand::HandOn(method, _) if !is_read(method) => true,
            Errand::Alone | Errand::HandOn(..) => {
                self.ask.is_transparent() && matches!(status.as_u16(), 206 | 304 | 412 | 416)
            }
        }
    }

    /// The next piece of the body; gives up when nobody reads and too much is missing.
    async fn next_piece(
        &self,
        pilot: &Pilot,
        body: &mut origin::Body,
        length: Option<u64>,
    ) -> Result<Option<Bytes>, FillError> {
        if pilot.is_abandoned() && !self.is_worth_finishing(pilot.received(), length) {
            return Err(FillError::Abandoned);
        }
        tokio::select! {
            biased;
            piece = body.chunk() => Ok(piece?),
            () = self.deadline() => Err(FillError::Deadline(self.ask.zone.policy.object_deadline)),
            () = pilot.abandoned(), if !self.is_worth_finishing(pilot.received(), length) => Err(FillError::Abandoned),
        }
    }

    /// Waits for the end of the time that the site gives a fetch of a whole object; for ever if that is unbounded.
    async fn deadline(&self) {
        match self.ends_at {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    fn is_worth_finishing(&self, received: u64, length: Option<u64>) -> bool {
        let most = self.cache.config.finish_if_remaining_bytes;
        match length {
            Some(length) => length.saturating_sub(received) <= most,
            None => received <= most,
        }
    }

    fn remember_uncacheable(&self, zone: &Zone, landing: &mut Landing, reason: NotStored) {
        self.mark_uncacheable(zone, reason);
        landing.close();
    }

    fn mark_uncacheable(&self, zone: &Zone, reason: NotStored) {
        let memory = zone.policy.uncacheable_memory;
        let is_telling = matches!(self.errand, Errand::Object | Errand::Alone)
            && matches!(self.storing, Storing::Yes);
        if is_telling && !memory.is_zero() {
            let until = self.cache.clock.uptime() + memory;
            self.cache
                .marks
                .set(self.id, Mark::Uncacheable(reason.as_str()), until);
        }
    }

    /// The purge sequence that the object's bytes belong to. What an unsafe method leaves is not hit by what
    /// it invalidated itself.
    fn sequence(&self, pilot: &Pilot) -> u64 {
        if is_read(self.errand.method()) {
            pilot.sequence()
        } else {
            self.cache.store.clocks().sequence()
        }
    }

    /// What the answer varies by, of what the origin could see. Fields that are never forwarded cannot have
    /// made a difference; our own Accept-Encoding is the same for everybody.
    pub(super) fn learnt_vary(&self, headers: &HeaderMap) -> Option<VaryTrait> {
        let VaryRule::Fields(mut fields) = VaryRule::of(headers, &self.ask.zone.policy.vary) else {
            return None;
        };
        let transparent = self.ask.is_transparent();
        if !transparent {
            fields.retain(|name| name != http::header::ACCEPT_ENCODING);
        }
        if fields.is_empty() {
            return None;
        }
        let secondary = match transparent {
            true => self.ask.secondary(&fields).to_string(),
            false => Cache::sent_secondary(&self.ask, &fields, &self.sent(&fields)),
        };
        Some(VaryTrait { fields, secondary })
    }

    /// The varying fields as the origin got them: those that were known to vary, and those always forwarded.
    fn sent(&self, fields: &[HeaderName]) -> HeaderMap {
        let mut sent = self.varied.clone();
        let forwarded = &self.ask.zone.origin.config().forward_headers;
        for name in fields.iter().filter(|name| forwarded.contains(name)) {
            sent.remove(name);
            for value in self.ask.headers.get_all(name) {
                sent.append(name, value.clone());
            }
        }
        if fields.iter().any(is_made_here) {
            self.ask.sign(&mut sent);
        }
        sent
    }
}

impl FillError {
    fn is_origins_fault(&self) -> bool {
        match self {
            // What was not sent because of us, or of the client, tells nothing of the origin.
            Self::Origin(error) => !matches!(
                **error,
                OriginError::QueueFull { .. }
                    | OriginError::QueueTimeout { .. }
                    | OriginError::Request
                    | OriginError::Upload(_)
            ),
            Self::Status(_) | Self::Deadline(_) => true,
            Self::Unasked(_)
            | Self::TooManyWaiters
            | Self::Overloaded
            | Self::MemoryShort
            | Self::Hole
            | Self::Changed
            | Self::FellBehind
            | Self::Abandoned
            | Self::Encoding(_)
            | Self::Decoding(_) => false,
        }
    }

    /// Whether what came before it is right, only not all.
    fn leaves_a_part(&self) -> bool {
        match self {
            Self::Abandoned | Self::Deadline(_) => true,
            Self::Origin(error) => error.is_cut(),
            _ => false,
        }
    }
}

/// A copy whose values share one buffer of their own. As they come, values are slices of the connection's
/// read buffer, and a stored object would keep all of that.
fn compact(headers: &HeaderMap) -> HeaderMap {
    let bytes: Vec<u8> = headers
        .values()
        .flat_map(|value| value.as_bytes())
        .copied()
        .collect();
    let bytes = Bytes::from(bytes);
    let mut at = 0;
    let mut own = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        let end = at + value.len();
        // The bytes were a value a moment ago.
        if let Ok(copy) = HeaderValue::from_maybe_shared(bytes.slice(at..end)) {
            own.append(name, copy);
        }
        at = end;
    }
    own
}

/// When a request went out and its answer's head was there.
pub(super) struct Times {
    pub(super) requested_at: SystemTime,
    pub(super) received_at: SystemTime,
}

/// Collects a chunk.
pub(super) fn chunk_buffer(length: Option<u64>) -> BytesMut {
    let wanted = length.map_or(CHUNK_BYTES, |length| {
        usize::try_from(length).unwrap_or(CHUNK_BYTES)
    });
    BytesMut::with_capacity(wanted.min(CHUNK_BYTES))
}
