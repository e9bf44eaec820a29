//! Proactive negotiation (RFC 9110 §12.4.2, §12.5): quality values, codings and media types.

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

use super::list;

/// A weight in thousandths, 0 ("not acceptable") to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quality(u16);

impl Quality {
    /// Not acceptable.
    pub const NONE: Self = Self(0);
    /// The weight of a member that names none.
    pub const FULL: Self = Self(1000);
    /// Acceptable, and liked less than anything that the client named.
    const LEAST: Self = Self(1);

    /// Reads `0`, `0.25`, `1.000`: at most three decimals, never above 1.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (whole, decimals) = match text {
            [whole] => (whole, &[][..]),
            [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
            _ => return None,
        };
        let mut thousandths: u16 = match whole {
            b'0' => 0,
            b'1' => 1000,
            _ => return None,
        };
        for (digit, worth) in decimals.iter().zip([100, 10, 1]) {
            let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
            thousandths += digit * worth;
        }
        (thousandths <= 1000).then_some(Self(thousandths))
    }

    /// 0 to 1000.
    #[must_use]
    pub fn thousandths(self) -> u16 {
        self.0
    }
}

/// A member of an `Accept…` field: what is named, without parameters, and how much it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The coding, media range or language, as written.
    pub name: &'a [u8],
    /// Its weight.
    pub quality: Quality,
}

/// The members of all lines of an `Accept…` field. One whose weight is malformed is as if absent.
pub fn wanted<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = Wanted<'a>> + use<'a> {
    list::members(headers, field).filter_map(|member| {
        let mut pieces = list::split(member, b';');
        let name = pieces.next()?;
        let weight = pieces.find_map(weight_of);
        let quality = match weight {
            Some(weight) => Quality::parse(weight)?,
            None => Quality::FULL,
        };
        Some(Wanted { name, quality })
    })
}

/// The value of a parameter `q`. The grammar has no blanks around `=` (RFC 9110 §12.4.2), but who writes `q = 0` means it.
fn weight_of(parameter: &[u8]) -> Option<&[u8]> {
    let rest = parameter
        .strip_prefix(b"q")
        .or_else(|| parameter.strip_prefix(b"Q"))?;
    let weight = rest.trim_ascii_start().strip_prefix(b"=")?;
    Some(weight.trim_ascii_start())
}

/// Codings that the node knows by name; others cost an allocation each.
const KNOWN: [&str; 8] = [
    "gzip", "br", "zstd", "deflate", "identity", "dcz", "dcb", "compress",
];
const IDENTITY: usize = 4;

/// Unknown codings that are remembered from one request.
const OTHERS_MAX: usize = 8;

/// What content codings a client takes (RFC 9110 §12.5.3).
///
/// Without the field a client gets no coding at all: the RFC would allow any, but those that send none
/// (scripts, old tools) tend to understand none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    is_present: bool,
    known: [Option<Quality>; KNOWN.len()],
    any: Option<Quality>,
    others: SmallVec<[(Box<[u8]>, Quality); 0]>,
}

impl AcceptEncoding {
    /// Reads all `Accept-Encoding` lines; of a coding named twice the first counts.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self {
            is_present: headers.contains_key(header::ACCEPT_ENCODING),
            ..Self::default()
        };
        for Wanted { name, quality } in wanted(headers, &header::ACCEPT_ENCODING) {
            if name == b"*" {
                found.any.get_or_insert(quality);
            } else if let Some(slot) = known_at(name).and_then(|at| found.known.get_mut(at)) {
                slot.get_or_insert(quality);
            } else if found.others.len() < OTHERS_MAX {
                found
                    .others
                    .push((name.to_ascii_lowercase().into(), quality));
            }
        }
        found
    }

    /// How much the client wants a coding, in thousandths; 0 means never. `x-gzip` is `gzip`
    /// (RFC 9110 §8.4.1.3).
    #[must_use]
    pub fn quality(&self, coding: &str) -> u16 {
        let named = match known_at(coding.as_bytes()) {
            Some(IDENTITY) => return self.identity(),
            Some(at) => self.known.get(at).copied().flatten(),
            None => self
                .others
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(coding.as_bytes()))
                .map(|&(_, quality)| quality),
        };
        named.or(self.any).unwrap_or(Quality::NONE).thousandths()
    }

    /// How much the client wants the bytes as they are. When it names codings and does not speak of
    /// `identity`, that is 1: acceptable, and less than any coding named.
    #[must_use]
    pub fn identity(&self) -> u16 {
        if !self.is_present {
            return Quality::FULL.thousandths();
        }
        let named = self.known.get(IDENTITY).copied().flatten();
        named.or(self.any).unwrap_or(Quality::LEAST).thousandths()
    }
}

