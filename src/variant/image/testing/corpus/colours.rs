use image::{DynamicImage, Rgb, RgbImage, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use moxcms::{ColorProfile, Layout, TransformOptions};

use super::png::{plain, zlib};
use super::{Specimen, scene};

pub(super) fn specimens() -> Vec<Specimen> {
    let seen = DynamicImage::from(scene(49, 37));
    let mut all = Vec::new();
    for (name, profile) in [
        ("sRGB", ColorProfile::new_srgb()),
        ("Display P3", ColorProfile::new_display_p3()),
        ("Adobe RGB", ColorProfile::new_adobe_rgb()),
        ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
    ] {
        let icc = profile.encode().unwrap();
        let coded = in_profile(&seen, &profile);
        all.push(Specimen::still(
            format!("png {name}"),
            "image/png",
            with_profile(&coded, &icc),
            &seen,
        ));
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 97);
        encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
        encoder.add_icc_profile(&icc).unwrap();
        encoder
            .encode(&coded.to_rgb8(), 49, 37, ColorType::Rgb)
            .unwrap();
        all.push(Specimen::still(
            format!("jpeg {name}"),
            "image/jpeg",
            file,
            &seen,
        ));
    }
    let mut p3 = plain(&in_profile(&seen, &ColorProfile::new_display_p3()), 2, 8);
    p3.before.push((*b"cICP", vec![12, 13, 0, 1]));
    all.push(Specimen::still(
        "png P3 by its code",
        "image/png",
        p3.write(),
        &seen,
    ));

    let grey = ColorProfile::new_gray_with_gamma(1.8);
    let seen_grey = seen.grayscale();
    let mut coded = seen_grey.to_luma8();
    for pixel in coded.pixels_mut() {
        let light = linear(f64::from(pixel.0[0]) / 255.0);
        pixel.0[0] = byte(light.powf(1.0 / 1.8));
    }
    let mut file = plain(&DynamicImage::from(coded), 0, 8);
    file.before
        .push((*b"iCCP", icc_chunk(&grey.encode().unwrap())));
    all.push(Specimen::still(
        "png grey of gamma 1.8",
        "image/png",
        file.write(),
        &seen_grey,
    ));
    all.push(inks());
    all
}

fn in_profile(picture: &DynamicImage, profile: &ColorProfile) -> DynamicImage {
    let mut rgb = picture.to_rgb8();
    let transform = ColorProfile::new_srgb()
        .create_transform_8bit(
            Layout::Rgb,
            profile,
            Layout::Rgb,
            TransformOptions::default(),
        )
        .unwrap();
    let mut coded = vec![0; rgb.len()];
    transform.transform(&rgb, &mut coded).unwrap();
    rgb.copy_from_slice(&coded);
    DynamicImage::from(rgb)
}

fn icc_chunk(icc: &[u8]) -> Vec<u8> {
    [&b"profile\0\0"[..], &zlib(icc)].concat()
}

fn with_profile(picture: &DynamicImage, icc: &[u8]) -> Vec<u8> {
    let mut file = plain(picture, 2, 8);
    file.before.push((*b"iCCP", icc_chunk(icc)));
    file.write()
}

/// Areas of four mixtures that the profile below knows, each far from what they would be without it.
fn inks() -> Specimen {
    let mixtures = [0b1000_u8, 0b0110, 0b0000, 0b0011];
    let at = |x: u32, y: u32| mixtures[usize::from(x >= 24) + 2 * usize::from(y >= 16)];
    let seen = RgbImage::from_fn(48, 32, |x, y| Rgb(colour_of(at(x, y))));
    let inks: Vec<u8> = (0..32)
        .flat_map(|y| (0..48).map(move |x| (x, y)))
        .flat_map(|(x, y)| [3, 2, 1, 0].map(|bit| (at(x, y) >> bit & 1) * 255))
        .collect();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 97);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    encoder.add_icc_profile(&cmyk_profile()).unwrap();
    encoder.encode(&inks, 48, 32, ColorType::Cmyk).unwrap();
    let seen = DynamicImage::from(seen);
    Specimen::still("jpeg CMYK with a profile", "image/jpeg", file, &seen).flat()
}

/// What a mixture of whole inks (cyan, magenta, yellow, black from the highest bit) looks like on this press.
fn colour_of(inks: u8) -> [u8; 3] {
    let mut rgb = [230.0, 225.0, 210.0_f64];
    let through = [
        [0.3, 0.7, 0.8],
        [0.8, 0.35, 0.6],
        [0.9, 0.85, 0.3],
        [0.2, 0.2, 0.2],
    ];
    for (bit, through) in (0..4).rev().zip(through) {
        if inks >> bit & 1 == 1 {
            for (channel, part) in rgb.iter_mut().zip(through) {
                *channel *= part;
            }
        }
    }
    rgb.map(|channel| byte(channel / 255.0))
}

