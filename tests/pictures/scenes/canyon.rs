//! Layered red rock at noon: mesas and gullies cut into coloured strata.

use crate::camera::{Camera, meet_ground, normal_of, sunlight};
use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, octaves_for, ridged, warped};
use crate::vector::{Vec3, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "canyon",
    width: 2592,
    height: 1944,
    exposure: 0.76,
    grain: 1.4,
    vignette: 0.3,
    light,
};

const FAR: f32 = 70.0;

fn sun() -> Vec3 {
    v(-0.72, 0.55, 0.10).unit()
}

fn light(pixel: Pixel) -> Vec3 {
    let camera = Camera::looking(v(-1.0, 3.9, -6.5), v(0.6, 2.15, 6.0), 1.7);
    let ray = camera.ray(pixel.x, pixel.y);
    let spread = camera.spread(pixel.size);
    match meet_ground(camera.place, ray, (0.3, FAR), 4.6, 0.30, |x, z, t| {
        ground(x, z, octaves_for(t * spread * 0.5, 9))
    }) {
        Some(distance) => rock(camera.place, ray, distance, spread),
        None => sky(ray),
    }
}

/// Hard layers stand as cliffs, soft ones as slopes: the smooth height is bent into steps.
fn ground(x: f32, z: f32, octaves: u32) -> f32 {
    let carved = ridged(
        x * 0.10 + 0.35 * fbm(x * 0.15, z * 0.15, 3, 1),
        z * 0.10 + 4.0,
        4,
        2,
    );
    let plain = 0.5 + 0.5 * fbm(x * 0.07 + 3.0, z * 0.07, 3, 3);
    let rough = fbm(x * 0.55, z * 0.55, octaves, 4);
    let river = 1.0 - smooth(0.0, 3.2, (x - 1.4 - 2.2 * gradient(z * 0.14, 0.0, 5)).abs());
    let open = 4.6 * (0.85 - carved) + 2.0 * plain + 0.55 * rough - 1.9 * river;
    stepped(open.clamp(-0.2, 4.4), rough)
}

fn stepped(height: f32, rough: f32) -> f32 {
    let layers = 2.1;
    let scaled = height * layers + 0.25 * rough;
    let floor = scaled.floor();
    let t = scaled - floor;
    let bent = mix(t * 0.32, 1.0, smooth(0.60, 0.93, t));
    (floor + bent) / layers
}

fn rock(eye: Vec3, ray: Vec3, distance: f32, spread: f32) -> Vec3 {
    let place = eye + ray * distance;
    let footprint = (distance * spread).max(0.001);
    let fine = octaves_for(footprint * 0.45, 11);
    let normal = normal_of(place.x, place.z, footprint * 1.2, |x, z| ground(x, z, fine));
    let broad = normal_of(place.x, place.z, 0.08, |x, z| ground(x, z, 6));
    let lit = sunlight(place + normal * 0.015, sun(), 5.0, 0.02, |x, z| {
        ground(x, z, 6)
    });

    let bedding = place.y + 0.035 * fbm(place.x * 0.8, place.z * 0.8, 4, 11);
    let thick = 0.5 + 0.5 * gradient(bedding * 4.2, 1.5, 12);
    let thin = 0.5 + 0.5 * fbm(bedding * 26.0, (place.x + place.z) * 0.7, 4, 13);
    let face = v(0.42, 0.165, 0.085)
        .mix(v(0.62, 0.38, 0.23), smooth(0.35, 0.75, thick))
        .mix(v(0.26, 0.095, 0.060), 0.75 * smooth(0.55, 0.9, thin));
    let stain = smooth(
        0.1,
        0.6,
        fbm(place.x * 3.0 + place.z * 3.0, place.y * 0.8, 5, 14),
    );
    let face = face.mix(v(0.16, 0.085, 0.065), 0.55 * stain);
    let scrub = smooth(0.10, 0.35, fbm(place.x * 9.0, place.z * 9.0, 4, 15));
    let flat = v(0.46, 0.27, 0.155).mix(v(0.085, 0.095, 0.045), 0.75 * scrub);
    let colour = face.mix(flat, smooth(0.78, 0.93, 0.4 * normal.y + 0.6 * broad.y));
    let colour =
        colour * (0.85 + 0.35 * fbm(place.x * 12.0, place.z * 12.0 + place.y * 15.0, 4, 16));

    let direct = normal.dot(sun()).max(0.0) * lit;
    let from_sky = v(0.26, 0.34, 0.48) * (0.35 + 0.65 * broad.y);
    let bounce = v(0.34, 0.17, 0.10) * (0.55 - 0.45 * broad.y).max(0.0);
    let light = v(2.65, 2.35, 1.95) * direct + from_sky + bounce;
    let veil = (-distance * 0.016).exp();
    colour.tinted(light) * veil + v(0.50, 0.58, 0.70) * (1.0 - veil)
}

fn sky(ray: Vec3) -> Vec3 {
    let up = ray.y.max(0.0);
    let base = v(0.62, 0.70, 0.80)
        .mix(v(0.24, 0.42, 0.76), smooth(0.0, 0.22, up))
        .mix(v(0.09, 0.22, 0.58), smooth(0.15, 0.6, up));
    let scale = 1.0 / (up + 0.10);
    let (x, z) = (ray.x * scale * 0.62 + 1.0, ray.z * scale * 0.5);
    let shape = warped(x, z, 8, 1.1, 21);
    let shade = warped(x + 0.10, z - 0.06, 6, 1.1, 21);
    let cover = smooth(0.06, 0.36, shape) * smooth(0.01, 0.07, up);
    let cloud = v(1.30, 1.28, 1.24).mix(
        v(0.56, 0.61, 0.70),
        smooth(0.0, 0.55, 0.5 * shape + 0.5 * shade),
    );
    base.mix(cloud, 0.92 * cover)
}
