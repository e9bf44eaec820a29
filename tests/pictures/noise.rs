//! Noise of several kinds. Everything that looks grown or weathered is made of it.

use super::vector::{mix, smooth};

/// A well mixed number in 0…1 for a cell of the plane.
pub fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let bits = hash_bits(x, y, seed);
    // 24 bits fit a float's mantissa.
    (bits >> 8) as f32 / 16_777_216.0
}

fn hash_bits(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x85eb_ca6b)
        ^ (y as u32).wrapping_mul(0xc2b2_ae35)
        ^ seed.wrapping_mul(0x27d4_eb2f);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2c1b_3c6d);
    h ^= h >> 12;
    h = h.wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// A cell and the place in it.
fn cell(x: f32) -> (i32, f32) {
    let floor = x.floor();
    (floor as i32, x - floor)
}

/// Smooth noise in 0…1 with its slope: the value, then the change along x and y.
pub fn value_slope(x: f32, y: f32, seed: u32) -> (f32, f32, f32) {
    let ((ix, fx), (iy, fy)) = (cell(x), cell(y));
    let a = hash(ix, iy, seed);
    let b = hash(ix + 1, iy, seed);
    let c = hash(ix, iy + 1, seed);
    let d = hash(ix + 1, iy + 1, seed);
    let (ux, uy) = (quintic(fx), quintic(fy));
    let (dux, duy) = (quintic_slope(fx), quintic_slope(fy));
    let k = a - b - c + d;
    (
        a + (b - a) * ux + (c - a) * uy + k * ux * uy,
        dux * ((b - a) + k * uy),
        duy * ((c - a) + k * ux),
    )
}

fn quintic(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

fn quintic_slope(t: f32) -> f32 {
    30.0 * t * t * (t * (t - 2.0) + 1.0)
}

/// Gradient noise in about -1…1, without the grid that value noise shows.
pub fn gradient(x: f32, y: f32, seed: u32) -> f32 {
    let ((ix, fx), (iy, fy)) = (cell(x), cell(y));
    let corner = |dx: i32, dy: i32| {
        let bits = hash_bits(ix + dx, iy + dy, seed);
        let (gx, gy) = GRADIENTS[(bits >> 28) as usize];
        gx * (fx - dx as f32) + gy * (fy - dy as f32)
    };
    let (ux, uy) = (quintic(fx), quintic(fy));
    let low = mix(corner(0, 0), corner(1, 0), ux);
    let high = mix(corner(0, 1), corner(1, 1), ux);
    1.5 * mix(low, high, uy)
}

/// Sixteen directions around the circle.
const GRADIENTS: [(f32, f32); 16] = [
    (1.0, 0.0),
    (0.924, 0.383),
    (0.707, 0.707),
    (0.383, 0.924),
    (0.0, 1.0),
    (-0.383, 0.924),
    (-0.707, 0.707),
    (-0.924, 0.383),
    (-1.0, 0.0),
    (-0.924, -0.383),
    (-0.707, -0.707),
    (-0.383, -0.924),
    (0.0, -1.0),
    (0.383, -0.924),
    (0.707, -0.707),
    (0.924, -0.383),
];

/// Octaves of gradient noise, each turned so that no axis shows; about -1…1.
pub fn fbm(mut x: f32, mut y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut amplitude) = (0.0, 0.5);
    for octave in 0..octaves {
        sum += amplitude * gradient(x, y, seed + octave);
        (x, y) = (1.6 * x - 1.2 * y + 3.1, 1.2 * x + 1.6 * y + 1.7);
        amplitude *= 0.5;
    }
    sum
}

/// Octaves of folded noise: creases and crests; 0…1.
pub fn ridged(mut x: f32, mut y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut amplitude, mut weight) = (0.0, 0.5, 1.0);
    for octave in 0..octaves {
        let fold = 1.0 - gradient(x, y, seed + octave).abs();
        let crest = fold * fold * weight;
        sum += amplitude * crest;
        weight = (crest * 1.8).clamp(0.0, 1.0);
        (x, y) = (1.6 * x - 1.2 * y + 3.1, 1.2 * x + 1.6 * y + 1.7);
        amplitude *= 0.5;
    }
    sum
}

/// Noise that is pushed about by noise: clouds, smoke, marble.
pub fn warped(x: f32, y: f32, octaves: u32, amount: f32, seed: u32) -> f32 {
    let dx = fbm(x + 5.2, y + 1.3, octaves.min(4), seed + 40);
    let dy = fbm(x - 2.8, y + 8.3, octaves.min(4), seed + 50);
    fbm(x + amount * dx, y + amount * dy, octaves, seed)
}

/// How many octaves still show when a pixel covers `footprint` of the first one's length. Finer
/// ones would only flicker.
pub fn octaves_for(footprint: f32, most: u32) -> u32 {
    let visible = (-footprint.max(1e-6).log2()).max(2.0);
    (visible as u32 + 1).min(most)
}

/// 0…1 noise along a line.
pub fn line(x: f32, seed: u32) -> f32 {
    let (ix, fx) = cell(x);
    mix(
        hash(ix, 0, seed),
        hash(ix + 1, 0, seed),
        smooth(0.0, 1.0, fx),
    )
}
