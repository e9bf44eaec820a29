use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::HOST;
use http::uri::PathAndQuery;
use serde_json::Value;

use crate::admin::{
    Control, ControlError, ExplainRequest, Explanation, ListenerStatus, ObjectsReport,
    ObjectsRequest, Pending, PullRequest, Pulled, PurgeItem, PurgeRecord, PurgeRequest, Sink,
    SiteStatus, Status, TierStatus, Warming,
};
use crate::cache::{Cache, Pressure, PurgeOrder, Target};
use crate::pipeline::{Client, Refusal, Routes, SiteState};
use crate::server::Server;
use crate::store::{DiskStats, SiteStats, Store, TierState};
use crate::telemetry::{Exposition, Metrics, WarmOutcome, names};
use crate::variant::ImagePool;

use super::serving::Shared;

/// URLs of one purge, after paths have been multiplied by hosts.
const TARGETS_MAX: usize = 200_000;

/// What the admin door asks of the node.
pub(super) struct NodeControl {
    shared: Arc<Shared>,
}

impl NodeControl {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn memory(&self) -> Value {
        let report = self.shared.memory.report();
        serde_json::json!({
            "limit_bytes": report.limit_bytes,
            "resident_bytes": report.resident_bytes,
            "state": report.pressure.as_str(),
            "cache_share": report.cache_share,
        })
    }

    async fn purge_now(&self, request: PurgeRequest) -> Result<PurgeRecord, ControlError> {
        let routes = self.shared.pipeline.routes();
        // A hundred thousand keys are made and hashed: not on a thread that others wait for.
        let order = tokio::task::spawn_blocking(move || order_of(&routes, request)).await;
        let order = order.map_err(|error| ControlError::Failed(error.to_string()))??;
        let purged = self.shared.pipeline.purge(order).await;
        purged.map_err(|error| ControlError::Failed(error.to_string()))
    }

    async fn pull_now(&self, request: PullRequest, sink: Option<Sink<'_>>) -> Pulled {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: request.url.secure.unwrap_or(true),
            body_timeout: Duration::ZERO,
        };
        let failed = Pulled {
            outcome: WarmOutcome::Failed,
            reason: "bad-url",
            status: None,
            body_bytes: 0,
            is_shed: false,
        };
        let target = match &request.url.query {
            Some(query) => format!("{}?{query}", request.url.path),
            None => request.url.path,
        };
        let mut head = http::Request::new(());
        *head.headers_mut() = request.headers;
        let (Ok(uri), Ok(host)) = (
            target.parse::<PathAndQuery>(),
            HeaderValue::try_from(request.host),
        ) else {
            return failed;
        };
        *head.uri_mut() = uri.into();
        head.headers_mut().insert(HOST, host);
        let pipeline = &self.shared.pipeline;
        let warmed = pipeline.warm(client, head, &request.site, sink).await;
        Pulled {
            outcome: warmed.outcome,
            reason: warmed.reason,
            status: warmed.status.map(|status| status.as_u16()),
            body_bytes: warmed.body_bytes,
            is_shed: warmed.is_shed,
        }
    }

    async fn explain_now(&self, request: ExplainRequest) -> Explanation {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: request.url.secure.unwrap_or(true),
            body_timeout: Duration::ZERO,
        };
        let url = &request.url;
        let host = match (&url.host, url.port) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.clone(),
            (None, _) => String::new(),
        };
        let told = self
            .shared
            .pipeline
            .explain(
                client,
                &request.method,
                &host,
                &url.path,
                url.query.as_deref(),
                request.headers,
            )
            .await;
        let mut details = BTreeMap::new();
        let mut note = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                details.insert(name.to_owned(), Value::String(value));
            }
        };
        note("code", Some(told.code.to_owned()));
        note("origin_target", told.origin_target);
        note("wish", told.wish);
        let picture = told.picture.as_ref();
        let coding = told.coding.as_ref();
        let pictures = picture.and_then(|picture| picture.stored.as_ref());
        let codings = coding.and_then(|coding| coding.stored.as_ref());
        let variant = pictures
            .map(|stored| stored.detail.clone())
            .or_else(|| codings.map(|stored| stored.detail.clone()));
        let list = |names: Vec<String>| Some(names.join(", ")).filter(|text| !text.is_empty());
        note("rules", list(told.rules));
        note("rules_of_response", list(told.rules_of_response));
        let stored = told.stored.as_ref();
        note("etag", stored.and_then(|stored| stored.etag.clone()));
        note(
            "content_type",
            stored.and_then(|stored| stored.content_type.clone()),
        );
        note("version", stored.map(|stored| stored.version.clone()));
        if let Some(Ok(picture)) = picture.map(serde_json::to_value) {
            details.insert("picture".to_owned(), picture);
        }
        if let Some(Ok(coding)) = coding.map(serde_json::to_value) {
            details.insert("coding".to_owned(), coding);
        }
        Explanation {
            site: told.site.unwrap_or(request.site),
            key: told.key.unwrap_or_default(),
            decision: told.decision.to_owned(),
            reason: told.reason,
            tier: stored.map(|stored| stored.tier.to_owned()),
            status: stored.map(|stored| stored.status),
            age_seconds: stored.map(|stored| stored.age_seconds),
            ttl_seconds: stored.map(|stored| stored.ttl_seconds),
            body_bytes: stored.map(|stored| stored.body_bytes),
            variant,
            details,
        }
    }
}

