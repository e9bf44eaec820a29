//! What the answer to an unsafe request makes invalid (RFC 9111 §4.4, RFC 9875 §3).

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::semantics::reference::{self, Base, Resolved};

use super::config::Config;
use super::tags::{self, CACHE_GROUPS};

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Something stored that must not be used again without validation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Invalidation {
    /// Every variant of this URL of the request's origin. The query is as written: the site's query policy is still to
    /// be applied to it.
    Url(Resolved),
    /// Every response of the request's origin that names this group in `Cache-Groups`.
    Group(String),
}

/// What a response makes invalid; nothing when the method is safe or the response is an error. A method that is not
/// known counts as unsafe.
///
/// That is the request's own URL, those that `Location` and `Content-Location` name on the same origin (with others
/// anybody could empty a neighbour's cache), and the groups of `Cache-Group-Invalidation` if the site reads
/// `Cache-Groups` at all.
#[must_use]
pub fn invalidations(
    config: &Config,
    method: &Method,
    target: &Base<'_>,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Invalidation> {
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let own = Resolved {
        path: target.path.to_owned(),
        query: target.query.map(str::to_owned),
    };
    let mut found = vec![Invalidation::Url(own)];
    let named = [header::LOCATION, header::CONTENT_LOCATION];
    for value in named.iter().filter_map(|name| response.get(name)) {
        if let Some(url) = reference::on_same_origin(target, value.as_bytes()) {
            let named = Invalidation::Url(url);
            if !found.contains(&named) {
                found.push(named);
            }
        }
    }
    if config.tags.contains(&CACHE_GROUPS) {
        let groups = tags::groups(response, &CACHE_GROUP_INVALIDATION);
        found.extend(groups.into_iter().map(Invalidation::Group));
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{Fields, headers};
    use super::*;

    const TARGET: Base<'static> = Base {
        scheme: "https",
        host: Some("a.example"),
        path: "/b/c",
        query: Some("q"),
    };

    #[track_caller]
    fn check(method: &str, status: u16, response: Fields<'_>, expect: &[&str]) {
        let found = invalidations(
            &Config::default(),
            &method.parse().unwrap(),
            &TARGET,
            StatusCode::from_u16(status).unwrap(),
            &headers(response),
        );
        let found: Vec<_> = found
            .into_iter()
            .map(|one| match one {
                Invalidation::Url(Resolved { path, query: None }) => path,
                Invalidation::Url(Resolved {
                    path,
                    query: Some(query),
                }) => format!("{path}?{query}"),
                Invalidation::Group(name) => format!("group {name}"),
            })
            .collect();
        assert_eq!(found, expect, "{method} {status} {response:?}");
    }

    #[test]
    fn an_answer_to_an_unsafe_method_invalidates_its_own_url() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO", "get"] {
            for status in [200, 201, 204, 299, 301, 303, 308, 399] {
                check(method, status, &[], &["/b/c?q"]);
            }
        }
    }

    #[test]
    fn safe_methods_and_errors_invalidate_nothing() {
        let all: Fields<'_> = &[
            ("location", "/x"),
            ("content-location", "/y"),
            ("cache-group-invalidation", "\"g\""),
        ];
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            check(method, 200, all, &[]);
        }
        for status in [100, 199, 400, 404, 412, 500, 503, 600, 999] {
            check("POST", status, all, &[]);
        }
    }

    #[test]
    fn locations_on_the_same_host_are_invalidated_too() {
        check(
            "POST",
            201,
            &[
                ("location", "d"),
                ("content-location", "https://a.example/e?x"),
            ],
            &["/b/c?q", "/b/d", "/e?x"],
        );
        check(
            "POST",
            201,
            &[("location", "?q"), ("content-location", "/b/c?q")],
            &["/b/c?q"],
        );
        for elsewhere in [
            "https://b.example/d",
            "http://a.example/d",
            "//a.example:1/d",
            "/%",
            "mailto:a",
        ] {
            check("POST", 201, &[("location", elsewhere)], &["/b/c?q"]);
        }
    }

    #[test]
    fn groups_are_invalidated_by_name() {
        check(
            "POST",
            200,
            &[
                ("cache-group-invalidation", r#""a", "B c";x"#),
                ("cache-group-invalidation", r#""d""#),
            ],
            &["/b/c?q", "group a", "group B c", "group d"],
        );
        check(
            "POST",
            200,
            &[("cache-group-invalidation", "\"a")],
            &["/b/c?q"],
        );
        // What a response belongs to says nothing of what it invalidates.
        check("POST", 200, &[("cache-groups", "\"a\"")], &["/b/c?q"]);
        let site = Config {
            tags: Vec::new(),
            ..Config::default()
        };
        let response = headers(&[("cache-group-invalidation", "\"a\"")]);
        let found = invalidations(&site, &Method::POST, &TARGET, StatusCode::OK, &response);
        assert_eq!(found.len(), 1);
    }

    proptest! {
        #[test]
        fn any_fields_are_survived(location: Vec<u8>, groups in "[ -~]{0,60}") {
            let mut response = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(&location) {
                response.insert(header::LOCATION, value);
            }
            response.insert(CACHE_GROUP_INVALIDATION, groups.parse().unwrap());
            let found = invalidations(&Config::default(), &Method::POST, &TARGET, StatusCode::OK, &response);
            prop_assert!(found.len() <= 3 + tags::TAGS_MAX);
        }
    }
}
