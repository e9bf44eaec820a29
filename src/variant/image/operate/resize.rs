use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::super::error::ImageError;
use super::super::raster::{Channels, Raster};
use super::plan::{Part, Plan};

/// From this reduction on, a box filter first takes the picture to twice the target: some 4 × less work
/// for the same look, because Lanczos' support grows with the reduction.
const BOX_FROM: f64 = 4.0;

/// A resizer lets go of larger buffers, so that an idle thread holds some megabytes at most.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Takes `part` of `source` and makes it `size` pixels large.
pub(in super::super) fn resize(
    source: &Raster,
    part: Part,
    size: (u32, u32),
) -> Result<Raster, ImageError> {
    let part = inside(source, part);
    if is_whole(source, part) && size == (source.width, source.height) {
        return Ok(source.clone());
    }
    let reduction = (part.width / f64::from(size.0)).min(part.height / f64::from(size.1));
    if reduction < BOX_FROM {
        return convolve(source, part, size, FilterType::Lanczos3);
    }
    let between = (size.0.saturating_mul(2), size.1.saturating_mul(2));
    let halfway = convolve(source, part, between, FilterType::Box)?;
    let all = Part::whole(between);
    convolve(&halfway, all, size, FilterType::Lanczos3)
}

impl Part {
    /// All of a picture of that size.
    pub(in super::super) fn whole((width, height): (u32, u32)) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width: f64::from(width),
            height: f64::from(height),
        }
    }

    /// The same in a raster whose decoder made one pixel of `reduction` × `reduction`. The last column and row of
    /// such a raster may stand for fewer pixels, and so does what is taken of them: nothing shifts.
    pub(in super::super) fn reduced(
        self,
        full: (u32, u32),
        reduction: u8,
        source: &Raster,
    ) -> Self {
        let by = u32::from(reduction.max(1));
        let is_exact = (full.0.div_ceil(by), full.1.div_ceil(by)) == (source.width, source.height);
        let (x, y) = if is_exact {
            (1.0 / f64::from(by), 1.0 / f64::from(by))
        } else {
            (
                f64::from(source.width) / f64::from(full.0.max(1)),
                f64::from(source.height) / f64::from(full.1.max(1)),
            )
        };
        Self {
            left: self.left * x,
            top: self.top * y,
            width: self.width * x,
            height: self.height * y,
        }
    }
}

/// What a resize holds at its peak, with its result: a source that may have `alpha`, of that many stored pixels, is
/// copied whole to be weighed by it; columns of the source are brought to the height of the result; and what a box
/// filter leaves is twice the target both ways.
pub(in super::super) fn resizing_bytes(
    plan: &Plan,
    alpha: Option<(u32, u32)>,
    reduction: u8,
) -> u64 {
    const BYTES: u64 = 4;
    const BETWEEN: u64 = 2;
    let weighed = alpha.map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    // A filter reaches a little beyond the part.
    let columns = (plan.part.width / f64::from(reduction.max(1))).ceil() + 2.0;
    let columns = super::plan::round(columns);
    let (width, height) = (u64::from(plan.size.0), u64::from(plan.size.1));
    let turned = u64::from(columns).saturating_mul(height * BETWEEN);
    let results = width * height * (BETWEEN * BETWEEN + 1);
    BYTES.saturating_mul(weighed.saturating_add(turned).saturating_add(results))
}

/// Rounding may have led a hair over an edge.
fn inside(source: &Raster, part: Part) -> Part {
    let (width, height) = (f64::from(source.width), f64::from(source.height));
    let left = part.left.clamp(0.0, width);
    let top = part.top.clamp(0.0, height);
    Part {
        left,
        top,
        width: part.width.min(width - left),
        height: part.height.min(height - top),
    }
}

fn is_whole(source: &Raster, part: Part) -> bool {
    part == Part::whole((source.width, source.height))
}

