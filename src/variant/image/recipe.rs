use std::fmt::Write as _;

use bytes::Bytes;

use super::super::config::{ImageConfig, ImageFormat, ImageQuality, Refused};
use super::encode::{AVIF_AUTO_PIXELS_MAX, AVIF_PROMPT_PIXELS_MAX, Effort, Output, WEBP_SIDE_MAX};
use super::error::ImageError;
use super::metadata::Keep;
use super::operations::Operations;
use super::placeholder::Placeholder;
use super::raster::Raster;
use super::sniff::{Sniffed, SourceFormat};
use super::wish::{Wish, WishedFormat};

/// Changes when the same recipe makes other bytes than before, so that stored variants are remade.
const RECIPE_VERSION: u32 = 3;

/// How much lower the quality is for clients that save data, of 100.
const SAVED_QUALITY: u8 = 15;

/// A made picture, or what was asked about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What it is, for `Content-Type`.
    pub media: Media,
    /// The file.
    pub bytes: Bytes,
    /// Pixels; of facts and hashes those of the picture that they are about.
    pub width: u32,
    /// Pixels; of facts and hashes those of the picture that they are about.
    pub height: u32,
    /// Whether the same recipe, cooked with all effort, can give a smaller file or a better look.
    pub may_improve: bool,
    /// How it was made, short: `avif;w=800;from=jpeg`.
    pub detail: String,
}

/// What came of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// A picture.
    Picture(ImageFormat),
    /// Facts about one.
    Json,
    /// A hash to paint in its place.
    Text,
}

impl Media {
    /// Its short name: `avif`, `json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Picture(format) => format.name(),
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    /// Its media type: `image/avif`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Picture(format) => format.media_type(),
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// How to make a picture: a wish, and what one client accepts. Equal recipes make the same variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recipe {
    pub(super) operations: Operations,
    quality: Quality,
    /// Whether the default quality is only where the search for the right one begins (`quality=auto`).
    pub(super) is_quality_searched: bool,
    target: Target,
    /// Something small to paint in the picture's place, instead of the picture.
    pub(super) placeholder: Option<Placeholder>,
    is_progressive: bool,
    /// What of the metadata stays.
    pub(super) keep: Keep,
    pub(super) declared: Option<SourceFormat>,
    /// Whether the site answers with an error, rather than with the original, what it cannot make.
    is_strict: bool,
}

