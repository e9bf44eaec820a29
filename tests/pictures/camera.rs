//! A camera over a landscape that is given as a height for every place.

use super::vector::{Vec3, v};

#[derive(Clone, Copy, Debug)]
pub struct Camera {
    pub place: Vec3,
    right: Vec3,
    up: Vec3,
    forward: Vec3,
    /// In half picture heights: 2 is a normal lens, 1 is wide.
    focal: f32,
}

impl Camera {
    pub fn looking(place: Vec3, at: Vec3, focal: f32) -> Self {
        let forward = (at - place).unit();
        let right = v(0.0, 1.0, 0.0).cross(forward).unit();
        Self {
            place,
            right,
            up: forward.cross(right),
            forward,
            focal,
        }
    }

    /// The direction through a place on the picture: `x` to the right, `y` up, height -1…1.
    pub fn ray(&self, x: f32, y: f32) -> Vec3 {
        (self.right * x + self.up * y + self.forward * self.focal).unit()
    }

    /// How much of the world a pixel covers, a unit away.
    pub fn spread(&self, pixel: f32) -> f32 {
        pixel / self.focal
    }
}

/// Where a ray meets the ground. `height(x, z, distance)` may leave out what is too far to see;
/// `stride` is the share of the free height above ground that is safe to go.
pub fn meet_ground(
    from: Vec3,
    direction: Vec3,
    reach: (f32, f32),
    ceiling: f32,
    stride: f32,
    height: impl Fn(f32, f32, f32) -> f32,
) -> Option<f32> {
    let (mut distance, far) = reach;
    let mut before = distance;
    while distance < far {
        let place = from + direction * distance;
        if place.y > ceiling && direction.y >= 0.0 {
            return None;
        }
        let above = place.y - height(place.x, place.z, distance);
        if above < 0.0004 * distance {
            return Some(halved(from, direction, before, distance, &height));
        }
        before = distance;
        distance += (stride * above).max(0.0012 * distance);
    }
    None
}

fn halved(
    from: Vec3,
    direction: Vec3,
    mut above: f32,
    mut below: f32,
    height: &impl Fn(f32, f32, f32) -> f32,
) -> f32 {
    for _ in 0..8 {
        let middle = 0.5 * (above + below);
        let place = from + direction * middle;
        if place.y > height(place.x, place.z, middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    0.5 * (above + below)
}

/// The ground's normal, measured over `step`.
pub fn normal_of(x: f32, z: f32, step: f32, height: impl Fn(f32, f32) -> f32) -> Vec3 {
    let dx = height(x + step, z) - height(x - step, z);
    let dz = height(x, z + step) - height(x, z - step);
    v(-dx, 2.0 * step, -dz).unit()
}

/// How much of the sun a place sees: 0 in full shadow, soft at the edge.
pub fn sunlight(
    from: Vec3,
    sun: Vec3,
    reach: f32,
    softness: f32,
    height: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut light: f32 = 1.0;
    let mut distance = 0.01 * reach;
    while distance < reach {
        let place = from + sun * distance;
        let above = place.y - height(place.x, place.z);
        light = light.min(0.5 + 0.5 * above / (softness * distance));
        if light <= 0.0 {
            return 0.0;
        }
        distance += (0.5 * above.abs()).max(0.012 * reach);
    }
    light * light * (3.0 - 2.0 * light)
}
