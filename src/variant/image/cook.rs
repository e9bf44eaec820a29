use bytes::Bytes;
use image::metadata::Orientation;

use super::super::config::{ImageFormat, ImageWorkers};
use super::colour::to_srgb;
use super::decode::{Decoded, Demand, Opened, open};
use super::encode::{ENCODING_BYTES_PER_PIXEL, Effort, encode};
use super::error::ImageError;
use super::facts::{self, FACTS_SIDE};
use super::film::Film;
use super::looks::Looks;
use super::metadata::strip;
use super::operate::{Focus, Plan, Stored, Turn, ground, resizing_bytes, tone};
use super::operations::Operations;
use super::placeholder;
use super::quality::{can_be_searched, encode_searched};
use super::raster::Raster;
use super::recipe::{Content, Media, Picture, Recipe};
use super::sniff::{SourceFormat, sniff};

/// What a job asks of the pool while it runs.
pub(super) trait Watch {
    /// Keeps the reserved memory until it is dropped.
    type Reserved;

    /// Waits until that much memory is free.
    fn reserve(&self, bytes: u64) -> Result<Self::Reserved, ImageError>;

    /// Between two stages: is the result still wanted?
    fn check(&self) -> Result<(), ImageError>;
}

/// What must be decoded so that `recipe` can be cooked.
pub(super) fn demand(recipe: &Recipe, opened: &Opened<'_>) -> Demand {
    Demand {
        reduction: plan_of(recipe, opened.size, opened.orientation).reduction(),
        // So that what fails for want of frames is known to.
        all_frames: recipe.wants_frames() && opened.is_film(),
    }
}

/// Memory that cooking holds at its peak, besides what is decoded for `demand`: all frames of the result, and the
/// more of what resizing and what encoding takes for one.
pub(super) fn cooking_bytes(recipe: &Recipe, opened: &Opened<'_>, demand: Demand) -> u64 {
    const FRAME_BYTES_PER_PIXEL: u64 = 4;
    let plan = plan_of(recipe, opened.size, opened.orientation);
    let frames = match recipe.wants_frames() {
        true => opened.frames(demand),
        false => 1,
    };
    let kept = FRAME_BYTES_PER_PIXEL.saturating_mul(u64::from(frames.saturating_sub(1)));
    let encoding = plan.pixels().saturating_mul(ENCODING_BYTES_PER_PIXEL);
    let raster = opened.may_have_alpha().then_some(opened.size);
    let resizing = resizing_bytes(&plan, raster, opened.reduction(demand));
    let kept = plan.pixels().saturating_mul(kept);
    kept.saturating_add(encoding.max(resizing))
}

