use std::fmt::Write as _;

use crate::semantics::path::{self, PathError};

/// Where a redirect or a rewrite leads: text in which `$1` to `$9` stand for what a rule's pattern captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// Where the query begins: the number of parts before it.
    query_at: Option<usize>,
    /// What follows `#`, without it.
    fragment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Counted from 1.
    Capture(usize),
}

/// Why a text leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not a path, where only a path may stand.
    #[error("not a path")]
    NotPath,
    /// Neither a path nor an `http` or `https` URL.
    #[error("neither a path nor an http or https URL")]
    NotLocation,
    /// The host would be the client's choice.
    #[error("a capture in the host would let clients choose where they are sent")]
    CaptureInHost,
    /// The path is not as paths are kept.
    #[error("{0}")]
    Path(PathError),
    /// The path has dot segments or needless escapes.
    #[error("the path is not written in its one spelling")]
    Spelling,
    /// A query or a fragment, where only a path may stand.
    #[error("a rewrite changes the path alone")]
    NotPathAlone,
    /// Bytes that no URL has.
    #[error("characters that must be percent-encoded")]
    Bytes,
    /// `$0`.
    #[error("captures are counted from $1")]
    Zero,
}

impl Template {
    /// A path, for a rewrite.
    ///
    /// # Errors
    /// When the text is no canonical path.
    pub fn of_path(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NotPath);
        }
        if text.contains(['?', '#']) {
            return Err(TemplateError::NotPathAlone);
        }
        let template = Self {
            parts: parts(text)?,
            query_at: None,
            fragment: None,
        };
        check_path(&template.sample())?;
        Ok(template)
    }

    /// A path or an `http` or `https` URL, for a redirect. It may have a query and a fragment.
    ///
    /// # Errors
    /// When it is neither, or a capture would choose the host.
    pub fn of_location(text: &str) -> Result<Self, TemplateError> {
        let is_visible = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if !text.bytes().all(is_visible) {
            return Err(TemplateError::Bytes);
        }
        let (address, fragment) = match text.split_once('#') {
            Some((address, fragment)) => (address, Some(fragment.to_owned())),
            None => (text, None),
        };
        if fragment.as_deref().is_some_and(|text| text.contains('#')) {
            return Err(TemplateError::Bytes);
        }
        let (place, query) = match address.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (address, None),
        };
        let (host, path) = match ["https://", "http://"]
            .iter()
            .find_map(|scheme| place.strip_prefix(scheme))
        {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None if place.starts_with('/') && !place.starts_with("//") => ("", place),
            None => return Err(TemplateError::NotLocation),
        };
        if host.contains('$') {
            return Err(TemplateError::CaptureInHost);
        }
        if path.len() < place.len() && (host.is_empty() || host.contains('@')) {
            return Err(TemplateError::NotLocation);
        }
        if !path.is_empty() {
            let sample = Self {
                parts: parts(path)?,
                query_at: None,
                fragment: None,
            };
            check_path(&sample.sample())?;
        }
        let mut all = parts(place)?;
        let query_at = query.map(|_| all.len());
        if let Some(query) = query {
            all.extend(parts(query)?);
        }
        Ok(Self {
            parts: all,
            query_at,
            fragment,
        })
    }

    /// The highest number of a capture that it speaks of; 0 for none.
    #[must_use]
    pub fn captures(&self) -> usize {
        let number = |part: &Part| match part {
            Part::Text(_) => 0,
            Part::Capture(number) => *number,
        };
        self.parts.iter().map(number).max().unwrap_or(0)
    }

    /// What it gives when every capture is `x`, without query and fragment.
    #[must_use]
    pub fn sample(&self) -> String {
        let before = self.query_at.unwrap_or(self.parts.len());
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Capture(_) => "x".to_owned(),
        };
        self.parts.iter().take(before).map(text).collect()
    }

    /// The path that a rewrite leads to.
    ///
    /// # Errors
    /// When the captures make no canonical path of it.
    pub fn path(&self, captures: &[&str]) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(resolved(part, captures));
        }
        check_path(&text)?;
        Ok(text)
    }

    /// The value of `Location` (RFC 9110 §10.2.2): what is captured is escaped where a URL needs it, and a path
    /// cannot become the name of a host. The request's query is kept unless the template has one of its own.
    ///
    /// # Errors
    /// When the captures make no canonical path of it.
    pub fn location(
        &self,
        captures: &[&str],
        query: Option<&str>,
    ) -> Result<String, TemplateError> {
        let mut location = String::new();
        for (part, at) in self.parts.iter().zip(0..) {
            if self.query_at == Some(at) {
                location.push('?');
            }
            match part {
                Part::Text(text) => location.push_str(text),
                Part::Capture(_) => {
                    let in_query = self.query_at.is_some_and(|start| at >= start);
                    push_escaped(&mut location, resolved(part, captures), in_query);
                }
            }
        }
        check_escapes(&location)?;
        if location.starts_with('/') {
            // `//host` and, as browsers read it, `/\host` would lead to another host.
            let rest = location.trim_start_matches('/');
            location.replace_range(..location.len() - rest.len(), "/");
        }
        match (self.query_at, query) {
            (Some(at), _) if at == self.parts.len() => location.push('?'),
            (None, Some(query)) => {
                location.push('?');
                location.push_str(query);
            }
            (Some(_), _) | (None, None) => {}
        }
        if let Some(fragment) = &self.fragment {
            location.push('#');
            location.push_str(fragment);
        }
        Ok(location)
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let digit = rest.peek().and_then(|next| next.to_digit(10));
        match digit.and_then(|digit| usize::try_from(digit).ok()) {
            Some(0) if char == '$' => return Err(TemplateError::Zero),
            Some(number) if char == '$' => {
                rest.next();
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Capture(number));
            }
            _ => literal.push(char),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

fn resolved<'t>(part: &'t Part, captures: &[&'t str]) -> &'t str {
    match part {
        Part::Text(text) => text,
        Part::Capture(number) => captures.get(number - 1).copied().unwrap_or_default(),
    }
}

fn check_path(text: &str) -> Result<(), TemplateError> {
    match path::canonical(text) {
        Ok(canonical) if *canonical == *text => Ok(()),
        Ok(_) => Err(TemplateError::Spelling),
        Err(error) => Err(TemplateError::Path(error)),
    }
}

/// A pattern can cut an escape of the path in two.
fn check_escapes(text: &str) -> Result<(), TemplateError> {
    let mut pieces = text.split('%').skip(1);
    let is_escape = |piece: &str| {
        let mut digits = piece.bytes().take(2);
        let mut is_digit = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        is_digit() && is_digit()
    };
    if pieces.all(is_escape) {
        Ok(())
    } else {
        Err(TemplateError::Path(PathError::BadEscape))
    }
}

/// Captures come from a canonical path: visible ASCII whose escapes stay what they are. What a URL must not
/// have in this place is escaped (RFC 3986 §3.3, §3.4).
fn push_escaped(text: &mut String, captured: &str, in_query: bool) {
    for char in captured.chars() {
        let separates = in_query && matches!(char, '&' | '+' | '=' | ';');
        let is_foreign = !char.is_ascii_graphic() || "\"<>\\^`{|}#?".contains(char);
        if separates || is_foreign {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                write!(text, "%{byte:02X}").ok();
            }
        } else {
            text.push(char);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn leads(to: &str, captures: &[&str], query: Option<&str>, expect: &str) {
        let template = Template::of_location(to).unwrap();
        assert_eq!(template.location(captures, query).as_deref(), Ok(expect));
    }

    #[test]
    fn captures_and_the_query_are_carried_over() {
        leads("/new/$1", &["a"], None, "/new/a");
        leads("/new/$1", &["a"], Some("b=c&d"), "/new/a?b=c&d");
        leads("/new/$1?x=1", &["a"], Some("b=c"), "/new/a?x=1");
        leads("/new/$1?", &["a"], Some("b=c"), "/new/a?");
        leads("/$2/$1/$2", &["a", "b"], None, "/b/a/b");
        leads("/$10", &["a"], None, "/a0");
        leads("/$3", &["a"], None, "/");
        leads("/cost$", &[], None, "/cost$");
        leads("/a#top", &[], Some("q"), "/a?q#top");
        leads("https://other.test", &[], Some("q"), "https://other.test?q");
        leads(
            "https://other.test/$1",
            &["a/b"],
            None,
            "https://other.test/a/b",
        );
    }

    #[test]
    fn a_capture_stays_what_it_is() {
        leads("/$1", &["a%20b;c"], None, "/a%20b;c");
        leads("/$1", &["a\"<>\\|b"], None, "/a%22%3C%3E%5C%7Cb");
        leads("/s?p=$1", &["a&b=c+d%26"], None, "/s?p=a%26b%3Dc%2Bd%26");
        leads("/$1", &["ä"], None, "/%C3%A4");
    }

    #[test]
    fn a_path_never_becomes_a_host() {
        leads("/$1", &["/evil.test/"], None, "/evil.test/");
        leads("/$1", &["\\evil.test"], None, "/%5Cevil.test");
        leads("/$1$2", &["/", "/evil.test"], None, "/evil.test");
        leads("https://a.test/$1", &["/b"], None, "https://a.test//b");
        for (to, error) in [
            ("https://$1/", TemplateError::CaptureInHost),
            ("https://a.test$1", TemplateError::CaptureInHost),
            ("//evil.test", TemplateError::NotLocation),
            ("https:///a", TemplateError::NotLocation),
            ("https://", TemplateError::NotLocation),
            ("https://a@b/", TemplateError::NotLocation),
            ("$1", TemplateError::NotLocation),
            ("javascript:alert(1)", TemplateError::NotLocation),
            ("/a b", TemplateError::Bytes),
            ("/a\nb", TemplateError::Bytes),
            ("/a#b#c", TemplateError::Bytes),
            ("/%4", TemplateError::Path(PathError::BadEscape)),
            ("/a/../b", TemplateError::Spelling),
            ("/$0", TemplateError::Zero),
        ] {
            assert_eq!(Template::of_location(to), Err(error), "{to}");
        }
    }

    #[test]
    fn half_an_escape_is_refused() {
        let template = Template::of_location("/$1").unwrap();
        let refused = Err(TemplateError::Path(PathError::BadEscape));
        assert_eq!(template.location(&["a%2"], None), refused);
    }

    #[test]
    fn a_rewrite_leads_to_canonical_paths_only() {
        #[track_caller]
        fn check(to: &str, captures: &[&str], expect: Result<&str, TemplateError>) {
            let found = Template::of_path(to).and_then(|template| template.path(captures));
            assert_eq!(found.as_deref(), expect.as_ref().map(|path| *path), "{to}");
        }
        check("/$2", &["1", "js/a.js"], Ok("/js/a.js"));
        check("/$1", &["a%2Fb"], Ok("/a%2Fb"));
        check("/a/$1$2/b", &[".", "."], Err(TemplateError::Spelling));
        check(
            "/%$1",
            &["41"],
            Err(TemplateError::Path(PathError::BadEscape)),
        );
        check(
            "/$1",
            &["%2"],
            Err(TemplateError::Path(PathError::BadEscape)),
        );
        check("a", &[], Err(TemplateError::NotPath));
        check("/a?b", &[], Err(TemplateError::NotPathAlone));
        check("/./a", &[], Err(TemplateError::Spelling));
        check("/a b", &[], Err(TemplateError::Path(PathError::BadByte)));
    }

    proptest! {
        #[test]
        fn a_location_is_a_field_value(to in "/[a-z$0-9?%#/]{0,12}", captures in prop::collection::vec("\\PC{0,8}", 0..4), query in prop::option::of("[a-z=&]{0,6}")) {
            let captures: Vec<&str> = captures.iter().map(String::as_str).collect();
            if let Ok(template) = Template::of_location(&to)
                && let Ok(location) = template.location(&captures, query.as_deref())
            {
                prop_assert!(HeaderValue::from_str(&location).is_ok());
                prop_assert!(location.is_ascii() && !location.starts_with("//"));
            }
            if let Ok(template) = Template::of_path(&to)
                && let Ok(path) = template.path(&captures)
            {
                let canonical = path::canonical(&path);
                prop_assert_eq!(canonical.as_deref(), Ok(&*path));
            }
        }
    }
}