/// What a purge names, by the routes in use.
fn order_of(routes: &Routes, request: PurgeRequest) -> Result<PurgeOrder, ControlError> {
    let mut order = PurgeOrder {
        targets: Vec::with_capacity(request.items.len()),
        everything: false,
        mode: request.mode,
        by: request.token,
    };
    let mut senseless = Vec::new();
    for (index, item) in request.items.into_iter().enumerate() {
        let named = match item {
            PurgeItem::Everything => {
                order.everything = true;
                continue;
            }
            PurgeItem::Site { site } => Ok((site, vec![Target::All])),
            PurgeItem::Tag { site, tag } => Ok((site, vec![Target::Tag(tag)])),
            PurgeItem::Prefix { site, host, prefix } => state_of(routes, &site)
                .and_then(|state| state.purgeable_prefix(host.as_deref(), &prefix))
                .map(|target| (site, vec![target])),
            PurgeItem::Url {
                site,
                host,
                path,
                query,
            } => state_of(routes, &site)
                .and_then(|state| state.purgeable(host.as_deref(), &path, query.as_deref()))
                .map(|targets| (site, targets)),
        };
        match named {
            Ok((site, targets)) => {
                let targets = targets.into_iter();
                let of_site = targets.map(|target| (Arc::clone(&site), target));
                order.targets.extend(of_site);
                if order.targets.len() > TARGETS_MAX {
                    return Err(ControlError::Refused(format!(
                        "with every host of their sites these paths are more than {TARGETS_MAX} URLs; split the purge."
                    )));
                }
            }
            Err(refusal) => senseless.push((index, refusal.to_string())),
        }
    }
    match senseless.is_empty() {
        true => Ok(order),
        false => Err(ControlError::Items(senseless)),
    }
}

fn state_of<'a>(routes: &'a Routes, site: &str) -> Result<&'a SiteState, Refusal> {
    let state = routes.site(site).ok_or(Refusal::UnknownHost)?;
    Ok(state)
}

impl Control for NodeControl {
    fn site_of(&self, host: &str) -> Option<String> {
        let routes = self.shared.pipeline.routes();
        let state = routes.table.find(host)?;
        Some(state.site.name.to_string())
    }

