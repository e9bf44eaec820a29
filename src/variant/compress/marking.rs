//! Which assets are compression dictionaries for later versions of themselves.

use http::HeaderValue;

/// Longest pattern; the name that clients send back may have 1024 characters (RFC 9842 §2.1.3).
const PATTERN_MAX: usize = 512;

/// A URL pattern of paths (WHATWG URL Pattern, as RFC 9842 §2.1.1 allows it in `match`): `*` stands for any run of
/// characters, slashes too; the rest for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryPattern {
    text: String,
    marking: HeaderValue,
}

/// Why a text is no pattern of dictionaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryPatternError {
    /// It is matched against whole paths.
    #[error("it does not begin with a slash")]
    NotAbsolute,
    /// Browsers would read a group, a modifier, a query or an escape into it.
    #[error("{0:?} has a meaning of its own in a URL pattern, or none in a path")]
    Character(char),
    /// Browsers take the second one of two for a modifier.
    #[error("two stars in a row mean something else in a URL pattern")]
    Stars,
    /// Paths are without these.
    #[error("no path has \".\" or \"..\" as a segment")]
    Dots,
    /// Too long.
    #[error("it has more than {PATTERN_MAX} characters")]
    TooLong,
}

impl DictionaryPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What browsers would read differently from us is refused.
    pub fn new(text: &str) -> Result<Self, DictionaryPatternError> {
        if !text.starts_with('/') {
            return Err(DictionaryPatternError::NotAbsolute);
        }
        if text.len() > PATTERN_MAX {
            return Err(DictionaryPatternError::TooLong);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/*-._~!$&',;=@%".contains(c);
        if let Some(odd) = text.chars().find(|c| !is_plain(*c)) {
            return Err(DictionaryPatternError::Character(odd));
        }
        if text.contains("**") {
            return Err(DictionaryPatternError::Stars);
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(DictionaryPatternError::Dots);
        }
        let marking = format!("match=\"{text}\", id=\"{text}\"");
        let marking =
            HeaderValue::try_from(marking).map_err(|_| DictionaryPatternError::Character('"'))?;
        Ok(Self {
            text: text.to_owned(),
            marking,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What `Use-As-Dictionary` says of an asset that the pattern covers (RFC 9842 §2.1). The pattern is its own name.
    #[must_use]
    pub fn marking(&self) -> &HeaderValue {
        &self.marking
    }

    /// Whether it covers the whole path. Takes time linear in the path for each star.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = self.text.split('*');
        let Some(mut rest) = parts.next().and_then(|start| path.strip_prefix(start)) else {
            return false;
        };
        let Some(end) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, path, expect) in [
            ("/app.js", "/app.js", true),
            ("/app.js", "/app.jsx", false),
            ("/app.js", "/my/app.js", false),
            ("/assets/app.*.js", "/assets/app.3f2a.js", true),
            ("/assets/app.*.js", "/assets/app..js", true),
            ("/assets/app.*.js", "/assets/app.js", false),
            ("/assets/app.*.js", "/assets/app.a/b.js", true),
            ("/assets/app.*.js", "/assets/app.3f2a.css", false),
            ("/*", "/", true),
            ("/*/v*/x*", "/a/v1/x", true),
            ("/*/v*/x*", "/a/b/x", false),
            ("/a*b*a", "/aba", true),
            ("/a*b*a", "/ab", false),
        ] {
            let found = DictionaryPattern::new(pattern).unwrap().matches(path);
            assert_eq!(found, expect, "{pattern} {path}");
        }
    }

    #[test]
    fn what_browsers_read_otherwise_is_refused() {
        for (text, expect) in [
            ("app.js", DictionaryPatternError::NotAbsolute),
            ("", DictionaryPatternError::NotAbsolute),
            ("/:id.js", DictionaryPatternError::Character(':')),
            ("/(a|b).js", DictionaryPatternError::Character('(')),
            ("/{a}.js", DictionaryPatternError::Character('{')),
            ("/app.js?v=*", DictionaryPatternError::Character('?')),
            ("/a+.js", DictionaryPatternError::Character('+')),
            ("/a\\.js", DictionaryPatternError::Character('\\')),
            ("/a\".js", DictionaryPatternError::Character('"')),
            ("/a/**", DictionaryPatternError::Stars),
            ("/a/../b", DictionaryPatternError::Dots),
            ("/a/.", DictionaryPatternError::Dots),
            ("/a b.js", DictionaryPatternError::Character(' ')),
            ("/\u{e4}.js", DictionaryPatternError::Character('\u{e4}')),
        ] {
            assert_eq!(DictionaryPattern::new(text), Err(expect), "{text}");
        }
        let long = format!("/{}", "a".repeat(PATTERN_MAX));
        assert_eq!(
            DictionaryPattern::new(&long),
            Err(DictionaryPatternError::TooLong)
        );
    }

    #[test]
    fn an_asset_is_marked_with_its_pattern() {
        let pattern = DictionaryPattern::new("/app.*.js").unwrap();
        assert_eq!(pattern.marking(), "match=\"/app.*.js\", id=\"/app.*.js\"");
    }
}
