//! Pictures as numbers into a palette.

use std::collections::HashMap;

use quantette::deps::palette::Srgb;
use quantette::{ImageRef, PaletteSize, Pipeline};

use super::super::error::ImageError;
use super::failed;

/// Red, green, blue, alpha.
pub(super) type Colour = [u8; 4];

pub(super) const CLEAR: Colour = [0; 4];

/// A picture of at most 256 colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) palette: Vec<Colour>,
    /// One a pixel.
    pub(super) indices: Vec<u8>,
}

/// Exactly the pixels, when they have at most `colours_max` colours (256 at most).
pub(super) fn exactly(pixels: impl Iterator<Item = Colour>, colours_max: usize) -> Option<Indexed> {
    let mut numbers: HashMap<Colour, u8> = HashMap::new();
    let mut palette = Vec::new();
    let mut indices = Vec::with_capacity(pixels.size_hint().0);
    // Drawings, which alone get far here, repeat their left neighbour.
    let mut last = None;
    for colour in pixels {
        let number = match last {
            Some((seen, number)) if seen == colour => number,
            _ => match numbers.get(&colour) {
                Some(number) => *number,
                None if palette.len() >= colours_max => return None,
                None => {
                    let number = u8::try_from(palette.len()).ok()?;
                    palette.push(colour);
                    numbers.insert(colour, number);
                    number
                }
            },
        };
        last = Some((colour, number));
        indices.push(number);
    }
    Some(Indexed { palette, indices })
}

/// At most `colours_max` opaque colours that look like the picture, dithered, and a clear one after them
/// when something is clear; half transparent is opaque or clear.
pub(super) fn nearly(
    pixels: &[Colour],
    width: u32,
    height: u32,
    colours_max: u16,
) -> Result<Indexed, ImageError> {
    const OPAQUE_FROM: u8 = 128;
    // What is clear takes the colour before it, so that it needs no place in the palette.
    let mut colour = pixels
        .iter()
        .find(|[.., alpha]| *alpha >= OPAQUE_FROM)
        .map_or(Srgb::new(0, 0, 0), |[r, g, b, _]| Srgb::new(*r, *g, *b));
    let opaque: Vec<Srgb<u8>> = pixels
        .iter()
        .map(|[r, g, b, alpha]| {
            if *alpha >= OPAQUE_FROM {
                colour = Srgb::new(*r, *g, *b);
            }
            colour
        })
        .collect();
    let image = ImageRef::new(width, height, opaque.as_slice()).map_err(failed)?;
    let size = PaletteSize::try_from(colours_max).map_err(failed)?;
    let reduced = Pipeline::new().palette_size(size).input_image(image);
    let (palette, mut indices) = reduced.output_srgb8_indexed_image().into_parts();
    let mut palette: Vec<Colour> = palette
        .into_iter()
        .map(|colour| [colour.red, colour.green, colour.blue, u8::MAX])
        .collect();
    if pixels.iter().any(|[.., alpha]| *alpha < OPAQUE_FROM) {
        let clear = u8::try_from(palette.len()).map_err(failed)?;
        palette.push(CLEAR);
        for (index, [.., alpha]) in indices.iter_mut().zip(pixels) {
            if *alpha < OPAQUE_FROM {
                *index = clear;
            }
        }
    }
    Ok(Indexed { palette, indices })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(number: u32) -> u8 {
        u8::try_from(number % 256).unwrap()
    }

    #[test]
    fn few_colours_stay_exact() {
        let pixels = [[1, 2, 3, 255], [1, 2, 3, 255], CLEAR, [9, 9, 9, 7]];
        let indexed = exactly(pixels.into_iter(), 3).unwrap();
        assert_eq!(indexed.palette, [[1, 2, 3, 255], CLEAR, [9, 9, 9, 7]]);
        assert_eq!(indexed.indices, [0, 0, 1, 2]);
        assert_eq!(exactly(pixels.into_iter(), 2), None);
    }

    #[test]
    fn a_palette_has_256_colours_and_no_more() {
        let shades = |count: u32| (0..count).map(|n| [byte(n), byte(n / 256), 0, 255]);
        assert_eq!(exactly(shades(256), 256).unwrap().palette.len(), 256);
        assert_eq!(exactly(shades(257), 256), None);
    }

    #[test]
    fn many_colours_become_near_ones_and_clear_stays_clear() {
        let pixels: Vec<Colour> = (0..64 * 64_u32)
            .map(|n| match n % 64 {
                0 => [200, 0, 0, 20],
                x => [byte(x * 4), byte(n / 64 * 4), 128, 255],
            })
            .collect();
        let indexed = nearly(&pixels, 64, 64, 255).unwrap();
        assert!(indexed.palette.len() <= 256);
        let mut off = 0;
        for (index, pixel) in indexed.indices.iter().zip(&pixels) {
            let shown = indexed.palette[usize::from(*index)];
            assert_eq!(shown[3] == 255, pixel[3] == 255);
            if pixel[3] == 255 {
                off += (0..3)
                    .map(|n| u32::from(shown[n].abs_diff(pixel[n])))
                    .sum::<u32>();
            }
        }
        assert!(off < 64 * 64 * 3 * 10, "{off}");
    }
}
