//! Pictures made in code, for the tests of this room.

pub(super) mod corpus;

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageBuffer, ImageFormat, Rgb};

use super::raster::Raster;

/// Red, green, blue and grey; a JPEG keeps them apart.
const CORNERS: [[u8; 3]; 4] = [[220, 20, 20], [20, 200, 20], [20, 20, 220], [120, 120, 120]];

/// Which of the colours stands in which corner: top left, top right, bottom left, bottom right.
pub(super) const UPRIGHT: [usize; 4] = [0, 1, 2, 3];

/// Four areas of four colours.
pub(super) fn corners(width: u32, height: u32) -> DynamicImage {
    ImageBuffer::from_fn(width, height, |x, y| {
        let right = usize::from(x >= width / 2);
        let lower = usize::from(y >= height / 2);
        Rgb(CORNERS[lower * 2 + right])
    })
    .into()
}

/// A smooth picture with grain: like a photograph, much larger as PNG.
pub(super) fn noise(width: u32, height: u32) -> DynamicImage {
    let mut state = 12345_u32;
    ImageBuffer::from_fn(width, height, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = state >> 28;
        Rgb([x, y, x + y].map(|base| u8::try_from((base * 2 + grain) % 256).unwrap()))
    })
    .into()
}

pub(super) fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(super) fn png(picture: &DynamicImage) -> Vec<u8> {
    written(picture, ImageFormat::Png)
}

pub(super) fn jpeg(picture: &DynamicImage) -> Vec<u8> {
    let rgb = picture.to_rgb8();
    mozjpeg_rs::Encoder::fastest()
        .quality(92)
        .encode_rgb(&rgb, rgb.width(), rgb.height())
        .unwrap()
}

/// Lossless.
pub(super) fn webp(picture: &DynamicImage) -> Vec<u8> {
    written(picture, ImageFormat::WebP)
}

pub(super) fn gif(frames: &[&DynamicImage]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    for frame in frames {
        encoder.encode_frame(Frame::new(frame.to_rgba8())).unwrap();
    }
    drop(encoder);
    file
}

