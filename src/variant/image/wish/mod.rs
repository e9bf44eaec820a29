use std::fmt;

use super::super::config::{ImageConfig, ImageFormat};
use super::error::ParameterError;
use super::metadata::Keep;
use super::operations::{Fit, Operations};

/// The format that a URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WishedFormat {
    /// That of the original, or the nearest that browsers show.
    #[default]
    Original,
    /// The best that `Accept` allows.
    Negotiated,
    /// This one, whatever `Accept` says.
    Exactly(ImageFormat),
}

/// What a URL asks of a picture, canonical: equal wishes are equal values. The pixel ratio is multiplied
/// in, widths are on the site's steps, and what has no effect is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wish {
    operations: Operations,
    quality: Option<u8>,
    format: WishedFormat,
    /// Whether a JPEG comes in passes (`format=pjpg`).
    is_progressive: bool,
    /// What of the metadata stays; `None` is as the site says.
    metadata: Option<Keep>,
}

impl Wish {
    /// The best format that the client takes, and nothing else: what `auto` gives every picture.
    #[must_use]
    pub fn auto() -> Self {
        Self {
            format: WishedFormat::Negotiated,
            ..Self::default()
        }
    }

    /// What is done to the pixels.
    pub(super) fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Whether a JPEG comes in passes.
    pub(super) fn is_progressive(&self) -> bool {
        self.is_progressive
    }

    /// What of the metadata stays, when asked for.
    pub(super) fn metadata(&self) -> Option<Keep> {
        self.metadata
    }

    /// 1 to 100, when asked for.
    #[must_use]
    pub fn quality(&self) -> Option<u8> {
        self.quality
    }

    /// The format asked for.
    #[must_use]
    pub fn format(&self) -> WishedFormat {
        self.format
    }

    /// Whether the answer depends on `Accept`, and so must say `Vary: Accept`.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        self.format == WishedFormat::Negotiated
    }
}

/// The canonical query; reading it again gives the same wish.
impl fmt::Display for Wish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |name: &str, value: &dyn fmt::Display| {
            write!(out, "{separator}{name}={value}")?;
            separator = "&";
            Ok(())
        };
        if let Some(width) = self.operations.width {
            part("width", &width)?;
        }
        if let Some(height) = self.operations.height {
            part("height", &height)?;
        }
        if self.operations.fit == Fit::Cover {
            part("fit", &"cover")?;
        }
        if let Some(quality) = self.quality {
            part("quality", &quality)?;
        }
        match self.format {
            WishedFormat::Original => Ok(()),
            WishedFormat::Negotiated => part("format", &"auto"),
            WishedFormat::Exactly(format) => part("format", &format.name()),
        }
    }
}

impl ImageFormat {
    /// Its short name: `avif`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avif => "avif",
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
        }
    }

    /// Its media type: `image/avif`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Avif => "image/avif",
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }
}

/// Reads the wish out of a URL, and gives what the origin may see of the query: our own parameters are
/// cut out, everything else stays byte for byte and in order.
///
/// There is no wish where the path is none of the site's pictures, or nothing is asked for and the site
/// has `auto` off.
///
/// # Errors
/// A parameter of ours has a value that cannot be meant, or stands there twice: the client gets a 400
/// with this text.
pub fn wish_of(
    config: &ImageConfig,
    path: &str,
    query: Option<&str>,
) -> Result<(Option<Wish>, Option<String>), ParameterError> {
    let untouched = || query.map(str::to_owned);
    if !config.enabled || !matches_any(&config.patterns, path) {
        return Ok((None, untouched()));
    }
    let (parameters, rest) = if config.parameters {
        Parameters::cut_from(query)?
    } else {
        (Parameters::default(), untouched())
    };
    if parameters.is_empty() && !config.auto {
        return Ok((None, rest));
    }
    Ok((Some(parameters.wish(config)?), rest))
}

/// The raw values as they stand in the query.
#[derive(Default)]
struct Parameters<'a> {
    values: [Option<&'a str>; NAMES.len()],
}

const NAMES: [&str; 6] = ["width", "height", "fit", "quality", "format", "dpr"];

