use std::cmp::Reverse;

use super::super::raster::{Channels, Raster};
use super::light::luma;
use super::plan::Focus;

/// The longer side of the picture that is looked at: more shows nothing more, and this takes a fraction of a
/// millisecond.
pub(in super::super) const LOOK_SIDE: u32 = 128;

/// Windows that show nearly as much as the best one may take its place.
const ENOUGH_PERCENT: u64 = 97;

/// The middle of the window of that size in which most happens: edges, and colours unlike the rest of the
/// picture. Both sizes are in pixels of `small`. Of windows in which nearly as much happens, the one is taken
/// that has it in its middle. The same picture gives the same place; where nothing happens, it is the middle.
pub(in super::super) fn focus(small: &Raster, (width, height): (f64, f64)) -> Focus {
    let (columns, rows) = (as_index(small.width), as_index(small.height));
    if columns == 0 || rows == 0 {
        return Focus::MIDDLE;
    }
    let interest = interest(small, columns, rows);
    let sums = Sums::of(&interest, columns, rows);
    let window = Window {
        width: as_pixels(width).clamp(1, columns),
        height: as_pixels(height).clamp(1, rows),
    };
    let places = || {
        let lefts = move |top| (0..=columns - window.width).map(move |left| (left, top));
        (0..=rows - window.height).flat_map(lefts)
    };
    let near = |place, middle| window.distance(place, middle);
    let whole = (doubled(columns), doubled(rows));
    let middle = (whole.0 / 2, whole.1 / 2);
    let best = places().max_by_key(|place| {
        (
            sums.of_window(*place, window),
            Reverse(near(*place, middle)),
        )
    });
    let Some(best) = best else {
        return Focus::MIDDLE;
    };
    let enough = sums.of_window(best, window) * ENOUGH_PERCENT / 100;
    let centre = centre(&interest, columns, best, window).unwrap_or(middle);
    let good = places().filter(|place| sums.of_window(*place, window) >= enough);
    let (left, top) = good
        .min_by_key(|place| near(*place, centre))
        .unwrap_or(best);
    Focus {
        x: share(2 * left + window.width, 2 * columns),
        y: share(2 * top + window.height, 2 * rows),
    }
}

#[derive(Clone, Copy)]
struct Window {
    width: usize,
    height: usize,
}

impl Window {
    /// Between its middle, when it stands at a place, and another place; squared, and all doubled so as to be whole.
    fn distance(self, (left, top): (usize, usize), middle: (u64, u64)) -> u64 {
        let across = (doubled(left) + as_u64(self.width)).abs_diff(middle.0);
        let down = (doubled(top) + as_u64(self.height)).abs_diff(middle.1);
        across
            .saturating_mul(across)
            .saturating_add(down.saturating_mul(down))
    }
}

/// The doubled place in whose surroundings most happens inside a window.
fn centre(
    interest: &[u32],
    columns: usize,
    (left, top): (usize, usize),
    window: Window,
) -> Option<(u64, u64)> {
    let (mut all, mut across, mut down) = (0_u64, 0_u64, 0_u64);
    let rows = interest.chunks_exact(columns).enumerate();
    for (y, row) in rows.skip(top).take(window.height) {
        for (x, value) in row.iter().enumerate().skip(left).take(window.width) {
            let value = u64::from(*value);
            all += value;
            across += value * (doubled(x) + 1);
            down += value * (doubled(y) + 1);
        }
    }
    Some((across.checked_div(all)?, down.checked_div(all)?))
}

