use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::auth::Grant;
use super::control::{PurgeItem, PurgeRequest};
use super::refusal::Refusal;
use super::token::hex;
use crate::telemetry::{PurgeMode, PurgeTarget};

/// Items of one purge, after tags have been multiplied by sites: a transaction of some megabytes.
const ITEMS_MAX: usize = 100_000;

/// Purges that `GET /v1/purge/{id}` still knows.
const REMEMBERED: usize = 1000;

/// Longer than any tag that `policy` keeps.
const TAG_BYTES_MAX: usize = 16 << 10;

/// The body of `POST /v1/purge`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    sites: Option<Sites>,
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    everything: bool,
    soft: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "sites: a list of site names, or \"*\" for all")]
enum Sites {
    One(String),
    Several(Vec<String>),
}

/// Which sites an order names.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    /// None was named; URLs say it by their host.
    Unnamed,
    All,
    Named(Vec<String>),
}

/// What the node knows that turns an order into items.
pub(super) struct Directory<'a> {
    pub(super) sites: &'a [String],
    pub(super) site_of: &'a dyn Fn(&str) -> Option<String>,
}

/// A purge that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeRecord {
    /// For `GET /v1/purge/{id}`.
    pub id: String,
    /// The purge's place among all purges.
    pub sequence: u64,
    /// How many of each.
    pub counts: PurgeCounts,
    /// Stale rather than gone.
    pub soft: bool,
    /// The sites that it touched; `*` for all.
    pub sites: Vec<String>,
    /// The name of the token that ordered it.
    pub token: String,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeCounts {
    /// Exact URLs.
    pub urls: usize,
    /// Prefixes.
    pub prefixes: usize,
    /// Tags, each once a site.
    pub tags: usize,
    /// Whole sites.
    pub sites: usize,
    /// The whole node.
    pub everything: usize,
}

impl Order {
    /// Names become sites, texts become URLs, and the caller may touch each of them; or one sentence says
    /// what is wrong with the first that is not so.
    pub(super) fn check(
        &self,
        directory: &Directory<'_>,
        grant: &Grant,
    ) -> Result<PurgeRequest, Refusal> {
        let scope = self.scope(directory, grant)?;
        let mut items = Vec::new();
        for (index, url) in self.urls.iter().enumerate() {
            let (site, address) = place(("urls", index, url), &scope, directory, grant)?;
            items.push(PurgeItem::Url {
                site,
                host: address.host,
                path: address.path,
                query: address.query,
            });
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let text = prefix.strip_suffix('*').unwrap_or(prefix);
            let (site, address) = place(("prefixes", index, text), &scope, directory, grant)?;
            if address.query.is_some() {
                return Err(Refusal::bad(format!(
                    "prefixes[{index}] has a query, and a prefix is of paths only."
                )));
            }
            items.push(PurgeItem::Prefix {
                site,
                host: address.host,
                prefix: address.path,
            });
        }
        if !self.tags.is_empty() {
            let sites = scope.sites(directory).ok_or_else(|| needs_sites("tags"))?;
            if sites.len().saturating_mul(self.tags.len()) > ITEMS_MAX {
                return Err(too_many());
            }
            for (index, tag) in self.tags.iter().enumerate() {
                let tag = checked_tag(index, tag)?;
                items.extend(sites.iter().map(|site| PurgeItem::Tag {
                    site: site.clone(),
                    tag: tag.to_owned(),
                }));
            }
        }
        if self.everything {
            match &scope {
                Scope::Unnamed | Scope::All => items.push(PurgeItem::Everything),
                Scope::Named(sites) => items.extend(
                    sites
                        .iter()
                        .map(|site| PurgeItem::Site { site: site.clone() }),
                ),
            }
        }
        if items.is_empty() {
            return Err(Refusal::bad(
                "Nothing to purge: give urls, prefixes, tags or everything.",
            ));
        }
        if items.len() > ITEMS_MAX {
            return Err(too_many());
        }
        let mode = if self.soft {
            PurgeMode::Soft
        } else {
            PurgeMode::Hard
        };
        Ok(PurgeRequest { items, mode })
    }

