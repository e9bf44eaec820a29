use std::io::Cursor;
use std::num::NonZeroU64;

use image::metadata::Orientation;
use image_webp::WebPDecoder;

use super::super::error::ImageError;
use super::super::film::Film;
use super::super::sniff::{Reader, Reel, next_webp_chunk};
use super::canvas::{Blend, Canvas, Disposal, Patch};
use super::{Check, Header, as_count, as_length, bad, pixels_of, unsupported, zeroed};

/// What a GIF may say beside its frames, however small it is.
const ASIDE_BYTES_MIN: u64 = 64 << 10;

/// The canvas, a copy that a frame may bring back, a frame as it is stored and as it is decoded; and every
/// frame that has been shown.
pub(super) fn decoding_bytes(pixels: u64, frames: u64) -> u64 {
    const RGBA: u64 = 4;
    const OTHERS: u64 = 4;
    pixels
        .saturating_mul(frames.saturating_add(OTHERS))
        .saturating_mul(RGBA)
}

/// A GIF has no profile and says nothing that a result could carry.
pub(super) fn open_gif(source: &[u8]) -> Result<Header<'_>, ImageError> {
    let size = source.get(6..10).and_then(<[u8]>::first_chunk::<4>);
    let Some([a, b, c, d]) = size.copied() else {
        return Err(bad("it ends before its size"));
    };
    Ok(Header {
        reader: super::Reader::Gif,
        size: (
            u32::from(u16::from_le_bytes([a, b])),
            u32::from(u16::from_le_bytes([c, d])),
        ),
        orientation: Orientation::NoTransforms,
        profile: None,
        exif: None,
    })
}

pub(super) fn gif(
    source: &[u8],
    size: (u32, u32),
    reel: Reel,
    check: Check<'_>,
) -> Result<Film, ImageError> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    // It bounds what is said beside the frames, too, of which a small picture may hold more than pixels.
    let most = pixels_of(size).saturating_mul(4);
    let most_aside = most.max(as_count(source.len())).max(ASIDE_BYTES_MIN);
    if let Some(most) = NonZeroU64::new(most_aside) {
        options.set_memory_limit(gif::MemoryLimit::Bytes(most));
    }
    let mut decoder = options.read_info(source).map_err(bad)?;
    let mut canvas = Canvas::new(size)?;
    for _ in 0..reel.frames {
        check()?;
        let frame = match decoder.next_frame_info() {
            Ok(Some(frame)) => frame.clone(),
            Ok(None) => break,
            Err(error) => return shown_so_far(canvas, reel, bad(error)),
        };
        let bytes = as_count(decoder.buffer_size());
        // A frame may be larger than the canvas, but then nobody knows what should be seen.
        if bytes > most {
            return shown_so_far(canvas, reel, bad("a frame is larger than the picture"));
        }
        let mut pixels = zeroed(bytes)?;
        if let Err(error) = decoder.read_into_buffer(&mut pixels) {
            return shown_so_far(canvas, reel, bad(error));
        }
        canvas.show(&Patch {
            left: u32::from(frame.left),
            top: u32::from(frame.top),
            width: u32::from(frame.width),
            pixels: &pixels,
            blend: Blend::Over,
            disposal: match frame.dispose {
                gif::DisposalMethod::Any | gif::DisposalMethod::Keep => Disposal::Keep,
                gif::DisposalMethod::Background => Disposal::Clear,
                gif::DisposalMethod::Previous => Disposal::Restore,
            },
            // Hundredths of a second.
            milliseconds: u32::from(frame.delay) * 10,
        });
    }
    finished(canvas, reel)
}

