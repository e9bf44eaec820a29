use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use serde::Serialize;

use crate::cache::{Lookup, Target};
use crate::policy;
use crate::rules::{Question, Selection};
use crate::semantics::host::Host;
use crate::semantics::path;
use crate::store::Object;
use crate::variant;

use super::answer::{Admitted, bypasses, host_text};
use super::ruling::{Ruling, Verdict};
use super::{Client, Pipeline, Refusal, Routes, SiteState};

/// What the node would do with a request now, and why. Asking changes nothing: nothing is fetched,
/// refreshed or made.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The site that answers, if one does.
    pub site: Option<String>,
    /// The cache key.
    pub key: Option<String>,
    /// What goes to the origin.
    pub origin_target: Option<String>,
    /// `hit`, `hit-and-refresh`, `forward`, `bypass`, `redirect` or `refuse`.
    pub decision: &'static str,
    /// One sentence.
    pub reason: String,
    /// The rules that hold, by name. Those about responses are among them once there is a stored one.
    pub rules: Vec<String>,
    /// Rules that wait for a response.
    pub rules_of_response: Vec<String>,
    /// The picture that would be made of it.
    pub wish: Option<String>,
    /// The stored object, if there is one.
    pub stored: Option<StoredObject>,
}

/// A stored object, in short.
#[derive(Debug, Serialize)]
pub struct StoredObject {
    /// The status.
    pub status: u16,
    /// `mem` or `disk`.
    pub tier: &'static str,
    /// Length of the body.
    pub body_bytes: u64,
    /// Age now.
    pub age_seconds: u64,
    /// What is left of its lifetime; negative when stale.
    pub ttl_seconds: i64,
    /// Its tag, as the origin gave it.
    pub etag: Option<String>,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its version.
    pub version: String,
}

