use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, Limits};

use super::super::super::config::ImageWorkers;
use super::super::colour::coded_profile;
use super::super::error::ImageError;
use super::super::metadata::{is_sound_tiff, orientation_of};
use super::super::raster::{Channels, Raster};
use super::super::sniff::{Reader, SourceFormat, next_png_chunk, next_webp_chunk};
use super::{Header, bad, checked, unsupported};

/// What the PNG decoder may hold besides the picture: two rows of it, its profile and its texts. A profile
/// is compressed, so that its size is not known before.
pub(super) const PNG_ASIDE_BYTES_MAX: usize = 4 << 20;
/// The same for values of TIFF tags and a strip before it is brought to rows.
const TIFF_ASIDE_BYTES: u64 = 1 << 20;

pub(super) fn open_png<'a>(
    source: &'a [u8],
    limits: &ImageWorkers,
) -> Result<Header<'a>, ImageError> {
    let mut bounds = Limits::default();
    bounds.max_image_width = Some(limits.max_side);
    bounds.max_image_height = Some(limits.max_side);
    bounds.max_alloc = Some(super::as_count(PNG_ASIDE_BYTES_MAX));
    let decoder = PngDecoder::with_limits(Cursor::new(source), bounds).map_err(refusal)?;
    let mut header = header(decoder)?;
    let chunks = png_chunks(source);
    header.exif = chunks.exif.map(<[u8]>::to_vec);
    header.orientation = chunks
        .exif
        .and_then(orientation_of)
        .unwrap_or(Orientation::NoTransforms);
    // It overrules every other colour chunk (PNG, third edition §4.3).
    if let Some([primaries, transfer, _, _]) = chunks.cicp {
        header.profile = coded_profile(primaries, transfer)?;
    }
    Ok(header)
}

#[derive(Default)]
struct PngChunks<'a> {
    exif: Option<&'a [u8]>,
    cicp: Option<[u8; 4]>,
}

fn png_chunks(source: &[u8]) -> PngChunks<'_> {
    let mut chunks = PngChunks::default();
    let mut reader = Reader(source.get(8..).unwrap_or_default());
    // Ends with the bytes: Exif may stand behind the pixels.
    while let Some((kind, content)) = next_png_chunk(&mut reader) {
        match &kind {
            b"eXIf" => chunks.exif = Some(content),
            b"cICP" => chunks.cicp = content.first_chunk().copied(),
            _ => {}
        }
    }
    chunks
}

pub(super) fn open_webp(source: &[u8]) -> Result<Header<'_>, ImageError> {
    let decoder = WebPDecoder::new(Cursor::new(source)).map_err(refusal)?;
    let size = decoder.dimensions();
    // Read here: the decoder takes memory for the lengths that chunks say.
    let (mut exif, mut profile) = (None, None);
    let mut reader = Reader(source.get(12..).unwrap_or_default());
    // Ends with the bytes.
    while let Some((kind, content)) = next_webp_chunk(&mut reader) {
        match &kind {
            b"EXIF" => exif = Some(content),
            b"ICCP" => profile = Some(content),
            _ => {}
        }
    }
    Ok(Header {
        size,
        orientation: exif
            .and_then(orientation_of)
            .unwrap_or(Orientation::NoTransforms),
        profile: profile.map(<[u8]>::to_vec),
        exif: exif.map(<[u8]>::to_vec),
        reader: if decoder.has_animation() {
            super::Reader::Webp
        } else {
            check_webp(source, size)?;
            super::Reader::Image(Box::new(decoder))
        },
    })
}

/// The decoder takes memory for the size that the pixels' own header says, before it compares.
pub(super) fn check_webp(source: &[u8], size: (u32, u32)) -> Result<(), ImageError> {
    let mut reader = Reader(source.get(12..).unwrap_or_default());
    // Ends with the bytes.
    while let Some((kind, content)) = next_webp_chunk(&mut reader) {
        let found = match (&kind, content) {
            // RFC 6386 §9.1: a frame's tag, its start code, 14 bits a side.
            (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) => (
                u32::from(u16::from_le_bytes([*a, *b]) & 0x3fff),
                u32::from(u16::from_le_bytes([*c, *d]) & 0x3fff),
            ),
            // RFC 9649 §3.4: the same less one, packed.
            (b"VP8L", [0x2f, a, b, c, d, ..]) => {
                let bits = u32::from_le_bytes([*a, *b, *c, *d]);
                ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
            }
            (b"VP8 " | b"VP8L", _) => return Err(bad("its pixels have no header")),
            _ => continue,
        };
        if found != size {
            return Err(bad("its pixels are of another size than it says"));
        }
    }
    Ok(())
}

