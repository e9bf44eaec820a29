//! Every kind of picture that comes in, through to every format that goes out.

use image::{DynamicImage, RgbaImage};

use super::super::config::{ImageConfig, ImageWorkers};
use super::colour::to_srgb;
use super::cook::{Watch, cook_file};
use super::decode::{Decoded, Demand, open};
use super::encode::Effort;
use super::error::ImageError;
use super::headers::essence_of;
use super::metadata::{Keep, strip};
use super::operate::Turn;
use super::raster::{Channels, Raster};
use super::recipe::{Picture, Recipe, recipe};
use super::sniff::{SourceFormat, sniff};
use super::testing::corpus::{Specimen, difference, scene, specimens};
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

#[test]
fn stripping_changes_no_pixel() {
    let mut stripped_files = 0;
    for specimen in specimens() {
        let name = &specimen.name;
        let whole = decoded(&specimen.bytes, declared(&specimen), WHOLE).unwrap();
        for keep in [Keep::None, Keep::Copyright, Keep::All] {
            let Some(stripped) = strip(&specimen.bytes, declared(&specimen), keep) else {
                continue;
            };
            stripped_files += 1;
            let again = decoded(&stripped, declared(&specimen), WHOLE).unwrap();
            assert_eq!(again.film, whole.film, "{name}");
            assert_eq!(again.orientation, whole.orientation, "{name}");
            assert_eq!(again.profile, whole.profile, "{name}");
            let says = |what: &[u8]| memchr::memmem::find(&stripped, what).is_some();
            assert_eq!(says(b"Ann\0"), keep != Keep::None, "{name}: whose it is");
            assert_eq!(
                again.metadata.kept(Keep::All),
                again.metadata.kept(keep),
                "{name}"
            );
            assert_eq!(
                strip(&stripped, declared(&specimen), keep),
                None,
                "{name}, twice"
            );
        }
    }
    assert!(stripped_files > 20, "{stripped_files}");
}

#[test]
fn what_says_nothing_is_not_stripped() {
    let specimen = specimens()
        .into_iter()
        .find(|specimen| specimen.name == "webp lossy");
    let bytes = specimen.unwrap().bytes;
    assert_eq!(strip(&bytes, SourceFormat::Webp, Keep::None), None);
    let trailing = [&bytes[..], b"GPS"].concat();
    assert_eq!(strip(&trailing, SourceFormat::Webp, Keep::All), Some(bytes));
}

#[test]
fn comments_and_applications_words_are_stripped() {
    let specimens = specimens();
    let of = |name: &str| {
        let found = specimens.iter().find(|specimen| specimen.name == name);
        found.unwrap().bytes.clone()
    };
    // After the two bytes of the start, and after the global colours.
    let mut jpeg = of("jpeg 4:4:4");
    let plain = strip(&jpeg, SourceFormat::Jpeg, Keep::All).unwrap_or_else(|| jpeg.clone());
    jpeg.splice(2..2, *b"\xff\xfe\0\x09Berlin!");
    jpeg.extend_from_slice(b"behind the end");
    assert_eq!(strip(&jpeg, SourceFormat::Jpeg, Keep::All), Some(plain));

    let gif = of("gif played three times");
    let mut chatty = gif.clone();
    let trailer = chatty.pop().unwrap();
    chatty.extend_from_slice(b"\x21\xfe\x06Berlin\0\x21\xff\x0bXMP DataXMP\x03gps\0");
    chatty.push(trailer);
    assert_eq!(strip(&chatty, SourceFormat::Gif, Keep::All), Some(gif));
}

#[test]
fn reduced_pictures_are_the_same_smaller() {
    let (width, height) = (208, 120);
    let big = DynamicImage::from(scene(width, height));
    let rgb = big.to_rgb8();
    let mut files = vec![super::testing::jpeg(&big)];
    for components in [
        jpeg_encoder::ColorType::Rgb,
        jpeg_encoder::ColorType::CmykAsYcck,
    ] {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 95);
        encoder.set_optimized_huffman_tables(true);
        let inks: Vec<u8> = rgb
            .pixels()
            .flat_map(|p| [255 - p.0[0], 255 - p.0[1], 255 - p.0[2], 0])
            .collect();
        let pixels = if components == jpeg_encoder::ColorType::Rgb {
            rgb.as_raw()
        } else {
            &inks
        };
        encoder.encode(pixels, 208, 120, components).unwrap();
        files.push(file);
    }
    let mut reduced = 0;
    for (file, wanted) in files
        .iter()
        .flat_map(|file| [2, 4, 8].map(|wanted| (file, wanted)))
    {
        let demand = Demand {
            reduction: wanted,
            all_frames: true,
        };
        let decoded = decoded(file, SourceFormat::Jpeg, demand).unwrap();
        assert_eq!(decoded.size, (width, height));
        let done = u32::from(decoded.demand.reduction);
        assert!(
            done == 1 || done == u32::from(wanted),
            "{done} for {wanted}"
        );
        reduced += usize::from(done > 1);
        let size = (width.div_ceil(done), height.div_ceil(done));
        let expect = image::imageops::thumbnail(&big.to_rgba8(), size.0, size.1);
        assert_alike(&seen(&decoded)[0], &expect, 2.0, &format!("1/{wanted}"));
    }
    assert!(reduced >= 6, "{reduced}");
}

#[test]
fn films_have_limits() {
    let specimens = specimens();
    let film = specimens
        .iter()
        .find(|specimen| specimen.shots.len() == 4)
        .unwrap();
    let limited = |limits: ImageWorkers, all_frames| {
        let sniffed = sniff(&film.bytes, None).unwrap();
        let opened = open(&film.bytes, &sniffed, &limits).unwrap();
        let demand = Demand {
            reduction: 1,
            all_frames,
        };
        let decoded = opened.decode(demand, &|| Ok(()));
        decoded.map(|decoded| decoded.film.frames.len())
    };
    let all = ImageWorkers::default();
    let few = ImageWorkers {
        max_frames: 3,
        ..all
    };
    let small = ImageWorkers {
        max_frame_pixels: 4 * 40 * 30 - 1,
        ..all
    };
    assert_eq!(limited(all, true), Ok(4));
    assert_eq!(limited(few, true).unwrap_err().as_str(), "too-large");
    assert_eq!(limited(small, true).unwrap_err().as_str(), "too-large");
    assert_eq!((limited(few, false), limited(small, false)), (Ok(1), Ok(1)));
}

#[test]
fn a_film_that_nobody_wants_stops_between_frames() {
    let specimens = specimens();
    for film in specimens.iter().filter(|specimen| specimen.shots.len() > 1) {
        let asked = std::cell::Cell::new(0);
        let check = || {
            asked.set(asked.get() + 1);
            if asked.get() > 2 {
                Err(ImageError::Cancelled)
            } else {
                Ok(())
            }
        };
        let sniffed = sniff(&film.bytes, None).unwrap();
        let opened = open(&film.bytes, &sniffed, &ImageWorkers::default()).unwrap();
        let stopped = opened.decode(WHOLE, &check).map(|_| ());
        assert_eq!(stopped, Err(ImageError::Cancelled), "{}", film.name);
    }
}
