use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, REFERER, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Version};

use crate::cache::{
    Ask, Cache, FillError, Lookup, PurgeOrder, PurgeRecord, Served, Stored, Story, Zone, passes_on,
};
use crate::clock::SharedClock;
use crate::origin::ClientHeaders;
use crate::policy::{self, Authorization, KeyParts, Mode};
use crate::rules::{Question, Selection};
use crate::semantics::dictionary::{
    AVAILABLE_DICTIONARY, DICTIONARY_ID, allowed_origin, available, field, name,
};
use crate::semantics::host::Host;
use crate::semantics::interim::Interim;
use crate::semantics::status_fields::Forward;
use crate::site::Site;
use crate::store::{StoreError, Tier};
use crate::telemetry::{
    AccessLog, AnswerTier, CacheResult, Counted, Gauge, Metrics, Record, SiteMetrics,
};
use crate::variant::{self, Asked, DictionaryMode, Hints, PathParameters};

use super::body::Tally;
use super::deliver::Delivery;
use super::form::{AtHand, Formed};
use super::place::SignedTarget;
use super::ruling::{Ruling, Settings, Verdict};
use super::upload::RequestBody;
use super::{Body, Refusal, Routes, SiteState, cors, form, purge, redirect, request};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The address.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// How long its request's body may take.
    pub body_timeout: Duration,
}

/// The way of a request, shared by all connections.
pub struct Pipeline {
    routes: ArcSwap<Routes>,
    cache: Arc<Cache>,
    clock: SharedClock,
    /// Requests that no site answers for.
    no_site: Arc<SiteMetrics>,
    metrics: Arc<Metrics>,
    log: Option<Arc<AccessLog>>,
    requests: AtomicU64,
    in_flight: Gauge,
    /// The site's name in the log where there is none.
    nobody: Arc<str>,
}

/// An answer and what the log and the metrics say of it.
pub(super) struct Told {
    pub(super) response: Response<Body>,
    pub(super) result: CacheResult,
    pub(super) tier: AnswerTier,
    pub(super) detail: &'static str,
    /// Whether what went forward is in the tiers now.
    pub(super) stored: bool,
}

/// Where a request stands once its head has been looked at.
enum Step {
    /// It is answered.
    Told(Told),
    /// The cache must be asked.
    Asked(Errand),
}

/// What the cache is asked for, and how the answer is to be made.
struct Errand {
    state: Arc<SiteState>,
    selection: Selection,
    /// As far as the request alone decides.
    settings: Arc<Settings>,
    ask: Arc<Ask>,
    asked: Asked,
    method: Method,
}

impl Errand {
    /// What holds now that the response is there: rules may be about it.
    fn terms(&self, source: &Served) -> Terms {
        let object = &source.object;
        let decided = self
            .state
            .decided(self.selection, object.status, &object.headers());
        match decided {
            Some(settings) => Terms {
                ask: Arc::new(Ask {
                    zone: Arc::clone(&settings.zone),
                    ..Ask::clone(&self.ask)
                }),
                settings,
            },
            None => Terms {
                ask: Arc::clone(&self.ask),
                settings: Arc::clone(&self.settings),
            },
        }
    }
}

/// What an answer is made under.
struct Terms {
    ask: Arc<Ask>,
    settings: Arc<Settings>,
}

/// A request from its head to its answer.
struct Visit {
    started: Duration,
    routes: Arc<Routes>,
    record: Option<(Arc<AccessLog>, Box<Record>)>,
    in_flight: Counted,
    site: Option<Arc<SiteState>>,
}

/// How far a request came without waiting.
enum Begun {
    Answered(Response<Body>),
    Waiting(Box<Waiting>),
    Purging(Box<(Visit, Client, Parts)>),
}

/// A request whose answer must be waited for.
struct Waiting {
    visit: Visit,
    errand: Errand,
    body: RequestBody,
    /// The object, if that is there and its form is not.
    source: Option<Served>,
}

/// What memory alone has for an errand.
enum AtOnce {
    Told(Result<Told, Refusal>),
    /// Not all: perhaps the object, without the form that is asked for.
    Not(Option<Served>),
}

