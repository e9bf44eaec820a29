use std::sync::Arc;

use crate::origin::{ClientHeaders, Origin};
use crate::policy;
use crate::store::SiteClock;
use crate::telemetry::SiteMetrics;
use crate::variant::{CompressionConfig, ImageConfig};

/// What the cache needs to know of one site.
pub struct Zone {
    /// The site's name; part of every key.
    pub name: Arc<str>,
    /// What may be stored and reused.
    pub policy: policy::Config,
    /// Where the bytes come from.
    pub origin: Arc<Origin>,
    /// The site's purge epoch.
    pub clock: Arc<SiteClock>,
    /// Content codings.
    pub compression: CompressionConfig,
    /// Pictures.
    pub images: ImageConfig,
    /// Counters.
    pub metrics: Arc<SiteMetrics>,
    /// How this node names itself to origins (`Via`, `CDN-Loop`).
    pub node: Arc<str>,
}

impl Zone {
    /// Whether the origin sees all of the client's end-to-end fields.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.origin.config().client_headers == ClientHeaders::Transparent
    }
}
