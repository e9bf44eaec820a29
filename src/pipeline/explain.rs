use std::sync::Arc;

use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, Method};
use serde::Serialize;

use crate::cache::{Ask, Because, Form, FormState, Forwarding, Lookup, Remembered, Served};
use crate::policy::{self, Unusable};
use crate::rules::{Question, Selection};
use crate::semantics::host::Host;
use crate::semantics::status_fields::Forward;
use crate::store::{Object, Present, Tier};
use crate::variant::Recipe;

use super::answer::{Admitted, bypasses, host_text};
use super::explain_coding::ExplainedCoding;
use super::ruling::Verdict;
use super::{Client, Pipeline, Refusal, Routes, SiteState, form};

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
    /// A closed word for the reason, as in `Cache-Status` and the access log.
    pub code: &'static str,
    /// One sentence.
    pub reason: String,
    /// The rules that hold, by name. Those about responses are among them once there is a stored one.
    pub rules: Vec<String>,
    /// Rules that wait for a response.
    pub rules_of_response: Vec<String>,
    /// The picture that would be made of it.
    pub wish: Option<String>,
    /// How that picture stands, once its source is stored and pictures are made of it.
    pub picture: Option<ExplainedPicture>,
    /// Which content coding this client gets, once the object is stored and is not made into a picture.
    pub coding: Option<ExplainedCoding>,
    /// The stored object, if there is one.
    pub stored: Option<StoredObject>,
}

/// A picture that is made of a stored object.
#[derive(Debug, Serialize)]
pub struct ExplainedPicture {
    /// How it is made; equal recipes are one stored picture.
    pub recipe: String,
    /// `stored`, `being-made`, `declined` or `not-made`.
    pub state: &'static str,
    /// One sentence.
    pub reason: String,
    /// Why something else is served in its place; a closed word, as in `Cache-Status`.
    pub declined: Option<&'static str>,
    /// What is stored.
    pub stored: Option<StoredPicture>,
}