impl Pipeline {
    /// A pipeline over `cache` with the sites of `routes`.
    #[must_use]
    pub fn new(
        routes: Routes,
        cache: Arc<Cache>,
        metrics: &Arc<Metrics>,
        log: Option<Arc<AccessLog>>,
    ) -> Self {
        Self {
            clock: Arc::clone(cache.clock()),
            routes: ArcSwap::from_pointee(routes),
            cache,
            no_site: metrics.site("-"),
            metrics: Arc::clone(metrics),
            log,
            requests: AtomicU64::new(0),
            in_flight: Gauge::new(),
            nobody: Arc::from("-"),
        }
    }

    /// What requests read now.
    #[must_use]
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// From the next request on, these routes count.
    pub fn swap(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
    }

    /// The cache behind it.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Purges, and counts it: durable and in force when this returns.
    ///
    /// # Errors
    /// As [`Cache::purge`].
    pub async fn purge(&self, order: PurgeOrder) -> Result<PurgeRecord, StoreError> {
        let mode = order.mode;
        let record = self.cache.purge(order).await;
        let record = record.inspect_err(|_| self.metrics.purge_failed())?;
        for (target, count) in record.counts.by_target() {
            self.metrics.purged(target, mode, count as u64);
        }
        Ok(record)
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Requests of clients that are being answered.
    pub(super) fn requests_in_flight(&self) -> usize {
        usize::try_from(self.in_flight.value()).unwrap_or(0)
    }

    /// Answers one request; every request gets an answer. The request's body is read only if it is passed on, and
    /// what an origin says meanwhile goes to `interim` only where the site is transparent.
    ///
    /// What memory has is answered before this returns, without a future: an answer's future is moved about more
    /// than once, and its room grows with all that might have to be waited for.
    pub fn answer<B>(
        &self,
        client: Client,
        request: http::Request<B>,
        interim: Option<Interim>,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
            + Send
            + Sync
            + 'static,
    {
        let begun = self.begin(client, request, interim);
        async move {
            match begun {
                Begun::Answered(response) => response,
                Begun::Waiting(waiting) => Box::pin(self.wait(waiting)).await,
                Begun::Purging(purging) => Box::pin(self.purged(purging)).await,
            }
        }
    }

    fn begin<B>(&self, client: Client, request: http::Request<B>, interim: Option<Interim>) -> Begun
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
            + Send
            + Sync
            + 'static,
    {
        let started = self.clock.uptime();
        let routes = self.routes.load_full();
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body, client.body_timeout);
        let record = self
            .log
            .as_ref()
            .map(|log| (Arc::clone(log), self.record(client, &parts)));
        let in_flight = self.in_flight.count();
        let busy = self.requests_in_flight() > routes.limits.in_flight;
        let admitted = match busy {
            true => Err(Refusal::Busy),
            false => self.admit(&routes, &client, &parts),
        };
        let mut visit = Visit {
            started,
            routes,
            record,
            in_flight,
            site: None,
        };
        if !busy && parts.method.as_str() == purge::METHOD {
            return Begun::Purging(Box::new((visit, client, parts)));
        }
        let told = match admitted {
            Ok(admitted) => {
                visit.site = Some(Arc::clone(&admitted.site));
                match self.step(client, admitted, parts, interim) {
                    Ok(Step::Told(told)) => Ok(told),
                    Ok(Step::Asked(errand)) => match self.at_once(&visit.routes, &errand) {
                        AtOnce::Told(told) => told,
                        AtOnce::Not(source) => {
                            return Begun::Waiting(Box::new(Waiting {
                                visit,
                                errand,
                                body,
                                source,
                            }));
                        }
                    },
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        Begun::Answered(self.finish(visit, told))
    }

    async fn purged(&self, purging: Box<(Visit, Client, Parts)>) -> Response<Body> {
        let (mut visit, client, parts) = *purging;
        let routes = Arc::clone(&visit.routes);
        let (site, told) = self.purge_by_method(&routes, client, &parts).await;
        visit.site = site;
        self.finish(visit, told)
    }

    async fn wait(&self, waiting: Box<Waiting>) -> Response<Body> {
        let Waiting {
            visit,
            errand,
            body,
            source,
        } = *waiting;
        let told = self.run(&visit.routes, &errand, body, source).await;
        self.finish(visit, told)
    }

    fn finish(&self, visit: Visit, told: Result<Told, Refusal>) -> Response<Body> {
        let site = visit.site.as_deref();
        let told = told.unwrap_or_else(|refusal| self.refused(&visit.routes, site, &refusal));
        self.counted(told, site, visit.started, visit.in_flight, visit.record)
    }

    /// Everything that is decided before the cache is asked.
    pub(super) fn admit(
        &self,
        routes: &Routes,
        client: &Client,
        parts: &Parts,
    ) -> Result<Admitted, Refusal> {
        let checked = request::check(&routes.limits, parts, client.secure)?;
        let site = match &checked.host {
            Some(host) => routes.table.find(&host.name).ok_or(Refusal::UnknownHost)?,
            None => routes.table.default_value().ok_or(Refusal::NoHost)?,
        };
        if !site.site.methods.contains(&parts.method) {
            request::known_method(&parts.method)?;
            return Err(Refusal::Method(site.site.methods.clone()));
        }
        if has_looped(&parts.headers, &routes.node) {
            return Err(Refusal::Loop);
        }
        let place = site.place(checked.host.map(host_text), checked.path, checked.query)?;
        let ruling = site.rule(&Question {
            method: &parts.method,
            path: &place.path,
            query: place.query.as_deref(),
            headers: &parts.headers,
            peer: client.address,
        })?;
        Ok(place.admitted(site, ruling))
    }

    pub(super) async fn respond(
        &self,
        routes: &Routes,
        client: Client,
        admitted: Admitted,
        parts: Parts,
        body: RequestBody,
        interim: Option<Interim>,
    ) -> Result<Told, Refusal> {
        match self.step(client, admitted, parts, interim)? {
            Step::Told(told) => Ok(told),
            Step::Asked(errand) => self.run(routes, &errand, body, None).await,
        }
    }

    /// What the request's head alone decides.
    fn step(
        &self,
        client: Client,
        admitted: Admitted,
        parts: Parts,
        interim: Option<Interim>,
    ) -> Result<Step, Refusal> {
        let state = Arc::clone(&admitted.site);
        let site = &state.site;
        if let Verdict::Deny(status) = admitted.ruling.verdict {
            return Err(Refusal::Denied(status));
        }
        if parts.method == Method::OPTIONS && answers_options(site) {
            return Ok(Step::Told(Told {
                response: cors::options(site, &parts.headers),
                result: CacheResult::Bypass,
                tier: AnswerTier::None,
                detail: "options",
                stored: false,
            }));
        }
        if let Verdict::Redirect { status, location } = &admitted.ruling.verdict {
            let settings = &admitted.ruling.settings;
            return Ok(Step::Told(Told {
                response: redirect::answer(site, settings, *status, location, &parts.headers),
                result: CacheResult::Bypass,
                tier: AnswerTier::None,
                detail: "redirect",
                stored: false,
            }));
        }
        let selection = admitted.ruling.selection;
        let settings = Arc::clone(&admitted.ruling.settings);
        let (ask, asked) = self.ask(admitted, client, parts.headers, interim)?;
        Ok(Step::Asked(Errand {
            state,
            selection,
            settings,
            ask,
            asked,
            method: parts.method,
        }))
    }

    /// The answer, as far as memory has all that it takes.
    fn at_once(&self, routes: &Routes, errand: &Errand) -> AtOnce {
        if bypasses(&errand.ask, &errand.method).is_some() {
            return AtOnce::Not(None);
        }
        let Some(source) = self.cache.head_at_once(&errand.ask) else {
            return AtOnce::Not(None);
        };
        let terms = errand.terms(&source);
        match form::at_once(
            &self.cache,
            (&errand.state.site, &terms.settings),
            &terms.ask,
            &errand.asked,
            source,
        ) {
            Ok(AtHand::Formed(formed)) => {
                AtOnce::Told(self.delivered(routes, errand, &terms, formed))
            }
            Ok(AtHand::Source(source)) => AtOnce::Not(Some(source)),
            Ok(AtHand::Nothing) => AtOnce::Not(None),
            Err(refusal) => AtOnce::Told(Err(refusal)),
        }
    }

    /// Has the object pulled or looked up, unless it is there, and the form of it made that this client gets.
    async fn run(
        &self,
        routes: &Routes,
        errand: &Errand,
        body: RequestBody,
        source: Option<Served>,
    ) -> Result<Told, Refusal> {
        let source = match source {
            Some(source) => source,
            None => {
                let body_bytes_max = errand.state.site.max_request_body_bytes;
                self.source(&errand.ask, &errand.method, body, body_bytes_max)
                    .await?
            }
        };
        let terms = errand.terms(&source);
        let formed = form::choose(
            &self.cache,
            (&errand.state.site, &terms.settings),
            &terms.ask,
            &errand.asked,
            source,
        )
        .await?;
        self.delivered(routes, errand, &terms, formed)
    }

    fn delivered(
        &self,
        routes: &Routes,
        errand: &Errand,
        terms: &Terms,
        formed: Formed,
    ) -> Result<Told, Refusal> {
        let story = formed.served.story;
        let now = self.clock.now();
        let stale = formed.served.object.freshness().ttl(now) < 0;
        let delivery = Delivery {
            cache: &self.cache,
            node: &routes.node,
            settings: &terms.settings,
            site: &errand.state.site,
            ask: &terms.ask,
            method: &errand.method,
            now,
        };
        Ok(Told {
            response: delivery.response(formed)?,
            result: result_of(&story, stale),
            tier: tier_of(&story),
            detail: story.reason.or(story.because).unwrap_or(""),
            stored: story.stored,
        })
    }

    /// The object that the request is about, as it is stored or pulled; or the origin's answer, where the
    /// request is handed on.
    async fn source(
        &self,
        ask: &Arc<Ask>,
        method: &Method,
        body: RequestBody,
        body_bytes_max: u64,
    ) -> Result<Served, Refusal> {
        let bypasses = bypasses(ask, method);
        if bypasses.is_none()
            && let Some(served) = self.cache.at_once(ask)
        {
            return Ok(served);
        }
        // Boxed: its state is large, and a hit would carry the room for it about.
        Box::pin(self.fetched(ask, method, body, body_bytes_max, bypasses)).await
    }

    /// The same, where memory alone cannot answer.
    async fn fetched(
        &self,
        ask: &Arc<Ask>,
        method: &Method,
        body: RequestBody,
        body_bytes_max: u64,
        bypasses: Option<Forward>,
    ) -> Result<Served, Refusal> {
        if let Some(why) = bypasses {
            let upload = Box::pin(body.upload(body_bytes_max)).await?;
            let answer = self.cache.hand_on(ask, method.clone(), upload, why);
            return Ok(Box::pin(answer).await?);
        }
        match self.cache.lookup(ask).await {
            Lookup::Hit(stored) => self.at_hand(ask, method, stored).await,
            Lookup::HitAndRefresh(stored, again) => {
                self.cache.refresh(ask, &again);
                self.at_hand(ask, method, stored).await
            }
            Lookup::Forward(forwarding)
                if policy::is_only_if_cached(&ask.zone.policy, &ask.headers) =>
            {
                drop(forwarding);
                Err(Refusal::OnlyIfCached)
            }
            Lookup::Forward(forwarding) if method == Method::HEAD && ask.zone.is_transparent() => {
                Ok(Box::pin(self.cache.head(ask, forwarding)).await?)
            }
            Lookup::Forward(forwarding) => Ok(Box::pin(self.cache.fill(ask, forwarding)).await?),
        }
    }

    /// A stored object, with its first bytes at hand.
    async fn at_hand(
        &self,
        ask: &Arc<Ask>,
        method: &Method,
        stored: Stored,
    ) -> Result<Served, Refusal> {
        let served = self.cache.serve(ask, stored);
        if served.is_at_hand() || method == Method::HEAD {
            return Ok(served);
        }
        Ok(Box::pin(self.cache.ready(ask, served)).await?)
    }

    pub(super) fn ask(
        &self,
        admitted: Admitted,
        client: Client,
        mut headers: HeaderMap,
        interim: Option<Interim>,
    ) -> Result<(Arc<Ask>, Asked), Refusal> {
        let Admitted {
            site,
            host,
            query,
            parameters,
            signed,
            ruling,
        } = admitted;
        let (zone, path) = (&ruling.settings.zone, ruling.path);
        if headers.contains_key(AVAILABLE_DICTIONARY) {
            tell_dictionary(&site.site, zone, client.secure, &mut headers);
        }
        let hints = zone.images.client_hints.then(|| Hints::of(&headers));
        let mut asked = variant::asked(
            &zone.images,
            &path,
            query.as_deref(),
            parameters.as_ref(),
            hints.as_ref(),
        )?;
        if let Some(target) = &signed
            && (asked.by_parameters || asked.is_signed)
        {
            let (sign, now) = (&zone.images.sign, self.clock.now());
            variant::check_signature(sign, &target.path, target.query.as_deref(), now)?;
        }
        let query = asked.query.take();
        let query = policy::forwarded_query(query.as_deref(), &zone.policy.key.query)
            .map(std::borrow::Cow::into_owned);
        let keys_host = site.keys_host();
        let config = zone.origin.config();
        let key = policy::primary_key(
            &KeyParts {
                site: &zone.name,
                scheme: None,
                host: host.as_deref().filter(|_| keys_host),
                path: &path,
                query: query.as_deref(),
                request: &headers,
                forwarded: &config.forward_headers,
            },
            &zone.policy.key,
        );
        let ask = Ask {
            id: self.cache.store().hash(&[key.as_bytes()]),
            zone: Arc::clone(zone),
            key,
            path,
            query,
            authority: host,
            keys_host,
            headers,
            peer: client.address,
            secure: client.secure,
            interim: interim.filter(|_| zone.is_transparent()),
        };
        Ok((Arc::new(ask), asked))
    }

    fn refused(&self, routes: &Routes, site: Option<&SiteState>, refusal: &Refusal) -> Told {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let request_id = format!(
            "{}-{:x}-{number:x}",
            routes.node,
            self.clock.uptime().as_millis()
        );
        // The watch over the memory has told of that once, for all requests.
        let is_told = matches!(refusal, Refusal::Fill(FillError::MemoryShort));
        if let (Refusal::Fill(error), Some(state)) = (refusal, site)
            && !is_told
        {
            tracing::warn!(site = %state.site.name, %error, request_id, "no answer from the origin");
        }
        let result = match refusal {
            Refusal::Fill(_) if !is_told => CacheResult::Error,
            _ => CacheResult::Refused,
        };
        Told {
            response: refusal.response(&routes.node, &request_id),
            result,
            tier: AnswerTier::None,
            detail: refusal.reason(),
            stored: false,
        }
    }

    fn record(&self, client: Client, parts: &Parts) -> Box<Record> {
        let host = match parts.uri.host() {
            Some(host) => host,
            None => parts
                .headers
                .get(HOST)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        };
        Box::new(Record {
            time: self.clock.now(),
            site: Arc::clone(&self.nobody),
            method: parts.method.clone(),
            host: host.into(),
            target: parts
                .uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            status: 0,
            body_bytes: 0,
            duration: Duration::ZERO,
            peer: client.address,
            protocol: protocol(parts.version),
            cache: "",
            tier: "",
            detail: "".into(),
            complete: false,
            request_id: None,
            referer: parts.headers.get(REFERER).cloned(),
            user_agent: parts.headers.get(USER_AGENT).cloned(),
        })
    }

    fn counted(
        &self,
        told: Told,
        site: Option<&SiteState>,
        started: Duration,
        in_flight: Counted,
        record: Option<(Arc<AccessLog>, Box<Record>)>,
    ) -> Response<Body> {
        let status = told.response.status();
        let log = record.map(|(log, mut record)| {
            record.status = status.as_u16();
            record.cache = told.result.as_str();
            record.tier = told.tier.word();
            record.detail = told.detail.into();
            if let Some(state) = site {
                record.site = Arc::clone(&state.site.name);
            }
            (log, record)
        });
        let metrics = site.map_or_else(
            || Arc::clone(&self.no_site),
            |state| Arc::clone(&state.zone.metrics),
        );
        if told.tier != AnswerTier::Memory {
            metrics.first_byte(self.clock.uptime().saturating_sub(started));
        }
        if !told.detail.is_empty() {
            metrics.decision(told.detail);
        }
        let tally = Tally {
            clock: Arc::clone(&self.clock),
            started,
            _in_flight: [in_flight, metrics.request_in_flight()],
            metrics,
            log,
            result: told.result,
            tier: told.tier,
            status,
            body_bytes: 0,
            complete: false,
        };
        told.response.map(|body| body.counted(tally))
    }
}

/// A request that may go on to the cache.
pub(super) struct Admitted {
    pub(super) site: Arc<SiteState>,
    pub(super) host: Option<String>,
    pub(super) query: Option<String>,
    /// What stood in the path besides the picture.
    pub(super) parameters: Option<PathParameters>,
    /// What a signature is of, where the site signs.
    pub(super) signed: Option<SignedTarget>,
    pub(super) ruling: Ruling,
}

/// The host as keys and origins see it.
pub(super) fn host_text(host: Host) -> String {
    match host.port {
        Some(port) => format!("{}:{port}", host.name),
        None => host.name,
    }
}

/// Leaves a client's dictionary in the request if it matters to the edge, or to an origin that is told of it: then as
/// little of the client's own words as there can be.
fn tell_dictionary(site: &Site, zone: &Zone, secure: bool, headers: &mut HeaderMap) {
    let allowed = || {
        let mut answer = HeaderMap::new();
        let cors = site.cors.as_ref()?;
        cors::decorate(cors, headers, &mut answer);
        allowed_origin(&answer)
    };
    let (hash, is_told) = match zone.compression.dictionaries.mode {
        DictionaryMode::Edge => (available(headers), secure),
        DictionaryMode::Passthrough => {
            let is_told = passes_on(zone, secure, headers, allowed);
            (available(headers), is_told)
        }
        // A transparent site is not in between.
        DictionaryMode::Off if zone.is_transparent() => return,
        DictionaryMode::Off => (None, false),
    };
    let name = name(headers).filter(|_| is_told);
    headers.remove(AVAILABLE_DICTIONARY);
    headers.remove(DICTIONARY_ID);
    if let Some(hash) = hash.filter(|_| is_told).and_then(|hash| field(&hash)) {
        headers.insert(AVAILABLE_DICTIONARY, hash);
        if let Some(name) = name {
            headers.insert(DICTIONARY_ID, name);
        }
    }
}

/// Whether the request goes past the store, and why.
pub(super) fn bypasses(ask: &Ask, method: &Method) -> Option<Forward> {
    if method != Method::GET && method != Method::HEAD {
        return Some(Forward::Method);
    }
    let policy = &ask.zone.policy;
    let authorized =
        policy.authorization == Authorization::Bypass && ask.headers.contains_key(AUTHORIZATION);
    (authorized || policy.mode == Mode::Off).then_some(Forward::Bypass)
}

/// A transparent site without cross-origin rules leaves OPTIONS to its origin, too.
fn answers_options(site: &Site) -> bool {
    site.cors.is_some() || site.origin.client_headers == ClientHeaders::Rebuild
}

/// RFC 8586 §2: a request that carries our own token has come round.
fn has_looped(headers: &HeaderMap, node: &str) -> bool {
    headers.get_all(CDN_LOOP).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|member| {
            let token = member
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            token.trim_ascii().eq_ignore_ascii_case(node.as_bytes())
        })
    })
}

fn result_of(story: &Story, stale: bool) -> CacheResult {
    match story.forward {
        None if stale => CacheResult::Stale,
        None => CacheResult::Hit,
        // Also where what was made of it before is given.
        Some(_) if story.forward_status == Some(StatusCode::NOT_MODIFIED) => {
            CacheResult::Revalidated
        }
        // Asked for in vain: what is stored stands in.
        Some(_) if story.tier.is_some() => CacheResult::Stale,
        Some(Forward::Bypass) => CacheResult::Bypass,
        Some(_) => CacheResult::Miss,
    }
}

fn tier_of(story: &Story) -> AnswerTier {
    match story.tier {
        Some(Tier::Memory) => AnswerTier::Memory,
        Some(Tier::Disk) => AnswerTier::Disk,
        None => AnswerTier::None,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_little_room_about() {
        fn size_of_future<F>(
            _: impl FnOnce(&'static Pipeline, Client, http::Request<String>) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes =
            size_of_future(|pipeline, client, request| pipeline.answer(client, request, None));
        assert!(bytes <= 256, "{bytes}");
    }
}