fn pixels_of((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Sizes do not depend on the place that is kept in sight.
fn plan_of(recipe: &Recipe, size: (u32, u32), orientation: Orientation) -> Plan {
    let operations = operations_of(recipe);
    let focus = Focus::asked(operations.gravity);
    Plan::new(size, orientation, &operations, focus)
}

/// What is done to the pixels for what is asked: little for what only describes the picture.
fn operations_of(recipe: &Recipe) -> Operations {
    match recipe.placeholder {
        // Facts are about the source.
        None if recipe.wants_facts() => Operations::default().within(FACTS_SIDE),
        Some(placeholder) => recipe.operations.within(placeholder.side()),
        None => recipe.operations,
    }
}

/// Makes one picture of a decoded one; `source` is its file. What cannot be made is made up for by the original, without
/// what must not be told, unless the site would rather refuse.
pub(super) fn cook<W: Watch>(
    recipe: &Recipe,
    effort: Effort,
    decoded: &Decoded,
    source: &[u8],
    limits: &ImageWorkers,
    watch: &W,
) -> Result<Picture, ImageError> {
    match made(recipe, effort, decoded, source, limits, watch) {
        Err(ImageError::NotSmaller) => {
            let may_improve = effort == Effort::First;
            stripped(recipe, decoded, source, may_improve).ok_or(ImageError::NotSmaller)
        }
        // Behind a first picture there is that one.
        Err(error)
            if effort == Effort::First && error.is_permanent() && !recipe.is_refused_outright() =>
        {
            stripped(recipe, decoded, source, false).ok_or(error)
        }
        made => made,
    }
}

fn made<W: Watch>(
    recipe: &Recipe,
    effort: Effort,
    decoded: &Decoded,
    source: &[u8],
    limits: &ImageWorkers,
    watch: &W,
) -> Result<Picture, ImageError> {
    watch.check()?;
    let operations = operations_of(recipe);
    let kitchen = Kitchen {
        decoded,
        operations: &operations,
        plan: stored(decoded, first(decoded)?).plan(decoded.orientation, &operations)?,
        watch,
    };
    kitchen.check_size(limits)?;
    let first = kitchen.frame(first(decoded)?)?;
    if let Some(placeholder) = recipe.placeholder {
        return placeholder::paint(
            placeholder,
            recipe,
            ground(first, &kitchen.plan, &operations),
            decoded,
        );
    }
    if recipe.wants_facts() {
        return facts::facts(decoded, &first, source);
    }

    let content = Content {
        is_drawn: decoded.sniffed.is_lossless && Looks::of(&first).is_drawn,
        is_animated: decoded.film.is_animated() && recipe.wants_frames(),
    };
    let first = ground(first, &kitchen.plan, &operations);
    let output = recipe.output(&decoded.sniffed, &first, content, effort);
    let is_animated =
        content.is_animated && matches!(output.format, ImageFormat::Webp | ImageFormat::Gif);
    if is_animated && output.format == ImageFormat::Gif && !recipe.is_asked() {
        // What came out of a GIF's 256 colours goes into no smaller one, and an APNG would only lose.
        return Err(ImageError::NotSmaller);
    }
    let (width, height) = (first.width, first.height);
    let film = if is_animated {
        kitchen.film(first)?
    } else {
        Film::still(first)
    };
    watch.check()?;
    let metadata = decoded.metadata.kept(recipe.keep);
    let is_searched = recipe.is_quality_searched && effort == Effort::Best;
    let file = if is_searched && can_be_searched(&film, &output) {
        encode_searched(&film, output, &metadata, limits, watch)?
    } else {
        encode(&film, &output, &metadata)?
    };
    // No page makes up the pixels of what was to be enlarged as we do.
    if kitchen.plan.pixels() <= pixels_of(decoded.size) {
        recipe.check_saving(source.len(), file.len())?;
    }

    let (to, from) = (output.format.name(), decoded.sniffed.format.name());
    Ok(Picture {
        media: Media::Picture(output.format),
        // It may stay in the cache for long: no spare capacity.
        bytes: Bytes::from(file.into_boxed_slice()),
        width,
        height,
        may_improve: effort == Effort::First && output.format != ImageFormat::Gif,
        detail: format!("{to};w={width};from={from}"),
    })
}

/// One picture being made.
struct Kitchen<'a, W> {
    decoded: &'a Decoded,
    operations: &'a Operations,
    plan: Plan,
    watch: &'a W,
}

impl<W: Watch> Kitchen<'_, W> {
    /// Only what is enlarged or padded can be larger than the source, which is inside the limits.
    fn check_size(&self, limits: &ImageWorkers) -> Result<(), ImageError> {
        let (width, height) = self.plan.result();
        if self.plan.pixels() > limits.max_pixels || width.max(height) > limits.max_side {
            return Err(ImageError::TooLarge {
                what: "what it would be enlarged to",
            });
        }
        Ok(())
    }

    /// One frame without its background. Colours come after the resize, when there are fewer pixels, and before what
    /// is done to them.
    fn frame(&self, raster: &Raster) -> Result<Raster, ImageError> {
        self.watch.check()?;
        let shaped = stored(self.decoded, raster).shape(&self.plan)?;
        self.watch.check()?;
        let coloured = to_srgb(shaped, self.decoded.profile.as_deref())?.without_idle_alpha();
        Ok(tone(coloured, self.operations))
    }

    /// All frames, of which the first is there already, in the same channels.
    fn film(&self, first: Raster) -> Result<Film, ImageError> {
        let mut first = Some(first);
        let film = self.decoded.film.map(|raster| match first.take() {
            Some(first) => Ok(first),
            None => Ok(ground(self.frame(raster)?, &self.plan, self.operations)),
        })?;
        Ok(film.in_same_channels())
    }
}