    fn purge(&self, request: PurgeRequest) -> Pending<'_, Result<PurgeRecord, ControlError>> {
        Box::pin(self.purge_now(request))
    }

    fn purge_record(&self, id: &str) -> Option<PurgeRecord> {
        self.shared.pipeline.cache().purge_record(id)
    }

    fn explain(&self, request: ExplainRequest) -> Pending<'_, Result<Explanation, ControlError>> {
        Box::pin(async move { Ok(self.explain_now(request).await) })
    }

    fn objects(&self, request: ObjectsRequest) -> Pending<'_, Result<ObjectsReport, ControlError>> {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            body_timeout: Duration::ZERO,
        };
        Box::pin(super::objects::report(
            &self.shared.pipeline,
            client,
            request,
        ))
    }

    fn pull<'a>(&'a self, request: PullRequest, sink: Option<Sink<'a>>) -> Pending<'a, Pulled> {
        Box::pin(self.pull_now(request, sink))
    }

    fn has_room(&self) -> bool {
        self.shared.pipeline.has_room()
    }

    fn background_pulls_max(&self, site: &str) -> usize {
        self.shared.pipeline.background_pulls_max(site)
    }

    fn status(&self) -> Status {
        let config = self.shared.config();
        let listeners = self.shared.addresses().into_iter();
        let tiers = self.shared.store.tiers().into_iter();
        Status {
            id: config.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.is_ready(),
            draining: self.shared.is_draining(),
            uptime_seconds: self.shared.pipeline.cache().clock().uptime().as_secs(),
            listeners: listeners
                .map(|(name, address)| ListenerStatus {
                    name: name.to_string(),
                    address: address.to_string(),
                })
                .collect(),
            tiers: tiers
                .map(|tier| TierStatus {
                    name: tier.tier.as_str().to_owned(),
                    up: matches!(tier.state, TierState::Ready),
                    capacity_bytes: tier.capacity_bytes,
                    detail: match (&tier.state, &tier.place) {
                        (TierState::Ready, place) => place.as_deref().unwrap_or("").to_owned(),
                        (TierState::Down(trouble), None) => trouble.to_string(),
                        (TierState::Down(trouble), Some(place)) => format!("{place}: {trouble}"),
                    },
                })
                .collect(),
            sites: config.sites.len(),
            purge_sequence: self.shared.store.clocks().sequence(),
            details: BTreeMap::from([("memory".to_owned(), self.memory())]),
        }
    }

    fn sites(&self) -> Vec<SiteStatus> {
        let config = self.shared.config();
        let sites = config.sites.iter();
        sites
            .map(|site| SiteStatus {
                name: site.name.to_string(),
                hosts: site.hosts.iter().map(ToString::to_string).collect(),
                origin: site.origin.source.to_string(),
            })
            .collect()
    }

    fn reload(&self) -> Pending<'_, Result<(), Vec<String>>> {
        Box::pin(self.shared.reload_again())
    }

    fn drain(&self) {
        self.shared.ask_drain();
    }

    fn is_ready(&self) -> bool {
        !self.shared.is_draining()
    }

    fn metrics(&self) -> String {
        self.shared.metrics.render()
    }
}

/// Numbers that other rooms keep, asked for at each scrape.
pub(super) fn add_sources(
    metrics: &Metrics,
    store: &Arc<Store>,
    cache: &Arc<Cache>,
    images: &Arc<ImagePool>,
) {
    let (store, cache, images) = (Arc::clone(store), Arc::clone(cache), Arc::clone(images));
    let per_site = metrics.is_per_site();
    metrics.register_source("tiers", move |exposition| {
        expose_tiers(&store, per_site, exposition);
    });
    metrics.register_source("flights", move |exposition| {
        exposition.add(names::FLIGHTS, &[], cache.flights_under_way() as u64);
        exposition.add(names::FLIGHT_READERS, &[], cache.flight_readers() as u64);
        let (sums, queued) = (cache.coding_sums(), cache.codings_queued());
        super::codings::expose(&sums, queued, per_site, exposition);
    });
    metrics.register_source("images", move |exposition| {
        super::pictures::expose(&images.stats(), per_site, exposition);
    });
}

/// Jobs of warming that are not over.
pub(super) fn add_warming(metrics: &Metrics, warming: &Arc<Warming>) {
    let warming = Arc::clone(warming);
    metrics.register_source("warm", move |exposition| {
        let (waiting, running) = warming.unfinished();
        for (state, count) in [("waiting", waiting), ("running", running)] {
            exposition.add(names::WARM_JOBS, &[("state", state)], count as u64);
        }
    });
}

