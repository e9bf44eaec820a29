use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Picture, PixelLayout, PlanarImageComponent, Plane};

use super::super::super::error::ImageError;
use super::super::super::raster::Channels;
use super::super::{as_length, bad, unsupported};
use super::halvings;

/// How numbers stand for colours (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    pub(super) primaries: u8,
    pub(super) transfer: u8,
    pub(super) matrix: u8,
    pub(super) is_full: bool,
}

/// A plane's rows as numbers.
struct Rows {
    plane: Plane,
    stride: usize,
    width: usize,
    height: usize,
    is_wide: bool,
}

impl Rows {
    fn new(
        picture: &Picture,
        component: PlanarImageComponent,
        (width, height): (u32, u32),
    ) -> Self {
        Self {
            stride: as_length(u64::from(picture.stride(component))),
            plane: picture.plane(component),
            width: as_length(u64::from(width)),
            height: as_length(u64::from(height)),
            is_wide: picture.bit_depth() > 8,
        }
    }

    /// The nearest row that there is.
    fn read(&self, row: usize, into: &mut Vec<f32>) {
        into.clear();
        let start = row.min(self.height.saturating_sub(1)) * self.stride;
        let bytes = self.plane.get(start..).unwrap_or_default();
        if self.is_wide {
            let (pairs, _) = bytes.as_chunks::<2>();
            into.extend(
                pairs
                    .iter()
                    .take(self.width)
                    .map(|pair| f32::from(u16::from_ne_bytes(*pair))),
            );
        } else {
            into.extend(bytes.iter().take(self.width).map(|byte| f32::from(*byte)));
        }
    }
}

/// From a code to 0…1 (lightness) or −½…½ (colour).
struct Scale {
    offset: f32,
    factor: f32,
}

impl Scale {
    fn of_light(depth: u32, is_full: bool) -> Self {
        if is_full {
            Self {
                offset: 0.0,
                factor: 1.0 / (power(depth) - 1.0),
            }
        } else {
            let unit = power(depth - 8);
            Self {
                offset: 16.0 * unit,
                factor: 1.0 / (219.0 * unit),
            }
        }
    }

    fn of_colour(depth: u32, is_full: bool) -> Self {
        let factor = if is_full {
            1.0 / (power(depth) - 1.0)
        } else {
            1.0 / (224.0 * power(depth - 8))
        };
        Self {
            offset: power(depth - 1),
            factor,
        }
    }

    fn at(&self, code: f32) -> f32 {
        (code - self.offset) * self.factor
    }
}

fn power(bits: u32) -> f32 {
    f32::from(1_u16 << bits.min(15))
}

fn depth(picture: &Picture) -> Result<u32, ImageError> {
    match picture.bits_per_component().map(|bits| bits.0) {
        Some(8) => Ok(8),
        Some(10) => Ok(10),
        Some(12) => Ok(12),
        _ => Err(bad("neither 8, 10 nor 12 bits")),
    }
}

/// The plane of lightness, or of alpha, at eight bits.
pub(super) fn lights(picture: &Picture, range: YUVRange) -> Result<Vec<u8>, ImageError> {
    let scale = Scale::of_light(depth(picture)?, range == YUVRange::Full);
    let rows = Rows::new(
        picture,
        PlanarImageComponent::Y,
        (picture.width(), picture.height()),
    );
    let mut row = Vec::new();
    let mut pixels = Vec::with_capacity(rows.width * rows.height);
    for y in 0..rows.height {
        rows.read(y, &mut row);
        pixels.extend(row.iter().map(|code| as_byte(scale.at(*code))));
    }
    Ok(pixels)
}