impl<'a> Parameters<'a> {
    fn cut_from(query: Option<&'a str>) -> Result<(Self, Option<String>), ParameterError> {
        let mut found = Self::default();
        let Some(query) = query else {
            return Ok((found, None));
        };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = NAMES
                .iter()
                .zip(&mut found.values)
                .find(|(n, _)| **n == name);
            let Some((name, slot)) = known else {
                rest.push(pair);
                continue;
            };
            if slot.replace(value).is_some() {
                return Err(ParameterError::Twice { name });
            }
        }
        let rest = if found.is_empty() {
            Some(query.to_owned())
        } else {
            (!rest.is_empty()).then(|| rest.join("&"))
        };
        Ok((found, rest))
    }

    fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    fn wish(&self, config: &ImageConfig) -> Result<Wish, ParameterError> {
        let [width, height, fit, quality, format, dpr] = self.values;
        let (width, height) = bounded_box(
            config,
            width.map(|v| side("width", v, config)).transpose()?,
            height.map(|v| side("height", v, config)).transpose()?,
            dpr.map_or(Ok(RATIO_ONE), ratio)?,
        );
        let fit = fit.map_or(Ok(Fit::Contain), fit_of)?;
        Ok(Wish {
            operations: Operations {
                width,
                height,
                // A box that is open on one side is filled by containing.
                fit: if width.is_some() && height.is_some() {
                    fit
                } else {
                    Fit::Contain
                },
                ..Operations::default()
            },
            is_progressive: false,
            metadata: None,
            quality: quality.map_or(Ok(None), quality_of)?,
            format: format.map_or_else(
                || {
                    Ok(if config.auto {
                        WishedFormat::Negotiated
                    } else {
                        WishedFormat::Original
                    })
                },
                format_of,
            )?,
        })
    }
}

/// The box in the picture's own pixels. The ratio gives way where it would lead over the largest side,
/// so that a dense screen gets the best there is instead of an error.
fn bounded_box(
    config: &ImageConfig,
    width: Option<u32>,
    height: Option<u32>,
    ratio: u32,
) -> (Option<u32>, Option<u32>) {
    let Some(longest) = width.max(height) else {
        return (None, None);
    };
    let longest_now = scaled(longest, ratio, RATIO_ONE).min(config.max_width);
    // The side that the steps are for is the width; the height follows it, or stands for it when alone.
    let (stepped, other) = match width {
        Some(width) => (width, height),
        None => (longest, None),
    };
    let step =
        stepped_up(&config.widths, scaled(stepped, longest_now, longest)).min(config.max_width);
    let other = other.map(|side| scaled(side, step, stepped).min(config.max_width));
    match width {
        Some(_) => (Some(step), other),
        None => (None, Some(step)),
    }
}

/// The next step up; the last one above them all, so that the number of variants stays bounded.
fn stepped_up(steps: &[u32], side: u32) -> u32 {
    let next = steps.iter().find(|step| **step >= side);
    next.or_else(|| steps.last()).copied().unwrap_or(side)
}

/// `side * part / whole`, to the nearest pixel and at least one.
pub(super) fn scaled(side: u32, part: u32, whole: u32) -> u32 {
    let whole = u64::from(whole.max(1));
    let exact = (u64::from(side) * u64::from(part) + whole / 2) / whole;
    u32::try_from(exact).unwrap_or(u32::MAX).max(1)
}

fn side(name: &'static str, value: &str, config: &ImageConfig) -> Result<u32, ParameterError> {
    whole_number(value)
        .filter(|pixels| (1..=config.max_width).contains(pixels))
        .ok_or_else(|| ParameterError::Value {
            name,
            expected: format!("a whole number of pixels from 1 to {}", config.max_width),
        })
}

fn quality_of(value: &str) -> Result<Option<u8>, ParameterError> {
    if value == "auto" {
        return Ok(None);
    }
    whole_number(value)
        .and_then(|quality| u8::try_from(quality).ok())
        .filter(|quality| (1..=100).contains(quality))
        .map(Some)
        .ok_or_else(|| ParameterError::Value {
            name: "quality",
            expected: "a whole number from 1 to 100, or auto".to_owned(),
        })
}

fn fit_of(value: &str) -> Result<Fit, ParameterError> {
    match value {
        "contain" => Ok(Fit::Contain),
        "cover" => Ok(Fit::Cover),
        _ => Err(ParameterError::Value {
            name: "fit",
            expected: "contain or cover".to_owned(),
        }),
    }
}

fn format_of(value: &str) -> Result<WishedFormat, ParameterError> {
    match value {
        "auto" => Ok(WishedFormat::Negotiated),
        "avif" => Ok(WishedFormat::Exactly(ImageFormat::Avif)),
        "webp" => Ok(WishedFormat::Exactly(ImageFormat::Webp)),
        "jpeg" => Ok(WishedFormat::Exactly(ImageFormat::Jpeg)),
        "png" => Ok(WishedFormat::Exactly(ImageFormat::Png)),
        _ => Err(ParameterError::Value {
            name: "format",
            expected: "auto, avif, webp, jpeg or png".to_owned(),
        }),
    }
}