/// A printer's profile with a table of two steps an ink (ICC.1:2001-04 §6.5.7, `lut8Type`).
pub(crate) fn cmyk_profile() -> Vec<u8> {
    let ramp: Vec<u8> = (0..=255).collect();
    let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for n in 0..9 {
        let one: u32 = if n % 4 == 0 { 0x1_0000 } else { 0 };
        table.extend_from_slice(&one.to_be_bytes());
    }
    table.extend_from_slice(&ramp.repeat(4));
    for inks in 0..16 {
        let [l, a, b] = lab(colour_of(inks));
        table.extend_from_slice(&[
            byte(l / 100.0),
            byte((a + 128.0) / 255.0),
            byte((b + 128.0) / 255.0),
        ]);
    }
    table.extend_from_slice(&ramp.repeat(3));
    let white = b"XYZ \0\0\0\0\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d".to_vec();
    let text = b"desc\0\0\0\0\0\0\0\x06press\0".to_vec();
    let text = [text, vec![0; 78]].concat();
    let right = b"text\0\0\0\0none\0\0\0\0".to_vec();

    let tags = [
        (*b"A2B0", table),
        (*b"wtpt", white),
        (*b"desc", text),
        (*b"cprt", right),
    ];
    let mut directory = u32::try_from(tags.len()).unwrap().to_be_bytes().to_vec();
    let mut content = Vec::new();
    let start = 128 + 4 + tags.len() * 12;
    for (name, bytes) in &tags {
        let place = u32::try_from(start + content.len()).unwrap();
        directory.extend_from_slice(name);
        directory.extend_from_slice(&place.to_be_bytes());
        directory.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        content.extend_from_slice(bytes);
        content.resize(content.len().next_multiple_of(4), 0);
    }
    let mut header = vec![0; 128];
    let size = u32::try_from(start + content.len()).unwrap();
    header[..4].copy_from_slice(&size.to_be_bytes());
    header[8..12].copy_from_slice(&[2, 0x40, 0, 0]);
    header[12..24].copy_from_slice(b"prtrCMYKLab ");
    header[24..36].copy_from_slice(&[0x07, 0xea, 0, 11, 0, 27, 0, 0, 0, 0, 0, 0]);
    header[36..40].copy_from_slice(b"acsp");
    header[68..80].copy_from_slice(b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d");
    [header, directory, content].concat()
}

/// The mean distance of colours (CIE 1976 ΔE), over white where they are transparent, and of alpha (0…255).
pub(crate) fn difference(a: &RgbaImage, b: &RgbaImage) -> (f64, f64) {
    assert_eq!(a.dimensions(), b.dimensions());
    let (mut colours, mut alphas) = (0.0, 0.0);
    for (a, b) in a.pixels().zip(b.pixels()) {
        let (la, lb) = (lab(on_white(a.0)), lab(on_white(b.0)));
        let square: f64 = la.iter().zip(lb).map(|(a, b)| (a - b).powi(2)).sum();
        colours += square.sqrt();
        alphas += f64::from(a.0[3].abs_diff(b.0[3]));
    }
    let pixels = f64::from(a.width() * a.height());
    (colours / pixels, alphas / pixels)
}

fn on_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    [r, g, b].map(|channel| {
        let (channel, alpha) = (f64::from(channel), f64::from(alpha) / 255.0);
        byte((channel * alpha + 255.0 * (1.0 - alpha)) / 255.0)
    })
}

fn byte(value: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let byte = (value * 255.0).round().clamp(0.0, 255.0) as u8;
    byte
}

fn linear(value: f64) -> f64 {
    if value <= 0.04045 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

/// CIELAB under D50, from sRGB by the adapted matrix of its ICC profile.
fn lab(rgb: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|channel| linear(f64::from(channel) / 255.0));
    let xyz = [
        (0.43607 * r + 0.38515 * g + 0.14307 * b) / 0.9642,
        0.22249 * r + 0.71687 * g + 0.06061 * b,
        (0.01392 * r + 0.09708 * g + 0.71410 * b) / 0.8249,
    ];
    let [x, y, z] = xyz.map(|t| {
        if t > 216.0 / 24389.0 {
            t.cbrt()
        } else {
            (24389.0 / 27.0 * t + 16.0) / 116.0
        }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}
