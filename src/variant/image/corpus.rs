//! Every kind of picture that comes in, through to every format that goes out.

use image::{DynamicImage, RgbaImage};

use super::super::config::{ImageConfig, ImageWorkers};
use super::colour::to_srgb;
use super::cook::{Watch, cook_file};
use super::decode::{Decoded, Demand, open};
use super::encode::Effort;
use super::error::ImageError;
use super::headers::essence_of;
use super::operate::Turn;
use super::raster::{Channels, Raster};
use super::recipe::{Picture, Recipe, recipe};
use super::sniff::{SourceFormat, sniff};
use super::testing::corpus::{Specimen, difference, specimens};
use super::wish::wish_of;

struct Free;

impl Watch for Free {
    type Reserved = ();

    fn reserve(&self, _: u64) -> Result<(), ImageError> {
        Ok(())
    }

    fn check(&self) -> Result<(), ImageError> {
        Ok(())
    }
}

const WHOLE: Demand = Demand {
    reduction: 1,
    all_frames: true,
};

fn declared(specimen: &Specimen) -> SourceFormat {
    essence_of(specimen.media_type).unwrap()
}

fn decoded(bytes: &[u8], declared: SourceFormat, demand: Demand) -> Result<Decoded, ImageError> {
    let sniffed = sniff(bytes, Some(declared))?;
    open(bytes, &sniffed, &ImageWorkers::default())?.decode(demand, &|| Ok(()))
}

/// As it should be seen, whatever decodes it.
fn seen(decoded: &Decoded) -> Vec<RgbaImage> {
    let turn = Turn::of(decoded.orientation);
    let frames = decoded.film.frames.iter();
    frames
        .map(|frame| {
            let raster = to_srgb(turn.apply(frame.raster.clone()), decoded.profile.as_deref());
            rgba(raster.unwrap())
        })
        .collect()
}

fn rgba(raster: Raster) -> RgbaImage {
    let (width, height) = (raster.width, raster.height);
    if raster.channels == Channels::Rgba {
        return RgbaImage::from_raw(width, height, raster.pixels).unwrap();
    }
    let rgb = image::RgbImage::from_raw(width, height, raster.rgb_on_white()).unwrap();
    DynamicImage::from(rgb).to_rgba8()
}

fn recipe_of(query: &str) -> Recipe {
    let config = ImageConfig {
        enabled: true,
        ..ImageConfig::default()
    };
    let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
    recipe(&config, &wish.unwrap(), true, true)
}

fn made(specimen: &Specimen, query: &str) -> Result<Picture, ImageError> {
    let recipe = recipe_of(query).declared(Some(declared(specimen)));
    let limits = ImageWorkers::default();
    cook_file(&recipe, Effort::First, &specimen.bytes, &limits, &Free)
}

#[track_caller]
fn assert_alike(found: &RgbaImage, expect: &RgbaImage, most: f64, what: &str) {
    assert_eq!(found.dimensions(), expect.dimensions(), "{what}");
    let (colours, alphas) = difference(found, expect);
    assert!(colours < most, "{what}: colours differ by {colours}");
    assert!(alphas < 2.0, "{what}: alpha differs by {alphas}");
}

#[test]
fn there_are_enough_of_them() {
    let specimens = specimens();
    let mut names: Vec<_> = specimens.iter().map(|specimen| &specimen.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), specimens.len());
    assert!(names.len() >= 60, "{}", names.len());
}

#[test]
fn every_kind_is_decoded_as_it_should_be_seen() {
    for specimen in specimens() {
        let name = &specimen.name;
        let decoded = decoded(&specimen.bytes, declared(&specimen), WHOLE)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let film = &decoded.film;
        assert_eq!(film.frames.len(), specimen.shots.len(), "{name}");
        if film.is_animated() {
            assert_eq!(film.repeats, specimen.repeats, "{name}");
        }
        for (n, (found, shot)) in seen(&decoded).iter().zip(&specimen.shots).enumerate() {
            assert_alike(found, &shot.seen, 2.0, &format!("{name}, frame {n}"));
            let frame = &film.frames[n];
            if film.is_animated() {
                assert_eq!(frame.milliseconds, shot.milliseconds, "{name}, frame {n}");
            }
        }
    }
}

#[test]
fn every_kind_becomes_every_format() {
    for specimen in specimens() {
        for format in ["jpeg", "png", "webp", "avif", "gif"] {
            check_made(&specimen, format);
        }
    }
}

fn check_made(specimen: &Specimen, format: &str) {
    let what = format!("{} to {format}", specimen.name);
    let picture = made(specimen, &format!("format={format}&quality=95"))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let first = &specimen.shots[0].seen;
    assert_eq!(
        (picture.width, picture.height),
        first.dimensions(),
        "{what}"
    );
    let again = decoded(
        &picture.bytes,
        essence_of(&format!("image/{format}")).unwrap(),
        WHOLE,
    )
    .unwrap_or_else(|error| panic!("{what}, read again: {error}"));

    let keeps_frames = matches!(format, "webp" | "gif");
    let shots = if keeps_frames {
        &specimen.shots[..]
    } else {
        &specimen.shots[..1]
    };
    let film = &again.film;
    assert_eq!(film.frames.len(), shots.len(), "{what}");
    if film.is_animated() {
        assert_eq!(film.repeats, specimen.repeats, "{what}");
    }
    for (n, (found, shot)) in seen(&again).iter().zip(shots).enumerate() {
        let what = format!("{what}, frame {n}");
        if film.is_animated() {
            assert_eq!(film.frames[n].milliseconds, shot.milliseconds, "{what}");
        }
        let expect = match format {
            "jpeg" => on_white(&shot.seen),
            "gif" => cut_out(&shot.seen),
            _ => shot.seen.clone(),
        };
        assert_alike(found, &expect, tolerance(specimen, format), &what);
    }
}

/// Lossy codecs smear hard edges, and 256 colours are few for a smooth picture.
fn tolerance(specimen: &Specimen, format: &str) -> f64 {
    match format {
        "png" => 2.0,
        "gif" => 4.0,
        _ if specimen.is_flat => 25.0,
        _ => 2.0,
    }
}

/// GIF knows no half transparency.
fn cut_out(picture: &RgbaImage) -> RgbaImage {
    let mut picture = picture.clone();
    for pixel in picture.pixels_mut() {
        pixel.0[3] = if pixel.0[3] < 128 { 0 } else { 255 };
    }
    picture
}

fn on_white(picture: &RgbaImage) -> RgbaImage {
    rgba(Raster {
        width: picture.width(),
        height: picture.height(),
        channels: Channels::Rgb,
        pixels: Raster {
            width: picture.width(),
            height: picture.height(),
            channels: Channels::Rgba,
            pixels: picture.clone().into_raw(),
        }
        .rgb_on_white(),
    })
}
