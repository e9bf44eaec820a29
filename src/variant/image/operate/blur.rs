use super::super::raster::{Channels, Raster};

/// Blurs as by a Gaussian, whose deviation is half the asked radius: Cloudflare's `blur` goes from 1, hardly seen, to
/// 250, where only colours are left, and a Gaussian is almost over at twice its deviation.
///
/// Three box filters come near enough to a Gaussian (P. Kovesi, "Fast Almost-Gaussian Filtering", 2010), and
/// each takes the same time a pixel for every radius. What is transparent does not colour what is not.
pub(in super::super) fn blur(raster: Raster, radius: u8) -> Raster {
    let deviation = f64::from(radius) / 2.0;
    if radius == 0 || raster.pixels.is_empty() {
        return raster;
    }
    let radii = radii(deviation);
    let pixels = match raster.channels {
        Channels::Grey => blurred::<1>(&raster, radii),
        Channels::Rgb => blurred::<3>(&raster, radii),
        Channels::Rgba => blurred::<4>(&raster, radii),
        // Colours are brought to red, green and blue before.
        Channels::Cmyk => return raster,
    };
    Raster { pixels, ..raster }
}

/// The radii of three boxes, each of an odd number of pixels, whose variances add up to nearly that of the
/// Gaussian.
fn radii(deviation: f64) -> [usize; 3] {
    const BOXES: f64 = 3.0;
    let variance = 12.0 * deviation * deviation;
    let ideal = (variance / BOXES + 1.0).sqrt();
    let small = (((ideal - 1.0) / 2.0).floor() * 2.0 + 1.0).max(1.0);
    let with_small = (variance - BOXES * small * small - 4.0 * BOXES * small - 3.0 * BOXES)
        / (-4.0 * small - 4.0);
    let radius = as_radius(small);
    let radii = [0.5, 1.5, 2.5].map(|number| radius + usize::from(number > with_small));
    // The least is more than half a pixel, but it is more than nothing.
    if radii == [0; 3] { [0, 0, 1] } else { radii }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an odd number from 1 to a few hundred"
)]
fn as_radius(side: f64) -> usize {
    (side as usize).saturating_sub(1) / 2
}

/// Between the passes a channel has 16 bits, so that rounding leaves no steps in wide blurs.
const SCALE: u32 = 256;

fn blurred<const N: usize>(raster: &Raster, radii: [usize; 3]) -> Vec<u8> {
    let width = usize::try_from(raster.width).unwrap_or(usize::MAX);
    let stride = width.saturating_mul(N).max(1);
    let mut plane: Vec<u16> = widened::<N>(&raster.pixels);
    let mut other = vec![0_u16; plane.len()];

    let mut line = vec![[0_u16; N]; width];
    for row in plane.chunks_exact_mut(stride) {
        let (row, _) = row.as_chunks_mut::<N>();
        for radius in radii {
            line.copy_from_slice(row);
            along(&line, row, radius);
        }
    }
    for radius in radii {
        down(&plane, &mut other, stride, radius);
        std::mem::swap(&mut plane, &mut other);
    }
    narrowed::<N>(&plane)
}

/// One box along a row, which goes on with its end pixels beyond its ends.
fn along<const N: usize>(from: &[[u16; N]], into: &mut [[u16; N]], radius: usize) {
    let (Some(first), Some(last)) = (from.first(), from.last()) else {
        return;
    };
    let share = Share::of(radius);
    // As before the first pixel: one step back.
    let mut sums = first.map(|value| u32::from(value) * as_u32(radius + 1));
    for ahead in 0..radius {
        let pixel = from.get(ahead).unwrap_or(last);
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += u32::from(*value);
        }
    }
    // What enters on the right and what leaves on the left.
    let entering = from.iter().skip(radius).chain(std::iter::repeat(last));
    let leaving = std::iter::repeat_n(first, radius + 1).chain(from);
    for ((out, enters), leaves) in into.iter_mut().zip(entering).zip(leaving) {
        for ((out, sum), (enters, leaves)) in
            out.iter_mut().zip(&mut sums).zip(enters.iter().zip(leaves))
        {
            *sum = *sum + u32::from(*enters) - u32::from(*leaves);
            *out = share.of_sum(*sum);
        }
    }
}

/// One box down all columns together, row by row, as memory lies.
fn down(from: &[u16], into: &mut [u16], stride: usize, radius: usize) {
    let rows = || from.chunks_exact(stride);
    let (Some(first), Some(last)) = (rows().next(), rows().next_back()) else {
        return;
    };
    let share = Share::of(radius);
    let count = as_u32(radius + 1);
    let mut sums: Vec<u32> = first
        .iter()
        .map(|value| u32::from(*value) * count)
        .collect();
    for row in rows().chain(std::iter::repeat(last)).take(radius) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += u32::from(*value);
        }
    }
    let entering = rows().skip(radius).chain(std::iter::repeat(last));
    let leaving = std::iter::repeat_n(first, radius + 1).chain(rows());
    for ((out, enters), leaves) in into.chunks_exact_mut(stride).zip(entering).zip(leaving) {
        let values = sums.iter_mut().zip(enters.iter().zip(leaves));
        for (out, (sum, (enters, leaves))) in out.iter_mut().zip(values) {
            *sum = *sum + u32::from(*enters) - u32::from(*leaves);
            *out = share.of_sum(*sum);
        }
    }
}

