#[cfg(feature = "native-codecs")]
mod levels;
#[cfg(feature = "native-codecs")]
mod turbo;

use image::metadata::Orientation;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::error::ImageError;
use super::super::metadata::orientation_of;
use super::super::raster::{Channels, Raster};
use super::super::sniff::{JpegKind, Reader, next_segment};
use super::{Check, Header, PROFILE_BYTES_MAX, bad, checked};

const EXIF_NAME: &[u8] = b"Exif\0\0";
const PROFILE_NAME: &[u8] = b"ICC_PROFILE\0";

pub(super) fn open(source: &[u8], kind: Option<JpegKind>) -> Result<Header<'_>, ImageError> {
    let kind = kind.ok_or_else(|| bad("it ends before its first scan"))?;
    let Segments { exif, profile } = segments(source)?;
    Ok(Header {
        reader: super::Reader::Jpeg(kind),
        size: (u32::from(kind.width), u32::from(kind.height)),
        orientation: exif
            .and_then(orientation_of)
            .unwrap_or(Orientation::NoTransforms),
        profile,
        exif: exif.map(<[u8]>::to_vec),
    })
}

struct Segments<'a> {
    exif: Option<&'a [u8]>,
    profile: Option<Vec<u8>>,
}

/// Exif without its name, and the profile put together from its parts (ICC.1:2022 annex B.4).
fn segments(source: &[u8]) -> Result<Segments<'_>, ImageError> {
    let mut exif = None;
    let mut parts: Vec<(u8, &[u8])> = Vec::new();
    let mut reader = Reader(source);
    // Ends at the first scan, or with the bytes.
    while let Some((kind, segment)) = next_segment(&mut reader)? {
        match kind {
            0xda => break,
            0xe1 if exif.is_none() => exif = segment.strip_prefix(EXIF_NAME),
            0xe2 => {
                if let Some([number, _, part @ ..]) = segment.strip_prefix(PROFILE_NAME) {
                    parts.push((*number, part));
                }
            }
            _ => {}
        }
    }
    Ok(Segments {
        exif,
        profile: profile_of(parts),
    })
}

/// A profile with a part missing is none.
fn profile_of(mut parts: Vec<(u8, &[u8])>) -> Option<Vec<u8>> {
    parts.sort_by_key(|(number, _)| *number);
    let is_whole = parts
        .iter()
        .zip(1..=u8::MAX)
        .all(|((number, _), expect)| *number == expect);
    let bytes: usize = parts.iter().map(|(_, part)| part.len()).sum();
    let is_sane = is_whole && parts.len() <= usize::from(u8::MAX) && bytes <= PROFILE_BYTES_MAX;
    (is_sane && bytes > 0).then(|| {
        parts
            .into_iter()
            .flat_map(|(_, part)| part)
            .copied()
            .collect()
    })
}

/// Which of the decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoder {
    /// libjpeg-turbo: the fastest at every size, for what it has no complaints about.
    #[cfg(feature = "native-codecs")]
    Turbo,
    /// The faster one of those in Rust at full size. Its 0.5.15 decodes a baseline picture with a scan for each
    /// component to garbage without an error, and has no use for a profile of CMYK.
    Zune,
    /// jpeg-decoder: right with all kinds, and able to reduce.
    Thorough,
}

/// Entropy decoding is the floor of every reduction, and there jpeg-decoder is the slower one: measured, its
/// 1/4 and 1/8 beat zune-jpeg's full size by 1.3 to 1.8 up to as many bits a pixel.
const REDUCED_BITS_PER_PIXEL_MAX: u64 = 4;
/// A narrower picture is not reduced: one pixel is one pixel at every scale.
const REDUCED_SIDE_MIN: u16 = 16;

fn plan(kind: JpegKind, source_bytes: usize, wanted: u8) -> (Decoder, u8) {
    let wanted = match wanted {
        _ if kind.width.min(kind.height) < REDUCED_SIDE_MIN => 1,
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    };
    #[cfg(feature = "native-codecs")]
    if kind.components != 4 {
        return (Decoder::Turbo, wanted);
    }
    plan_in_rust(kind, source_bytes, wanted)
}

fn plan_in_rust(kind: JpegKind, source_bytes: usize, wanted: u8) -> (Decoder, u8) {
    let is_in_pieces = !kind.is_interleaved && !kind.is_progressive;
    if kind.components == 4 || is_in_pieces {
        return (Decoder::Thorough, wanted);
    }
    let pixels = u64::from(kind.width) * u64::from(kind.height);
    let bits = super::as_count(source_bytes).saturating_mul(8);
    if wanted >= 4 && bits <= pixels.saturating_mul(REDUCED_BITS_PER_PIXEL_MAX) {
        (Decoder::Thorough, wanted)
    } else {
        (Decoder::Zune, 1)
    }
}

