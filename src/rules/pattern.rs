use std::fmt;

use crate::semantics::path::{self, PathError};

/// A pattern's part from its first star to its last fits one machine word, so that matching is one pass
/// over the text whatever the text is.
const MIDDLE_MAX: usize = 127;

/// A glob. In a path `*` stands for any run of characters within one segment, `**` for any run; both may
/// be empty. In a value both stand for any run. Case matters; there is no escape.
///
/// Matching takes time linear in the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What stands before the first star; the whole pattern when there is none.
    prefix: Vec<u8>,
    middle: Middle,
    /// What stands behind the last star.
    suffix: Vec<u8>,
}

/// What stands between a pattern's literal ends.
#[derive(Clone, PartialEq, Eq)]
enum Middle {
    /// No star: the pattern is a literal.
    Nothing,
    /// `*`
    Segment,
    /// `**`
    Anything,
    /// Several stars.
    Several(Box<Machine>),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A path's pattern begins with a slash.
    #[error("a path begins with a slash")]
    NotAbsolute,
    /// No path can match it.
    #[error("{0}")]
    Path(#[from] PathError),
    /// Three stars or more in a row.
    #[error("three stars in a row mean nothing")]
    Stars,
    /// Too much stands between the first and the last star.
    #[error("more than {MIDDLE_MAX} characters from the first star to the last")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Segment,
    Anything,
}

impl Pattern {
    /// A pattern of canonical paths. Its own spelling is made canonical, too.
    ///
    /// # Errors
    /// When no path could match it, or it is too long.
    pub fn of_path(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::NotAbsolute);
        }
        if text.contains("***") {
            return Err(PatternError::Stars);
        }
        Self::compile(&path::canonical(text)?, Token::Segment)
    }

    /// A pattern of a field's or a parameter's value.
    ///
    /// # Errors
    /// [`PatternError::Stars`], [`PatternError::TooLong`].
    pub fn of_value(text: &str) -> Result<Self, PatternError> {
        if text.contains("***") {
            return Err(PatternError::Stars);
        }
        Self::compile(text, Token::Anything)
    }

    fn compile(text: &str, star: Token) -> Result<Self, PatternError> {
        let tokens = tokens(text, star);
        let is_star = |token: &Token| !matches!(token, Token::Byte(_));
        let first = tokens.iter().position(is_star).unwrap_or(tokens.len());
        let (prefix, rest) = tokens.split_at(first);
        let end = rest.iter().rposition(is_star).map_or(0, |last| last + 1);
        let (middle, suffix) = rest.split_at(end);
        let middle = match middle {
            [] => Middle::Nothing,
            [Token::Segment] => Middle::Segment,
            [Token::Anything] => Middle::Anything,
            several if several.len() > MIDDLE_MAX => return Err(PatternError::TooLong),
            several => Middle::Several(Box::new(Machine::new(several))),
        };
        Ok(Self {
            text: text.to_owned(),
            prefix: bytes_of(prefix),
            middle,
            suffix: bytes_of(suffix),
        })
    }

    /// Whether the pattern covers the whole text.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(middle) = self.middle_of(text) else {
            return false;
        };
        match &self.middle {
            Middle::Nothing => middle.is_empty(),
            Middle::Segment => !middle.contains(&b'/'),
            Middle::Anything => true,
            Middle::Several(machine) => machine.matches(middle),
        }
    }

    /// What each star stands for, in order; `None` when the pattern does not cover the text. Where there is a
    /// choice the later stars take as little as they can.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let middle = self.middle_of(text.as_bytes())?;
        let start = self.prefix.len();
        let whole = text.get(start..start + middle.len());
        match &self.middle {
            Middle::Nothing => middle.is_empty().then(Vec::new),
            Middle::Segment if middle.contains(&b'/') => None,
            Middle::Segment | Middle::Anything => Some(vec![whole?]),
            Middle::Several(machine) if !machine.matches(middle) => None,
            Middle::Several(machine) => {
                let whole = whole?;
                let spans = machine.spans(middle)?;
                spans.into_iter().map(|span| whole.get(span)).collect()
            }
        }
    }

    /// How many stars it has.
    #[must_use]
    pub fn stars(&self) -> usize {
        match &self.middle {
            Middle::Nothing => 0,
            Middle::Segment | Middle::Anything => 1,
            Middle::Several(machine) => machine.stars.count_ones() as usize,
        }
    }

    /// What the middle has to cover.
    fn middle_of<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        text.strip_prefix(&*self.prefix)?
            .strip_suffix(&*self.suffix)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// No two stars follow each other.
fn tokens(text: &str, star: Token) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match (byte, tokens.last()) {
            (b'*', Some(Token::Segment)) => {
                tokens.pop();
                tokens.push(Token::Anything);
            }
            (b'*', Some(Token::Anything)) => {}
            (b'*', Some(Token::Byte(_)) | None) => tokens.push(star),
            (byte, _) => tokens.push(Token::Byte(byte)),
        }
    }
    tokens
}

