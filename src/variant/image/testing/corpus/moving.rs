use image::{DynamicImage, Rgba, RgbaImage};

use super::png::{chunk, plain, zlib};
use super::webp::{frame_chunk, header, lossless, lossy, push, riff};
use super::{Shot, Specimen, scene};

const WIDTH: u32 = 40;
const HEIGHT: u32 = 30;

/// What each format is told, in words that all of them know.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Keep,
    Clear,
    Restore,
}

struct Step {
    place: (u32, u32),
    patch: RgbaImage,
    after: After,
    milliseconds: u32,
}

pub(super) fn specimens() -> Vec<Specimen> {
    let gif = |name: &str, steps: &[Step], repeats| {
        moving(
            format!("gif {name}"),
            "image/gif",
            gif(steps, repeats),
            steps,
            repeats,
        )
    };
    let png = |name: &str, steps: &[Step], repeats| {
        moving(
            format!("png {name}"),
            "image/apng",
            apng(steps, repeats),
            steps,
            repeats,
        )
    };
    let webp = |name: &str, steps: &[Step], repeats, is_lossy| {
        let file = animated_webp(steps, repeats, is_lossy);
        moving(format!("webp {name}"), "image/webp", file, steps, repeats)
    };
    let odd = steps(
        &[After::Keep, After::Restore, After::Clear, After::Keep],
        70,
        false,
    );
    let still = steps(&[After::Keep], 0, false);
    let fast = steps(&[After::Keep, After::Keep, After::Clear], 0, false);
    let no_restore = steps(&[After::Keep, After::Clear, After::Keep], 30, false);
    let smooth = steps(&[After::Keep, After::Clear, After::Keep], 30, true);
    vec![
        gif("still", &still, 1),
        gif("odd disposal, offsets, alpha", &odd, 0),
        gif("played three times", &odd, 3),
        gif("without delays", &fast, 0),
        png("animated, odd disposal", &odd, 0),
        png("animated, played twice", &no_restore, 2),
        webp("animated, lossless", &no_restore, 0, false),
        webp("animated, lossy, played twice", &smooth, 2, true),
        webp("animated, without delays", &fast, 0, false),
    ]
}

/// A whole scene, then patches with corners that are clear.
fn steps(after: &[After], milliseconds: u32, is_smooth: bool) -> Vec<Step> {
    let patch = |n: u32| {
        let (width, height) = (14, 10);
        RgbaImage::from_fn(width, height, |x, y| {
            if x + y < 6 {
                return Rgba([0; 4]);
            }
            let shade = u8::try_from(60 * n).unwrap();
            Rgba([200 - shade / 2, shade, 90, 255])
        })
    };
    let whole = DynamicImage::from(scene(WIDTH, HEIGHT)).to_rgba8();
    (0..)
        .zip(after)
        .map(|(n, after)| Step {
            place: if n == 0 { (0, 0) } else { (4 * n, 6 * n - 2) },
            patch: match n {
                0 if is_smooth => whole.clone(),
                0 => posterised(&whole),
                _ => patch(n),
            },
            after: *after,
            milliseconds,
        })
        .collect()
}

/// Few enough colours for a palette.
fn posterised(picture: &RgbaImage) -> RgbaImage {
    let mut picture = picture.clone();
    for pixel in picture.pixels_mut() {
        for channel in &mut pixel.0[..3] {
            *channel = *channel / 48 * 48;
        }
    }
    picture
}

/// The truth, laid over each other pixel by pixel.
fn moving(
    name: String,
    media_type: &'static str,
    bytes: Vec<u8>,
    steps: &[Step],
    repeats: u16,
) -> Specimen {
    let mut canvas = RgbaImage::new(WIDTH, HEIGHT);
    let mut shots = Vec::new();
    for step in steps {
        let before = canvas.clone();
        image::imageops::overlay(
            &mut canvas,
            &step.patch,
            step.place.0.into(),
            step.place.1.into(),
        );
        shots.push(Shot {
            seen: canvas.clone(),
            milliseconds: step.milliseconds,
        });
        match step.after {
            After::Keep => {}
            After::Restore => canvas = before,
            After::Clear => {
                let (left, top) = step.place;
                for (x, y, _) in step.patch.enumerate_pixels() {
                    canvas.put_pixel(left + x, top + y, Rgba([0; 4]));
                }
            }
        }
    }
    if shots.len() == 1 {
        shots[0].milliseconds = 0;
    }
    Specimen {
        name,
        media_type,
        bytes,
        repeats: if shots.len() == 1 { 0 } else { repeats },
        shots,
        is_flat: true,
    }
}

