//! Pixels into files, one file a format. Nobody can stop an encoder on its way, so each has a bound on
//! pixels that lets it end near the deadline, and takes less trouble with larger pictures.

#[cfg(feature = "native-codecs")]
#[path = "avif_aom.rs"]
mod avif;
#[cfg(not(feature = "native-codecs"))]
#[path = "avif_rav1e.rs"]
mod avif;
mod changes;
mod gif;
mod indexed;
mod jpeg;
#[cfg(feature = "native-codecs")]
mod planes;
mod png;
mod riff;
mod webp;

use super::super::config::ImageFormat;
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;

pub(super) use self::avif::{AVIF_AUTO_PIXELS_MAX, AVIF_PROMPT_PIXELS_MAX};
pub(super) use self::webp::WEBP_SIDE_MAX;

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) format: ImageFormat,
    /// 1 to 100; no meaning for PNG, GIF and lossless WebP.
    pub(super) quality: u8,
    /// WebP only.
    pub(super) is_lossless: bool,
    /// JPEG only: in passes, whatever the effort.
    pub(super) is_progressive: bool,
    pub(super) effort: Effort,
}

/// How much time the encoder may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effort {
    /// Somebody waits.
    First,
    /// Behind an answer that has been given: the smallest file at the same quality.
    Best,
}

/// What encoding holds at its peak for a pixel of output; AV1 keeps several planes of 16 bits.
pub(super) const ENCODING_BYTES_PER_PIXEL: u64 = 32;

/// Writes a file: sRGB without a profile, and of metadata what is handed in (GIF has no place for it).
/// All frames where the format and its encoder have them (WebP, GIF), else the first.
pub(super) fn encode(
    film: &Film,
    output: &Output,
    metadata: &Metadata,
) -> Result<Vec<u8>, ImageError> {
    let first = film.first().ok_or_else(|| failed("no frames"))?;
    let exif = metadata.exif.as_deref();
    match output.format {
        ImageFormat::Avif => avif::encode(first, output, exif),
        ImageFormat::Webp => webp::encode(film, output, exif),
        ImageFormat::Jpeg => jpeg::encode(first, output, exif),
        ImageFormat::Png => png::encode(first, output.effort, exif),
        ImageFormat::Gif => gif::encode(film),
    }
}

fn failed(error: impl std::fmt::Display) -> ImageError {
    ImageError::Encode {
        detail: error.to_string(),
    }
}
