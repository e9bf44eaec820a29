//! A mountain lake at dusk: the last sun on the peaks, everything else already in blue shade.

use crate::camera::{Camera, meet_ground, normal_of, sunlight};
use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, octaves_for, value_slope, warped};
use crate::vector::{Vec3, bell, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "lake",
    width: 4000,
    height: 3000,
    exposure: 0.66,
    grain: 1.5,
    vignette: 0.35,
    light,
};

const FAR: f32 = 60.0;
const PEAKS: f32 = 9.0;

fn sun() -> Vec3 {
    v(-0.75, 0.235, -0.42).unit()
}

fn light(pixel: Pixel) -> Vec3 {
    let camera = Camera::looking(v(0.0, 0.42, -2.0), v(0.35, 1.50, 10.0), 1.75);
    let ray = camera.ray(pixel.x, pixel.y);
    let spread = camera.spread(pixel.size);
    let water = if ray.y < 0.0 {
        -camera.place.y / ray.y
    } else {
        FAR
    };
    match meet_ground(
        camera.place,
        ray,
        (0.3, water.min(FAR)),
        PEAKS,
        0.27,
        |x, z, t| ground(x, z, octaves_for(t * spread * 0.35, 11)),
    ) {
        Some(distance) => land(camera.place, ray, distance, spread),
        None if water < FAR => lake(camera.place, ray, water, spread),
        None => sky(ray),
    }
}

fn ground(x: f32, z: f32, octaves: u32) -> f32 {
    let bend = 0.9 * gradient(x * 0.16, 3.0, 7) + 0.25 * gradient(x * 0.9, 1.0, 8);
    let shore = z - 8.2 - bend;
    let left = -x - 4.2 - 0.16 * z + 0.5 * gradient(z * 0.5, 0.0, 9);
    let right = x - 4.6 - 0.30 * z + 0.5 * gradient(z * 0.6, 5.0, 9);
    let rise = smooth(-0.4, 11.0, shore)
        .max(0.62 * smooth(-0.1, 7.0, left))
        .max(0.55 * smooth(-0.1, 8.0, right));
    let beach = (shore.max(left).max(right) * 0.22).clamp(-0.4, 0.10);
    let valley = 1.0 - 0.62 * bell(x - 0.8 - 0.06 * z, 1.9) * smooth(4.0, 14.0, z);
    let crags = eroded(x * 0.30 + 4.3, z * 0.30 + 1.9, octaves);
    beach + rise * valley * (0.25 + 7.6 * crags)
}

/// Octaves that flatten where they are already steep leave valleys smooth and ridges rough.
fn eroded(mut x: f32, mut z: f32, octaves: u32) -> f32 {
    let (mut sum, mut amplitude) = (0.0, 0.5);
    let (mut slope_x, mut slope_z) = (0.0, 0.0);
    for _ in 0..octaves {
        let (height, dx, dz) = value_slope(x, z, 21);
        slope_x += dx;
        slope_z += dz;
        sum += amplitude * height / (1.0 + slope_x * slope_x + slope_z * slope_z);
        amplitude *= 0.5;
        (x, z) = (1.6 * x - 1.2 * z, 1.2 * x + 1.6 * z);
    }
    sum
}

fn land(eye: Vec3, ray: Vec3, distance: f32, spread: f32) -> Vec3 {
    let place = eye + ray * distance;
    let footprint = (distance * spread).max(0.0008);
    let fine = octaves_for(footprint * 0.3, 13);
    let normal = normal_of(place.x, place.z, footprint * 1.2, |x, z| ground(x, z, fine));
    // A height field has no detail on a wall: it is carved into the normal instead.
    let across = place.x - 0.6 * place.z;
    let chips = octaves_for(footprint * 7.0, 5);
    let carved = v(
        fbm(across * 7.0, place.y * 5.0, chips, 37),
        fbm(across * 5.0 + 9.0, place.y * 9.0, chips, 38),
        fbm(across * 8.0 - 5.0, place.y * 6.0, chips, 39),
    );
    let steep = smooth(0.75, 0.25, normal.y);
    let normal = (normal + carved * (0.25 + 0.75 * steep)).unit();
    let broad = normal_of(place.x, place.z, 0.12, |x, z| ground(x, z, 7));
    let lit = sunlight(place + normal * 0.01, sun(), 9.0, 0.035, |x, z| {
        ground(x, z, 7)
    });

    let rock_tone = 0.5 + 0.5 * fbm(place.x * 3.0, place.z * 3.0 + place.y * 5.0, 6, 31);
    let strata = 0.5 + 0.5 * gradient(place.y * 14.0 + 2.0 * rock_tone, place.x * 0.8, 32);
    let rock = v(0.115, 0.100, 0.092).mix(v(0.21, 0.185, 0.165), 0.65 * rock_tone + 0.35 * strata)
        * (1.0 + 0.8 * fbm(across * 16.0, place.y * 16.0, chips, 40));
    let snow_line = 2.15 + 0.75 * fbm(place.x * 0.9, place.z * 0.9, 5, 33);
    let snow_here = smooth(snow_line - 0.25, snow_line + 0.55, place.y)
        * smooth(0.52, 0.74, 0.55 * normal.y + 0.45 * broad.y);
    let wood_edge = 1.45 + 0.6 * fbm(place.x * 1.3, place.z * 1.3, 5, 34);
    let wood_here = smooth(wood_edge, wood_edge - 0.4, place.y)
        * smooth(0.45, 0.65, broad.y)
        * smooth(0.05, 0.13, place.y);
    let crowns = gradient(place.x * 34.0, place.z * 34.0 + place.y * 30.0, 35)
        + 0.7 * gradient(place.x * 80.0, place.z * 80.0 + place.y * 60.0, 36);
    let wood = v(0.016, 0.026, 0.017) * (1.0 + 0.75 * crowns).max(0.15);
    let colour = rock
        .mix(v(0.050, 0.052, 0.030), smooth(0.6, 0.85, broad.y) * 0.7)
        .mix(wood, wood_here)
        .mix(v(0.80, 0.84, 0.90), snow_here);

    let direct = normal.dot(sun()).max(0.0) * lit;
    let from_sky = 0.5 + 0.5 * normal.y;
    let glow = v(5.2, 2.25, 1.0) * direct;
    let shade = v(0.30, 0.37, 0.56) * from_sky;
    let back = v(0.30, 0.20, 0.20) * (0.5 + 0.5 * normal.dot(v(0.4, 0.1, -0.9))).max(0.0);
    hazed(colour.tinted(glow + shade + back), ray, distance, place.y)
}

