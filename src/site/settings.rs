use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::origin;
use crate::policy;
use crate::semantics::network::Network;
use crate::store::Quota;
use crate::variant::{CompressionConfig, ImageConfig};

use super::SiteRules;

/// A site (pull zone): everything that one file in `sites` says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Unique in a node; part of every key.
    pub name: Arc<str>,
    /// Which hosts it answers for; never empty.
    pub hosts: Vec<HostPattern>,
    /// Methods that are answered; others get 405 with `Allow`.
    pub methods: Vec<Method>,
    /// Bytes of a request's body; 0 takes none.
    pub max_request_body_bytes: u64,
    /// Where its bytes come from.
    pub origin: origin::Config,
    /// Caching.
    pub cache: policy::Config,
    /// What it may keep for itself in the tiers.
    pub quota: Quota,
    /// Content codings.
    pub compression: CompressionConfig,
    /// Pictures.
    pub images: ImageConfig,
    /// Fields of every response.
    pub response_headers: HeaderRules,
    /// Cross-origin rules; `None` when no origin is listed.
    pub cors: Option<Cors>,
    /// What answers tell about the cache.
    pub diagnostics: Diagnostics,
    /// Who may use the method `PURGE`.
    pub public_purge: PublicPurge,
    /// Redirects, rewrites and rules.
    pub rules: SiteRules,
}

impl Site {
    /// Whether this host (lower case, no port, no trailing dot) is one of its own.
    #[must_use]
    pub fn answers_for(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| match pattern {
            HostPattern::Exact(own) => own == host,
            HostPattern::Wildcard(suffix) => host
                .strip_suffix(suffix.as_str())
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.')),
        })
    }
}

/// `[purge] public`, checked: with neither, nobody may.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PublicPurge {
    /// Clients of these networks.
    pub allow_ips: Vec<Network>,
    /// Clients that have this bearer token; none when empty.
    pub token: String,
}

impl fmt::Debug for PublicPurge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicPurge")
            .field("allow_ips", &self.allow_ips)
            .field("token", &if self.token.is_empty() { "" } else { "…" })
            .finish()
    }
}

/// A host that a site answers for. Lower case, no port, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This very host.
    Exact(String),
    /// `*.example.com`: one or more labels before this suffix, which is kept without `*.`.
    Wildcard(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// `[headers.response]`, checked. Applied as remove, set, add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRules {
    /// Replaces whatever the origin sent.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Added beside what the origin sent.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl HeaderRules {
    /// Rules that change nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            set: Vec::new(),
            add: Vec::new(),
            remove: Vec::new(),
        }
    }

    /// Removes, sets and adds.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

impl Default for HeaderRules {
    fn default() -> Self {
        Self {
            set: vec![(
                http::header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            )],
            add: Vec::new(),
            remove: vec![
                http::header::SERVER,
                HeaderName::from_static("x-powered-by"),
            ],
        }
    }
}

/// `[cors]`, checked (Fetch standard).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Allowed origins as sent in `Origin`; `*` alone allows all.
    pub origins: Vec<String>,
    /// For `Access-Control-Allow-Methods`.
    pub methods: Vec<Method>,
    /// For `Access-Control-Allow-Headers`.
    pub headers: Vec<HeaderName>,
    /// For `Access-Control-Expose-Headers`.
    pub expose: Vec<HeaderName>,
    /// For `Access-Control-Max-Age`.
    pub max_age: Duration,
}

/// `[diagnostics]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diagnostics {
    /// How much `Cache-Status` says.
    pub cache_status: CacheStatusDetail,
}

/// How much `Cache-Status` (RFC 9211) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatusDetail {
    /// Everything.
    Full,
    /// `hit` or `fwd` alone.
    Minimal,
    /// The field is not sent.
    Off,
}
