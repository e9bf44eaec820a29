//! What of an animation's canvas changes from frame to frame, so that only that is written.

use super::super::raster::{Channels, Raster};
use super::indexed::Colour;

/// A part of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A frame with four channels, whatever it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<Colour>,
}

impl Canvas {
    pub(super) fn of(raster: &Raster) -> Self {
        let bytes = &raster.pixels;
        let pixels = match raster.channels {
            Channels::Grey => bytes.iter().map(|v| [*v, *v, *v, u8::MAX]).collect(),
            Channels::Rgb => {
                let (triples, _) = bytes.as_chunks();
                let opaque = |[r, g, b]: &[u8; 3]| [*r, *g, *b, u8::MAX];
                triples.iter().map(opaque).collect()
            }
            Channels::Rgba => bytes.as_chunks().0.to_vec(),
            Channels::Cmyk => {
                let (triples, rest) = (raster.rgb_on_white(), u8::MAX);
                let opaque = |[r, g, b]: &[u8; 3]| [*r, *g, *b, rest];
                triples.as_chunks().0.iter().map(opaque).collect()
            }
        };
        Self {
            width: raster.width,
            height: raster.height,
            pixels,
        }
    }

    pub(super) fn whole(&self) -> Area {
        Area {
            left: 0,
            top: 0,
            width: self.width,
            height: self.height,
        }
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = &[Colour]> + ExactSizeIterator {
        let width = usize::try_from(self.width).unwrap_or(usize::MAX).max(1);
        self.pixels.chunks_exact(width)
    }

    /// The smallest area outside of which `self` equals `before`, which is as large; one pixel when
    /// nothing changed. Its left and top are multiples of `grid`.
    pub(super) fn changed_since(&self, before: &Self, grid: u32) -> Area {
        let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
        for ((row, old), y) in self.rows().zip(before.rows()).zip(0_u32..) {
            let differs = |(new, old): (&Colour, &Colour)| new != old;
            let Some(first) = row.iter().zip(old).position(differs) else {
                continue;
            };
            let last = row.iter().zip(old).rposition(differs).unwrap_or(first);
            left = left.min(u32::try_from(first).unwrap_or(0));
            right = right.max(u32::try_from(last).unwrap_or(u32::MAX - 1));
            top = top.min(y);
            bottom = y;
        }
        if left == u32::MAX {
            (left, right, top, bottom) = (0, 0, 0, 0);
        }
        (left, top) = (left - left % grid, top - top % grid);
        Area {
            left,
            top,
            width: right - left + 1,
            height: bottom - top + 1,
        }
    }

    /// The pixels of an area that lies inside, row by row.
    pub(super) fn part(&self, area: Area) -> Vec<Colour> {
        let size = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
        let rows = self.rows().skip(size(area.top)).take(size(area.height));
        rows.flat_map(|row| row.iter().skip(size(area.left)).take(size(area.width)))
            .copied()
            .collect()
    }

    /// Whether something visible of `before` is clear now: what neither painting over nor blending does.
    pub(super) fn clears(&self, before: &Self) -> bool {
        let pairs = self.pixels.iter().zip(&before.pixels);
        pairs.into_iter().any(|(new, old)| new[3] < old[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(rows: &[&str]) -> Canvas {
        let pixels = rows.concat();
        Canvas {
            width: u32::try_from(rows[0].len()).unwrap(),
            height: u32::try_from(rows.len()).unwrap(),
            pixels: pixels.bytes().map(|byte| [byte, 0, 0, 255]).collect(),
        }
    }

    fn area(left: u32, top: u32, width: u32, height: u32) -> Area {
        Area {
            left,
            top,
            width,
            height,
        }
    }

    #[test]
    fn only_what_changed_is_in_the_area() {
        let before = canvas(&["......", "......", "......", "......"]);
        let after = canvas(&["......", "......", "...xx.", "..x..."]);
        let changed = after.changed_since(&before, 1);
        assert_eq!(changed, area(2, 2, 3, 2));
        assert_eq!(after.part(changed), canvas(&[".xx", "x.."]).pixels);
        let odd = canvas(&["......", ".x....", "......", "......"]);
        assert_eq!(odd.changed_since(&before, 1), area(1, 1, 1, 1));
        assert_eq!(odd.changed_since(&before, 2), area(0, 0, 2, 2));
        assert_eq!(before.changed_since(&before, 2), area(0, 0, 1, 1));
    }

    #[test]
    fn vanishing_is_noticed() {
        let before = canvas(&["ab"]);
        let mut after = before.clone();
        assert!(!after.clears(&before));
        after.pixels[1][3] = 0;
        assert!(after.clears(&before));
        assert!(!before.clears(&after));
    }

    #[test]
    fn every_kind_of_pixel_gets_four_channels() {
        let of = |channels, pixels: &[u8]| {
            let raster = Raster {
                width: 1,
                height: 1,
                channels,
                pixels: pixels.to_vec(),
            };
            Canvas::of(&raster).pixels
        };
        assert_eq!(of(Channels::Grey, &[7]), [[7, 7, 7, 255]]);
        assert_eq!(of(Channels::Rgb, &[1, 2, 3]), [[1, 2, 3, 255]]);
        assert_eq!(of(Channels::Rgba, &[1, 2, 3, 4]), [[1, 2, 3, 4]]);
    }
}
