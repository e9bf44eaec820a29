use std::collections::BTreeMap;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::super::address::Address;
use super::super::auth::Grant;
use super::super::control::SiteStatus;
use super::super::refusal::Refusal;

/// Pulls of one job at one time, when the order does not say.
const CONCURRENCY: usize = 8;
const CONCURRENCY_MAX: usize = 64;

/// URLs of one order; a sitemap may bring more.
const URLS_MAX: usize = 100_000;

/// Sitemaps that one order names; each may be an index.
const SITEMAPS_MAX: usize = 16;

/// Requests for each URL: values of `accept` times values of `accept_encoding`.
const VARIANTS_MAX: usize = 16;

const HEADERS_MAX: usize = 32;

/// These are not the order's to say: they frame a message, or ask for less than the whole.
const NOT_TO_BE_SAID: [HeaderName; 14] = [
    HOST,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    EXPECT,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// The body of `POST /v1/warm`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    site: Option<String>,
    host: Option<String>,
    urls: Vec<String>,
    sitemap: Sitemaps,
    concurrency: Option<usize>,
    headers: BTreeMap<String, String>,
    accept: Vec<String>,
    accept_encoding: Vec<String>,
    pub(super) wait: bool,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "sitemap: the URL of a sitemap, or a list of them"
)]
enum Sitemaps {
    One(String),
    Several(Vec<String>),
}

impl Default for Sitemaps {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// A checked order. Its URLs are read one by one as it runs: a wrong one fails alone.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) site: String,
    /// Where paths without a host are asked for; `None` when the site has only wildcards.
    pub(super) host: Option<String>,
    pub(super) urls: Vec<String>,
    pub(super) sitemaps: Vec<String>,
    pub(super) concurrency: usize,
    /// The fields of each request for a URL; never empty.
    pub(super) variants: Vec<HeaderMap>,
}

impl Order {
    /// Checks what holds for all URLs together.
    ///
    /// `sites` are those of the configuration in use.
    pub(super) fn check(self, sites: &[SiteStatus], grant: &Grant) -> Result<Plan, Refusal> {
        let site = self.site(sites)?;
        grant.must_cover(&site.name)?;
        let host = match &self.host {
            Some(host) => Some(checked_host(host)?),
            None => site
                .hosts
                .iter()
                .find(|host| !host.starts_with('*'))
                .cloned(),
        };
        let variants = self.variants()?;
        let sitemaps = match self.sitemap {
            Sitemaps::One(sitemap) => vec![sitemap],
            Sitemaps::Several(sitemaps) => sitemaps,
        };
        if self.urls.is_empty() && sitemaps.is_empty() {
            return Err(Refusal::bad("Nothing to warm: give urls or a sitemap."));
        }
        if self.urls.len() > URLS_MAX || sitemaps.len() > SITEMAPS_MAX {
            return Err(Refusal::bad(format!(
                "An order has at most {URLS_MAX} urls and {SITEMAPS_MAX} sitemaps; split it."
            )));
        }
        for (index, sitemap) in sitemaps.iter().enumerate() {
            Address::parse(sitemap)
                .map_err(|error| Refusal::bad(format!("sitemap[{index}] '{sitemap}': {error}.")))?;
        }
        let concurrency = self.concurrency.unwrap_or(CONCURRENCY);
        if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
            return Err(Refusal::bad(format!(
                "concurrency is {concurrency}; it is a number from 1 to {CONCURRENCY_MAX}."
            )));
        }
        Ok(Plan {
            site: site.name.clone(),
            host,
            urls: self.urls,
            sitemaps,
            concurrency,
            variants,
        })
    }

    fn site<'a>(&self, sites: &'a [SiteStatus]) -> Result<&'a SiteStatus, Refusal> {
        match (&self.site, sites) {
            (Some(name), _) => sites
                .iter()
                .find(|site| site.name == *name)
                .ok_or_else(|| Refusal::bad(format!("There is no site '{name}'."))),
            (None, [site]) => Ok(site),
            (None, _) => Err(Refusal::bad("site is missing: name the site to warm.")),
        }
    }

    fn variants(&self) -> Result<Vec<HeaderMap>, Refusal> {
        let mut fields = HeaderMap::new();
        if self.headers.len() > HEADERS_MAX {
            return Err(Refusal::bad(format!("More than {HEADERS_MAX} headers.")));
        }
        for (name, value) in &self.headers {
            let parsed = HeaderName::try_from(name.as_str())
                .map_err(|_| Refusal::bad(format!("headers: '{name}' is no name of a field.")))?;
            if NOT_TO_BE_SAID.contains(&parsed) {
                return Err(Refusal::bad(format!(
                    "headers: '{name}' cannot be set here; whole objects of the given hosts are pulled."
                )));
            }
            fields.insert(parsed, field_value("headers", value)?);
        }
        let accepts = values("accept", &self.accept)?;
        let codings = values("accept_encoding", &self.accept_encoding)?;
        if accepts.len().saturating_mul(codings.len()) > VARIANTS_MAX {
            return Err(Refusal::bad(format!(
                "accept times accept_encoding are more than {VARIANTS_MAX} requests for each URL."
            )));
        }
        let mut variants = Vec::new();
        for accept in &accepts {
            for coding in &codings {
                let mut variant = fields.clone();
                if let Some(accept) = accept {
                    variant.insert(ACCEPT, accept.clone());
                }
                if let Some(coding) = coding {
                    variant.insert(ACCEPT_ENCODING, coding.clone());
                }
                variants.push(variant);
            }
        }
        Ok(variants)
    }
}