fn first(decoded: &Decoded) -> Result<&Raster, ImageError> {
    decoded.film.first().ok_or_else(|| ImageError::BadPicture {
        detail: "it has no frames".to_owned(),
    })
}

fn stored<'a>(decoded: &Decoded, raster: &'a Raster) -> Stored<'a> {
    Stored {
        raster,
        full: decoded.size,
        reduction: decoded.demand.reduction,
    }
}

/// The original without what must not be told, when no other form of it is worth having.
fn stripped(
    recipe: &Recipe,
    decoded: &Decoded,
    source: &[u8],
    may_improve: bool,
) -> Option<Picture> {
    let format = decoded.sniffed.format;
    let bytes = strip(source, format, recipe.keep)?;
    let media = format.same()?;
    let (width, height) = Turn::of(decoded.orientation).size(decoded.size);
    Some(Picture {
        media: Media::Picture(media),
        bytes: Bytes::from(bytes.into_boxed_slice()),
        width,
        height,
        // With all effort another form may still be worth it.
        may_improve,
        detail: format!("{};stripped", media.name()),
    })
}

impl SourceFormat {
    /// The same as a format of results, if it is one.
    fn same(self) -> Option<ImageFormat> {
        match self {
            Self::Jpeg => Some(ImageFormat::Jpeg),
            Self::Png => Some(ImageFormat::Png),
            Self::Gif => Some(ImageFormat::Gif),
            Self::Webp => Some(ImageFormat::Webp),
            Self::Avif => Some(ImageFormat::Avif),
            Self::Bmp | Self::Tiff => None,
        }
    }
}

