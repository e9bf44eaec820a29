use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;

use super::config::MetricsConfig;
use super::exposition::Exposition;
use super::gauge::{Counted, Gauge};
use super::histogram::{Distribution, DurationCells};
use super::names;
use super::shards::Shards;
use super::tally::Tally;

/// What [`Metrics::render`] returns, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// An enum whose values are the values of a label: the one list of its words.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident, $count:ident: $($(#[$value_doc:meta])* $value:ident $word:literal)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_doc])* $value),* }

        impl $name {
            const ALL: [Self; $count] = [$(Self::$value),*];

            /// The word in labels and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }
        }

        const $count: usize = [$($word),*].len();
    };
}

labels! {
    /// How the cache took part in an answer.
    CacheResult, CACHE_RESULTS:
    /// A fresh stored answer.
    Hit "hit"
    /// A stored answer past its lifetime, by permission.
    Stale "stale"
    /// Fetched from the origin, or followed a running fetch.
    Miss "miss"
    /// Stored, found still valid by the origin.
    Revalidated "revalidated"
    /// Not for the cache: passed on to the origin.
    Bypass "bypass"
    /// Refused before the cache was asked: no such site, bad request, method, limits.
    Refused "refused"
    /// The origin failed and nothing stored could stand in.
    Error "error"
}

labels! {
    /// Which tier had what was answered with.
    AnswerTier, ANSWER_TIERS:
    /// The memory tier.
    Memory "mem"
    /// The disk tier.
    Disk "disk"
    /// None of them.
    None "none"
}

impl AnswerTier {
    /// The word in the access log, where no tier is nothing to say.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory | Self::Disk => self.as_str(),
            Self::None => "",
        }
    }
}

labels! {
    /// What came of pulling a URL into the cache for nobody.
    WarmOutcome, WARM_OUTCOMES:
    /// It was there.
    Hit "hit"
    /// It was there, and the origin says that it still holds.
    Revalidated "revalidated"
    /// It was pulled, and is there now.
    Filled "filled"
    /// It was pulled, and may not be kept.
    Uncacheable "uncacheable"
    /// There was no answer, not a whole one, or one of an error.
    Failed "failed"
}

labels! {
    /// How a fetch from the origin ended.
    FillOutcome, FILL_OUTCOMES:
    /// Whole, and kept.
    Stored "stored"
    /// Whole, and not to be kept.
    NotStored "not-stored"
    /// 304: the stored answer goes on.
    NotModified "not-modified"
    /// The origin failed, before or within the body.
    Failed "failed"
    /// Given up since nobody reads it any more.
    Abandoned "abandoned"
}

labels! {
    /// What a purge names.
    PurgeTarget, PURGE_TARGETS:
    /// One URL.
    Url "url"
    /// All paths that begin alike.
    Prefix "prefix"
    /// All objects with a tag.
    Tag "tag"
    /// A whole site.
    Site "site"
    /// The whole node.
    Everything "everything"
}

labels! {
    /// What a purge does.
    PurgeMode, PURGE_MODES:
    /// The objects are gone.
    Hard "hard"
    /// The objects are stale.
    Soft "soft"
}

/// Numbers that are asked for at each scrape.
type Source = Arc<dyn Fn(&mut Exposition) + Send + Sync>;

/// All metrics of a node.
pub struct Metrics {
    config: MetricsConfig,
    /// Kept when a site leaves the configuration: a counter that vanishes is a gap in every graph.
    sites: Mutex<BTreeMap<Box<str>, Arc<SiteMetrics>>>,
    sources: Mutex<BTreeMap<&'static str, Source>>,
    purges: [[AtomicU64; PURGE_MODES]; PURGE_TARGETS],
    purge_failures: AtomicU64,
}

