//! Northern lights over a frozen bay: stars, curtains of light, the dark line of a wood.

use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, hash, line, ridged, warped};
use crate::vector::{Vec3, bell, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "aurora",
    width: 2560,
    height: 1920,
    exposure: 1.05,
    grain: 2.2,
    vignette: 0.5,
    light,
};

const SHORE: f32 = -0.56;

fn light(pixel: Pixel) -> Vec3 {
    if pixel.y < SHORE {
        return ice(pixel);
    }
    let ground = smooth(pixel.size, -pixel.size, pixel.y - skyline(pixel.x));
    let wood =
        v(0.0016, 0.0024, 0.0028) * (1.0 + 0.8 * gradient(pixel.x * 70.0, pixel.y * 70.0, 3));
    let mountains = smooth(
        pixel.size * 2.0,
        -pixel.size * 2.0,
        pixel.y - range(pixel.x),
    );
    night(pixel.x, pixel.y, pixel.size)
        .mix(slopes(pixel), mountains)
        .mix(wood, ground)
}

fn night(x: f32, y: f32, size: f32) -> Vec3 {
    let high = smooth(SHORE, 1.0, y);
    let base = v(0.012, 0.030, 0.036).mix(v(0.0035, 0.0075, 0.020), high);
    let glow = v(0.055, 0.060, 0.040) * bell(y - SHORE, 0.22) * (0.6 + 0.4 * bell(x - 0.5, 0.8));
    let lights = curtains(x, y);
    let hidden = (-5.0 * lights.luminance()).exp();
    base + glow + lights + milky_way(x, y) * hidden + stars(x, y, size) * (0.35 + 0.65 * hidden)
}

/// Folded sheets: bright at the lower edge, fading upwards in rays.
fn curtains(x: f32, y: f32) -> Vec3 {
    let mut sum = Vec3::default();
    for sheet in 0_u8..4 {
        let own = f32::from(sheet);
        let seed = 200 + 13 * u32::from(sheet);
        let sway = 0.42 * gradient(x * 0.55 + own * 3.1, own * 1.7, seed)
            + 0.16 * gradient(x * 1.5 + own, own * 2.3, seed + 1)
            + 0.05 * gradient(x * 4.1, own * 5.1, seed + 2);
        let edge = mix(-0.30, 0.42, own / 3.0) + sway + 0.10 * x * (own - 1.0);
        let above = y - edge - 0.020 * gradient(x * 13.0, own, seed + 7);
        let bent = x + 0.10 * (y - edge) + 0.14 * fbm(x * 1.3, own * 4.0, 3, seed + 3);
        let rays = 0.55 * line(bent * 16.0, seed + 4)
            + 0.30 * line(bent * 47.0, seed + 5)
            + 0.15 * line(bent * 120.0, seed + 8);
        let bright = smooth(
            0.15,
            0.85,
            0.5 + 0.7 * gradient(x * 0.8 + own * 2.0, 9.0 + own, seed + 6),
        );
        let tall = 0.24 + 0.42 * rays * rays + 0.14 * bright;
        let rise = smooth(-0.03, 0.045, above);
        let fall = (-above.max(0.0) / tall * 1.65).exp();
        let strength = rise * fall * (0.18 + 1.15 * rays * rays) * bright * (1.0 - 0.16 * own);
        let lift = smooth(0.02, 0.62, above);
        let hue = v(0.10, 0.60, 0.24)
            .mix(v(0.07, 0.38, 0.36), smooth(0.0, 0.5, lift))
            .mix(v(0.30, 0.10, 0.36), smooth(0.35, 1.0, lift));
        let fringe = v(0.55, 0.10, 0.30) * bell(above - 0.005, 0.028) * 0.20;
        sum += (hue + fringe) * (strength * 0.95);
    }
    let haze = smooth(-0.3, 0.8, warped(x * 0.6, y * 0.9, 5, 1.0, 290));
    sum + v(0.008, 0.034, 0.020) * haze
}

fn milky_way(x: f32, y: f32) -> Vec3 {
    let across = (x * 0.78 + y * 0.62 - 0.62) + 0.07 * fbm(x * 1.5, y * 1.5, 4, 310);
    let along = x * 0.62 - y * 0.78;
    let band = bell(across, 0.23);
    let dust = smooth(0.42, 0.75, ridged(along * 1.9, across * 3.4, 6, 311)) * bell(across, 0.12);
    let clumps = 0.6 + 0.9 * fbm(along * 4.0, across * 4.0, 6, 312).max(-0.5);
    v(0.050, 0.048, 0.058) * (band * clumps * (1.0 - 0.75 * dust)).max(0.0)
}