pub(super) fn png(
    source: &[u8],
    size: (u32, u32),
    reel: Reel,
    check: Check<'_>,
) -> Result<Film, ImageError> {
    let limits = png::Limits {
        bytes: super::still::PNG_ASIDE_BYTES_MAX,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(source), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(
        png::Transformations::normalize_to_color8() | png::Transformations::ALPHA,
    );
    let mut reader = decoder.read_info().map_err(bad)?;
    let length = reader
        .output_buffer_size()
        .ok_or_else(|| bad("it has no size"))?;
    let mut buffer = zeroed(as_count(length).max(pixels_of(size) * 4))?;
    let mut canvas = Canvas::new(size)?;
    if reader.info().frame_control().is_none() {
        // What stands for all where there is no animation.
        reader.next_frame(&mut buffer).map_err(bad)?;
    }
    for _ in 0..reel.frames {
        check()?;
        let frame = match reader.next_frame(&mut buffer) {
            Ok(frame) => frame,
            Err(error) => return shown_so_far(canvas, reel, bad(error)),
        };
        let Some(control) = reader.info().frame_control().copied() else {
            return shown_so_far(canvas, reel, bad("a frame without its control chunk"));
        };
        let pixels = pixels_of((frame.width, frame.height));
        if frame.color_type == png::ColorType::GrayscaleAlpha {
            spread_grey(&mut buffer, as_length(pixels));
        }
        let is_first = canvas.shown() == 0;
        canvas.show(&Patch {
            left: control.x_offset,
            top: control.y_offset,
            width: frame.width,
            pixels: buffer.get(..as_length(pixels * 4)).unwrap_or_default(),
            blend: match control.blend_op {
                png::BlendOp::Source => Blend::Replace,
                png::BlendOp::Over => Blend::Over,
            },
            disposal: match control.dispose_op {
                png::DisposeOp::None => Disposal::Keep,
                png::DisposeOp::Background => Disposal::Clear,
                // There is nothing before the first frame (PNG, third edition §11.3.6.2).
                png::DisposeOp::Previous if is_first => Disposal::Clear,
                png::DisposeOp::Previous => Disposal::Restore,
            },
            milliseconds: milliseconds(control.delay_num, control.delay_den),
        });
    }
    finished(canvas, reel)
}

/// From grey and alpha to red, green, blue and alpha, from the end so that nothing is overwritten unread.
fn spread_grey(buffer: &mut [u8], pixels: usize) {
    for n in (0..pixels).rev() {
        if let Some([grey, alpha]) = buffer.get(n * 2..n * 2 + 2).and_then(<[u8]>::first_chunk) {
            let pixel = [*grey, *grey, *grey, *alpha];
            if let Some(there) = buffer.get_mut(n * 4..n * 4 + 4) {
                there.copy_from_slice(&pixel);
            }
        }
    }
}

/// PNG, third edition §11.3.6.2: a fraction of a second, whose denominator 0 means 100.
fn milliseconds(numerator: u16, denominator: u16) -> u32 {
    let denominator = if denominator == 0 { 100 } else { denominator };
    (u32::from(numerator) * 1000 + u32::from(denominator) / 2) / u32::from(denominator)
}

/// Each frame is decoded as a picture of its own: the crate's own laying over each other is wrong for
/// frames without alpha that are disposed of (image-webp 0.2.4).
pub(super) fn webp(
    source: &[u8],
    size: (u32, u32),
    reel: Reel,
    check: Check<'_>,
) -> Result<Film, ImageError> {
    let mut canvas = Canvas::new(size)?;
    let mut reader = Reader(source.get(12..).unwrap_or_default());
    // Ends with the frames that are wanted, or with the bytes.
    while let Some((kind, content)) = next_webp_chunk(&mut reader) {
        if &kind != b"ANMF" {
            continue;
        }
        check()?;
        match webp_frame(content, size) {
            Ok((pixels, patch)) => canvas.show(&Patch {
                pixels: &pixels,
                ..patch
            }),
            Err(error) => return shown_so_far(canvas, reel, error),
        }
        if as_count(canvas.shown()) >= u64::from(reel.frames) {
            break;
        }
    }
    finished(canvas, reel)
}

/// Its pixels, and where they go (RFC 9649 §2.7.1.1).
fn webp_frame(content: &[u8], canvas: (u32, u32)) -> Result<(Vec<u8>, Patch<'static>), ImageError> {
    let mut reader = Reader(content);
    let mut number = || {
        reader
            .array()
            .map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    };
    let (Some(left), Some(top), Some(width), Some(height), Some(milliseconds)) =
        (number(), number(), number(), number(), number())
    else {
        return Err(bad("a frame is cut short"));
    };
    let (left, top, width, height) = (left * 2, top * 2, width + 1, height + 1);
    let flags = reader.byte().unwrap_or_default();
    if left + width > canvas.0 || top + height > canvas.1 {
        return Err(unsupported("a WebP with a frame outside its canvas"));
    }
    let file = webp_still(reader.0, (width, height));
    super::still::check_webp(&file, (width, height))?;
    let mut decoder = WebPDecoder::new(Cursor::new(&file)).map_err(bad)?;
    if decoder.dimensions() != (width, height) || decoder.is_animated() {
        return Err(bad("a frame is of another size than it says"));
    }
    let pixels = pixels_of((width, height));
    let has_alpha = decoder.has_alpha();
    let mut buffer = zeroed(pixels * if has_alpha { 4 } else { 3 })?;
    decoder.read_image(&mut buffer).map_err(bad)?;
    if !has_alpha {
        let (triples, _) = buffer.as_chunks::<3>();
        buffer = triples
            .iter()
            .flat_map(|[r, g, b]| [*r, *g, *b, u8::MAX])
            .collect();
    }
    Ok((
        buffer,
        Patch {
            left,
            top,
            width,
            pixels: &[],
            blend: if flags & 2 == 0 {
                Blend::Over
            } else {
                Blend::Replace
            },
            disposal: if flags & 1 == 0 {
                Disposal::Keep
            } else {
                Disposal::Clear
            },
            milliseconds,
        },
    ))
}

/// A frame's chunks as a file: with alpha beside lossy pixels it needs the extended header.
fn webp_still(chunks: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    const HAS_ALPHA: u8 = 0x10;
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    if chunks.starts_with(b"ALPH") {
        file.extend_from_slice(b"VP8X\x0a\0\0\0");
        file.extend_from_slice(&[HAS_ALPHA, 0, 0, 0]);
        for side in [width - 1, height - 1] {
            file.extend_from_slice(side.to_le_bytes().get(..3).unwrap_or_default());
        }
    }
    file.extend_from_slice(chunks);
    let length = u32::try_from(file.len() - 8).unwrap_or(u32::MAX);
    if let Some(there) = file.get_mut(4..8) {
        there.copy_from_slice(&length.to_le_bytes());
    }
    file
}

/// A file that breaks off after its first frame is shown as far as it goes, as browsers do.
fn shown_so_far(canvas: Canvas, reel: Reel, error: ImageError) -> Result<Film, ImageError> {
    if canvas.shown() == 0 {
        return Err(error);
    }
    finished(canvas, reel)
}

fn finished(canvas: Canvas, reel: Reel) -> Result<Film, ImageError> {
    if canvas.shown() == 0 {
        return Err(bad("it has no frames"));
    }
    Ok(canvas.into_film(reel.repeats))
}

#[cfg(test)]
mod tests {
    use super::super::super::sniff::skip_screen;
    use super::super::super::testing;
    use super::*;

    #[test]
    fn a_small_gif_may_say_much() {
        let mut file = testing::gif(&[&testing::corners(4, 4)]);
        let reel = Reel::STILL;
        let silent = gif(&file, (4, 4), reel, &|| Ok(())).unwrap();
        let mut reader = Reader(&file);
        skip_screen(&mut reader).unwrap();
        let start = file.len() - reader.0.len();
        let block = [&[255][..], &[b'x'; 255]].concat();
        let told = [b"\x21\xff\x0bXMP DataXMP", &block.repeat(20)[..], b"\0"].concat();
        file.splice(start..start, told);
        assert_eq!(gif(&file, (4, 4), reel, &|| Ok(())), Ok(silent));
    }

    #[test]
    fn a_frame_is_no_larger_than_its_gif() {
        let file = testing::gif(&[&testing::corners(40, 40)]);
        let found = gif(&file, (4, 4), Reel::STILL, &|| Ok(()));
        assert_eq!(found.unwrap_err().as_str(), "bad-picture");
    }
}