impl Metrics {
    /// Metrics that all stand at zero.
    #[must_use]
    pub fn new(config: MetricsConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            sites: Mutex::default(),
            sources: Mutex::default(),
            purges: array::from_fn(|_| zeros()),
            purge_failures: AtomicU64::new(0),
        })
    }

    /// The cells of a site, to be asked for once when a configuration is put in place, not at each request.
    /// Whether numbers are told apart by site.
    #[must_use]
    pub fn is_per_site(&self) -> bool {
        self.config.per_site
    }

    /// Requests of no site go to the name `-`. Without `per_site` all names share one set.
    #[must_use]
    pub fn site(&self, name: &str) -> Arc<SiteMetrics> {
        let name = if self.config.per_site { name } else { "" };
        let mut sites = self.sites.lock();
        if let Some(site) = sites.get(name) {
            return Arc::clone(site);
        }
        let site = Arc::new(SiteMetrics::new());
        sites.insert(name.into(), Arc::clone(&site));
        site
    }

    /// Adds numbers that another room keeps: `source` is called at each scrape. A second one of the same
    /// name takes the place of the first (after a reload, say).
    pub fn register_source(
        &self,
        name: &'static str,
        source: impl Fn(&mut Exposition) + Send + Sync + 'static,
    ) {
        self.sources.lock().insert(name, Arc::new(source));
    }

    /// A purge that could not be written, and does not hold.
    pub fn purge_failed(&self) {
        self.purge_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts purged items.
    pub fn purged(&self, target: PurgeTarget, mode: PurgeMode, items: u64) {
        let cells = self.purges.get(target as usize);
        if let Some(cell) = cells.and_then(|modes| modes.get(mode as usize)) {
            cell.fetch_add(items, Ordering::Relaxed);
        }
    }

    /// Everything as OpenMetrics text, to be sent as [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let mut exposition = Exposition::default();
        exposition.add(names::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        for (target, cells) in PurgeTarget::ALL.iter().zip(&self.purges) {
            for (mode, cell) in PurgeMode::ALL.iter().zip(cells) {
                let labels = [("target", target.as_str()), ("mode", mode.as_str())];
                exposition.add(names::PURGES, &labels, cell.load(Ordering::Relaxed));
            }
        }
        let failures = self.purge_failures.load(Ordering::Relaxed);
        exposition.add(names::PURGE_FAILURES, &[], failures);
        let sites = self.sites.lock().clone();
        for (name, site) in &sites {
            site.expose(name, &mut exposition);
        }
        // Out of the lock first: a source may take its time, or locks of its own.
        let sources: Vec<Source> = self.sources.lock().values().cloned().collect();
        for source in sources {
            source(&mut exposition);
        }
        exposition.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The cells of one site. All methods are relaxed atomics on the calling core's own cells.
#[derive(Debug)]
pub struct SiteMetrics {
    cells: Shards<Cells>,
    requests_in_flight: Gauge,
    fills_in_flight: Gauge,
    decisions: Tally,
    origin_errors: Tally,
    digest_mismatches: AtomicU64,
    tag_overflows: AtomicU64,
}

#[derive(Debug)]
struct Cells {
    requests: [[[AtomicU64; STATUS_CLASSES.len()]; ANSWER_TIERS]; CACHE_RESULTS],
    body_bytes: [[AtomicU64; ANSWER_TIERS]; CACHE_RESULTS],
    duration: [DurationCells; CACHE_RESULTS],
    first_byte: DurationCells,
    fills: [AtomicU64; FILL_OUTCOMES],
    fill_bytes: [AtomicU64; FILL_OUTCOMES],
    fill_duration: DurationCells,
    range_fetches: [AtomicU64; FILL_OUTCOMES],
    range_fetch_bytes: [AtomicU64; FILL_OUTCOMES],
    warmed: [AtomicU64; WARM_OUTCOMES],
    warmed_bytes: [AtomicU64; WARM_OUTCOMES],
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            requests: array::from_fn(|_| array::from_fn(|_| zeros())),
            body_bytes: array::from_fn(|_| zeros()),
            duration: array::from_fn(|_| DurationCells::default()),
            first_byte: DurationCells::default(),
            fills: zeros(),
            fill_bytes: zeros(),
            fill_duration: DurationCells::default(),
            range_fetches: zeros(),
            range_fetch_bytes: zeros(),
            warmed: zeros(),
            warmed_bytes: zeros(),
        }
    }
}

impl SiteMetrics {
    fn new() -> Self {
        Self {
            cells: Shards::new(),
            requests_in_flight: Gauge::new(),
            fills_in_flight: Gauge::new(),
            decisions: Tally::new(),
            origin_errors: Tally::new(),
            digest_mismatches: AtomicU64::new(0),
            tag_overflows: AtomicU64::new(0),
        }
    }

