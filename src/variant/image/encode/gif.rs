use ::gif::{DisposalMethod, Encoder, Frame, Repeat};

use super::super::error::ImageError;
use super::super::film::Film;
use super::changes::{Area, Canvas};
use super::failed;
use super::indexed::{CLEAR, Colour, Indexed, exactly, nearly};

/// Choosing and dithering colours takes some 60 ms a megapixel, over all frames.
const GIF_PIXELS_MAX: u64 = 60_000_000;

/// Still or animated; half transparent becomes opaque or clear.
pub(super) fn encode(film: &Film) -> Result<Vec<u8>, ImageError> {
    let first = film.first().ok_or_else(|| failed("no frames"))?;
    let too_large = |what| ImageError::TooLarge { what };
    let side = |pixels| u16::try_from(pixels).map_err(|_| too_large("its longer side, for GIF"));
    let frames = film.frames.len() as u64;
    if first.pixel_count().saturating_mul(frames) > GIF_PIXELS_MAX {
        return Err(too_large("its number of pixels over all frames, for GIF"));
    }
    let (width, height) = (side(first.width)?, side(first.height)?);
    // Each frame has its own palette: the frames' colours differ more than the bytes of it.
    let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(failed)?;
    if film.is_animated() {
        // The number in the file is that of repetitions after the first time; without it there are none.
        match film.repeats {
            0 => encoder.set_repeat(Repeat::Infinite),
            1 => Ok(()),
            times => encoder.set_repeat(Repeat::Finite(times - 1)),
        }
        .map_err(failed)?;
    }

    let mut clock = Clock::default();
    let mut before: Option<Canvas> = None;
    let mut canvases = film
        .frames
        .iter()
        .map(|frame| Canvas::of(&frame.raster))
        .peekable();
    for frame in &film.frames {
        let Some(canvas) = canvases.next() else { break };
        // Only disposing of a frame makes something clear again, and only where the frame was.
        let is_cleared = canvases.peek().is_some_and(|next| next.clears(&canvas));
        let area = match &before {
            Some(before) if !is_cleared => canvas.changed_since(before, 1),
            _ => canvas.whole(),
        };
        let indexed = indexed(&canvas, before.as_ref(), area)?;
        let frame = written(
            &indexed,
            area,
            clock.centiseconds(frame.milliseconds),
            is_cleared,
        )?;
        encoder.write_frame(&frame).map_err(failed)?;
        before = (!is_cleared).then_some(canvas);
    }
    encoder.into_inner().map_err(failed)
}

/// The pixels of an area; those that stay as they were are clear.
fn indexed(canvas: &Canvas, before: Option<&Canvas>, area: Area) -> Result<Indexed, ImageError> {
    let mut pixels = canvas.part(area);
    if let Some(before) = before {
        let old = before.part(area);
        for (pixel, old) in pixels.iter_mut().zip(&old) {
            if pixel == old {
                *pixel = CLEAR;
            }
        }
    }
    let two_kinds = |[r, g, b, alpha]: &Colour| match *alpha {
        128.. => [*r, *g, *b, u8::MAX],
        _ => CLEAR,
    };
    match exactly(pixels.iter().map(two_kinds), 256) {
        Some(indexed) => Ok(indexed),
        None => nearly(&pixels, area.width, area.height, 255),
    }
}

fn written(
    indexed: &Indexed,
    area: Area,
    delay: u16,
    is_cleared: bool,
) -> Result<Frame<'_>, ImageError> {
    let side = |pixels| u16::try_from(pixels).map_err(failed);
    let clear = indexed.palette.iter().position(|[.., alpha]| *alpha == 0);
    Ok(Frame {
        delay,
        dispose: if is_cleared {
            DisposalMethod::Background
        } else {
            DisposalMethod::Keep
        },
        transparent: clear.map(u8::try_from).transpose().map_err(failed)?,
        left: side(area.left)?,
        top: side(area.top)?,
        width: side(area.width)?,
        height: side(area.height)?,
        palette: Some(
            indexed
                .palette
                .iter()
                .flat_map(|[r, g, b, _]| [*r, *g, *b])
                .collect(),
        ),
        buffer: indexed.indices.as_slice().into(),
        ..Frame::default()
    })
}

/// Times in hundredths of a second whose sum does not drift from that of the milliseconds.
#[derive(Default)]
struct Clock {
    milliseconds: u64,
    centiseconds: u64,
}

