//! A picture of every kind that comes in, made in code, each with what should be seen of it. It knows nothing
//! of brim, so that tests outside of the room can include it.

mod avif;
mod colours;
mod files;
pub(crate) mod hostile;
mod jpeg;
mod moving;
mod png;
mod webp;

use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};

pub(crate) use self::colours::{cmyk_profile, difference};

/// One file and the truth about it.
pub(crate) struct Specimen {
    pub(crate) name: String,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Upright, in sRGB.
    pub(crate) shots: Vec<Shot>,
    /// 0 is forever.
    pub(crate) repeats: u16,
    /// Hard edges between strong colours, which lossy codecs smear.
    pub(crate) is_flat: bool,
}

/// One frame as it should be seen.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) seen: RgbaImage,
    pub(crate) milliseconds: u32,
}

impl Specimen {
    fn still(
        name: impl Into<String>,
        media_type: &'static str,
        bytes: Vec<u8>,
        seen: &DynamicImage,
    ) -> Self {
        let shot = Shot {
            seen: seen.to_rgba8(),
            milliseconds: 0,
        };
        Self {
            name: name.into(),
            media_type,
            bytes,
            shots: vec![shot],
            repeats: 0,
            is_flat: false,
        }
    }

    fn flat(self) -> Self {
        Self {
            is_flat: true,
            ..self
        }
    }
}

/// All of them.
pub(crate) fn specimens() -> Vec<Specimen> {
    [
        jpeg::specimens(),
        png::specimens(),
        moving::specimens(),
        webp::specimens(),
        avif::specimens(),
        files::specimens(),
        colours::specimens(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Smooth, so that codecs keep it, and different in every corner.
pub(crate) fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let across = x * 160 / width;
        let down = y * 160 / height;
        let both = (x * 2 + y) * 120 / (width * 2 + height);
        Rgb([40 + across, 200 - down, 60 + both].map(|value| u8::try_from(value).unwrap()))
    })
}

/// The same, transparent at the left and opaque at the right.
fn glass(width: u32, height: u32) -> RgbaImage {
    let scene = scene(width, height);
    RgbaImage::from_fn(width, height, |x, y| {
        let [r, g, b] = scene.get_pixel(x, y).0;
        Rgba([r, g, b, u8::try_from(x * 255 / (width - 1)).unwrap()])
    })
}

/// Few colours, flat.
fn chart(width: u32, height: u32, colours: u8) -> (RgbImage, Vec<u8>, Vec<[u8; 3]>) {
    let palette: Vec<[u8; 3]> = (0..colours)
        .map(|n| {
            let step = u32::from(n) * 255 / u32::from(colours);
            [step, 255 - step, (step * 7) % 256].map(|value| u8::try_from(value).unwrap())
        })
        .collect();
    let index = |x: u32, y: u32| {
        let place = x * u32::from(colours) / width + y / 8;
        u8::try_from(place % u32::from(colours)).unwrap()
    };
    let indices: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| index(x, y))
        .collect();
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb(palette[usize::from(index(x, y))]));
    (picture, indices, palette)
}

/// As a camera stores it that says this number (CIPA DC-008 §4.6.4).
fn stored_as(number: u8, picture: &DynamicImage) -> DynamicImage {
    match number {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.rotate90().fliph(),
        6 => picture.rotate270(),
        7 => picture.rotate270().fliph(),
        8 => picture.rotate90(),
        _ => picture.clone(),
    }
}

/// A TIFF structure that says how the camera was held, who made the picture and where.
pub(crate) fn exif(number: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x03\0".to_vec();
    let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        tiff.extend_from_slice(&tag.to_le_bytes());
        tiff.extend_from_slice(&kind.to_le_bytes());
        tiff.extend_from_slice(&count.to_le_bytes());
        tiff.extend_from_slice(&value);
    };
    entry(0x0112, 3, 1, [number, 0, 0, 0]);
    entry(0x8298, 2, 4, *b"Ann\0");
    entry(0x8825, 4, 1, [50, 0, 0, 0]);
    tiff.extend_from_slice(&[0; 4]);
    // A folder of one entry: the latitude's letter.
    tiff.extend_from_slice(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0");
    tiff
}