    /// An answer that is over: sent whole, or cut off.
    pub fn request(
        &self,
        cache: CacheResult,
        tier: AnswerTier,
        status: StatusCode,
        body_bytes: u64,
        took: Duration,
    ) {
        let cells = self.cells.mine();
        let tiers = cells.requests.get(cache as usize);
        if let Some(classes) = tiers.and_then(|tiers| tiers.get(tier as usize)) {
            add(classes, status_class(status), 1);
        }
        if let Some(tiers) = cells.body_bytes.get(cache as usize) {
            add(tiers, tier as usize, body_bytes);
        }
        if let Some(duration) = cells.duration.get(cache as usize) {
            duration.observe(took);
        }
    }

    /// The head of an answer is ready.
    pub fn first_byte(&self, took: Duration) {
        self.cells.mine().first_byte.observe(took);
    }

    /// A fetch from the origin that is over.
    pub fn fill(&self, outcome: FillOutcome, body_bytes: u64, took: Duration) {
        let cells = self.cells.mine();
        add(&cells.fills, outcome as usize, 1);
        add(&cells.fill_bytes, outcome as usize, body_bytes);
        cells.fill_duration.observe(took);
    }

    /// A fetch of blocks that is over.
    pub fn range_fetch(&self, outcome: FillOutcome, body_bytes: u64) {
        let cells = self.cells.mine();
        add(&cells.range_fetches, outcome as usize, 1);
        add(&cells.range_fetch_bytes, outcome as usize, body_bytes);
    }

    /// A URL that was pulled for nobody.
    pub fn warmed(&self, outcome: WarmOutcome, body_bytes: u64) {
        let cells = self.cells.mine();
        add(&cells.warmed, outcome as usize, 1);
        add(&cells.warmed_bytes, outcome as usize, body_bytes);
    }

    /// Why a request was no plain hit: the `as_str` of a closed enum, never text of a client or an origin.
    pub fn decision(&self, reason: &'static str) {
        self.decisions.add(reason);
    }

    /// A failed attempt at an origin: the `kind` of an origin error.
    pub fn origin_error(&self, kind: &'static str) {
        self.origin_errors.add(kind);
    }

    /// A body from the origin that is not what its digest says.
    pub fn digest_mismatch(&self) {
        self.digest_mismatches.fetch_add(1, Ordering::Relaxed);
    }

