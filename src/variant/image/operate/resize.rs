use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::super::error::ImageError;
use super::super::operations::Fit;
use super::super::raster::{Channels, Raster};
use super::super::wish::scaled;

/// Which part of the source becomes a picture of which size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Geometry {
    /// The part, in the middle of the source.
    pub(in super::super) crop: (f64, f64),
    pub(in super::super) width: u32,
    pub(in super::super) height: u32,
}

/// Never enlarges: a box larger than the picture keeps its shape and shrinks to it.
pub(in super::super) fn geometry(
    (width, height): (u32, u32),
    wanted_width: Option<u32>,
    wanted_height: Option<u32>,
    fit: Fit,
) -> Geometry {
    match (wanted_width, wanted_height, fit) {
        (Some(box_width), Some(box_height), Fit::Cover) => {
            cover((width, height), (box_width.max(1), box_height.max(1)))
        }
        // Padding and stretching are not there yet.
        (_, _, Fit::Contain | Fit::Cover | Fit::Pad | Fit::Fill) => {
            contain((width, height), wanted_width, wanted_height)
        }
    }
}

fn contain(
    (width, height): (u32, u32),
    wanted_width: Option<u32>,
    wanted_height: Option<u32>,
) -> Geometry {
    let by_width = wanted_width.map_or(width, |wanted| wanted.clamp(1, width));
    let by_height = wanted_height.map_or(height, |wanted| wanted.clamp(1, height));
    // The side that shrinks more rules: by_width / width against by_height / height, without division.
    let width_rules = product(by_width, height) <= product(by_height, width);
    let (new_width, new_height) = if width_rules {
        (by_width, scaled(height, by_width, width))
    } else {
        (scaled(width, by_height, height), by_height)
    };
    Geometry {
        crop: (f64::from(width), f64::from(height)),
        width: new_width,
        height: new_height,
    }
}

fn cover((width, height): (u32, u32), (box_width, box_height): (u32, u32)) -> Geometry {
    let aspect = f64::from(box_width) / f64::from(box_height);
    let source_is_wider = product(width, box_height) >= product(box_width, height);
    if source_is_wider {
        let new_height = box_height.min(height);
        Geometry {
            crop: (
                (f64::from(height) * aspect).min(f64::from(width)),
                f64::from(height),
            ),
            width: scaled(box_width, new_height, box_height),
            height: new_height,
        }
    } else {
        let new_width = box_width.min(width);
        Geometry {
            crop: (
                f64::from(width),
                (f64::from(width) / aspect).min(f64::from(height)),
            ),
            width: new_width,
            height: scaled(box_height, new_width, box_width),
        }
    }
}

impl Geometry {
    /// The same for a source whose rows and columns are swapped.
    pub(in super::super) fn swapped(self) -> Self {
        Self {
            crop: (self.crop.1, self.crop.0),
            width: self.height,
            height: self.width,
        }
    }

    fn is_whole(&self, source: &Raster) -> bool {
        self.crop == (f64::from(source.width), f64::from(source.height))
    }
}

/// From this reduction on, a box filter first takes the picture to twice the target: some 4 × less work
/// for the same look, because Lanczos' support grows with the reduction.
const BOX_FROM: f64 = 4.0;

pub(in super::super) fn resize(source: &Raster, geometry: &Geometry) -> Result<Raster, ImageError> {
    if geometry.is_whole(source)
        && (geometry.width, geometry.height) == (source.width, source.height)
    {
        return Ok(source.clone());
    }
    let reduction = (geometry.crop.0 / f64::from(geometry.width))
        .min(geometry.crop.1 / f64::from(geometry.height));
    if reduction < BOX_FROM {
        return convolve(source, geometry, FilterType::Lanczos3);
    }
    let between = Geometry {
        crop: geometry.crop,
        width: geometry.width.saturating_mul(2),
        height: geometry.height.saturating_mul(2),
    };
    let halfway = convolve(source, &between, FilterType::Box)?;
    let rest = Geometry {
        crop: (f64::from(halfway.width), f64::from(halfway.height)),
        ..*geometry
    };
    convolve(&halfway, &rest, FilterType::Lanczos3)
}

