use std::borrow::Cow;
use std::net::IpAddr;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::semantics::network::Network;
use crate::semantics::{media_type, query};

use super::{Expression, Pattern};

/// When a rule holds: every list that is not empty must be met, by one of its members. The empty condition
/// always holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    /// Of the canonical path.
    pub paths: Vec<Pattern>,
    /// Found in the canonical path.
    pub expression: Option<Expression>,
    /// The path's extension without its dot, in lower case; any case of the path's meets it.
    pub extensions: Vec<String>,
    /// The request's method.
    pub methods: Vec<Method>,
    /// Request fields; each of them must pass.
    pub headers: Vec<(HeaderName, ValueTest)>,
    /// Parameters of the query, by their decoded names; each of them must pass.
    pub parameters: Vec<(String, ValueTest)>,
    /// The client's address.
    pub networks: Vec<Network>,
    /// The response's status.
    pub statuses: Vec<StatusTest>,
    /// The response's media type, in lower case: `text/css`, or `image/*` for all of a kind.
    pub content_types: Vec<String>,
}

/// What a request is, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The query as it came.
    pub query: Option<&'a str>,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub peer: IpAddr,
}

/// A test of the values that a name has in a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValueTest {
    /// It passes when there is no value.
    pub absent: bool,
    /// It passes when a value is covered by one of them.
    pub patterns: Vec<Pattern>,
}

/// A test of a response's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusTest {
    /// This one.
    Exact(StatusCode),
    /// Its first digit: 4 for `4xx`.
    Class(u16),
}

impl Condition {
    /// Whether it speaks of the response, so that it can be decided only when there is one.
    #[must_use]
    pub fn is_of_response(&self) -> bool {
        !self.statuses.is_empty() || !self.content_types.is_empty()
    }

    /// Whether the path alone decides it.
    #[must_use]
    pub fn is_of_path_alone(&self) -> bool {
        self.methods.is_empty()
            && self.headers.is_empty()
            && self.parameters.is_empty()
            && self.networks.is_empty()
            && !self.is_of_response()
    }

    /// Whether the path passes.
    #[must_use]
    pub fn admits_path(&self, path: &str) -> bool {
        (self.extensions.is_empty() || self.has_extension(path))
            && (self.paths.is_empty() || self.paths.iter().any(|p| p.matches(path.as_bytes())))
            && self.expression.as_ref().is_none_or(|e| e.is_in(path))
    }

    /// How many captures its path always gives to a template.
    #[must_use]
    pub fn captures_known(&self) -> usize {
        match &self.expression {
            Some(expression) => expression.groups(),
            None => self.paths.iter().map(Pattern::stars).min().unwrap_or(0),
        }
    }

    /// What `$1`, `$2` … of its templates stand for: the groups of its expression, if it has one, else the stars
    /// of its first pattern that covers the path.
    #[must_use]
    pub fn captures<'t>(&self, path: &'t str) -> Vec<&'t str> {
        let found = match &self.expression {
            Some(expression) => expression.captures(path),
            None => self.paths.iter().find_map(|p| p.captures(path)),
        };
        found.unwrap_or_default()
    }

    /// Whether the request passes, but for its fields.
    pub(super) fn admits(&self, question: &Question<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(question.method))
            && self.admits_path(question.path)
            && self.parameters.iter().all(|(name, test)| {
                let pairs = question.query.into_iter().flat_map(query::pairs);
                let values = pairs.filter(|(raw, _)| query::names(raw, name));
                test.passes(values.map(|(_, value)| decoded(value)))
            })
            && (self.networks.is_empty()
                || self.networks.iter().any(|net| net.contains(question.peer)))
    }

    /// Whether the request's fields pass.
    pub(super) fn admits_headers(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|(name, test)| {
            let values = headers.get_all(name).iter();
            test.passes(values.map(|value| Cow::Borrowed(value.as_bytes())))
        })
    }

    /// Whether the response passes.
    pub(super) fn admits_response(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let passes_type = || {
            let essence = headers.get(CONTENT_TYPE).and_then(media_type::essence);
            essence.is_some_and(|essence| media_type::matches(&self.content_types, &essence))
        };
        (self.statuses.is_empty() || self.statuses.iter().any(|test| test.passes(status)))
            && (self.content_types.is_empty() || passes_type())
    }

    fn has_extension(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((_, extension)) = name.rsplit_once('.') else {
            return false;
        };
        self.extensions
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(extension))
    }
}

