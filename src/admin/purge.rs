use std::fmt::Write;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::address::Address;
use super::auth::Grant;
use super::control::{PurgeItem, PurgeRequest};
use super::refusal::Refusal;
use crate::telemetry::PurgeMode;

/// Items of one purge, after tags have been multiplied by sites: a transaction of some megabytes.
const ITEMS_MAX: usize = 100_000;

/// Longer than any tag that `policy` keeps.
const TAG_BYTES_MAX: usize = 16 << 10;

/// Mistakes of one order that are listed.
const MISTAKES_MAX: usize = 100;
/// So much of what an operator wrote is repeated in a mistake.
const QUOTE_CHARS: usize = 200;

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
    Named(Vec<Arc<str>>),
}

/// What the node knows that turns an order into items.
pub(super) struct Directory<'a> {
    pub(super) sites: &'a [Arc<str>],
    pub(super) site_of: &'a dyn Fn(&str) -> Option<Arc<str>>,
}

/// An order that makes sense so far.
#[derive(Debug)]
pub(super) struct CheckedOrder {
    pub(super) request: PurgeRequest,
    pub(super) places: Places,
}

/// Where in the order each item was written; the last items may be of none.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

/// Where in the order an item was written.
#[derive(Debug, Clone, Copy)]
struct Place {
    list: &'static str,
    index: usize,
}

/// What is wrong with an order, all of it up to a bound.
#[derive(Debug, Default)]
struct Mistakes {
    texts: Vec<String>,
    count: usize,
    /// Whether any of them is beyond the caller's token.
    forbidden: bool,
}

/// What is wrong with one item.
enum Mistake {
    Senseless(String),
    Forbidden(String),
}

impl From<Refusal> for Mistake {
    fn from(refusal: Refusal) -> Self {
        match refusal.is_forbidden() {
            true => Self::Forbidden(refusal.into_error()),
            false => Self::Senseless(refusal.into_error()),
        }
    }
}

impl Mistakes {
    fn add(&mut self, mistake: impl Into<Mistake>) {
        self.count += 1;
        let text = match mistake.into() {
            Mistake::Senseless(text) => text,
            Mistake::Forbidden(text) => {
                self.forbidden = true;
                text
            }
        };
        if self.texts.len() < MISTAKES_MAX {
            self.texts.push(text);
        }
    }

    fn into_refusal(mut self) -> Refusal {
        let status = match self.forbidden {
            true => StatusCode::FORBIDDEN,
            false => StatusCode::BAD_REQUEST,
        };
        if self.count == 1
            && let Some(only) = self.texts.pop()
        {
            return Refusal::new(status, only);
        }
        let mut error = format!("{} mistakes; nothing was purged.", self.count);
        if self.count > self.texts.len() {
            // Writing to a text cannot fail.
            write!(error, " The first {} are listed.", self.texts.len()).ok();
        }
        Refusal::with_errors(status, error, self.texts)
    }
}

/// What an operator wrote, for a mistake: not all of it when it is long.
struct Quote<'a>(&'a str);

impl std::fmt::Display for Quote<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.chars();
        f.write_char('\'')?;
        for character in rest.by_ref().take(QUOTE_CHARS) {
            write!(f, "{}", character.escape_debug())?;
        }
        f.write_str(if rest.next().is_some() { "…'" } else { "'" })
    }
}