/// A stored picture, in short.
#[derive(Debug, Serialize)]
pub struct StoredPicture {
    /// How it was made, as in `Cache-Status`.
    pub detail: String,
    /// `first` if it was made while somebody waited, `best` if it cannot be made better.
    pub effort: &'static str,
    /// Its media type.
    pub content_type: Option<String>,
    /// Length of the body.
    pub body_bytes: u64,
    /// What it is smaller than its source, in percent; negative if it is larger.
    pub saves_percent: i64,
    /// Its tag.
    pub etag: Option<String>,
    /// `mem` and `disk`.
    pub tiers: Vec<&'static str>,
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
    /// Says what a request for `host`, `path` and `query` with these fields would meet.
    pub async fn explain(
        &self,
        client: Client,
        method: &Method,
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
            code: "",
            reason: String::new(),
            rules: Vec::new(),
            rules_of_response: Vec::new(),
            wish: None,
            picture: None,
            coding: None,
            stored: None,
        };
        let routes = self.routes();
        let admitted = match self.admit_parts(&routes, client, host, path, query, &headers) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                told.refuse(&refusal);
                return told;
            }
        };
        told.site = Some(admitted.site.site.name.to_string());
        if !admitted.site.site.methods.contains(method) {
            told.refuse(&Refusal::Method(admitted.site.site.methods.clone()));
            return told;
        }
        let site = Arc::clone(&admitted.site);
        let selection = admitted.ruling.selection;
        let settings = Arc::clone(&admitted.ruling.settings);
        told.rules_of(&site, selection, None);
        match &admitted.ruling.verdict {
            Verdict::Pass => {}
            Verdict::Redirect { status, location } => {
                told.decision = "redirect";
                told.code = "redirect";
                told.reason = format!("{} to {location}", status.as_u16());
                return told;
            }
            Verdict::Deny(status) => {
                told.refuse(&Refusal::Denied(*status));
                return told;
            }
        }
        let (ask, asked) = match self.ask(admitted, client, headers, None) {
            Ok(asked) => asked,
            Err(refusal) => {
                told.refuse(&refusal);
                return told;
            }
        };
        told.key = Some(ask.key.to_string());
        told.origin_target = Some(match &ask.query {
            Some(query) => format!("{}?{query}", ask.path),
            None => ask.path.clone(),
        });
        if let Some(why) = bypasses(&ask, method) {
            told.decision = "bypass";
            (told.code, told.reason) = bypass_reason(why, &ask.zone.policy);
            return told;
        }
        let now = self.cache().clock().now();
        let stored = match self.cache().lookup(&ask).await {
            Lookup::Hit(stored) => {
                let left = stored.object.freshness().ttl(now);
                told.decision = "hit";
                told.code = "fresh";
                told.reason = match left > 0 {
                    true => format!("stored and fresh for another {left} s"),
                    false => "stored and stale, which the request takes (max-stale)".to_owned(),
                };
                Some(stored)
            }
            Lookup::HitAndRefresh(stored, _) => {
                told.decision = "hit-and-refresh";
                told.code = "stale-while-revalidate";
                told.reason = "stored and stale, within its stale-while-revalidate window: served now, validated behind".to_owned();
                Some(stored)
            }
            Lookup::Forward(forwarding) => {
                told.decision = "forward";
                (told.code, told.reason) = self.forward_reason(&ask, &forwarding);
                forwarding.candidate
            }
        };
        told.rules_of(
            &site,
            selection,
            stored.as_ref().map(|stored| &*stored.object),
        );
        told.wish = asked.wish.map(|wish| wish.to_string());
        if let Some(stored) = &stored {
            // Rules about responses have their say in what is made of it.
            let object = &stored.object;
            let decided = site.decided(selection, object.status, &object.headers());
            let settings = decided.unwrap_or(settings);
            let ask = Arc::new(Ask {
                zone: Arc::clone(&settings.zone),
                ..Ask::clone(&ask)
            });
            match form::recipe_of(&ask, &asked, &stored.object) {
                Some(recipe) => {
                    let explained = self.explain_picture(&ask, &stored.object, recipe);
                    told.picture = Some(explained.await);
                }
                None => {
                    let source = Served::of_tiers(Arc::clone(&stored.object));
                    let under = (&*site.site, &*settings);
                    told.coding = Some(self.explain_coding(under, &ask, &source).await);
                }
            }
        }
        told.stored = stored.map(|stored| {
            let object = &stored.object;
            let text = |name| field_of(object, &name);
            StoredObject {
                status: object.status.as_u16(),
                tier: stored.tier.as_str(),
                body_bytes: object.body.length(),
                age_seconds: object.freshness().age(now).as_secs(),
                ttl_seconds: object.freshness().ttl(now),
                etag: text(ETAG),
                content_type: text(CONTENT_TYPE),
                version: format!("{:032x}", object.version),
            }
        });
        told
    }

    async fn explain_picture(
        &self,
        ask: &Ask,
        source: &Object,
        recipe: Recipe,
    ) -> ExplainedPicture {
        let key = recipe.key();
        let state = self
            .cache()
            .form_state(&ask.zone, source, &Form::Picture(recipe))
            .await;
        let (word, reason) = picture_reason(&state);
        let stored = state.stored.map(|form| {
            let (own, original) = (form.object.body.length(), source.body.length());
            StoredPicture {
                detail: form.object.detail().to_owned(),
                effort: if state.is_best { "best" } else { "first" },
                content_type: field_of(&form.object, &CONTENT_TYPE),
                body_bytes: own,
                saves_percent: saved_percent(original, own),
                etag: field_of(&form.object, &ETAG),
                tiers: tiers_of(form.tiers),
            }
        });
        ExplainedPicture {
            recipe: key,
            state: word,
            reason,
            declined: state.declined,
            stored,
        }
    }

    pub(super) fn admit_parts(
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
        let place = site.place(Some(host_text(host)), raw_path, query)?;
        let ruling = site.rule(&Question {
            method: &Method::GET,
            path: &place.path,
            query: place.query.as_deref(),
            headers,
            peer: client.address,
        })?;
        Ok(place.admitted(site, ruling))
    }
}

impl Explanation {
    fn refuse(&mut self, refusal: &Refusal) {
        self.decision = "refuse";
        self.code = refusal.reason();
        self.reason = refusal.to_string();
    }

