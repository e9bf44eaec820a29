//! AVIF in Rust alone, by rav1e: what a build without cmake and nasm has.

use ravif::{Encoder, Img, RGBA8};

use super::super::error::ImageError;
use super::super::raster::Raster;
use super::changes::Canvas;
use super::{Effort, Output, failed};

/// It takes some 0.6 s a megapixel on a small machine: up to here it is chosen by `auto`…
pub(in super::super) const AVIF_AUTO_PIXELS_MAX: u64 = 2_000_000;
/// …up to here while a first visitor waits, if a thread is free…
pub(in super::super) const AVIF_PROMPT_PIXELS_MAX: u64 = 500_000;
/// …and up to here it is made at all, so that an encode that nobody can stop ends near the deadline.
const AVIF_PIXELS_MAX: u64 = 8_000_000;
/// Up to here the best takes speed 8, which is three times slower than 10.
const SLOWER_PIXELS_MAX: u64 = 2_000_000;

pub(super) fn encode(
    raster: &Raster,
    output: &Output,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    if raster.pixel_count() > AVIF_PIXELS_MAX {
        return Err(ImageError::TooLarge {
            what: "its number of pixels, for AVIF",
        });
    }
    let quality = f32::from(output.quality.clamp(1, 100));
    let is_slower = output.effort == Effort::Best && raster.pixel_count() <= SLOWER_PIXELS_MAX;
    let mut encoder = Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_speed(if is_slower { 8 } else { 10 })
        // A job has one thread: this one.
        .with_num_threads(Some(1));
    if let Some(exif) = exif {
        encoder = encoder.with_exif(exif);
    }
    let side = |pixels: u32| usize::try_from(pixels).map_err(failed);
    let (width, height) = (side(raster.width)?, side(raster.height)?);
    let canvas = Canvas::of(raster).pixels.into_iter();
    let pixels: Vec<RGBA8> = canvas.map(|[r, g, b, a]| RGBA8::new(r, g, b, a)).collect();
    // Opaque pixels get no alpha plane. `encode_rgb` is not used because it is inlined: the whole encoder
    // would be compiled with this crate, unoptimised in dev builds.
    let encoded = encoder.encode_rgba(Img::new(&pixels, width, height));
    encoded.map(|file| file.avif_file).map_err(failed)
}