fn gif(steps: &[Step], repeats: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let side = |pixels: u32| u16::try_from(pixels).unwrap();
    let mut encoder = gif::Encoder::new(&mut file, side(WIDTH), side(HEIGHT), &[]).unwrap();
    match repeats {
        0 => encoder.set_repeat(gif::Repeat::Infinite).unwrap(),
        1 => {}
        plays => encoder.set_repeat(gif::Repeat::Finite(plays - 1)).unwrap(),
    }
    for step in steps {
        let mut pixels = step.patch.clone().into_raw();
        let (width, height) = step.patch.dimensions();
        let mut frame = gif::Frame::from_rgba(side(width), side(height), &mut pixels);
        frame.left = side(step.place.0);
        frame.top = side(step.place.1);
        frame.delay = side(step.milliseconds / 10);
        frame.dispose = match step.after {
            After::Keep => gif::DisposalMethod::Keep,
            After::Clear => gif::DisposalMethod::Background,
            After::Restore => gif::DisposalMethod::Previous,
        };
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    file
}

fn apng(steps: &[Step], repeats: u16) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [
        &WIDTH.to_be_bytes()[..],
        &HEIGHT.to_be_bytes(),
        &[8, 6, 0, 0, 0],
    ]
    .concat();
    chunk(&mut file, *b"IHDR", &header);
    let count = u32::try_from(steps.len()).unwrap();
    let control = [count.to_be_bytes(), u32::from(repeats).to_be_bytes()].concat();
    chunk(&mut file, *b"acTL", &control);
    let mut sequence = 0_u32;
    for (n, step) in steps.iter().enumerate() {
        let mut control = sequence.to_be_bytes().to_vec();
        let (width, height) = step.patch.dimensions();
        for number in [width, height, step.place.0, step.place.1] {
            control.extend_from_slice(&number.to_be_bytes());
        }
        control.extend_from_slice(&u16::try_from(step.milliseconds).unwrap().to_be_bytes());
        control.extend_from_slice(&1000_u16.to_be_bytes());
        let after = match step.after {
            After::Keep => 0,
            After::Clear => 1,
            After::Restore => 2,
        };
        control.extend_from_slice(&[after, 1]);
        chunk(&mut file, *b"fcTL", &control);
        sequence += 1;
        let rows = plain(&DynamicImage::from(step.patch.clone()), 6, 8).rows();
        if n == 0 {
            chunk(&mut file, *b"IDAT", &zlib(&rows));
        } else {
            let data = [&sequence.to_be_bytes()[..], &zlib(&rows)].concat();
            chunk(&mut file, *b"fdAT", &data);
            sequence += 1;
        }
    }
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn animated_webp(steps: &[Step], repeats: u16, is_lossy: bool) -> Vec<u8> {
    let mut chunks = vec![
        (*b"VP8X", header(0x12, (WIDTH, HEIGHT))),
        (*b"ANIM", [&[0; 4][..], &repeats.to_le_bytes()].concat()),
    ];
    for (n, step) in steps.iter().enumerate() {
        let number = |value: u32| value.to_le_bytes()[..3].to_vec();
        let (width, height) = step.patch.dimensions();
        let flags = u8::from(step.after == After::Clear);
        let mut content = [
            number(step.place.0 / 2),
            number(step.place.1 / 2),
            number(width - 1),
            number(height - 1),
            number(step.milliseconds),
            vec![flags],
        ]
        .concat();
        // Only the first frame is smooth enough for halved colour.
        let picture = DynamicImage::from(step.patch.clone());
        let file = if is_lossy && n == 0 {
            lossy(&DynamicImage::from(picture.to_rgb8()))
        } else {
            lossless(&picture)
        };
        let (kind, bytes) = frame_chunk(&file);
        push(&mut content, kind, &bytes);
        chunks.push((*b"ANMF", content));
    }
    riff(&chunks)
}