/// By how much a picture is reduced when so much is wanted.
pub(super) fn reduction(kind: JpegKind, source_bytes: usize, wanted: u8) -> u8 {
    plan(kind, source_bytes, wanted).1
}

/// The result, with jpeg-decoder the planes that it is made of, a shorter file where there may be one, and the coefficients of a picture in several scans: all
/// decoders keep a progressive one's, libjpeg-turbo those of any.
pub(super) fn decoding_bytes(kind: JpegKind, source_bytes: usize, wanted: u8) -> u64 {
    const COEFFICIENT_BYTES: u64 = 2;
    let (decoder, reduction) = plan(kind, source_bytes, wanted);
    let side = |pixels: u16| u64::from(pixels.div_ceil(16)) * 16;
    let samples = side(kind.width) * side(kind.height) * u64::from(kind.components);
    let result = samples / u64::from(reduction).pow(2);
    let planes = match decoder {
        Decoder::Zune => 0,
        Decoder::Thorough => result,
        // What another decoder holds that has to look again.
        #[cfg(feature = "native-codecs")]
        Decoder::Turbo => result,
    };
    let is_cut = cfg!(feature = "native-codecs") && kind.is_progressive && reduction == 8;
    let shorter = if is_cut {
        super::as_count(source_bytes)
    } else {
        0
    };
    let coefficients = if kind.is_progressive || !kind.is_interleaved {
        samples * COEFFICIENT_BYTES
    } else {
        0
    };
    result + planes + shorter + coefficients
}

pub(super) fn decode(
    source: &[u8],
    kind: JpegKind,
    wanted: u8,
    check: Check<'_>,
) -> Result<Raster, ImageError> {
    #[cfg(not(feature = "native-codecs"))]
    let _only_between_two_decoders = check;
    let (decoder, reduction) = plan(kind, source.len(), wanted);
    checked(match decoder {
        #[cfg(feature = "native-codecs")]
        Decoder::Turbo => turbo::decode(source, kind, reduction).or_else(|_| {
            check()?;
            again_in_rust(source, kind, reduction)
        })?,
        Decoder::Zune => with_zune(source, kind)?,
        Decoder::Thorough => with_jpeg_decoder(source, kind, reduction)?,
    })
}

/// At the size that was planned for.
#[cfg(feature = "native-codecs")]
fn again_in_rust(source: &[u8], kind: JpegKind, reduction: u8) -> Result<Raster, ImageError> {
    match plan_in_rust(kind, source.len(), reduction) {
        (Decoder::Zune, _) if reduction == 1 => with_zune(source, kind),
        _ => with_jpeg_decoder(source, kind, reduction),
    }
}

fn with_zune(source: &[u8], kind: JpegKind) -> Result<Raster, ImageError> {
    let (space, channels) = if kind.components == 1 {
        (ColorSpace::Luma, Channels::Grey)
    } else {
        (ColorSpace::RGB, Channels::Rgb)
    };
    // Cut files are shown as far as they go, as browsers do.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(space);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(source), options);
    let pixels = decoder.decode().map_err(bad)?;
    Ok(Raster {
        width: u32::from(kind.width),
        height: u32::from(kind.height),
        channels,
        pixels,
    })
}

fn with_jpeg_decoder(source: &[u8], kind: JpegKind, reduction: u8) -> Result<Raster, ImageError> {
    let mut decoder = jpeg_decoder::Decoder::new(source);
    let side = |pixels: u16| pixels.div_ceil(u16::from(reduction));
    let (width, height) = decoder
        .scale(side(kind.width), side(kind.height))
        .map_err(bad)?;
    let pixels = decoder.decode().map_err(bad)?;
    let channels = match decoder.info().map(|info| info.pixel_format) {
        Some(jpeg_decoder::PixelFormat::L8) => Channels::Grey,
        Some(jpeg_decoder::PixelFormat::RGB24) => Channels::Rgb,
        Some(jpeg_decoder::PixelFormat::CMYK32) => Channels::Cmyk,
        Some(jpeg_decoder::PixelFormat::L16) | None => {
            return Err(super::unsupported("a JPEG of more than 8 bits"));
        }
    };
    Ok(Raster {
        width: u32::from(width),
        height: u32::from(height),
        channels,
        pixels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_of_several_scans_are_announced() {
        let bytes = |is_progressive, is_interleaved| {
            let kind = JpegKind {
                width: 1600,
                height: 1600,
                components: 3,
                is_progressive,
                is_interleaved,
            };
            decoding_bytes(kind, 1 << 20, 1)
        };
        let coefficients = 2 * 3 * 1600 * 1600;
        for (is_progressive, is_interleaved) in [(true, true), (true, false), (false, false)] {
            let found = bytes(is_progressive, is_interleaved);
            assert!(found >= bytes(false, true) + coefficients, "{found}");
        }
    }
}
