//! Purge tags that a response carries.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that names the groups of a response (RFC 9875 §2).
pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// More tags than this on one response are not told apart; RFC 9875 §2 asks for 32 groups at least.
pub(super) const TAGS_MAX: usize = 128;
/// The same for tags of more bytes than this in all.
const TAGS_BYTES_MAX: usize = 16 * 1024;

/// The tags of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// As many as the bounds allow, without repeats.
    pub names: Vec<String>,
    /// Whether it has more than these: then the purge of any tag concerns it, for it must not be missed by the
    /// purge of one that was left out.
    pub overflow: bool,
}

/// The tags in the given fields. Case matters.
///
/// `Surrogate-Key` separates by spaces, `Cache-Tag` by commas, `Cache-Groups` is a list of strings (RFC 9875); a
/// field of another name may use commas or spaces.
#[must_use]
pub fn tags(response: &HeaderMap, fields: &[HeaderName]) -> Tags {
    let mut found = Collector::default();
    for name in fields {
        let lines = response.get_all(name);
        match name.as_str() {
            "cache-groups" => found.groups(lines.iter()),
            "surrogate-key" | "xkey" => {
                for line in lines {
                    found.split(line, |byte| byte.is_ascii_whitespace());
                }
            }
            "cache-tag" | "edge-cache-tag" => {
                for line in lines {
                    found.split(line, |byte| byte == b',');
                }
            }
            _ => {
                for line in lines {
                    found.split(line, |byte| byte == b',' || byte.is_ascii_whitespace());
                }
            }
        }
    }
    found.found
}

/// The strings of a structured list (RFC 9875), under the bounds of [`tags`]; none if any line is malformed.
pub(super) fn groups(response: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut found = Collector::default();
    found.groups(response.get_all(name).iter());
    found.found.names
}

#[derive(Default)]
struct Collector {
    found: Tags,
    total_bytes: usize,
}

impl Collector {
    fn split(&mut self, line: &HeaderValue, is_separator: impl Fn(u8) -> bool) {
        for piece in line.as_bytes().split(|&byte| is_separator(byte)) {
            // A purge names tags as text.
            if let Ok(tag) = std::str::from_utf8(piece.trim_ascii()) {
                self.add(tag);
            }
        }
    }

    /// One structured list over all lines; if it is malformed anywhere there are no groups (RFC 9651 §4.2).
    fn groups<'a>(&mut self, lines: impl Iterator<Item = &'a HeaderValue>) {
        let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
        let Ok(groups) = sfv::Parser::new(&lines.join(&b", "[..])).parse::<sfv::List>() else {
            return;
        };
        for group in &groups {
            if let sfv::ListEntry::Item(item) = group
                && let Some(tag) = item.bare_item.as_string()
            {
                self.add(tag.as_str());
            }
        }
    }

    fn add(&mut self, tag: &str) {
        let Tags { names, overflow } = &mut self.found;
        if tag.is_empty() || names.iter().any(|known| known == tag) {
            return;
        }
        if names.len() >= TAGS_MAX || self.total_bytes + tag.len() > TAGS_BYTES_MAX {
            *overflow = true;
            return;
        }
        self.total_bytes += tag.len();
        names.push(tag.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config::Config;
    use super::super::sample::{Fields, headers, names};
    use super::*;

    #[track_caller]
    fn check(response: Fields<'_>, expect: &[&str]) {
        let mut fields = Config::default().tags;
        fields.extend(names(&["x-tags"]));
        let found = tags(&headers(response), &fields);
        assert_eq!(found.names, expect, "{response:?}");
        assert!(!found.overflow);
    }

    #[test]
    fn each_field_has_its_own_separator() {
        check(&[("surrogate-key", "a b,c  a")], &["a", "b,c"]);
        check(&[("cache-tag", "a, b c ,,a")], &["a", "b c"]);
        check(&[("cache-groups", r#""a b", "C";x=1"#)], &["a b", "C"]);
        check(
            &[("cache-groups", r#""a""#), ("cache-groups", r#""b""#)],
            &["a", "b"],
        );
        check(&[("x-tags", "a b,c")], &["a", "b", "c"]);
        check(
            &[
                ("surrogate-key", "a"),
                ("cache-tag", "b"),
                ("surrogate-key", "c"),
            ],
            &["a", "c", "b"],
        );
        check(&[("other", "a")], &[]);
    }

    #[test]
    fn a_hundred_groups_of_a_hundred_characters_are_kept_whole() {
        let group = |n: usize| format!("{n:0>100}");
        let field = (0..100)
            .map(|n| format!("\"{}\"", group(n)))
            .collect::<Vec<_>>()
            .join(", ");
        let found = tags(&headers(&[("cache-groups", &field)]), &[CACHE_GROUPS]);
        assert_eq!(found.names, (0..100).map(group).collect::<Vec<_>>());
        assert!(!found.overflow);
    }

    #[test]
    fn groups_are_told_apart_by_case() {
        check(&[("cache-groups", r#""a", "A", "a""#)], &["a", "A"]);
    }

    #[test]
    fn malformed_groups_are_none() {
        check(&[("cache-groups", r#""a", "#)], &[]);
        check(&[("cache-groups", r#""a", b, 1, ("c")"#)], &["a"]);
        check(&[("cache-groups", "")], &[]);
    }

    #[test]
    fn bounds_hold() {
        let many: Vec<_> = (0..200).map(|n| n.to_string()).collect();
        let found = tags(
            &headers(&[("surrogate-key", &many.join(" "))]),
            &names(&["surrogate-key"]),
        );
        assert_eq!(found.names.len(), TAGS_MAX);
        assert!(found.overflow);
        let long = format!("{} b", "a".repeat(TAGS_BYTES_MAX + 1));
        let found = tags(
            &headers(&[("surrogate-key", &long)]),
            &names(&["surrogate-key"]),
        );
        assert_eq!(found.names, ["b"]);
        assert!(found.overflow);
        let repeated = (0..TAGS_MAX).chain(0..TAGS_MAX).map(|n| n.to_string());
        let field = repeated.collect::<Vec<_>>().join(" ");
        let found = tags(
            &headers(&[("surrogate-key", &field)]),
            &names(&["surrogate-key"]),
        );
        assert!(!found.overflow);
    }

    #[test]
    fn sixteen_kibibytes_of_tags_are_kept_whole() {
        let many: Vec<_> = (0..64).map(|n| format!("{n:0>256}")).collect();
        let field = many.join(" ");
        let found = tags(
            &headers(&[("surrogate-key", &field)]),
            &names(&["surrogate-key"]),
        );
        assert_eq!(found.names, many);
        assert!(!found.overflow);
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let fields = Config::default().tags;
                let mut response = HeaderMap::new();
                for name in &fields {
                    response.insert(name, value.clone());
                }
                prop_assert!(tags(&response, &fields).names.iter().all(|tag| !tag.is_empty()));
            }
        }
    }
}