fn hazed(light: Vec3, ray: Vec3, distance: f32, height: f32) -> Vec3 {
    let depth = distance * 0.015 * (0.25 + 0.75 * (-0.55 * height.max(0.0)).exp());
    let veil = (-depth * 1.15).exp();
    let air = v(0.33, 0.33, 0.47).mix(v(0.74, 0.47, 0.42), bell(ray.y - 0.02, 0.22) * 0.55);
    light * veil + air * (1.0 - veil)
}

fn sky(ray: Vec3) -> Vec3 {
    let up = ray.y.max(0.0);
    let base = v(0.86, 0.52, 0.42)
        .mix(v(0.55, 0.44, 0.55), smooth(0.02, 0.20, up))
        .mix(v(0.17, 0.25, 0.47), smooth(0.12, 0.52, up));
    let (x, y) = (ray.x / (up + 0.16), ray.z / (up + 0.16));
    let veil = warped(x * 0.75 + 3.0, y * 0.42, 7, 1.6, 41);
    let streaks = warped(x * 0.35 + 9.0, y * 1.6 + 2.0, 6, 0.9, 43);
    let cover = smooth(0.02, 0.55, veil + 0.45 * streaks) * smooth(0.03, 0.16, up);
    let edge = smooth(0.05, 0.75, veil - 0.5 * streaks);
    let cloud = v(1.10, 0.52, 0.40).mix(v(0.36, 0.31, 0.42), edge);
    base.mix(cloud, 0.82 * cover)
}

fn lake(eye: Vec3, ray: Vec3, distance: f32, spread: f32) -> Vec3 {
    let place = eye + ray * distance;
    let calm = 0.35 + 0.65 * smooth(-0.25, 0.35, fbm(place.x * 0.35, place.z * 0.16, 4, 51));
    // Ripples shorter than a pixel only widen the mirror image.
    let seen = 1.0 / (1.0 + 26.0 * distance * spread * (1.0 + distance * 0.4));
    let ripple = |x: f32, z: f32| {
        0.0055 * fbm(x * 2.2, z * 5.5, 3, 52) + 0.0013 * fbm(x * 11.0, z * 24.0, 4, 53)
    };
    let normal = normal_of(place.x, place.z, 0.01, |x, z| ripple(x, z) * calm * seen);
    let mut mirrored = ray.reflected(normal);
    mirrored.y = mirrored.y.abs().max(0.004);
    let mirrored = mirrored.unit();
    let image = match meet_ground(place, mirrored, (0.05, FAR), PEAKS, 0.42, |x, z, t| {
        ground(x, z, octaves_for((t + distance) * spread * 0.8, 8))
    }) {
        Some(t) => land(place, mirrored, t, spread * (1.0 + distance / t.max(0.1))),
        None => sky(mirrored),
    };
    let facing = (-ray.dot(normal)).clamp(0.0, 1.0);
    let fresnel = 0.02 + 0.98 * (1.0 - facing).powf(5.0);
    let shallow = smooth(-0.16, 0.0, ground(place.x, place.z, 5));
    let deep = v(0.018, 0.036, 0.048).mix(v(0.075, 0.080, 0.062), shallow);
    let stones = 0.6 + 0.8 * fbm(place.x * 9.0, place.z * 9.0, 4, 54);
    let bed = deep * mix(1.0, stones, shallow);
    hazed(
        bed.mix(image, (fresnel * 1.05).min(0.97)),
        ray,
        distance,
        0.0,
    )
}
