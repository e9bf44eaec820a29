use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::auth::Permission;
use super::control::SiteStatus;
use super::explain::field;
use super::refusal::{Refusal, json};
use super::routes::{Answer, Room, pairs};

/// Fields of one question.
const HEADERS_MAX: usize = 100;

/// Which object is asked about.
#[derive(Debug, Clone)]
pub struct ObjectsRequest {
    /// The site that it belongs to.
    pub site: String,
    /// How it is named.
    pub name: ObjectsName,
}

/// How an object is named.
#[derive(Debug, Clone)]
pub enum ObjectsName {
    /// By the full text of its key, as `explain` gives it.
    Key(String),
    /// By what a client would ask for.
    Url {
        /// With the port, if one is named.
        host: String,
        /// Path and query.
        url: Address,
        /// What the client would send beside.
        headers: HeaderMap,
    },
}

/// What is stored under one key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectsReport {
    /// The site.
    pub site: String,
    /// The full text of the key.
    pub key: String,
    /// The request fields that choose among the variants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<String>,
    /// The stored responses: one, or several where they vary.
    pub variants: Vec<VariantReport>,
}

/// A stored response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VariantReport {
    /// The values of the varying fields by which it is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<String>,
    /// The status.
    pub status: u16,
    /// The stored fields, each with its lines. Not all of them are sent on.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Names its bytes; a change of them has another.
    pub version: String,
    /// Length of the body.
    pub body_bytes: u64,
    /// Which tiers have its head.
    pub tiers: Vec<String>,
    /// The pieces of a large body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<ChunksReport>,
    /// How old the response is.
    pub age_seconds: u64,
    /// What is left of its lifetime; negative when stale.
    pub ttl_seconds: i64,
    /// How long it is fresh.
    pub lifetime_seconds: u64,
    /// How long after that it may be served while it is validated.
    pub stale_while_revalidate_seconds: u64,
    /// How long after that it may stand in for an origin that fails.
    pub stale_if_error_seconds: u64,
    /// Whether each use is validated first (`no-cache`).
    pub always_validate: bool,
    /// Whether it may never be served stale.
    pub must_revalidate: bool,
    /// Its purge tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagReport>,
    /// The purge sequence when the fetch of its bytes began.
    pub body_seq: u64,
    /// The purge sequence when its last validation began.
    pub checked_seq: u64,
    /// `no`, `soft` (it is stale) or `hard` (it is gone).
    pub purged: String,
    /// The purges that it is too old for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<ClockReport>,
    /// What was made of it: codings and pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<FormReport>,
}

/// How many chunks of a body are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunksReport {
    /// All that the body has.
    pub total: u64,
    /// Those that some tier has; the others are pulled when they are asked for.
    pub present: u64,
    /// Those in memory.
    pub mem: u64,
    /// Those on disk.
    pub disk: u64,
}

/// A purge tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagReport {
    /// What is stored of it.
    pub hash: String,
    /// What it is, where the response's own fields or the site's rules tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A purge that an object is too old for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// What was purged: `url`, `prefix`, `tag`, `site`, `everything`, `floor`, or by traffic.
    pub target: String,
    /// The prefix, or the tag's text or hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `hard` or `soft`.
    pub mode: String,
    /// The purge's number.
    pub sequence: u64,
}

/// A made form of a stored response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormReport {
    /// How it was made, such as `coding=br;level=5`.
    pub form: String,
    /// What came of it, such as the format and quality of a picture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Names its bytes.
    pub version: String,
    /// Length of its body.
    pub body_bytes: u64,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Which tiers have its head.
    pub tiers: Vec<String>,
    /// The pieces of a large body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<ChunksReport>,
}

/// `GET /v1/objects?site=…&key=…`, or `url=…` with `header=name: value` as often as needed.
pub(super) async fn objects(
    State(room): Room,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Objects)?;
    let question = Question::of(&pairs(query.as_deref())?)?;
    let site_of = |host: &str| room.control.site_of(host);
    let request = question.request(&room.control.sites(), &site_of)?;
    grant.must_cover(&request.site)?;
    let report = room.control.objects(request).await?;
    Ok(json(StatusCode::OK, &report))
}

