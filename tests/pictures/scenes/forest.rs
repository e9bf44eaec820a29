//! Conifers in morning fog, ridge behind ridge.

use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, hash, line, warped};
use crate::vector::{Vec3, bell, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "forest",
    width: 2400,
    height: 3000,
    exposure: 0.62,
    grain: 1.6,
    vignette: 0.45,
    light,
};

const RIDGES: i32 = 11;

fn light(pixel: Pixel) -> Vec3 {
    let mut light = sky(pixel);
    for ridge in 0..RIDGES {
        light = layered(light, pixel, ridge);
    }
    light
}

fn sky(pixel: Pixel) -> Vec3 {
    let high = smooth(-0.2, 1.1, pixel.y);
    let base = v(0.92, 0.80, 0.66).mix(v(0.52, 0.58, 0.66), high);
    let sun = bell((pixel.x - 0.32).hypot((pixel.y - 0.62) * 1.1), 0.55);
    let drift = warped(pixel.x * 1.1, pixel.y * 2.4, 6, 1.2, 3);
    base + v(0.75, 0.56, 0.32) * (sun * 0.8) + v(0.10, 0.09, 0.08) * drift
}

/// One ridge with its trees before what is behind it, and the fog that lies in front.
fn layered(behind: Vec3, pixel: Pixel, ridge: i32) -> Vec3 {
    // 0 is the farthest.
    let near = ridge as f32 / (RIDGES - 1) as f32;
    let seed = 100 + 17 * ridge as u32;
    let size = mix(0.055, 0.62, near.powf(1.7));
    let base = mix(0.60, -1.42, near.powf(0.92));
    let slope = if ridge % 2 == 0 { 0.16 } else { -0.20 };
    let hill = |x: f32| {
        base + slope * x * (1.0 - 0.4 * near)
            + 0.20 * gradient(x * 0.9 + 3.7 * near * 9.0, 2.0, seed) * (1.0 - 0.5 * near)
            + 0.03 * gradient(x * 4.0, 5.0, seed + 1)
    };
    let cover = trees(pixel, size, seed, &hill);
    let lit = 0.5
        + 0.5
            * fbm(
                pixel.x * 9.0 / size * 0.2,
                pixel.y * 14.0 / size * 0.2,
                5,
                seed + 3,
            );
    let bark = v(0.014, 0.020, 0.016).mix(v(0.050, 0.060, 0.036), lit * lit);
    let fog = fog_colour(pixel);
    let thickness = (1.0 - near).powf(1.35) * 0.88;
    let height_above = pixel.y - hill(pixel.x);
    let pooled = smooth(size * 0.75, -size * 0.9, height_above) * (1.0 - near).powf(0.55) * 0.62;
    let swirl = warped(pixel.x * 1.3 + near * 7.0, pixel.y * 2.8, 6, 1.5, seed + 5);
    let veil = (thickness + pooled * (1.0 - thickness) * (0.85 + 0.9 * swirl)).clamp(0.0, 0.985);
    let tree = bark.mix(fog, veil);
    let mut seen = behind.mix(tree, cover);
    // Fog between this ridge and the next drifts over the trees too.
    let drift = smooth(0.05, 0.75, 0.5 + swirl) * bell(height_above + 0.25 * size, size * 0.9);
    seen = seen.mix(fog, 0.36 * drift * (1.0 - near * 0.75));
    seen
}

fn fog_colour(pixel: Pixel) -> Vec3 {
    let sun = bell((pixel.x - 0.32).hypot((pixel.y - 0.55) * 0.8), 0.8);
    v(0.47, 0.52, 0.57).mix(
        v(0.96, 0.78, 0.57),
        0.75 * sun + 0.10 * smooth(-0.6, 0.8, pixel.y),
    )
}

/// How much of a pixel the ridge's trees and ground cover.
fn trees(pixel: Pixel, size: f32, seed: u32, hill: &impl Fn(f32) -> f32) -> f32 {
    let soft = pixel.size * 0.9;
    let mut cover = smooth(soft, -soft, pixel.y - hill(pixel.x));
    if cover >= 1.0 {
        return 1.0;
    }
    let spacing = size * 0.088;
    let column = (pixel.x / spacing).floor() as i32;
    for neighbour in -4..=4 {
        let cell = column + neighbour;
        let own = |n: u32| hash(cell, 11, seed + n);
        if own(7) < 0.20 {
            continue;
        }
        let foot = (cell as f32 + own(8)) * spacing;
        let clump = line(foot / size * 0.9, seed + 12);
        let height = size * (0.42 + 0.55 * own(9).powf(1.4) + 0.40 * clump);
        let root = hill(foot) - 0.06 * size;
        cover = cover.max(conifer(pixel, foot, root, height, own(10), seed, soft));
    }
    cover
}

/// A trunk with whorls of drooping branches, ragged by noise.
fn conifer(pixel: Pixel, foot: f32, root: f32, height: f32, own: f32, seed: u32, soft: f32) -> f32 {
    let up = (pixel.y - root) / height;
    if !(-0.02..=1.02).contains(&up) {
        return 0.0;
    }
    let lean = 0.012 * (own - 0.5) * up;
    let aside = (pixel.x - foot) / height - lean;
    let reach = 0.175 * (0.75 + 0.5 * own);
    let side = if aside < 0.0 { 1 } else { 2 };
    if aside.abs() > reach * 1.5 {
        return 0.0;
    }
    // Branches droop: a place further out belongs to a whorl that starts higher up.
    let count = mix(15.0, 24.0, own);
    let along = (up + 0.62 * aside.abs()) * count;
    let whorl = along.floor();
    let within = along - whorl;
    let length = 0.55 + 0.75 * hash(whorl as i32, (own * 9999.0) as i32, seed + side);
    let taper = (1.0 - up).max(0.0).powf(0.82) * smooth(-0.05, 0.16, up);
    let tip = reach * taper * length * (1.0 - 0.78 * within.powf(0.8)) + 0.004;
    let ragged = 0.016 * gradient(aside * 130.0, up * 150.0 + own * 77.0, seed + 4)
        + 0.010 * gradient(aside * 300.0, up * 330.0 + own * 33.0, seed + 5);
    let crown = smooth(
        soft,
        -soft,
        (aside.abs() - tip - ragged * (0.35 + taper)) * height,
    );
    let holes = smooth(
        0.50,
        0.12,
        gradient(aside * 75.0, up * 95.0 + own * 51.0, seed + 6),
    );
    let trunk = smooth(soft, -soft, (aside.abs() - 0.008 * (1.05 - up)) * height);
    (crown * mix(1.0, holes, smooth(0.15, 0.8, aside.abs() / reach))).max(trunk)
}
