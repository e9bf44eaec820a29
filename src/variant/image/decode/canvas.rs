use super::super::error::ImageError;
use super::super::film::{Film, Frame};
use super::super::raster::{Channels, Raster};
use super::{as_length, pixels_of, zeroed};

/// Where the frames of an animation are laid over each other: red, green, blue, alpha.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    frames: Vec<Frame>,
}

/// One frame as it is stored. What lies outside the canvas does not show.
pub(super) struct Patch<'a> {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    /// Red, green, blue, alpha; as many rows as there are.
    pub(super) pixels: &'a [u8],
    pub(super) blend: Blend,
    pub(super) disposal: Disposal,
    pub(super) milliseconds: u32,
}

/// How a frame meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blend {
    Over,
    Replace,
}

/// What becomes of a frame when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    /// Its rectangle turns transparent, as browsers do it, whatever background the file names.
    Clear,
    /// What was there before it comes back.
    Restore,
}

impl Canvas {
    /// Transparent.
    pub(super) fn new((width, height): (u32, u32)) -> Result<Self, ImageError> {
        Ok(Self {
            width,
            height,
            pixels: zeroed(pixels_of((width, height)) * 4)?,
            frames: Vec::new(),
        })
    }

    /// Shows a frame, takes a picture of the whole, and disposes of the frame.
    pub(super) fn show(&mut self, patch: &Patch<'_>) {
        let before = (patch.disposal == Disposal::Restore).then(|| self.pixels.clone());
        self.each_row(patch, |there, row| match patch.blend {
            Blend::Replace => there.copy_from_slice(row),
            Blend::Over => blend_over(there, row),
        });
        self.frames.push(Frame {
            raster: Raster {
                width: self.width,
                height: self.height,
                channels: Channels::Rgba,
                pixels: self.pixels.clone(),
            },
            milliseconds: patch.milliseconds,
        });
        match (patch.disposal, before) {
            (Disposal::Clear, _) => self.each_row(patch, |there, _| there.fill(0)),
            (Disposal::Restore, Some(before)) => self.pixels = before,
            (Disposal::Keep | Disposal::Restore, _) => {}
        }
    }

    /// Hands out what both have: a row of the canvas and the same of the patch.
    fn each_row(&mut self, patch: &Patch<'_>, mut act: impl FnMut(&mut [u8], &[u8])) {
        let columns = patch.width.min(self.width.saturating_sub(patch.left));
        let (left, length) = (as_bytes(patch.left), as_bytes(columns));
        if length == 0 {
            return;
        }
        let there = self
            .pixels
            .chunks_exact_mut(as_bytes(self.width))
            .skip(as_length(u64::from(patch.top)));
        for (there, row) in there.zip(patch.pixels.chunks_exact(as_bytes(patch.width))) {
            if let (Some(there), Some(row)) =
                (there.get_mut(left..left + length), row.get(..length))
            {
                act(there, row);
            }
        }
    }

    /// Frames that have been shown.
    pub(super) fn shown(&self) -> usize {
        self.frames.len()
    }

    /// At least one frame must have been shown.
    pub(super) fn into_film(self, repeats: u16) -> Film {
        Film {
            frames: self.frames,
            repeats,
        }
    }
}

fn as_bytes(pixels: u32) -> usize {
    as_length(u64::from(pixels) * 4)
}

/// PNG, third edition §12.5 with §13.16: straight alpha, in the coded values.
fn blend_over(there: &mut [u8], row: &[u8]) {
    let (there, _) = there.as_chunks_mut::<4>();
    let (row, _) = row.as_chunks::<4>();
    for (under, over) in there.iter_mut().zip(row) {
        match (over, under[3]) {
            ([.., 0], _) => {}
            ([.., 255], _) | (_, 0) => *under = *over,
            ([.., alpha], below) => {
                let (alpha, below) = (u32::from(*alpha), u32::from(below));
                // In 1/255ths of the result's coverage.
                let rest = below * (255 - alpha);
                let whole = alpha * 255 + rest;
                let mix = |over: u8, under: u8| {
                    let sum = u32::from(over) * alpha * 255 + u32::from(under) * rest;
                    as_byte((sum + whole / 2) / whole)
                };
                *under = [
                    mix(over[0], under[0]),
                    mix(over[1], under[1]),
                    mix(over[2], under[2]),
                    as_byte((whole + 127) / 255),
                ];
            }
        }
    }
}

fn as_byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const BLUE: [u8; 4] = [0, 0, 255, 255];

    fn patch(left: u32, pixels: &[u8], disposal: Disposal) -> Patch<'_> {
        Patch {
            left,
            top: 0,
            width: u32::try_from(pixels.len() / 4).unwrap(),
            pixels,
            blend: Blend::Over,
            disposal,
            milliseconds: 40,
        }
    }

    #[track_caller]
    fn check(patches: &[Patch<'_>], last: &[[u8; 4]]) {
        let width = u32::try_from(last.len()).unwrap();
        let mut canvas = Canvas::new((width, 1)).unwrap();
        for patch in patches {
            canvas.show(patch);
        }
        let film = canvas.into_film(0);
        assert_eq!(film.frames.len(), patches.len());
        assert_eq!(film.frames.last().unwrap().raster.pixels, last.concat());
    }

    #[test]
    fn frames_are_disposed_of() {
        let none = [0; 4];
        let first = [RED, RED].concat();
        for (disposal, second) in [
            (Disposal::Keep, [RED, BLUE, none]),
            (Disposal::Clear, [none, BLUE, none]),
            (Disposal::Restore, [none, BLUE, none]),
        ] {
            let patches = [patch(0, &first, disposal), patch(1, &BLUE, Disposal::Keep)];
            check(&patches, &second);
        }
        let third = [
            patch(0, &first, Disposal::Keep),
            patch(1, &BLUE, Disposal::Restore),
            patch(2, &BLUE, Disposal::Keep),
        ];
        check(&third, &[RED, RED, BLUE]);
    }

    #[test]
    fn what_is_outside_does_not_show() {
        let wide = [RED, BLUE, RED].concat();
        check(&[patch(1, &wide, Disposal::Clear)], &[[0; 4], RED]);
        check(&[patch(5, &wide, Disposal::Clear)], &[[0; 4], [0; 4]]);
        check(&[patch(u32::MAX, &wide, Disposal::Keep)], &[[0; 4]]);
    }

    #[test]
    fn half_transparent_pixels_mix() {
        let half = [0, 0, 255, 128];
        let under = patch(0, &RED, Disposal::Keep);
        check(
            &[under, patch(0, &half, Disposal::Keep)],
            &[[127, 0, 128, 255]],
        );
        check(&[patch(0, &half, Disposal::Keep)], &[half]);
        let twice = [
            patch(0, &half, Disposal::Keep),
            patch(0, &half, Disposal::Keep),
        ];
        check(&twice, &[[0, 0, 255, 192]]);
    }
}
