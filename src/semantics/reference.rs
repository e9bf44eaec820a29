//! URI references in fields such as `Location`, resolved against the request's URL (RFC 3986 §5.2) as far as they
//! stay on its origin.

use super::{host::Host, path};

/// The URL of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host and perhaps a port, as the client named them; `None` when it named none.
    pub host: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
}

/// A path and a query on the origin of a [`Base`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolved {
    /// The canonical path.
    pub path: String,
    /// The query as it is written.
    pub query: Option<String>,
}

/// Where a reference leads, if that is a URL of the same scheme, host and port (RFC 9110 §4.3.1). `None` for any other
/// origin, for user information, and for what is no reference. The fragment does not count.
#[must_use]
pub fn on_same_origin(base: &Base<'_>, reference: &[u8]) -> Option<Resolved> {
    let text = std::str::from_utf8(reference.trim_ascii()).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (scheme, rest) = match scheme_of(text) {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case(base.scheme)) {
        return None;
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let given = match (rest.strip_prefix("//"), scheme) {
        (Some(after), _) => {
            let (authority, path) = match after.find('/') {
                Some(at) => after.split_at_checked(at)?,
                None => (after, "/"),
            };
            let port = default_port(base.scheme);
            if port_and_name(authority, port)? != port_and_name(base.host?, port)? {
                return None;
            }
            path
        }
        // `http:a/b` has a scheme and no host (RFC 3986 §5.4.2: not to be taken as relative).
        (None, Some(_)) => return None,
        (None, None) => rest,
    };
    let query = match given {
        "" => query.or(base.query),
        _ => query,
    };
    Some(Resolved {
        path: path::canonical(&merged(base.path, given))
            .ok()?
            .into_owned(),
        query: query.map(str::to_owned),
    })
}

/// RFC 3986 §5.2.3.
fn merged(base: &str, given: &str) -> String {
    if given.starts_with('/') {
        return given.to_owned();
    }
    if given.is_empty() {
        return base.to_owned();
    }
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{given}")
}

/// A scheme and what follows its colon (RFC 3986 §3.1).
fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((scheme, rest))
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("https") {
        443
    } else {
        80
    }
}

fn port_and_name(authority: &str, default: u16) -> Option<(u16, String)> {
    let host = Host::parse(authority).ok()?;
    Some((host.port.unwrap_or(default), host.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Base<'static> = Base {
        scheme: "https",
        host: Some("a.example"),
        path: "/b/c/d;p",
        query: Some("q"),
    };

    #[track_caller]
    fn check(reference: &str, expect: Option<(&str, Option<&str>)>) {
        let found = on_same_origin(&BASE, reference.as_bytes());
        let found = found
            .as_ref()
            .map(|found| (&*found.path, found.query.as_deref()));
        assert_eq!(found, expect, "{reference:?}");
    }

    #[test]
    fn relative_references_are_resolved() {
        // After RFC 3986 §5.4.1.
        check("g", Some(("/b/c/g", None)));
        check("./g", Some(("/b/c/g", None)));
        check("g/", Some(("/b/c/g/", None)));
        check("/g", Some(("/g", None)));
        check("?y", Some(("/b/c/d;p", Some("y"))));
        check("g?y", Some(("/b/c/g", Some("y"))));
        check("#s", Some(("/b/c/d;p", Some("q"))));
        check("g?y#s", Some(("/b/c/g", Some("y"))));
        check(";x", Some(("/b/c/;x", None)));
        check("", Some(("/b/c/d;p", Some("q"))));
        check(".", Some(("/b/c/", None)));
        check("..", Some(("/b/", None)));
        check("../g", Some(("/b/g", None)));
        check("../../../g", Some(("/g", None)));
        check("g;x=1/../y", Some(("/b/c/y", None)));
        check("g?y/../x", Some(("/b/c/g", Some("y/../x"))));
        check("/%7eg", Some(("/~g", None)));
        check("./g:h", Some(("/b/c/g:h", None)));
        check(" /g ", Some(("/g", None)));
        check("?", Some(("/b/c/d;p", Some(""))));
    }

    #[test]
    fn absolute_ones_count_on_the_same_origin_only() {
        check("https://a.example/g?x", Some(("/g", Some("x"))));
        check("HTTPS://A.Example:443/g", Some(("/g", None)));
        check("//a.example./g", Some(("/g", None)));
        check("//a.example", Some(("/", None)));
        check("//a.example?x", Some(("/", Some("x"))));
        check("https://a.example:8443/g", None);
        check("http://a.example/g", None);
        check("https://b.example/g", None);
        check("//b.example/g", None);
        check("https://user@a.example/g", None);
        check("https://a.example@b.example/g", None);
        check("https:g", None);
        check("mailto:a@a.example", None);
        check("g:h", None);
        let nameless = Base { host: None, ..BASE };
        assert_eq!(on_same_origin(&nameless, b"https://a.example/g"), None);
        assert!(on_same_origin(&nameless, b"/g").is_some());
        let odd_port = Base {
            host: Some("a.example:8443"),
            ..BASE
        };
        assert_eq!(on_same_origin(&odd_port, b"https://a.example/g"), None);
        assert!(on_same_origin(&odd_port, b"https://a.example:8443/g").is_some());
    }

    #[test]
    fn what_is_no_reference_leads_nowhere() {
        for text in [
            "/a b", "/%zz", "/ä", "//", "https://", "//[::1/g", "/a\0", "///g",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(reference: Vec<u8>) {
            if let Some(found) = on_same_origin(&BASE, &reference) {
                prop_assert!(found.path.starts_with('/'));
            }
        }

        #[test]
        fn what_was_resolved_leads_to_itself(reference in "[a-d/.?;:%]{0,16}") {
            if let Some(found) = on_same_origin(&BASE, reference.as_bytes()) {
                let query = found.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
                let absolute = format!("https://a.example{}{query}", found.path);
                prop_assert_eq!(on_same_origin(&BASE, absolute.as_bytes()), Some(found));
            }
        }
    }
}