fn doubled(number: usize) -> u64 {
    as_u64(number).saturating_mul(2)
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn share(part: usize, whole: usize) -> f64 {
    let exact = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    exact(part) / exact(whole)
}

/// How much each pixel draws the eye.
fn interest(small: &Raster, columns: usize, rows: usize) -> Vec<u32> {
    let colours = colours(small);
    let mean = mean(&colours);
    let at = |x: usize, y: usize| -> [i32; 4] {
        let place = y.min(rows - 1) * columns + x.min(columns - 1);
        colours.get(place).copied().unwrap_or_default()
    };
    let mut interest = Vec::with_capacity(colours.len());
    for y in 0..rows {
        for x in 0..columns {
            let [light, first, second, alpha] = at(x, y);
            // A noisy area has many weak edges, a thing has strong ones: the square tells them apart.
            let across = (at(x + 1, y)[0] - at(x.saturating_sub(1), y)[0]).abs();
            let down = (at(x, y + 1)[0] - at(x, y.saturating_sub(1))[0]).abs();
            let edge = ((across + down) * (across + down) / 64).min(512);
            // How far the colour lies from the mean of all (R. Achanta et al., "Frequency-tuned Salient Region
            // Detection", 2009), less for light alone: skies and snow are bright, and empty.
            let unlike =
                (light - mean[0]).abs() / 4 + (first - mean[1]).abs() + (second - mean[2]).abs();
            let vivid = first.abs().max(second.abs()) / 4;
            let drawn = (edge + unlike + vivid) * alpha / 255;
            interest.push(drawn.unsigned_abs());
        }
    }
    interest
}

/// Luma, two differences of colour, and alpha.
fn colours(small: &Raster) -> Vec<[i32; 4]> {
    let of = |[r, g, b]: [u8; 3], alpha: u8| {
        let light = i32::from(luma([r, g, b]));
        let [r, g, b] = [r, g, b].map(i32::from);
        [light, r - g, (r + g) / 2 - b, i32::from(alpha)]
    };
    let pixels = &small.pixels;
    match small.channels {
        Channels::Grey => pixels.iter().map(|grey| of([*grey; 3], 255)).collect(),
        Channels::Rgb => {
            let (pixels, _) = pixels.as_chunks::<3>();
            pixels.iter().map(|pixel| of(*pixel, 255)).collect()
        }
        Channels::Cmyk => {
            let light = small.inks_as_light();
            let (pixels, _) = light.as_chunks::<3>();
            pixels.iter().map(|pixel| of(*pixel, 255)).collect()
        }
        Channels::Rgba => {
            let (pixels, _) = pixels.as_chunks::<4>();
            pixels
                .iter()
                .map(|[r, g, b, alpha]| of([*r, *g, *b], *alpha))
                .collect()
        }
    }
}

fn mean(colours: &[[i32; 4]]) -> [i32; 3] {
    let weight: i64 = colours.iter().map(|[.., alpha]| i64::from(*alpha)).sum();
    let mut sums = [0_i64; 3];
    for [light, first, second, alpha] in colours {
        for (sum, value) in sums.iter_mut().zip([light, first, second]) {
            *sum += i64::from(*value) * i64::from(*alpha);
        }
    }
    sums.map(|sum| i32::try_from(sum / weight.max(1)).unwrap_or_default())
}

/// A summed-area table: of each place the sum of all that lies above it and to its left.
struct Sums {
    sums: Vec<u64>,
    stride: usize,
}

impl Sums {
    fn of(values: &[u32], columns: usize, rows: usize) -> Self {
        let stride = columns + 1;
        let mut sums = vec![0_u64; stride];
        for row in values.chunks_exact(columns).take(rows) {
            let above = sums.len() - stride;
            let mut line = 0_u64;
            sums.push(0);
            for (x, value) in row.iter().enumerate() {
                line += u64::from(*value);
                let up = sums.get(above + x + 1).copied().unwrap_or_default();
                sums.push(up + line);
            }
        }
        Self { sums, stride }
    }

    fn of_window(&self, (left, top): (usize, usize), window: Window) -> u64 {
        let Window { width, height } = window;
        let at = |x: usize, y: usize| self.sums.get(y * self.stride + x).copied().unwrap_or(0);
        let (right, bottom) = (left + width, top + height);
        (at(right, bottom) + at(left, top)).saturating_sub(at(left, bottom) + at(right, top))
    }
}

fn as_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the caller clamps"
)]
fn as_pixels(length: f64) -> usize {
    length.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An even ground with weak grain, and a patch of strong stripes.
    fn patch(size: (u32, u32), from: (u32, u32), to: (u32, u32), channels: Channels) -> Raster {
        let mut state = 1_u32;
        let mut pixels = Vec::new();
        for y in 0..size.1 {
            for x in 0..size.0 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let inside = (from.0..to.0).contains(&x) && (from.1..to.1).contains(&y);
                let value = if inside {
                    if (x / 2 + y / 2) % 2 == 0 { 30 } else { 220 }
                } else {
                    120 + u8::try_from(state >> 29).unwrap()
                };
                pixels.extend(std::iter::repeat_n(value, channels.count().min(3)));
                if channels == Channels::Rgba {
                    pixels.push(255);
                }
            }
        }
        Raster {
            width: size.0,
            height: size.1,
            channels,
            pixels,
        }
    }

    #[test]
    fn the_window_goes_where_the_detail_is() {
        for channels in [Channels::Grey, Channels::Rgb, Channels::Rgba] {
            let right = patch((128, 64), (90, 20), (110, 40), channels);
            let found = focus(&right, (64.0, 64.0));
            // 64 wide, and holding 90 to 110: at the right edge.
            assert!((0.7..=0.75).contains(&found.x), "{found:?}");
            assert!((found.y - 0.5).abs() < 1e-9, "no freedom there");
            let left = patch((128, 64), (4, 20), (14, 40), channels);
            assert!(focus(&left, (64.0, 64.0)).x < 0.27);
            let corner = patch((100, 100), (80, 10), (90, 20), channels);
            let found = focus(&corner, (30.0, 30.0));
            assert!((found.x - 0.85).abs() < 0.03, "{found:?}");
            assert!((found.y - 0.15).abs() < 0.03, "{found:?}");
        }
    }

    #[test]
    fn where_nothing_happens_the_middle_stays() {
        let even = Raster {
            width: 99,
            height: 40,
            channels: Channels::Grey,
            pixels: vec![99; 99 * 40],
        };
        let found = focus(&even, (41.0, 40.0));
        assert!((found.x - 0.5).abs() < 0.01 && (found.y - 0.5).abs() < 0.01);
        assert_eq!(focus(&even, (0.0, 1e9)).y, 0.5);
    }

    #[test]
    fn a_colour_unlike_the_rest_counts() {
        let mut pixels = Vec::new();
        for y in 0..50 {
            for x in 0..100 {
                let flower = (70..85).contains(&x) && (10..30).contains(&y);
                pixels.extend(if flower {
                    [200, 60, 160]
                } else {
                    [90, 110, 60]
                });
            }
        }
        let small = Raster {
            width: 100,
            height: 50,
            channels: Channels::Rgb,
            pixels,
        };
        let found = focus(&small, (40.0, 50.0));
        assert!((0.65..=0.8).contains(&found.x), "{found:?}");
    }

    #[test]
    fn what_is_transparent_draws_nobody() {
        let mut picture = patch((64, 32), (4, 4), (14, 28), Channels::Rgba);
        let visible = patch((64, 32), (50, 10), (54, 20), Channels::Rgba);
        for (place, (pixel, other)) in picture
            .pixels
            .chunks_exact_mut(4)
            .zip(visible.pixels.chunks_exact(4))
            .enumerate()
        {
            if place % 64 < 32 {
                pixel[3] = 0;
            } else {
                pixel.copy_from_slice(other);
            }
        }
        assert!(focus(&picture, (32.0, 32.0)).x > 0.6);
    }

    #[test]
    fn sums_are_those_of_windows() {
        let sums = Sums::of(&[1, 2, 3, 4, 5, 6], 3, 2);
        let sum = |place, width, height| sums.of_window(place, Window { width, height });
        assert_eq!(sum((0, 0), 3, 2), 21);
        assert_eq!(sum((1, 0), 2, 1), 5);
        assert_eq!(sum((1, 1), 1, 1), 5);
    }
}
