//! `Vary` (RFC 9111 §4.1): by which request fields variants differ, and the text that tells them apart.

use std::ops::Range;

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

use crate::semantics::dictionary::{AVAILABLE_DICTIONARY, DICTIONARY_ID};
use crate::semantics::{list, negotiate};

use super::config::{VaryAction, VaryConfig};
use super::key_text::KeyText;

/// More fields than this are no sensible rule, and would make every request different.
const FIELDS_MAX: usize = 16;

/// Codings and formats that origins choose among; others make no difference when normalised.
const CODINGS: [&str; 6] = ["br", "dcb", "dcz", "deflate", "gzip", "zstd"];
const FORMATS: [&str; 3] = ["image/avif", "image/jxl", "image/webp"];

/// By what a stored response is selected besides its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaryRule {
    /// By nothing: it answers every request for its key.
    None,
    /// By these request fields, sorted and without repeats.
    Fields(Vec<HeaderName>),
    /// It answers no other request.
    Never,
}

impl VaryRule {
    /// Reads all `Vary` lines of a response under the site's rules.
    #[must_use]
    pub fn of(response: &HeaderMap, config: &VaryConfig) -> Self {
        match named_fields(response, config) {
            Ok(fields) if fields.is_empty() => Self::None,
            Ok(fields) => Self::Fields(fields),
            Err(NeverMatches::Star | NeverMatches::Bypass) => Self::Never,
        }
    }
}

/// Why no request matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeverMatches {
    /// `*`, a member that is no field name, or too many.
    Star,
    /// The site does not store by one of the fields.
    Bypass,
}

/// The fields that are compared, sorted and without repeats.
pub(super) fn named_fields(
    response: &HeaderMap,
    config: &VaryConfig,
) -> Result<Vec<HeaderName>, NeverMatches> {
    let mut fields = Vec::new();
    let mut has_bypass = false;
    for member in list::members(response, &header::VARY) {
        // `*` is a token, so it has to be looked at first.
        let name = match member {
            b"*" => return Err(NeverMatches::Star),
            name => HeaderName::from_bytes(name).map_err(|_| NeverMatches::Star)?,
        };
        match action(config, &name) {
            VaryAction::Ignore => {}
            // Not returned at once: a `*` further on says more.
            VaryAction::Bypass => has_bypass = true,
            VaryAction::Normalize | VaryAction::Passthrough => fields.push(name),
        }
    }
    if has_bypass {
        return Err(NeverMatches::Bypass);
    }
    fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    fields.dedup();
    if fields.len() > FIELDS_MAX {
        return Err(NeverMatches::Star);
    }
    Ok(fields)
}

fn action(config: &VaryConfig, name: &HeaderName) -> VaryAction {
    config
        .fields
        .iter()
        .find(|(known, _)| known == name)
        .map_or(config.default, |&(_, action)| action)
}

/// The text that two requests share exactly when the same variant answers both.
///
/// Lines are combined, and white space around commas does not count; an absent field differs from an
/// empty one. `Accept-Language` is compared without case, space and order.
#[must_use]
pub fn secondary_key(fields: &[HeaderName], request: &HeaderMap, config: &VaryConfig) -> KeyText {
    let mut text = KeyText::new();
    for name in fields {
        let action = action(config, name);
        // The site's rule may be newer than the stored variants.
        if action == VaryAction::Ignore {
            continue;
        }
        if !text.is_empty() {
            text.push_str(" ");
        }
        text.push_str(name.as_str());
        if !request.contains_key(name) {
            continue;
        }
        text.push_str(":");
        match action {
            VaryAction::Ignore => {}
            VaryAction::Normalize if name == header::ACCEPT_ENCODING => {
                push_codings(&mut text, request);
            }
            VaryAction::Normalize if name == header::ACCEPT => push_formats(&mut text, request),
            VaryAction::Normalize => push_unordered(&mut text, request, name),
            VaryAction::Passthrough | VaryAction::Bypass if *name == AVAILABLE_DICTIONARY => {
                push_members(&mut text, list::members(request, name));
                push_with_dictionary(&mut text, request);
            }
            VaryAction::Passthrough | VaryAction::Bypass if name == header::ACCEPT_LANGUAGE => {
                push_unordered(&mut text, request, name);
            }
            VaryAction::Passthrough | VaryAction::Bypass => {
                push_members(&mut text, list::members(request, name));
            }
        }
    }
    text
}

/// The members as they came.
fn push_members<'a>(text: &mut KeyText, members: impl Iterator<Item = &'a [u8]>) {
    for (number, member) in members.enumerate() {
        if number > 0 {
            text.push_str(",");
        }
        text.push_escaped(member);
    }
}

/// The members in lower case, without white space, sorted.
fn push_unordered(text: &mut KeyText, request: &HeaderMap, name: &HeaderName) {
    let mut plain = Plain::default();
    for member in list::members(request, name) {
        plain.add(member);
    }
    push_members(text, plain.sorted());
}