fn bytes_of(tokens: &[Token]) -> Vec<u8> {
    let literal = |token: &Token| match token {
        Token::Byte(byte) => Some(*byte),
        Token::Segment | Token::Anything => None,
    };
    tokens.iter().filter_map(literal).collect()
}

/// All places of a pattern at once: bit `n` of a state says that the first `n` tokens can cover the text
/// read so far. One step a byte, whatever the pattern; a matcher that tries and goes back would take time
/// that grows with the square of the path, which a stranger chooses.
#[derive(Clone, PartialEq, Eq)]
struct Machine {
    /// By byte: the tokens that are this byte.
    literals: Box<[u128]>,
    /// The tokens that are stars.
    stars: u128,
    /// The stars that cross slashes.
    crossing: u128,
    length: usize,
}

impl Machine {
    fn new(tokens: &[Token]) -> Self {
        let mut machine = Self {
            literals: vec![0; 256].into(),
            stars: 0,
            crossing: 0,
            length: tokens.len(),
        };
        let mut bit = 1_u128;
        for token in tokens {
            match token {
                Token::Byte(byte) => {
                    if let Some(places) = machine.literals.get_mut(usize::from(*byte)) {
                        *places |= bit;
                    }
                }
                Token::Segment => machine.stars |= bit,
                Token::Anything => {
                    machine.stars |= bit;
                    machine.crossing |= bit;
                }
            }
            bit <<= 1;
        }
        machine
    }

    fn matches(&self, text: &[u8]) -> bool {
        let mut state = self.start();
        for byte in text {
            state = self.step(state, *byte);
            if state == 0 {
                return false;
            }
        }
        self.is_end(state)
    }

    fn start(&self) -> u128 {
        self.with_empty_stars(1)
    }

    fn step(&self, state: u128, byte: u8) -> u128 {
        let staying = if byte == b'/' {
            self.crossing
        } else {
            self.stars
        };
        let moved = (state & self.literals_of(byte)) << 1;
        self.with_empty_stars(moved | state & staying)
    }

    /// A star may stand for nothing. Stars are never neighbours, so that one shift is enough.
    fn with_empty_stars(&self, state: u128) -> u128 {
        state | (state & self.stars) << 1
    }

    fn is_end(&self, state: u128) -> bool {
        state & (1 << self.length) != 0
    }

    fn literals_of(&self, byte: u8) -> u128 {
        let places = self.literals.get(usize::from(byte));
        places.copied().unwrap_or(0)
    }

    /// What each star covers. Reads the states backwards from the end: a star ends where what follows it
    /// begins, and begins at the last place where what stands before it can end.
    fn spans(&self, text: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
        let mut states = Vec::with_capacity(text.len());
        let mut state = self.start();
        for byte in text {
            states.push(state);
            state = self.step(state, *byte);
        }
        if !self.is_end(state) {
            return None;
        }
        let mut spans = Vec::new();
        let mut at = text.len();
        for place in (0..self.length).rev() {
            if self.stars & (1 << place) == 0 {
                at = at.checked_sub(1)?;
                continue;
            }
            let end = at;
            while !self.is_reached(place, at, text, &states) {
                at = at.checked_sub(1)?;
            }
            spans.push(at..end);
        }
        spans.reverse();
        Some(spans)
    }

    /// Whether the tokens before `place`, the last of them a literal, can cover exactly the first `at` bytes.
    fn is_reached(&self, place: usize, at: usize, text: &[u8], states: &[u128]) -> bool {
        let (Some(before), Some(last)) = (place.checked_sub(1), at.checked_sub(1)) else {
            return place == 0 && at == 0;
        };
        let (Some(byte), Some(state)) = (text.get(last), states.get(last)) else {
            return false;
        };
        state & self.literals_of(*byte) & (1 << before) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expect: Option<&[&str]>) {
        let pattern = Pattern::of_path(pattern).unwrap();
        let found = pattern.captures(text);
        assert_eq!(found.as_deref(), expect, "{pattern} on {text}");
        assert_eq!(pattern.matches(text.as_bytes()), expect.is_some());
    }

    #[test]
    fn a_literal_covers_itself() {
        check("/a/b.css", "/a/b.css", Some(&[]));
        check("/a/b.css", "/a/b.cs", None);
        check("/a/b.css", "/a/b.css/", None);
        check("/a/b.css", "/A/b.css", None);
        check("/%7ea", "/~a", Some(&[]));
        check("/%c3%a4", "/%C3%A4", Some(&[]));
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        check("/a/*", "/a/b", Some(&["b"]));
        check("/a/*", "/a/", Some(&[""]));
        check("/a/*", "/a/b/c", None);
        check("/a/*", "/a", None);
        check("/a/*.css", "/a/b.c.css", Some(&["b.c"]));
        check("/*/b/*", "/a/b/c", Some(&["a", "c"]));
        check("/*/b/*", "/a/c/b/d", None);
        check("/v*/x", "/v12/x", Some(&["12"]));
        check("/*a*a", "/aa", Some(&["", ""]));
        check("/ab*ba", "/aba", None);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("/**", "/", Some(&[""]));
        check("/**", "/a/b", Some(&["a/b"]));
        check("/a/**", "/a", None);
        check("/v*/**", "/v2/js/app.js", Some(&["2", "js/app.js"]));
        check("/**/x.js", "/a/b/x.js", Some(&["a/b"]));
        check("/**/x.js", "/x.js", None);
        check("/**.js", "/a/b.js", Some(&["a/b"]));
        check("/**/*.*", "/a/b/c.d.e", Some(&["a/b", "c.d", "e"]));
        check("/**a**", "/bab/", Some(&["b", "b/"]));
    }

