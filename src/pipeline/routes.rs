use std::sync::Arc;

use crate::cache::Zone;
use crate::origin::{ClientHeaders, HostHeader};
use crate::site::{Site, Table};

use super::RequestLimits;
use super::purge::Allowance;
use super::ruling::{Remembered, Settings};

/// What every request reads: one value, swapped whole when the configuration changes. A request keeps the
/// one that it began with.
pub struct Routes {
    /// Names this node in `Via` and `Cache-Status`.
    pub node: Arc<str>,
    /// Differs between any two routes of a process: stamps what was made by them.
    pub generation: u64,
    /// Limits on a request's head.
    pub limits: RequestLimits,
    /// Host to site; the default one answers for all other hosts and for none.
    pub table: Table<SiteState>,
    /// All sites, in the order of their files.
    pub sites: Vec<Arc<SiteState>>,
}

impl Routes {
    /// The site called `name`.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Arc<SiteState>> {
        self.sites.iter().find(|state| *state.site.name == *name)
    }
}

/// A site and what the cache keeps of it.
pub struct SiteState {
    /// Settings.
    pub site: Arc<Site>,
    /// The cache's view of it, where no rule changes it.
    pub zone: Arc<Zone>,
    pub(super) base: Arc<Settings>,
    pub(super) remembered: Remembered,
    pub(super) allowance: Allowance,
}

impl SiteState {
    /// A site whose settings `zone` has, too.
    #[must_use]
    pub fn new(site: Arc<Site>, zone: Zone) -> Self {
        let zone = Arc::new(zone);
        Self {
            base: Settings::of_site(&site, &zone),
            remembered: Remembered::default(),
            allowance: Allowance::default(),
            site,
            zone,
        }
    }

    /// Whether the client's host belongs to the key: whenever the origin sees it, or the site says so.
    #[must_use]
    pub fn keys_host(&self) -> bool {
        let origin = &self.site.origin;
        self.zone.policy.key.host
            || origin.host_header == HostHeader::Client
            || origin.client_headers == ClientHeaders::Transparent
    }
}