    fn scope(&self, directory: &Directory<'_>, grant: &Grant) -> Result<Scope, Refusal> {
        let names = match &self.sites {
            // Tags and everything, of no site in particular: of all.
            None if self.everything || !self.tags.is_empty() => {
                grant.must_cover_all()?;
                return Ok(Scope::All);
            }
            None => return Ok(Scope::Unnamed),
            Some(Sites::One(name)) => std::slice::from_ref(name),
            Some(Sites::Several(names)) => names.as_slice(),
        };
        if names.iter().any(|name| name == "*") {
            grant.must_cover_all()?;
            return Ok(Scope::All);
        }
        let mut sites: Vec<String> = Vec::new();
        for name in names {
            grant.must_cover(name)?;
            if !directory.sites.contains(name) {
                return Err(Refusal::bad(format!("There is no site '{name}'.")));
            }
            if !sites.contains(name) {
                sites.push(name.clone());
            }
        }
        if sites.is_empty() {
            return Err(Refusal::bad(
                "sites is empty; name a site, or \"*\" for all.",
            ));
        }
        Ok(Scope::Named(sites))
    }
}

impl Scope {
    fn sites<'a>(&'a self, directory: &'a Directory<'_>) -> Option<&'a [String]> {
        match self {
            Self::Unnamed => None,
            Self::All => Some(directory.sites),
            Self::Named(sites) => Some(sites),
        }
    }
}

/// The site and address of one URL or prefix. A path needs exactly one named site; an absolute URL says its
/// site by its host, which must then be among the named ones if there are any.
fn place(
    (field, index, text): (&str, usize, &str),
    scope: &Scope,
    directory: &Directory<'_>,
    grant: &Grant,
) -> Result<(String, Address), Refusal> {
    let address = Address::parse(text)
        .map_err(|error| Refusal::bad(format!("{field}[{index}] '{text}': {error}.")))?;
    let site = match (&address.host, scope) {
        (None, Scope::Named(sites)) => match sites.as_slice() {
            [site] => site.clone(),
            _ => return Err(needs_one_site(field, index)),
        },
        (None, Scope::Unnamed | Scope::All) => match directory.sites {
            [site] => {
                grant.must_cover(site)?;
                site.clone()
            }
            _ => return Err(needs_one_site(field, index)),
        },
        (Some(host), scope) => {
            let site = (directory.site_of)(host).ok_or_else(|| {
                Refusal::bad(format!(
                    "{field}[{index}] '{text}': no site answers for the host '{host}'."
                ))
            })?;
            if matches!(scope, Scope::Named(sites) if !sites.contains(&site)) {
                return Err(Refusal::bad(format!(
                    "{field}[{index}] '{text}' belongs to the site '{site}', which sites does not name."
                )));
            }
            grant.must_cover(&site)?;
            site
        }
    };
    Ok((site, address))
}

fn checked_tag(index: usize, tag: &str) -> Result<&str, Refusal> {
    let tag = tag.trim();
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.chars().any(char::is_control) {
        return Err(Refusal::bad(format!(
            "tags[{index}] is empty, too long or has control characters."
        )));
    }
    Ok(tag)
}

fn needs_sites(field: &str) -> Refusal {
    Refusal::bad(format!("{field} needs sites: name them, or \"*\" for all."))
}

fn needs_one_site(field: &str, index: usize) -> Refusal {
    Refusal::bad(format!(
        "{field}[{index}] is a path, which needs exactly one name in sites."
    ))
}

fn too_many() -> Refusal {
    Refusal::bad(format!(
        "More than {ITEMS_MAX} items in one purge; split it, or purge by prefix or tag."
    ))
}

impl PurgeCounts {
    pub(super) fn of(items: &[PurgeItem]) -> Self {
        let mut counts = Self::default();
        for item in items {
            *match item.target() {
                PurgeTarget::Url => &mut counts.urls,
                PurgeTarget::Prefix => &mut counts.prefixes,
                PurgeTarget::Tag => &mut counts.tags,
                PurgeTarget::Site => &mut counts.sites,
                PurgeTarget::Everything => &mut counts.everything,
            } += 1;
        }
        counts
    }
}

