//! The cache key as text: what belongs to it stands in it, unambiguously.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use crate::semantics::{list, query};

use super::config::{KeyConfig, QueryMode, QueryPolicy};
use super::key_text::KeyText;

/// What a request contributes to its key.
#[derive(Debug, Clone, Copy)]
pub struct KeyParts<'a> {
    /// The site's name.
    pub site: &'a str,
    /// The scheme, only when the origin gets to know it.
    pub scheme: Option<&'a str>,
    /// The host, whenever the origin gets to know it or the site keys by it.
    pub host: Option<&'a str>,
    /// The canonical path.
    pub path: &'a str,
    /// The query; the policy of the [`KeyConfig`] is applied to it.
    pub query: Option<&'a str>,
    /// The client's fields.
    pub request: &'a HeaderMap,
    /// Client fields that are forwarded to the origin.
    pub forwarded: &'a [HeaderName],
}

/// The full key of a request. Two requests share it only if every part is the same.
///
/// Parts are separated by single spaces, which are escaped inside them: `assets h=a.example p=/x q=v=1 f=accept:*/*`.
#[must_use]
pub fn primary_key(parts: &KeyParts<'_>, config: &KeyConfig) -> KeyText {
    let query = forwarded_query(parts.query, &config.query);
    let mut text = KeyText::new();
    text.push_escaped(parts.site.as_bytes());
    if let Some(scheme) = parts.scheme {
        text.push_str(" s=");
        text.push_escaped(scheme.as_bytes());
    }
    push_url(&mut text, parts.host, parts.path, query.as_deref());
    let unlisted = parts
        .forwarded
        .iter()
        .filter(|name| !config.headers.contains(name));
    for name in config.headers.iter().chain(unlisted) {
        push_field(&mut text, parts.request, name);
    }
    for name in &config.cookies {
        push_cookie(&mut text, parts.request, name);
    }
    text
}

/// The key by which a purge names a URL, whatever scheme, port, fields or cookies its variants are keyed by.
/// `query` is what [`forwarded_query`] leaves of it.
#[must_use]
pub fn url_key(site: &str, host: Option<&str>, path: &str, query: Option<&str>) -> KeyText {
    let mut text = KeyText::new();
    text.push_escaped(site.as_bytes());
    push_url(&mut text, host.map(without_port), path, query);
    text
}

/// The host in the text of a primary key, without its port.
#[must_use]
pub fn host_of(key: &str) -> Option<&str> {
    let mut parts = key.split(' ').skip(1).take(2);
    parts
        .find_map(|part| part.strip_prefix("h="))
        .map(without_port)
}

/// A purge of a host is one of all its ports.
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an address are within brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// What the policy leaves of a query, for the key and for the origin alike; `None` when nothing is left.
/// Borrows when nothing changes; applying it twice changes nothing more.
#[must_use]
pub fn forwarded_query<'a>(query: Option<&'a str>, policy: &QueryPolicy) -> Option<Cow<'a, str>> {
    let query = query?;
    let is_kept = |piece: &&str| {
        let raw = query::name_of(piece);
        let is_named = policy.names.iter().any(|name| query::names(raw, name));
        match policy.mode {
            QueryMode::All => true,
            QueryMode::None => false,
            QueryMode::Include => is_named,
            QueryMode::Exclude => !is_named,
        }
    };
    match policy.mode {
        QueryMode::None => return None,
        QueryMode::All if !policy.sort => return Some(Cow::Borrowed(query)),
        QueryMode::All | QueryMode::Include | QueryMode::Exclude => {}
    }
    let pieces = || query::pieces(query);
    let changes_nothing = pieces().all(|piece| is_kept(&piece))
        && (!policy.sort || pieces().is_sorted_by_key(query::name_of));
    if changes_nothing {
        return (pieces().next().is_some() || policy.mode == QueryMode::All)
            .then_some(Cow::Borrowed(query));
    }
    let mut kept: Vec<&str> = pieces().filter(is_kept).collect();
    if policy.sort {
        // Stable: what repeats keeps its order, which may have a meaning.
        kept.sort_by_key(|piece| query::name_of(piece));
    }
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

fn push_url(text: &mut KeyText, host: Option<&str>, path: &str, query: Option<&str>) {
    if let Some(host) = host {
        text.push_str(" h=");
        text.push_escaped(host.as_bytes());
    }
    text.push_str(" p=");
    text.push_escaped(path.as_bytes());
    if let Some(query) = query {
        text.push_str(" q=");
        text.push_escaped(query.as_bytes());
    }
}

/// An absent field differs from an empty one; lines are combined as RFC 9110 §5.2 says.
fn push_field(text: &mut KeyText, request: &HeaderMap, name: &HeaderName) {
    text.push_str(" f=");
    text.push_str(name.as_str());
    let mut separator = ":";
    for line in request.get_all(name) {
        text.push_str(separator);
        text.push_escaped(line.as_bytes().trim_ascii());
        separator = ",";
    }
}

