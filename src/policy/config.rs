use std::time::Duration;

use http::{HeaderName, StatusCode};

/// `[cache]` of a site, checked.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file, on or off"
)]
pub struct Config {
    /// What decides about storing.
    pub mode: Mode,
    /// Lifetime when the origin says nothing and heuristics do not apply.
    pub default_ttl: Duration,
    /// No stored lifetime is shorter (explicit ones included).
    pub min_ttl: Duration,
    /// No stored lifetime is longer.
    pub max_ttl: Duration,
    /// Replaces whatever the origin says, for responses that may be stored.
    pub override_ttl: Option<Duration>,
    /// What clients are told in `Cache-Control`.
    pub browser_ttl: BrowserTtl,
    /// Whether clients are told that the response does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// Lifetimes by status for responses without explicit freshness.
    pub status_ttl: StatusTtl,
    /// RFC 9213 target list, best first.
    pub targeted: Vec<HeaderName>,
    /// RFC 5861 window when the response names none.
    pub stale_while_revalidate: Duration,
    /// RFC 5861 window when the response names none.
    pub stale_if_error: Duration,
    /// Whether `s-maxage` leaves serving stale allowed (RFC 9111 says no).
    pub s_maxage_allows_stale: bool,
    /// Whether a client's `Cache-Control` request directives are obeyed.
    pub respect_request_directives: bool,
    /// What a `Set-Cookie` in the response does.
    pub set_cookie: SetCookie,
    /// What an `Authorization` in the request does.
    pub authorization: Authorization,
    /// Freshness from `Last-Modified` when nothing explicit is there.
    pub heuristic: bool,
    /// A larger body is passed on and not stored.
    pub max_object_bytes: u64,
    /// Whether requests for one key wait for one fetch.
    pub collapse: bool,
    /// How long the fetch of a whole object may take; zero is without a bound.
    pub object_deadline: Duration,
    /// What a range of an object that is not stored pulls.
    pub slice: Slice,
    /// How long an answer that could not be stored is remembered, so that nobody waits for it.
    pub uncacheable_memory: Duration,
    /// Stored variants by `Vary` for one URL; the oldest is dropped beyond.
    pub max_variants: usize,
    /// Whether a page under the name of an asset is passed on and not stored.
    pub deception_guard: bool,
    /// Response fields that carry purge tags.
    pub tags: Vec<HeaderName>,
    /// Whether the targeted fields are passed on to clients.
    pub forward_targeted: bool,
    /// Whether `No-Vary-Search` of stored responses is obeyed.
    pub no_vary_search: bool,
    /// Whether a lifetime that is for this node alone starts anew for clients: see [`restarts_age`](super::restarts_age).
    pub rewrite_age: bool,
    /// What belongs to the key.
    pub key: KeyConfig,
    /// What happens with fields named by `Vary`.
    pub vary: VaryConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Respect,
            default_ttl: Duration::ZERO,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(365 * 86_400),
            override_ttl: None,
            browser_ttl: BrowserTtl::Respect,
            immutable: false,
            status_ttl: StatusTtl::default(),
            targeted: vec![
                HeaderName::from_static("brim-cache-control"),
                HeaderName::from_static("cdn-cache-control"),
            ],
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(86_400),
            s_maxage_allows_stale: false,
            respect_request_directives: false,
            set_cookie: SetCookie::Bypass,
            authorization: Authorization::Bypass,
            heuristic: true,
            max_object_bytes: 10 << 30,
            collapse: true,
            object_deadline: Duration::ZERO,
            slice: Slice::Auto,
            uncacheable_memory: Duration::from_secs(10),
            max_variants: 16,
            deception_guard: true,
            tags: vec![
                HeaderName::from_static("surrogate-key"),
                HeaderName::from_static("cache-tag"),
                HeaderName::from_static("cache-groups"),
            ],
            forward_targeted: false,
            no_vary_search: false,
            rewrite_age: false,
            key: KeyConfig::default(),
            vary: VaryConfig::default(),
        }
    }
}

/// What decides about storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The origin's fields.
    Respect,
    /// The origin's fields, for types that are known to be static; nothing else is stored.
    Static,
    /// Every successful answer, whatever the origin's fields say.
    All,
    /// Nothing is stored.
    Off,
}

/// What clients are told in `Cache-Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserTtl {
    /// What the origin said.
    Respect,
    /// `max-age` of this length.
    Fixed(Duration),
}

/// What a range of an object that is not stored pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// The blocks that it needs, if the origin gives parts.
    Auto,
    /// The whole object.
    Never,
}

/// What a `Set-Cookie` in the response does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCookie {
    /// The response is not stored.
    Bypass,
    /// The field is removed and the response stored.
    Strip,
    /// The response is stored with the field.
    Store,
}

/// What an `Authorization` in the request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// Forwarded, uncached, uncollapsed.
    Bypass,
    /// Not forwarded; the cache is used.
    Strip,
    /// RFC 9111 §3.5.
    Rfc,
}

/// Lifetimes by status for responses without explicit freshness; an exact status wins over its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusTtl {
    /// Exact statuses.
    pub exact: Vec<(StatusCode, Duration)>,
    /// Classes: 4 for `4xx`.
    pub class: Vec<(u16, Duration)>,
}

impl Default for StatusTtl {
    fn default() -> Self {
        Self {
            exact: vec![
                (StatusCode::NOT_FOUND, Duration::from_secs(10)),
                (StatusCode::GONE, Duration::from_secs(10)),
            ],
            class: vec![(5, Duration::from_secs(1))],
        }
    }
}

/// `[cache.key]`, checked. The site is always part of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyConfig {
    /// Whether the request's host is part of the key.
    pub host: bool,
    /// What of the query is part of the key and goes to the origin.
    pub query: QueryPolicy,
    /// Request fields that are part of the key.
    pub headers: Vec<HeaderName>,
    /// Cookies that are part of the key.
    pub cookies: Vec<String>,
}

/// `[cache.key] query`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPolicy {
    /// Which parameters count.
    pub mode: QueryMode,
    /// The parameters that `mode` speaks of.
    pub names: Vec<String>,
    /// Whether parameters are sorted by name (stable).
    pub sort: bool,
}

impl Default for QueryPolicy {
    fn default() -> Self {
        Self {
            mode: QueryMode::All,
            names: Vec::new(),
            sort: false,
        }
    }
}

/// Which query parameters count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryMode {
    /// All of them.
    All,
    /// None.
    None,
    /// Only the named ones.
    Include,
    /// All but the named ones.
    Exclude,
}

/// `[cache.vary]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaryConfig {
    /// Actions for named fields (lower case).
    pub fields: Vec<(HeaderName, VaryAction)>,
    /// The action for every other field.
    pub default: VaryAction,
}

impl Default for VaryConfig {
    fn default() -> Self {
        Self {
            fields: vec![
                (http::header::ACCEPT_ENCODING, VaryAction::Normalize),
                (http::header::ACCEPT, VaryAction::Normalize),
                (http::header::ORIGIN, VaryAction::Passthrough),
                (http::header::USER_AGENT, VaryAction::Bypass),
            ],
            default: VaryAction::Passthrough,
        }
    }
}

/// What happens with a field named by `Vary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryAction {
    /// Reduced to what can make a difference, then compared.
    Normalize,
    /// Compared as RFC 9111 §4.1 says.
    Passthrough,
    /// Not compared, and not told to clients as a difference of ours.
    Ignore,
    /// The response is not stored.
    Bypass,
}
