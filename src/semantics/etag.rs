//! Entity tags (RFC 9110 §8.8.3), lists of them, and the tags of representations that the node makes.

use http::{HeaderMap, HeaderName, HeaderValue};

/// An entity tag, borrowed from its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether it begins with `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag and nothing beside it. Unquoted or otherwise odd tags are none.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::leading(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// RFC 9110 §8.8.3.2: equal, whether weak or not.
    #[must_use]
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// RFC 9110 §8.8.3.2: equal, and neither is weak.
    #[must_use]
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The part that came from the origin: without the suffix that [`made`] adds.
    #[must_use]
    pub fn source(&self) -> &'a [u8] {
        self.made_of().map_or(self.opaque, |(source, _)| source)
    }

    /// The coding or format of a tag that [`made`] gave.
    #[must_use]
    pub fn how(&self) -> Option<&'a [u8]> {
        self.made_of().map(|(_, how)| how)
    }

    /// The two parts of a made tag, without the version.
    fn made_of(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (source, suffix) = self
            .opaque
            .split_at_checked(memchr::memrchr(b';', self.opaque)?)?;
        let suffix = suffix.get(1..)?;
        let (how, version) = suffix.split_at_checked(memchr::memchr(b'.', suffix)?)?;
        let is_ours = (1..=HOW_MAX).contains(&how.len())
            && how.iter().all(u8::is_ascii_alphanumeric)
            && version.len() == VERSION_DIGITS + 1
            && version
                .iter()
                .skip(1)
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then_some((source, how))
    }

    /// A tag at the beginning of `text`, and what follows it.
    fn leading(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) = inner.split_at_checked(memchr::memchr(b'"', inner)?)?;
        opaque
            .iter()
            .all(|&byte| is_tag_byte(byte))
            .then_some((Self { weak, opaque }, rest.get(1..)?))
    }
}

fn is_tag_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

/// Longest name of a coding or format in a made tag.
const HOW_MAX: usize = 12;
/// Digits of the version in a made tag: 48 bits, so that two versions of one object never meet.
const VERSION_DIGITS: usize = 12;

/// The tag of a representation that the node made from `source`: `"abc"` becomes
/// `"abc;br.0123456789ab"`. Weak stays weak. `None` when `source` is no tag or `how` is not one short word
/// of letters and digits.
#[must_use]
pub fn made(source: &HeaderValue, how: &str, version: u128) -> Option<HeaderValue> {
    let tag = EntityTag::parse(source.as_bytes())?;
    let is_word =
        (1..=HOW_MAX).contains(&how.len()) && how.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_word {
        return None;
    }
    let mut text = Vec::with_capacity(tag.opaque.len() + how.len() + VERSION_DIGITS + 6);
    text.extend_from_slice(if tag.weak { b"W/\"" } else { b"\"" });
    text.extend_from_slice(tag.opaque);
    text.push(b';');
    text.extend_from_slice(how.as_bytes());
    text.push(b'.');
    let version = version & ((1 << (VERSION_DIGITS * 4)) - 1);
    text.extend_from_slice(format!("{version:0VERSION_DIGITS$x}\"").as_bytes());
    HeaderValue::try_from(text).ok()
}

/// The tag that [`made`] was given, of a tag that it gave; another tag as it is. `None` when it is no tag.
#[must_use]
pub fn source(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = EntityTag::parse(tag.as_bytes())?;
    let start: &[u8] = if tag.weak { b"W/\"" } else { b"\"" };
    HeaderValue::try_from([start, tag.source(), b"\""].concat()).ok()
}

/// The tags of a condition such as `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// `*`: any representation at all.
    Any,
    /// One of the tags of these lines; see [`Condition::tags`].
    Tags(&'a HeaderMap, &'a HeaderName),
}

impl<'a> Condition<'a> {
    /// Reads all lines of the field `name`; `None` when it is absent.
    #[must_use]
    pub fn of(headers: &'a HeaderMap, name: &'a HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter();
        let first = lines.next()?;
        let is_any = first.as_bytes().trim_ascii() == b"*" && lines.next().is_none();
        Some(if is_any {
            Self::Any
        } else {
            Self::Tags(headers, name)
        })
    }

    /// The valid tags of all lines. What is no tag is skipped up to the next comma.
    pub fn tags(&self) -> impl Iterator<Item = EntityTag<'a>> + use<'a> {
        let lines = match *self {
            Self::Any => None,
            Self::Tags(headers, name) => Some(headers.get_all(name).iter()),
        };
        lines
            .into_iter()
            .flatten()
            .flat_map(|line| list(line.as_bytes()))
    }
}

/// The valid tags of one list; what is no tag is skipped up to the next comma.
#[must_use]
pub fn list(text: &[u8]) -> TagList<'_> {
    TagList { rest: text }
}