/// All values of a repeated cookie count: which one an origin reads is for it to say.
fn push_cookie(text: &mut KeyText, request: &HeaderMap, name: &str) {
    text.push_str(" c=");
    text.push_escaped(name.as_bytes());
    let values = request
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| list::split(line.as_bytes(), b';'))
        .filter_map(|pair| {
            let (found, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            (found.trim_ascii() == name.as_bytes()).then(|| value.get(1..))?
        });
    for value in values {
        text.push_str(" v=");
        text.push_escaped(value.trim_ascii());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{headers, names};
    use super::*;

    fn parts<'a>(request: &'a HeaderMap, forwarded: &'a [HeaderName]) -> KeyParts<'a> {
        KeyParts {
            site: "assets",
            scheme: None,
            host: None,
            path: "/a.png",
            query: None,
            request,
            forwarded,
        }
    }

    #[test]
    fn the_text_names_its_parts() {
        let request = headers(&[
            ("accept", "a, b"),
            ("x-b", "1"),
            ("x-b", "2"),
            ("cookie", "u=1; lang=de; v=2"),
            ("cookie", "lang=en"),
        ]);
        let forwarded = names(&["x-b", "x-none", "accept"]);
        assert_eq!(
            primary_key(&parts(&request, &[]), &KeyConfig::default()),
            "assets p=/a.png"
        );
        let full = KeyParts {
            scheme: Some("https"),
            host: Some("a.example"),
            query: Some("v=1"),
            ..parts(&request, &forwarded)
        };
        let config = KeyConfig {
            headers: names(&["accept"]),
            cookies: vec!["lang".to_owned(), "none".to_owned()],
            ..KeyConfig::default()
        };
        assert_eq!(
            primary_key(&full, &config),
            "assets s=https h=a.example p=/a.png q=v=1 f=accept:a,\\20b f=x-b:1,2 f=x-none c=lang v=de v=en c=none"
        );
        assert_eq!(
            url_key("assets", Some("a.example"), "/a.png", Some("v=1")),
            "assets h=a.example p=/a.png q=v=1"
        );
        assert_eq!(url_key("as sets", None, "/", None), "as\\20sets p=/");
        assert_eq!(url_key("s", Some("[::1]:8443"), "/", None), "s h=[::1] p=/");
    }

    #[test]
    fn the_host_is_read_from_the_key() {
        for (scheme, host, expect) in [
            (None, None, None),
            (Some("https"), None, None),
            (None, Some("a.example:8443"), Some("a.example")),
            (Some("https"), Some("[2001:db8::1]"), Some("[2001:db8::1]")),
            (Some("https"), Some("[::1]:80"), Some("[::1]")),
        ] {
            let request = HeaderMap::new();
            let parts = KeyParts {
                scheme,
                host,
                path: "/h=x",
                query: Some("h=y"),
                ..parts(&request, &[])
            };
            let key = primary_key(&parts, &KeyConfig::default());
            assert_eq!(host_of(key.as_str()), expect, "{key:?}");
        }
    }

    #[track_caller]
    fn check(mode: QueryMode, sort: bool, query: Option<&str>, expect: Option<&str>) {
        let policy = QueryPolicy {
            mode,
            names: vec!["v".to_owned(), "w".to_owned()],
            sort,
        };
        let found = forwarded_query(query, &policy);
        assert_eq!(found.as_deref(), expect, "{mode:?} {query:?}");
        assert_eq!(
            matches!(found, Some(Cow::Borrowed(_))),
            found.is_some() && query == expect
        );
    }

    #[test]
    fn the_policy_chooses_parameters() {
        check(QueryMode::All, false, Some("b&a=1&&v"), Some("b&a=1&&v"));
        check(QueryMode::All, false, Some(""), Some(""));
        check(QueryMode::All, false, None, None);
        check(
            QueryMode::All,
            true,
            Some("b=2&a=1&b=1"),
            Some("a=1&b=2&b=1"),
        );
        check(QueryMode::All, true, Some("a=1&b=2"), Some("a=1&b=2"));
        check(QueryMode::None, false, Some("a=1"), None);
        check(QueryMode::Include, false, Some("a=1&v=2&w"), Some("v=2&w"));
        check(QueryMode::Include, false, Some("%76=2&vv=1"), Some("%76=2"));
        check(QueryMode::Include, false, Some("a=1"), None);
        check(QueryMode::Include, true, Some("w&v&a"), Some("v&w"));
        check(QueryMode::Exclude, false, Some("a=1&v=2&b"), Some("a=1&b"));
        check(QueryMode::Exclude, false, Some("a=1"), Some("a=1"));
        check(QueryMode::Exclude, false, Some("v=1"), None);
    }

    fn any_mode() -> impl Strategy<Value = QueryMode> {
        prop_oneof![
            Just(QueryMode::All),
            Just(QueryMode::None),
            Just(QueryMode::Include),
            Just(QueryMode::Exclude)
        ]
    }

    proptest! {
        #[test]
        fn different_parts_never_share_a_key(
            one in ("\\PC{0,4}", prop::option::of("[a =\\\\]{0,3}"), prop::option::of("[a =]{0,3}"), "[/a =qh]{0,6}", prop::option::of("[ a=]{0,3}")),
            other in ("\\PC{0,4}", prop::option::of("[a =\\\\]{0,3}"), prop::option::of("[a =]{0,3}"), "[/a =qh]{0,6}", prop::option::of("[ a=]{0,3}")),
        ) {
            let request = HeaderMap::new();
            let key = |(site, scheme, host, path, query): &(String, Option<String>, Option<String>, String, Option<String>)| {
                let key = primary_key(&KeyParts {
                    site, scheme: scheme.as_deref(), host: host.as_deref(), path, query: query.as_deref(),
                    request: &request, forwarded: &[],
                }, &KeyConfig::default());
                assert!(key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                key
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn the_policy_is_idempotent(mode in any_mode(), sort: bool, query in "[abv=&%761]{0,20}") {
            let policy = QueryPolicy { mode, names: vec!["v".to_owned()], sort };
            let once = forwarded_query(Some(&query), &policy);
            let twice = forwarded_query(once.as_deref(), &policy);
            prop_assert_eq!(&once, &twice);
        }
    }
}