/// Pixel ratios are thousandths: screens report 1.5, 2.625 and the like.
const RATIO_ONE: u32 = 1000;
const RATIO_MAX: u32 = 3 * RATIO_ONE;

fn ratio(value: &str) -> Result<u32, ParameterError> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let thousandths = || {
        let whole = whole_number(whole)?;
        let digits = fraction.len();
        if digits == 0 || digits > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let first_three: String = fraction.chars().chain("000".chars()).take(3).collect();
        whole
            .checked_mul(RATIO_ONE)?
            .checked_add(first_three.parse::<u32>().ok()?)
    };
    thousandths()
        .filter(|ratio| (RATIO_ONE..=RATIO_MAX).contains(ratio))
        .ok_or_else(|| ParameterError::Value {
            name: "dpr",
            expected: "a number from 1 to 3".to_owned(),
        })
}

/// Digits only: `parse` alone would take a sign.
fn whole_number(value: &str) -> Option<u32> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok()
}

/// Patterns are on the last segment of the path, with `*` for any run of characters.
fn matches_any(patterns: &[String], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    patterns
        .iter()
        .any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Keeps only the last star to go back to, so that no pattern takes more than `pattern * name` steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, seen));
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else {
                    return false;
                };
                retry = Some((after_star, from + 1));
                at = after_star;
                seen = from + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> ImageConfig {
        ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        }
    }

    fn stepped() -> ImageConfig {
        ImageConfig {
            widths: vec![320, 640, 1280],
            ..config()
        }
    }

    #[track_caller]
    fn check(config: &ImageConfig, query: &str, wish: &str, rest: Option<&str>) {
        let (found, left) = wish_of(config, "/a/b.jpg", Some(query)).unwrap();
        assert_eq!(found.map(|w| w.to_string()).as_deref(), Some(wish));
        assert_eq!(left.as_deref(), rest);
    }

    #[track_caller]
    fn check_error(query: &str, text: &str) {
        let error = wish_of(&config(), "/b.jpg", Some(query)).unwrap_err();
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn parameters_are_cut_and_made_canonical() {
        let c = config();
        check(&c, "width=300", "width=300&format=auto", None);
        check(
            &c,
            "v=1&width=0300&x",
            "width=300&format=auto",
            Some("v=1&x"),
        );
        check(
            &c,
            "format=webp&height=20&width=10&fit=cover",
            "width=10&height=20&fit=cover&format=webp",
            None,
        );
        check(&c, "width=10&fit=cover", "width=10&format=auto", None);
        check(&c, "fit=cover", "format=auto", None);
        check(&c, "quality=auto", "format=auto", None);
        check(&c, "quality=5&format=auto", "quality=5&format=auto", None);
        check(
            &c,
            "Width=x&w=3&%77idth=4",
            "format=auto",
            Some("Width=x&w=3&%77idth=4"),
        );
        check(&c, "", "format=auto", Some(""));
        check(&c, "a=1&&b=%zz", "format=auto", Some("a=1&&b=%zz"));
    }

    #[test]
    fn the_ratio_is_multiplied_in_and_gives_way_to_the_largest_side() {
        let c = config();
        check(&c, "dpr=3", "format=auto", None);
        check(
            &c,
            "dpr=2&width=100&height=50&fit=cover",
            "width=200&height=100&fit=cover&format=auto",
            None,
        );
        check(&c, "dpr=1.5&width=101", "width=152&format=auto", None);
        check(&c, "dpr=2.62549&width=1000", "width=2625&format=auto", None);
        check(
            &c,
            "dpr=3&width=4000&height=2000&fit=cover",
            "width=4096&height=2048&fit=cover&format=auto",
            None,
        );
        check(&c, "dpr=3&height=4000", "height=4096&format=auto", None);
    }

    #[test]
    fn widths_go_up_to_the_steps_and_take_the_height_along() {
        let c = stepped();
        check(&c, "width=1", "width=320&format=auto", None);
        check(&c, "width=320", "width=320&format=auto", None);
        check(&c, "width=321", "width=640&format=auto", None);
        check(&c, "width=2000", "width=1280&format=auto", None);
        check(&c, "height=400", "height=640&format=auto", None);
        check(
            &c,
            "width=160&height=80&fit=cover",
            "width=320&height=160&fit=cover&format=auto",
            None,
        );
        check(
            &c,
            "width=2560&height=80&fit=cover",
            "width=1280&height=40&fit=cover&format=auto",
            None,
        );
    }

    #[test]
    fn a_wrong_value_says_what_to_write() {
        let sides = "must be a whole number of pixels from 1 to 4096";
        for value in [
            "0",
            "",
            "-1",
            "+1",
            "1.5",
            "4097",
            "abc",
            "99999999999",
            "%33",
        ] {
            check_error(&format!("width={value}"), &format!("width {sides}"));
            check_error(&format!("height={value}"), &format!("height {sides}"));
        }
        check_error("width", &format!("width {sides}"));
        check_error("width=1&width=1", "width is given twice; write it once");
        check_error(
            "quality=0",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error(
            "quality=101",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error(
            "quality=300",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error("fit=fill", "fit must be contain or cover");
        check_error("format=jpg", "format must be auto, avif, webp, jpeg or png");
        for value in [
            "0", "0.9", "3.001", "4", "2.", ".5", "1e1", "NaN", "1.0.0", "-2",
        ] {
            check_error(&format!("dpr={value}"), "dpr must be a number from 1 to 3");
        }
    }

    #[test]
    fn only_the_sites_pictures_are_wished_for() {
        let wished = |config: &ImageConfig, path: &str, query| {
            let (wish, rest) = wish_of(config, path, query).unwrap();
            assert_eq!(rest.as_deref(), query, "nothing is cut");
            wish.is_some()
        };
        assert!(wished(&config(), "/a.JPG", None));
        assert!(!wished(&config(), "/a.html", Some("width=x")));
        assert!(!wished(&config(), "/a.jpg/b", Some("width=x")));
        assert!(!wished(&ImageConfig::default(), "/a.jpg", Some("width=x")));

        let no_parameters = ImageConfig {
            parameters: false,
            ..config()
        };
        assert!(wished(&no_parameters, "/a.jpg", Some("width=x")));
        let explicit = ImageConfig {
            auto: false,
            ..config()
        };
        assert!(!wished(&explicit, "/a.jpg", Some("v=1")));
        let (wish, _) = wish_of(&explicit, "/a.jpg", Some("width=9")).unwrap();
        assert_eq!(wish.unwrap().format(), WishedFormat::Original);
    }

    #[test]
    fn patterns_match_file_names() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expect,
                "{pattern} {name}"
            );
        };
        check("*.jpg", "a.jpg", true);
        check("*.jpg", ".JPG", true);
        check("*.jpg", "a.jpg.txt", false);
        check("photo-*-?.png", "photo-1-x.png", false);
        check("photo-*.png", "photo-1.png.png", true);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,60}", path in ".{0,20}") {
            for path in [path.as_str(), "/x.png"] {
                if let Ok((_, rest)) = wish_of(&config(), path, Some(&query)) {
                    prop_assert!(rest.is_none_or(|rest| rest.len() <= query.len()));
                }
            }
        }

        #[test]
        fn the_canonical_query_is_the_same_wish(
            width in proptest::option::of(1_u32..5000),
            height in proptest::option::of(1_u32..5000),
            dpr in proptest::option::of(1000_u32..3000),
            cover in any::<bool>(),
            quality in proptest::option::of(1_u8..101),
            format in proptest::option::of(prop::sample::select(vec!["auto", "avif", "webp", "jpeg", "png"])),
            steps in any::<bool>(),
            auto in any::<bool>(),
        ) {
            let mut query = vec!["keep=1".to_owned()];
            query.extend(width.map(|v| format!("width={v}")));
            query.extend(height.map(|v| format!("height={v}")));
            query.extend(dpr.map(|v| format!("dpr={}.{:03}", v / 1000, v % 1000)));
            query.extend(cover.then(|| "fit=cover".to_owned()));
            query.extend(quality.map(|v| format!("quality={v}")));
            query.extend(format.map(|v| format!("format={v}")));
            let config = ImageConfig { auto, ..if steps { stepped() } else { config() } };
            let Ok((Some(wish), rest)) = wish_of(&config, "/x.png", Some(&query.join("&"))) else {
                return Ok(());
            };
            prop_assert_eq!(rest.as_deref(), Some("keep=1"));
            prop_assert!(wish.operations.width.max(wish.operations.height).unwrap_or(0) <= config.max_width);
            let again = wish_of(&config, "/x.png", Some(&wish.to_string())).unwrap();
            match again.0 {
                Some(again) => prop_assert_eq!(again, wish),
                None => prop_assert_eq!(wish, Wish::default()),
            }
        }
    }
}
