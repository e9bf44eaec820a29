use image::DynamicImage;
use ravif::{BitDepth, ColorModel, Encoder, Img, RGBA8};

use super::{Specimen, glass, scene};

pub(super) fn specimens() -> Vec<Specimen> {
    let scene = DynamicImage::from(scene(66, 40));
    let glass = DynamicImage::from(glass(66, 40));
    let mut all = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, seen: &DynamicImage| {
        all.push(Specimen::still(
            format!("avif {name}"),
            "image/avif",
            bytes,
            seen,
        ));
    };
    for (bits, depth) in [(8, BitDepth::Eight), (10, BitDepth::Ten)] {
        let made = |picture: &DynamicImage, model| {
            avif(
                picture,
                Encoder::new()
                    .with_bit_depth(depth)
                    .with_internal_color_model(model),
            )
        };
        add(
            &format!("{bits} bits"),
            made(&scene, ColorModel::YCbCr),
            &scene,
        );
        add(
            &format!("{bits} bits with alpha"),
            made(&glass, ColorModel::YCbCr),
            &glass,
        );
        add(
            &format!("{bits} bits, planes of colours"),
            made(&scene, ColorModel::RGB),
            &scene,
        );
    }
    let plain = plain();
    for (quarters, mirror) in [
        (1, None),
        (2, None),
        (3, None),
        (0, Some(0)),
        (0, Some(1)),
        (1, Some(0)),
    ] {
        let mut seen = match quarters {
            1 => scene.rotate270(),
            2 => scene.rotate180(),
            3 => scene.rotate90(),
            _ => scene.clone(),
        };
        seen = match mirror {
            Some(0) => seen.flipv(),
            Some(_) => seen.fliph(),
            None => seen,
        };
        let file = turned(&plain, quarters, mirror);
        add(
            &format!("turned by {quarters}, mirrored {mirror:?}"),
            file,
            &seen,
        );
    }
    all
}

/// Of eight bits, without alpha.
pub(super) fn plain() -> Vec<u8> {
    let scene = DynamicImage::from(scene(66, 40));
    avif(&scene, Encoder::new().with_bit_depth(BitDepth::Eight))
}

fn avif(picture: &DynamicImage, encoder: Encoder<'_>) -> Vec<u8> {
    let rgba = picture.to_rgba8();
    let pixels: Vec<RGBA8> = rgba
        .pixels()
        .map(|pixel| RGBA8::new(pixel.0[0], pixel.0[1], pixel.0[2], pixel.0[3]))
        .collect();
    let (width, height) = (rgba.width() as usize, rgba.height() as usize);
    encoder
        .with_quality(97.0)
        .with_alpha_quality(97.0)
        .with_speed(10)
        .with_num_threads(Some(1))
        .encode_rgba(Img::new(&pixels, width, height))
        .unwrap()
        .avif_file
}

/// Puts properties into the container that say how the picture is to be turned.
fn turned(file: &[u8], quarters: u8, mirror: Option<u8>) -> Vec<u8> {
    let mut properties = Vec::new();
    let mut kinds = 0;
    if quarters > 0 {
        properties.extend_from_slice(&[0, 0, 0, 9, b'i', b'r', b'o', b't', quarters]);
        kinds += 1;
    }
    if let Some(axis) = mirror {
        properties.extend_from_slice(&[0, 0, 0, 9, b'i', b'm', b'i', b'r', axis]);
        kinds += 1;
    }
    let ipco = place(file, b"ipco");
    let ipma = place(file, b"ipma");
    let known = count_boxes(&file[ipco + 4..ipco - 4 + length_at(file, ipco)]);
    let added = properties.len() + usize::from(kinds);
    let mut file = file.to_vec();
    // Entries of the associations: count of items, item, count of its properties.
    let count_at = ipma + 4 + 4 + 4 + 2;
    let count = usize::from(file[count_at]);
    let indices: Vec<u8> = (1..=kinds).map(|n| 0x80 | (known + n)).collect();
    file[count_at] += kinds;
    for kind in [b"ipma", b"iprp", b"meta"] {
        let more = if kind == b"ipma" {
            indices.len()
        } else {
            added
        };
        lengthen(&mut file, kind, more);
    }
    let after_indices = count_at + 1 + count;
    file.splice(after_indices..after_indices, indices);
    let end_of_ipco = ipco - 4 + length_at(&file, ipco);
    lengthen(&mut file, b"ipco", properties.len());
    file.splice(end_of_ipco..end_of_ipco, properties);
    // The pixels have moved.
    let iloc = place(&file, b"iloc");
    let (items, offset_at) = (
        u16::from_be_bytes([file[iloc + 10], file[iloc + 11]]),
        iloc + 12 + 2 + 2 + 2,
    );
    assert_eq!((items, file[iloc + 8]), (1, 0x44), "as ravif writes it");
    let offset = u32::from_be_bytes(file[offset_at..offset_at + 4].try_into().unwrap());
    let moved = offset + u32::try_from(added).unwrap();
    file[offset_at..offset_at + 4].copy_from_slice(&moved.to_be_bytes());
    file
}

/// Where the name of a box stands.
fn place(file: &[u8], kind: &[u8; 4]) -> usize {
    file.windows(4).position(|window| window == kind).unwrap()
}

fn length_at(file: &[u8], name: usize) -> usize {
    u32::from_be_bytes(file[name - 4..name].try_into().unwrap()) as usize
}

fn lengthen(file: &mut [u8], kind: &[u8; 4], more: usize) {
    let name = place(file, kind);
    let length = u32::try_from(length_at(file, name) + more).unwrap();
    file[name - 4..name].copy_from_slice(&length.to_be_bytes());
}

fn count_boxes(mut content: &[u8]) -> u8 {
    let mut count = 0;
    while content.len() >= 8 {
        count += 1;
        content = &content[u32::from_be_bytes(content[..4].try_into().unwrap()) as usize..];
    }
    count
}
