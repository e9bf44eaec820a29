//! What a purge names on a site, and the method `PURGE` of clients that a site lets do so.

use std::borrow::Cow;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use parking_lot::Mutex;

use crate::cache::{PurgeOrder, Target};
use crate::policy;
use crate::rules::Question;
use crate::semantics::host::Host;
use crate::semantics::path;
use crate::site::HostPattern;
use crate::telemetry::{AnswerTier, CacheResult, PurgeMode};
use crate::variant;

use super::answer::Told;
use super::place::Place;
use super::ruling::Ruling;
use super::{Body, Client, Pipeline, Refusal, Routes, SiteState, request};

/// The method: it has no registration, and means the same to all caches that know it.
pub(super) const METHOD: &str = "PURGE";

/// Asks for a purge that makes stale, with the value `1`.
const SOFT_PURGE: HeaderName = HeaderName::from_static("soft-purge");

/// Purges by this method that a site takes at once, and each second. Each waits for the disk: who has more of
/// them uses the admin door, which takes lists.
const BURST: u32 = 200;
const EACH_SECOND: u32 = 100;

/// What is left of a site's purges by this method.
#[derive(Debug)]
pub(super) struct Allowance {
    /// What was left when it was last looked at, as the time that it takes to refill, and when that was.
    state: Mutex<(Duration, Duration)>,
}

/// The time in which one more purge is allowed.
const REFILL: Duration = Duration::from_millis(1000 / EACH_SECOND as u64);

impl Default for Allowance {
    fn default() -> Self {
        Self {
            state: Mutex::new((REFILL * BURST, Duration::ZERO)),
        }
    }
}

impl Allowance {
    /// Takes one, if there is one.
    fn take(&self, uptime: Duration) -> bool {
        let mut state = self.state.lock();
        let (left, at) = *state;
        let left = (left + uptime.saturating_sub(at)).min(REFILL * BURST);
        let rest = left.checked_sub(REFILL);
        *state = (rest.unwrap_or(left), uptime.max(at));
        rest.is_some()
    }
}

impl SiteState {
    /// What a purge of this URL names: every variant of it. Without a host, on a site that keeps its hosts
    /// apart, that is the URL of each of them.
    ///
    /// # Errors
    /// When the path is not one, or no host is named and the site answers for more than can be listed.
    pub fn purgeable(
        &self,
        host: Option<&str>,
        path: &str,
        query: Option<&str>,
    ) -> Result<Vec<Target>, Refusal> {
        let Place {
            host,
            path,
            query,
            parameters,
            ..
        } = self.place(host.map(str::to_owned), path, query)?;
        // The settings are those of a request without fields.
        let ruling = self.rule(&Question {
            method: &Method::GET,
            path: &path,
            query: query.as_deref(),
            headers: &HeaderMap::new(),
            peer: Ipv4Addr::UNSPECIFIED.into(),
        })?;
        let paths = self.stored_paths(&path)?;
        let Ruling { path, settings, .. } = ruling;
        let images = &settings.zone.images;
        let asked = variant::asked(images, &path, query.as_deref(), parameters.as_ref(), None)?;
        let query =
            policy::forwarded_query(asked.query.as_deref(), &settings.zone.policy.key.query)
                .map(Cow::into_owned);
        let hosts = match host {
            _ if !self.keys_host() => vec![None],
            Some(host) => vec![Some(host_name(&host)?)],
            None => {
                let exact = |pattern: &HostPattern| match pattern {
                    HostPattern::Exact(host) => Ok(Some(host.clone())),
                    HostPattern::Wildcard(_) => Err(Refusal::NeedsHost),
                };
                self.site
                    .hosts
                    .iter()
                    .map(exact)
                    .collect::<Result<_, _>>()?
            }
        };
        let target = |host: &Option<String>, path: &String| Target::Url {
            host: host.clone(),
            path: path.clone(),
            query: query.clone(),
        };
        Ok(hosts
            .iter()
            .flat_map(|host| paths.iter().map(move |path| target(host, path)))
            .collect())
    }

    /// A prefix as paths are kept.
    ///
    /// # Errors
    /// When it is no beginning of a path.
    pub fn purgeable_prefix(&self, host: Option<&str>, prefix: &str) -> Result<Target, Refusal> {
        let host = host.filter(|_| self.keys_host());
        Ok(Target::Prefix {
            host: host.map(host_name).transpose()?,
            prefix: path::canonical(prefix)?.into_owned(),
        })
    }
}