impl Order {
    /// Names become sites, texts become URLs, and the caller may touch each of them; or all that is wrong with
    /// those that are not so.
    pub(super) fn check(
        &self,
        directory: &Directory<'_>,
        grant: &Grant,
    ) -> Result<CheckedOrder, Refusal> {
        let mut mistakes = Mistakes::default();
        let scope = self.scope(directory, grant, &mut mistakes);
        let Some(scope) = scope.filter(|_| mistakes.count == 0) else {
            return Err(mistakes.into_refusal());
        };
        let entries = self.urls.len() + self.prefixes.len() + self.tags.len();
        let sites = scope.sites(directory).map_or(1, <[_]>::len).max(1);
        if entries > ITEMS_MAX || self.tags.len().saturating_mul(sites) > ITEMS_MAX {
            return Err(too_many());
        }
        let mut items = Vec::with_capacity(entries);
        let mut places = Vec::with_capacity(entries);
        let lists = [("urls", &self.urls), ("prefixes", &self.prefixes)];
        for (list, texts) in lists {
            for (index, text) in texts.iter().enumerate() {
                let place = Place { list, index };
                match located(place, text, &scope, directory, grant) {
                    Ok(item) => {
                        items.push(item);
                        places.push(place);
                    }
                    Err(mistake) => mistakes.add(mistake),
                }
            }
        }
        for (index, tag) in self.tags.iter().enumerate() {
            match (checked_tag(index, tag), scope.sites(directory)) {
                (Ok(tag), Some(sites)) => {
                    let tagged = |site: &Arc<str>| PurgeItem::Tag {
                        site: Arc::clone(site),
                        tag: tag.to_owned(),
                    };
                    items.extend(sites.iter().map(tagged));
                    places.resize(
                        items.len(),
                        Place {
                            list: "tags",
                            index,
                        },
                    );
                }
                (Ok(_), None) => mistakes.add(Refusal::bad(
                    "tags needs sites: name them, or \"*\" for all.",
                )),
                (Err(mistake), _) => mistakes.add(mistake),
            }
        }
        if self.everything {
            match &scope {
                Scope::Unnamed | Scope::All => items.push(PurgeItem::Everything),
                Scope::Named(sites) => items.extend(sites.iter().map(|site| PurgeItem::Site {
                    site: Arc::clone(site),
                })),
            }
        }
        if mistakes.count > 0 {
            return Err(mistakes.into_refusal());
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
        let token = grant.name.clone();
        let request = PurgeRequest { items, mode, token };
        let places = Places(places);
        Ok(CheckedOrder { request, places })
    }

    fn scope(
        &self,
        directory: &Directory<'_>,
        grant: &Grant,
        mistakes: &mut Mistakes,
    ) -> Option<Scope> {
        let mut of_all = || match grant.must_cover_all() {
            Ok(()) => Some(Scope::All),
            Err(refusal) => {
                mistakes.add(refusal);
                None
            }
        };
        let names = match &self.sites {
            // Tags and everything, of no site in particular: of all.
            None if self.everything || !self.tags.is_empty() => return of_all(),
            None => return Some(Scope::Unnamed),
            Some(Sites::One(name)) => std::slice::from_ref(name),
            Some(Sites::Several(names)) => names.as_slice(),
        };
        if names.iter().any(|name| name == "*") {
            return of_all();
        }
        let mut sites: Vec<Arc<str>> = Vec::new();
        for name in names {
            if let Err(refusal) = grant.must_cover(name) {
                mistakes.add(refusal);
                continue;
            }
            match directory.sites.iter().find(|site| ***site == **name) {
                Some(site) if sites.contains(site) => {}
                Some(site) => sites.push(Arc::clone(site)),
                None => mistakes.add(Refusal::bad(format!("There is no site {}.", Quote(name)))),
            }
        }
        if names.is_empty() {
            mistakes.add(Refusal::bad(
                "sites is empty; name a site, or \"*\" for all.",
            ));
        }
        Some(Scope::Named(sites))
    }
}

impl Places {
    /// The refusal of an order of some of whose items the node can make nothing: their numbers, and why.
    pub(super) fn refusal(&self, order: &Order, reasons: &[(usize, String)]) -> Refusal {
        let mut mistakes = Mistakes::default();
        for (item, reason) in reasons {
            let written = self.0.get(*item).and_then(|place| {
                let texts = match place.list {
                    "urls" => &order.urls,
                    "prefixes" => &order.prefixes,
                    _ => &order.tags,
                };
                Some((place, texts.get(place.index)?))
            });
            mistakes.add(Mistake::Senseless(match written {
                Some((Place { list, index }, text)) => {
                    format!("{list}[{index}] {}: {reason}.", Quote(text))
                }
                None => format!("{reason}."),
            }));
        }
        mistakes.into_refusal()
    }
}

impl Scope {
    fn sites<'a>(&'a self, directory: &'a Directory<'_>) -> Option<&'a [Arc<str>]> {
        match self {
            Self::Unnamed => None,
            Self::All => Some(directory.sites),
            Self::Named(sites) => Some(sites),
        }
    }
}

/// The item of one URL or prefix. A path needs exactly one named site; an absolute URL says its site by its
/// host, which must then be among the named ones if there are any.
fn located(
    Place { list, index }: Place,
    written: &str,
    scope: &Scope,
    directory: &Directory<'_>,
    grant: &Grant,
) -> Result<PurgeItem, Mistake> {
    let quote = Quote(written);
    let (text, is_prefix) = match list {
        "urls" => match written.strip_suffix('*') {
            // Whoever ends a URL so means all that is below.
            Some(text) if text.ends_with('/') && !text.contains('?') => (text, true),
            Some(_) | None => (written, false),
        },
        _ => (written.strip_suffix('*').unwrap_or(written), true),
    };
    let address = Address::parse(text)
        .map_err(|error| Mistake::Senseless(format!("{list}[{index}] {quote}: {error}.")))?;
    let site = match (&address.host, scope) {
        (None, Scope::Named(sites)) => match sites.as_slice() {
            [site] => Arc::clone(site),
            _ => return Err(needs_one_site(list, index)),
        },
        (None, Scope::Unnamed | Scope::All) => match directory.sites {
            [site] => {
                grant.must_cover(site)?;
                Arc::clone(site)
            }
            _ => return Err(needs_one_site(list, index)),
        },
        (Some(host), scope) => {
            let site = (directory.site_of)(host);
            // Which hosts there are, and whose, is nothing that a token of some sites opens.
            if !site
                .as_ref()
                .map_or_else(|| grant.covers_all(), |site| grant.covers(site))
            {
                return Err(Mistake::Forbidden(format!(
                    "{list}[{index}] {quote}: the token '{}' does not reach the host '{host}'.",
                    grant.name
                )));
            }
            let site = site.ok_or_else(|| {
                Mistake::Senseless(format!(
                    "{list}[{index}] {quote}: no site answers for the host '{host}'."
                ))
            })?;
            if matches!(scope, Scope::Named(sites) if !sites.contains(&site)) {
                return Err(Mistake::Senseless(format!(
                    "{list}[{index}] {quote} belongs to the site '{site}', which sites does not name."
                )));
            }
            site
        }
    };
    let Address {
        host, path, query, ..
    } = address;
    if !is_prefix {
        return Ok(PurgeItem::Url {
            site,
            host,
            path,
            query,
        });
    }
    if query.is_some() {
        return Err(Mistake::Senseless(format!(
            "{list}[{index}] {quote} has a query, and a prefix is of paths only."
        )));
    }
    Ok(PurgeItem::Prefix {
        site,
        host,
        prefix: path,
    })
}