    #[test]
    fn what_no_path_matches_is_refused() {
        #[track_caller]
        fn refuses(pattern: &str, expect: &PatternError) {
            assert_eq!(Pattern::of_path(pattern).as_ref(), Err(expect), "{pattern}");
        }
        refuses("*.js", &PatternError::NotAbsolute);
        refuses("", &PatternError::NotAbsolute);
        refuses("/a?b", &PatternError::Path(PathError::BadByte));
        refuses("/ä", &PatternError::Path(PathError::BadByte));
        refuses("/%zz", &PatternError::Path(PathError::BadEscape));
        refuses("/***", &PatternError::Stars);
        let long = format!("/*{}*", "a".repeat(126));
        refuses(&long, &PatternError::TooLong);
        let fits = format!("/*{}*", "a".repeat(125));
        let text = format!("/x{}", "a".repeat(127));
        let found = Pattern::of_path(&fits).unwrap().captures(&text).unwrap();
        assert_eq!(found, ["xaa", ""]);
        let ends = format!("{0}*{0}", "/a".repeat(200));
        assert!(Pattern::of_path(&ends).is_ok(), "literal ends may be long");
    }

    #[test]
    fn values_have_no_segments() {
        #[track_caller]
        fn check(pattern: &str, text: &str, expect: bool) {
            let pattern = Pattern::of_value(pattern).unwrap();
            assert_eq!(pattern.matches(text.as_bytes()), expect, "{pattern} {text}");
        }
        check("*", "", true);
        check("*image/webp*", "image/avif,image/webp,*/*", true);
        check("*image/*", "text/html", false);
        check("a**b", "a/b", true);
        check("", "", true);
        check("", "a", false);
        check("ä*", "äö", true);
    }

    /// Tries everything; the reference.
    fn naive(tokens: &[Token], text: &[u8]) -> bool {
        match (tokens, text) {
            ([], text) => text.is_empty(),
            ([Token::Byte(byte), rest @ ..], [first, after @ ..]) => {
                byte == first && naive(rest, after)
            }
            ([Token::Byte(_), ..], []) => false,
            ([star, rest @ ..], text) => {
                let reach = match star {
                    Token::Segment => text.split(|byte| *byte == b'/').next().unwrap().len(),
                    _ => text.len(),
                };
                (0..=reach).any(|length| naive(rest, &text[length..]))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_matches_as_the_naive_way_does(pattern in "/([ab/]|\\*|\\*\\*){0,8}", text in "/[ab/]{0,10}") {
            let Ok(compiled) = Pattern::of_path(&pattern) else { return Ok(()) };
            let tokens = tokens(&compiled.text, Token::Segment);
            let expect = naive(&tokens, text.as_bytes());
            prop_assert_eq!(compiled.matches(text.as_bytes()), expect);
            let captures = compiled.captures(&text);
            prop_assert_eq!(captures.is_some(), expect);
            let Some(captures) = captures else { return Ok(()) };
            prop_assert_eq!(captures.len(), compiled.stars());
            let mut whole = Vec::new();
            let mut left = captures.iter();
            for token in tokens {
                match token {
                    Token::Byte(byte) => whole.push(byte),
                    star => {
                        let text = left.next().unwrap();
                        prop_assert!(star == Token::Anything || !text.contains('/'));
                        whole.extend_from_slice(text.as_bytes());
                    }
                }
            }
            prop_assert_eq!(whole, text.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(pattern in "\\PC{0,40}", text in prop::collection::vec(any::<u8>(), 0..60), path in "\\PC{0,40}") {
            for compiled in [Pattern::of_value(&pattern), Pattern::of_path(&format!("/{pattern}"))].into_iter().flatten() {
                let covers = compiled.captures(&path).is_some();
                prop_assert_eq!(compiled.matches(path.as_bytes()), covers);
                std::hint::black_box(compiled.matches(&text));
            }
        }
    }

    #[test]
    fn a_hostile_path_takes_no_longer_than_its_length() {
        let pattern = Pattern::of_path("/**a*a*a*a*a**b*").unwrap();
        let text = format!("/{}", "a".repeat(100_000));
        assert!(!pattern.matches(text.as_bytes()));
    }
}
