//! Waves under broken clouds, the sun low over the sea.

use crate::camera::{Camera, meet_ground, normal_of};
use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, warped};
use crate::vector::{Vec3, bell, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "ocean",
    width: 3000,
    height: 2000,
    exposure: 0.72,
    grain: 1.5,
    vignette: 0.4,
    light,
};

const FAR: f32 = 400.0;

fn sun() -> Vec3 {
    v(0.20, 0.115, 1.0).unit()
}

fn light(pixel: Pixel) -> Vec3 {
    let camera = Camera::looking(v(0.0, 2.6, 0.0), v(0.0, 2.75, 10.0), 1.55);
    let ray = camera.ray(pixel.x, pixel.y - 0.22);
    let spread = camera.spread(pixel.size);
    if ray.y > -0.0008 {
        return sky(ray);
    }
    let hit = meet_ground(camera.place, ray, (2.0, FAR), 1.6, 0.6, |x, z, _| {
        swell(x, z, 3)
    });
    let distance = hit.unwrap_or(FAR);
    let sea = sea(camera.place, ray, distance, spread);
    sea.mix(
        sky(v(ray.x, 0.004, ray.z).unit()),
        smooth(60.0, FAR, distance) * 0.85,
    )
}

/// Trochoid-like waves: octaves of folded noise that choppy water sharpens.
fn swell(x: f32, z: f32, octaves: u32) -> f32 {
    let (mut px, mut pz) = (x * 0.13, z * 0.19);
    let (mut sum, mut amplitude, mut sharp) = (0.0, 0.55, 3.4);
    for octave in 0..octaves {
        let forth = crests(px + 0.7, pz + 0.3, sharp, octave);
        let back = crests(px - 0.9, pz * 0.94 - 1.1, sharp, octave + 30);
        sum += amplitude * (forth + back);
        (px, pz) = (1.62 * px + 1.1 * pz, -1.2 * px + 1.62 * pz);
        amplitude *= 0.27;
        sharp = mix(sharp, 1.0, 0.22);
    }
    sum
}

fn crests(x: f32, z: f32, sharp: f32, seed: u32) -> f32 {
    let push = gradient(x, z, 60 + seed);
    let (x, z) = (x + push, z + push);
    let fold = |t: f32| {
        let (folded, round) = (1.0 - t.sin().abs(), t.cos().abs());
        mix(folded, round, folded)
    };
    let (a, b) = (fold(x), fold(z));
    (1.0 - (a * b).max(0.0).powf(0.65)).max(0.0).powf(sharp)
}

fn sea(eye: Vec3, ray: Vec3, distance: f32, spread: f32) -> Vec3 {
    let place = eye + ray * distance;
    let footprint = (distance * spread).max(0.002);
    let octaves = if distance < 25.0 {
        7
    } else if distance < 80.0 {
        6
    } else {
        5
    };
    // Towards the horizon a pixel spans many waves; their mean is flatter than each of them.
    let flat = 1.0 / (1.0 + (footprint * distance * 0.22).powi(2));
    let height = swell(place.x, place.z, octaves);
    let normal = normal_of(place.x, place.z, footprint * 1.2, |x, z| {
        let chop = 0.010 * fbm(x * 2.6, z * 3.4, 4, 71);
        (swell(x, z, octaves) + chop) * (0.25 + 0.75 * flat)
    });
    let mut mirrored = ray.reflected(normal);
    mirrored.y = mirrored.y.abs();
    let facing = (-ray.dot(normal)).clamp(0.0, 1.0);
    let fresnel = 0.02 + 0.98 * (1.0 - facing).powi(5);

    let mut image = sky(mirrored.unit());
    let toward = mirrored.unit().dot(sun()).max(0.0);
    image += v(9.0, 5.6, 2.9) * (toward.powi(420) * 1.4 + toward.powi(70) * 0.12);
    let through = smooth(0.25, 1.25, height) * (0.35 + 0.65 * ray.dot(sun()).max(0.0));
    let body = v(0.006, 0.030, 0.042) + v(0.022, 0.105, 0.092) * through;
    let foam_field =
        fbm(place.x * 1.3, place.z * 1.3, 6, 72) + 0.35 * fbm(place.x * 6.0, place.z * 6.0, 4, 73);
    let foam = smooth(0.80, 1.35, height + 0.55 * foam_field) * smooth(-0.05, 0.4, foam_field);
    body.mix(image, fresnel.min(0.85))
        .mix(v(0.62, 0.60, 0.62), 0.7 * foam)
}

fn sky(ray: Vec3) -> Vec3 {
    let up = ray.y.max(0.001);
    let toward = ray.dot(sun()).max(0.0);
    let base = v(1.02, 0.62, 0.36)
        .mix(v(0.62, 0.53, 0.52), smooth(0.0, 0.16, up))
        .mix(v(0.20, 0.33, 0.56), smooth(0.10, 0.48, up));
    let glow = v(1.5, 0.80, 0.36) * (0.5 * toward.powi(8) + 1.2 * toward.powi(120));
    let disc = v(14.0, 9.5, 5.5) * smooth(0.999_55, 0.999_75, ray.dot(sun()));
    let clear = base + glow + disc;
    let (density, depth) = clouds(ray, up);
    // Lit from behind and below: thin edges burn, thick middles stay grey.
    let rim = v(2.2, 1.25, 0.66) * (0.25 + 1.3 * toward.powi(6)) * (-2.6 * depth).exp();
    let body = v(0.30, 0.27, 0.32).mix(v(0.62, 0.40, 0.32), bell(up, 0.14));
    clear.mix(body + rim, density)
}

/// How much cloud hides the sky, and how thick it is.
fn clouds(ray: Vec3, up: f32) -> (f32, f32) {
    let scale = 1.0 / (up + 0.055);
    let (x, z) = (ray.x * scale * 0.55, ray.z * scale * 0.42);
    let shape = warped(x + 2.0, z * 1.25, 8, 1.3, 81);
    let ahead = warped(x + 2.0 + 0.10 * sun().x, z * 1.25 + 0.14, 5, 1.3, 81);
    let density = smooth(-0.06, 0.34, shape) * smooth(0.012, 0.08, up);
    let depth = smooth(-0.05, 0.55, 0.6 * shape + 0.4 * ahead) * 1.25;
    (0.94 * density, depth)
}
