use std::sync::Arc;

use http::{HeaderName, Method, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::origin::Upload;
use crate::policy::{self, NotStored};
use crate::semantics::status_fields::Forward;
use crate::store::Purged;

use super::ask::is_read;
use super::flight::{Boarding, Flight, Head, HeadBody, Landing, Seat};
use super::marks::Mark;
use super::pull::{Errand, Fill, Storing};
use super::{Ask, Because, Cache, FillError, Forwarding, Served, Story};

/// How often a request moves on to another flight (a `Vary` learnt in flight, a purge) before it goes alone.
const ROUNDS: usize = 3;

/// Why a stale object is served after the origin was asked (RFC 5861 §4).
const STALE_IF_ERROR: &str = "stale-if-error";

impl Cache {
    /// Pulls what `ask` wants, together with everybody else who wants it. The fill is a task of its own:
    /// it goes on when this request goes away and others follow it.
    ///
    /// # Errors
    /// When neither the origin nor a stale object gives an answer.
    pub async fn fill(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: Forwarding,
    ) -> Result<Served, FillError> {
        let served = self.filled(ask, &forwarding).await?;
        self.ready(ask, served).await
    }

    /// The same, without its first bytes.
    pub(super) async fn filled(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
    ) -> Result<Served, FillError> {
        if let Some(answer) = self.while_failing(ask, forwarding) {
            return answer;
        }
        // What is on its way already costs no more for one reader more.
        let filled = if !self.flights.has(forwarding.id) && self.pressure.refuses_miss() {
            Err(FillError::MemoryShort)
        } else if policy::forbids_storing(&ask.zone.policy, &ask.headers) {
            let storing = Storing::No(NotStored::NoStore);
            self.fill_alone(ask, forwarding, Errand::Alone, storing)
                .await
        } else if ask.zone.policy.collapse {
            self.fill_together(ask, forwarding).await
        } else {
            self.fill_alone(ask, forwarding, Errand::Object, Storing::Yes)
                .await
        };
        match filled {
            Ok(served) => Ok(served),
            Err(error) => match self.stale_on_error(ask, forwarding, &error) {
                Some(stale) => self.with_first_block(ask, stale).await.map_err(|_| error),
                None => Err(error),
            },
        }
    }

    /// Hands a request on past the store: nothing is looked up, shared or (but for what a POST leaves for later
    /// GETs) stored. What an unsafe method invalidates is invalidated before its answer begins.
    ///
    /// # Errors
    /// When the origin gives no answer.
    pub async fn hand_on(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        method: Method,
        upload: Upload,
        why: Forward,
    ) -> Result<Served, FillError> {
        if self.pressure.refuses_miss() {
            return Err(FillError::MemoryShort);
        }
        let forwarding = Forwarding {
            why,
            because: Because::HandedOn,
            candidate: None,
            id: ask.id,
            fields: Vec::new(),
            soft_purged: false,
        };
        let storing = if !is_read(&method) {
            Storing::Yes
        } else if ask.zone.policy.mode == policy::Mode::Off {
            Storing::No(NotStored::Off)
        } else {
            Storing::No(NotStored::Authorization)
        };
        let errand = Errand::HandOn(method, Mutex::new(upload));
        self.fill_alone(ask, &forwarding, errand, storing).await
    }

    /// Asks the origin for the head alone, and brings a stored object up to date with it (RFC 9111 §4.3.5).
    ///
    /// # Errors
    /// As [`Cache::fill`].
    pub async fn head(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: Forwarding,
    ) -> Result<Served, FillError> {
        if let Some(answer) = self.while_failing(ask, &forwarding) {
            return answer;
        }
        if self.pressure.refuses_miss() {
            let error = FillError::MemoryShort;
            return self.stale_on_error(ask, &forwarding, &error).ok_or(error);
        }
        let errand = Errand::HandOn(Method::HEAD, Mutex::default());
        match self
            .fill_alone(ask, &forwarding, errand, Storing::Yes)
            .await
        {
            Ok(served) => Ok(served),
            Err(error) => self.stale_on_error(ask, &forwarding, &error).ok_or(error),
        }
    }

    /// Validates a stale object behind an answer that was given from it. One at a time, detached, and not
    /// while the origin is failing on it.
    pub fn refresh(self: &Arc<Self>, ask: &Arc<Ask>, forwarding: &Forwarding) {
        let mark = self.marks.of(forwarding.id, self.clock.uptime());
        if matches!(mark, Some(Mark::Failing(_)))
            || self.flights.has(forwarding.id)
            || self.pressure.refuses_miss()
        {
            return;
        }
        let sequence = self.store.clocks().sequence();
        let boarding = self.flights.board(
            forwarding.id,
            self.config.max_waiters,
            sequence,
            |_| true,
            || None,
        );
        if let Boarding::Leads(seat, landing) = boarding {
            let opening = self.opening_behind(ask, forwarding);
            let errand = Errand::Object;
            self.take_off(ask, forwarding, landing, errand, Storing::Yes, opening);
            // The seat keeps the fill wanted until it has landed.
            self.fills.spawn(async move {
                let mut position = 0;
                while let super::flight::Piece::Bytes(bytes) =
                    std::future::poll_fn(|context| seat.poll_piece(position, context)).await
                {
                    position += bytes.len() as u64;
                }
            });
        }
    }

    /// While the origin has just failed on a key, it is not asked again: a stale object is served, or the
    /// error is shared.
    fn while_failing(
        &self,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
    ) -> Option<Result<Served, FillError>> {
        let Some(Mark::Failing(error)) = self.marks.of(forwarding.id, self.clock.uptime()) else {
            return None;
        };
        match self.stale(ask, forwarding, "origin-failing", None) {
            Some(stale) => Some(Ok(stale)),
            // There, one client's fields may be what the origin fails on: its error is not for others.
            None if ask.is_transparent() => None,
            None => Some(Err(error)),
        }
    }

    fn stale_on_error(
        &self,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        error: &FillError,
    ) -> Option<Served> {
        let status = match error {
            FillError::Status(status) => Some(*status),
            _ => None,
        };
        self.stale(ask, forwarding, STALE_IF_ERROR, status)
    }

    fn stale(
        &self,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        reason: &'static str,
        forward_status: Option<StatusCode>,
    ) -> Option<Served> {
        let candidate = forwarding.candidate.as_ref()?;
        let freshness = &candidate.object.freshness();
        if !policy::may_serve_on_error(freshness, forwarding.soft_purged, self.clock.now()) {
            return None;
        }
        // RFC 9211 §2.2: where the origin was asked, in vain, the request went forward all the same.
        let asked = reason == STALE_IF_ERROR;
        let story = Story {
            forward: asked.then_some(forwarding.why),
            forward_status,
            reason: Some(reason),
            ..Story::hit(candidate.tier)
        };
        Some(self.serve_stored(ask, candidate.clone(), story))
    }

    async fn fill_together(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
    ) -> Result<Served, FillError> {
        let uptime = self.clock.uptime();
        let mut id = forwarding.id;
        let mut fields = forwarding.fields.clone();
        for number in 0..ROUNDS {
            if matches!(self.marks.of(id, uptime), Some(Mark::Uncacheable(_))) {
                break;
            }
            let round = Forwarding {
                why: forwarding.why,
                because: forwarding.because,
                candidate: forwarding.candidate.clone(),
                id,
                fields: fields.clone(),
                soft_purged: forwarding.soft_purged,
            };
            let sequence = self.store.clocks().sequence();
            let joinable = |flight: &Flight| self.is_joinable(ask, flight);
            let (seat, leads) =
                match self
                    .flights
                    .board(id, self.config.max_waiters, sequence, joinable, || {
                        self.just_installed(ask)
                    }) {
                    Boarding::Landed(stored) => return Ok(self.serve(ask, stored)),
                    Boarding::Full => return Err(FillError::TooManyWaiters),
                    Boarding::Follows(seat) => {
                        if number == 0 {
                            ask.zone.store.count_use(id);
                        }
                        (seat, false)
                    }
                    Boarding::Leads(seat, landing) => {
                        let opening = self.opening(ask, &round);
                        let errand = Errand::Object;
                        self.take_off(ask, &round, landing, errand, Storing::Yes, opening);
                        (seat, true)
                    }
                };
            let head = seat.head().await?;
            match self.may_board(ask, &seat, &head, leads) {
                Share::Yes => return Ok(self.served(ask, &round, seat, &head, leads)),
                Share::Elsewhere(other, learnt) => {
                    id = other;
                    fields = learnt;
                }
                Share::Again => {}
                Share::No => break,
            }
        }
        let last = Forwarding {
            why: forwarding.why,
            because: forwarding.because,
            candidate: forwarding.candidate.clone(),
            id,
            fields,
            soft_purged: forwarding.soft_purged,
        };
        self.fill_alone(ask, &last, Errand::Alone, Storing::Yes)
            .await
    }

    async fn fill_alone(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        errand: Errand,
        storing: Storing,
    ) -> Result<Served, FillError> {
        let sequence = self.store.clocks().sequence();
        let (seat, landing) = self
            .flights
            .alone(sequence)
            .ok_or(FillError::TooManyWaiters)?;
        let opening = match (&errand, storing) {
            (Errand::Object | Errand::Alone, Storing::Yes) => self.opening(ask, forwarding),
            (Errand::HandOn(..), _) | (_, Storing::No(_)) => None,
        };
        self.take_off(ask, forwarding, landing, errand, storing, opening);
        let head = seat.head().await?;
        Ok(self.served(ask, forwarding, seat, &head, true))
    }

    fn served(
        &self,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        seat: Seat,
        head: &Head,
        leads: bool,
    ) -> Served {
        let status = match head.body {
            HeadBody::Growing | HeadBody::HandedOn => head.object.status,
            HeadBody::Stored => StatusCode::NOT_MODIFIED,
            HeadBody::Sparse => StatusCode::PARTIAL_CONTENT,
        };
        let story = Story {
            forward: Some(forwarding.why),
            tier: None,
            forward_status: Some(status),
            stored: head.stored.is_ok(),
            collapsed: !leads,
            because: forwarding.because.detail(),
            reason: head.stored.err().map(NotStored::as_str),
        };
        self.serve_flight(ask, forwarding, seat, head, story)
    }

    /// Whether a flight under way can still answer `ask`: no newer purge names what it pulls, and its head
    /// is either awaited or fresh.
    fn is_joinable(&self, ask: &Ask, flight: &Flight) -> bool {
        let head = match flight.head() {
            Some(Err(_)) => return false,
            Some(Ok(head)) => Some(head),
            None => None,
        };
        let tags = head
            .as_ref()
            .map(|head| head.object.tags())
            .unwrap_or_default();
        let usable = head.as_ref().is_none_or(|head| {
            head.stored.is_ok()
                && head.object.freshness().ttl(self.clock.now()) > 0
                && !head.object.freshness().always_validate
        });
        usable && flight.is_joinable() && !self.is_purged(ask, flight.sequence, &tags)
    }

    fn is_purged(&self, ask: &Ask, sequence: u64, tags: &[u128]) -> bool {
        let clocks = self.store.clocks();
        clocks.sequence() != sequence
            && clocks.check_marks(
                &ask.zone.clock,
                &ask.subject(&self.store, tags),
                sequence,
                sequence,
            ) != Purged::No
    }

    /// Whether the answer whose head has come is an answer to `ask` too (DESIGN §4, Flights).
    fn may_board(&self, ask: &Ask, seat: &Seat, head: &Head, leads: bool) -> Share {
        if let Some(vary) = &head.vary {
            let mine = ask.secondary(&vary.fields);
            if *mine != *vary.secondary {
                return Share::Elsewhere(self.secondary_id(ask, &mine), vary.fields.clone());
            }
        }
        if leads {
            return Share::Yes;
        }
        if head.stored.is_err() || head.object.freshness().always_validate {
            return Share::No;
        }
        let freshness = &head.object.freshness();
        let is_fresh = freshness.is_fresh(self.clock.now());
        // An answer that is stale at once is shared only with those who waited for it, and only if
        // nothing says that it may be one client's own.
        if !is_fresh && (freshness.must_revalidate || head.personal || ask.is_personal()) {
            return Share::No;
        }
        if self.is_purged(ask, seat.flight().sequence, &head.object.tags()) {
            return Share::Again;
        }
        Share::Yes
    }

    fn take_off(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        forwarding: &Forwarding,
        landing: Landing,
        errand: Errand,
        storing: Storing,
        opening: Option<u32>,
    ) {
        let varied = ask.varied(&forwarding.fields);
        let fill = Fill {
            cache: Arc::clone(self),
            ask: Arc::clone(ask),
            id: forwarding.id,
            candidate: forwarding
                .candidate
                .as_ref()
                .map(|stored| Arc::clone(&stored.object)),
            soft_purged: forwarding.soft_purged,
            varied,
            started: self.clock.uptime(),
            ends_at: Some(ask.zone.policy.object_deadline)
                .filter(|limit| !limit.is_zero())
                .and_then(|limit| Instant::now().checked_add(limit)),
            errand,
            storing,
            opening,
        };
        self.fills.spawn(async move {
            let pilot = landing.pilot();
            fill.run(pilot, landing).await;
        });
    }
}

/// Whether a waiter may have the answer of the flight that it waits for.
enum Share {
    Yes,
    /// It varies: the waiter's own variant is under this key.
    Elsewhere(u128, Vec<HeaderName>),
    /// A purge came in between.
    Again,
    /// It must not be shared.
    No,
}