fn known_at(coding: &[u8]) -> Option<usize> {
    // As nearly all clients write them.
    match coding {
        b"gzip" => return Some(0),
        b"br" => return Some(1),
        b"zstd" => return Some(2),
        b"deflate" => return Some(3),
        _ => {}
    }
    let at = |name: &[u8]| {
        KNOWN
            .iter()
            .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    at(coding).or_else(|| match coding {
        [b'x' | b'X', b'-', name @ ..] => {
            at(name).filter(|&at| matches!(KNOWN.get(at), Some(&("gzip" | "compress"))))
        }
        _ => None,
    })
}

/// How much the client wants a media type that it names itself, in thousandths; wildcards do not count.
///
/// Browsers that take `image/avif` say so; those that only say `image/*` mostly cannot.
#[must_use]
pub fn media_quality(headers: &HeaderMap, essence: &str) -> u16 {
    wanted(headers, &header::ACCEPT)
        .find(|wanted| wanted.name.eq_ignore_ascii_case(essence.as_bytes()))
        .map_or(0, |wanted| wanted.quality.thousandths())
}

/// Whether `Accept` allows a media type, by its most specific member (RFC 9110 §12.5.1). Without the field
/// everything is allowed.
#[must_use]
pub fn accepts_media(headers: &HeaderMap, essence: &str) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    let family = essence.split('/').next().unwrap_or_default().as_bytes();
    let specificity = |name: &[u8]| match name.strip_suffix(b"/*") {
        _ if name.eq_ignore_ascii_case(essence.as_bytes()) => Some(3),
        Some(range) if range.eq_ignore_ascii_case(family) => Some(2),
        Some(b"*") => Some(1),
        Some(_) | None => None,
    };
    wanted(headers, &header::ACCEPT)
        .filter_map(|wanted| Some((specificity(wanted.name)?, wanted.quality)))
        .max_by_key(|&(specificity, _)| specificity)
        .is_some_and(|(_, quality)| quality > Quality::NONE)
}

/// One of several representations, and how well it suits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestLanguage {
    /// Its place among those that were offered.
    pub at: usize,
    /// How much the client wants it, never zero.
    pub quality: Quality,
    /// Whether there is nothing that the client wants more than this, offered or not.
    pub is_first_choice: bool,
}