/// The values that a field takes in turn; without any, one request that leaves it as it is.
fn values(field: &str, given: &[String]) -> Result<Vec<Option<HeaderValue>>, Refusal> {
    if given.is_empty() {
        return Ok(vec![None]);
    }
    let value = |text: &String| match text.trim() {
        "" => Ok(None),
        text => field_value(field, text).map(Some),
    };
    given.iter().map(value).collect()
}

fn field_value(field: &str, text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(text.trim()).map_err(|_| {
        Refusal::bad(format!(
            "{field}: '{text}' has characters that no field has."
        ))
    })
}

fn checked_host(host: &str) -> Result<String, Refusal> {
    let wrong = || {
        Refusal::bad(format!(
            "host '{host}' is no host, such as static.example.com or static.example.com:8443."
        ))
    };
    let address = Address::parse(&format!("https://{host}/")).map_err(|_| wrong())?;
    if address.path != "/" || address.query.is_some() {
        return Err(wrong());
    }
    Ok(host.to_ascii_lowercase())
}

/// Longer than any request line that listeners take by default.
pub(super) const URL_BYTES_MAX: usize = 8 << 10;

impl Plan {
    /// What the order costs while it waits.
    pub(super) fn bytes(&self) -> usize {
        let of = |list: &[String]| -> usize {
            list.iter()
                .map(|text| text.len() + size_of::<String>())
                .sum()
        };
        of(&self.urls) + of(&self.sitemaps)
    }

    /// Where `text`, a URL or a path, is asked for; a closed word otherwise.
    pub(super) fn place(
        &self,
        text: &str,
        site_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Place, (&'static str, String)> {
        if text.len() > URL_BYTES_MAX {
            let detail = format!("longer than {URL_BYTES_MAX} bytes");
            return Err(("bad-url", detail));
        }
        let address = Address::parse(text).map_err(|error| ("bad-url", format!("{error}")))?;
        let Some(name) = &address.host else {
            let host = self.host.clone().ok_or_else(|| {
                let detail = "the site has no host without a wildcard: give URLs, or a host";
                ("no-host", detail.to_owned())
            })?;
            return Ok(Place { host, address });
        };
        // The same of another site's host and of one that nobody has: a token of one site does not learn of others.
        if site_of(name).is_none_or(|site| site != self.site) {
            let detail = format!("the site '{}' does not answer for this host", self.site);
            return Err(("other-site", detail));
        }
        let host = match address.port {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        };
        Ok(Place { host, address })
    }
}

/// Where a URL is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// With the port, if one is named.
    pub(super) host: String,
    pub(super) address: Address,
}

#[cfg(test)]
mod tests {
    use super::super::super::auth::{Keyring, Permission};
    use super::super::super::config::Token;
    use super::*;

    fn sites(names: &[&str]) -> Vec<SiteStatus> {
        let site = |name: &&str| SiteStatus {
            name: (*name).to_owned(),
            hosts: vec![format!("*.{name}.example"), format!("{name}.example")],
            origin: String::new(),
        };
        names.iter().map(site).collect()
    }

