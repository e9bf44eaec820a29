use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::origin;
use crate::policy::{self, Exchange, Freshness, NotStored, Storability, VaryRule};
use crate::semantics::date;
use crate::store::{Body, CHUNK_BYTES, Dressed, Object};
use crate::telemetry::FillOutcome;

use super::flight::{Head, HeadBody, Landing, Pilot, VaryTrait};
use super::install::Keeping;
use super::marks::Mark;
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

/// One pull from the origin.
pub(super) struct Fill {
    pub(super) cache: Arc<Cache>,
    pub(super) ask: Arc<Ask>,
    pub(super) id: u128,
    pub(super) candidate: Option<Arc<Object>>,
    pub(super) soft_purged: bool,
    pub(super) varied: HeaderMap,
    pub(super) storing: Storing,
}

impl Fill {
    pub(super) async fn run(self, pilot: Pilot, mut landing: Landing) {
        let metrics = Arc::clone(&self.ask.zone.metrics);
        let started = self.cache.clock.uptime();
        let _in_flight = metrics.fill_in_flight();
        let (outcome, bytes) = match self.pull(pilot, &mut landing).await {
            Ok((outcome, bytes)) => (outcome, bytes),
            Err((error, pilot)) => {
                if error.is_origins_fault() {
                    self.cache.marks.set(
                        self.id,
                        Mark::Failing,
                        self.cache.clock.uptime() + BACK_OFF,
                    );
                }
                // Nobody may find a flight that is about to fail.
                landing.close();
                tracing::debug!(site = %self.ask.zone.name, %error, "fill failed");
                if let FillError::Origin(error) = &error {
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

    async fn pull(
        &self,
        pilot: Pilot,
        landing: &mut Landing,
    ) -> Result<(FillOutcome, u64), (FillError, Pilot)> {
        let Ok(_under_way) = self.cache.under_way.try_acquire() else {
            return Err((FillError::Overloaded, pilot));
        };
        let validators = match &self.candidate {
            Some(object) => policy::conditional_fields(&object.headers).into_vec(),
            None => Vec::new(),
        };
        let request = self.ask.origin_request(&self.varied, validators);
        let requested_at = self.cache.clock.now();
        let fetched = tokio::select! {
            fetched = self.ask.zone.origin.fetch(request) => fetched,
            () = pilot.abandoned() => return Err((FillError::Abandoned, pilot)),
        };
        let response = match fetched {
            Ok(response) => response,
            Err(error) => return Err((error.into(), pilot)),
        };
        let times = Times {
            requested_at,
            received_at: self.cache.clock.now(),
        };
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
        if self.is_worse_than_stale(response.status, times.received_at) {
            return Err((FillError::Status(response.status), pilot));
        }
        self.stream(pilot, landing, response, &times).await
    }

    /// RFC 5861 §4: a stored answer that may still be served on an error is not given up for one.
    fn is_worse_than_stale(&self, status: StatusCode, now: SystemTime) -> bool {
        matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && self.candidate.as_ref().is_some_and(|object| {
                policy::may_serve_on_error(&object.freshness, self.soft_purged, now)
            })
    }

    /// RFC 9111 §4.3.4: the stored response with the fields of a 304.
    async fn validated(
        &self,
        response: &origin::Response,
        pilot: &Pilot,
        times: &Times,
    ) -> Option<Head> {
        let stored = self.candidate.as_ref()?;
        let mut headers = stored.headers.clone();
        policy::update_stored(&mut headers, &response.headers);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::format(times.received_at));
        }
        let zone = self.ask.zone.for_response(stored.status, &headers);
        let freshness = match self.assess(&zone, stored.status, &headers, times) {
            Ok(freshness) => freshness,
            Err(reason) => {
                let object = self.object(
                    &zone,
                    stored.status,
                    &headers,
                    Freshness::stale_at(times.received_at),
                    pilot.sequence(),
                );
                return Some(self.validated_head(object, stored, Err(reason)));
            }
        };
        let object = self.object(&zone, stored.status, &headers, freshness, pilot.sequence());
        let head = self.validated_head(object, stored, Ok(()));
        self.cache
            .install(&self.ask, self.id, Arc::clone(&head.object), None)
            .await;
        Some(head)
    }

    fn validated_head(
        &self,
        mut object: Object,
        stored: &Object,
        keep: Result<(), NotStored>,
    ) -> Head {
        object.version = stored.version;
        object.body = stored.body.clone();
        object.body_seq = stored.body_seq;
        Head {
            length: Some(object.body.length()),
            object: Arc::new(object),
            stored: keep,
            body: HeadBody::Stored,
            vary: None,
        }
    }

    fn assess(
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
            method: &Method::GET,
            path: &self.ask.path,
            request: &self.ask.headers,
            status,
            response: headers,
            requested_at: times.requested_at,
            received_at: times.received_at,
        };
        match policy::assess(&zone.policy, &exchange) {
            Storability::Store(freshness) => Ok(freshness),
            Storability::Refuse(reason) => Err(reason),
        }
    }

    fn object(
        &self,
        zone: &Zone,
        status: StatusCode,
        headers: &HeaderMap,
        freshness: Freshness,
        sequence: u64,
    ) -> Object {
        let mut tags = policy::tags(headers, &zone.policy.tags);
        tags.extend_from_slice(&zone.tags);
        Object {
            key: self.ask.key.as_str().into(),
            site: (&*zone.name).into(),
            url: self.ask.url(&self.cache.store),
            path: self.ask.path.as_str().into(),
            version: super::install::new_version(),
            status,
            tags: tags.iter().map(|tag| self.cache.tag(tag)).collect(),
            headers: compact(headers),
            freshness,
            body: Body::Chunked { length: 0 },
            body_seq: sequence,
            checked_seq: sequence,
            detail: "".into(),
            cleared_epoch: AtomicU64::new(0),
            dressed: Dressed::default(),
        }
    }

    async fn stream(
        &self,
        pilot: Pilot,
        landing: &mut Landing,
        response: origin::Response,
        times: &Times,
    ) -> Result<(FillOutcome, u64), (FillError, Pilot)> {
        let origin::Response {
            status,
            mut headers,
            content_length,
            mut body,
            ..
        } = response;
        let zone = self.ask.zone.for_response(status, &headers);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::format(times.received_at));
        }
        let mut keep = self.assess(&zone, status, &headers, times);
        if keep.is_ok() {
            policy::stored_fields(&zone.policy, &mut headers);
        }
        let too_large = content_length.is_some_and(|length| {
            length > zone.policy.max_object_bytes || !self.cache.keeps(length)
        });
        if keep.is_ok() && too_large {
            keep = Err(NotStored::TooLarge);
        }
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_RANGE);
        let freshness = keep.unwrap_or_else(|_| Freshness::stale_at(times.received_at));
        let mut object = self.object(&zone, status, &headers, freshness, pilot.sequence());
        object.body = Body::Chunked {
            length: content_length.unwrap_or(0),
        };
        let vary = self.learnt_vary(&object.headers);
        let object = Arc::new(object);
        if let Err(reason) = &keep {
            self.remember_uncacheable(&zone, landing, *reason);
        } else {
            self.cache.marks.clear(self.id);
            if let Some(vary) = &vary {
                landing.also_as(self.cache.secondary_id(&self.ask, &vary.secondary));
            }
        }
        let mut keeping = keep.is_ok().then(|| {
            Keeping::new(
                Arc::clone(&self.cache),
                &zone,
                Arc::clone(&object),
                content_length,
            )
        });
        let head = Head {
            object: Arc::clone(&object),
            length: content_length,
            stored: keep.map(drop),
            body: HeadBody::Growing,
            vary: vary.clone(),
        };
        if content_length == Some(0) {
            let outcome = self.keep(keeping, vary.as_ref()).await;
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
                Err(error) => return Err((error, pilot)),
            };
            if let Some(kept) = &mut keeping {
                match kept.add(&piece).await {
                    Some(kept_to) => pilot.kept_to(kept_to),
                    None => keeping = None,
                }
            }
            let received = pilot.received() + piece.len() as u64;
            if content_length == Some(received) {
                // Kept before its last bytes go out: who has the whole of it and asks again finds a hit. Only a
                // disk that is slow does not hold the client up.
                let mut kept = pin!(self.keep(keeping, vary.as_ref()));
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
        let outcome = self.keep(keeping, vary.as_ref()).await;
        landing.close();
        pilot.finish();
        Ok((outcome, received))
    }

    /// Puts what is whole where look-ups find it.
    async fn keep(&self, keeping: Option<Keeping>, vary: Option<&VaryTrait>) -> FillOutcome {
        let finished = match keeping {
            Some(keeping) => keeping.finish().await,
            None => None,
        };
        let Some(finished) = finished else {
            return FillOutcome::NotStored;
        };
        let place = vary.map_or(self.id, |vary| {
            self.cache.secondary_id(&self.ask, &vary.secondary)
        });
        self.cache.install(&self.ask, place, finished, vary).await;
        FillOutcome::Stored
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
            () = pilot.abandoned(), if !self.is_worth_finishing(pilot.received(), length) => Err(FillError::Abandoned),
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
        let memory = zone.policy.uncacheable_memory;
        if matches!(self.storing, Storing::Yes) && !memory.is_zero() {
            let until = self.cache.clock.uptime() + memory;
            self.cache
                .marks
                .set(self.id, Mark::Uncacheable(reason.as_str()), until);
        }
        landing.close();
    }

    /// What the answer varies by, of what the origin could see. Fields that are never forwarded cannot have
    /// made a difference; our own Accept-Encoding is the same for everybody.
    fn learnt_vary(&self, headers: &HeaderMap) -> Option<VaryTrait> {
        let VaryRule::Fields(mut fields) = VaryRule::of(headers, &self.ask.zone.policy.vary) else {
            return None;
        };
        fields.retain(|name| name != http::header::ACCEPT_ENCODING);
        if fields.is_empty() {
            return None;
        }
        let secondary = Cache::sent_secondary(&self.ask, &fields, &self.sent(&fields));
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
        sent
    }
}

impl FillError {
    fn is_origins_fault(&self) -> bool {
        matches!(self, Self::Origin(_) | Self::Status(_))
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

struct Times {
    requested_at: SystemTime,
    received_at: SystemTime,
}

/// Collects a chunk.
pub(super) fn chunk_buffer(length: Option<u64>) -> BytesMut {
    let wanted = length.map_or(CHUNK_BYTES, |length| {
        usize::try_from(length).unwrap_or(CHUNK_BYTES)
    });
    BytesMut::with_capacity(wanted.min(CHUNK_BYTES))
}