#[derive(Debug, Default)]
struct Question {
    site: Option<String>,
    key: Option<String>,
    url: Option<String>,
    headers: HeaderMap,
}

impl Question {
    fn of(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let mut question = Self::default();
        for (name, value) in pairs {
            let place = match name.as_str() {
                "site" => &mut question.site,
                "key" => &mut question.key,
                "url" => &mut question.url,
                "header" if question.headers.len() >= HEADERS_MAX => {
                    return Err(Refusal::bad(format!("More than {HEADERS_MAX} header.")));
                }
                "header" => {
                    let (name, value) = field(value)?;
                    question.headers.append(name, value);
                    continue;
                }
                other => {
                    return Err(Refusal::bad(format!(
                        "Unknown parameter '{other}'; known are site, key, url and header."
                    )));
                }
            };
            if place.replace(value.clone()).is_some() {
                return Err(Refusal::bad(format!("{name} may be given once.")));
            }
        }
        Ok(question)
    }

    fn request(
        self,
        sites: &[SiteStatus],
        site_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ObjectsRequest, Refusal> {
        // A key begins with its site, so what begins like a URL is one.
        let is_url = |text: &String| {
            ["/", "http://", "https://"]
                .iter()
                .any(|start| text.starts_with(start))
        };
        let (key, url) = match (self.key, self.url) {
            (Some(key), None) if is_url(&key) => (None, Some(key)),
            given => given,
        };
        match (key, url) {
            (Some(key), None) => Ok(ObjectsRequest {
                site: known(self.site.as_deref(), sites)?.name.clone(),
                name: ObjectsName::Key(key),
            }),
            (None, Some(text)) => {
                let url = Address::parse(&text)
                    .map_err(|error| Refusal::bad(format!("url '{text}': {error}.")))?;
                let (site, host) = place(self.site.as_deref(), &url, sites, site_of)?;
                let headers = self.headers;
                Ok(ObjectsRequest {
                    site,
                    name: ObjectsName::Url { host, url, headers },
                })
            }
            (None, None) | (Some(_), Some(_)) => Err(Refusal::bad(
                "Name the object by key or by url, as explain gives the key.",
            )),
        }
    }
}

/// The site and the host that a URL is asked for. A path needs a site, and goes to its first host without a wildcard.
fn place(
    site: Option<&str>,
    url: &Address,
    sites: &[SiteStatus],
    site_of: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, String), Refusal> {
    let Some(name) = &url.host else {
        let site = known(site, sites)?;
        let host = site.hosts.iter().find(|host| !host.starts_with('*'));
        let host = host.cloned().ok_or_else(|| {
            Refusal::bad(format!(
                "The site '{}' has no host without a wildcard: give a URL with a host.",
                site.name
            ))
        })?;
        return Ok((site.name.clone(), host));
    };
    let found = site_of(name);
    // The same of another site's host and of one that nobody has: a token of one site does not learn of others.
    if site.is_some_and(|site| Some(site) != found.as_deref()) {
        return Err(Refusal::bad(format!(
            "The site does not answer for the host '{name}'."
        )));
    }
    let Some(found) = found else {
        return Err(Refusal::not_found(format!(
            "No site answers for the host '{name}'."
        )));
    };
    let host = match url.port {
        Some(port) => format!("{name}:{port}"),
        None => name.clone(),
    };
    Ok((found, host))
}

fn known<'a>(site: Option<&str>, sites: &'a [SiteStatus]) -> Result<&'a SiteStatus, Refusal> {
    match (site, sites) {
        (Some(name), _) => sites
            .iter()
            .find(|site| site.name == name)
            .ok_or_else(|| Refusal::bad(format!("There is no site '{name}'."))),
        (None, [site]) => Ok(site),
        (None, _) => Err(Refusal::bad("The parameter site is missing.")),
    }
}