pub(super) fn colours(
    picture: &Picture,
    coding: Coding,
) -> Result<(Channels, Vec<u8>), ImageError> {
    let layout = picture.pixel_layout();
    if layout == PixelLayout::I400 {
        let range = if coding.is_full {
            YUVRange::Full
        } else {
            YUVRange::Limited
        };
        return Ok((Channels::Grey, lights(picture, range)?));
    }
    let depth = depth(picture)?;
    let (width, height) = (picture.width(), picture.height());
    let light = Scale::of_light(depth, coding.is_full);
    let colour = Scale::of_colour(depth, coding.is_full);
    let (halved_across, halved_down) = halvings(layout);
    let size = (
        if halved_across {
            width.div_ceil(2)
        } else {
            width
        },
        if halved_down {
            height.div_ceil(2)
        } else {
            height
        },
    );
    let y_rows = Rows::new(picture, PlanarImageComponent::Y, (width, height));
    let u_rows = Rows::new(picture, PlanarImageComponent::U, size);
    let v_rows = Rows::new(picture, PlanarImageComponent::V, size);
    let convert = Matrix::of(coding.matrix)?;
    if convert.is_none() && layout != PixelLayout::I444 {
        return Err(bad("halved planes of red and blue"));
    }

    let (mut y_row, mut u_row, mut v_row) = (Vec::new(), Vec::new(), Vec::new());
    let mut spread = Spread {
        halved_across,
        halved_down,
        near: Vec::new(),
        far: Vec::new(),
    };
    let mut pixels = Vec::with_capacity(y_rows.width * y_rows.height * 3);
    for y in 0..y_rows.height {
        y_rows.read(y, &mut y_row);
        spread.read(&u_rows, y, &mut u_row);
        spread.read(&v_rows, y, &mut v_row);
        for ((y, u), v) in y_row.iter().zip(&u_row).zip(&v_row) {
            let rgb = match &convert {
                Some(matrix) => matrix.apply(light.at(*y), colour.at(*u), colour.at(*v)),
                // Green, blue, red.
                None => [light.at(*v), light.at(*y), light.at(*u)],
            };
            pixels.extend_from_slice(&rgb.map(as_byte));
        }
    }
    Ok((Channels::Rgb, pixels))
}

/// Brings halved planes to full size: samples stand in the middle of those that they stand for, and are
/// mixed three to one.
struct Spread {
    halved_across: bool,
    halved_down: bool,
    near: Vec<f32>,
    far: Vec<f32>,
}

impl Spread {
    fn read(&mut self, rows: &Rows, y: usize, into: &mut Vec<f32>) {
        if !self.halved_down {
            rows.read(if self.halved_down { y / 2 } else { y }, &mut self.near);
        } else {
            let near = y / 2;
            let far = if y.is_multiple_of(2) {
                near.saturating_sub(1)
            } else {
                near + 1
            };
            rows.read(near, &mut self.near);
            rows.read(far, &mut self.far);
            for (near, far) in self.near.iter_mut().zip(&self.far) {
                *near = near.mul_add(0.75, far * 0.25);
            }
        }
        into.clear();
        if !self.halved_across {
            into.extend_from_slice(&self.near);
            return;
        }
        let before = self.near.first().into_iter().chain(&self.near);
        let after = self.near.iter().skip(1).chain(self.near.last());
        for ((before, here), after) in before.zip(&self.near).zip(after) {
            into.push(here.mul_add(0.75, before * 0.25));
            into.push(here.mul_add(0.75, after * 0.25));
        }
    }
}

/// From lightness and two differences to red, green and blue (H.273 §8.3).
struct Matrix {
    red_of_v: f32,
    green_of_u: f32,
    green_of_v: f32,
    blue_of_u: f32,
}

impl Matrix {
    /// `None` is the identity.
    fn of(code: u8) -> Result<Option<Self>, ImageError> {
        let (red, blue) = match code {
            0 => return Ok(None),
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            // Unspecified is read as what pictures have always been coded with.
            2 | 5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return Err(unsupported("an AVIF of unusual colours")),
        };
        let green = 1.0 - red - blue;
        let (of_v, of_u) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        Ok(Some(Self {
            red_of_v: of_v,
            green_of_u: -of_u * blue / green,
            green_of_v: -of_v * red / green,
            blue_of_u: of_u,
        }))
    }

    fn apply(&self, y: f32, u: f32, v: f32) -> [f32; 3] {
        [
            self.red_of_v.mul_add(v, y),
            self.green_of_v.mul_add(v, self.green_of_u.mul_add(u, y)),
            self.blue_of_u.mul_add(u, y),
        ]
    }
}

fn as_byte(value: f32) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is what is meant"
    )]
    let byte = (value * 255.0 + 0.5) as u8;
    byte
}