fn stars(x: f32, y: f32, size: f32) -> Vec3 {
    let mut sum = Vec3::default();
    for (scale, share, seed) in [(16.0, 0.20, 320), (45.0, 0.16, 330), (95.0, 0.13, 340)] {
        let (cx, cy) = ((x * scale).floor() as i32, (y * scale).floor() as i32);
        let own = |n: u32| hash(cx, cy, seed + n);
        if own(0) > share {
            continue;
        }
        let (sx, sy) = (
            cx as f32 + mix(0.2, 0.8, own(1)),
            cy as f32 + mix(0.2, 0.8, own(2)),
        );
        let distance = (x - sx / scale).hypot(y - sy / scale);
        // Few are bright. A star is as small as the lens makes it, and not below a pixel.
        let bright = own(3).powf(14.0) * 4.0 + own(4).powi(4) * 0.30 + 0.02;
        let radius = (0.0008 + 0.0005 * bright.sqrt()).max(size * 0.7);
        let spread = (0.0009 / radius).powi(2).min(1.6);
        let colour = v(1.0, 0.80, 0.62).mix(v(0.66, 0.80, 1.0), own(5));
        sum += colour * (bright * spread * bell(distance, radius) * 1.6);
        sum += colour * (bright * bright * 0.004 * bell(distance, radius * 7.0));
    }
    sum
}

fn range(x: f32) -> f32 {
    SHORE
        + 0.05
        + 0.34 * ridged(x * 0.75 + 2.1, 0.6, 8, 350) * (0.6 + 0.4 * gradient(x * 0.7, 0.0, 351))
}

fn slopes(pixel: Pixel) -> Vec3 {
    let below = range(pixel.x) - pixel.y;
    let relief = ridged(pixel.x * 3.1 + 0.8 * below, below * 4.5, 7, 352);
    let snow = smooth(
        0.34,
        0.62,
        relief + 0.12 * gradient(pixel.x * 5.0, below * 6.0, 353),
    );
    let lit = v(0.020, 0.040, 0.038) * (0.25 + 1.1 * snow);
    let air = v(0.020, 0.036, 0.036);
    lit.mix(air, smooth(0.0, 0.30, below) * 0.8)
}

/// The far shore's trees.
fn skyline(x: f32) -> f32 {
    let mut top: f32 = SHORE + 0.022 + 0.02 * gradient(x * 2.0, 1.0, 360);
    for (spacing, tall, seed) in [(0.021, 0.085, 361), (0.013, 0.055, 371)] {
        let cell = (x / spacing).floor() as i32;
        for neighbour in -2..=2 {
            let own = |n: u32| hash(cell + neighbour, 3, seed + n);
            let foot = ((cell + neighbour) as f32 + own(0)) * spacing;
            let height = tall * (0.35 + 0.65 * own(1)) * (0.5 + 0.8 * line(foot * 3.0, seed + 5));
            let aside = (x - foot).abs() / (0.17 * height + 0.003);
            let jag = 0.16 * gradient(x * 420.0, foot * 10.0, seed + 4);
            top = top.max(SHORE + height * (1.0 - aside * (1.0 + jag)).max(0.0));
        }
    }
    top
}

/// The bay mirrors the sky, blurred by old snow and cut by cracks.
fn ice(pixel: Pixel) -> Vec3 {
    let depth = SHORE - pixel.y;
    let far = 0.10 / (depth + 0.012);
    let (gx, gz) = (pixel.x * far * 2.4, far * 3.0);
    let blur = 0.012 + 0.11 * depth;
    let mut image = Vec3::default();
    let taps = 9_u8;
    for tap in 0..taps {
        let shift = (f32::from(tap) / f32::from(taps - 1) - 0.5) * 2.0;
        let wave = 0.03 * depth * gradient(gx * 3.0, gz * 2.0 + f32::from(tap), 380);
        let (x, y) = (pixel.x + wave, SHORE + depth * 1.12 + shift * blur);
        let trees = smooth(0.01, -0.01, y - skyline(x));
        let hills = smooth(0.02, -0.02, y - range(x));
        let sky = curtains(x, y) + v(0.010, 0.020, 0.028);
        image += sky
            .mix(v(0.012, 0.022, 0.022), hills)
            .mix(v(0.002, 0.003, 0.003), trees);
    }
    let image = image * (0.62 / f32::from(taps));
    let snow = smooth(-0.15, 0.45, warped(gx * 0.8, gz * 0.55, 6, 1.1, 381));
    let grain = 0.75 + 0.5 * fbm(gx * 14.0, gz * 14.0, 4, 382);
    let cover = v(0.030, 0.056, 0.054) * grain;
    let crack = smooth(
        0.955,
        0.99,
        1.0 - (warped(gx * 0.55, gz * 0.4, 5, 0.8, 383)).abs(),
    );
    image.mix(cover, 0.72 * snow) + v(0.020, 0.040, 0.040) * (crack * (1.0 - snow))
}
