//! The bundled origin's pictures are painted here, so that nobody's rights are in them.
//!
//! The test paints each one small and compares it with the file in the repository. With
//! `BRIM_REPAINT=1` it writes the files at full size first; unoptimised that takes hours, so
//! `CARGO_PROFILE_TEST_OPT_LEVEL=3 BRIM_REPAINT=1 cargo test --test pictures`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a painter of our own pictures, not product code: noise is made of casts"
)]

mod camera;
mod film;
mod noise;
mod scenes;
mod vector;

use std::fs;
use std::path::PathBuf;

use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use mozjpeg_rs::{Encoder, Subsampling};

use self::film::Picture;
use self::scenes::PICTURES;

/// The quality that a camera's "fine" setting comes to.
const QUALITY: u8 = 90;

/// The pictures are compared by the means of this many tiles a side: grain, the softness of small
/// sizes and another machine's last digits do not show in them, another scene does.
const TILES: u32 = 12;

#[test]
fn each_file_is_what_the_painter_paints() {
    let repaint = std::env::var_os("BRIM_REPAINT").is_some_and(|value| value == "1");
    for picture in PICTURES {
        if repaint {
            write_full_size(picture);
        }
        let file = read(picture);
        assert_eq!(
            file.dimensions(),
            (picture.width, picture.height),
            "{}",
            picture.name
        );

        let small_height = 72;
        let small_width = picture.width * small_height / picture.height;
        let painted = picture.paint(small_width, small_height);
        let painted = RgbImage::from_raw(small_width, small_height, painted).unwrap();
        let difference = mean_difference(&tiles(&painted), &tiles(&file));
        assert!(
            difference < 10.0,
            "{}: differs by {difference}",
            picture.name
        );
    }
}

#[test]
fn pictures_differ_from_each_other() {
    let all: Vec<_> = PICTURES
        .iter()
        .map(|picture| tiles(&read(picture)))
        .collect();
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            assert!(mean_difference(one, other) > 15.0);
        }
    }
}

fn path_of(picture: &Picture) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/demo/assets/photos");
    folder.join(picture.name).with_extension("jpg")
}

fn write_full_size(picture: &Picture) {
    let pixels = picture.paint(picture.width, picture.height);
    let jpeg = Encoder::baseline_optimized()
        .quality(QUALITY)
        .subsampling(Subsampling::S420)
        .encode_rgb(&pixels, picture.width, picture.height)
        .unwrap();
    fs::write(path_of(picture), jpeg).unwrap();
}

fn read(picture: &Picture) -> RgbImage {
    let jpeg = fs::read(path_of(picture)).unwrap();
    image::load_from_memory_with_format(&jpeg, ImageFormat::Jpeg)
        .unwrap()
        .into_rgb8()
}

fn tiles(picture: &RgbImage) -> RgbImage {
    imageops::resize(picture, TILES, TILES, FilterType::Triangle)
}

fn mean_difference(one: &RgbImage, other: &RgbImage) -> f64 {
    let differences = one.as_raw().iter().zip(other.as_raw());
    let sum: u32 = differences.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / one.as_raw().len() as f64
}
