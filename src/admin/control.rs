use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::objects::{ObjectsReport, ObjectsRequest};
use crate::cache::PurgeRecord;
use crate::telemetry::{PurgeMode, PurgeTarget, WarmOutcome};

/// A future behind a pointer, so that [`Control`] can be a trait object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the door asks of the node. Permissions have been checked and names resolved when these are called.
pub trait Control: Send + Sync + 'static {
    /// The site that answers for a host (lower case, without port and trailing dot), the default site
    /// included.
    fn site_of(&self, host: &str) -> Option<String>;

    /// Purges; the answer comes when the purge is durable and holds.
    fn purge(&self, request: PurgeRequest) -> Pending<'_, Result<PurgeRecord, ControlError>>;

    /// The record of a purge, if it is among the last; a restart changes nothing.
    fn purge_record(&self, id: &str) -> Option<PurgeRecord>;

    /// What the node would do with a request now.
    fn explain(&self, request: ExplainRequest) -> Pending<'_, Result<Explanation, ControlError>>;

    /// What is stored under one key. Asking changes nothing.
    fn objects(&self, request: ObjectsRequest) -> Pending<'_, Result<ObjectsReport, ControlError>>;

    /// Pulls one URL into the cache by the way of a client's GET, and reads all of its body; `sink` sees the pieces.
    /// Dropped, it is a client that goes away.
    fn pull<'a>(&'a self, request: PullRequest, sink: Option<Sink<'a>>) -> Pending<'a, Pulled>;

    /// Whether clients leave enough of the node for pulls that nobody waits for.
    fn has_room(&self) -> bool;

    /// How many pulls for nobody a site's origin may have at one time.
    fn background_pulls_max(&self, site: &str) -> usize;

    /// The node at a glance.
    fn status(&self) -> Status;

    /// The sites of the configuration in use.
    fn sites(&self) -> Vec<SiteStatus>;

    /// Reads the configuration again and puts it in place; on errors nothing has changed.
    fn reload(&self) -> Pending<'_, Result<(), Vec<String>>>;

    /// Starts the drain and returns at once. A second call changes nothing.
    fn drain(&self);

    /// Whether the node takes requests: started, not draining.
    fn is_ready(&self) -> bool;

    /// What [`crate::telemetry::Metrics::render`] says.
    fn metrics(&self) -> String;
}

/// Sees the pieces of a body; `false` ends the reading.
pub type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> bool + Send);

/// A URL to be pulled into the cache.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The site that is to answer.
    pub site: String,
    /// The host that is asked for, with the port if one is named.
    pub host: String,
    /// Where it is; without a host of its own, perhaps.
    pub url: Address,
    /// What the client would send.
    pub headers: HeaderMap,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// How it ended.
    pub outcome: WarmOutcome,
    /// Why it is not in the cache; a closed word, empty when it is, and `status` for an error of the origin's.
    pub reason: &'static str,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What came of the body.
    pub body_bytes: u64,
    /// The node was full: it may be tried again in a moment.
    pub is_shed: bool,
}

/// Why the node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The request makes no sense to the node; asking again does not help.
    #[error("{0}")]
    Refused(String),
    /// Some items of a purge make no sense to the node: their places in the list, and why.
    #[error("{} items of the purge make no sense", .0.len())]
    Items(Vec<(usize, String)>),
    /// What was asked about is not there.
    #[error("{0}")]
    Absent(String),
    /// Not now: starting or draining.
    #[error("{0}")]
    Unavailable(String),
    /// The node tried and failed, at the disk for example.
    #[error("{0}")]
    Failed(String),
}

/// A checked purge. It is to hold as one: either all items or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Never empty.
    pub items: Vec<PurgeItem>,
    /// Gone, or stale.
    pub mode: PurgeMode,
    /// The name of the token that orders it.
    pub token: String,
}

/// One thing to purge. Sites are names that the configuration has and cost nothing to copy; paths and queries are as the operator
/// wrote them and still have to be made canonical like those of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeItem {
    /// One URL, all its variants.
    Url {
        /// The site.
        site: Arc<str>,
        /// `None` when a path alone was given: for all hosts of the site.
        host: Option<String>,
        /// Begins with `/`.
        path: String,
        /// Without `?`.
        query: Option<String>,
    },
    /// All paths that begin like this, whatever their query.
    Prefix {
        /// The site.
        site: Arc<str>,
        /// As above.
        host: Option<String>,
        /// Begins with `/`; without a trailing `*`.
        prefix: String,
    },
    /// All objects that carry a tag.
    Tag {
        /// The site.
        site: Arc<str>,
        /// The tag.
        tag: String,
    },
    /// A whole site.
    Site {
        /// The site.
        site: Arc<str>,
    },
    /// The whole node.
    Everything,
}

impl PurgeItem {
    /// The kind of item, for metrics.
    #[must_use]
    pub fn target(&self) -> PurgeTarget {
        match self {
            Self::Url { .. } => PurgeTarget::Url,
            Self::Prefix { .. } => PurgeTarget::Prefix,
            Self::Tag { .. } => PurgeTarget::Tag,
            Self::Site { .. } => PurgeTarget::Site,
            Self::Everything => PurgeTarget::Everything,
        }
    }
}

/// A request to be explained.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// GET or HEAD.
    pub method: Method,
    /// The site that answers for the host.
    pub site: String,
    /// Absolute.
    pub url: Address,
    /// What the client would send.
    pub headers: HeaderMap,
}

/// What the node would do with a request, and why. Words are those of `Cache-Status` (RFC 9211).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The site that answers.
    pub site: String,
    /// The full text of the cache key.
    pub key: String,
    /// `hit`, `hit-and-refresh`, `forward`, `refuse`.
    pub decision: String,
    /// The closed reason, for example `uri-miss` or `no-store`.
    pub reason: String,
    /// Which tier has the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The stored status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long the stored answer has been one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// What is left of its freshness; negative when stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<i64>,
    /// Length of the stored body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// Which variant would be sent, for example `br` or `avif;w=800`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// The node at a glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub id: String,
    /// The program's version.
    pub version: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Whether a drain has begun.
    pub draining: bool,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Where clients come in.
    pub listeners: Vec<ListenerStatus>,
    /// The store's tiers.
    pub tiers: Vec<TierStatus>,
    /// How many sites there are.
    pub sites: usize,
    /// The last durable purge.
    pub purge_sequence: u64,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// As configured.
    pub name: String,
    /// As bound.
    pub address: String,
}

/// A tier of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierStatus {
    /// `memory` or `disk`.
    pub name: String,
    /// Whether it can be used.
    pub up: bool,
    /// Bytes that it may use.
    pub capacity_bytes: u64,
    /// Why it is down, or where it is.
    pub detail: String,
}

/// A site at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Its name.
    pub name: String,
    /// The hosts that it answers for, wildcards as `*.example.com`.
    pub hosts: Vec<String>,
    /// Where its bytes come from.
    pub origin: String,
}
