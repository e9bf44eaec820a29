use image::{DynamicImage, ImageFormat};
use std::io::Cursor;

use super::{Specimen, exif, glass, scene, stored_as};

pub(super) fn specimens() -> Vec<Specimen> {
    let scene = DynamicImage::from(scene(58, 34));
    let glass = DynamicImage::from(glass(58, 34));
    let mut all = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, seen: &DynamicImage| {
        all.push(Specimen::still(
            format!("webp {name}"),
            "image/webp",
            bytes,
            seen,
        ));
    };
    add("lossless", lossless(&scene), &scene);
    add("lossless with alpha", lossless(&glass), &glass);
    add("lossy", lossy(&scene), &scene);
    add("lossy with alpha", lossy(&glass), &glass);
    for number in [3, 8] {
        let stored = stored_as(number, &scene);
        let size = (stored.width(), stored.height());
        let chunks = [
            (*b"VP8X", header(0x08, size)),
            frame_chunk(&lossy(&stored)),
            (*b"EXIF", exif(number)),
        ];
        add(&format!("orientation {number}"), riff(&chunks), &scene);
    }
    all
}

pub(super) fn lossless(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::WebP).unwrap();
    file.into_inner()
}

pub(super) fn lossy(picture: &DynamicImage) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    if picture.color().has_alpha() {
        let rgba = picture.to_rgba8();
        webp::Encoder::from_rgba(&rgba, width, height)
            .encode(96.0)
            .to_vec()
    } else {
        let rgb = picture.to_rgb8();
        webp::Encoder::from_rgb(&rgb, width, height)
            .encode(96.0)
            .to_vec()
    }
}

/// RFC 9649 §2.7.
pub(super) fn header(flags: u8, (width, height): (u32, u32)) -> Vec<u8> {
    let side = |pixels: u32| (pixels - 1).to_le_bytes()[..3].to_vec();
    [vec![flags, 0, 0, 0], side(width), side(height)].concat()
}

/// The one chunk of a simple file.
pub(super) fn frame_chunk(file: &[u8]) -> ([u8; 4], Vec<u8>) {
    let length = u32::from_le_bytes(file[16..20].try_into().unwrap()) as usize;
    (
        file[12..16].try_into().unwrap(),
        file[20..20 + length].to_vec(),
    )
}

pub(super) fn riff(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut content = b"WEBP".to_vec();
    for (kind, bytes) in chunks {
        push(&mut content, *kind, bytes);
    }
    let length = u32::try_from(content.len()).unwrap();
    [&b"RIFF"[..], &length.to_le_bytes(), &content].concat()
}

pub(super) fn push(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    file.extend_from_slice(&kind);
    file.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
    file.extend_from_slice(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
}
