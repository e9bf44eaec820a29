use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::super::config::{Coding, CompressionConfig};
use super::super::untouchable::{has_coding, says_no_transform, untouchable};
use super::types::any_covers;

impl Coding {
    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a file ends in that is coded so.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    /// The coding of that name, in any case. `x-gzip` is gzip (RFC 9110 §8.4.1.3).
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        [
            ("zstd", Self::Zstd),
            ("br", Self::Brotli),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
        ]
        .into_iter()
        .find(|(name, _)| token.eq_ignore_ascii_case(name))
        .map(|(_, coding)| coding)
    }
}

/// Why an answer of the origin gets no coding of the edge, whatever a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncoded {
    /// The site wants none.
    Off,
    /// Answers with this status have no body, or a part of one.
    Status,
    /// It is a part.
    Part,
    /// It is not worth it.
    TooSmall,
    /// It would take too much.
    TooLarge,
    /// Its type is none of those that get smaller.
    Type,
    /// It has a coding.
    OriginCoded,
    /// The origin forbids it.
    NoTransform,
}

impl Uncoded {
    /// A closed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Status => "status",
            Self::Part => "part",
            Self::TooSmall => "too-small",
            Self::TooLarge => "too-large",
            Self::Type => "type",
            Self::OriginCoded => "origin-coded",
            Self::NoTransform => "no-transform",
        }
    }
}

/// Whether an answer of the origin may be coded by the edge, as [`uncoded`] says.
#[must_use]
pub fn eligible(
    config: &CompressionConfig,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    extension_type: Option<&str>,
) -> bool {
    uncoded(config, status, headers, length, extension_type).is_none()
}

/// Why an answer of the origin is not coded by the edge; `None` if it may be. `length` is that of the body, if known;
/// `extension_type` is the media type that the path's extension stands for, which counts where the origin gives none.
#[must_use]
pub fn uncoded(
    config: &CompressionConfig,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    extension_type: Option<&str>,
) -> Option<Uncoded> {
    let media_type = || match headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().ok(),
        None => extension_type,
    };
    if !config.enabled || config.codings.is_empty() {
        Some(Uncoded::Off)
    } else if !has_whole_body(status) {
        Some(Uncoded::Status)
    } else if headers.contains_key(CONTENT_RANGE) {
        Some(Uncoded::Part)
    } else if length.is_some_and(|length| length < config.min_size_bytes) {
        Some(Uncoded::TooSmall)
    } else if length.is_some_and(|length| length > config.max_size_bytes) {
        Some(Uncoded::TooLarge)
    } else if !media_type().is_some_and(|value| any_covers(&config.types, value)) {
        Some(Uncoded::Type)
    } else if has_coding(headers) {
        Some(Uncoded::OriginCoded)
    } else if says_no_transform(headers) {
        Some(Uncoded::NoTransform)
    } else {
        None
    }
}

/// Whether an answer that has no coding may be given one for a client that refuses the content as it is: then neither type
/// nor size counts, up to the largest.
#[must_use]
pub fn eligible_at_need(
    config: &CompressionConfig,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
) -> bool {
    config.enabled
        && has_whole_body(status)
        && !headers.contains_key(CONTENT_RANGE)
        && length.is_none_or(|n| n <= config.max_size_bytes)
        && !untouchable(headers)
}

/// Whether an answer is a whole body as it is, with no coding at all.
#[must_use]
pub fn is_uncoded(status: StatusCode, headers: &HeaderMap) -> bool {
    has_whole_body(status) && !headers.contains_key(CONTENT_RANGE) && !has_coding(headers)
}

/// The coding of an answer that the edge may undo for a client that does not take it: the origin names just this one, and
/// does not say `no-transform`.
#[must_use]
pub fn undoable(
    config: &CompressionConfig,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
) -> Option<Coding> {
    // Nothing has no content, whatever its coding is called.
    if !config.enabled
        || length == Some(0)
        || !has_whole_body(status)
        || headers.contains_key(CONTENT_RANGE)
        || says_no_transform(headers)
    {
        return None;
    }
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    Coding::of_token(only.to_str().ok()?.trim())
}

