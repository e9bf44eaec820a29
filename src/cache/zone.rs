use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::origin::{ClientHeaders, Origin};
use crate::policy;
use crate::store::{SiteClock, SiteStore};
use crate::telemetry::SiteMetrics;
use crate::variant::{CompressionConfig, ImageConfig};

/// What the cache needs to know of one site.
#[derive(Clone)]
pub struct Zone {
    /// The site's name; part of every key.
    pub name: Arc<str>,
    /// What may be stored and reused.
    pub policy: policy::Config,
    /// Where the bytes come from.
    pub origin: Arc<Origin>,
    /// The site's purge epoch.
    pub clock: Arc<SiteClock>,
    /// The tiers as the site sees them.
    pub store: Arc<SiteStore>,
    /// Content codings.
    pub compression: CompressionConfig,
    /// Pictures.
    pub images: ImageConfig,
    /// Counters.
    pub metrics: Arc<SiteMetrics>,
    /// How this node names itself to origins (`Via`, `CDN-Loop`).
    pub node: Arc<str>,
    /// Purge tags of everything that is stored, beside the origin's.
    pub tags: Vec<String>,
    /// Has its say when a response's head is there; `None` when nothing hangs on it.
    pub refine: Option<Arc<dyn Refine>>,
}

/// What a site's rules say about responses.
pub trait Refine: Send + Sync {
    /// `zone`, changed for a response with this head.
    fn refined(&self, zone: &Zone, status: StatusCode, headers: &HeaderMap) -> Zone;
}

impl Zone {
    /// The zone that a response with this head is judged by.
    #[must_use]
    pub(super) fn for_response(
        self: &Arc<Self>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Arc<Self> {
        match &self.refine {
            Some(refine) => Arc::new(refine.refined(self, status, headers)),
            None => Arc::clone(self),
        }
    }
}

impl Zone {
    /// Whether the origin sees all of the client's end-to-end fields.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.origin.config().client_headers == ClientHeaders::Transparent
    }
}
