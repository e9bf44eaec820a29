use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::cache::{Refine, Zone};
use crate::rules::{Question, Rule, Selection, Set};
use crate::site::{Action, Deny, HeaderRules, RedirectTo, Site};

use super::{Refusal, SiteState};

/// Settings under different rules that a site remembers. Which rules hold may be the client's choice (fields,
/// parameters): beyond this the memory starts anew.
const REMEMBERED_MAX: usize = 256;

/// Numbers every [`Settings`] of the process.
static MADE: AtomicU64 = AtomicU64::new(1);

/// A site's settings under some of its rules.
pub struct Settings {
    /// The cache's view of the site.
    pub zone: Arc<Zone>,
    /// Fields of the response: the site's, then those of the rules, in order.
    pub headers: Vec<HeaderRules>,
    /// Request fields that decided about rules: the answer varies by them.
    pub vary: Vec<HeaderName>,
    /// Differs between any two settings of a process: stamps what was made by them.
    pub number: u64,
}

impl Settings {
    fn new(zone: Arc<Zone>, headers: Vec<HeaderRules>, vary: Vec<HeaderName>) -> Arc<Self> {
        Arc::new(Self {
            zone,
            headers,
            vary,
            number: MADE.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Those of a site without its rules.
    pub(super) fn of_site(site: &Site, zone: &Arc<Zone>) -> Arc<Self> {
        let headers = vec![site.response_headers.clone()];
        Self::new(Arc::clone(zone), headers, Vec::new())
    }
}

/// What a site's redirects, rewrites and rules say about a request.
pub(super) struct Ruling {
    /// The path, rewritten.
    pub(super) path: String,
    pub(super) selection: Selection,
    /// What holds as far as the request alone decides.
    pub(super) settings: Arc<Settings>,
    pub(super) verdict: Verdict,
}

/// Whether a request goes on to the cache.
pub(super) enum Verdict {
    Pass,
    Redirect {
        status: StatusCode,
        location: String,
    },
    Deny(StatusCode),
}

/// Settings that were made, by what they hold for.
pub(super) type Remembered = ArcSwap<HashMap<Held, Arc<Settings>>>;

/// What settings hold for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Held {
    selection: Selection,
    /// The rules that hold for the response, once it is there.
    decided: Option<Set>,
}

impl SiteState {
    /// What the site's redirects, rewrites and rules say, in this order.
    pub(super) fn rule(&self, question: &Question<'_>) -> Result<Ruling, Refusal> {
        let rules = &self.site.rules;
        let pass = |path: &str, selection, settings| Ruling {
            path: path.to_owned(),
            selection,
            settings,
            verdict: Verdict::Pass,
        };
        for redirect in &rules.redirects {
            if let Some(captures) = redirect.from.captures(question.path) {
                let verdict = redirected(&redirect.to, &captures, question.query)?;
                let base = Arc::clone(&self.base);
                return Ok(Ruling {
                    verdict,
                    ..pass(question.path, Selection::default(), base)
                });
            }
        }
        let rewritten = self.rewritten(question.path)?;
        let question = Question {
            path: rewritten.as_deref().unwrap_or(question.path),
            ..*question
        };
        let selection = rules.program.select(&question);
        let settings = self.selected(selection);
        let ruling = pass(question.path, selection, settings);
        if selection.candidates.is_empty() {
            return Ok(ruling);
        }
        self.act(&question, ruling)
    }

    /// The path that `[[rewrite]]` makes of this one, if any does.
    fn rewritten(&self, path: &str) -> Result<Option<String>, Refusal> {
        let mut rewrites = self.site.rules.rewrites.iter();
        let rewritten = rewrites.find_map(|rewrite| {
            let captures = rewrite.from.captures(path)?;
            Some(rewrite.to.path(&captures))
        });
        Ok(rewritten.transpose()?)
    }

    /// Every path under which a request for this one may be stored: which rules hold may depend on who asks.
    pub(super) fn stored_paths(&self, path: &str) -> Result<Vec<String>, Refusal> {
        let path = self.rewritten(path)?.unwrap_or_else(|| path.to_owned());
        let mut paths = Vec::new();
        for rule in self.site.rules.program.all() {
            if let Some(rewrite) = &rule.action.rewrite
                && rule.when.admits_path(&path)
            {
                let to = rewrite.path(&rule.when.captures(&path))?;
                if to != path && !paths.contains(&to) {
                    paths.push(to);
                }
            }
        }
        paths.push(path);
        Ok(paths)
    }

    /// The settings for a response with this head, where the request alone does not decide.
    pub(super) fn decided(
        &self,
        selection: Selection,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Arc<Settings>> {
        let program = &self.site.rules.program;
        if program.awaiting_response(selection.candidates).is_empty() {
            return None;
        }
        Some(self.remembered(Held {
            selection,
            decided: Some(program.with_response(selection.candidates, status, headers)),
        }))
    }

    /// What the rules that hold do at once; of each thing the last word counts.
    fn act(&self, question: &Question<'_>, ruling: Ruling) -> Result<Ruling, Refusal> {
        let program = &self.site.rules.program;
        let held = program.before_response(ruling.selection.candidates);
        let last = |says: fn(&Rule<Action>) -> bool| program.rules(held).rfind(|rule| says(rule));
        let deny = last(|rule| rule.action.deny.is_some()).and_then(|rule| rule.action.deny);
        if let Some(Deny::With(status)) = deny {
            return Ok(Ruling {
                verdict: Verdict::Deny(status),
                ..ruling
            });
        }
        if let Some(rule) = last(|rule| rule.action.redirect.is_some())
            && let Some(redirect) = &rule.action.redirect
        {
            let captures = rule.when.captures(question.path);
            return Ok(Ruling {
                verdict: redirected(redirect, &captures, question.query)?,
                ..ruling
            });
        }
        if let Some(rule) = last(|rule| rule.action.rewrite.is_some())
            && let Some(rewrite) = &rule.action.rewrite
        {
            let captures = rule.when.captures(question.path);
            return Ok(Ruling {
                path: rewrite.path(&captures)?,
                ..ruling
            });
        }
        Ok(ruling)
    }

    fn selected(&self, selection: Selection) -> Arc<Settings> {
        if selection == Selection::default() {
            return Arc::clone(&self.base);
        }
        self.remembered(Held {
            selection,
            decided: None,
        })
    }

    fn remembered(&self, held: Held) -> Arc<Settings> {
        if let Some(known) = self.remembered.load().get(&held) {
            return Arc::clone(known);
        }
        let made = self.make(held);
        self.remembered.rcu(|known| {
            let mut known = match known.len() < REMEMBERED_MAX {
                true => HashMap::clone(known),
                false => HashMap::new(),
            };
            known.insert(held, Arc::clone(&made));
            known
        });
        made
    }

    fn make(&self, held: Held) -> Arc<Settings> {
        let program = &self.site.rules.program;
        let candidates = held.selection.candidates;
        let set = held
            .decided
            .unwrap_or_else(|| program.before_response(candidates));
        let mut zone = under(&self.site, &self.zone, set);
        if held.decided.is_none() && !program.awaiting_response(candidates).is_empty() {
            zone.refine = Some(Arc::new(AtResponse {
                site: Arc::clone(&self.site),
                candidates,
            }));
        }
        let of_rules = program.rules(set).map(|rule| &rule.action.headers);
        let headers = [&self.site.response_headers].into_iter().chain(of_rules);
        Settings::new(
            Arc::new(zone),
            headers
                .filter(|rules| **rules != HeaderRules::none())
                .cloned()
                .collect(),
            program.fields(held.selection.by_headers),
        )
    }
}

/// Rules that wait for the response of a request.
struct AtResponse {
    site: Arc<Site>,
    candidates: Set,
}

impl Refine for AtResponse {
    fn refined(&self, zone: &Zone, status: StatusCode, headers: &HeaderMap) -> Zone {
        let program = &self.site.rules.program;
        let held = program.with_response(self.candidates, status, headers);
        let mut refined = under(&self.site, zone, held);
        // The request has gone out by this word: what the origin answered to somebody's credentials must not be
        // judged as if it had not seen them.
        refined.policy.authorization = zone.policy.authorization;
        refined
    }
}

/// The site's zone under these rules; a later one wins setting by setting.
fn under(site: &Site, zone: &Zone, set: Set) -> Zone {
    let mut zone = Zone {
        policy: site.cache.clone(),
        compression: site.compression.clone(),
        images: site.images.clone(),
        tags: Vec::new(),
        refine: None,
        ..zone.clone()
    };
    for rule in site.rules.program.rules(set) {
        let action = &rule.action;
        action.cache.apply(&mut zone.policy);
        zone.compression.enabled = action.compression.unwrap_or(zone.compression.enabled);
        action.images.apply(&mut zone.images);
        for tag in &action.tags {
            if !zone.tags.contains(tag) {
                zone.tags.push(tag.clone());
            }
        }
    }
    zone
}

fn redirected(
    redirect: &RedirectTo,
    captures: &[&str],
    query: Option<&str>,
) -> Result<Verdict, Refusal> {
    Ok(Verdict::Redirect {
        status: redirect.status,
        location: redirect.to.location(captures, query)?,
    })
}
