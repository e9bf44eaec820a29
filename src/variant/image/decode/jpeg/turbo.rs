use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

use super::super::super::error::ImageError;
use super::super::super::raster::{Channels, Raster};
use super::super::super::sniff::JpegKind;
use super::super::{as_count, bad, zeroed};
use super::levels::with_levels_alone;

/// Grey and colour, reduced while decoding. Whatever libjpeg-turbo has to say about a file is an error: the
/// decoders in Rust have another look at it.
pub(super) fn decode(source: &[u8], kind: JpegKind, reduction: u8) -> Result<Raster, ImageError> {
    let shorter = (kind.is_progressive && reduction == 8).then(|| with_levels_alone(source));
    match shorter.flatten() {
        Some(shorter) => decoded(&shorter, kind, reduction),
        None => decoded(source, kind, reduction),
    }
}

/// As the file is.
pub(super) fn decoded(source: &[u8], kind: JpegKind, reduction: u8) -> Result<Raster, ImageError> {
    let (format, channels) = if kind.components == 1 {
        (PixelFormat::GRAY, Channels::Grey)
    } else {
        (PixelFormat::RGB, Channels::Rgb)
    };
    let factor = ScalingFactor::new(1, usize::from(reduction));
    let mut decoder = Decompressor::new().map_err(bad)?;
    decoder.set_scaling_factor(factor).map_err(bad)?;
    let header = decoder.read_header(source).map_err(bad)?;
    if (header.width, header.height) != (usize::from(kind.width), usize::from(kind.height)) {
        return Err(bad("its size is another than its header says"));
    }
    let (width, height) = (factor.scale(header.width), factor.scale(header.height));
    let pitch = width * channels.count();
    let mut pixels = zeroed(as_count(pitch).saturating_mul(as_count(height)))?;
    let into = Image {
        pixels: pixels.as_mut_slice(),
        width,
        pitch,
        height,
        format,
    };
    decoder.decompress(source, into).map_err(bad)?;
    Ok(Raster {
        width: u32::try_from(width).map_err(bad)?,
        height: u32::try_from(height).map_err(bad)?,
        channels,
        pixels,
    })
}