/// What was found in a picture, by which its format is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// Drawn rather than photographed, and kept exactly so far.
    pub(super) is_drawn: bool,
    pub(super) is_animated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Quality {
    Asked(u8),
    Default { avif: u8, webp: u8, jpeg: u8 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Original,
    /// The first that suits the picture; the original's when none does.
    Best(Vec<ImageFormat>),
    Exactly(ImageFormat),
    /// No picture: what is known of it, as JSON.
    Facts,
}

/// What a client gets for a wish, given which formats its `Accept` names.
#[must_use]
pub fn recipe(config: &ImageConfig, wish: &Wish, accepts_avif: bool, accepts_webp: bool) -> Recipe {
    let accepted = |format: &ImageFormat| match format {
        ImageFormat::Avif => accepts_avif,
        ImageFormat::Webp => accepts_webp,
        // The others are what the original's family falls back to anyway.
        ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif => false,
    };
    Recipe {
        operations: match wish.placeholder() {
            Some(placeholder) => wish.operations().within(placeholder.side()),
            None => *wish.operations(),
        },
        quality: quality_of(wish, config.quality),
        is_quality_searched: wish.is_quality_searched(),
        target: match wish.format() {
            WishedFormat::Facts => Target::Facts,
            WishedFormat::Original => Target::Original,
            WishedFormat::Exactly(format) => Target::Exactly(format),
            WishedFormat::Negotiated => {
                Target::Best(config.formats.iter().copied().filter(accepted).collect())
            }
        },
        is_progressive: wish.is_progressive(),
        keep: match wish.format() {
            // It has no room for any.
            WishedFormat::Exactly(ImageFormat::Gif) => Keep::None,
            _ => wish.metadata().unwrap_or(config.keep),
        },
        placeholder: wish.placeholder(),
        declared: None,
        is_strict: config.refused != Refused::Original,
    }
}

/// A quality that is the format's own is none that was asked for. Where drawings may stay exact it says that they
/// shall not, and so counts.
fn quality_of(wish: &Wish, of_site: ImageQuality) -> Quality {
    let ImageQuality { jpeg, webp, avif } = of_site;
    let default = match wish.format() {
        WishedFormat::Exactly(ImageFormat::Avif) => Some(avif),
        WishedFormat::Exactly(ImageFormat::Jpeg) => Some(jpeg),
        WishedFormat::Exactly(ImageFormat::Webp | ImageFormat::Png | ImageFormat::Gif)
        | WishedFormat::Original
        | WishedFormat::Negotiated
        | WishedFormat::Facts => None,
    };
    match wish.quality() {
        Some(quality) if Some(quality) != default => Quality::Asked(quality),
        _ => Quality::Default { avif, webp, jpeg },
    }
}

impl Recipe {
    /// Refuses a source whose bytes are not of this format (that of its `Content-Type`). No part of
    /// the key.
    #[must_use]
    pub fn declared(self, format: Option<SourceFormat>) -> Self {
        Self {
            declared: format,
            ..self
        }
    }

    /// Whether the right quality is looked for when there is time: the result may then be larger than the first.
    #[must_use]
    pub fn seeks_quality(&self) -> bool {
        self.is_quality_searched
    }

    /// The same without AVIF, if AVIF may be chosen and would take longer than a first visitor should wait: at a size
    /// that was asked for and is not small, or when others are at it. Whoever asks for no size gets the original
    /// meanwhile, which is of the right size.
    #[must_use]
    pub fn quick(&self, is_busy: bool) -> Option<Self> {
        let Target::Best(formats) = &self.target else {
            return None;
        };
        if self.placeholder.is_some() {
            return None;
        }
        let Operations { width, height, .. } = self.operations;
        let pixels = match (width, height) {
            (Some(width), Some(height)) => u64::from(width) * u64::from(height),
            // Most pictures are about as wide as 4:3.
            (Some(side), None) => u64::from(side) * u64::from(side) * 3 / 4,
            (None, Some(side)) => u64::from(side) * u64::from(side) * 4 / 3,
            (None, None) => return None,
        };
        let is_slow = is_busy || pixels > AVIF_PROMPT_PIXELS_MAX;
        (is_slow && formats.contains(&ImageFormat::Avif)).then(|| {
            let formats = formats.iter().copied();
            let quick = formats.filter(|format| *format != ImageFormat::Avif);
            Self {
                target: Target::Best(quick.collect()),
                ..self.clone()
            }
        })
    }

    /// For a client that saves data: of lower quality, unless one was asked for.
    #[must_use]
    pub fn saving_data(self) -> Self {
        if self.is_quality_searched {
            return self;
        }
        let lower = |quality: u8| quality.saturating_sub(SAVED_QUALITY).max(1);
        let quality = match self.quality {
            Quality::Asked(quality) => Quality::Asked(quality),
            Quality::Default { avif, webp, jpeg } => Quality::Default {
                avif: lower(avif),
                webp: lower(webp),
                jpeg: lower(jpeg),
            },
        };
        Self { quality, ..self }
    }

    /// Canonical text: equal exactly when the same source makes the same variant.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = format!("v{RECIPE_VERSION}{}", self.operations);
        if self.is_strict {
            key.push_str(";strict=1");
        }
        let mut part = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _written = write!(key, ";{name}={value}");
        };
        if let Some(placeholder) = self.placeholder {
            part("placeholder", &placeholder.name());
            if placeholder != Placeholder::Lqip {
                return key;
            }
        }
        match &self.target {
            Target::Facts => {
                part("f", &"json");
                return key;
            }
            Target::Original => part("f", &"original"),
            Target::Exactly(format) => part("f", &format.name()),
            Target::Best(formats) => {
                let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
                part("f", &format_args!("auto({})", names.join(",")));
            }
        }
        if self.placeholder.is_some() {
            return key;
        }
        if self.is_quality_searched {
            part("search", &1);
        }
        match (self.quality, &self.target) {
            (_, Target::Exactly(ImageFormat::Png | ImageFormat::Gif)) => {}
            (Quality::Asked(quality), _) => part("q", &quality),
            (Quality::Default { avif, .. }, Target::Exactly(ImageFormat::Avif)) => {
                part("q", &avif);
            }
            (Quality::Default { jpeg, .. }, Target::Exactly(ImageFormat::Jpeg)) => {
                part("q", &jpeg);
            }
            (Quality::Default { avif, webp, jpeg }, _) => {
                part("q", &format_args!("{avif}.{webp}.{jpeg}"));
            }
        }
        if self.is_progressive {
            part("pass", &"many");
        }
        match self.keep {
            Keep::None => {}
            Keep::Copyright => part("keep", &"copyright"),
            Keep::All => part("keep", &"all"),
        }
        key
    }

    /// Whether the client is told of the error, in place of being given the original.
    pub(super) fn is_refused_outright(&self) -> bool {
        self.is_strict && (self.is_asked() || self.placeholder.is_some() || self.wants_facts())
    }

    /// Whether facts are asked for, in place of a picture.
    pub(super) fn wants_facts(&self) -> bool {
        self.target == Target::Facts
    }

    /// Whether frames after the first can be of use.
    pub(super) fn wants_frames(&self) -> bool {
        let holds_frames = match &self.target {
            Target::Exactly(format) => is_animated_format(*format),
            Target::Original | Target::Best(_) | Target::Facts => true,
        };
        holds_frames && !self.operations.still && self.placeholder.is_none()
    }

    /// Whether the client takes this format as the best for the picture.
    pub(super) fn accepts(&self, wanted: ImageFormat) -> bool {
        match &self.target {
            Target::Best(formats) => formats.contains(&wanted),
            Target::Exactly(format) => *format == wanted,
            Target::Original | Target::Facts => false,
        }
    }

    /// The format that was asked for by name.
    pub(super) fn named_format(&self) -> Option<ImageFormat> {
        match self.target {
            Target::Exactly(format) => Some(format),
            Target::Original | Target::Best(_) | Target::Facts => None,
        }
    }

    /// The format and its settings, decided from the finished pixels of the first frame.
    pub(super) fn output(
        &self,
        source: &Sniffed,
        raster: &Raster,
        content: Content,
        effort: Effort,
    ) -> Output {
        let is_drawn = content.is_drawn;
        let format = match &self.target {
            Target::Exactly(format) => *format,
            Target::Original if source.format == SourceFormat::Avif => ImageFormat::Avif,
            // Facts are no picture; whoever wants one of them all the same gets the original's.
            Target::Original | Target::Facts => family(source.format, raster, content),
            Target::Best(formats) => formats
                .iter()
                .copied()
                .find(|format| suits(*format, raster, content))
                .unwrap_or_else(|| family(source.format, raster, content)),
        };
        Output {
            format,
            quality: self.quality_of(format),
            // A quality that was asked for asks for a lossy picture.
            is_lossless: is_drawn && matches!(self.quality, Quality::Default { .. }),
            is_progressive: self.is_progressive,
            effort,
        }
    }

    /// Whether a result of that size is worth having in place of the source.
    pub(super) fn check_saving(&self, source: usize, result: usize) -> Result<(), ImageError> {
        let is_worth_it = self.placeholder.is_some()
            || match self.target {
                Target::Exactly(_) | Target::Facts => true,
                Target::Original | Target::Best(_) if !self.operations.can_be_left_out() => true,
                Target::Original | Target::Best(_) if self.is_asked() => result < source,
                // Nobody asked for another picture: 5 % less, or the original stays.
                Target::Original | Target::Best(_) => {
                    result.saturating_mul(100) <= source.saturating_mul(95)
                }
            };
        if is_worth_it {
            Ok(())
        } else {
            Err(ImageError::NotSmaller)
        }
    }

    /// Whether anything is asked for but the best format.
    pub(super) fn is_asked(&self) -> bool {
        self.operations != Operations::default()
            || matches!(self.quality, Quality::Asked(_))
            || matches!(self.target, Target::Exactly(_))
    }

    fn quality_of(&self, format: ImageFormat) -> u8 {
        match (self.quality, format) {
            (Quality::Asked(quality), _) => quality,
            (Quality::Default { avif, .. }, ImageFormat::Avif) => avif,
            (Quality::Default { webp, .. }, ImageFormat::Webp) => webp,
            (
                Quality::Default { jpeg, .. },
                ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif,
            ) => jpeg,
        }
    }
}

