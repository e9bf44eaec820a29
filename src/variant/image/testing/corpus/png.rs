use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::{DynamicImage, Luma, Rgb, Rgba, RgbaImage};

use super::{Specimen, chart, exif, glass, scene, stored_as};

/// Colour types (PNG, third edition §11.2.1).
const GREY: u8 = 0;
const COLOUR: u8 = 2;
const PALETTE: u8 = 3;
const GREY_ALPHA: u8 = 4;
const COLOUR_ALPHA: u8 = 6;

/// A PNG to be written by hand: rows are packed already.
pub(super) struct Plain {
    pub(super) size: (u32, u32),
    pub(super) depth: u8,
    pub(super) kind: u8,
    pub(super) bits_per_pixel: usize,
    /// Samples of a pixel are whole bytes, or one byte that holds the low bits.
    pub(super) pixels: Vec<Vec<u8>>,
    pub(super) before: Vec<([u8; 4], Vec<u8>)>,
    pub(super) is_interlaced: bool,
}

pub(super) fn specimens() -> Vec<Specimen> {
    let mut all = Vec::new();
    let mut add = |name: &str, plain: Plain, seen: &DynamicImage| {
        let is_flat = plain.bits_per_pixel <= 8 || name.contains("key");
        let still = Specimen::still(format!("png {name}"), "image/png", plain.write(), seen);
        all.push(if is_flat { still.flat() } else { still });
    };
    for depth in [1_u8, 2, 4, 8] {
        let colours = if depth == 8 { 200 } else { 1 << depth };
        let (picture, indices, palette) = chart(53, 31, colours);
        let seen = DynamicImage::from(picture);
        for is_interlaced in [false, true] {
            let plain = Plain {
                size: (53, 31),
                depth,
                kind: PALETTE,
                bits_per_pixel: usize::from(depth),
                pixels: indices.iter().map(|index| vec![*index]).collect(),
                before: vec![(*b"PLTE", palette.concat())],
                is_interlaced,
            };
            add(
                &format!("palette of {depth} bits, interlaced {is_interlaced}"),
                plain,
                &seen,
            );
        }
    }
    let scene = DynamicImage::from(scene(53, 31));
    let clear = DynamicImage::from(glass(53, 31));
    for is_interlaced in [false, true] {
        for depth in [8_u8, 16] {
            let label = |name: &str| format!("{name} of {depth} bits, interlaced {is_interlaced}");
            let of = |picture: &DynamicImage, kind| {
                let mut plain = plain(picture, kind, depth);
                plain.is_interlaced = is_interlaced;
                plain
            };
            add(&label("colour"), of(&scene, COLOUR), &scene);
            add(
                &label("colour with alpha"),
                of(&clear, COLOUR_ALPHA),
                &clear,
            );
            add(
                &label("grey"),
                of(&scene.grayscale(), GREY),
                &scene.grayscale(),
            );
            let grey = DynamicImage::from(clear.to_luma_alpha8());
            add(&label("grey with alpha"), of(&grey, GREY_ALPHA), &grey);
        }
    }
    keyed(&mut add);
    let mut turned = plain(&stored_as(6, &scene), COLOUR, 8);
    turned.before.push((*b"eXIf", exif(6)));
    add("orientation 6", turned, &scene);
    all
}

/// One colour, or entries of a palette, are transparent (tRNS).
fn keyed(add: &mut impl FnMut(&str, Plain, &DynamicImage)) {
    let (picture, indices, palette) = chart(53, 31, 8);
    let key = palette[3];
    let seen = |picture: &DynamicImage, is_clear: &dyn Fn([u8; 3]) -> bool| {
        let rgb = picture.to_rgb8();
        DynamicImage::from(RgbaImage::from_fn(53, 31, |x, y| {
            let [r, g, b] = rgb.get_pixel(x, y).0;
            Rgba([r, g, b, if is_clear([r, g, b]) { 0 } else { 255 }])
        }))
    };
    let flat = DynamicImage::from(picture);
    let mut colour = plain(&flat, COLOUR, 8);
    let wide = key.iter().flat_map(|byte| [0, *byte]).collect();
    colour.before.push((*b"tRNS", wide));
    add("colour with a key", colour, &seen(&flat, &|rgb| rgb == key));

    let by_palette = Plain {
        size: (53, 31),
        depth: 4,
        kind: PALETTE,
        bits_per_pixel: 4,
        pixels: indices.iter().map(|index| vec![*index]).collect(),
        before: vec![
            (*b"PLTE", palette.concat()),
            (*b"tRNS", vec![255, 255, 255, 0]),
        ],
        is_interlaced: false,
    };
    add(
        "palette with a clear entry",
        by_palette,
        &seen(&flat, &|rgb| rgb == key),
    );

    let grey = DynamicImage::from(image::GrayImage::from_fn(53, 31, |x, _| {
        Luma([u8::try_from(x / 8 * 30).unwrap()])
    }));
    let mut keyed = plain(&grey, GREY, 8);
    keyed.before.push((*b"tRNS", vec![0, 60]));
    add(
        "grey with a key",
        keyed,
        &seen(&grey, &|rgb| rgb == [60; 3]),
    );
}