/// The tags that [`list`] finds.
#[derive(Debug, Clone)]
pub struct TagList<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TagList<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        // Ends because each turn that yields nothing cuts `rest` behind a comma or to nothing.
        while !self.rest.is_empty() {
            // Commas may stand inside a tag, and a backslash there escapes nothing, so this list
            // cannot be split like others.
            let found = EntityTag::leading(self.rest.trim_ascii_start());
            let after = found.map_or(self.rest, |(_, after)| after);
            let next = memchr::memchr(b',', after);
            let between = after.get(..next.unwrap_or(after.len())).unwrap_or_default();
            self.rest = next
                .and_then(|comma| after.get(comma + 1..))
                .unwrap_or_default();
            match found {
                Some((tag, _)) if between.trim_ascii().is_empty() => return Some(tag),
                Some(_) | None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(bool, &str)>) {
        let found = EntityTag::parse(text.as_bytes())
            .map(|tag| (tag.weak, std::str::from_utf8(tag.opaque).unwrap()));
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn the_tag_of_a_source_is_found_again() {
        for tag in ["\"abc\"", "W/\"a;b\"", "\"\""] {
            let tag = HeaderValue::from_static(tag);
            let given = made(&tag, "br", 7).unwrap();
            assert_eq!(source(&given), Some(tag.clone()));
            assert_eq!(source(&tag), Some(tag));
        }
        assert_eq!(source(&HeaderValue::from_static("abc")), None);
    }

    #[test]
    fn tags_are_quoted() {
        check(r#""abc""#, Some((false, "abc")));
        check(r#"W/"abc""#, Some((true, "abc")));
        check(r#""""#, Some((false, "")));
        check(r#""a\""#, Some((false, r"a\")));
        check(r#""ä""#, Some((false, "ä")));
        check("abc", None);
        check(r#"w/"abc""#, None);
        check(r#"W"abc""#, None);
        check(r#""abc"#, None);
        check(r#""a b""#, None);
        check(r#""a"b""#, None);
        check(r#""a" x"#, None);
        check("W/", None);
        check("\"", None);
        check("", None);
    }

    #[test]
    fn comparisons() {
        let strong = EntityTag::parse(br#""a""#).unwrap();
        let weak = EntityTag::parse(br#"W/"a""#).unwrap();
        let other = EntityTag::parse(br#""A""#).unwrap();
        assert!(strong.strong_eq(&strong) && strong.weak_eq(&weak) && weak.weak_eq(&weak));
        assert!(!strong.strong_eq(&weak) && !weak.strong_eq(&weak) && !strong.weak_eq(&other));
    }

    #[track_caller]
    fn check_list(text: &str, expect: &[&str]) {
        let found: Vec<_> = list(text.as_bytes())
            .map(|tag| std::str::from_utf8(tag.opaque).unwrap())
            .collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn lists_skip_what_is_no_tag() {
        check_list(r#""a", W/"b" ,"c""#, &["a", "b", "c"]);
        check_list(r#""a,b", "c\", "d""#, &["a,b", r"c\", "d"]);
        check_list(r#"abc, "d""#, &["d"]);
        check_list(r#""a"x, "d""#, &["d"]);
        check_list(r#",, "a",,"#, &["a"]);
        check_list("*", &[]);
        check_list(r#""a"#, &[]);
    }

    #[test]
    fn any_is_a_star_alone() {
        let name = &http::header::IF_NONE_MATCH;
        let mut headers = HeaderMap::new();
        assert_eq!(Condition::of(&headers, name), None);
        headers.append(name, HeaderValue::from_static(" * "));
        assert_eq!(Condition::of(&headers, name), Some(Condition::Any));
        headers.append(name, HeaderValue::from_static("\"a\""));
        let condition = Condition::of(&headers, name).unwrap();
        assert_eq!(condition.tags().count(), 1);
        assert_ne!(condition, Condition::Any);
    }

    #[test]
    fn made_tags_name_their_source() {
        let source = HeaderValue::from_static("\"abc\"");
        let tag = made(&source, "br", 0x7f_3a91).unwrap();
        assert_eq!(tag, "\"abc;br.0000007f3a91\"");
        assert_eq!(EntityTag::parse(tag.as_bytes()).unwrap().source(), b"abc");
        let weak = made(&HeaderValue::from_static("W/\"abc\""), "avif", u128::MAX).unwrap();
        assert_eq!(weak, "W/\"abc;avif.ffffffffffff\"");
        assert_eq!(made(&HeaderValue::from_static("abc"), "br", 1), None);
        assert_eq!(made(&source, "b r", 1), None);
        for foreign in [
            "\"a;b\"",
            "\"a;br.12\"",
            "\"a;.0000007f3a91\"",
            "\"a;br.0000007F3A91\"",
        ] {
            let tag = EntityTag::parse(foreign.as_bytes()).unwrap();
            assert_eq!(tag.source(), tag.opaque, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text: Vec<u8>) {
            if let Some(tag) = EntityTag::parse(&text) {
                prop_assert!(tag.opaque.starts_with(tag.source()));
            }
            prop_assert!(list(&text).count() <= text.len());
        }

        #[test]
        fn lists_of_tags_round_trip(opaques in prop::collection::vec("[!#-~]{0,8}", 0..6)) {
            let text = opaques.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
            let found: Vec<_> = list(text.as_bytes()).map(|tag| tag.opaque.to_vec()).collect();
            let wanted: Vec<_> = opaques.iter().map(|tag| tag.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn a_made_tag_always_leads_back(opaque in "[!#-~]{0,12}", version: u128) {
            let source = HeaderValue::try_from(format!("\"{opaque}\"")).unwrap();
            let tag = made(&source, "zstd", version).unwrap();
            prop_assert_eq!(EntityTag::parse(tag.as_bytes()).unwrap().source(), opaque.as_bytes());
        }
    }
}