fn convolve(source: &Raster, to: &Geometry, filter: FilterType) -> Result<Raster, ImageError> {
    let failed = |error: &dyn std::fmt::Display| ImageError::Encode {
        detail: format!("resize: {error}"),
    };
    let pixel = match source.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
        Channels::Rgba | Channels::Cmyk => PixelType::U8x4,
    };
    let (left, top) = (
        (f64::from(source.width) - to.crop.0) / 2.0,
        (f64::from(source.height) - to.crop.1) / 2.0,
    );
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .use_alpha(source.has_alpha())
        .crop(left.max(0.0), top.max(0.0), to.crop.0, to.crop.1);
    let channels = source.channels;
    let from = ImageRef::new(source.width, source.height, &source.pixels, pixel)
        .map_err(|error| failed(&error))?;
    let mut into = Image::new(to.width, to.height, pixel);
    Resizer::new()
        .resize(&from, &mut into, &options)
        .map_err(|error| failed(&error))?;
    Ok(Raster {
        width: to.width,
        height: to.height,
        channels,
        pixels: into.into_vec(),
    })
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: (u32, u32), wanted: (u32, u32), fit: Fit, size: (u32, u32), crop: (f64, f64)) {
        let some = |side| (side > 0).then_some(side);
        let found = geometry(source, some(wanted.0), some(wanted.1), fit);
        assert_eq!((found.width, found.height), size);
        assert!(
            (found.crop.0 - crop.0).abs() < 0.01 && (found.crop.1 - crop.1).abs() < 0.01,
            "{:?}",
            found.crop
        );
    }

    #[test]
    fn contain_keeps_the_whole_picture_inside_the_box() {
        let all = (400.0, 200.0);
        for (wanted, size) in [
            ((0, 0), (400, 200)),
            ((200, 0), (200, 100)),
            ((0, 50), (100, 50)),
            ((200, 200), (200, 100)),
            ((300, 50), (100, 50)),
            ((401, 0), (400, 200)),
            ((1000, 1000), (400, 200)),
            ((1000, 100), (200, 100)),
            ((1, 0), (1, 1)),
            ((133, 0), (133, 67)),
        ] {
            check((400, 200), wanted, Fit::Contain, size, all);
        }
        check((4000, 1), (10, 0), Fit::Contain, (10, 1), (4000.0, 1.0));
    }

    #[test]
    fn cover_fills_the_box_and_cuts_evenly() {
        for (wanted, size, crop) in [
            ((100, 100), (100, 100), (200.0, 200.0)),
            ((200, 50), (200, 50), (400.0, 100.0)),
            ((400, 200), (400, 200), (400.0, 200.0)),
            ((800, 800), (200, 200), (200.0, 200.0)),
            ((800, 200), (400, 100), (400.0, 100.0)),
            ((100, 0), (100, 50), (400.0, 200.0)),
            ((100, 1), (100, 1), (400.0, 4.0)),
        ] {
            check((400, 200), wanted, Fit::Cover, size, crop);
        }
    }

    fn halves(width: u32, height: u32, channels: Channels) -> Raster {
        let mut pixels = Vec::new();
        for _ in 0..height {
            for x in 0..width {
                let value = if x < width / 2 { 10 } else { 200 };
                pixels.extend(std::iter::repeat_n(value, channels.count()));
            }
        }
        Raster {
            width,
            height,
            channels,
            pixels,
        }
    }

    #[test]
    fn pixels_keep_their_places_and_values() {
        for channels in [Channels::Grey, Channels::Rgb, Channels::Rgba] {
            for width in [3, 8, 20, 40] {
                let source = halves(80, 40, channels);
                let shape = geometry((80, 40), Some(width), None, Fit::Contain);
                let small = resize(&source, &shape).unwrap();
                assert_eq!((small.width, small.height), (shape.width, shape.height));
                assert_eq!(
                    small.pixels.len(),
                    usize::try_from(small.pixel_count()).unwrap() * channels.count()
                );
                assert!(
                    small.pixels[0].abs_diff(10) < 20,
                    "{width}: {}",
                    small.pixels[0]
                );
                assert!(small.pixels.last().unwrap().abs_diff(200) < 20);
            }
        }
    }

    #[test]
    fn cover_takes_the_middle() {
        let shape = geometry((80, 40), Some(4), Some(4), Fit::Cover);
        let small = resize(&halves(80, 40, Channels::Grey), &shape).unwrap();
        assert!(
            small.pixels[0] < 60 && small.pixels[3] > 150,
            "{:?}",
            small.pixels
        );
    }

    #[test]
    fn nothing_to_do_changes_no_pixel() {
        let source = halves(8, 8, Channels::Rgb);
        let shape = geometry((8, 8), Some(100), None, Fit::Contain);
        assert_eq!(resize(&source, &shape).unwrap(), source);
    }
}