/// Samples of a picture, widened where that is asked for.
pub(super) fn plain(picture: &DynamicImage, kind: u8, depth: u8) -> Plain {
    let samples = |pixel: &[u8]| -> Vec<u8> {
        match depth {
            16 => pixel.iter().flat_map(|byte| [*byte, *byte]).collect(),
            _ => pixel.to_vec(),
        }
    };
    let pixels: Vec<Vec<u8>> = match kind {
        GREY => picture
            .to_luma8()
            .pixels()
            .map(|pixel| samples(&pixel.0))
            .collect(),
        GREY_ALPHA => {
            let grey = picture.to_luma_alpha8();
            grey.pixels().map(|pixel| samples(&pixel.0)).collect()
        }
        COLOUR_ALPHA => {
            let rgba = picture.to_rgba8();
            rgba.pixels().map(|pixel| samples(&pixel.0)).collect()
        }
        _ => {
            let rgb = picture.to_rgb8();
            rgb.pixels().map(|Rgb(pixel)| samples(pixel)).collect()
        }
    };
    Plain {
        size: (picture.width(), picture.height()),
        depth,
        kind,
        bits_per_pixel: pixels[0].len() * 8,
        pixels,
        before: Vec::new(),
        is_interlaced: false,
    }
}

impl Plain {
    pub(super) fn write(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let header = [
            &width.to_be_bytes()[..],
            &height.to_be_bytes(),
            &[self.depth, self.kind, 0, 0, u8::from(self.is_interlaced)],
        ]
        .concat();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut file, *b"IHDR", &header);
        for (kind, content) in &self.before {
            chunk(&mut file, *kind, content);
        }
        chunk(&mut file, *b"IDAT", &zlib(&self.rows()));
        chunk(&mut file, *b"IEND", &[]);
        file
    }

    /// Unfiltered, one pass or the seven of Adam (§8.1).
    pub(super) fn rows(&self) -> Vec<u8> {
        const PASSES: [(usize, usize, usize, usize); 7] = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ];
        let passes: &[_] = if self.is_interlaced {
            &PASSES
        } else {
            &[(0, 0, 1, 1)]
        };
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut rows = Vec::new();
        for (left, top, step_x, step_y) in passes {
            for y in (*top..height).step_by(*step_y) {
                let xs: Vec<usize> = (*left..width).step_by(*step_x).collect();
                if xs.is_empty() {
                    continue;
                }
                rows.push(0);
                let pixels = xs.iter().map(|x| &self.pixels[y * width + x]);
                rows.extend_from_slice(&self.packed(pixels));
            }
        }
        rows
    }

    fn packed<'a>(&self, pixels: impl Iterator<Item = &'a Vec<u8>>) -> Vec<u8> {
        if self.bits_per_pixel >= 8 {
            return pixels.flatten().copied().collect();
        }
        let mut bytes = Vec::new();
        let mut free = 0;
        for pixel in pixels {
            if free == 0 {
                bytes.push(0);
                free = 8;
            }
            free -= self.bits_per_pixel;
            *bytes.last_mut().unwrap() |= pixel[0] << free;
        }
        bytes
    }
}

pub(super) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    let mut checksum = flate2::Crc::new();
    checksum.update(&kind);
    checksum.update(content);
    file.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
    file.extend_from_slice(&kind);
    file.extend_from_slice(content);
    file.extend_from_slice(&checksum.sum().to_be_bytes());
}
