//! RGB as luma and chroma of ten bits: BT.601, full range, which is how AVIF is understood when nothing else
//! is said (ISO/IEC 23091-4, matrix 6). Ten bits, though eight go in: with rounding at a quarter of the step
//! the encoder needs some 4 % fewer bytes for the same picture.

use super::indexed::Colour;

/// Without gaps between the rows.
pub(super) struct Planes {
    pub(super) luma: Vec<u16>,
    pub(super) blue: Vec<u16>,
    pub(super) red: Vec<u16>,
}

/// Whether colour is kept at full size, or averaged over squares of four pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColourSize {
    Full,
    Halved,
}

/// Ten bits hold four times as much and a little more.
const SCALE: f32 = 1023.0 / 255.0;
const MIDDLE: f32 = 512.0;

impl Planes {
    /// Of rows of `width` pixels; alpha does not count.
    pub(super) fn of(pixels: &[Colour], width: u32, size: ColourSize) -> Self {
        let width = usize::try_from(width).unwrap_or(usize::MAX).max(1);
        let mut planes = Self {
            luma: pixels.iter().map(|pixel| luma(wide(*pixel))).collect(),
            blue: Vec::with_capacity(pixels.len()),
            red: Vec::with_capacity(pixels.len()),
        };
        match size {
            ColourSize::Full => planes.colour(pixels.iter().map(|pixel| wide(*pixel))),
            ColourSize::Halved => {
                for rows in pixels.chunks(width.saturating_mul(2)) {
                    // An odd last row or column is its own neighbour.
                    let (upper, lower) = rows.split_at_checked(width).unwrap_or((rows, rows));
                    let lower = if lower.is_empty() { upper } else { lower };
                    let squares = upper.chunks(2).zip(lower.chunks(2));
                    planes.colour(squares.map(|(upper, lower)| average(upper, lower)));
                }
            }
        }
        planes
    }

    fn colour(&mut self, pixels: impl Iterator<Item = [f32; 3]>) {
        for pixel in pixels {
            let [red, green, blue] = pixel;
            let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
            self.blue
                .push(sample((blue - luma) / 1.772 * SCALE + MIDDLE));
            self.red.push(sample((red - luma) / 1.402 * SCALE + MIDDLE));
        }
    }
}

/// Full range, ten bits.
pub(super) fn alpha(pixels: &[Colour]) -> Vec<u16> {
    let scaled = |[.., alpha]: &Colour| sample(f32::from(*alpha) * SCALE);
    pixels.iter().map(scaled).collect()
}

fn wide([red, green, blue, _]: Colour) -> [f32; 3] {
    [red, green, blue].map(f32::from)
}

fn luma([red, green, blue]: [f32; 3]) -> u16 {
    sample((0.299 * red + 0.587 * green + 0.114 * blue) * SCALE)
}

fn average(upper: &[Colour], lower: &[Colour]) -> [f32; 3] {
    let mut sum = [0.0; 3];
    let mut count = 0.0;
    for pixel in upper.iter().chain(lower) {
        for (sum, value) in sum.iter_mut().zip(wide(*pixel)) {
            *sum += value;
        }
        count += 1.0;
    }
    sum.map(|value| value / f32::max(count, 1.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what ten bits hold; the cast is one instruction"
)]
fn sample(value: f32) -> u16 {
    (value + 0.5).clamp(0.0, 1023.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(luma: u16, blue: u16, red: u16) -> [i32; 3] {
        let (y, cb, cr) = (
            f32::from(luma),
            f32::from(blue) - 512.0,
            f32::from(red) - 512.0,
        );
        [
            y + 1.402 * cr,
            y - 0.344_136 * cb - 0.714_136 * cr,
            y + 1.772 * cb,
        ]
        .map(|value| i32::from(sample(value / SCALE)))
    }

    #[test]
    fn every_colour_comes_back() {
        let steps = || (0..=255_u8).step_by(15);
        for (r, g) in steps().flat_map(|r| steps().map(move |g| (r, g))) {
            for b in steps() {
                let planes = Planes::of(&[[r, g, b, 255]], 1, ColourSize::Full);
                let shown = back(planes.luma[0], planes.blue[0], planes.red[0]);
                assert_eq!(shown, [r, g, b].map(i32::from));
            }
        }
    }

    #[test]
    fn colour_is_averaged_and_odd_edges_are_kept() {
        let row = [[0, 0, 0, 255], [200, 0, 0, 255], [40, 80, 120, 255]];
        let pixels = [row, row, row].concat();
        let planes = Planes::of(&pixels, 3, ColourSize::Halved);
        assert_eq!(
            (planes.luma.len(), planes.blue.len(), planes.red.len()),
            (9, 4, 4)
        );
        let half = Planes::of(&[[100, 0, 0, 255]], 1, ColourSize::Full);
        assert_eq!((planes.blue[0], planes.red[0]), (half.blue[0], half.red[0]));
        assert_eq!((planes.blue[2], planes.red[2]), (half.blue[0], half.red[0]));
        let edge = Planes::of(&[[40, 80, 120, 255]], 1, ColourSize::Full);
        assert_eq!((planes.blue[3], planes.red[3]), (edge.blue[0], edge.red[0]));
    }

    #[test]
    fn alpha_has_the_full_range() {
        assert_eq!(alpha(&[[9, 9, 9, 0], [0, 0, 0, 255]]), [0, 1023]);
    }
}
