use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use mozjpeg_rs::Subsampling;
use ravif::{Img, RGBA8};

use super::super::config::ImageFormat;
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;
use super::raster::{Channels, Raster};

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) format: ImageFormat,
    /// 1 to 100; no meaning for PNG and lossless WebP.
    pub(super) quality: u8,
    /// WebP only.
    pub(super) is_lossless: bool,
    /// JPEG only: in passes, whatever the effort.
    pub(super) is_progressive: bool,
    pub(super) effort: Effort,
}

/// How much time the encoder may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Effort {
    /// Somebody waits.
    First,
    /// Behind an answer that has been given: the smallest file at the same quality.
    Best,
}

/// Without `native-codecs`, AVIF takes some 0.6 s a megapixel on a small machine: up to here it is
/// chosen by `auto`…
pub(super) const AVIF_AUTO_PIXELS_MAX: u64 = 2_000_000;
/// …and up to here it is made at all, so that an encode that nobody can stop ends near the deadline.
pub(super) const AVIF_PIXELS_MAX: u64 = 8_000_000;
/// The format has 14 bits for a side.
pub(super) const WEBP_SIDE_MAX: u32 = 16_383;
const AVIF_SPEED: u8 = 10;

/// What encoding holds at its peak for a pixel of output; AV1 keeps several planes of 16 bits.
pub(super) const ENCODING_BYTES_PER_PIXEL: u64 = 32;

/// Writes a file: sRGB without a profile, and of metadata what is handed in.
pub(super) fn encode(
    film: &Film,
    output: &Output,
    _metadata: &Metadata,
) -> Result<Vec<u8>, ImageError> {
    let raster = film.first().ok_or_else(|| failed("no frames"))?;
    match output.format {
        ImageFormat::Avif => avif(raster, output.quality),
        ImageFormat::Webp => webp(raster, output),
        ImageFormat::Jpeg => jpeg(raster, output.quality),
        ImageFormat::Png => png(raster),
        ImageFormat::Gif => Err(ImageError::Unsupported {
            what: "GIF as a result",
        }),
    }
}

fn failed(error: impl std::fmt::Display) -> ImageError {
    ImageError::Encode {
        detail: error.to_string(),
    }
}

fn jpeg(raster: &Raster, quality: u8) -> Result<Vec<u8>, ImageError> {
    // From here on halved colour shows in red edges and text.
    const FULL_COLOUR_FROM: u8 = 90;
    let subsampling = if quality >= FULL_COLOUR_FROM {
        Subsampling::S444
    } else {
        Subsampling::S420
    };
    let encoder = mozjpeg_rs::Encoder::fastest()
        .quality(quality)
        .subsampling(subsampling)
        .optimize_huffman(true);
    match raster.channels {
        Channels::Grey => encoder.encode_gray(&raster.pixels, raster.width, raster.height),
        Channels::Rgb => encoder.encode_rgb(&raster.pixels, raster.width, raster.height),
        Channels::Rgba | Channels::Cmyk => {
            encoder.encode_rgb(&raster.rgb_on_white(), raster.width, raster.height)
        }
    }
    .map_err(failed)
}

fn png(raster: &Raster) -> Result<Vec<u8>, ImageError> {
    let colour = match raster.channels {
        Channels::Grey => ExtendedColorType::L8,
        Channels::Rgb => ExtendedColorType::Rgb8,
        Channels::Rgba => ExtendedColorType::Rgba8,
        // Refused: colours are brought to red, green and blue before.
        Channels::Cmyk => ExtendedColorType::Cmyk8,
    };
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive)
        .write_image(&raster.pixels, raster.width, raster.height, colour)
        .map_err(failed)?;
    Ok(file)
}

fn webp(raster: &Raster, output: &Output) -> Result<Vec<u8>, ImageError> {
    if raster.width.max(raster.height) > WEBP_SIDE_MAX {
        return Err(ImageError::TooLarge {
            what: "its longer side, for WebP",
        });
    }
    let mut config =
        webp::WebPConfig::new().map_err(|()| failed("libwebp has no configuration"))?;
    let large = raster.pixel_count() > 1_000_000;
    if output.is_lossless {
        config.lossless = 1;
        // Effort, not fidelity.
        config.quality = if large { 20.0 } else { 50.0 };
        config.method = if large { 1 } else { 3 };
    } else {
        config.quality = f32::from(output.quality);
        config.method = if large { 2 } else { 4 };
    }
    let (width, height) = (raster.width, raster.height);
    match raster.channels {
        Channels::Grey | Channels::Cmyk => {
            let rgb = raster.rgb_on_white();
            webp::Encoder::from_rgb(&rgb, width, height).encode_advanced(&config)
        }
        Channels::Rgb => {
            webp::Encoder::from_rgb(&raster.pixels, width, height).encode_advanced(&config)
        }
        Channels::Rgba => {
            webp::Encoder::from_rgba(&raster.pixels, width, height).encode_advanced(&config)
        }
    }
    .map(|file| file.to_vec())
    .map_err(|error| failed(format_args!("{error:?}")))
}

fn avif(raster: &Raster, quality: u8) -> Result<Vec<u8>, ImageError> {
    if raster.pixel_count() > AVIF_PIXELS_MAX {
        return Err(ImageError::TooLarge {
            what: "its number of pixels, for AVIF",
        });
    }
    let quality = f32::from(quality.clamp(1, 100));
    let encoder = ravif::Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_speed(AVIF_SPEED)
        // A job has one thread: this one.
        .with_num_threads(Some(1));
    let side = |pixels: u32| usize::try_from(pixels).map_err(failed);
    let (width, height) = (side(raster.width)?, side(raster.height)?);
    let opaque = |[r, g, b]: [u8; 3]| RGBA8::new(r, g, b, u8::MAX);
    let pixels: Vec<RGBA8> = match raster.channels {
        Channels::Grey => raster
            .pixels
            .iter()
            .map(|grey| opaque([*grey; 3]))
            .collect(),
        Channels::Cmyk => {
            let rgb = raster.rgb_on_white();
            rgb.as_chunks().0.iter().copied().map(opaque).collect()
        }
        Channels::Rgb => raster
            .pixels
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(opaque)
            .collect(),
        Channels::Rgba => {
            let quads = raster.pixels.as_chunks().0.iter();
            quads
                .map(|[r, g, b, a]| RGBA8::new(*r, *g, *b, *a))
                .collect()
        }
    };
    // Opaque pixels get no alpha plane. `encode_rgb` is not used because it is inlined: the whole encoder
    // would be compiled with this crate, unoptimised in dev builds.
    let encoded = encoder.encode_rgba(Img::new(&pixels, width, height));
    encoded.map(|file| file.avif_file).map_err(failed)
}