    /// A response with more tags than are told apart.
    pub fn tag_overflow(&self) {
        self.tag_overflows.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn request_in_flight(&self) -> Counted {
        self.requests_in_flight.count()
    }

    /// Counts a fill as in flight until the guard is dropped.
    pub fn fill_in_flight(&self) -> Counted {
        self.fills_in_flight.count()
    }

    /// Requests by cache result since the start, for status pages.
    #[must_use]
    pub fn requests(&self, cache: CacheResult) -> u64 {
        let of_result = |cells: &Cells| {
            let tiers = cells.requests.get(cache as usize);
            tiers.map_or(0, |tiers| tiers.iter().map(total).sum())
        };
        self.cells.iter().map(of_result).sum()
    }

    /// Series that never counted anything are left out, but for the gauges: a node of many sites would
    /// otherwise send mostly zeros.
    fn expose(&self, site: &str, exposition: &mut Exposition) {
        let site = (!site.is_empty()).then_some(("site", site));
        let with = |more: &[(&'static str, &'static str)]| -> Vec<(&'static str, &str)> {
            site.into_iter().chain(more.iter().copied()).collect()
        };

        for (index, cache) in CacheResult::ALL.into_iter().enumerate() {
            let labels = with(&[("cache", cache.as_str())]);
            for (class_index, class) in STATUS_CLASSES.into_iter().enumerate() {
                let of_tier = |tier: usize| {
                    self.sum(|cells| cells.requests.get(index)?.get(tier)?.get(class_index))
                };
                let count = (0..ANSWER_TIERS).map(of_tier).sum();
                if count > 0 {
                    let labels = with(&[("cache", cache.as_str()), ("status", class)]);
                    exposition.add(names::REQUESTS, &labels, count);
                }
            }
            let durations = self
                .cells
                .iter()
                .filter_map(|cells| cells.duration.get(index));
            let durations = Distribution::of(durations);
            if durations.count > 0 {
                let of_tier =
                    |tier: usize| self.sum(|cells| cells.body_bytes.get(index)?.get(tier));
                let bytes = (0..ANSWER_TIERS).map(of_tier).sum();
                exposition.add(names::RESPONSE_BODY_BYTES, &labels, bytes);
                exposition.add_distribution(names::REQUEST_DURATION_SECONDS, &labels, durations);
            }
            for (tier_index, tier) in AnswerTier::ALL.into_iter().enumerate() {
                let of_class = |class: usize| {
                    self.sum(|cells| cells.requests.get(index)?.get(tier_index)?.get(class))
                };
                let count = (0..STATUS_CLASSES.len()).map(of_class).sum();
                if count > 0 {
                    let bytes = self.sum(|cells| cells.body_bytes.get(index)?.get(tier_index));
                    let labels = with(&[("cache", cache.as_str()), ("tier", tier.as_str())]);
                    exposition.add(names::CACHE_REQUESTS, &labels, count);
                    exposition.add(names::CACHE_RESPONSE_BODY_BYTES, &labels, bytes);
                }
            }
        }
        for (index, outcome) in FillOutcome::ALL.into_iter().enumerate() {
            let count = self.sum(|cells| cells.fills.get(index));
            if count > 0 {
                let labels = with(&[("outcome", outcome.as_str())]);
                let bytes = self.sum(|cells| cells.fill_bytes.get(index));
                exposition.add(names::FILLS, &labels, count);
                exposition.add(names::FILL_BODY_BYTES, &labels, bytes);
            }
            let count = self.sum(|cells| cells.range_fetches.get(index));
            if count > 0 {
                let labels = with(&[("outcome", outcome.as_str())]);
                let bytes = self.sum(|cells| cells.range_fetch_bytes.get(index));
                exposition.add(names::RANGE_FETCHES, &labels, count);
                exposition.add(names::RANGE_FETCH_BODY_BYTES, &labels, bytes);
            }
        }
        for (index, outcome) in WarmOutcome::ALL.into_iter().enumerate() {
            let count = self.sum(|cells| cells.warmed.get(index));
            if count > 0 {
                let labels = with(&[("outcome", outcome.as_str())]);
                let bytes = self.sum(|cells| cells.warmed_bytes.get(index));
                exposition.add(names::WARM_REQUESTS, &labels, count);
                exposition.add(names::WARM_BODY_BYTES, &labels, bytes);
            }
        }
        for (name, distribution) in [
            (
                names::REQUEST_FIRST_BYTE_SECONDS,
                Distribution::of(self.cells.iter().map(|cells| &cells.first_byte)),
            ),
            (
                names::FILL_DURATION_SECONDS,
                Distribution::of(self.cells.iter().map(|cells| &cells.fill_duration)),
            ),
        ] {
            if distribution.count > 0 {
                exposition.add_distribution(name, &with(&[]), distribution);
            }
        }
        for (reason, count) in self.decisions.counts() {
            exposition.add(names::DECISIONS, &with(&[("reason", reason)]), count);
        }
        for (kind, count) in self.origin_errors.counts() {
            exposition.add(names::ORIGIN_ERRORS, &with(&[("kind", kind)]), count);
        }
        let mismatches = self.digest_mismatches.load(Ordering::Relaxed);
        exposition.add(names::DIGEST_MISMATCHES, &with(&[]), mismatches);
        let overflows = self.tag_overflows.load(Ordering::Relaxed);
        if overflows > 0 {
            exposition.add(names::TAG_OVERFLOWS, &with(&[]), overflows);
        }
        let requests = self.requests_in_flight.value();
        exposition.add_signed(names::REQUESTS_IN_FLIGHT, &with(&[]), requests);
        exposition.add_signed(
            names::FILLS_IN_FLIGHT,
            &with(&[]),
            self.fills_in_flight.value(),
        );
    }

    fn sum(&self, cell: impl Fn(&Cells) -> Option<&AtomicU64>) -> u64 {
        self.cells
            .iter()
            .filter_map(cell)
            .map(|cell| cell.load(Ordering::Relaxed))
            .sum()
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::new(0))
}

fn add(cells: &[AtomicU64], index: usize, amount: u64) {
    if let Some(cell) = cells.get(index) {
        cell.fetch_add(amount, Ordering::Relaxed);
    }
}

fn total<const N: usize>(cells: &[AtomicU64; N]) -> u64 {
    cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
}

/// Index into [`STATUS_CLASSES`].
fn status_class(status: StatusCode) -> usize {
    match status.as_u16() / 100 {
        class @ 1..=5 => usize::from(class) - 1,
        _ => STATUS_CLASSES.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sample(text: &str, series: &str) -> Option<f64> {
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[track_caller]
    fn check(text: &str, series: &str, value: f64) {
        let found = sample(text, series);
        assert!(
            found.is_some_and(|found| (found - value).abs() < 1e-9),
            "{series} is {found:?} in\n{text}"
        );
    }

    #[test]
    fn requests_are_counted_by_site_result_and_class() {
        let metrics = Metrics::new(MetricsConfig::default());
        let shop = metrics.site("shop");
        shop.request(
            CacheResult::Hit,
            AnswerTier::Memory,
            StatusCode::OK,
            100,
            Duration::from_micros(80),
        );
        shop.request(
            CacheResult::Hit,
            AnswerTier::Memory,
            StatusCode::OK,
            50,
            Duration::from_micros(20),
        );
        shop.request(
            CacheResult::Hit,
            AnswerTier::Memory,
            StatusCode::NOT_MODIFIED,
            0,
            Duration::ZERO,
        );
        metrics.site("blog").request(
            CacheResult::Error,
            AnswerTier::None,
            StatusCode::BAD_GATEWAY,
            7,
            Duration::from_secs(2),
        );
        let text = metrics.render();
        check(
            &text,
            r#"brim_requests_total{site="shop",cache="hit",status="2xx"}"#,
            2.0,
        );
        check(
            &text,
            r#"brim_requests_total{site="shop",cache="hit",status="3xx"}"#,
            1.0,
        );
        check(
            &text,
            r#"brim_requests_total{site="blog",cache="error",status="5xx"}"#,
            1.0,
        );
        check(
            &text,
            r#"brim_response_body_bytes_total{site="shop",cache="hit"}"#,
            150.0,
        );
        check(
            &text,
            r#"brim_cache_requests_total{site="shop",cache="hit",tier="mem"}"#,
            3.0,
        );
        check(
            &text,
            r#"brim_cache_response_body_bytes_total{site="shop",cache="hit",tier="mem"}"#,
            150.0,
        );
        check(
            &text,
            r#"brim_cache_requests_total{site="blog",cache="error",tier="none"}"#,
            1.0,
        );
        assert_eq!(
            sample(
                &text,
                r#"brim_cache_requests_total{site="shop",cache="hit",tier="disk"}"#
            ),
            None
        );
        check(
            &text,
            r#"brim_request_duration_seconds_count{site="shop",cache="hit"}"#,
            3.0,
        );
        check(
            &text,
            r#"brim_request_duration_seconds_sum{site="shop",cache="hit"}"#,
            0.0001,
        );
        check(
            &text,
            r#"brim_request_duration_seconds_bucket{le="0.0001",site="shop",cache="hit"}"#,
            3.0,
        );
        check(
            &text,
            r#"brim_request_duration_seconds_bucket{le="+Inf",site="blog",cache="error"}"#,
            1.0,
        );
        assert_eq!(
            sample(
                &text,
                r#"brim_requests_total{site="blog",cache="hit",status="2xx"}"#
            ),
            None
        );
        assert_eq!(shop.requests(CacheResult::Hit), 3);
    }

    #[test]
    fn fills_decisions_and_errors_are_counted() {
        let metrics = Metrics::new(MetricsConfig::default());
        let site = metrics.site("a");
        site.fill(FillOutcome::Stored, 10, Duration::from_millis(3));
        site.fill(FillOutcome::Failed, 4, Duration::from_millis(4));
        site.first_byte(Duration::from_millis(1));
        site.decision("uri-miss");
        site.origin_error("reset");
        site.origin_error("reset");
        site.digest_mismatch();
        site.warmed(WarmOutcome::Filled, 7);
        metrics.purged(PurgeTarget::Tag, PurgeMode::Soft, 3);
        let running = site.fill_in_flight();
        let text = metrics.render();
        check(&text, r#"brim_fills_total{site="a",outcome="stored"}"#, 1.0);
        check(
            &text,
            r#"brim_fill_body_bytes_total{site="a",outcome="failed"}"#,
            4.0,
        );
        check(&text, r#"brim_fill_duration_seconds_count{site="a"}"#, 2.0);
        check(
            &text,
            r#"brim_request_first_byte_seconds_count{site="a"}"#,
            1.0,
        );
        check(
            &text,
            r#"brim_decisions_total{site="a",reason="uri-miss"}"#,
            1.0,
        );
        check(
            &text,
            r#"brim_origin_errors_total{site="a",kind="reset"}"#,
            2.0,
        );
        check(&text, r#"brim_digest_mismatches_total{site="a"}"#, 1.0);
        check(
            &text,
            r#"brim_warm_requests_total{site="a",outcome="filled"}"#,
            1.0,
        );
        check(
            &text,
            r#"brim_warm_body_bytes_total{site="a",outcome="filled"}"#,
            7.0,
        );
        check(&text, r#"brim_purges_total{target="tag",mode="soft"}"#, 3.0);
        check(&text, r#"brim_fills_in_flight{site="a"}"#, 1.0);
        check(&text, r#"brim_requests_in_flight{site="a"}"#, 0.0);
        drop(running);
        check(&metrics.render(), r#"brim_fills_in_flight{site="a"}"#, 0.0);
    }

    #[test]
    fn without_per_site_there_is_no_site_label() {
        let metrics = Metrics::new(MetricsConfig { per_site: false });
        for site in ["a", "b"] {
            metrics.site(site).request(
                CacheResult::Miss,
                AnswerTier::None,
                StatusCode::OK,
                1,
                Duration::ZERO,
            );
        }
        let text = metrics.render();
        check(
            &text,
            r#"brim_requests_total{cache="miss",status="2xx"}"#,
            2.0,
        );
        check(&text, "brim_requests_in_flight", 0.0);
        assert!(!text.contains("site="));
    }

    #[test]
    fn a_source_is_asked_at_each_scrape_and_replaced_by_its_name() {
        let metrics = Metrics::new(MetricsConfig::default());
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        metrics.register_source("store", |exposition| {
            exposition.add(names::STORE_ERRORS, &[("tier", "disk")], 99);
        });
        metrics.register_source("store", move |exposition| {
            let calls = counter.fetch_add(1, Ordering::Relaxed) + 1;
            exposition.add(names::STORE_ERRORS, &[("tier", "disk")], calls);
        });
        check(
            &metrics.render(),
            r#"brim_store_errors_total{tier="disk"}"#,
            1.0,
        );
        check(
            &metrics.render(),
            r#"brim_store_errors_total{tier="disk"}"#,
            2.0,
        );
    }

    #[test]
    fn the_text_is_valid() {
        let metrics = Metrics::new(MetricsConfig::default());
        for result in CacheResult::ALL {
            for status in [100, 200, 301, 404, 503, 700] {
                metrics.site("we\"ird").request(
                    result,
                    AnswerTier::Disk,
                    StatusCode::from_u16(status).unwrap(),
                    1,
                    Duration::from_secs(100),
                );
            }
        }
        let text = metrics.render();
        assert!(text.ends_with("# EOF\n"));
        let mut series = HashSet::new();
        let mut types = HashSet::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some(name) = comment.strip_prefix("TYPE ") {
                    assert!(types.insert(name.to_owned()), "{name} is declared twice");
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(name.starts_with("brim_"), "{line}");
            assert!(!name.contains('{') || name.ends_with('}'), "{line}");
            assert!(series.insert(name.to_owned()), "{name} is there twice");
        }
        assert!(series.len() > 40);
    }

    #[test]
    fn buckets_are_cumulative_and_end_at_the_count() {
        let metrics = Metrics::new(MetricsConfig::default());
        let site = metrics.site("a");
        for millis in [0, 1, 7, 40, 900, 70_000] {
            site.request(
                CacheResult::Miss,
                AnswerTier::None,
                StatusCode::OK,
                0,
                Duration::from_millis(millis),
            );
        }
        let text = metrics.render();
        let buckets: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("brim_request_duration_seconds_bucket"))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert!(buckets.is_sorted());
        assert!(buckets.last().is_some_and(|last| (last - 6.0).abs() < 1e-9));
        check(
            &text,
            r#"brim_request_duration_seconds_sum{site="a",cache="miss"}"#,
            70.948,
        );
    }
}
