use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admin;
use crate::cache::FillConfig;
use crate::pipeline::RequestLimits;
use crate::server::ListenerConfig;
use crate::site::Site;
use crate::store;
use crate::telemetry::{LogConfig, MetricsConfig};
use crate::tls;
use crate::variant::{CompressionWorkers, ImageWorkers};

/// Everything that `edge.toml` and its sites say, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// Names this node in `Via`, `CDN-Loop` and `Cache-Status`.
    pub id: String,
    /// The folder of purge clocks, certificates and keys.
    pub state: PathBuf,
    /// Threads that serve clients; at least 1.
    pub workers: usize,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// The site for requests with an unknown host or none.
    pub default_site: Option<Arc<str>>,
    /// Where clients come in; never empty.
    pub listeners: Vec<ListenerConfig>,
    /// Certificates.
    pub tls: tls::Config,
    /// The tiers.
    pub store: store::Config,
    /// Fills.
    pub fill: FillConfig,
    /// What the process may take; 0 is three quarters of what the machine or its cgroup has.
    pub memory_limit_bytes: u64,
    /// Limits on requests.
    pub limits: RequestLimits,
    /// Threads for compression.
    pub compression: CompressionWorkers,
    /// Threads for pictures.
    pub images: ImageWorkers,
    /// Logs.
    pub log: LogConfig,
    /// Metrics.
    pub metrics: MetricsConfig,
    /// The operators' door.
    pub admin: admin::Config,
    /// The sites, in the order of their files.
    pub sites: Vec<Arc<Site>>,
}