fn convolve(
    source: &Raster,
    part: Part,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Result<Raster, ImageError> {
    let failed = |error: &dyn std::fmt::Display| ImageError::Encode {
        detail: format!("resize: {error}"),
    };
    let pixel = match source.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
        Channels::Rgba | Channels::Cmyk => PixelType::U8x4,
    };
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        // Weighed by alpha, so that the colour of what cannot be seen does not show.
        .use_alpha(source.has_alpha())
        .crop(part.left, part.top, part.width, part.height);
    let from = ImageRef::new(source.width, source.height, &source.pixels, pixel)
        .map_err(|error| failed(&error))?;
    let mut into = Image::new(width, height, pixel);
    RESIZER.with_borrow_mut(|resizer| {
        let resized = resizer.resize(&from, &mut into, &options);
        if resizer.size_of_internal_buffers() > KEPT_BYTES_MAX {
            resizer.reset_internal_buffers();
        }
        resized.map_err(|error| failed(&error))
    })?;
    Ok(Raster {
        width,
        height,
        channels: source.channels,
        pixels: into.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(
        (width, height): (u32, u32),
        channels: Channels,
        colour: impl Fn(u32, u32) -> Vec<u8>,
    ) -> Raster {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Raster {
            width,
            height,
            channels,
            pixels: places.flat_map(|(x, y)| colour(x, y)).collect(),
        }
    }

    fn halves(width: u32, height: u32, channels: Channels) -> Raster {
        made((width, height), channels, |x, _| {
            vec![if x < width / 2 { 10 } else { 200 }; channels.count()]
        })
    }

    #[test]
    fn pixels_keep_their_places_and_values() {
        for channels in [Channels::Grey, Channels::Rgb, Channels::Rgba] {
            for width in [4, 8, 20, 40] {
                let source = halves(80, 40, channels);
                let small = resize(&source, Part::whole((80, 40)), (width, width / 2)).unwrap();
                assert_eq!((small.width, small.height), (width, width / 2));
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
    fn only_the_part_is_taken() {
        let part = Part {
            left: 20.0,
            ..Part::whole((40, 40))
        };
        let small = resize(&halves(80, 40, Channels::Grey), part, (4, 4)).unwrap();
        assert!(
            small.pixels[0] < 60 && small.pixels[3] > 150,
            "{:?}",
            small.pixels
        );
        let right = Part {
            left: 40.0,
            ..Part::whole((40, 40))
        };
        let same = resize(&halves(80, 40, Channels::Grey), right, (40, 40)).unwrap();
        assert_eq!(same.pixels, [200; 1600]);
    }

    #[test]
    fn nothing_to_do_changes_no_pixel() {
        let source = halves(8, 8, Channels::Rgb);
        assert_eq!(
            resize(&source, Part::whole((8, 8)), (8, 8)).unwrap(),
            source
        );
    }

    #[test]
    fn black_ink_is_not_alpha() {
        let inks = made((16, 16), Channels::Cmyk, |x, _| {
            vec![200, 100, 50, if x < 8 { 0 } else { 255 }]
        });
        let small = resize(&inks, Part::whole((16, 16)), (4, 4)).unwrap();
        let (quads, _) = small.pixels.as_chunks::<4>();
        assert!(quads.iter().all(|quad| quad[..3] == [200, 100, 50]));
    }

    #[test]
    fn colours_that_cannot_be_seen_do_not_bleed() {
        // Transparent green around an opaque red square.
        let source = made((64, 64), Channels::Rgba, |x, y| {
            if (16..48).contains(&x) && (16..48).contains(&y) {
                vec![200, 0, 0, 255]
            } else {
                vec![0, 255, 0, 0]
            }
        });
        for side in [48, 30, 16, 9, 5] {
            let small = resize(&source, Part::whole((64, 64)), (side, side)).unwrap();
            let (quads, _) = small.pixels.as_chunks::<4>();
            for [r, g, b, alpha] in quads.iter().filter(|[.., alpha]| *alpha > 16) {
                assert!(
                    *r > 180 && *g < 20 && *b < 20,
                    "{side}: {:?}",
                    [r, g, b, alpha]
                );
            }
        }
    }

    /// A ramp whose value tells the place: a shift of half a pixel shows.
    #[test]
    fn a_reduced_raster_gives_the_same_picture() {
        let full = (801, 403);
        // In halves of a pixel, so as to be whole.
        let ramp = |x: u32, y: u32| vec![u8::try_from((x * 4 + y + 16) / 32).unwrap()];
        let whole = made(full, Channels::Grey, |x, y| ramp(2 * x, 2 * y));
        let part = Part {
            left: 100.0,
            top: 50.0,
            width: 600.0,
            height: 300.0,
        };
        let exact = resize(&whole, part, (30, 15)).unwrap();
        for by in [2_u8, 4, 8] {
            let step = u32::from(by);
            let middle = |n: u32| 2 * n * step + step - 1;
            let size = (full.0.div_ceil(step), full.1.div_ceil(step));
            let reduced = made(size, Channels::Grey, |x, y| ramp(middle(x), middle(y)));
            let found = resize(&reduced, part.reduced(full, by, &reduced), (30, 15)).unwrap();
            let furthest = exact.pixels.iter().zip(&found.pixels);
            let furthest = furthest.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(furthest <= Some(1), "1/{by}: {furthest:?}");
        }
    }

    #[test]
    fn pictures_may_be_enlarged() {
        let large = resize(&halves(4, 2, Channels::Grey), Part::whole((4, 2)), (40, 20)).unwrap();
        let ends = (large.pixels[0], large.pixels[39]);
        assert!(ends.0 < 20 && ends.1 > 190, "{ends:?}");
    }

    #[test]
    fn an_idle_thread_holds_no_large_buffers() {
        let source = halves(1000, 1000, Channels::Rgb);
        resize(&source, Part::whole((1000, 1000)), (990, 4000)).unwrap();
        let held = RESIZER.with_borrow(Resizer::size_of_internal_buffers);
        assert!(held <= KEPT_BYTES_MAX, "{held}");
    }

    #[test]
    fn what_a_resize_takes_is_announced() {
        let plan = Plan {
            part: Part::whole((1000, 500)),
            size: (990, 400),
            turn: super::super::Turn::of(image::metadata::Orientation::NoTransforms),
            canvas: None,
        };
        for (channels, alpha) in [(Channels::Rgba, Some((1000, 500))), (Channels::Cmyk, None)] {
            let source = halves(1000, 500, channels);
            let mut resizer = Resizer::new();
            let from = ImageRef::new(1000, 500, &source.pixels, PixelType::U8x4).unwrap();
            let mut into = Image::new(990, 400, PixelType::U8x4);
            let options = ResizeOptions::new().use_alpha(alpha.is_some());
            resizer.resize(&from, &mut into, &options).unwrap();
            let held = resizer.size_of_internal_buffers() + into.buffer().len();
            let announced = resizing_bytes(&plan, alpha, 1);
            assert!(
                u64::try_from(held).unwrap() <= announced,
                "{held} {announced}"
            );
        }
    }
}
