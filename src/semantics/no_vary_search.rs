//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search-04): which differences between queries do not matter.

use std::borrow::Cow;
use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::query;

/// The field.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// Names that one rule may have; a longer list is no rule that anybody wrote.
const NAMES_MAX: usize = 256;

/// How queries of one path differ. The default is the usual one: by every byte.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    names: Names,
    /// Whether the order of parameters with different names matters not.
    unordered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Names {
    /// All parameters but these matter.
    Ignored(BTreeSet<String>),
    /// Only these matter.
    Only(BTreeSet<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Ignored(BTreeSet::new())
    }
}

impl Rule {
    /// Reads all lines of the field. What is absent, malformed, of a wrong type, or has both `params` and `except` is
    /// the default rule: every difference matters.
    ///
    /// A `key-order` without the others counts, as in the draft's examples and unlike its parsing steps.
    #[must_use]
    pub fn of(response: &HeaderMap) -> Self {
        Self::parse(response).unwrap_or_default()
    }

    fn parse(response: &HeaderMap) -> Option<Self> {
        let lines: Vec<&[u8]> = response
            .get_all(NO_VARY_SEARCH)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if lines.is_empty() {
            return None;
        }
        let field: sfv::Dictionary = sfv::Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let unordered = match field.get("key-order") {
            None => false,
            Some(sfv::ListEntry::Item(item)) => item.bare_item.as_boolean()?,
            Some(sfv::ListEntry::InnerList(_)) => return None,
        };
        let names = match (field.get("params"), field.get("except")) {
            (None, None) => Names::default(),
            (Some(ignored), None) => Names::Ignored(strings(ignored)?),
            (None, Some(only)) => Names::Only(strings(only)?),
            (Some(_), Some(_)) => return None,
        };
        Some(Self { names, unordered })
    }

    /// Whether every difference matters.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The query without what does not matter, in one spelling. Two URLs of one path are the same under this rule
    /// exactly when their simplified queries are equal.
    ///
    /// An absent query is as an empty one, and as one without parameters (`?&`): what is compared are lists of
    /// parameters. Under the default rule the query itself counts, and that it is there.
    #[must_use]
    pub fn simplified(&self, query: Option<&str>) -> String {
        if self.is_default() {
            return query.map(|query| format!("?{query}")).unwrap_or_default();
        }
        let mut kept: Vec<_> = query::pairs(query.unwrap_or_default())
            .map(|(name, value)| (decoded(name), decoded(value)))
            .filter(|(name, _)| self.matters(name))
            .collect();
        if self.unordered {
            // Stable: what repeats keeps its order, which may have a meaning.
            kept.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut text = String::with_capacity(query.map_or(0, str::len) + 2);
        for (name, value) in &kept {
            text.push('&');
            push_encoded(&mut text, name);
            text.push('=');
            push_encoded(&mut text, value);
        }
        text
    }

    /// Whether two queries of one path are the same under this rule.
    #[must_use]
    pub fn is_same(&self, one: Option<&str>, other: Option<&str>) -> bool {
        one == other || self.simplified(one) == self.simplified(other)
    }

    fn matters(&self, name: &[u8]) -> bool {
        // Text that is no UTF-8 cannot be named by a rule; see `decoded`.
        let is_in = |names: &BTreeSet<String>| {
            std::str::from_utf8(name).is_ok_and(|name| names.contains(name))
        };
        match &self.names {
            Names::Ignored(names) => !is_in(names),
            Names::Only(names) => is_in(names),
        }
    }
}

/// The strings of an inner list, decoded as form data (draft §2.1); parameters do not count.
fn strings(entry: &sfv::ListEntry) -> Option<BTreeSet<String>> {
    let sfv::ListEntry::InnerList(list) = entry else {
        return None;
    };
    if list.items.len() > NAMES_MAX {
        return None;
    }
    list.items
        .iter()
        .map(|item| {
            let name = decoded(item.bare_item.as_string()?.as_str());
            Some(String::from_utf8_lossy(&name).into_owned())
        })
        .collect()
}

/// A name or value of form data: plus is a space, escapes are undone, and what is no UTF-8 then becomes the
/// replacement character, as the URL standard has it.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = query::unescaped(&spaced).collect();
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(_) => Cow::Owned(bytes),
        Cow::Owned(mended) => Cow::Owned(mended.into_bytes()),
    }
}

