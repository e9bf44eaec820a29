use std::borrow::Cow;
use std::time::Duration;

use oxipng::{Deflater, FilterStrategy, Options, RawImage};
use png::{BitDepth, ColorType, Compression, Encoder, Filter, Info};

use super::super::error::ImageError;
use super::super::raster::{Channels, Raster};
use super::changes::Canvas;
use super::indexed::{Indexed, exactly};
use super::{Effort, failed};

/// Trying filters with a slow deflate takes some 0.7 s a megapixel.
const OPTIMISED_PIXELS_MAX: u64 = 8_000_000;
/// After this no further filter is tried.
const OPTIMISING_TIME_MAX: Duration = Duration::from_secs(2);
/// Up to here the first answer takes the deflate that balances, which is five times slower than the fast one.
const BALANCED_PIXELS_MAX: u64 = 1_000_000;

/// Exact. At most 256 colours make a palette, whatever the effort.
pub(super) fn encode(
    raster: &Raster,
    effort: Effort,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    let form = Form::of(raster);
    if effort == Effort::Best && raster.pixel_count() <= OPTIMISED_PIXELS_MAX {
        optimised(raster, &form, exif)
    } else {
        quickly(raster, &form, exif)
    }
}

/// How the pixels are written.
enum Form<'a> {
    Palette(Indexed),
    Grey(Cow<'a, [u8]>),
    Rgb(Cow<'a, [u8]>),
    Rgba,
}

impl<'a> Form<'a> {
    fn of(raster: &'a Raster) -> Self {
        match raster.channels {
            Channels::Grey => Self::Grey(Cow::Borrowed(&raster.pixels)),
            Channels::Rgb => Self::of_rgb(Cow::Borrowed(&raster.pixels)),
            Channels::Cmyk => Self::of_rgb(Cow::Owned(raster.rgb_on_white())),
            Channels::Rgba => {
                let (quads, _) = raster.pixels.as_chunks::<4>();
                exactly(quads.iter().copied(), 256).map_or(Self::Rgba, Self::Palette)
            }
        }
    }

    fn of_rgb(pixels: Cow<'a, [u8]>) -> Self {
        let (triples, _) = pixels.as_chunks::<3>();
        if triples.iter().all(|[r, g, b]| r == g && g == b) {
            return Self::Grey(triples.iter().map(|[grey, ..]| *grey).collect());
        }
        let opaque = |[r, g, b]: &[u8; 3]| [*r, *g, *b, u8::MAX];
        match exactly(triples.iter().map(opaque), 256) {
            Some(indexed) => Self::Palette(indexed),
            None => Self::Rgb(pixels),
        }
    }
}

fn quickly(raster: &Raster, form: &Form<'_>, exif: Option<&[u8]>) -> Result<Vec<u8>, ImageError> {
    let mut info = Info::with_size(raster.width, raster.height);
    info.bit_depth = BitDepth::Eight;
    info.exif_metadata = exif.map(Cow::Borrowed);
    let (colour, pixels): (_, Cow<'_, [u8]>) = match form {
        Form::Palette(indexed) => {
            let colours = indexed.palette.iter();
            info.palette = Some(colours.flat_map(|[r, g, b, _]| [*r, *g, *b]).collect());
            if indexed.palette.iter().any(|[.., alpha]| *alpha < u8::MAX) {
                let colours = indexed.palette.iter();
                info.trns = Some(colours.map(|[.., alpha]| *alpha).collect());
            }
            (ColorType::Indexed, Cow::Borrowed(&indexed.indices))
        }
        Form::Grey(pixels) => (ColorType::Grayscale, Cow::Borrowed(pixels)),
        Form::Rgb(pixels) => (ColorType::Rgb, Cow::Borrowed(pixels)),
        Form::Rgba => (ColorType::Rgba, Cow::Borrowed(&raster.pixels)),
    };
    info.color_type = colour;
    let is_small = raster.pixel_count() <= BALANCED_PIXELS_MAX;
    let compression = if is_small || colour == ColorType::Indexed {
        Compression::Balanced
    } else {
        Compression::Fast
    };
    let mut file = Vec::new();
    let mut encoder = Encoder::with_info(&mut file, info).map_err(failed)?;
    encoder.set_compression(compression);
    encoder.set_filter(if colour == ColorType::Indexed {
        // Neighbouring numbers say nothing of neighbouring colours.
        Filter::NoFilter
    } else {
        Filter::Adaptive
    });
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

/// With the best of several filters and the slowest reasonable deflate.
fn optimised(raster: &Raster, form: &Form<'_>, exif: Option<&[u8]>) -> Result<Vec<u8>, ImageError> {
    let (colour, pixels) = match form {
        Form::Palette(indexed) => {
            let palette = indexed
                .palette
                .iter()
                .map(|[r, g, b, a]| [*r, *g, *b, *a].into());
            let palette = palette.collect();
            (
                oxipng::ColorType::Indexed { palette },
                indexed.indices.clone(),
            )
        }
        Form::Grey(pixels) => {
            let transparent_shade = None;
            (
                oxipng::ColorType::Grayscale { transparent_shade },
                pixels.to_vec(),
            )
        }
        Form::Rgb(pixels) => {
            let transparent_color = None;
            (
                oxipng::ColorType::RGB { transparent_color },
                pixels.to_vec(),
            )
        }
        Form::Rgba => {
            let canvas = Canvas::of(raster);
            // What is clear is black: it may be anything, and it packs well.
            let unseen = canvas.pixels.iter().map(|pixel| match pixel {
                [.., 0] => [0; 4],
                seen => *seen,
            });
            (oxipng::ColorType::RGBA, unseen.flatten().collect())
        }
    };
    let depth = oxipng::BitDepth::Eight;
    let mut image =
        RawImage::new(raster.width, raster.height, colour, depth, pixels).map_err(failed)?;
    if let Some(exif) = exif {
        image.add_png_chunk(*b"eXIf", exif.to_vec());
    }
    let compression = match raster.pixel_count() {
        0..1_000_000 => 11,
        1_000_000..3_000_000 => 9,
        _ => 7,
    };
    let mut options = Options::from_preset(1);
    options.filters = [
        FilterStrategy::NONE,
        FilterStrategy::SUB,
        FilterStrategy::Entropy,
        FilterStrategy::Bigrams,
    ]
    .into_iter()
    .collect();
    options.deflater = Deflater::Libdeflater { compression };
    options.timeout = Some(OPTIMISING_TIME_MAX);
    match image.create_optimized_png(&options) {
        Ok(file) => Ok(file),
        // Out of time before the first trial was done.
        Err(_) => quickly(raster, form, exif),
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImageView as _};

    use super::*;

    fn byte(number: u32) -> u8 {
        u8::try_from(number % 256).unwrap()
    }

    fn raster(channels: Channels, side: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Raster {
        let place = |n: u32| (n % side, n / side);
        let pixels = (0..side * side).flat_map(|n| {
            let (x, y) = place(n);
            pixel(x, y).into_iter().take(channels.count())
        });
        Raster {
            width: side,
            height: side,
            channels,
            pixels: pixels.collect(),
        }
    }

    /// Both efforts give these pixels back (where they can be seen); the colour type of both files.
    #[track_caller]
    fn check(raster: &Raster, kinds: [u8; 2]) {
        for (effort, kind) in [Effort::First, Effort::Best].into_iter().zip(kinds) {
            let file = encode(raster, effort, None).unwrap();
            assert_eq!(file[25], kind, "{effort:?}");
            let back: DynamicImage = image::load_from_memory(&file).unwrap();
            for (pixel, (x, y, shown)) in Canvas::of(raster).pixels.iter().zip(back.pixels()) {
                assert!(
                    pixel[3] == 0 && shown[3] == 0 || *pixel == shown.0,
                    "{x} {y}"
                );
            }
        }
    }

    #[test]
    fn pixels_come_back_in_the_smallest_form() {
        let (grey, rgb, palette, rgba) = (0, 2, 3, 6);
        let many = |x, y| [byte(x * 3), byte(y * 3), 7, 255];
        check(&raster(Channels::Rgb, 70, many), [rgb, rgb]);
        let few = |x: u32, y| [if x > y { 200 } else { 9 }, byte(x % 4), 7, 255];
        check(&raster(Channels::Rgb, 70, few), [palette, palette]);
        let shades = |x, y| [byte(x + y); 4];
        check(&raster(Channels::Grey, 70, shades), [grey, grey]);
        check(&raster(Channels::Rgb, 70, shades), [grey, grey]);
        let soft = |x, y| [byte(x * 3), byte(y * 3), 7, byte(x + y)];
        check(&raster(Channels::Rgba, 70, soft), [rgba, rgba]);
        let cut = |x: u32, y: u32| [1, 2, 3, if x > y { 255 } else { 60 }];
        check(&raster(Channels::Rgba, 70, cut), [palette, palette]);
    }

    #[test]
    fn exif_goes_in() {
        let raster = raster(Channels::Rgb, 20, |x, y| [byte(x), byte(y), 0, 255]);
        for effort in [Effort::First, Effort::Best] {
            let file = encode(&raster, effort, Some(b"MM\0*\0\0\0\x08\0\0\0\0\0\0")).unwrap();
            assert!(file.windows(6).any(|bytes| bytes == b"eXIfMM"));
        }
    }

    #[test]
    fn the_best_is_not_larger() {
        let raster = raster(Channels::Rgb, 200, |x, y| {
            [byte(x * y / 200), byte(x ^ y), byte(y), 255]
        });
        let size = |effort| encode(&raster, effort, None).unwrap().len();
        assert!(size(Effort::Best) < size(Effort::First));
    }
}
