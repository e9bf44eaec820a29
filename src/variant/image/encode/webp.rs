use webp::{Encoder, WebPConfig};

use super::super::error::ImageError;
use super::super::film::Film;
use super::super::raster::{Channels, Raster};
use super::changes::{Area, Canvas};
use super::indexed::{CLEAR, Colour};
use super::riff::{File, HAS_ALPHA, HAS_ANIMATION, HAS_EXIF, U24_MAX, picture_chunks, u24};
use super::{Effort, Output, failed};

/// The format has 14 bits for a side.
pub(in super::super) const WEBP_SIDE_MAX: u32 = 16_383;

/// Flags of an `ANMF` chunk.
const DO_NOT_BLEND: u8 = 0x02;

/// A still picture, or an animation of frames that hold only what changes.
pub(super) fn encode(
    film: &Film,
    output: &Output,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    let first = film.first().ok_or_else(|| failed("no frames"))?;
    if first.width.max(first.height) > WEBP_SIDE_MAX {
        return Err(ImageError::TooLarge {
            what: "its longer side, for WebP",
        });
    }
    let pixels = first.pixel_count().saturating_mul(film.frames.len() as u64);
    let config = config(output, pixels)?;
    if film.is_animated() {
        animation(film, output.is_lossless, &config, exif)
    } else {
        with_exif(still(first, &config)?, first, exif)
    }
}

/// The method is the trouble taken, 0 to 6. Figures of CPU time at quality 78, for a megapixel: method 1
/// 12 ms, 2 17 ms, 4 50 ms; lossless an order more, by content.
fn config(output: &Output, pixels: u64) -> Result<WebPConfig, ImageError> {
    let mut config = WebPConfig::new().map_err(|()| failed("libwebp has no configuration"))?;
    config.thread_level = 0;
    if output.is_lossless {
        config.lossless = 1;
        // Effort, not fidelity.
        (config.quality, config.method) = match (output.effort, pixels) {
            (Effort::Best, 0..=1_000_000) => (75.0, 4),
            (Effort::Best, 1_000_001..=8_000_000) | (Effort::First, 0..=1_000_000) => (50.0, 3),
            (Effort::First, 1_000_001..=8_000_000) => (20.0, 1),
            (Effort::First | Effort::Best, _) => (0.0, 0),
        };
    } else {
        config.quality = f32::from(output.quality);
        config.method = match (output.effort, pixels) {
            (Effort::Best, 0..=4_000_000) => 5,
            (Effort::Best, 4_000_001..=32_000_000) | (Effort::First, 0..=4_000_000) => 4,
            (Effort::First, 4_000_001..=32_000_000) => 2,
            (Effort::First | Effort::Best, _) => 0,
        };
    }
    Ok(config)
}

fn still(raster: &Raster, config: &WebPConfig) -> Result<Vec<u8>, ImageError> {
    match raster.channels {
        Channels::Grey | Channels::Cmyk => {
            rgb(&raster.rgb_on_white(), raster.width, raster.height, config)
        }
        Channels::Rgb => rgb(&raster.pixels, raster.width, raster.height, config),
        Channels::Rgba => rgba(&raster.pixels, raster.width, raster.height, config),
    }
}

fn rgb(bytes: &[u8], width: u32, height: u32, config: &WebPConfig) -> Result<Vec<u8>, ImageError> {
    let made = Encoder::from_rgb(bytes, width, height).encode_advanced(config);
    made.map(|file| file.to_vec())
        .map_err(|error| failed(format_args!("{error:?}")))
}

fn rgba(bytes: &[u8], width: u32, height: u32, config: &WebPConfig) -> Result<Vec<u8>, ImageError> {
    let made = Encoder::from_rgba(bytes, width, height).encode_advanced(config);
    made.map(|file| file.to_vec())
        .map_err(|error| failed(format_args!("{error:?}")))
}

fn with_exif(still: Vec<u8>, raster: &Raster, exif: Option<&[u8]>) -> Result<Vec<u8>, ImageError> {
    let Some(exif) = exif else {
        return Ok(still);
    };
    let (chunks, has_alpha) = picture_chunks(&still)?;
    let flags = HAS_EXIF | if has_alpha { HAS_ALPHA } else { 0 };
    let mut file = File::new(flags, raster.width, raster.height);
    file.chunks(&chunks);
    file.chunk(*b"EXIF", exif);
    file.finish()
}