impl Pipeline {
    /// Says what a GET for `host`, `path` and `query` with these fields would meet.
    pub async fn explain(
        &self,
        client: Client,
        host: &str,
        path: &str,
        query: Option<&str>,
        headers: HeaderMap,
    ) -> Explanation {
        let mut told = Explanation {
            site: None,
            key: None,
            origin_target: None,
            decision: "refuse",
            reason: String::new(),
            rules: Vec::new(),
            rules_of_response: Vec::new(),
            wish: None,
            stored: None,
        };
        let routes = self.routes();
        let admitted = match self.admit_parts(&routes, client, host, path, query, &headers) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                told.reason = refusal.to_string();
                return told;
            }
        };
        told.site = Some(admitted.site.site.name.to_string());
        if !admitted.site.site.methods.contains(&Method::GET) {
            told.reason = Refusal::Method(admitted.site.site.methods.clone()).to_string();
            return told;
        }
        let site = Arc::clone(&admitted.site);
        let selection = admitted.ruling.selection;
        told.rules_of(&site, selection, None);
        match &admitted.ruling.verdict {
            Verdict::Pass => {}
            Verdict::Redirect { status, location } => {
                told.decision = "redirect";
                told.reason = format!("{} to {location}", status.as_u16());
                return told;
            }
            Verdict::Deny(status) => {
                told.reason = Refusal::Denied(*status).to_string();
                return told;
            }
        }
        let (ask, wish) = match self.ask(admitted, client, headers) {
            Ok(asked) => asked,
            Err(refusal) => {
                told.reason = refusal.to_string();
                return told;
            }
        };
        told.key = Some(ask.key.clone());
        told.origin_target = Some(match &ask.query {
            Some(query) => format!("{}?{query}", ask.path),
            None => ask.path.clone(),
        });
        if bypasses(&ask).is_some() {
            told.decision = "bypass";
            told.reason = bypass_reason(&ask.zone.policy).to_owned();
            return told;
        }
        let now = self.cache().clock().now();
        let (decision, reason, stored) = match self.cache().lookup(&ask).await {
            Lookup::Hit(stored) => {
                let left = stored.object.freshness.ttl(now);
                ("hit", format!("stored and fresh for another {left} s"), Some(stored))
            }
            Lookup::HitAndRefresh(stored, _) => (
                "hit-and-refresh",
                "stored and stale, within its stale-while-revalidate window: served now, validated behind".to_owned(),
                Some(stored),
            ),
            Lookup::Forward(forwarding) => {
                let reason = match (&forwarding.candidate, self.cache().remembered(&ask)) {
                    (Some(_), _) => "stored, but stale or purged softly: the origin is asked whether it still holds".to_owned(),
                    (None, Some(why)) => format!("not stored: {why}"),
                    (None, None) => format!("not stored ({})", forwarding.why.as_str()),
                };
                ("forward", reason, forwarding.candidate)
            }
        };
        told.rules_of(
            &site,
            selection,
            stored.as_ref().map(|stored| &*stored.object),
        );
        told.decision = decision;
        told.wish = wish.map(|wish| wish.to_string());
        told.reason = reason;
        told.stored = stored.map(|stored| {
            let object = &stored.object;
            let text = |name| {
                object
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            StoredObject {
                status: object.status.as_u16(),
                tier: stored.tier.as_str(),
                body_bytes: object.body.length(),
                age_seconds: object.freshness.age(now).as_secs(),
                ttl_seconds: object.freshness.ttl(now),
                etag: text(http::header::ETAG),
                content_type: text(http::header::CONTENT_TYPE),
                version: format!("{:032x}", object.version),
            }
        });
        told
    }

    /// What a purge of this URL of `site` names: every variant of it.
    ///
    /// # Errors
    /// When the site is not configured, the path is not one, or the site keeps hosts apart and none is named.
    pub fn purgeable(
        &self,
        site: &str,
        host: Option<&str>,
        path: &str,
        query: Option<&str>,
    ) -> Result<Target, Refusal> {
        let routes = self.routes();
        let state = routes.site(site).ok_or(Refusal::UnknownHost)?;
        // As for a request without fields: a rewrite may lead the URL to another path.
        let Ruling { path, settings, .. } = state.rule(&Question {
            method: &Method::GET,
            path: &path::canonical(path)?,
            query,
            headers: &HeaderMap::new(),
            peer: Ipv4Addr::UNSPECIFIED.into(),
        })?;
        let (_, query) = variant::wish_of(&settings.zone.images, &path, query)?;
        let query = policy::forwarded_query(query.as_deref(), &settings.zone.policy.key.query)
            .map(Cow::into_owned);
        let host = match host.filter(|_| state.keys_host()) {
            Some(host) => Some(host_text(
                Host::parse(host).map_err(|_| Refusal::UnknownHost)?,
            )),
            None if state.keys_host() => return Err(Refusal::NoHost),
            None => None,
        };
        Ok(Target::Url { host, path, query })
    }

    /// A prefix as paths are kept.
    ///
    /// # Errors
    /// When it is no beginning of a path.
    pub fn purgeable_prefix(&self, prefix: &str) -> Result<String, Refusal> {
        Ok(path::canonical(prefix)?.into_owned())
    }

    fn admit_parts(
        &self,
        routes: &Routes,
        client: Client,
        host: &str,
        raw_path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Admitted, Refusal> {
        let host = Host::parse(host).map_err(|_| Refusal::UnknownHost)?;
        let site = routes.table.find(&host.name).ok_or(Refusal::UnknownHost)?;
        let ruling = site.rule(&Question {
            method: &Method::GET,
            path: &path::canonical(raw_path)?,
            query,
            headers,
            peer: client.address,
        })?;
        Ok(Admitted {
            site: Arc::clone(site),
            host: Some(host_text(host)),
            query: query.map(str::to_owned),
            ruling,
        })
    }
}

impl Explanation {
    /// Notes the rules that hold for what is known.
    fn rules_of(&mut self, site: &SiteState, selection: Selection, stored: Option<&Object>) {
        let program = &site.site.rules.program;
        let candidates = selection.candidates;
        let names = |set| program.rules(set).map(|rule| rule.name.clone()).collect();
        match stored {
            Some(object) => {
                let held = program.with_response(candidates, object.status, &object.headers);
                self.rules = names(held);
                self.rules_of_response = Vec::new();
            }
            None => {
                self.rules = names(program.before_response(candidates));
                self.rules_of_response = names(program.awaiting_response(candidates));
            }
        }
    }
}

fn bypass_reason(config: &policy::Config) -> &'static str {
    match config.mode {
        policy::Mode::Off => "caching is off for this site ([cache] mode)",
        policy::Mode::Respect | policy::Mode::Static | policy::Mode::All => {
            "requests with Authorization pass by the cache ([cache] authorization = \"bypass\")"
        }
    }
}