pub(super) fn open_bmp(source: &[u8]) -> Result<Header<'_>, ImageError> {
    header(BmpDecoder::new(Cursor::new(source)).map_err(refusal)?)
}

pub(super) fn open_tiff(source: &[u8]) -> Result<Header<'_>, ImageError> {
    if !is_sound_tiff(source) {
        return Err(bad("values of its tags are missing"));
    }
    let mut decoder = TiffDecoder::new(Cursor::new(source)).map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    let mut bounds = Limits::default();
    bounds.max_alloc = Some(tiff_bytes(&decoder, u64::from(width) * u64::from(height)));
    decoder.set_limits(bounds).map_err(refusal)?;
    let is_cmyk = matches!(
        decoder.original_color_type(),
        ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16
    );
    let header = header(decoder)?;
    if is_cmyk && header.profile.is_some() {
        return Err(unsupported("a CMYK TIFF with a profile"));
    }
    Ok(header)
}

fn header<'a>(mut decoder: impl ImageDecoder + 'a) -> Result<Header<'a>, ImageError> {
    // Metadata that cannot be read is metadata that nobody else reads either.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().unwrap_or_default();
    let exif = decoder.exif_metadata().unwrap_or_default();
    Ok(Header {
        size: decoder.dimensions(),
        orientation,
        profile,
        exif,
        reader: super::Reader::Image(Box::new(decoder)),
    })
}

fn tiff_bytes(decoder: &dyn ImageDecoder, pixels: u64) -> u64 {
    // CMYK has one channel more than what is made of it.
    decoder
        .total_bytes()
        .saturating_mul(2)
        .saturating_add(pixels)
        .saturating_add(TIFF_ASIDE_BYTES)
}

/// The decoder's output, the same at eight bits where that is a copy, and what it holds meanwhile.
pub(super) fn decoding_bytes(decoder: &dyn ImageDecoder, pixels: u64, format: SourceFormat) -> u64 {
    /// Of lossy WebP planes at half resolution and alpha, of lossless WebP all that is packed.
    const WEBP_BYTES: u64 = 5;
    let output = decoder.total_bytes();
    let converted = match decoder.color_type() {
        ColorType::L8 | ColorType::Rgb8 | ColorType::Rgba8 => 0,
        ColorType::L16 => pixels,
        ColorType::Rgb16 | ColorType::Rgb32F => pixels.saturating_mul(3),
        _ => pixels.saturating_mul(4),
    };
    let meanwhile = match format {
        SourceFormat::Webp => pixels.saturating_mul(WEBP_BYTES),
        SourceFormat::Tiff => tiff_bytes(decoder, pixels).saturating_sub(output),
        SourceFormat::Png
        | SourceFormat::Bmp
        | SourceFormat::Jpeg
        | SourceFormat::Gif
        | SourceFormat::Avif => 0,
    };
    output.saturating_add(converted.max(meanwhile))
}

pub(super) fn decode(decoder: Box<dyn ImageDecoder + '_>) -> Result<Raster, ImageError> {
    let (width, height) = decoder.dimensions();
    let decoded = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let colour = decoded.color();
    let (channels, pixels) = match (colour.has_color(), colour.has_alpha()) {
        (_, true) => (Channels::Rgba, decoded.into_rgba8().into_raw()),
        (true, false) => (Channels::Rgb, decoded.into_rgb8().into_raw()),
        (false, false) => (Channels::Grey, decoded.into_luma8().into_raw()),
    };
    checked(Raster {
        width,
        height,
        channels,
        pixels,
    })
}

fn refusal(error: image::ImageError) -> ImageError {
    match error {
        image::ImageError::Limits(_) => ImageError::TooLarge {
            what: "what decoding would take",
        },
        image::ImageError::Unsupported(_) => unsupported("a feature of its format"),
        other => bad(other),
    }
}