/// What the listeners have seen, and how the node is.
pub(super) fn add_doors(metrics: &Metrics, server: &Arc<Server>, shared: &Arc<Shared>) {
    let (server, shared) = (Arc::downgrade(server), Arc::downgrade(shared));
    metrics.register_source("node", move |exposition| {
        let (Some(server), Some(shared)) = (server.upgrade(), shared.upgrade()) else {
            return;
        };
        let uptime = shared.pipeline.cache().clock().uptime();
        exposition.add_real(names::UPTIME_SECONDS, &[], uptime.as_secs_f64());
        exposition.add(names::READY, &[], u64::from(!shared.is_draining()));
        expose_memory(&shared, exposition);
        for report in server.report() {
            let listener = [("listener", &*report.name)];
            exposition.add(names::CONNECTIONS, &listener, report.open as u64);
            exposition.add(names::CONNECTIONS_ACCEPTED, &listener, report.accepted);
            exposition.add(
                names::HANDSHAKE_FAILURES,
                &listener,
                report.handshake_failures,
            );
            for (reason, count) in [
                ("full", report.refused_full),
                ("address", report.refused_address),
                ("late-head", report.timeouts),
                ("stalled", report.stalls),
                ("shed", report.shed),
            ] {
                let labels = [("listener", &*report.name), ("reason", reason)];
                exposition.add(names::CONNECTIONS_REFUSED, &labels, count);
            }
        }
    });
}

fn expose_memory(shared: &Shared, exposition: &mut Exposition) {
    let report = shared.memory.report();
    exposition.add(names::MEMORY_LIMIT_BYTES, &[], report.limit_bytes);
    exposition.add(names::MEMORY_RESIDENT_BYTES, &[], report.resident_bytes);
    exposition.add_real(names::MEMORY_CACHE_SHARE, &[], report.cache_share);
    for state in [Pressure::Ample, Pressure::Tight, Pressure::Short] {
        let holds = u64::from(state == report.pressure);
        exposition.add(names::MEMORY_PRESSURE, &[("state", state.as_str())], holds);
    }
    let shed = shared.pipeline.cache().shed();
    for (kind, count) in [("miss", shed.misses), ("form", shed.forms)] {
        exposition.add(names::MEMORY_SHED, &[("kind", kind)], count);
    }
}

fn expose_tiers(store: &Store, per_site: bool, exposition: &mut Exposition) {
    let stats = store.stats();
    let memory = [("tier", "mem")];
    exposition.add(names::STORE_UP, &memory, 1);
    exposition.add(names::STORE_BYTES, &memory, stats.memory.used_bytes);
    exposition.add(
        names::STORE_CAPACITY_BYTES,
        &memory,
        stats.memory.capacity_bytes,
    );
    exposition.add(names::STORE_ENTRIES, &memory, stats.memory.entries);
    exposition.add(names::STORE_HITS, &memory, stats.memory.hits);
    exposition.add(names::STORE_MISSES, &memory, stats.memory.misses);
    exposition.add(names::STORE_EVICTIONS, &memory, stats.memory.evictions);
    exposition.add(
        names::STORE_REFUSALS,
        &[("tier", "mem"), ("reason", "size")],
        stats.memory.refused_size,
    );
    exposition.add(names::PURGE_SEQUENCE, &[], stats.clocks.sequence);
    exposition.add(names::PURGE_CLOCKS, &[], stats.clocks.slots);
    exposition.add(names::PURGE_FLOOR, &[], stats.clocks.floor);
    exposition.add(names::INVALIDATION_CLOCKS, &[], stats.clocks.traffic);
    exposition.add(names::INVALIDATION_OVERFLOWS, &[], stats.clocks.overflows);
    for site in &stats.sites {
        expose_site(site, per_site, exposition);
    }
    if stats.disks.is_empty() {
        return;
    }
    let sum = |of: Count| stats.disks.iter().map(of).sum::<u64>();
    let labels = [("tier", "disk")];
    exposition.add(
        names::STORE_INDEX_LIMIT_BYTES,
        &labels,
        stats.index_bytes_max,
    );
    let is_up = stats.disks.iter().any(|disk| disk.in_use);
    exposition.add(names::STORE_UP, &labels, u64::from(is_up));
    for (name, value) in [
        (names::STORE_CAPACITY_BYTES, sum(|disk| disk.capacity_bytes)),
        (names::STORE_ENTRIES, sum(|disk| disk.entries)),
        (names::STORE_INDEX_BYTES, stats.index_bytes),
        (names::STORE_WAITING_BYTES, sum(|disk| disk.waiting_bytes)),
        (names::STORE_HITS, sum(|disk| disk.hits)),
        (names::STORE_MISSES, sum(|disk| disk.misses)),
        (names::STORE_INSERTS, sum(|disk| disk.writes)),
        (
            names::STORE_ERRORS,
            sum(|disk| disk.read_errors + disk.corrupt + disk.failures),
        ),
    ] {
        exposition.add(name, &labels, value);
    }
    for (reason, of) in REFUSALS {
        let labels = [("tier", "disk"), ("reason", reason)];
        exposition.add(names::STORE_REFUSALS, &labels, sum(of));
    }
    for disk in &stats.disks {
        expose_disk(disk, exposition);
    }
}

