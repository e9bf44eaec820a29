//! Sand dunes in a low sun: sharp crests, wind ripples, long shadows.

use crate::camera::{Camera, meet_ground, normal_of, sunlight};
use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, hash, octaves_for};
use crate::vector::{Vec3, bell, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "dunes",
    width: 3840,
    height: 2160,
    exposure: 0.78,
    grain: 1.5,
    vignette: 0.3,
    light,
};

const FAR: f32 = 90.0;

fn sun() -> Vec3 {
    v(0.86, 0.21, 0.40).unit()
}

fn light(pixel: Pixel) -> Vec3 {
    let camera = Camera::looking(v(0.0, 2.15, -4.0), v(0.4, 1.25, 8.0), 1.9);
    let ray = camera.ray(pixel.x, pixel.y);
    let spread = camera.spread(pixel.size);
    match meet_ground(camera.place, ray, (0.2, FAR), 3.2, 0.5, |x, z, _| {
        dunes(x, z)
    }) {
        Some(distance) => sand(camera.place, ray, distance, spread),
        None => sky(ray),
    }
}

/// Waves with a gentle windward and a steep lee side, bent by broad noise.
fn dunes(x: f32, z: f32) -> f32 {
    let large = crest(x * 0.11 + 0.5 * fbm(x * 0.06, z * 0.07, 3, 5), z * 0.155, 1);
    let middle = crest(
        x * 0.27 + 3.0,
        z * 0.33 + 0.45 * fbm(x * 0.2, z * 0.2, 3, 6),
        2,
    );
    let field = 0.65 + 0.6 * gradient(x * 0.05 + 2.0, z * 0.05, 7);
    field * (1.75 * large + 0.42 * middle * (1.0 - 0.6 * large))
}

fn crest(x: f32, z: f32, seed: u32) -> f32 {
    let bend =
        0.85 * gradient(x * 0.9, z * 0.55, seed) + 0.22 * gradient(x * 2.3, z * 1.3, seed + 9);
    let phase = z + bend + 0.45 * x;
    let t = phase - phase.floor();
    let rise = 0.70;
    let shape = if t < rise {
        let s = t / rise;
        s * s * (1.6 - 0.6 * s)
    } else {
        let s = (1.0 - t) / (1.0 - rise);
        s * (0.35 + 0.65 * s)
    };
    shape * (0.62 + 0.38 * gradient(x * 0.8 + 7.0, phase.floor() * 3.7, seed + 20))
}

fn ripples(x: f32, z: f32, distance: f32, spread: f32) -> f32 {
    let shown = 1.0 / (1.0 + (distance * spread * 55.0).powi(2));
    let bend = 1.6 * fbm(x * 0.9, z * 0.9, 4, 11) + 0.35 * gradient(x * 4.0, z * 4.0, 12);
    let phase = z * 15.0 + x * 4.0 + bend * 2.6;
    let t = phase - phase.floor();
    let wave = if t < 0.65 { t / 0.65 } else { (1.0 - t) / 0.35 };
    let strength = smooth(-0.5, 0.35, fbm(x * 0.5 + 4.0, z * 0.5, 3, 13));
    0.0105 * smooth(0.0, 1.0, wave) * strength * shown
}

fn sand(eye: Vec3, ray: Vec3, distance: f32, spread: f32) -> Vec3 {
    let place = eye + ray * distance;
    let footprint = (distance * spread).max(0.0009);
    let fine = octaves_for(footprint * 6.0, 6);
    let surface = |x: f32, z: f32| {
        dunes(x, z) + ripples(x, z, distance, spread) + 0.006 * fbm(x * 5.0, z * 5.0, fine, 14)
    };
    let normal = normal_of(place.x, place.z, footprint * 1.3, surface);
    let lit = sunlight(place + v(0.0, 0.012, 0.0), sun(), 11.0, 0.03, dunes);
    let grains = hash((place.x / 0.004) as i32, (place.z / 0.004) as i32, 15) - 0.5;
    let mottled = fbm(place.x * 1.7, place.z * 1.7, 5, 16);
    let colour = v(0.52, 0.315, 0.165)
        * (1.0 + 0.14 * mottled + 0.10 * grains / (1.0 + (footprint * 160.0).powi(2)));

    let direct = normal.dot(sun()).max(0.0) * lit;
    // Sand scatters: the light does not end quite at the terminator, and shines towards the sun.
    let grazing = (1.0 - (-ray.dot(normal)).max(0.0)).powi(3) * ray.dot(sun()).max(0.0) * lit;
    let bounce = v(0.30, 0.15, 0.07) * (0.5 - 0.3 * normal.dot(sun())).max(0.0);
    let from_sky = v(0.17, 0.25, 0.43) * (0.45 + 0.55 * normal.y);
    let light = v(3.6, 2.35, 1.28) * direct + from_sky + bounce + v(0.9, 0.55, 0.28) * grazing;
    hazed(colour.tinted(light), ray, distance)
}

fn hazed(light: Vec3, ray: Vec3, distance: f32) -> Vec3 {
    let veil = (-distance * 0.009).exp();
    let warm = smooth(-0.1, 1.0, ray.dot(sun()));
    let air = v(0.58, 0.50, 0.47).mix(v(1.05, 0.72, 0.45), warm);
    light * veil + air * (1.0 - veil)
}

fn sky(ray: Vec3) -> Vec3 {
    let up = ray.y.max(0.0);
    let toward = ray.dot(sun()).max(0.0);
    let base = v(0.80, 0.66, 0.54)
        .mix(v(0.40, 0.50, 0.66), smooth(0.0, 0.17, up))
        .mix(v(0.15, 0.27, 0.52), smooth(0.1, 0.5, up));
    let glow = v(1.0, 0.62, 0.30) * (0.55 * toward.powi(5) + 0.8 * toward.powi(40));
    let (x, y) = (ray.x / (up + 0.12), ray.z / (up + 0.12));
    let wisps = fbm(x * 0.5 + 1.5 * fbm(x * 0.3, y * 0.3, 4, 21), y * 1.5, 7, 22);
    let cirrus = smooth(0.05, 0.62, wisps) * smooth(0.03, 0.2, up) * (1.0 - bell(up, 0.03));
    (base + glow).mix(v(1.0, 0.87, 0.76), 0.55 * cirrus)
}