/// List members in lower case and without white space, in one buffer.
#[derive(Default)]
struct Plain {
    bytes: SmallVec<[u8; 256]>,
    members: SmallVec<[Range<usize>; 16]>,
}

impl Plain {
    fn add(&mut self, member: &[u8]) {
        let start = self.bytes.len();
        let kept = member.iter().filter(|byte| !byte.is_ascii_whitespace());
        self.bytes.extend(kept.map(u8::to_ascii_lowercase));
        self.members.push(start..self.bytes.len());
    }

    /// Drops the last member unless it is wanted.
    fn keep_last_if(&mut self, is_wanted: impl FnOnce(&[u8]) -> bool) {
        if let Some(last) = self.members.last().cloned()
            && !is_wanted(self.bytes.get(last.clone()).unwrap_or_default())
        {
            self.bytes.truncate(last.start);
            self.members.pop();
        }
    }

    /// The members in order, without repeats.
    fn sorted(&mut self) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.bytes;
        let member = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        self.members
            .sort_unstable_by(|one, other| member(one).cmp(member(other)));
        self.members
            .dedup_by(|one, other| member(one) == member(other));
        self.members
            .iter()
            .map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

/// Which of the usual codings the client takes, and whether it refuses bytes as they are.
fn push_codings(text: &mut KeyText, request: &HeaderMap) {
    let accept = negotiate::AcceptEncoding::of(request);
    let taken = CODINGS.iter().filter(|coding| accept.quality(coding) > 0);
    let refused = (accept.identity() == 0).then_some(&"identity;q=0");
    push_members(text, taken.chain(refused).map(|coding| coding.as_bytes()));
}

/// What an origin is told of besides a dictionary's hash: its name, and which codings against it the client takes.
fn push_with_dictionary(text: &mut KeyText, request: &HeaderMap) {
    if let Some(name) = request.get(DICTIONARY_ID) {
        text.push_str(";");
        text.push_escaped(name.as_bytes());
    }
    let accept = negotiate::AcceptEncoding::of(request);
    for coding in ["dcb", "dcz"] {
        if accept.quality(coding) > 0 {
            text.push_str(";");
            text.push_str(coding);
        }
    }
}

/// Which of the newer picture formats the client names, and what else it asks for by name.
///
/// Browsers differ in the order and weights of what they all can show. A client that does not
/// take any picture (say, PNG only) is compared by all that it says.
fn push_formats(text: &mut KeyText, request: &HeaderMap) {
    let takes_all_classic = ["image/jpeg", "image/png", "image/gif", "image/svg+xml"]
        .iter()
        .all(|format| negotiate::accepts_media(request, format));
    if !takes_all_classic {
        return push_unordered(text, request, &header::ACCEPT);
    }
    let formats = FORMATS
        .iter()
        .filter(|format| negotiate::media_quality(request, format) > 0);
    let mut others = Plain::default();
    for member in list::members(request, &header::ACCEPT) {
        others.add(member);
        others.keep_last_if(|member| !member.starts_with(b"image/") && !member.starts_with(b"*/*"));
    }
    let formats = formats.map(|format| format.as_bytes());
    push_members(text, formats.chain(others.sorted()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{Fields, headers, names};
    use super::*;

    #[track_caller]
    fn check_rule(lines: &[&str], expect: &VaryRule) {
        let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        let found = VaryRule::of(&headers(&fields), &VaryConfig::default());
        assert_eq!(found, *expect, "{lines:?}");
    }

    #[test]
    fn rules_are_sorted_sets_of_fields() {
        check_rule(&[], &VaryRule::None);
        check_rule(&["", " , "], &VaryRule::None);
        check_rule(
            &["Foo, accept", "bar,FOO"],
            &VaryRule::Fields(names(&["accept", "bar", "foo"])),
        );
    }

    #[test]
    fn what_cannot_be_compared_never_matches() {
        check_rule(&["*"], &VaryRule::Never);
        check_rule(&["*, *"], &VaryRule::Never);
        check_rule(&[", *"], &VaryRule::Never);
        check_rule(&["foo", "*"], &VaryRule::Never);
        check_rule(&["foo bar"], &VaryRule::Never);
        check_rule(&["user-agent"], &VaryRule::Never);
        let many: Vec<_> = (0..20).map(|n| format!("x-{n}")).collect();
        check_rule(&[&many.join(",")], &VaryRule::Never);
    }

    #[track_caller]
    fn check(name: &str, one: Fields<'_>, other: Fields<'_>, expect: bool) {
        let key = |fields| secondary_key(&names(&[name]), &headers(fields), &VaryConfig::default());
        assert_eq!(key(one) == key(other), expect, "{one:?} {other:?}");
    }

    #[test]
    fn fields_match_as_lists() {
        check("foo", &[("foo", "1")], &[("foo", "1")], true);
        check("foo", &[("foo", "1")], &[("foo", "2")], false);
        check("foo", &[("foo", "a")], &[("foo", "A")], false);
        check("foo", &[], &[("foo", "1")], false);
        check("foo", &[], &[("foo", "")], false);
        check("foo", &[], &[], true);
        check("foo", &[("bar", "1")], &[("bar", "2")], true);
        check(
            "foo",
            &[("foo", "1, 2")],
            &[("foo", "1"), ("foo", "2")],
            true,
        );
        check("foo", &[("foo", "1 ,2")], &[("foo", " 1,   2 ")], true);
        check("foo", &[("foo", "1,2")], &[("foo", "2,1")], false);
        check("foo", &[("foo", "1 2")], &[("foo", "1  2")], false);
        check("foo", &[("foo", "ä")], &[("foo", "\\c3\\a4")], false);
    }

    #[test]
    fn languages_match_in_any_order() {
        let name = "accept-language";
        check(
            name,
            &[(name, "en, DE;q=0.5")],
            &[(name, "de; q=0.5,EN")],
            true,
        );
        check(
            name,
            &[(name, "en, de;q=0.5")],
            &[(name, "en, de;q=0.6")],
            false,
        );
    }

    #[test]
    fn codings_are_reduced_to_what_is_taken() {
        let name = "accept-encoding";
        check(
            name,
            &[(name, "gzip, br")],
            &[(name, "br;q=0.9,gzip;q=0.1, odd")],
            true,
        );
        check(name, &[(name, "gzip, br")], &[(name, "gzip")], false);
        check(name, &[(name, "gzip, br;q=0")], &[(name, "gzip")], true);
        check(
            name,
            &[(name, "gzip")],
            &[(name, "gzip, identity;q=0")],
            false,
        );
    }

    #[test]
    fn formats_are_reduced_to_what_is_named() {
        let name = "accept";
        let chrome = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        let firefox = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5";
        check(name, &[(name, chrome)], &[(name, firefox)], true);
        check(name, &[(name, chrome)], &[(name, "image/webp,*/*")], false);
        check(
            name,
            &[(name, "application/json, */*")],
            &[(name, "text/html, */*")],
            false,
        );
        check(name, &[(name, "image/png")], &[(name, "image/jpeg")], false);
        check(
            name,
            &[(name, "IMAGE/PNG, a/b")],
            &[(name, "a/b,image/png")],
            true,
        );
    }

    #[test]
    fn ignored_fields_leave_no_trace() {
        let config = VaryConfig {
            fields: Vec::new(),
            default: VaryAction::Ignore,
        };
        let request = headers(&[("foo", "1")]);
        assert_eq!(secondary_key(&names(&["foo"]), &request, &config), "");
    }

    #[test]
    fn the_text_is_stable() {
        let request = headers(&[("b", "1, 2 3"), ("accept-encoding", "zstd, br")]);
        let fields = names(&["a", "accept-encoding", "b"]);
        let found = secondary_key(&fields, &request, &VaryConfig::default());
        assert_eq!(found, "a accept-encoding:br,zstd b:1,2\\203");
    }

    /// RFC 9111 §4.1 by the letter: absent or the same list of members.
    fn members(request: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
        let lines: Vec<_> = request
            .get_all(name)
            .iter()
            .map(|line| line.to_str().unwrap())
            .collect();
        let whole = lines.join(",");
        let members = whole.split(',').map(str::trim).filter(|m| !m.is_empty());
        (!lines.is_empty()).then(|| members.map(str::to_owned).collect())
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_all_fields_match(
            one in prop::collection::vec((0usize..3, "[ab:, \\\\]{0,4}"), 0..4),
            other in prop::collection::vec((0usize..3, "[ab:, \\\\]{0,4}"), 0..4),
        ) {
            let known = ["x", "y", "z"];
            let fields = names(&known);
            let request = |given: &[(usize, String)]| {
                let given: Vec<_> = given.iter().map(|(at, value)| (known[*at], value.as_str())).collect();
                headers(&given)
            };
            let (one, other) = (request(&one), request(&other));
            let config = VaryConfig::default();
            let same_key = secondary_key(&fields, &one, &config) == secondary_key(&fields, &other, &config);
            let all_match = fields.iter().all(|name| members(&one, name) == members(&other, name));
            prop_assert_eq!(same_key, all_match);
        }

        #[test]
        fn any_value_is_survived(value in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                let mut request = HeaderMap::new();
                let fields = names(&["accept", "accept-encoding", "accept-language", "foo", "vary"]);
                for name in &fields {
                    request.insert(name, value.clone());
                }
                let key = secondary_key(&fields, &request, &VaryConfig::default());
                prop_assert!(key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                if let VaryRule::Fields(named) = VaryRule::of(&request, &VaryConfig::default()) {
                    prop_assert!(named.is_sorted_by_key(HeaderName::as_str) && named.len() <= FIELDS_MAX);
                }
            }
        }
    }
}