/// A purge is of all ports of a host.
fn host_name(host: &str) -> Result<String, Refusal> {
    let host = Host::parse(host).map_err(|_| Refusal::UnknownHost)?;
    Ok(host.name)
}

impl Pipeline {
    /// Answers a request with the method `PURGE`. To whom the site does not allow it, it is a method like any
    /// that is not there.
    pub(super) async fn purge_by_method(
        &self,
        routes: &Routes,
        client: Client,
        parts: &Parts,
    ) -> (Option<Arc<SiteState>>, Result<Told, Refusal>) {
        let (state, path, query) = match Self::purge_place(routes, client, parts) {
            Ok(place) => place,
            Err(refusal) => return (None, Err(refusal)),
        };
        let told = self.purge_one(&state, client, parts, &path, query.as_deref());
        let told = told.await;
        (Some(state), told)
    }

    fn purge_place(
        routes: &Routes,
        client: Client,
        parts: &Parts,
    ) -> Result<(Arc<SiteState>, String, Option<String>), Refusal> {
        let checked = request::check(&routes.limits, parts, client.secure)?;
        let state = match &checked.host {
            Some(host) => routes.table.find(&host.name).ok_or(Refusal::UnknownHost)?,
            None => routes.table.default_value().ok_or(Refusal::NoHost)?,
        };
        Ok((
            Arc::clone(state),
            checked.path.to_owned(),
            checked.query.map(str::to_owned),
        ))
    }

    async fn purge_one(
        &self,
        state: &SiteState,
        client: Client,
        parts: &Parts,
        path: &str,
        query: Option<&str>,
    ) -> Result<Told, Refusal> {
        if !self.may_purge(state, client, &parts.headers) {
            return Err(Refusal::Method(state.site.methods.clone()));
        }
        if !state.allowance.take(self.clock().uptime()) {
            return Err(Refusal::TooManyPurges);
        }
        let is_soft = parts
            .headers
            .get(SOFT_PURGE)
            .is_some_and(|value| value == "1");
        let mode = match is_soft {
            true => PurgeMode::Soft,
            false => PurgeMode::Hard,
        };
        let host = match parts.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => parts
                .headers
                .get(http::header::HOST)
                .and_then(|host| host.to_str().ok()),
        };
        let targets = state.purgeable(host, path, query)?.into_iter();
        let order = PurgeOrder {
            targets: targets
                .map(|target| (Arc::clone(&state.site.name), target))
                .collect(),
            everything: false,
            mode,
            by: METHOD.to_owned(),
        };
        let record = self.purge(order).await.map_err(Refusal::PurgeFailed)?;
        tracing::info!(
            site = %state.site.name, peer = %client.address, id = %record.id,
            sequence = record.sequence, soft = record.soft, path, "purged by the method PURGE"
        );
        let text = serde_json::json!({
            "id": record.id, "sequence": record.sequence, "time": record.time, "soft": record.soft,
        });
        let mut response = Response::new(Body::whole(Bytes::from(format!("{text}\n"))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Told {
            response,
            result: CacheResult::Bypass,
            tier: AnswerTier::None,
            detail: "purge",
            stored: false,
        })
    }

    /// Whether the client's address is one of those, or it has the token (RFC 6750 §2.1). What it says of other
    /// addresses never counts.
    fn may_purge(&self, state: &SiteState, client: Client, headers: &HeaderMap) -> bool {
        let public = &state.site.public_purge;
        let is_near = public
            .allow_ips
            .iter()
            .any(|network| network.contains(client.address));
        if is_near || public.token.is_empty() {
            return is_near;
        }
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return false;
        };
        let Some((scheme, secret)) = field.as_bytes().split_at_checked(b"Bearer ".len()) else {
            return false;
        };
        // Hashes under a key that nobody outside knows: how long the comparison takes tells nothing of the token.
        let digest = |secret: &[u8]| self.cache().store().hash(&[b"purge token", secret]);
        let differ = digest(secret.trim_ascii()) ^ digest(public.token.as_bytes());
        black_box(differ) == 0 && scheme.eq_ignore_ascii_case(b"Bearer ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_refills_with_time_and_no_further_than_its_burst() {
        let allowance = Allowance::default();
        let taken = |at| (0..BURST * 2).filter(|_| allowance.take(at)).count();
        assert_eq!(taken(Duration::from_secs(5)), 200);
        assert_eq!(taken(Duration::from_secs(6)), 100);
        assert_eq!(taken(Duration::from_millis(6009)), 0);
        assert_eq!(taken(Duration::from_millis(6010)), 1);
        assert_eq!(taken(Duration::from_hours(1)), 200);
    }
}
