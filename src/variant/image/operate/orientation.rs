use image::metadata::Orientation;

use super::super::raster::Raster;

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
        let (width, height) = self.size((source.width, source.height));
        let size = source.channels.count();
        let stride = as_index(source.width) * size;
        let mut pixels = Vec::with_capacity(source.pixels.len());
        for row in 0..height {
            for column in 0..width {
                let (x, y) = self.place_in_source((column, row), &source);
                let start = as_index(y) * stride + as_index(x) * size;
                pixels
                    .extend_from_slice(source.pixels.get(start..start + size).unwrap_or_default());
            }
        }
        Raster {
            width,
            height,
            channels: source.channels,
            pixels,
        }
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
    use super::super::super::raster::Channels;
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