/// Which of the offered `Content-Language` values an `Accept-Language` likes best, by weight, then by the order in which
/// the client names them (RFC 9110 §12.5.4). `None` when the field is absent or accepts none of them.
///
/// Ranges match as in basic filtering (RFC 4647 §3.3.1): `de` matches `de-CH`, and `de-CH` does not match `de`: whether
/// there is something better than `de` for a Swiss, only the origin knows. The longest range that matches a tag decides
/// about it. A value with several languages is as good as its best one.
#[must_use]
pub fn best_language<'a>(
    headers: &HeaderMap,
    offered: impl IntoIterator<Item = &'a [u8]>,
) -> Option<BestLanguage> {
    let ranges: SmallVec<[Wanted<'_>; 8]> = wanted(headers, &header::ACCEPT_LANGUAGE).collect();
    let first_choice = ranges.iter().map(|range| range.quality).max()?;
    let mut best: Option<(BestLanguage, usize)> = None;
    for (at, value) in offered.into_iter().enumerate() {
        let liked = list::split(value, b',')
            .filter_map(|tag| liking(&ranges, tag))
            .max_by_key(|&(quality, order)| (quality, std::cmp::Reverse(order)));
        let Some((quality, order)) = liked.filter(|&(quality, _)| quality > Quality::NONE) else {
            continue;
        };
        let is_better = best.is_none_or(|(best, best_order)| {
            quality > best.quality || (quality == best.quality && order < best_order)
        });
        if is_better {
            let found = BestLanguage {
                at,
                quality,
                is_first_choice: quality == first_choice,
            };
            best = Some((found, order));
        }
    }
    best.map(|(found, _)| found)
}

/// The weight of the longest range that matches `tag`, and that range's place in the field.
fn liking(ranges: &[Wanted<'_>], tag: &[u8]) -> Option<(Quality, usize)> {
    let matches = |range: &[u8]| {
        if range == b"*" {
            return Some(0);
        }
        let (head, rest) = tag.split_at_checked(range.len())?;
        let is_prefix = rest.is_empty() || rest.starts_with(b"-");
        (is_prefix && head.eq_ignore_ascii_case(range)).then_some(range.len())
    };
    ranges
        .iter()
        .enumerate()
        .filter_map(|(order, range)| Some((matches(range.name)?, range.quality, order)))
        // Of a range that is named twice the first counts, as with codings.
        .max_by_key(|&(length, _, order)| (length, std::cmp::Reverse(order)))
        .map(|(_, quality, order)| (quality, order))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn weights() {
        #[track_caller]
        fn check(text: &str, expect: Option<u16>) {
            let found = Quality::parse(text.as_bytes()).map(Quality::thousandths);
            assert_eq!(found, expect, "{text:?}");
        }
        check("0", Some(0));
        check("1", Some(1000));
        check("0.", Some(0));
        check("0.5", Some(500));
        check("0.05", Some(50));
        check("0.001", Some(1));
        check("1.000", Some(1000));
        check("1.001", None);
        check("0.0001", None);
        check("2", None);
        check(".5", None);
        check("-1", None);
        check("", None);
    }

    #[track_caller]
    fn check(lines: &[&str], expect: &[(&str, u16)]) {
        let accept = AcceptEncoding::of(&headers(&header::ACCEPT_ENCODING, lines));
        for &(coding, quality) in expect {
            assert_eq!(accept.quality(coding), quality, "{coding} in {lines:?}");
        }
        assert_eq!(accept.identity(), accept.quality("identity"));
    }

    #[test]
    fn codings() {
        check(
            &["gzip, deflate, br, zstd"],
            &[
                ("gzip", 1000),
                ("br", 1000),
                ("zstd", 1000),
                ("dcz", 0),
                ("identity", 1),
            ],
        );
        check(
            &["gzip;q=0.5", "BR; q=0.8, x-foo;q=0.1"],
            &[("gzip", 500), ("br", 800), ("X-Foo", 100), ("other", 0)],
        );
        check(&["x-gzip"], &[("gzip", 1000), ("x-gzip", 1000)]);
        check(&["gzip, gzip;q=0"], &[("gzip", 1000)]);
    }

    #[test]
    fn wildcards_and_identity() {
        check(&["*"], &[("br", 1000), ("odd", 1000), ("identity", 1000)]);
        check(
            &["br, *;q=0"],
            &[("br", 1000), ("gzip", 0), ("identity", 0)],
        );
        check(&["*;q=0, identity"], &[("br", 0), ("identity", 1000)]);
        check(&["identity;q=0, gzip"], &[("gzip", 1000), ("identity", 0)]);
        check(&[], &[("br", 0), ("gzip", 0), ("identity", 1000)]);
        check(&[""], &[("br", 0), ("identity", 1)]);
        check(&["gzip;q=x"], &[("gzip", 0), ("identity", 1)]);
        check(&["gzip;q = 0, br;q =0.5"], &[("gzip", 0), ("br", 500)]);
        check(&["gzip;quality=0, br;q"], &[("gzip", 1000), ("br", 1000)]);
    }

    #[test]
    fn explicit_media_types() {
        let accept = |line: &str| headers(&header::ACCEPT, &[line]);
        let browser = accept("image/avif,image/webp;q=0.9,image/*;q=0.8,*/*;q=0.5");
        assert_eq!(media_quality(&browser, "image/avif"), 1000);
        assert_eq!(media_quality(&browser, "image/webp"), 900);
        assert_eq!(media_quality(&browser, "image/jxl"), 0);
        assert_eq!(media_quality(&accept("image/avif;q=0"), "image/avif"), 0);
        assert_eq!(media_quality(&HeaderMap::new(), "image/avif"), 0);
    }

    #[test]
    fn the_most_specific_media_range_decides() {
        #[track_caller]
        fn check(line: &str, essence: &str, expect: bool) {
            let headers = headers(&header::ACCEPT, &[line]);
            assert_eq!(
                accepts_media(&headers, essence),
                expect,
                "{essence} in {line}"
            );
        }
        check("image/*;q=0.8, */*;q=0", "image/png", true);
        check("*/*, image/png;q=0", "image/png", false);
        check("*/*, image/png;q=0", "image/gif", true);
        check("text/html", "image/png", false);
        check("IMAGE/PNG;x=\"a,b;q=0\"", "image/png", true);
        assert!(accepts_media(&HeaderMap::new(), "image/png"));
    }

    #[track_caller]
    fn check_language(accept: &str, offered: &[&str], expect: Option<(usize, u16, bool)>) {
        let headers = headers(&header::ACCEPT_LANGUAGE, &[accept]);
        let found = best_language(&headers, offered.iter().map(|value| value.as_bytes()));
        let found = found.map(|best| (best.at, best.quality.thousandths(), best.is_first_choice));
        assert_eq!(found, expect, "{accept}: {offered:?}");
    }

    #[test]
    fn the_language_of_the_highest_weight_is_chosen() {
        check_language("en, de;q=0.5", &["de", "en"], Some((1, 1000, true)));
        check_language("en;q=0.4, de; q=0.5", &["en", "de"], Some((1, 500, true)));
        check_language("en, de;q=0.5", &["fr", "de"], Some((1, 500, false)));
        check_language("EN", &["en"], Some((0, 1000, true)));
        check_language("de, en", &["en", "de"], Some((1, 1000, true)));
        check_language("en, de", &["en, fr", "de"], Some((0, 1000, true)));
    }

    #[test]
    fn languages_that_are_not_accepted_are_not_chosen() {
        check_language("en", &["de", "fr"], None);
        check_language("en;q=0", &["en"], None);
        check_language("de, en;q=0", &["en"], None);
        check_language("en;q=x", &["en"], None);
        check_language("", &["en"], None);
        check_language("en", &[], None);
        assert_eq!(best_language(&HeaderMap::new(), [&b"en"[..]]), None);
    }

    #[test]
    fn ranges_match_longer_tags_only() {
        check_language("de", &["de-CH"], Some((0, 1000, true)));
        check_language("de-CH", &["de"], None);
        check_language("de", &["den"], None);
        check_language(
            "de, de-CH;q=0.1",
            &["de-CH", "de-AT"],
            Some((1, 1000, true)),
        );
        check_language(
            "de;q=0.3, de-CH",
            &["de", "de-CH-1996"],
            Some((1, 1000, true)),
        );
        check_language("*;q=0.2, de;q=0", &["de", "fr"], Some((1, 200, true)));
        check_language("*, en;q=0.5", &["en", "fr"], Some((1, 1000, true)));
    }

    proptest! {
        #[test]
        fn the_chosen_language_is_one_of_the_offered(accept in "[a-c*;q=0.5, -]{0,30}", offered in prop::collection::vec("[a-c-]{1,4}", 0..5)) {
            let headers = headers(&header::ACCEPT_LANGUAGE, &[&accept]);
            if let Some(best) = best_language(&headers, offered.iter().map(|value| value.as_bytes())) {
                prop_assert!(best.at < offered.len() && best.quality > Quality::NONE);
                let alone = best_language(&headers, [offered[best.at].as_bytes()]);
                prop_assert_eq!(alone.map(|alone| alone.quality), Some(best.quality));
            }
        }

        #[test]
        fn any_value_is_survived(value in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(header::ACCEPT_ENCODING, value.clone());
                headers.insert(header::ACCEPT, value);
                let accept = AcceptEncoding::of(&headers);
                prop_assert!(accept.quality("br") <= 1000 && accept.identity() <= 1000);
                prop_assert!(media_quality(&headers, "image/avif") <= 1000);
            }
        }

        #[test]
        fn weights_round_trip(thousandths in 0u16..=1000) {
            let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
            prop_assert_eq!(Quality::parse(text.as_bytes()).map(Quality::thousandths), Some(thousandths));
        }
    }
}