/// Not by libwebp's own encoder of animations: its safe wrapper loses the time of the last frame, and this
/// needs two frames in memory, not all.
fn animation(
    film: &Film,
    is_lossless: bool,
    config: &WebPConfig,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    let mut frames = Vec::with_capacity(film.frames.len());
    let mut before: Option<Canvas> = None;
    let mut has_any_alpha = false;
    for frame in &film.frames {
        let canvas = Canvas::of(&frame.raster);
        let (area, pixels, flags) = match &before {
            None => (canvas.whole(), canvas.pixels.clone(), DO_NOT_BLEND),
            Some(before) => difference(before, &canvas, is_lossless),
        };
        let bytes = pixels.as_flattened();
        let (chunks, has_alpha) =
            picture_chunks(&if pixels.iter().all(|[.., alpha]| *alpha == u8::MAX) {
                let opaque: Vec<u8> = pixels
                    .iter()
                    .flat_map(|[r, g, b, _]| [*r, *g, *b])
                    .collect();
                rgb(&opaque, area.width, area.height, config)?
            } else {
                rgba(bytes, area.width, area.height, config)?
            })?;
        has_any_alpha |= has_alpha;
        frames.push(part(area, frame.milliseconds, flags, &chunks));
        before = Some(canvas);
    }
    let first = film.first().ok_or_else(|| failed("no frames"))?;
    let flags = HAS_ANIMATION
        | if has_any_alpha { HAS_ALPHA } else { 0 }
        | if exif.is_some() { HAS_EXIF } else { 0 };
    let mut file = File::new(flags, first.width, first.height);
    let [low, high] = film.repeats.to_le_bytes();
    file.chunk(*b"ANIM", &[0, 0, 0, 0, low, high]);
    for frame in frames {
        file.chunk(*b"ANMF", &frame);
    }
    if let Some(exif) = exif {
        file.chunk(*b"EXIF", exif);
    }
    file.finish()
}

/// Where the canvas changed, with which pixels and how they go onto it.
fn difference(before: &Canvas, after: &Canvas, is_lossless: bool) -> (Area, Vec<Colour>, u8) {
    // Places are written halved.
    let area = after.changed_since(before, 2);
    let mut pixels = after.part(area);
    let old = before.part(area);
    let same = |(new, old): (&Colour, &Colour)| new == old;
    let is_blendable = pixels
        .iter()
        .zip(&old)
        .all(|pair| same(pair) || pair.0[3] == u8::MAX);
    // Lossy colours would smear over the edge of what is clear.
    if !is_lossless || !is_blendable || pixels.iter().zip(&old).all(same) {
        return (area, pixels, DO_NOT_BLEND);
    }
    for (new, old) in pixels.iter_mut().zip(&old) {
        if new == old {
            *new = CLEAR;
        }
    }
    (area, pixels, 0)
}

