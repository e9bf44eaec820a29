//! From light to a picture: exposure, lens and film.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::noise::hash;
use super::vector::{Vec3, v};

/// What a scene is given for each pixel.
#[derive(Clone, Copy, Debug)]
pub struct Pixel {
    /// To the right, so that the picture's height is -1…1.
    pub x: f32,
    /// Upwards, -1…1.
    pub y: f32,
    /// A pixel's side in the same measure.
    pub size: f32,
}

/// One picture of the collection.
pub struct Picture {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub exposure: f32,
    /// 1 is a sensor at a low setting.
    pub grain: f32,
    /// The darkening of the corners.
    pub vignette: f32,
    /// The light that a pixel sees.
    pub light: fn(Pixel) -> Vec3,
}

impl Picture {
    /// Paints it at the given size as 8-bit RGB.
    pub fn paint(&self, width: u32, height: u32) -> Vec<u8> {
        let light = softened(&self.exposed(width, height), width, height);
        let mut bytes = Vec::with_capacity(light.len() * 3);
        for (index, light) in light.iter().enumerate() {
            let (x, y) = (index as u32 % width, index as u32 / width);
            let colour = developed(*light * self.exposure);
            // Grain is of the film, not of the scene: pixels, whatever the size. It is coarser
            // than one pixel and weakest in the highlights.
            let grain = self.grain * self.grain_at(x, y) * (1.15 - colour.luminance());
            for value in [colour.x, colour.y, colour.z] {
                bytes.push(((value + grain).clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
            }
        }
        bytes
    }

    fn exposed(&self, width: u32, height: u32) -> Vec<Vec3> {
        let mut light = vec![Vec3::default(); (width * height) as usize];
        let rows: Vec<_> = light.chunks_mut(width as usize).collect();
        let count = rows.len();
        let threads = thread::available_parallelism().map_or(2, usize::from);
        // Rows are dealt out in turn: sky is quick and ground is slow.
        let mut hands: Vec<Vec<(u32, &mut [Vec3])>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, row) in (0_u32..).zip(rows) {
            hands[number as usize % threads].push((number, row));
        }
        let painted = AtomicU32::new(0);
        thread::scope(|scope| {
            for hand in hands {
                scope.spawn(|| {
                    for (y, row) in hand {
                        self.expose_row(y, row, height);
                        painted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(painted.into_inner() as usize, count);
        light
    }

    fn expose_row(&self, row: u32, lights: &mut [Vec3], height: u32) {
        let size = 2.0 / height as f32;
        let middle = 0.5 * lights.len() as f32;
        let y = 1.0 - (row as f32 + 0.5) * size;
        for (column, light) in (0_u32..).zip(lights) {
            let x = (column as f32 + 0.5 - middle) * size;
            let corner = (x * x + y * y) / (1.0 + (middle * size) * (middle * size));
            let seen = (self.light)(Pixel { x, y, size });
            *light = seen * (1.0 - self.vignette * corner * corner.sqrt());
        }
    }

    fn grain_at(&self, x: u32, y: u32) -> f32 {
        let seed = self.width ^ self.height.rotate_left(16);
        let fine = hash(x as i32, y as i32, seed) + hash(x as i32, y as i32, seed + 1) - 1.0;
        let coarse = hash((x / 2) as i32, (y / 2) as i32, seed + 2) - 0.5;
        0.013 * fine + 0.010 * coarse
    }
}

/// A lens is never quite sharp: a light blur over three by three.
fn softened(light: &[Vec3], width: u32, height: u32) -> Vec<Vec3> {
    let (width, height) = (width as usize, height as usize);
    let at = |x: usize, y: usize| light[y.min(height - 1) * width + x.min(width - 1)];
    let mut soft = Vec::with_capacity(light.len());
    for y in 0..height {
        for x in 0..width {
            let (left, above) = (x.saturating_sub(1), y.saturating_sub(1));
            let sides = at(left, y) + at(x + 1, y) + at(x, above) + at(x, y + 1);
            let corners = at(left, above) + at(x + 1, above) + at(left, y + 1) + at(x + 1, y + 1);
            soft.push(at(x, y) * 0.36 + sides * 0.11 + corners * 0.05);
        }
    }
    soft
}

/// Linear light to display values, with a film's shoulder and toe.
fn developed(light: Vec3) -> Vec3 {
    // Bright colours lose their saturation as on film: some of each channel reaches the others.
    let light = light.map(|value| value.max(0.0));
    let grey = light.luminance();
    let light = light.mix(v(grey, grey, grey), 0.06);
    light.map(|x| {
        let shown = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
        encoded(shown.clamp(0.0, 1.0))
    })
}

/// The sRGB transfer function.
fn encoded(linear: f32) -> f32 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}