/// Makes one picture, from the file to the file.
pub(super) fn cook_file<W: Watch>(
    recipe: &Recipe,
    effort: Effort,
    source: &[u8],
    limits: &ImageWorkers,
    watch: &W,
) -> Result<Picture, ImageError> {
    let sniffed = sniff(source, recipe.declared)?;
    let opened = open(source, &sniffed, limits)?;
    let wanted = demand(recipe, &opened);
    let decoding = opened.decoding_bytes(wanted);
    let bytes = decoding.saturating_add(cooking_bytes(recipe, &opened, wanted));
    let _reserved = watch.reserve(bytes)?;
    let decoded = opened.decode(wanted, &|| watch.check())?;
    cook(recipe, effort, &decoded, source, limits, watch)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, Rgba};

    use super::super::super::config::{ImageConfig, Refused};
    use super::super::metadata::Keep;
    use super::super::recipe::recipe;
    use super::super::testing;
    use super::super::wish::wish_of;
    use super::*;

    struct Free;

    impl Watch for Free {
        type Reserved = ();

        fn reserve(&self, _: u64) -> Result<(), ImageError> {
            Ok(())
        }

        fn check(&self) -> Result<(), ImageError> {
            Ok(())
        }
    }

    fn made(query: &str, source: &[u8]) -> Result<Picture, ImageError> {
        cooked(query, source, [true, true], Effort::First)
    }

    fn made_plain(query: &str, source: &[u8]) -> Result<Picture, ImageError> {
        cooked(query, source, [false, false], Effort::First)
    }

    /// `accepts` is of AVIF and WebP.
    fn cooked(
        query: &str,
        source: &[u8],
        accepts: [bool; 2],
        effort: Effort,
    ) -> Result<Picture, ImageError> {
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
        let [avif, webp] = accepts;
        let recipe = recipe(&config, &wish.unwrap(), avif, webp);
        cook_file(&recipe, effort, source, &ImageWorkers::default(), &Free)
    }

    fn film_of(file: &[u8]) -> Film {
        let sniffed = sniff(file, None).unwrap();
        let opened = open(file, &sniffed, &ImageWorkers::default()).unwrap();
        let all = Demand {
            reduction: 1,
            all_frames: true,
        };
        opened.decode(all, &|| Ok(())).unwrap().film
    }

    #[test]
    fn every_orientation_comes_out_upright() {
        for number in 1..=8 {
            let stored = testing::stored_as(number, &testing::corners(48, 24));
            let file = testing::with_orientation(&testing::jpeg(&stored), number);
            let picture = made("format=png&width=32", &file).unwrap();
            assert_eq!(
                (picture.width, picture.height),
                (32, 16),
                "orientation {number}"
            );
            testing::assert_corners_of(&picture.bytes, testing::UPRIGHT);
            assert_eq!(picture.detail, "png;w=32;from=jpeg");

            let square = made("format=png&width=16&height=16&fit=cover", &file).unwrap();
            assert_eq!((square.width, square.height), (16, 16));
        }
    }

    #[test]
    fn every_format_can_be_asked_for() {
        let source = testing::png(&testing::corners(40, 40));
        for (name, format) in [
            ("jpeg", ImageFormat::Jpeg),
            ("png", ImageFormat::Png),
            ("webp", ImageFormat::Webp),
            ("avif", ImageFormat::Avif),
        ] {
            let picture = made(&format!("format={name}"), &source).unwrap();
            assert_eq!((picture.media, picture.width), (Media::Picture(format), 40));
            if format != ImageFormat::Avif {
                testing::assert_corners_of(&picture.bytes, testing::UPRIGHT);
            } else {
                assert_eq!(&picture.bytes[4..12], b"ftypavif");
            }
        }
    }

    #[test]
    fn alpha_is_kept_or_shows_white() {
        let clear: DynamicImage = ImageBuffer::from_fn(24, 24, |x, _| {
            Rgba([200_u8, 0, 0, if x < 12 { 0 } else { 255 }])
        })
        .into();
        let source = testing::png(&clear);
        for format in ["png", "webp"] {
            let picture = made(&format!("format={format}&width=12"), &source).unwrap();
            let pixels = image::load_from_memory(&picture.bytes)
                .unwrap()
                .into_rgba8();
            assert_eq!(pixels.get_pixel(0, 0).0[3], 0, "{format}");
            assert_eq!(pixels.get_pixel(11, 11).0[3], 255, "{format}");
            let kept = pixels.get_pixel(11, 11).0;
            assert!(kept[0] > 180 && kept[1] < 30, "no dark fringe: {kept:?}");
        }
        assert!(made("format=avif", &source).is_ok());
        let flat = made("format=jpeg", &source).unwrap();
        let pixels = image::load_from_memory(&flat.bytes).unwrap().into_rgb8();
        assert!(
            pixels
                .get_pixel(0, 0)
                .0
                .iter()
                .all(|channel| *channel > 240)
        );
    }

    #[test]
    fn auto_keeps_the_original_unless_it_saves() {
        let photo = testing::noise(64, 64);
        let auto = made("", &testing::png(&photo)).unwrap();
        assert_eq!(auto.media, Media::Picture(ImageFormat::Avif));
        let drawing = testing::png(&testing::corners(16, 16));
        let small_already = made("format=webp", &drawing).unwrap().bytes;
        assert_eq!(made("", &small_already), Err(ImageError::NotSmaller));
        assert!(made("format=jpeg", &small_already).is_ok());
    }

    #[test]
    fn pictures_are_never_enlarged() {
        let source = testing::png(&testing::noise(30, 20));
        let picture = made("width=4000&height=3000&format=jpeg", &source).unwrap();
        assert_eq!((picture.width, picture.height), (30, 20));
    }

    #[test]
    fn metadata_is_dropped() {
        let file = testing::with_orientation(&testing::jpeg(&testing::noise(40, 40)), 6);
        for format in ["jpeg", "webp", "png", "avif"] {
            let picture = made(&format!("format={format}"), &file).unwrap();
            assert!(
                memchr::memmem::find(&picture.bytes, b"Exif").is_none(),
                "{format}"
            );
        }
    }

    #[test]
    fn a_job_that_nobody_wants_stops_between_stages() {
        struct Unwanted;
        impl Watch for Unwanted {
            type Reserved = ();
            fn reserve(&self, _: u64) -> Result<(), ImageError> {
                Ok(())
            }
            fn check(&self) -> Result<(), ImageError> {
                Err(ImageError::Cancelled)
            }
        }
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        let (wish, _) = wish_of(&config, "/a.png", None).unwrap();
        let recipe = recipe(&config, &wish.unwrap(), false, false);
        let source = testing::png(&testing::noise(8, 8));
        let result = cook_file(
            &recipe,
            Effort::First,
            &source,
            &ImageWorkers::default(),
            &Unwanted,
        );
        assert_eq!(result, Err(ImageError::Cancelled));
    }

    #[test]
    fn pictures_are_cut_turned_and_flipped() {
        let source = testing::png(&testing::corners(48, 24));
        for (query, size, corners) in [
            ("rotate=90", (24, 48), [2, 0, 3, 1]),
            ("rotate=180", (48, 24), [3, 2, 1, 0]),
            ("flip=h", (48, 24), [1, 0, 3, 2]),
            ("flip=v&width=24", (24, 12), [2, 3, 0, 1]),
            ("rotate=90&flip=h&width=12", (12, 24), [0, 2, 1, 3]),
            ("crop=24,24,24,0", (24, 24), [1, 1, 3, 3]),
            (
                "width=12&height=12&fit=cover&gravity=left",
                (12, 12),
                [0, 0, 2, 2],
            ),
            ("width=20&height=40&fit=fill", (20, 24), [0, 1, 2, 3]),
            ("width=96&upscale=1", (96, 48), [0, 1, 2, 3]),
        ] {
            let picture = made(&format!("format=png&{query}"), &source).unwrap();
            assert_eq!((picture.width, picture.height), size, "{query}");
            testing::assert_corners_of(&picture.bytes, corners);
        }
    }

    #[test]
    fn padding_shows_the_background_or_nothing() {
        let source = testing::png(&testing::corners(40, 20));
        let pixels = |query: &str| {
            let picture = made(query, &source).unwrap();
            assert_eq!((picture.width, picture.height), (40, 40));
            let pixels = image::load_from_memory(&picture.bytes).unwrap();
            (
                pixels.to_rgba8().get_pixel(20, 3).0,
                pixels.color().has_alpha(),
            )
        };
        let padded = "width=40&height=40&fit=pad&format=";
        assert_eq!(
            pixels(&format!("{padded}png&background=0000ff")),
            ([0, 0, 255, 255], false)
        );
        let (open, has_alpha) = pixels(&format!("{padded}png"));
        assert!(has_alpha && open[3] == 0);
        let (white, _) = pixels(&format!("{padded}jpeg"));
        assert!(white.iter().all(|value| *value > 250), "{white:?}");
    }

    #[test]
    fn effects_come_after_the_resize() {
        let source = testing::png(&testing::corners(40, 40));
        let dark = made("brightness=0.5&format=png&width=20", &source).unwrap();
        let pixels = image::load_from_memory(&dark.bytes).unwrap().into_rgb8();
        assert_eq!(pixels.get_pixel(1, 1).0, [110, 10, 10]);
        let soft = made("blur=250&format=png", &source).unwrap();
        let pixels = image::load_from_memory(&soft.bytes).unwrap().into_rgb8();
        let [near, far] = [pixels.get_pixel(0, 0).0, pixels.get_pixel(39, 39).0];
        assert!(near.iter().zip(far).all(|(a, b)| a.abs_diff(b) < 60));
    }

    fn moving() -> Vec<u8> {
        let frames: Vec<DynamicImage> = (1..=3)
            .map(|n| testing::noise(30 + n, 30).crop_imm(n, 0, 30, 30))
            .collect();
        testing::gif(&frames.iter().collect::<Vec<_>>())
    }

    #[test]
    fn animations_stay_animated_where_the_format_can() {
        let source = moving();
        for (query, media, frames) in [
            ("width=20", ImageFormat::Webp, 3),
            ("width=20&format=gif", ImageFormat::Gif, 3),
            ("width=20&format=png", ImageFormat::Png, 1),
            ("width=20&format=webp&anim=0", ImageFormat::Webp, 1),
        ] {
            let picture = made(query, &source).unwrap();
            assert_eq!(picture.media, Media::Picture(media), "{query}");
            let film = film_of(&picture.bytes);
            assert_eq!(film.frames.len(), frames, "{query}");
            assert!(film.frames.iter().all(|frame| frame.raster.width == 20));
        }
        let plain = made_plain("width=20&height=10&fit=cover", &source).unwrap();
        assert_eq!(plain.media, Media::Picture(ImageFormat::Gif));
        assert_eq!(film_of(&plain.bytes).frames.len(), 3);
        let untouched = made_plain("", &source);
        assert_eq!(
            untouched,
            Err(ImageError::NotSmaller),
            "256 colours of 256 colours"
        );
    }

    #[test]
    fn facts_are_told() {
        let stored = testing::stored_as(6, &testing::corners(48, 24));
        let source = testing::with_orientation(&testing::jpeg(&stored), 6);
        let picture = made("format=json", &source).unwrap();
        assert_eq!((picture.media, picture.may_improve), (Media::Json, false));
        assert_eq!(picture.media.media_type(), "application/json");
        let facts: serde_json::Value = serde_json::from_slice(&picture.bytes).unwrap();
        for (name, value) in [
            ("format", serde_json::json!("jpeg")),
            ("width", 48.into()),
            ("height", 24.into()),
            ("bytes", source.len().into()),
            ("frames", 1.into()),
            ("duration_ms", 0.into()),
            ("has_alpha", false.into()),
            ("orientation", 6.into()),
            ("colour_profile", "srgb".into()),
            ("looks", "photograph".into()),
        ] {
            assert_eq!(facts[name], value, "{name}");
        }
        assert_eq!(facts["palette"].as_array().unwrap().len(), 5);
        let moving: serde_json::Value =
            serde_json::from_slice(&made("format=json", &moving()).unwrap().bytes).unwrap();
        assert_eq!(moving["frames"], 3);
    }

    #[test]
    fn placeholders_are_small() {
        let source = testing::jpeg(&testing::noise(300, 200));
        for (name, media) in [
            ("thumbhash", Media::Text),
            ("blurhash", Media::Text),
            ("lqip", Media::Picture(ImageFormat::Webp)),
        ] {
            let picture = made(&format!("placeholder={name}"), &source).unwrap();
            assert_eq!(picture.media, media);
            assert!(picture.bytes.len() < 700, "{name}: {}", picture.bytes.len());
        }
    }

    #[test]
    fn the_original_loses_what_must_not_be_told() {
        let source = testing::png(&testing::noise(64, 64));
        let low = made("format=jpeg&quality=20", &source).unwrap();
        let mut file = low.bytes.to_vec();
        file.splice(2..2, *b"\xff\xfe\0\x06secr");
        let picture = made_plain("", &file).unwrap();
        assert_eq!(picture.detail, "jpeg;stripped");
        assert_eq!(picture.media, Media::Picture(ImageFormat::Jpeg));
        assert!(memchr::memmem::find(&picture.bytes, b"secr").is_none());
        assert_eq!(film_of(&picture.bytes), film_of(&file), "pixel by pixel");
    }

    #[test]
    fn what_is_asked_of_the_pixels_is_done_even_if_it_saves_nothing() {
        let tiny = testing::png(&testing::corners(8, 8));
        assert!(made_plain("rotate=90", &tiny).is_ok());
        assert_eq!(
            made_plain("width=7", &tiny).map(|made| made.width),
            Err(ImageError::NotSmaller)
        );
    }

    #[test]
    fn the_right_quality_is_searched_for_in_the_background() {
        let source = testing::png(&testing::noise(160, 120));
        let query = "format=jpeg&quality=auto";
        let first = made(query, &source).unwrap();
        assert_eq!(first.bytes, made("format=jpeg", &source).unwrap().bytes);
        assert!(first.may_improve);
        let best = cooked(query, &source, [true, true], Effort::Best).unwrap();
        assert!(!best.may_improve);
        assert_ne!(best.bytes, first.bytes);
    }

    #[test]
    fn what_would_grow_too_large_is_refused() {
        let limits = ImageWorkers {
            max_pixels: 10_000,
            ..ImageWorkers::default()
        };
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some("width=200&upscale=1")).unwrap();
        let recipe = recipe(&config, &wish.unwrap(), false, false);
        let source = testing::png(&testing::noise(60, 60));
        let result = cook_file(&recipe, Effort::First, &source, &limits, &Free);
        assert_eq!(result.unwrap_err().as_str(), "too-large");
    }

    #[test]
    fn what_resizing_copies_is_announced() {
        let bytes = |file: &[u8]| {
            let config = ImageConfig {
                enabled: true,
                ..ImageConfig::default()
            };
            let (wish, _) = wish_of(&config, "/a.png", Some("width=10")).unwrap();
            let recipe = recipe(&config, &wish.unwrap(), true, true);
            let sniffed = sniff(file, None).unwrap();
            let opened = open(file, &sniffed, &ImageWorkers::default()).unwrap();
            cooking_bytes(&recipe, &opened, demand(&recipe, &opened))
        };
        let picture = testing::corners(600, 600);
        assert!(bytes(&testing::png(&picture)) > 4 * 600 * 600);
        assert!(bytes(&testing::jpeg(&picture)) < 4 * 600 * 600);
    }

    /// With a comment.
    fn telling() -> Vec<u8> {
        let mut file = testing::jpeg(&testing::noise(60, 60));
        file.splice(2..2, *b"\xff\xfe\0\x06secr");
        file
    }

    #[test]
    fn what_cannot_be_made_is_the_original_without_what_must_not_be_told() {
        let limits = ImageWorkers {
            max_pixels: 10_000,
            ..ImageWorkers::default()
        };
        let file = telling();
        let made = |refused, effort| {
            let config = ImageConfig {
                enabled: true,
                refused,
                ..ImageConfig::default()
            };
            let query = Some("width=200&upscale=1&format=webp");
            let (wish, _) = wish_of(&config, "/a.png", query).unwrap();
            let recipe = recipe(&config, &wish.unwrap(), false, false);
            cook_file(&recipe, effort, &file, &limits, &Free)
        };
        let picture = made(Refused::Original, Effort::First).unwrap();
        assert_eq!(picture.detail, "jpeg;stripped");
        assert!(memchr::memmem::find(&picture.bytes, b"secr").is_none());
        for (refused, effort) in [
            (Refused::UnsupportedMediaType, Effort::First),
            (Refused::Original, Effort::Best),
        ] {
            let error = made(refused, effort).unwrap_err();
            assert_eq!(error.as_str(), "too-large");
        }
    }

    #[test]
    fn what_is_cut_short_loses_what_must_not_be_told() {
        let file = telling();
        let cut = &file[..file.len() - 2];
        let stripped = strip(cut, SourceFormat::Jpeg, Keep::None).unwrap();
        assert!(stripped.ends_with(&[0xff, 0xd9]));
        assert!(memchr::memmem::find(&stripped, b"secr").is_none());
        // With native codecs what is cut short is decoded by another decoder than what is whole.
        let (whole, short) = (film_of(&stripped), film_of(cut));
        let (whole, short) = (whole.first().unwrap(), short.first().unwrap());
        assert_eq!((whole.width, whole.height), (short.width, short.height));
        let pairs = whole.pixels.iter().zip(&short.pixels);
        let distance: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let allowed = if cfg!(feature = "native-codecs") {
            2
        } else {
            0
        };
        assert!(
            distance <= allowed * whole.pixels.len() as u64,
            "{distance}"
        );
        let plain = strip(&file, SourceFormat::Jpeg, Keep::None).unwrap();
        let plain = &plain[..plain.len() - 2];
        assert_eq!(strip(plain, SourceFormat::Jpeg, Keep::None), None);

        let mut png = testing::png(&testing::noise(9, 9));
        png.truncate(png.len() - 12);
        assert_eq!(strip(&png, SourceFormat::Png, Keep::None), None);
        // After the header.
        png.splice(33..33, *b"\0\0\0\x04tEXtsecrXXXX");
        let stripped = strip(&png, SourceFormat::Png, Keep::None).unwrap();
        assert!(memchr::memmem::find(&stripped, b"secr").is_none());
        assert_eq!(film_of(&stripped).frames.len(), 1);

        let mut webp = testing::webp(&testing::noise(9, 9));
        webp.extend_from_slice(b"XMP \x04\0\0\0secr");
        webp[4..8].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
        let stripped = strip(&webp, SourceFormat::Webp, Keep::None).unwrap();
        assert!(memchr::memmem::find(&stripped, b"secr").is_none());
        assert_eq!(film_of(&stripped), film_of(&webp));
    }

    #[test]
    fn an_avif_loses_what_must_not_be_told() {
        // An author and a place where there is no room for one.
        let exif = b"MM\0*\0\0\0\x08\0\x02\
            \x01\x0e\0\x02\0\0\0\x08\0\0\0\x26\
            \x01\x3b\0\x02\0\0\0\x08\0\0\0\x2e\0\0\0\0secrets\0somebody";
        let source = testing::png(&testing::noise(32, 32));
        let film = film_of(&source);
        let output = super::super::encode::Output {
            format: ImageFormat::Avif,
            quality: 60,
            is_lossless: false,
            is_progressive: false,
            effort: Effort::First,
        };
        let metadata = super::super::metadata::Metadata {
            exif: Some(exif.to_vec()),
        };
        let file = encode(&film, &output, &metadata).unwrap();
        let says = |file: &[u8], what: &[u8]| memchr::memmem::find(file, what).is_some();
        assert!(says(&file, b"secrets") && says(&file, b"somebody"));
        for (keep, is_kept) in [(Keep::None, false), (Keep::Copyright, true)] {
            let stripped = strip(&file, SourceFormat::Avif, keep).unwrap();
            assert_eq!(stripped.len(), file.len());
            assert!(!says(&stripped, b"secrets"));
            assert_eq!(says(&stripped, b"somebody"), is_kept);
            assert_eq!(film_of(&stripped), film_of(&file));
            assert_eq!(strip(&stripped, SourceFormat::Avif, keep), None);
        }
        let plain = encode(&film, &output, &super::super::metadata::Metadata::default());
        assert_eq!(strip(&plain.unwrap(), SourceFormat::Avif, Keep::None), None);
    }

    #[test]
    fn what_is_asked_to_be_larger_is_worth_it() {
        let tiny = testing::png(&testing::corners(8, 8));
        let large = made_plain("width=96&upscale=1", &tiny).unwrap();
        assert_eq!(large.width, 96);
        let small = made_plain("width=7&upscale=1", &tiny);
        assert_eq!(small, Err(ImageError::NotSmaller));
    }
}