fn part(area: Area, milliseconds: u32, flags: u8, chunks: &[u8]) -> Vec<u8> {
    let numbers = [
        area.left / 2,
        area.top / 2,
        area.width.saturating_sub(1),
        area.height.saturating_sub(1),
        milliseconds.min(U24_MAX),
    ];
    let mut content: Vec<u8> = numbers.into_iter().flat_map(u24).collect();
    content.push(flags);
    content.extend_from_slice(chunks);
    content
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::AnimationDecoder as _;
    use image::codecs::webp::WebPDecoder;

    use super::super::super::super::config::ImageFormat;
    use super::super::super::film::Frame;
    use super::*;

    fn output(is_lossless: bool, effort: Effort) -> Output {
        Output {
            format: ImageFormat::Webp,
            quality: 90,
            is_lossless,
            is_progressive: false,
            effort,
        }
    }

    /// A square of four pixels that moves over a gradient, or over nothing.
    fn frame(step: u32, is_clear: bool) -> Raster {
        let pixels = (0..24 * 20_u32).flat_map(|n| {
            let (x, y) = (n % 24, n / 24);
            let is_square = (step * 3..step * 3 + 4).contains(&x) && (5..9).contains(&y);
            match (is_square, is_clear) {
                (true, _) => [250, 30, 30, 255],
                (false, true) => [0, 0, 0, 0],
                (false, false) => [
                    u8::try_from(x * 4).unwrap(),
                    u8::try_from(y * 6).unwrap(),
                    90,
                    255,
                ],
            }
        });
        Raster {
            width: 24,
            height: 20,
            channels: Channels::Rgba,
            pixels: pixels.collect(),
        }
    }

    fn film(is_clear: bool) -> Film {
        let times = [100, 20, 33, 1000];
        let frames = times.into_iter().zip([0, 1, 1, 4]);
        let frames = frames.map(|(milliseconds, step)| Frame {
            raster: frame(step, is_clear),
            milliseconds,
        });
        Film {
            frames: frames.collect(),
            repeats: 3,
        }
    }

    #[track_caller]
    fn check(film: &Film, output: &Output, off_max: u8) {
        let file = encode(film, output, None).unwrap();
        let decoder = WebPDecoder::new(Cursor::new(&file)).unwrap();
        let loops = match decoder.loop_count() {
            image::metadata::LoopCount::Finite(count) => count.get(),
            image::metadata::LoopCount::Infinite => 0,
        };
        assert_eq!(loops, u32::from(film.repeats));
        let frames = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(frames.len(), film.frames.len());
        for (shown, made) in frames.iter().zip(&film.frames) {
            let (numerator, denominator) = shown.delay().numer_denom_ms();
            assert_eq!(numerator / denominator, made.milliseconds);
            let (shown, _) = shown.buffer().as_raw().as_chunks::<4>();
            for (shown, made) in shown.iter().zip(&Canvas::of(&made.raster).pixels) {
                let is_near = shown
                    .iter()
                    .zip(made)
                    .all(|(a, b)| a.abs_diff(*b) <= off_max);
                assert!(
                    is_near || made[3] == 0 && shown[3] == 0,
                    "{shown:?} {made:?}"
                );
            }
        }
    }

    #[test]
    fn animations_come_back_with_their_times_and_loops() {
        for is_clear in [false, true] {
            let film = film(is_clear);
            // image's decoder rounds down when it blends what is clear; libwebp's takes the pixel beneath.
            check(&film, &output(true, Effort::First), 1);
            check(&film, &output(true, Effort::Best), 1);
        }
        check(&film(false), &output(false, Effort::First), 140);
    }

    #[test]
    fn a_still_part_costs_nothing() {
        let size = |film: &Film| {
            encode(film, &output(true, Effort::First), None)
                .unwrap()
                .len()
        };
        let mut film = film(false);
        let all = size(&film);
        film.frames.truncate(1);
        film.frames.push(film.frames[0].clone());
        // Two frames of pixels fewer, but little is gone: they were small.
        assert!(all < size(&film) + 500);
    }

    #[test]
    fn exif_goes_in_beside_alpha() {
        let film = Film::still(frame(2, true));
        for is_lossless in [true, false] {
            let exif = b"II*\0\x08\0\0\0\0\0\0\0\0\0";
            let file = encode(&film, &output(is_lossless, Effort::Best), Some(exif)).unwrap();
            assert_eq!(&file[12..21], b"VP8X\x0A\0\0\0\x18");
            assert!(file.windows(exif.len()).any(|bytes| bytes == exif));
            let back = image::load_from_memory(&file).unwrap().into_rgba8();
            assert_eq!(back.dimensions(), (24, 20));
            assert_eq!((back.get_pixel(0, 0)[3], back.get_pixel(8, 7)[3]), (0, 255));
        }
    }

    #[test]
    fn a_side_of_15_bits_is_refused() {
        let raster = Raster {
            width: WEBP_SIDE_MAX + 1,
            height: 1,
            channels: Channels::Grey,
            pixels: vec![0; 16_384],
        };
        assert!(encode(&Film::still(raster), &output(false, Effort::First), None).is_err());
    }
}