impl Clock {
    fn centiseconds(&mut self, milliseconds: u32) -> u16 {
        self.milliseconds = self.milliseconds.saturating_add(u64::from(milliseconds));
        let due = (self.milliseconds.saturating_add(5) / 10).saturating_sub(self.centiseconds);
        let delay = u16::try_from(due).unwrap_or(u16::MAX);
        self.centiseconds = self.centiseconds.saturating_add(u64::from(delay));
        delay
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::AnimationDecoder as _;
    use image::codecs::gif::GifDecoder;

    use super::super::super::film::Frame;
    use super::super::super::raster::{Channels, Raster};
    use super::*;

    fn byte(number: u32) -> u8 {
        u8::try_from(number % 256).unwrap()
    }

    fn frame(step: u32, is_clear: bool, milliseconds: u32) -> Frame {
        let pixels = (0..30 * 20_u32).flat_map(|n| {
            let (x, y) = (n % 30, n / 30);
            let is_square = (step * 4..step * 4 + 6).contains(&x) && (5..9).contains(&y);
            match (is_square, is_clear) {
                (true, _) => [250, 30, 30, 255],
                (false, true) => CLEAR,
                (false, false) => [byte(x % 3 * 60), byte(y % 5 * 40), 90, 255],
            }
        });
        Frame {
            raster: Raster {
                width: 30,
                height: 20,
                channels: Channels::Rgba,
                pixels: pixels.collect(),
            },
            milliseconds,
        }
    }

    #[track_caller]
    fn check(film: &Film, delays: &[u32]) {
        let file = encode(film).unwrap();
        let frames = GifDecoder::new(Cursor::new(&file)).unwrap().into_frames();
        let frames = frames.collect_frames().unwrap();
        let shown: Vec<_> = frames
            .iter()
            .map(|frame| frame.delay().numer_denom_ms().0 / frame.delay().numer_denom_ms().1)
            .collect();
        assert_eq!(shown, delays);
        for (shown, made) in frames.iter().zip(&film.frames) {
            let (shown, _) = shown.buffer().as_raw().as_chunks::<4>();
            let made = Canvas::of(&made.raster).pixels;
            assert!(
                shown
                    .iter()
                    .zip(&made)
                    .all(|(a, b)| a == b || a[3] == 0 && b[3] == 0)
            );
        }
    }

    #[test]
    fn few_colours_come_back_exactly_frame_by_frame() {
        for is_clear in [false, true] {
            let frames = [(0, 33), (1, 33), (1, 33), (4, 700)];
            let frames = frames.map(|(step, time)| frame(step, is_clear, time));
            let film = Film {
                frames: frames.to_vec(),
                repeats: 0,
            };
            check(&film, &[30, 40, 30, 700]);
        }
    }

    #[test]
    fn the_number_of_loops_is_written() {
        let loops = |repeats| {
            let film = Film {
                frames: vec![frame(0, false, 100), frame(1, false, 100)],
                repeats,
            };
            let file = encode(&film).unwrap();
            let at = file.windows(11).position(|bytes| bytes == b"NETSCAPE2.0");
            at.map(|at| u16::from_le_bytes([file[at + 13], file[at + 14]]))
        };
        assert_eq!(loops(0), Some(0));
        assert_eq!(loops(1), None);
        assert_eq!(loops(5), Some(4));
    }

    #[test]
    fn many_colours_are_reduced() {
        let pixels = (0..100 * 90_u32).flat_map(|n| [byte(n % 100 * 2), byte(n / 100 * 2), 50]);
        let raster = Raster {
            width: 100,
            height: 90,
            channels: Channels::Rgb,
            pixels: pixels.collect(),
        };
        let file = encode(&Film::still(raster.clone())).unwrap();
        let back = image::load_from_memory(&file).unwrap().into_rgb8();
        assert_eq!(back.dimensions(), (100, 90));
        let off = back.as_raw().iter().zip(&raster.pixels);
        let off: u64 = off.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(off / 27_000 < 8, "{off}");
    }

    #[test]
    fn too_many_pixels_are_refused() {
        let frame = frame(0, false, 10);
        let film = Film {
            frames: vec![frame; 100_001],
            repeats: 0,
        };
        assert!(matches!(encode(&film), Err(ImageError::TooLarge { .. })));
    }
}
