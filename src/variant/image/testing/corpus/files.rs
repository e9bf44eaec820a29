use std::io::Cursor;

use image::{DynamicImage, GenericImageView as _, ImageFormat};
use tiff::encoder::colortype::{CMYK8, Gray8, Gray16, RGB8, RGB16, RGBA8};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder};
use tiff::tags::Tag;

use super::{Specimen, chart, glass, scene, stored_as};

pub(super) fn specimens() -> Vec<Specimen> {
    let mut all = Vec::new();
    bmp(&mut |name, bytes, seen| {
        let still = Specimen::still(format!("bmp {name}"), "image/bmp", bytes, seen);
        let is_flat = name.contains("palette") || name.contains("run");
        all.push(if is_flat { still.flat() } else { still });
    });
    tiff(&mut |name, bytes, seen| {
        all.push(Specimen::still(
            format!("tiff {name}"),
            "image/tiff",
            bytes,
            seen,
        ));
    });
    all
}

type Add<'a> = &'a mut dyn FnMut(&str, Vec<u8>, &DynamicImage);

fn bmp(add: Add<'_>) {
    let scene = DynamicImage::from(scene(51, 33));
    add("24 bits", written(&scene), &scene);
    let glass = DynamicImage::from(glass(51, 33));
    add("32 bits with alpha", written(&glass), &glass);
    let grey = DynamicImage::from(scene.to_luma8());
    add("grey", written(&grey), &grey);

    let (picture, indices, palette) = chart(51, 33, 16);
    let seen = DynamicImage::from(picture);
    for bits in [4_u16, 8] {
        add(
            &format!("palette of {bits} bits"),
            by_palette(&indices, &palette, bits),
            &seen,
        );
    }
    let (picture, indices, palette) = chart(51, 33, 2);
    let two = DynamicImage::from(picture);
    add("palette of 1 bit", by_palette(&indices, &palette, 1), &two);
    add("run lengths", run_lengths(&indices, &palette), &two);
    add("top row first", top_first(&scene), &scene);
}

fn written(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Bmp).unwrap();
    file.into_inner()
}

/// The file's and the information header (40 bytes), for a height that may be negative.
fn head(height: i32, bits: u16, compression: u32, palette: &[[u8; 3]], data: &[u8]) -> Vec<u8> {
    let start = 54 + palette.len() * 4;
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let mut file = b"BM".to_vec();
    file.extend_from_slice(&number(start + data.len()));
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&number(start));
    file.extend_from_slice(&number(40));
    file.extend_from_slice(&number(51));
    file.extend_from_slice(&height.to_le_bytes());
    file.extend_from_slice(&[1, 0]);
    file.extend_from_slice(&bits.to_le_bytes());
    file.extend_from_slice(&compression.to_le_bytes());
    file.extend_from_slice(&number(data.len()));
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&number(palette.len()));
    file.extend_from_slice(&[0; 4]);
    for [r, g, b] in palette {
        file.extend_from_slice(&[*b, *g, *r, 0]);
    }
    file.extend_from_slice(data);
    file
}

fn by_palette(indices: &[u8], palette: &[[u8; 3]], bits: u16) -> Vec<u8> {
    let mut data = Vec::new();
    for row in indices.chunks(51).rev() {
        let mut bytes = vec![0; (51 * usize::from(bits)).div_ceil(32) * 4];
        for (n, index) in row.iter().enumerate() {
            let place = n * usize::from(bits);
            bytes[place / 8] |= index << (8 - usize::from(bits) - place % 8);
        }
        data.extend_from_slice(&bytes);
    }
    head(33, bits, 0, palette, &data)
}

/// RLE8: runs, ends of lines, the end.
fn run_lengths(indices: &[u8], palette: &[[u8; 3]]) -> Vec<u8> {
    let mut data = Vec::new();
    for row in indices.chunks(51).rev() {
        for run in row.chunk_by(|a, b| a == b) {
            data.extend_from_slice(&[u8::try_from(run.len()).unwrap(), run[0]]);
        }
        data.extend_from_slice(&[0, 0]);
    }
    data.extend_from_slice(&[0, 1]);
    head(33, 8, 1, palette, &data)
}

fn top_first(picture: &DynamicImage) -> Vec<u8> {
    let mut data = Vec::new();
    for y in 0..33 {
        for x in 0..51 {
            let [r, g, b, _] = picture.get_pixel(x, y).0;
            data.extend_from_slice(&[b, g, r]);
        }
        data.extend_from_slice(&[0; 3]);
    }
    head(-33, 24, 0, &[], &data)
}

fn tiff(add: Add<'_>) {
    let scene = DynamicImage::from(scene(51, 33));
    let rgb = scene.to_rgb8();
    let packings = [
        ("plain", Compression::Uncompressed),
        ("deflate", Compression::Deflate(DeflateLevel::Balanced)),
        ("LZW", Compression::Lzw),
        ("packed bits", Compression::Packbits),
    ];
    for (name, packing) in packings {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file)
            .unwrap()
            .with_compression(packing);
        encoder.write_image::<RGB8>(51, 33, &rgb).unwrap();
        add(name, file.into_inner(), &scene);
    }
    let wide: Vec<u16> = rgb.iter().map(|byte| u16::from(*byte) * 257).collect();
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<RGB16>(51, 33, &wide)
        .unwrap();
    add("16 bits", file.into_inner(), &scene);

    let grey = scene.grayscale();
    let luma = grey.to_luma8();
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<Gray8>(51, 33, &luma)
        .unwrap();
    add("grey", file.into_inner(), &grey);
    let wide: Vec<u16> = luma.iter().map(|byte| u16::from(*byte) * 257).collect();
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<Gray16>(51, 33, &wide)
        .unwrap();
    add("grey, 16 bits", file.into_inner(), &grey);

    let glass = DynamicImage::from(glass(51, 33));
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<RGBA8>(51, 33, &glass.to_rgba8())
        .unwrap();
    add("alpha", file.into_inner(), &glass);

    let inks: Vec<u8> = rgb
        .pixels()
        .flat_map(|p| [255 - p.0[0], 255 - p.0[1], 255 - p.0[2], 0])
        .collect();
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file)
        .unwrap()
        .write_image::<CMYK8>(51, 33, &inks)
        .unwrap();
    add("CMYK", file.into_inner(), &scene);

    for number in [2_u16, 5, 8] {
        let stored = stored_as(u8::try_from(number).unwrap(), &scene).to_rgb8();
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        let mut picture = encoder
            .new_image::<RGB8>(stored.width(), stored.height())
            .unwrap();
        picture
            .encoder()
            .write_tag(Tag::Orientation, number)
            .unwrap();
        picture.write_data(&stored).unwrap();
        add(&format!("orientation {number}"), file.into_inner(), &scene);
    }
}