    /// Notes the rules that hold for what is known.
    fn rules_of(&mut self, site: &SiteState, selection: Selection, stored: Option<&Object>) {
        let program = &site.site.rules.program;
        let candidates = selection.candidates;
        let names = |set| program.rules(set).map(|rule| rule.name.clone()).collect();
        match stored {
            Some(object) => {
                let held = program.with_response(candidates, object.status, &object.headers());
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

impl Pipeline {
    fn forward_reason(&self, ask: &Ask, forwarding: &Forwarding) -> (&'static str, String) {
        if policy::is_only_if_cached(&ask.zone.policy, &ask.headers) {
            let reason = "nothing usable is stored, and the request says only-if-cached: 504";
            return ("only-if-cached", reason.to_owned());
        }
        match self.cache().remembered(forwarding) {
            Some(Remembered::Uncacheable(why)) => {
                let reason = format!(
                    "the last answer could not be stored ({why}): each request goes to the origin, and none waits for another"
                );
                return (why, reason);
            }
            Some(Remembered::Failing(error)) => {
                let reason = format!(
                    "the origin failed on it a moment ago ({error}): until the back-off ends, what is stale is served where that is allowed, or the same error"
                );
                return ("origin-failing", reason);
            }
            None => {}
        }
        let (code, reason) = match forwarding.because {
            Because::HandedOn => ("bypass", "the store is not asked"),
            Because::NothingStored => ("uri-miss", "nothing is stored for this URL"),
            Because::NoVariant => (
                "vary-miss",
                "variants of this URL are stored, but none for these request fields (Vary)",
            ),
            Because::Purged => ("purged", "what is stored was purged"),
            Because::BodyGone => (
                "body-gone",
                "the head is stored, but the tiers have dropped its body",
            ),
            Because::Unusable(why) => (why.as_str(), unusable(why)),
        };
        (code, reason.to_owned())
    }
}

fn picture_reason(state: &FormState) -> (&'static str, String) {
    let (word, reason) = match (state.stored.is_some(), state.is_being_made, state.declined) {
        (true, _, _) if state.is_best => ("stored", "made with all effort"),
        (true, ..) => (
            "stored",
            "made while somebody waited; asked for more often, it is made again with all effort",
        ),
        (false, true, _) => (
            "being-made",
            "who asks meanwhile waits at most first_answer",
        ),
        (false, false, Some(reason)) => {
            let sentence = format!("something else is served in its place ({reason})");
            return ("declined", sentence);
        }
        (false, false, None) => ("not-made", "the next request has it made"),
    };
    (word, reason.to_owned())
}

pub(super) fn tiers_of(present: Present) -> Vec<&'static str> {
    let tiers = [(present.memory, Tier::Memory), (present.disk, Tier::Disk)];
    let there = tiers.into_iter().filter(|(is_there, _)| *is_there);
    there.map(|(_, tier)| tier.as_str()).collect()
}

pub(super) fn saved_percent(original: u64, made: u64) -> i64 {
    let hundredths = i128::from(made) * 100 / i128::from(original.max(1));
    i64::try_from(100 - hundredths).unwrap_or(i64::MIN)
}

pub(super) fn field_of(object: &Object, name: &HeaderName) -> Option<String> {
    let headers = object.headers();
    let value = headers.get(name)?;
    value.to_str().ok().map(str::to_owned)
}

fn unusable(why: Unusable) -> &'static str {
    match why {
        Unusable::NoCache => "stored, but the response says no-cache: it is validated on each use",
        Unusable::RequestNoCache => {
            "stored and fresh, but the request says no-cache: the origin is asked whether it still holds"
        }
        Unusable::RequestMaxAge => {
            "stored and fresh, but older than the request's max-age: the origin is asked whether it still holds"
        }
        Unusable::RequestMinFresh => {
            "stored and fresh, but not for as long as the request's min-fresh: the origin is asked whether it still holds"
        }
        Unusable::SoftPurged => {
            "stored, but purged softly: the origin is asked whether it still holds"
        }
        Unusable::Stale => "stored, but stale: the origin is asked whether it still holds",
    }
}

fn bypass_reason(why: Forward, config: &policy::Config) -> (&'static str, String) {
    let (code, reason) = match (why, config.mode) {
        (Forward::Method, _) => (
            "method",
            "methods other than GET and HEAD go to the origin, and what they change is invalidated",
        ),
        (_, policy::Mode::Off) => ("off", "caching is off for this site ([cache] mode)"),
        (_, policy::Mode::Respect | policy::Mode::Static | policy::Mode::All) => (
            "authorization",
            "requests with Authorization pass by the cache ([cache] authorization = \"bypass\")",
        ),
    };
    (code, reason.to_owned())
}