/// Divides by the length of a box.
#[derive(Clone, Copy)]
struct Share(u64);

impl Share {
    /// With 32 bits after the point the quotient of any sum here is right to the nearest whole.
    fn of(radius: usize) -> Self {
        let length = 2 * u64::from(as_u32(radius)) + 1;
        Self((1_u64 << 32).div_ceil(length))
    }

    fn of_sum(self, sum: u32) -> u16 {
        let exact = u64::from(sum) * self.0 + (1 << 31);
        u16::try_from(exact >> 32).unwrap_or(u16::MAX)
    }
}

fn widened<const N: usize>(pixels: &[u8]) -> Vec<u16> {
    let plain = |value: u8| u16::from(value) * 256;
    if N != 4 {
        return pixels.iter().copied().map(plain).collect();
    }
    let (quads, _) = pixels.as_chunks::<4>();
    quads
        .iter()
        .flat_map(|[r, g, b, alpha]| {
            let weighed = |value: u8| {
                let product = u32::from(value) * u32::from(*alpha) * SCALE / 255;
                u16::try_from(product).unwrap_or(u16::MAX)
            };
            [weighed(*r), weighed(*g), weighed(*b), plain(*alpha)]
        })
        .collect()
}

fn narrowed<const N: usize>(plane: &[u16]) -> Vec<u8> {
    let plain =
        |value: u16| u8::try_from((u32::from(value) + SCALE / 2) / SCALE).unwrap_or(u8::MAX);
    if N != 4 {
        return plane.iter().copied().map(plain).collect();
    }
    let (quads, _) = plane.as_chunks::<4>();
    quads
        .iter()
        .flat_map(|[r, g, b, alpha]| {
            let whole = u32::from(*alpha).max(1);
            let colour = |value: u16| {
                let exact = (u32::from(value) * 255 + whole / 2) / whole;
                u8::try_from(exact).unwrap_or(u8::MAX)
            };
            [colour(*r), colour(*g), colour(*b), plain(*alpha)]
        })
        .collect()
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> Raster {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Raster {
            width,
            height,
            channels: Channels::Grey,
            pixels: places.map(|(x, y)| value(x, y)).collect(),
        }
    }

    #[test]
    fn boxes_come_near_a_gaussian() {
        for radius in 1..=250_u8 {
            let deviation = f64::from(radius) / 2.0;
            let variance: f64 = radii(deviation)
                .iter()
                .map(|radius| {
                    let length = f64::from(u32::try_from(2 * radius + 1).unwrap());
                    (length * length - 1.0) / 12.0
                })
                .sum();
            let error = (variance.sqrt() - deviation).abs();
            assert!(error < 0.6 && error < deviation * 0.7, "{radius}: {error}");
        }
    }

    #[test]
    fn a_point_spreads_evenly_and_loses_no_light() {
        let point = grey(41, 41, |x, y| if (x, y) == (20, 20) { 255 } else { 0 });
        let blurred = blur(point, 4);
        let at = |x: usize, y: usize| blurred.pixels[y * 41 + x];
        // A Gaussian of deviation 2: 255 / (2 π 2²) = 10.1 in the middle, e^(-1/2) of it at 2, nothing at 10.
        assert!(at(20, 20).abs_diff(10) <= 1, "{}", at(20, 20));
        assert!(at(22, 20).abs_diff(6) <= 1, "{}", at(22, 20));
        assert_eq!(at(30, 20), 0);
        for distance in 0..20 {
            let around = [
                at(20 + distance, 20),
                at(20 - distance, 20),
                at(20, 20 + distance),
                at(20, 20 - distance),
            ];
            assert_eq!(around, [around[0]; 4], "at {distance}");
        }
        let sum: u32 = blurred.pixels.iter().map(|value| u32::from(*value)).sum();
        assert!(sum.abs_diff(255) < 60, "{sum}");
    }

    #[test]
    fn even_areas_stay_as_they_are() {
        for (width, height) in [(1, 1), (3, 2), (1, 9), (40, 7)] {
            for radius in [1, 2, 3, 10, 250] {
                for value in [0, 1, 77, 254, 255] {
                    let even = grey(width, height, |_, _| value);
                    assert_eq!(blur(even.clone(), radius), even);
                }
            }
        }
    }

    #[test]
    fn the_widest_blur_leaves_the_mean() {
        let halves = grey(40, 40, |x, _| if x < 20 { 0 } else { 200 });
        let blurred = blur(halves, 250);
        let [first, .., last] = blurred.pixels[..] else {
            panic!()
        };
        assert!(first > 60 && last < 140, "{first} {last}");
    }

    #[test]
    fn what_is_transparent_gives_no_colour() {
        let mut pixels = Vec::new();
        for x in 0..20 {
            pixels.extend(if x < 10 {
                [0, 255, 0, 0]
            } else {
                [200, 0, 0, 255]
            });
        }
        let blurred = blur(
            Raster {
                width: 20,
                height: 1,
                channels: Channels::Rgba,
                pixels,
            },
            4,
        );
        let (quads, _) = blurred.pixels.as_chunks::<4>();
        assert!(quads[9][3] > 50 && quads[9][3] < 200, "{:?}", quads[9]);
        for quad in quads.iter().filter(|quad| quad[3] > 0) {
            assert!(quad[0].abs_diff(200) <= 3 && quad[1] == 0, "{quad:?}");
        }
    }
}
