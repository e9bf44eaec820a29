use image::{DynamicImage, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::{Specimen, exif, scene, stored_as};

const QUALITY: u8 = 95;

pub(super) fn specimens() -> Vec<Specimen> {
    let mut all = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, seen: &DynamicImage| {
        all.push(Specimen::still(
            format!("jpeg {name}"),
            "image/jpeg",
            bytes,
            seen,
        ));
    };
    let upright = DynamicImage::from(scene(67, 45));
    for number in 1..=8 {
        let stored = stored_as(number, &upright).to_rgb8();
        let file = jpeg(&stored, |encoder| {
            encoder.add_exif_metadata(&exif(number)).unwrap();
        });
        add(&format!("orientation {number}"), file, &upright);
    }
    let scene = upright.to_rgb8();
    for (name, factor) in [
        ("4:4:4", SamplingFactor::R_4_4_4),
        ("4:4:0", SamplingFactor::R_4_4_0),
        ("4:2:2", SamplingFactor::R_4_2_2),
        ("4:2:0", SamplingFactor::R_4_2_0),
        ("4:1:1", SamplingFactor::R_4_1_1),
    ] {
        add(
            name,
            jpeg(&scene, |encoder| encoder.set_sampling_factor(factor)),
            &upright,
        );
        // Optimised tables make this encoder write a scan for each component.
        let apart = jpeg(&scene, |encoder| {
            encoder.set_sampling_factor(factor);
            encoder.set_optimized_huffman_tables(true);
        });
        add(
            &format!("{name}, a scan for each component"),
            apart,
            &upright,
        );
        let progressive = jpeg(&scene, |encoder| {
            encoder.set_sampling_factor(factor);
            encoder.set_progressive(true);
        });
        add(&format!("{name}, progressive"), progressive, &upright);
    }
    add(
        "restarts",
        jpeg(&scene, |encoder| encoder.set_restart_interval(3)),
        &upright,
    );
    let mozjpeg = mozjpeg_rs::Encoder::progressive_balanced()
        .quality(QUALITY)
        .encode_rgb(&scene, 67, 45)
        .unwrap();
    add("progressive, optimised", mozjpeg, &upright);

    let grey = upright.grayscale();
    let luma = grey.to_luma8();
    for is_progressive in [false, true] {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, QUALITY);
        encoder.set_progressive(is_progressive);
        encoder.encode(&luma, 67, 45, ColorType::Luma).unwrap();
        add(&format!("grey, progressive {is_progressive}"), file, &grey);
    }
    for (name, kind) in [("CMYK", ColorType::Cmyk), ("YCCK", ColorType::CmykAsYcck)] {
        add(name, inked(&scene, kind, false), &upright);
        add(
            &format!("{name}, progressive"),
            inked(&scene, kind, true),
            &upright,
        );
    }
    all
}

fn jpeg(picture: &RgbImage, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    set(&mut encoder);
    let side = |pixels: u32| u16::try_from(pixels).unwrap();
    encoder
        .encode(
            picture,
            side(picture.width()),
            side(picture.height()),
            ColorType::Rgb,
        )
        .unwrap();
    file
}

fn inked(picture: &RgbImage, kind: ColorType, is_progressive: bool) -> Vec<u8> {
    let inks: Vec<u8> = picture.pixels().flat_map(|pixel| ink_of(pixel.0)).collect();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    encoder.set_progressive(is_progressive);
    encoder.encode(&inks, 67, 45, kind).unwrap();
    file
}

/// As much black as goes, without a profile.
fn ink_of(rgb: [u8; 3]) -> [u8; 4] {
    let most = u32::from(*rgb.iter().max().unwrap()).max(1);
    let [c, m, y] = rgb.map(|light| {
        let through = u32::from(light) * 255 / most;
        u8::try_from(255 - through).unwrap()
    });
    [c, m, y, u8::try_from(255 - most).unwrap()]
}