/// The chunks that say "animated", before pixels that are never looked at.
pub(super) fn animated_png(frames: u32) -> Vec<u8> {
    let still = png(&corners(4, 4));
    let (head, rest) = still.split_at(33);
    let mut file = head.to_vec();
    file.extend_from_slice(&8_u32.to_be_bytes());
    file.extend_from_slice(b"acTL");
    file.extend_from_slice(&frames.to_be_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(rest);
    file
}

/// The picture as a camera stores it that says this number.
pub(super) fn stored_as(number: u8, picture: &DynamicImage) -> DynamicImage {
    match number {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.rotate90().fliph(),
        6 => picture.rotate270(),
        7 => picture.rotate270().fliph(),
        8 => picture.rotate90(),
        _ => picture.clone(),
    }
}

/// Puts an Exif segment with only the orientation after the start of a JPEG.
pub(super) fn with_orientation(jpeg: &[u8], number: u8) -> Vec<u8> {
    let mut tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend_from_slice(&[number, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(tiff.len() + 2).unwrap();
    [
        &[0xff, 0xd8, 0xff, 0xe1],
        &length.to_be_bytes()[..],
        &tiff,
        &jpeg[2..],
    ]
    .concat()
}

#[track_caller]
pub(super) fn assert_corners(raster: &Raster, expect: [usize; 4]) {
    let count = raster.channels.count();
    let (width, height) = (raster.width as usize, raster.height as usize);
    let places = [
        (1, 1),
        (width - 2, 1),
        (1, height - 2),
        (width - 2, height - 2),
    ];
    for ((x, y), colour) in places.into_iter().zip(expect) {
        let start = (y * width + x) * count;
        let found = &raster.pixels[start..start + 3];
        let near = found
            .iter()
            .zip(CORNERS[colour])
            .all(|(a, b)| a.abs_diff(b) < 40);
        assert!(
            near,
            "at {x},{y}: {found:?}, expected {:?}",
            CORNERS[colour]
        );
    }
}

#[track_caller]
pub(super) fn assert_corners_of(file: &[u8], expect: [usize; 4]) {
    let rgb = image::load_from_memory(file).unwrap().into_rgb8();
    let raster = Raster {
        width: rgb.width(),
        height: rgb.height(),
        channels: super::raster::Channels::Rgb,
        pixels: rgb.into_raw(),
    };
    assert_corners(&raster, expect);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JpegScans {
    Interleaved,
    Separate,
    /// A progressive file that stops after the levels, sent one component at a time.
    Progressive,
}

/// A baseline JPEG of 32 × 32 pixels, written by hand: each block one level, rising from block to block,
/// so that misplaced blocks show. `sampling` is that of the first component, both ways.
pub(super) fn flat_jpeg(components: u8, sampling: u8, scans: JpegScans) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    segment(&mut file, 0xdb, &[&[0][..], &[8; 64]].concat());
    let sampling_of = |n| if n == 0 { sampling } else { 1 };
    let mut frame = vec![8, 0, 32, 0, 32, components];
    for n in 0..components {
        frame.extend_from_slice(&[n + 1, sampling_of(n) * 0x11, 0]);
    }
    let is_progressive = scans == JpegScans::Progressive;
    segment(&mut file, if is_progressive { 0xc2 } else { 0xc0 }, &frame);
    // DC: all twelve sizes with codes of four bits. AC: only "end of block", one bit.
    let mut dc = vec![0, 0, 0, 0, 12];
    dc.extend_from_slice(&[0; 12]);
    dc.extend(0..12);
    segment(&mut file, 0xc4, &dc);
    let mut ac = vec![0x10, 1];
    ac.extend_from_slice(&[0; 15]);
    ac.push(0);
    segment(&mut file, 0xc4, &ac);

    let all: Vec<u8> = (0..components).collect();
    let groups: Vec<&[u8]> = match scans {
        JpegScans::Interleaved => vec![&all],
        JpegScans::Separate | JpegScans::Progressive => all.chunks(1).collect(),
    };
    for group in groups {
        let mut header = vec![u8::try_from(group.len()).unwrap()];
        header.extend(group.iter().flat_map(|n| [n + 1, 0]));
        header.extend_from_slice(&[0, if is_progressive { 0 } else { 63 }, 0]);
        segment(&mut file, 0xda, &header);
        file.extend_from_slice(&scan(group, sampling, sampling_of, is_progressive));
    }
    file.extend_from_slice(&[0xff, 0xd9]);
    file
}

fn scan(
    group: &[u8],
    sampling: u8,
    sampling_of: impl Fn(u8) -> u8,
    is_progressive: bool,
) -> Vec<u8> {
    let mut bits = Bits::default();
    let mut last = [0_i32; 4];
    let mut put = |bits: &mut Bits, n: u8, x: u8, y: u8, per_row: u8| {
        let level = i32::from(n) * 5 + i32::from(y) * i32::from(per_row) + i32::from(x);
        let slot = &mut last[usize::from(n)];
        bits.difference(level * 4 - *slot);
        if !is_progressive {
            bits.end_of_block();
        }
        *slot = level * 4;
    };
    let blocks_of = |n| 4 / sampling * sampling_of(n);
    if let [only] = *group {
        // A scan of one component goes row by row (ITU-T T.81 §A.2.2)…
        let per_row = blocks_of(only);
        for y in 0..per_row {
            for x in 0..per_row {
                put(&mut bits, only, x, y, per_row);
            }
        }
    } else {
        // …and one of several in units that hold a square of each.
        for unit in 0..(4 / sampling) * (4 / sampling) {
            let (column, row) = (unit % (4 / sampling), unit / (4 / sampling));
            for n in group.iter().copied() {
                let side = sampling_of(n);
                for inner in 0..side * side {
                    let (x, y) = (column * side + inner % side, row * side + inner / side);
                    put(&mut bits, n, x, y, blocks_of(n));
                }
            }
        }
    }
    bits.bytes()
}

fn segment(file: &mut Vec<u8>, kind: u8, content: &[u8]) {
    file.extend_from_slice(&[0xff, kind]);
    let length = u16::try_from(content.len() + 2).unwrap();
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(content);
}

/// Huffman-coded bits with the tables of [`flat_jpeg`].
#[derive(Default)]
struct Bits(String);

impl Bits {
    fn difference(&mut self, difference: i32) {
        let size = 32 - difference.unsigned_abs().leading_zeros();
        self.0 += &format!("{size:04b}");
        if size > 0 {
            let coded = if difference < 0 {
                difference + (1 << size) - 1
            } else {
                difference
            };
            self.0 += &format!("{coded:0width$b}", width = size as usize);
        }
    }

    fn end_of_block(&mut self) {
        self.0.push('0');
    }

    fn bytes(mut self) -> Vec<u8> {
        while !self.0.len().is_multiple_of(8) {
            self.0.push('1');
        }
        let mut bytes = Vec::new();
        for byte in self.0.as_bytes().chunks(8) {
            let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
            bytes.push(byte);
            if byte == 0xff {
                bytes.push(0);
            }
        }
        bytes
    }
}