/// Drawings stay exact, which only WebP does among the better formats; AVIF must end in time.
fn suits(format: ImageFormat, raster: &Raster, content: Content) -> bool {
    if content.is_animated && !is_animated_format(format) {
        return false;
    }
    match format {
        ImageFormat::Avif => !content.is_drawn && raster.pixel_count() <= AVIF_AUTO_PIXELS_MAX,
        ImageFormat::Webp => raster.width.max(raster.height) <= WEBP_SIDE_MAX,
        ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif => true,
    }
}

/// The original's own format, or for those that we do not write the nearest that every browser shows.
fn family(source: SourceFormat, raster: &Raster, content: Content) -> ImageFormat {
    match source {
        SourceFormat::Webp => ImageFormat::Webp,
        _ if content.is_animated => ImageFormat::Gif,
        SourceFormat::Jpeg => ImageFormat::Jpeg,
        SourceFormat::Png | SourceFormat::Gif => ImageFormat::Png,
        SourceFormat::Bmp | SourceFormat::Tiff | SourceFormat::Avif
            if raster.has_alpha() || content.is_drawn =>
        {
            ImageFormat::Png
        }
        // Whoever takes AVIF has been given it before it came to this.
        SourceFormat::Bmp | SourceFormat::Tiff | SourceFormat::Avif => ImageFormat::Jpeg,
    }
}