    fn run(body: &str, names: &[&str]) -> Result<Plan, Refusal> {
        let order: Order = serde_json::from_str(body).unwrap();
        let token = Token {
            name: "t".into(),
            secret: "s".into(),
            allow: vec!["warm".into()],
            sites: vec!["shop".into()],
        };
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer s".parse().unwrap());
        let keyring = Keyring::new(&[token]).unwrap();
        let grant = keyring.admit(&headers, Permission::Warm).unwrap();
        order.check(&sites(names), &grant)
    }

    #[test]
    fn one_site_needs_no_name() {
        let plan = run(r#"{"urls": ["/a"]}"#, &["shop"]).unwrap();
        assert_eq!(plan.site, "shop");
        assert_eq!(plan.host.as_deref(), Some("shop.example"));
        assert_eq!((plan.concurrency, plan.variants.len()), (8, 1));
        assert!(plan.variants[0].is_empty());
        let plan = run(
            r#"{"sitemap": "/s.xml", "host": "X.shop.example:81", "concurrency": 3}"#,
            &["shop"],
        );
        let plan = plan.unwrap();
        assert_eq!(plan.sitemaps, ["/s.xml"]);
        assert_eq!(plan.host.as_deref(), Some("x.shop.example:81"));
        assert_eq!(plan.concurrency, 3);
    }

    #[test]
    fn values_multiply_into_variants() {
        let plan = run(
            r#"{"site": "shop", "urls": ["/a"], "accept": ["image/avif", ""],
                "accept_encoding": ["br", "gzip"], "headers": {"X-A": "b"}}"#,
            &["shop", "blog"],
        )
        .unwrap();
        let told: Vec<_> = plan
            .variants
            .iter()
            .map(|variant| {
                let text = |name| {
                    variant
                        .get(name)
                        .map_or("-", |value| value.to_str().unwrap())
                };
                assert_eq!(text("x-a"), "b");
                format!("{} {}", text("accept"), text("accept-encoding"))
            })
            .collect();
        assert_eq!(told, ["image/avif br", "image/avif gzip", "- br", "- gzip"]);
    }

    #[track_caller]
    fn check_error(body: &str, says: &str) {
        let error = run(body, &["shop", "blog"]).unwrap_err();
        assert!(error.error().contains(says), "{}", error.error());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        check_error(r#"{"urls": ["/a"]}"#, "site is missing");
        check_error(r#"{"site": "nope", "urls": ["/a"]}"#, "'nope'");
        check_error(r#"{"site": "blog", "urls": ["/a"]}"#, "does not reach");
        check_error(r#"{"site": "shop"}"#, "Nothing to warm");
        check_error(
            r#"{"site": "shop", "urls": ["/a"], "concurrency": 65}"#,
            "from 1 to 64",
        );
        check_error(
            r#"{"site": "shop", "urls": ["/a"], "headers": {"Range": "bytes=0-1"}}"#,
            "'Range' cannot be set",
        );
        check_error(
            r#"{"site": "shop", "urls": ["/a"], "headers": {"a b": "c"}}"#,
            "'a b' is no name",
        );
        check_error(
            r#"{"site": "shop", "urls": ["/a"], "accept": ["a\nb"]}"#,
            "no field has",
        );
        check_error(
            r#"{"site": "shop", "urls": ["/a"], "host": "a/b"}"#,
            "no host",
        );
        check_error(r#"{"site": "shop", "sitemap": "s.xml"}"#, "sitemap[0]");
        let many = vec!["x"; 17];
        let body = serde_json::json!({"site": "shop", "urls": ["/a"], "accept": many});
        check_error(&body.to_string(), "more than 16");
    }

    #[test]
    fn each_url_finds_its_place_or_says_why_not() {
        let plan = run(r#"{"urls": ["/a"]}"#, &["shop"]).unwrap();
        let site_of = |host: &str| host.split('.').next().map(str::to_owned);
        let place = |text| plan.place(text, &site_of);
        assert_eq!(place("/a?b").unwrap().host, "shop.example");
        assert_eq!(place("http://shop.x:81/a").unwrap().host, "shop.x:81");
        assert_eq!(place("nonsense").unwrap_err().0, "bad-url");
        let foreign = place("https://blog.example/").unwrap_err();
        assert_eq!(foreign.0, "other-site");
        assert!(!foreign.1.contains("blog"), "{}", foreign.1);
        assert_eq!(
            plan.place("https://nobody.example/", &|_| None)
                .unwrap_err(),
            foreign
        );
        let long = format!("/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(place(&long).unwrap_err().0, "bad-url");
    }
}
