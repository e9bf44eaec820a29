use image::metadata::Orientation;

use super::super::operations::{Flip, Quarters};
use super::super::raster::{Channels, Raster};
use super::plan::Part;

/// One of the eight ways of EXIF (CIPA DC-008 §4.6.4) as: swap rows and columns of the result, then mirror
/// the place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Turn {
    swaps: bool,
    mirrors_x: bool,
    mirrors_y: bool,
}

impl Turn {
    pub(in super::super) fn of(orientation: Orientation) -> Self {
        let number = orientation.to_exif();
        Self {
            swaps: matches!(number, 5..=8),
            mirrors_x: matches!(number, 2 | 3 | 7 | 8),
            mirrors_y: matches!(number, 3 | 4 | 6 | 7),
        }
    }

    /// The turn that a URL asks for: first a rotation, then a mirror.
    pub(in super::super) fn asked(rotate: Quarters, flip: Flip) -> Self {
        let rotated = Self::of(match rotate {
            Quarters::None => Orientation::NoTransforms,
            Quarters::One => Orientation::Rotate90,
            Quarters::Two => Orientation::Rotate180,
            Quarters::Three => Orientation::Rotate270,
        });
        rotated.then(Self {
            swaps: false,
            mirrors_x: matches!(flip, Flip::Horizontal | Flip::Both),
            mirrors_y: matches!(flip, Flip::Vertical | Flip::Both),
        })
    }

    /// This one and then another, as one.
    pub(in super::super) fn then(self, next: Self) -> Self {
        // The next one's mirrors speak of our result, whose axes may be exchanged against our source's.
        let (mirrors_x, mirrors_y) = if self.swaps {
            (next.mirrors_y, next.mirrors_x)
        } else {
            (next.mirrors_x, next.mirrors_y)
        };
        Self {
            swaps: self.swaps != next.swaps,
            mirrors_x: self.mirrors_x != mirrors_x,
            mirrors_y: self.mirrors_y != mirrors_y,
        }
    }

    /// Where in a source of that size a part of the result comes from.
    pub(in super::super) fn part(self, seen: Part, (width, height): (u32, u32)) -> Part {
        let mut part = seen;
        if self.swaps {
            (part.left, part.top) = (seen.top, seen.left);
            (part.width, part.height) = (seen.height, seen.width);
        }
        if self.mirrors_x {
            part.left = f64::from(width) - part.left - part.width;
        }
        if self.mirrors_y {
            part.top = f64::from(height) - part.top - part.height;
        }
        part
    }

    /// Whether rows become columns.
    pub(in super::super) fn swaps_sides(self) -> bool {
        self.swaps
    }

    /// Width and height as seen, from those stored, or the other way round.
    pub(in super::super) fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps {
            (height, width)
        } else {
            (width, height)
        }
    }

    pub(in super::super) fn apply(self, source: Raster) -> Raster {
        if self == Self::of(Orientation::NoTransforms) {
            return source;
        }
        let pixels = match source.channels {
            Channels::Grey => self.turned::<1>(&source),
            Channels::Rgb => self.turned::<3>(&source),
            Channels::Rgba | Channels::Cmyk => self.turned::<4>(&source),
        };
        let (width, height) = self.size((source.width, source.height));
        Raster {
            width,
            height,
            channels: source.channels,
            pixels,
        }
    }

    fn turned<const N: usize>(self, source: &Raster) -> Vec<u8> {
        let (width, height) = self.size((source.width, source.height));
        let stride = as_index(source.width);
        let (from, _) = source.pixels.as_chunks::<N>();
        let mut pixels = Vec::with_capacity(source.pixels.len());
        for row in 0..height {
            for column in 0..width {
                let (x, y) = self.place_in_source((column, row), source);
                let pixel = from.get(as_index(y) * stride + as_index(x));
                pixels.extend_from_slice(pixel.unwrap_or(&[0; N]));
            }
        }
        pixels
    }

    fn place_in_source(self, (column, row): (u32, u32), source: &Raster) -> (u32, u32) {
        let (x, y) = if self.swaps {
            (row, column)
        } else {
            (column, row)
        };
        (
            if self.mirrors_x {
                source.width - 1 - x
            } else {
                x
            },
            if self.mirrors_y {
                source.height - 1 - y
            } else {
                y
            },
        )
    }
}

fn as_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored picture is `a b c / d e f`; what a viewer sees of it is written as rows.
    #[track_caller]
    fn check(number: u8, seen: &[&[u8]]) {
        let stored = Raster {
            width: 3,
            height: 2,
            channels: Channels::Rgb,
            pixels: b"abcdef".iter().flat_map(|letter| [*letter; 3]).collect(),
        };
        let orientation = Orientation::from_exif(number).unwrap();
        let turned = Turn::of(orientation).apply(stored);
        let rows: Vec<Vec<u8>> = turned
            .pixels
            .chunks(usize::try_from(turned.width).unwrap() * 3)
            .map(|row| row.chunks(3).map(|pixel| pixel[0]).collect())
            .collect();
        assert_eq!(rows, seen);
        assert_eq!(usize::try_from(turned.height).unwrap(), seen.len());
    }

    #[test]
    fn two_turns_are_one() {
        let stored = Raster {
            width: 3,
            height: 2,
            channels: Channels::Grey,
            pixels: b"abcdef".to_vec(),
        };
        let turns = (1..=8).filter_map(Orientation::from_exif).map(Turn::of);
        for first in turns.clone() {
            for next in turns.clone() {
                let both = next.apply(first.apply(stored.clone()));
                assert_eq!(first.then(next).apply(stored.clone()), both);
            }
        }
    }

    #[test]
    fn asked_turns_go_clockwise_and_mirror_last() {
        let turn = |rotate, flip| Turn::asked(rotate, flip);
        let exif = |number| Turn::of(Orientation::from_exif(number).unwrap());
        assert_eq!(turn(Quarters::None, Flip::None), exif(1));
        assert_eq!(turn(Quarters::One, Flip::None), exif(6));
        assert_eq!(turn(Quarters::Two, Flip::None), exif(3));
        assert_eq!(turn(Quarters::Three, Flip::None), exif(8));
        assert_eq!(turn(Quarters::None, Flip::Horizontal), exif(2));
        assert_eq!(turn(Quarters::None, Flip::Vertical), exif(4));
        assert_eq!(turn(Quarters::None, Flip::Both), exif(3));
        assert_eq!(turn(Quarters::One, Flip::Horizontal), exif(5));
        assert_eq!(turn(Quarters::One, Flip::Vertical), exif(7));
    }

    #[test]
    fn all_eight_are_turned_upright() {
        check(1, &[b"abc", b"def"]);
        check(2, &[b"cba", b"fed"]);
        check(3, &[b"fed", b"cba"]);
        check(4, &[b"def", b"abc"]);
        check(5, &[b"ad", b"be", b"cf"]);
        check(6, &[b"da", b"eb", b"fc"]);
        check(7, &[b"fc", b"eb", b"da"]);
        check(8, &[b"cf", b"be", b"ad"]);
    }
}