impl ValueTest {
    fn passes<'v>(&self, values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
        let mut is_absent = true;
        for value in values {
            is_absent = false;
            if self.patterns.iter().any(|pattern| pattern.matches(&value)) {
                return true;
            }
        }
        is_absent && self.absent
    }
}

impl StatusTest {
    fn passes(self, status: StatusCode) -> bool {
        match self {
            Self::Exact(exact) => exact == status,
            Self::Class(class) => class == status.as_u16() / 100,
        }
    }
}

/// A parameter's value with its escapes undone, so that `%61dmin` does not slip past a rule about `admin`.
/// Bad escapes stand for themselves.
fn decoded(value: &str) -> Cow<'_, [u8]> {
    if !value.contains('%') {
        return Cow::Borrowed(value.as_bytes());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escape = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => u8::try_from(high << 4 | low).ok().map(|b| (b, after)),
                _ => None,
            },
            _ => None,
        };
        match escape {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => bytes.push(*first),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    pub(in super::super) fn paths(list: &[&str]) -> Vec<Pattern> {
        let pattern = |text: &&str| Pattern::of_path(text).unwrap();
        list.iter().map(pattern).collect()
    }

    fn test(texts: &[&str]) -> ValueTest {
        let pattern = |text: &&&str| Pattern::of_value(text).unwrap();
        ValueTest {
            absent: texts.contains(&""),
            patterns: texts
                .iter()
                .filter(|t| !t.is_empty())
                .map(|t| pattern(&t))
                .collect(),
        }
    }

    #[track_caller]
    fn asks(condition: &Condition, target: &str, headers: &HeaderMap, expect: bool) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let question = Question {
            method: &Method::GET,
            path,
            query,
            headers,
            peer: [192, 0, 2, 7].into(),
        };
        let found = condition.admits(&question) && condition.admits_headers(headers);
        assert_eq!(found, expect, "{target} {headers:?}");
    }

    #[track_caller]
    fn check(condition: &Condition, target: &str, expect: bool) {
        asks(condition, target, &HeaderMap::new(), expect);
    }

    #[test]
    fn matchers_are_joined_by_and_and_their_members_by_or() {
        check(&Condition::default(), "/any", true);
        let condition = Condition {
            paths: paths(&["/a/*", "/b/*"]),
            extensions: vec!["js".to_owned(), "css".to_owned()],
            ..Condition::default()
        };
        check(&condition, "/a/x.js", true);
        check(&condition, "/b/x.CSS", true);
        check(&condition, "/a/x.png", false);
        check(&condition, "/c/x.js", false);
        check(&condition, "/a/js", false);
        let both = Condition {
            expression: Some(Expression::parse("[0-9]{3}").unwrap()),
            ..condition
        };
        check(&both, "/a/x123.js", true);
        check(&both, "/a/x12.js", false);
    }

    #[test]
    fn extensions_are_those_of_the_last_segment() {
        let condition = Condition {
            extensions: vec!["css".to_owned()],
            ..Condition::default()
        };
        check(&condition, "/.css", true);
        check(&condition, "/a.css/b", false);
        check(&condition, "/a.css.js", false);
    }

    #[test]
    fn methods_and_addresses() {
        let methods = Condition {
            methods: vec![Method::HEAD],
            ..Condition::default()
        };
        check(&methods, "/", false);
        let network = |text: &str| Condition {
            networks: vec!["10.0.0.0/8".parse().unwrap(), text.parse().unwrap()],
            ..Condition::default()
        };
        check(&network("192.0.2.0/24"), "/", true);
        check(&network("192.0.3.0/24"), "/", false);
    }

    #[test]
    fn fields_are_present_absent_or_of_a_pattern() {
        let name = HeaderName::from_static("x-a");
        let condition = |texts: &[&str]| Condition {
            headers: vec![(name.clone(), test(texts))],
            ..Condition::default()
        };
        let (none, one) = (HeaderMap::new(), fields(&[("x-a", "1")]));
        let two = fields(&[("x-a", "2"), ("x-a", "beta 3")]);
        let empty = fields(&[("x-a", "")]);
        for (texts, expect) in [
            (&["*"][..], [false, true, true, true]),
            (&[""], [true, false, false, false]),
            (&["beta*"], [false, false, true, false]),
            (&["1", "*3"], [false, true, true, false]),
            (&["", "1"], [true, true, false, false]),
        ] {
            let condition = condition(texts);
            for (headers, expect) in [&none, &one, &two, &empty].into_iter().zip(expect) {
                asks(&condition, "/", headers, expect);
            }
        }
    }

    #[test]
    fn parameters_are_compared_decoded() {
        let condition = |texts: &[&str]| Condition {
            parameters: vec![("role".to_owned(), test(texts))],
            ..Condition::default()
        };
        check(&condition(&["admin"]), "/?role=admin", true);
        check(&condition(&["admin"]), "/?x=1&r%6fle=%61dmin", true);
        check(&condition(&["admin"]), "/?role=user&role=admin", true);
        check(&condition(&["admin"]), "/?role=user", false);
        check(&condition(&["*"]), "/?role", true);
        check(&condition(&["*"]), "/?roles=1", false);
        check(&condition(&[""]), "/", true);
        check(&condition(&[""]), "/?role=", false);
        check(&condition(&["50%"]), "/?role=50%", true);
        check(&condition(&["%4"]), "/?role=%4", true);
    }

    #[test]
    fn responses_have_a_status_and_a_type() {
        #[track_caller]
        fn check(condition: &Condition, status: u16, media_type: &str, expect: bool) {
            assert!(condition.is_of_response());
            let headers = match media_type {
                "" => HeaderMap::new(),
                text => fields(&[("content-type", text)]),
            };
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(condition.admits_response(status, &headers), expect);
        }
        let errors = Condition {
            statuses: vec![
                StatusTest::Class(5),
                StatusTest::Exact(StatusCode::NOT_FOUND),
            ],
            ..Condition::default()
        };
        check(&errors, 404, "", true);
        check(&errors, 503, "", true);
        check(&errors, 403, "", false);
        let pictures = Condition {
            content_types: vec!["image/*".to_owned(), "text/css".to_owned()],
            ..Condition::default()
        };
        check(&pictures, 200, "Image/PNG", true);
        check(&pictures, 200, "text/css; charset=utf-8", true);
        check(&pictures, 200, "text/html", false);
        check(&pictures, 200, "", false);
    }

    #[test]
    fn captures_are_the_expressions_before_the_patterns() {
        let mut condition = Condition {
            paths: paths(&["/a/*/*", "/**"]),
            ..Condition::default()
        };
        assert_eq!(condition.captures_known(), 1, "the pattern with fewest");
        assert_eq!(condition.captures("/a/b/c"), ["b", "c"]);
        assert_eq!(condition.captures("/x/y"), ["x/y"]);
        condition.expression = Some(Expression::parse("/(.)/").unwrap());
        assert_eq!(condition.captures_known(), 1);
        assert_eq!(condition.captures("/a/b/c"), ["a"]);
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in "\\PC{0,20}") {
            prop_assert!(decoded(&value).len() <= value.len());
        }
    }
}
