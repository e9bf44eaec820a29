use bytes::Bytes;
use image::metadata::Orientation;

use super::super::config::ImageWorkers;
use super::colour::to_srgb;
use super::decode::{Decoded, Demand, Opened, open};
use super::encode::{ENCODING_BYTES_PER_PIXEL, Effort, encode};
use super::error::ImageError;
use super::operate::{Geometry, Turn, geometry, resize};
use super::recipe::{Picture, Recipe};
use super::sniff::sniff;

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
pub(super) fn demand(recipe: &Recipe, _opened: &Opened<'_>) -> Demand {
    Demand {
        reduction: 1,
        all_frames: !recipe.operations.still,
    }
}

/// Memory that cooking holds at its peak, besides what is decoded.
pub(super) fn cooking_bytes(recipe: &Recipe, size: (u32, u32), orientation: Orientation) -> u64 {
    let seen = geometry_of(recipe, size, orientation);
    u64::from(seen.width) * u64::from(seen.height) * ENCODING_BYTES_PER_PIXEL
}

fn geometry_of(recipe: &Recipe, size: (u32, u32), orientation: Orientation) -> Geometry {
    let operations = &recipe.operations;
    geometry(
        Turn::of(orientation).size(size),
        operations.width,
        operations.height,
        operations.fit,
    )
}

/// Makes one picture of a decoded one. `source_bytes` is the length of its file.
pub(super) fn cook<W: Watch>(
    recipe: &Recipe,
    effort: Effort,
    decoded: &Decoded,
    source_bytes: usize,
    watch: &W,
) -> Result<Picture, ImageError> {
    let turn = Turn::of(decoded.orientation);
    let seen = geometry_of(recipe, decoded.size, decoded.orientation);
    let stored = if turn.size((0, 1)) == (0, 1) {
        seen
    } else {
        seen.swapped()
    };
    watch.check()?;
    // Turning and colours come after the resize, when there are fewer pixels.
    let film = decoded.film.map(|raster| {
        watch.check()?;
        let raster = resize(raster, &stored)?;
        watch.check()?;
        let raster = to_srgb(turn.apply(raster), decoded.profile.as_deref())?;
        Ok::<_, ImageError>(raster.without_idle_alpha())
    })?;
    let raster = film.first().ok_or_else(|| ImageError::BadPicture {
        detail: "it has no frames".to_owned(),
    })?;

    let output = recipe.output(&decoded.sniffed, raster, effort);
    watch.check()?;
    let file = encode(&film, &output, &decoded.metadata.kept(recipe.keep))?;
    recipe.check_saving(source_bytes, file.len())?;

    let (width, height) = (raster.width, raster.height);
    let (to, from) = (output.format.name(), decoded.sniffed.format.name());
    Ok(Picture {
        format: output.format,
        // It may stay in the cache for long: no spare capacity.
        bytes: Bytes::from(file.into_boxed_slice()),
        width,
        height,
        detail: format!("{to};w={width};from={from}"),
    })
}

/// Makes one picture, from the file to the file.
#[cfg(test)]
pub(super) fn cook_file<W: Watch>(
    recipe: &Recipe,
    effort: Effort,
    source: &[u8],
    limits: &ImageWorkers,
    watch: &W,
) -> Result<Picture, ImageError> {
    let sniffed = sniff(source, recipe.declared)?;
    let opened = open(source, &sniffed, limits)?;
    let cooking_bytes = cooking_bytes(recipe, opened.size, opened.orientation);
    let wanted = demand(recipe, &opened);
    let decoding_bytes = opened.decoding_bytes(wanted);
    let _reserved = watch.reserve(decoding_bytes.saturating_add(cooking_bytes))?;
    let decoded = opened.decode(wanted, &|| watch.check())?;
    cook(recipe, effort, &decoded, source.len(), watch)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, Rgba};

    use super::super::super::config::{ImageConfig, ImageFormat};
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
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
        let recipe = recipe(&config, &wish.unwrap(), true, true);
        cook_file(
            &recipe,
            Effort::First,
            source,
            &ImageWorkers::default(),
            &Free,
        )
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
            assert_eq!((picture.format, picture.width), (format, 40));
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
        assert_eq!(auto.format, ImageFormat::Avif);
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
}