fn is_animated_format(format: ImageFormat) -> bool {
    match format {
        ImageFormat::Webp | ImageFormat::Gif => true,
        ImageFormat::Avif | ImageFormat::Jpeg | ImageFormat::Png => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::raster::Channels;
    use super::super::sniff::Reel;
    use super::super::wish::wish_of;
    use super::*;

    fn config() -> ImageConfig {
        ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        }
    }

    fn recipe_of(query: &str, avif: bool, webp: bool) -> Recipe {
        let (wish, _) = wish_of(&config(), "/a.png", Some(query)).unwrap();
        recipe(&config(), &wish.unwrap(), avif, webp)
    }

    #[track_caller]
    fn check_key(query: &str, avif: bool, webp: bool, key: &str) {
        assert_eq!(recipe_of(query, avif, webp).key(), key);
    }

    #[test]
    fn keys_are_canonical() {
        let of_site = ";q=60.78.80;keep=copyright";
        let check = |query, avif, webp, key: &str| {
            check_key(query, avif, webp, &key.replace('…', of_site));
        };
        check("", true, true, "v3;f=auto(avif,webp)…");
        check("", false, true, "v3;f=auto(webp)…");
        check("", false, false, "v3;f=auto()…");
        check("width=50&dpr=2", false, true, "v3;width=100;f=auto(webp)…");
        check(
            "width=100&fit=cover&x=1",
            false,
            true,
            "v3;width=100;f=auto(webp)…",
        );
        check_key(
            "fit=cover&height=9&width=8&quality=7&metadata=none",
            false,
            false,
            "v3;width=8;height=9;fit=cover;f=auto();q=7",
        );
        check("metadata=copyright", false, true, "v3;f=auto(webp)…");
        check("format=jpeg", true, true, "v3;f=jpeg;q=80;keep=copyright");
        check(
            "format=jpeg&quality=80",
            true,
            false,
            "v3;f=jpeg;q=80;keep=copyright",
        );
        check(
            "format=pjpg",
            true,
            true,
            "v3;f=jpeg;q=80;pass=many;keep=copyright",
        );
        check(
            "format=webp&quality=78",
            true,
            true,
            "v3;f=webp;q=78;keep=copyright",
        );
        check("format=json&width=8", true, true, "v3;f=json");
        check(
            "placeholder=lqip",
            true,
            true,
            "v3;width=32;height=32;anim=0;placeholder=lqip;f=auto(avif,webp)",
        );
        check(
            "placeholder=blurhash",
            true,
            true,
            "v3;width=32;height=32;anim=0;placeholder=blurhash",
        );
    }

    #[test]
    fn what_has_no_effect_makes_no_other_variant() {
        for (one, other) in [
            ("format=png", "format=png&quality=7"),
            ("format=png", "format=png&quality=auto"),
            ("format=gif", "format=gif&metadata=keep"),
            ("format=gif", "format=gif&metadata=none&quality=auto"),
            (
                "placeholder=thumbhash",
                "placeholder=thumbhash&width=300&blur=9&sharpen=1&anim=0",
            ),
            (
                "placeholder=lqip&width=200&height=100&fit=cover",
                "placeholder=lqip&width=400&height=200&fit=cover",
            ),
        ] {
            let recipe = |query| recipe_of(query, true, true);
            assert_eq!(recipe(one), recipe(other), "{other}");
            assert_eq!(recipe(one).key(), recipe(other).key(), "{other}");
        }
        assert_eq!(
            recipe_of("placeholder=lqip", true, true).quick(true),
            None,
            "it is never an AVIF"
        );
    }

    #[test]
    fn who_saves_data_gets_a_lower_quality_unless_one_is_asked_for() {
        let saving = |query| recipe_of(query, false, true).saving_data().key();
        assert_eq!(saving(""), "v3;f=auto(webp);q=45.63.65;keep=copyright");
        assert_eq!(saving("format=avif"), "v3;f=avif;q=45;keep=copyright");
        assert_eq!(
            saving("quality=80"),
            recipe_of("quality=80", false, true).key()
        );
    }

    #[test]
    fn the_site_says_which_formats_and_in_which_order() {
        let config = ImageConfig {
            formats: vec![ImageFormat::Webp, ImageFormat::Avif],
            auto: false,
            keep: Keep::None,
            ..config()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some("format=auto")).unwrap();
        let made = recipe(&config, &wish.unwrap(), true, true);
        assert_eq!(made.key(), "v3;f=auto(webp,avif);q=60.78.80");
        let (wish, _) = wish_of(&config, "/a.png", Some("height=4")).unwrap();
        let made = recipe(&config, &wish.unwrap(), true, true);
        assert_eq!(made.key(), "v3;height=4;f=original;q=60.78.80");
    }

    fn raster(side: u32, drawn: bool) -> Raster {
        let pixels = 0..side * side;
        Raster {
            width: side,
            height: side,
            channels: Channels::Grey,
            pixels: pixels
                .map(|n| if drawn { 5 } else { (n % 251) as u8 })
                .collect(),
        }
    }

    #[track_caller]
    fn check_output(
        query: &str,
        source: SourceFormat,
        raster: &Raster,
        expect: (ImageFormat, u8, bool),
    ) {
        let sniffed = Sniffed {
            format: source,
            is_lossless: source != SourceFormat::Jpeg,
            reel: Reel::STILL,
            jpeg: None,
        };
        let content = Content {
            is_drawn: sniffed.is_lossless && raster.pixels.iter().all(|value| *value == 5),
            is_animated: false,
        };
        let output = recipe_of(query, true, true).output(&sniffed, raster, content, Effort::First);
        assert_eq!((output.format, output.quality, output.is_lossless), expect);
    }

    #[test]
    fn the_pixels_decide_the_format() {
        use ImageFormat::{Avif, Jpeg, Png, Webp};
        let (photo, large, drawn) = (raster(40, false), raster(1500, false), raster(40, true));
        check_output("", SourceFormat::Jpeg, &photo, (Avif, 60, false));
        check_output("", SourceFormat::Png, &photo, (Avif, 60, false));
        check_output("", SourceFormat::Png, &drawn, (Webp, 78, true));
        check_output("quality=50", SourceFormat::Png, &drawn, (Webp, 50, false));
        check_output("", SourceFormat::Jpeg, &drawn, (Avif, 60, false));
        let of_large = if cfg!(feature = "native-codecs") {
            (Avif, 60, false)
        } else {
            (Webp, 78, false)
        };
        check_output("", SourceFormat::Jpeg, &large, of_large);
        check_output("format=avif", SourceFormat::Jpeg, &large, (Avif, 60, false));
        check_output("format=jpeg", SourceFormat::Png, &drawn, (Jpeg, 80, true));
        check_output(
            "format=png&quality=3",
            SourceFormat::Jpeg,
            &photo,
            (Png, 80, false),
        );
    }

    #[test]
    fn without_better_formats_the_family_stays() {
        let content = |is_drawn, is_animated| Content {
            is_drawn,
            is_animated,
        };
        let film = |source| family(source, &raster(9, false), content(false, true));
        assert_eq!(film(SourceFormat::Gif), ImageFormat::Gif);
        assert_eq!(film(SourceFormat::Png), ImageFormat::Gif);
        assert_eq!(film(SourceFormat::Webp), ImageFormat::Webp);
        let family =
            |source, is_drawn| family(source, &raster(9, is_drawn), content(is_drawn, false));
        assert_eq!(family(SourceFormat::Jpeg, false), ImageFormat::Jpeg);
        assert_eq!(family(SourceFormat::Png, false), ImageFormat::Png);
        assert_eq!(family(SourceFormat::Gif, true), ImageFormat::Png);
        assert_eq!(family(SourceFormat::Webp, false), ImageFormat::Webp);
        assert_eq!(family(SourceFormat::Tiff, false), ImageFormat::Jpeg);
        assert_eq!(family(SourceFormat::Bmp, true), ImageFormat::Png);
    }

    #[test]
    fn the_quick_one_is_the_same_without_avif_where_that_takes_long() {
        let quick = |query, is_busy| {
            let quick = recipe_of(query, true, true).quick(is_busy);
            quick.map(|quick| quick == recipe_of(query, false, true))
        };
        assert_eq!(quick("width=400", false), None);
        assert_eq!(quick("width=400", true), Some(true));
        assert_eq!(quick("width=4000", false), Some(true));
        assert_eq!(quick("height=3000&width=1000", false), Some(true));
        assert_eq!(quick("", true), None, "the original is of that size");
        assert_eq!(quick("width=400&format=avif", true), None);
        assert_eq!(recipe_of("width=400", false, true).quick(true), None);
    }

    #[test]
    fn a_result_must_be_worth_it() {
        let check = |query, result, expect: bool| {
            let saving = recipe_of(query, true, true).check_saving(1000, result);
            assert_eq!(saving.is_ok(), expect, "{query} {result}");
        };
        check("", 950, true);
        check("", 951, false);
        check("format=auto", 951, false);
        check("width=5", 999, true);
        check("width=5", 1000, false);
        check("quality=5", 1000, false);
        check("format=png", 5000, true);
        check("width=5&height=5&fit=cover", 5000, true);
        check("format=png&width=5", 5000, true);
    }
}