/// Escapes what would not come back as it is.
fn push_encoded(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(byte) {
            text.push((*byte).into());
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(field: &str) -> Rule {
        let mut headers = HeaderMap::new();
        headers.insert(NO_VARY_SEARCH, field.parse().unwrap());
        Rule::of(&headers)
    }

    #[track_caller]
    fn check(field: &str, one: &str, other: &str, expect: bool) {
        let rule = rule(field);
        let of = |text: &str| text.strip_prefix('?').map(str::to_owned);
        let (one, other) = (of(one), of(other));
        assert_eq!(
            rule.is_same(one.as_deref(), other.as_deref()),
            expect,
            "{field}: {one:?} {other:?}"
        );
        assert_eq!(
            rule.simplified(one.as_deref()) == rule.simplified(other.as_deref()),
            expect
        );
    }

    #[test]
    fn named_parameters_do_not_matter() {
        let field = r#"params=("utm" "a b")"#;
        check(field, "?x=1&utm=2", "?x=1", true);
        check(field, "?utm=2&x=1&utm=3", "?x=1", true);
        check(field, "?utm=1", "", true);
        check(field, "?a+b=1&a%20b=2", "", true);
        check(field, "?%75tm=1", "", true);
        check(field, "?UTM=1", "", false);
        check(field, "?x=1&y=2", "?y=2&x=1", false);
        check(field, "?x=1", "?x=2", false);
        check("params=()", "?x=1", "?x=2", false);
    }

    #[test]
    fn all_but_the_excepted_do_not_matter() {
        let field = r#"except=("id")"#;
        check(field, "?id=1&x=1", "?y=2&id=1", true);
        check(field, "?id=1", "?id=2", false);
        check(field, "?x=1", "", true);
        check("except=()", "?id=1", "?x", true);
        check(field, "?id=1&id=2", "?id=2&id=1", false);
    }

    #[test]
    fn the_order_of_names_may_not_matter() {
        check("key-order", "?x=1&y=2", "?y=2&x=1", true);
        check("key-order", "?x=1&x=2", "?x=2&x=1", false);
        check("key-order", "?x=1", "?x=2", false);
        check("key-order=?0", "?x=1&y=2", "?y=2&x=1", false);
        check(r#"key-order, params=("u")"#, "?x=1&u&y=2", "?y=2&x=1", true);
        check(
            r#"key-order, except=("x" "y")"#,
            "?x=1&u&y=2",
            "?y=2&x=1",
            true,
        );
    }

    #[test]
    fn spellings_of_one_parameter_are_the_same() {
        let field = r#"params=("u")"#;
        check(field, "?x=%41", "?x=A", true);
        check(field, "?x=a+b", "?x=a%20b", true);
        check(field, "?x", "?x=", true);
        check(field, "?x=%2b", "?x=+", false);
        check(field, "?x=1&&y", "?x=1&y=", true);
        check(field, "?x=%26y%3D", "?x=&y=", false);
        check(field, "?x=%ff", "?x=%fe", true);
        check(field, "?", "", true);
    }

    #[test]
    fn names_in_the_rule_are_decoded() {
        check(r#"params=("%C3%A9")"#, "?%c3%a9=1", "", true);
        check(r#"params=("a+b")"#, "?a%20b=1", "", true);
        check(r#"params=("a%2Bb")"#, "?a%2bb=1", "", true);
    }

    #[test]
    fn what_is_malformed_is_no_rule() {
        for field in [
            "",
            "params",
            "params=?0",
            "params=(a)",
            "params=(1)",
            "params=\"a\"",
            r#"params=("a"), except=("b")"#,
            "except",
            "key-order=1",
            "key-order=(\"a\")",
            r#"key-order=a, params=("a")"#,
            "params=(\"a\"",
            "other",
        ] {
            assert!(rule(field).is_default(), "{field}");
        }
        assert!(Rule::of(&HeaderMap::new()).is_default());
        check("", "?", "", false);
        check("", "?a=%41", "?a=A", false);
        assert!(!rule(r#"params=("a");x=1, other=(1 2)"#).is_default());
    }

    #[test]
    fn lines_are_one_dictionary() {
        let mut headers = HeaderMap::new();
        headers.append(NO_VARY_SEARCH, HeaderValue::from_static("key-order"));
        headers.append(NO_VARY_SEARCH, HeaderValue::from_static("params=(\"a\")"));
        assert_eq!(Rule::of(&headers), rule("key-order, params=(\"a\")"));
    }

    fn any_rule() -> impl Strategy<Value = String> {
        let names = prop::collection::vec("[a-c]{1,2}", 0..3).prop_map(|names| {
            let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("({})", quoted.join(" "))
        });
        (
            prop::option::of(prop_oneof![Just("params"), Just("except")]),
            names,
            any::<bool>(),
        )
            .prop_map(|(which, names, unordered)| {
                let which = which.map(|which| format!("{which}={names}"));
                let order = unordered.then(|| "key-order".to_owned());
                which
                    .into_iter()
                    .chain(order)
                    .collect::<Vec<_>>()
                    .join(", ")
            })
    }

    proptest! {
        #[test]
        fn a_simplified_query_means_the_same_as_its_source(field in any_rule(), query in "[a-c=&%64+]{0,16}") {
            let rule = rule(&field);
            let once = rule.simplified(Some(&query));
            let again = rule.simplified(once.get(1..));
            prop_assert_eq!(again, once);
        }

        #[test]
        fn ignored_parameters_may_stand_anywhere(
            parts in prop::collection::vec("[a-c]{1,2}(=[a-c0-9]{0,2})?", 0..5), at in 0usize..6, noise in "zz(=[a-z]{0,3})?",
        ) {
            let rule = rule("params=(\"zz\")");
            let mut noisy = parts.clone();
            noisy.insert(at.min(parts.len()), noise);
            prop_assert!(rule.is_same(Some(&parts.join("&")), Some(&noisy.join("&"))));
        }

        #[test]
        fn any_text_is_survived(field in "[ -~]{0,40}", query: String) {
            let rule = rule(&field);
            prop_assert!(rule.is_same(Some(&query), Some(&query)));
            prop_assert!(rule.simplified(Some(&query)).is_ascii() || rule.is_default());
        }
    }
}