/// The names of the sites that a purge touches, each once; `*` for all.
pub(super) fn touched(items: &[PurgeItem]) -> Vec<String> {
    let mut sites: Vec<String> = items
        .iter()
        .map(|item| match item {
            PurgeItem::Url { site, .. }
            | PurgeItem::Prefix { site, .. }
            | PurgeItem::Tag { site, .. }
            | PurgeItem::Site { site } => site.clone(),
            PurgeItem::Everything => "*".to_owned(),
        })
        .collect();
    sites.sort_unstable();
    sites.dedup();
    sites
}

/// The last purges, for whoever asks what became of one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    records: Mutex<VecDeque<Arc<PurgeRecord>>>,
}

impl Memory {
    pub(super) fn keep(&self, record: PurgeRecord) -> Arc<PurgeRecord> {
        let record = Arc::new(record);
        let mut records = self.records.lock();
        if records.len() >= REMEMBERED {
            records.pop_front();
        }
        records.push_back(Arc::clone(&record));
        record
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<PurgeRecord>> {
        let records = self.records.lock();
        records.iter().rev().find(|record| record.id == id).cloned()
    }
}

/// Not to be guessed, since an id opens a record. Without random numbers the sequence has to do.
pub(super) fn new_id(sequence: u64) -> String {
    let mut random = [0_u8; 12];
    match getrandom::fill(&mut random) {
        Ok(()) => hex(&random),
        Err(_) => format!("{sequence:024x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::auth::{Keyring, Permission};
    use super::super::config::Token;
    use super::*;

    fn grant(sites: &[&str]) -> Arc<Grant> {
        let token = Token {
            name: "t".into(),
            secret: "s".into(),
            allow: vec!["purge".into()],
            sites: sites.iter().map(|&site| site.to_owned()).collect(),
        };
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", "Bearer s".parse().unwrap());
        let keyring = Keyring::new(&[token]).unwrap();
        keyring.admit(&headers, Permission::Purge).unwrap()
    }

    fn run(body: &str, token_sites: &[&str]) -> Result<PurgeRequest, Refusal> {
        let order: Order = serde_json::from_str(body).unwrap();
        let sites = ["shop".to_owned(), "blog".to_owned()];
        let directory = Directory {
            sites: &sites,
            site_of: &|host| match host {
                "shop.example" | "www.shop.example" => Some("shop".to_owned()),
                "blog.example" => Some("blog".to_owned()),
                _ => None,
            },
        };
        order.check(&directory, &grant(token_sites))
    }

    #[track_caller]
    fn check(body: &str, expect: &[PurgeItem]) {
        let request = run(body, &["*"]).unwrap_or_else(|error| panic!("{}", error.error()));
        assert_eq!(request.items, expect);
    }

    fn url(site: &str, host: Option<&str>, path: &str, query: Option<&str>) -> PurgeItem {
        PurgeItem::Url {
            site: site.into(),
            host: host.map(Into::into),
            path: path.into(),
            query: query.map(Into::into),
        }
    }

    fn prefix(site: &str, host: Option<&str>, prefix: &str) -> PurgeItem {
        PurgeItem::Prefix {
            site: site.into(),
            host: host.map(Into::into),
            prefix: prefix.into(),
        }
    }

    fn tag(site: &str, tag: &str) -> PurgeItem {
        PurgeItem::Tag {
            site: site.into(),
            tag: tag.into(),
        }
    }

    #[test]
    fn urls_say_their_site_or_need_one() {
        check(
            r#"{"urls": ["https://shop.example/a?b", "http://BLOG.example:81/"]}"#,
            &[
                url("shop", Some("shop.example"), "/a", Some("b")),
                url("blog", Some("blog.example"), "/", None),
            ],
        );
        check(
            r#"{"sites": ["shop"], "urls": ["/a?b"]}"#,
            &[url("shop", None, "/a", Some("b"))],
        );
        check(
            r#"{"sites": "shop", "urls": ["/a"]}"#,
            &[url("shop", None, "/a", None)],
        );
    }

    #[test]
    fn prefixes_lose_one_trailing_star() {
        check(
            r#"{"sites": ["shop"], "prefixes": ["/img/*", "/a**", "https://www.shop.example/x"]}"#,
            &[
                prefix("shop", None, "/img/"),
                prefix("shop", None, "/a*"),
                prefix("shop", Some("www.shop.example"), "/x"),
            ],
        );
    }

    #[test]
    fn tags_are_multiplied_by_sites() {
        check(
            r#"{"sites": "*", "tags": [" x ", "y"]}"#,
            &[
                tag("shop", "x"),
                tag("blog", "x"),
                tag("shop", "y"),
                tag("blog", "y"),
            ],
        );
    }

    #[test]
    fn everything_is_of_sites_or_of_the_node() {
        check(
            r#"{"sites": ["blog", "blog"], "everything": true}"#,
            &[PurgeItem::Site {
                site: "blog".into(),
            }],
        );
        check(
            r#"{"sites": ["*"], "everything": true}"#,
            &[PurgeItem::Everything],
        );
    }

    #[test]
    fn soft_is_a_mode() {
        let mode = |body| run(body, &["*"]).map(|request| request.mode).unwrap();
        assert_eq!(
            mode(r#"{"sites": "*", "everything": true}"#),
            PurgeMode::Hard
        );
        assert_eq!(
            mode(r#"{"sites": "*", "everything": true, "soft": true}"#),
            PurgeMode::Soft
        );
    }

    #[track_caller]
    fn refused(body: &str, token_sites: &[&str], status: u16, says: &str) {
        let refusal = run(body, token_sites).unwrap_err();
        assert_eq!(refusal.status().as_u16(), status, "{}", refusal.error());
        assert!(refusal.error().contains(says), "{}", refusal.error());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        refused("{}", &["*"], 400, "Nothing to purge");
        refused(r#"{"urls": ["/a"]}"#, &["*"], 400, "urls[0]");
        refused(
            r#"{"sites": "*", "urls": ["/a"]}"#,
            &["*"],
            400,
            "exactly one",
        );
        refused(
            r#"{"sites": ["shop"], "urls": ["/a", "x"]}"#,
            &["*"],
            400,
            "urls[1] 'x'",
        );
        refused(
            r#"{"urls": ["https://other.example/"]}"#,
            &["*"],
            400,
            "'other.example'",
        );
        refused(
            r#"{"sites": ["blog"], "urls": ["https://shop.example/"]}"#,
            &["*"],
            400,
            "belongs to the site 'shop'",
        );
        refused(
            r#"{"sites": ["shop"], "prefixes": ["/a?b*"]}"#,
            &["*"],
            400,
            "query",
        );
        refused(r#"{"sites": "*", "tags": [" "]}"#, &["*"], 400, "tags[0]");
        refused(r#"{"everything": true}"#, &["blog"], 403, "");
        refused(
            r#"{"sites": [], "everything": true}"#,
            &["*"],
            400,
            "sites is empty",
        );
        refused(
            r#"{"sites": ["nope"], "everything": true}"#,
            &["*"],
            400,
            "'nope'",
        );
    }

    #[test]
    fn a_token_reaches_its_own_sites_only() {
        assert!(run(r#"{"urls": ["https://shop.example/"]}"#, &["shop"]).is_ok());
        for body in [
            r#"{"urls": ["https://blog.example/"]}"#,
            r#"{"sites": ["blog"], "everything": true}"#,
            r#"{"sites": ["shop", "blog"], "tags": ["x"]}"#,
            r#"{"sites": "*", "everything": true}"#,
            r#"{"sites": ["nope"], "everything": true}"#,
        ] {
            refused(body, &["shop"], 403, "token 't'");
        }
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        let tags = vec!["x"; ITEMS_MAX / 2 + 1];
        let body = serde_json::json!({ "sites": "*", "tags": tags }).to_string();
        refused(&body, &["*"], 400, "More than 100000 items");
    }

    #[test]
    fn the_oldest_purge_is_forgotten_first() {
        let memory = Memory::default();
        for sequence in 0..=1000_u64 {
            memory.keep(PurgeRecord {
                id: sequence.to_string(),
                sequence,
                counts: PurgeCounts::default(),
                soft: false,
                sites: Vec::new(),
                token: String::new(),
            });
        }
        assert!(memory.find("0").is_none());
        assert_eq!(memory.find("1").unwrap().sequence, 1);
        assert_eq!(memory.find("1000").unwrap().sequence, 1000);
    }
}