fn checked_tag(index: usize, tag: &str) -> Result<&str, Mistake> {
    let tag = tag.trim();
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.chars().any(char::is_control) {
        return Err(Mistake::Senseless(format!(
            "tags[{index}] is empty, too long or has control characters."
        )));
    }
    Ok(tag)
}

fn needs_one_site(list: &str, index: usize) -> Mistake {
    Mistake::Senseless(format!(
        "{list}[{index}] is a path, which needs exactly one name in sites."
    ))
}

fn too_many() -> Refusal {
    Refusal::bad(format!(
        "More than {ITEMS_MAX} items in one purge; split it, or purge by prefix or tag."
    ))
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
        let sites = ["shop".into(), "blog".into()];
        let directory = Directory {
            sites: &sites,
            site_of: &|host| match host {
                "shop.example" | "www.shop.example" => Some("shop".into()),
                "blog.example" => Some("blog".into()),
                _ => None,
            },
        };
        let checked = order.check(&directory, &grant(token_sites))?;
        Ok(checked.request)
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
    fn a_url_that_ends_in_a_wildcard_is_a_prefix() {
        check(
            r#"{"urls": ["https://shop.example/a/*", "https://shop.example/*"]}"#,
            &[
                prefix("shop", Some("shop.example"), "/a/"),
                prefix("shop", Some("shop.example"), "/"),
            ],
        );
        check(
            r#"{"sites": "shop", "urls": ["/a*", "/a?b/*"]}"#,
            &[
                url("shop", None, "/a*", None),
                url("shop", None, "/a", Some("b/*")),
            ],
        );
    }

    #[test]
    fn every_mistake_is_listed_with_its_place() {
        let body = r#"{"sites": ["shop"], "urls": ["/a", "x", "/b#c"], "prefixes": ["/a?b*", "/ok"], "tags": [""]}"#;
        let refusal = run(body, &["*"]).unwrap_err();
        assert_eq!(refusal.status(), 400);
        assert_eq!(refusal.error(), "4 mistakes; nothing was purged.");
        let places: Vec<_> = refusal
            .errors()
            .iter()
            .map(|error| error.split([' ', ':']).next().unwrap())
            .collect();
        assert_eq!(places, ["urls[1]", "urls[2]", "prefixes[0]", "tags[0]"]);

        let many = serde_json::json!({ "sites": "shop", "urls": vec!["x"; 1000] });
        let refusal = run(&many.to_string(), &["*"]).unwrap_err();
        assert_eq!(
            refusal.error(),
            "1000 mistakes; nothing was purged. The first 100 are listed."
        );
        assert_eq!(refusal.errors().len(), MISTAKES_MAX);

        let long = serde_json::json!({ "sites": "shop", "urls": ["\u{7}".repeat(100_000)] });
        let refusal = run(&long.to_string(), &["*"]).unwrap_err();
        assert!(refusal.error().len() < 2000);
    }

    #[test]
    fn a_token_of_some_sites_learns_nothing_of_others() {
        let texts = ["https://blog.example/", "https://nobody.example/"].map(|url| {
            let body = serde_json::json!({ "urls": [url] }).to_string();
            let refusal = run(&body, &["shop"]).unwrap_err();
            assert_eq!(refusal.status(), 403);
            let host = url.trim_start_matches("https://").trim_end_matches('/');
            refusal.error().replace(host, "…")
        });
        assert_eq!(texts[0], texts[1]);
        // One item beyond the token spoils the whole order.
        let body = r#"{"urls": ["https://shop.example/a", "x", "https://blog.example/a"]}"#;
        let refusal = run(body, &["shop"]).unwrap_err();
        assert_eq!(refusal.status(), 403);
        assert_eq!(refusal.errors().len(), 2);
    }
}