/// Codings that suit a client equally well, in the site's order; empty is "as it is".
pub type Choice = SmallVec<[Coding; 3]>;

/// What to code with for a client: those of the highest quality (RFC 9110 §12.5.3). `quality` gives the thousandths of a
/// name as the field names it, itself or by `*`; `identity` those of no coding, where a name that is absent counts as
/// acceptable.
///
/// A client that names no `identity` gets a coding however low its quality: it asked for codings, and silence on identity
/// is no preference for it.
#[must_use]
pub fn choose(config: &CompressionConfig, quality: &dyn Fn(&str) -> u16, identity: u16) -> Choice {
    let weighed = |coding: &Coding| (*coding, quality(coding.token()));
    let weighed: SmallVec<[(Coding, u16); 3]> = config.codings.iter().map(weighed).collect();
    let highest = weighed.iter().map(|(_, quality)| *quality).max();
    let highest = highest.unwrap_or(0);
    if highest == 0 || highest < quality("identity").min(identity) {
        return Choice::new();
    }
    let best = weighed.iter().filter(|(_, quality)| *quality == highest);
    best.map(|(coding, _)| *coding).collect()
}

/// A 206 is a part of something that has a coding already; the others have no body.
fn has_whole_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check_eligible(status: u16, fields: &[(&str, &str)], length: Option<u64>, expect: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let config = CompressionConfig::default();
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(eligible(&config, status, &headers, length, None), expect);
        // An extension says nothing where the origin has spoken.
        let by_extension = eligible(&config, status, &headers, length, Some("text/css"));
        let is_silent = !headers.contains_key(CONTENT_TYPE);
        assert_eq!(by_extension, expect || is_silent);
    }

    #[test]
    fn each_answer_that_is_not_coded_has_its_reason() {
        let css = ("content-type", "text/css");
        for (status, fields, length, expect) in [
            (200, vec![css], Some(1000), None),
            (200, vec![css], None, None),
            (204, vec![css], None, Some("status")),
            (
                200,
                vec![css, ("content-range", "bytes 0-1/2")],
                None,
                Some("part"),
            ),
            (200, vec![css], Some(10), Some("too-small")),
            (200, vec![css], Some(1 << 40), Some("too-large")),
            (
                200,
                vec![("content-type", "image/png")],
                Some(1000),
                Some("type"),
            ),
            (200, vec![], Some(1000), Some("type")),
            (
                200,
                vec![css, ("content-encoding", "x")],
                Some(1000),
                Some("origin-coded"),
            ),
            (
                200,
                vec![css, ("cache-control", "no-transform")],
                Some(1000),
                Some("no-transform"),
            ),
        ] {
            let fields = fields.into_iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            let headers: HeaderMap = fields.collect();
            let status = StatusCode::from_u16(status).unwrap();
            let config = CompressionConfig::default();
            let found = uncoded(&config, status, &headers, length, None);
            assert_eq!(found.map(Uncoded::as_str), expect, "{headers:?} {length:?}");
            let off = CompressionConfig {
                codings: Vec::new(),
                ..config
            };
            let found = uncoded(&off, status, &headers, length, None);
            assert_eq!(found, Some(Uncoded::Off));
        }
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn text_of_a_sensible_size_is_coded() {
        check_eligible(200, &[HTML], Some(1000), true);
        check_eligible(200, &[HTML], None, true);
        check_eligible(404, &[HTML], Some(1000), true);
        check_eligible(200, &[("content-type", "TEXT/CSS")], Some(1000), true);
        check_eligible(200, &[("content-type", "image/svg+xml")], Some(1000), true);
    }

    #[test]
    fn other_things_are_left_alone() {
        check_eligible(200, &[], Some(1000), false);
        check_eligible(200, &[("content-type", "image/png")], Some(1000), false);
        check_eligible(200, &[("content-type", "tex")], Some(1000), false);
        check_eligible(200, &[("content-type", "te\u{e9}t")], Some(1000), false);
        check_eligible(200, &[HTML], Some(255), false);
        check_eligible(200, &[HTML], Some((16 << 20) + 1), false);
        check_eligible(206, &[HTML], Some(1000), false);
        check_eligible(204, &[HTML], None, false);
        check_eligible(304, &[HTML], None, false);
        check_eligible(200, &[HTML, ("content-encoding", "br")], Some(1000), false);
        check_eligible(200, &[HTML, ("content-encoding", "identity")], None, true);
        check_eligible(200, &[HTML, ("content-range", "bytes 0-1/2")], None, false);
        check_eligible(
            200,
            &[
                HTML,
                ("cache-control", "public"),
                ("cache-control", "max-age=1, No-Transform"),
            ],
            Some(1000),
            false,
        );
        check_eligible(
            200,
            &[HTML, ("content-digest", "sha-256=:AA==:")],
            None,
            true,
        );
    }

    #[track_caller]
    fn check_choice(qualities: &[(&str, u16)], identity: u16, expect: &[Coding]) {
        let quality = |name: &str| {
            qualities
                .iter()
                .find(|(named, _)| *named == name)
                .map_or(0, |(_, quality)| *quality)
        };
        let config = CompressionConfig::default();
        assert_eq!(choose(&config, &quality, identity).as_slice(), expect);
    }

    #[test]
    fn the_highest_quality_wins_then_our_order() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = [("gzip", 1000), ("br", 1000), ("zstd", 1000)];
        check_choice(&all, 1000, &[Zstd, Brotli, Gzip]);
        check_choice(&[("gzip", 1000), ("br", 1000)], 1000, &[Brotli, Gzip]);
        check_choice(&[("gzip", 900), ("br", 800)], 1000, &[Gzip]);
        check_choice(&[("gzip", 1)], 1000, &[Gzip]);
        check_choice(&[("gzip", 0)], 1000, &[]);
        check_choice(&[], 1000, &[]);
        check_choice(&[("deflate", 1000)], 0, &[]);
    }

    #[test]
    fn identity_wins_only_when_named_higher() {
        use Coding::Gzip;
        check_choice(&[("gzip", 500), ("identity", 1000)], 1000, &[]);
        check_choice(&[("gzip", 500), ("identity", 500)], 500, &[Gzip]);
        check_choice(&[("gzip", 500)], 0, &[Gzip]);
    }

    #[track_caller]
    fn check_undoable(status: u16, fields: &[(&'static str, &str)], expect: Option<Coding>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let config = CompressionConfig::default();
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(undoable(&config, status, &headers, None), expect);
        assert_eq!(undoable(&config, status, &headers, Some(0)), None);
        let off = CompressionConfig {
            enabled: false,
            ..config
        };
        assert_eq!(undoable(&off, status, &headers, None), None);
    }

    #[test]
    fn one_known_coding_of_the_origin_can_be_undone() {
        let gzip = ("content-encoding", "gzip");
        check_undoable(200, &[gzip], Some(Coding::Gzip));
        check_undoable(404, &[("content-encoding", " BR ")], Some(Coding::Brotli));
        check_undoable(200, &[], None);
        check_undoable(206, &[gzip], None);
        check_undoable(200, &[gzip, gzip], None);
        check_undoable(200, &[("content-encoding", "gzip, br")], None);
        check_undoable(200, &[("content-encoding", "aes128gcm")], None);
        check_undoable(200, &[("content-encoding", "identity")], None);
        check_undoable(200, &[gzip, ("cache-control", "no-transform")], None);
        check_undoable(200, &[gzip, ("content-range", "bytes 0-1/2")], None);
    }

    #[test]
    fn tokens_are_read_back() {
        for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
            assert_eq!(Coding::of_token(coding.token()), Some(coding));
        }
        assert_eq!(Coding::of_token("X-GZip"), Some(Coding::Gzip));
        assert_eq!(Coding::of_token("deflate"), None);
    }
}
