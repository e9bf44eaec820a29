use std::net::SocketAddr;
use std::sync::Arc;

use crate::cache::Zone;
use crate::config::NodeConfig;
use crate::origin::{self, Origin, Scheme, Server, Source};
use crate::pipeline::{Routes, SiteState};
use crate::site::{Site, Table};
use crate::store::{Quota, Store};
use crate::telemetry::Metrics;

use super::NodeError;

/// Builds what requests read, beside whatever is in use. Origins whose settings did not change keep their
/// connections.
pub(super) fn routes(
    config: &NodeConfig,
    store: &Store,
    metrics: &Metrics,
    demo: Option<SocketAddr>,
    before: Option<&Routes>,
) -> Result<Routes, NodeError> {
    let node: Arc<str> = Arc::from(config.id.as_str());
    let mut sites = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        let kept = before.and_then(|routes| routes.site(&site.name));
        sites.push(Arc::new(state(
            site,
            &node,
            store,
            metrics,
            demo,
            kept.map(AsRef::as_ref),
        )?));
    }
    let pairs = sites
        .iter()
        .map(|state| (state.site.hosts.clone(), Arc::clone(state)));
    let default_site = config.default_site.as_deref();
    let default_site =
        default_site.and_then(|name| sites.iter().find(|state| *state.site.name == *name));
    let table = Table::new(pairs, default_site.cloned())?;
    Ok(Routes {
        node,
        generation: before.map_or(1, |routes| routes.generation + 1),
        limits: config.limits,
        table,
        sites,
    })
}

/// What each site may keep for itself.
pub(super) fn quotas(config: &NodeConfig) -> impl Iterator<Item = (&str, Quota)> {
    config.sites.iter().map(|site| (&*site.name, site.quota))
}

fn state(
    site: &Arc<Site>,
    node: &Arc<str>,
    store: &Store,
    metrics: &Metrics,
    demo: Option<SocketAddr>,
    before: Option<&SiteState>,
) -> Result<SiteState, NodeError> {
    let settings = origin_settings(site, demo);
    let origin = match before.filter(|state| *state.zone.origin.config() == settings) {
        Some(state) => Arc::clone(&state.zone.origin),
        None => Origin::new(&settings).map_err(|source| NodeError::Origin {
            site: site.name.to_string(),
            source,
        })?,
    };
    let zone = Zone {
        name: Arc::clone(&site.name),
        policy: site.cache.clone(),
        origin,
        clock: store.clocks().site(&site.name),
        store: store.site(&site.name),
        compression: site.compression.clone(),
        images: site.images.clone(),
        metrics: metrics.site(&site.name),
        node: Arc::clone(node),
        tags: Vec::new(),
        refine: None,
    };
    Ok(SiteState::new(Arc::clone(site), zone))
}

/// The site's origin, with the bundled one's address where it asks for that.
fn origin_settings(site: &Site, demo: Option<SocketAddr>) -> origin::Config {
    let mut settings = site.origin.clone();
    if let (Source::Demo, Some(address)) = (&settings.source, demo) {
        settings.source = Source::Servers(vec![Server {
            scheme: Scheme::Http,
            host: address.ip().to_string(),
            port: address.port(),
            base_path: String::new(),
            weight: 1,
            backup: false,
        }]);
    }
    settings
}
