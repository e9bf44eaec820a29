use std::fmt::Write as _;

use bytes::Bytes;

use super::super::config::{ImageConfig, ImageFormat, ImageQuality};
use super::encode::{AVIF_AUTO_PIXELS_MAX, Effort, Output, WEBP_SIDE_MAX};
use super::error::ImageError;
use super::metadata::Keep;
use super::operations::{Fit, Operations};
use super::raster::Raster;
use super::sniff::{Sniffed, SourceFormat};
use super::wish::{Wish, WishedFormat};

/// Changes when the same recipe makes other bytes than before, so that stored variants are remade.
const RECIPE_VERSION: u32 = 1;

/// Up to here AVIF is written while a first visitor waits, if a thread is free.
const AVIF_PROMPT_PIXELS_MAX: u64 = 500_000;

/// A made picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its format, for `Content-Type`.
    pub format: ImageFormat,
    /// The file.
    pub bytes: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How it was made, short: `avif;w=800;from=jpeg`.
    pub detail: String,
}

/// How to make a picture: a wish, and what one client accepts. Equal recipes make the same variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recipe {
    pub(super) operations: Operations,
    quality: Quality,
    target: Target,
    is_progressive: bool,
    /// What of the metadata stays.
    pub(super) keep: Keep,
    pub(super) declared: Option<SourceFormat>,
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
    let ImageQuality { jpeg, webp, avif } = config.quality;
    Recipe {
        operations: *wish.operations(),
        quality: wish
            .quality()
            .map_or(Quality::Default { avif, webp, jpeg }, Quality::Asked),
        target: match wish.format() {
            WishedFormat::Original => Target::Original,
            WishedFormat::Exactly(format) => Target::Exactly(format),
            WishedFormat::Negotiated => {
                Target::Best(config.formats.iter().copied().filter(accepted).collect())
            }
        },
        is_progressive: wish.is_progressive(),
        keep: wish.metadata().unwrap_or(Keep::None),
        declared: None,
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

    /// The same without AVIF, if AVIF may be chosen and would take longer than a first visitor should wait: at a size
    /// that was asked for and is not small, or when others are at it. Whoever asks for no size gets the original
    /// meanwhile, which is of the right size.
    #[must_use]
    pub fn quick(&self, is_busy: bool) -> Option<Self> {
        let Target::Best(formats) = &self.target else {
            return None;
        };
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

    /// Canonical text: equal exactly when the same source makes the same variant.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = format!("v{RECIPE_VERSION}");
        let mut part = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _written = write!(key, ";{name}={value}");
        };
        if let Some(width) = self.operations.width {
            part("w", &width);
        }
        if let Some(height) = self.operations.height {
            part("h", &height);
        }
        if self.operations.fit == Fit::Cover {
            part("fit", &"cover");
        }
        match self.quality {
            Quality::Asked(quality) => part("q", &quality),
            Quality::Default { avif, webp, jpeg } => {
                part("q", &format_args!("{avif}.{webp}.{jpeg}"));
            }
        }
        match &self.target {
            Target::Original => part("f", &"original"),
            Target::Exactly(format) => part("f", &format.name()),
            Target::Best(formats) => {
                let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
                part("f", &format_args!("auto({})", names.join(",")));
            }
        }
        key
    }

    /// The format and its settings, decided from the finished pixels.
    pub(super) fn output(&self, source: &Sniffed, raster: &Raster, effort: Effort) -> Output {
        let is_drawn = source.is_lossless && raster.looks_drawn();
        let format = match &self.target {
            Target::Exactly(format) => *format,
            Target::Original if source.format == SourceFormat::Avif => ImageFormat::Avif,
            Target::Original => family(source.format, raster, is_drawn),
            Target::Best(formats) => formats
                .iter()
                .copied()
                .find(|format| suits(*format, raster, is_drawn))
                .unwrap_or_else(|| family(source.format, raster, is_drawn)),
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
        let is_asked =
            self.operations != Operations::default() || matches!(self.quality, Quality::Asked(_));
        let is_worth_it = match self.target {
            Target::Exactly(_) => true,
            Target::Original | Target::Best(_) if is_asked => result < source,
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
fn suits(format: ImageFormat, raster: &Raster, is_drawn: bool) -> bool {
    match format {
        ImageFormat::Avif => !is_drawn && raster.pixel_count() <= AVIF_AUTO_PIXELS_MAX,
        ImageFormat::Webp => raster.width.max(raster.height) <= WEBP_SIDE_MAX,
        ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif => true,
    }
}

/// The original's own format, or for those that we do not write the nearest that every browser shows.
fn family(source: SourceFormat, raster: &Raster, is_drawn: bool) -> ImageFormat {
    match source {
        SourceFormat::Jpeg => ImageFormat::Jpeg,
        SourceFormat::Webp => ImageFormat::Webp,
        SourceFormat::Png | SourceFormat::Gif => ImageFormat::Png,
        SourceFormat::Bmp | SourceFormat::Tiff | SourceFormat::Avif
            if raster.has_alpha() || is_drawn =>
        {
            ImageFormat::Png
        }
        // Whoever takes AVIF has been given it before it came to this.
        SourceFormat::Bmp | SourceFormat::Tiff | SourceFormat::Avif => ImageFormat::Jpeg,
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
        check_key("", true, true, "v1;q=60.78.80;f=auto(avif,webp)");
        check_key("", false, true, "v1;q=60.78.80;f=auto(webp)");
        check_key("", false, false, "v1;q=60.78.80;f=auto()");
        check_key(
            "width=50&dpr=2",
            false,
            true,
            "v1;w=100;q=60.78.80;f=auto(webp)",
        );
        check_key(
            "width=100&fit=cover&x=1",
            false,
            true,
            "v1;w=100;q=60.78.80;f=auto(webp)",
        );
        check_key(
            "fit=cover&height=9&width=8&quality=7",
            false,
            false,
            "v1;w=8;h=9;fit=cover;q=7;f=auto()",
        );
        check_key("format=jpeg", true, true, "v1;q=60.78.80;f=jpeg");
    }

    #[test]
    fn the_site_says_which_formats_and_in_which_order() {
        let config = ImageConfig {
            formats: vec![ImageFormat::Webp, ImageFormat::Avif],
            auto: false,
            ..config()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some("format=auto")).unwrap();
        let made = recipe(&config, &wish.unwrap(), true, true);
        assert_eq!(made.key(), "v1;q=60.78.80;f=auto(webp,avif)");
        let (wish, _) = wish_of(&config, "/a.png", Some("height=4")).unwrap();
        let made = recipe(&config, &wish.unwrap(), true, true);
        assert_eq!(made.key(), "v1;h=4;q=60.78.80;f=original");
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
        let output = recipe_of(query, true, true).output(&sniffed, raster, Effort::First);
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
        check_output("", SourceFormat::Jpeg, &large, (Webp, 78, false));
        check_output("format=avif", SourceFormat::Jpeg, &large, (Avif, 60, false));
        check_output("format=jpeg", SourceFormat::Png, &drawn, (Jpeg, 80, true));
        check_output(
            "format=png&quality=3",
            SourceFormat::Jpeg,
            &photo,
            (Png, 3, false),
        );
    }

    #[test]
    fn without_better_formats_the_family_stays() {
        let family = |source, drawn| family(source, &raster(9, drawn), drawn);
        assert_eq!(family(SourceFormat::Jpeg, false), ImageFormat::Jpeg);
        assert_eq!(family(SourceFormat::Png, false), ImageFormat::Png);
        assert_eq!(family(SourceFormat::Gif, true), ImageFormat::Png);
        assert_eq!(family(SourceFormat::Webp, false), ImageFormat::Webp);
        assert_eq!(family(SourceFormat::Tiff, false), ImageFormat::Jpeg);
        assert_eq!(family(SourceFormat::Bmp, true), ImageFormat::Png);
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
        check("format=png&width=5", 5000, true);
    }
}