/// Picks one number of a disk.
type Count = fn(&DiskStats) -> u64;

/// Why a disk has not got something.
const REFUSALS: [(&str, Count); 7] = [
    ("uses", |disk| disk.refused_uses),
    ("rate", |disk| disk.refused_rate),
    ("quota", |disk| disk.refused_quota),
    ("size", |disk| disk.refused_size),
    ("index", |disk| disk.refused_index),
    ("full", |disk| disk.refused_full),
    ("lost", |disk| disk.lost),
];

/// What one site keeps for itself.
fn expose_site(site: &SiteStats, per_site: bool, exposition: &mut Exposition) {
    if !per_site {
        return;
    }
    let memory = [("tier", "mem"), ("site", &*site.name)];
    if let (Some(used), Some(capacity), Some(entries)) = (
        site.memory_used_bytes,
        site.memory_capacity_bytes,
        site.memory_entries,
    ) {
        exposition.add(names::SITE_STORE_BYTES, &memory, used);
        exposition.add(names::SITE_STORE_CAPACITY_BYTES, &memory, capacity);
        exposition.add(names::SITE_STORE_ENTRIES, &memory, entries);
    }
    let disk = [("tier", "disk"), ("site", &*site.name)];
    exposition.add(names::SITE_STORE_BYTES, &disk, site.disk_written_bytes);
    if site.disk_quota_bytes > 0 {
        exposition.add(
            names::SITE_STORE_CAPACITY_BYTES,
            &disk,
            site.disk_quota_bytes,
        );
    }
    exposition.add(names::SITE_STORE_HITS, &memory, site.memory_hits);
    exposition.add(names::SITE_STORE_MISSES, &memory, site.memory_misses);
    exposition.add(names::SITE_STORE_HITS, &disk, site.disk_hits);
    exposition.add(names::SITE_STORE_MISSES, &disk, site.disk_misses);
}

fn expose_disk(disk: &DiskStats, exposition: &mut Exposition) {
    let labels = [("disk", &*disk.place)];
    for (name, value) in [
        (names::DISK_UP, u64::from(disk.in_use)),
        (names::DISK_CAPACITY_BYTES, disk.capacity_bytes),
        (names::DISK_ENTRIES, disk.entries),
        (names::DISK_INDEX_BYTES, disk.index_bytes),
        (names::DISK_WAITING_BYTES, disk.waiting_bytes),
        (names::DISK_HITS, disk.hits),
        (names::DISK_MISSES, disk.misses),
        (names::DISK_INSERTS, disk.writes),
        (names::DISK_WRITTEN_BYTES, disk.written_bytes),
        (names::DISK_REWRITES, disk.rewrites),
        (names::DISK_RECOVERIES, disk.recoveries),
    ] {
        exposition.add(name, &labels, value);
    }
    for (reason, of) in REFUSALS {
        let labels = [("disk", &*disk.place), ("reason", reason)];
        exposition.add(names::DISK_REFUSALS, &labels, of(disk));
    }
    for (kind, count) in [
        ("read", disk.read_errors),
        ("corrupt", disk.corrupt),
        ("failure", disk.failures),
    ] {
        let labels = [("disk", &*disk.place), ("kind", kind)];
        exposition.add(names::DISK_ERRORS, &labels, count);
    }
}
