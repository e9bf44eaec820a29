use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// A compiled expression takes at most this; what is larger is a mistake, mostly of nested repeats.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// The states that are made while matching take at most this; beyond, matching goes on more slowly.
const STATES_BYTES_MAX: usize = 1 << 20;

/// A regular expression, searched for anywhere in a path. Matching takes time linear in the path.
#[derive(Clone)]
pub struct Expression(Regex);

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Its grammar; what the parser says.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// It is too large when compiled.
    #[error("the expression takes more than {} KiB when compiled", COMPILED_BYTES_MAX >> 10)]
    TooLarge,
}

impl Expression {
    /// Compiles `text`; classes such as `\w` are those of ASCII, as paths are.
    ///
    /// # Errors
    /// [`ExpressionError`].
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(STATES_BYTES_MAX)
            .build()
            .map(Self)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => ExpressionError::TooLarge,
                other => ExpressionError::Syntax(last_line(&other.to_string())),
            })
    }

    /// Whether it is found in `path`.
    #[must_use]
    pub fn is_in(&self, path: &str) -> bool {
        self.0.is_match(path.as_bytes())
    }

    /// What its groups captured where it is found first; a group that took no part is empty.
    #[must_use]
    pub fn captures<'t>(&self, path: &'t str) -> Option<Vec<&'t str>> {
        let found = self.0.captures(path.as_bytes())?;
        let text = |group: Option<regex::bytes::Match<'_>>| match group {
            Some(group) => path.get(group.range()).unwrap_or_default(),
            None => "",
        };
        Some(found.iter().skip(1).map(text).collect())
    }

    /// How many groups it has.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.captures_len().saturating_sub(1)
    }
}

/// The parser draws the expression first and says what is wrong with it last.
fn last_line(report: &str) -> String {
    let line = report.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_anywhere() {
        let hashed = Expression::parse(r"\.[0-9a-f]{8,}\.").unwrap();
        assert!(hashed.is_in("/assets/app.0123abcd.js"));
        assert!(!hashed.is_in("/assets/app.js"));
        let dated = Expression::parse(r"^/(\d{4})/(\d\d)?-").unwrap();
        assert_eq!(dated.groups(), 2);
        assert_eq!(dated.captures("/2024/07-x").unwrap(), ["2024", "07"]);
        assert_eq!(dated.captures("/2024/-x").unwrap(), ["2024", ""]);
        assert_eq!(dated.captures("/x"), None);
    }

    #[test]
    fn what_does_not_compile_is_told_in_one_line() {
        let error = Expression::parse("(a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a regular expression: unclosed group"
        );
        let large = Expression::parse("((a{100}){100}){100}");
        assert_eq!(large, Err(ExpressionError::TooLarge));
    }
}
