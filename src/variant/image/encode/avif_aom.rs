//! AVIF by libaom (feature `native-codecs`): a fifth of the time of rav1e, and a third fewer bytes.

use avif_serialize::Aviffy;
use brim_codec_sys::{Layout, Plane, Setting, Still};

use super::super::error::ImageError;
use super::super::raster::{Channels, Raster};
use super::changes::Canvas;
use super::indexed::Colour;
use super::planes::{ColourSize, Planes, alpha};
use super::{Effort, Output, failed};

/// Up to here it is chosen by `auto`…
pub(in super::super) const AVIF_AUTO_PIXELS_MAX: u64 = 12_000_000;
/// …up to here while a first visitor waits, if a thread is free…
pub(in super::super) const AVIF_PROMPT_PIXELS_MAX: u64 = 2_000_000;
/// …and up to here it is made at all: at the fastest speed some 0.06 s a megapixel.
const AVIF_PIXELS_MAX: u64 = 50_000_000;
/// Speed 6 takes some 0.33 s a megapixel, three quarters of that with square blocks alone and 3 % more bytes…
const SPEED_6_PIXELS_MAX_BEST: u64 = 6_000_000;
const SPEED_6_PIXELS_MAX_FIRST: u64 = 2_000_000;
/// …and speed 8 some 0.1 s, 9 half of that, with 20 and 30 % more bytes.
const SPEED_8_PIXELS_MAX_BEST: u64 = 20_000_000;
const SPEED_8_PIXELS_MAX_FIRST: u64 = 4_000_000;
/// From here on halved colour shows in red edges and text.
const FULL_COLOUR_FROM: u8 = 90;
const BITS: u8 = 10;
/// Up to so much alpha, colour is not seen: it moves what it lies on by at most 3 of 255. Next to nothing of it was left
/// by whoever multiplied by alpha and divided again, so it is noise, and dear.
const UNSEEN_ALPHA_MAX: u8 = 3;
/// The largest block of the encoder, which a colour of its own costs nothing.
const UNSEEN_SIDE: usize = 64;

pub(super) fn encode(
    raster: &Raster,
    output: &Output,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    let pixel_count = raster.pixel_count();
    if pixel_count > AVIF_PIXELS_MAX {
        return Err(ImageError::TooLarge {
            what: "its number of pixels, for AVIF",
        });
    }
    let picture = Picture {
        width: raster.width,
        height: raster.height,
        quantizer: quantizer(output.quality),
        care: care(output.effort, pixel_count),
    };
    let mut pixels = Canvas::of(raster).pixels;
    let alpha = raster.has_alpha().then(|| alpha(&pixels));
    let is_fine = output.quality >= FULL_COLOUR_FROM;
    if raster.has_alpha() {
        let unseen = if is_fine { 0 } else { UNSEEN_ALPHA_MAX };
        even_out(&mut pixels, raster.width, unseen);
    }
    let size = if is_fine && raster.channels != Channels::Grey {
        ColourSize::Full
    } else {
        ColourSize::Halved
    };
    let planes = Planes::of(&pixels, raster.width, size);
    drop(pixels);

    let colour = picture.colour(&planes, size)?;
    drop(planes);
    let alpha = alpha.map(|alpha| picture.alpha(&alpha)).transpose()?;
    let mut file = Aviffy::new();
    file.set_width(raster.width)
        .set_height(raster.height)
        .set_bit_depth(BITS)
        .set_seq_profile(u8::from(size == ColourSize::Full))
        .set_chroma_subsampling((size == ColourSize::Halved, size == ColourSize::Halved));
    if let Some(exif) = exif {
        file.set_exif(exif.to_vec());
    }
    let mut bytes = Vec::new();
    file.write_slice(&mut bytes, &colour, alpha.as_deref())
        .map_err(failed)?;
    Ok(bytes)
}

/// As avifenc and sharp count: 100 is 0, and 0 is 63.
fn quantizer(quality: u8) -> u8 {
    let worse = 100 - u16::from(quality.min(100));
    u8::try_from((worse * 63 + 50) / 100).unwrap_or(63)
}

/// How hard libaom tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Care {
    speed: u8,
    /// Whether blocks are tried that are not square.
    has_oblongs: bool,
}

fn care(effort: Effort, pixels: u64) -> Care {
    let speed = match effort {
        Effort::Best if pixels <= SPEED_6_PIXELS_MAX_BEST => 6,
        Effort::Best if pixels <= SPEED_8_PIXELS_MAX_BEST => 8,
        Effort::First if pixels <= SPEED_6_PIXELS_MAX_FIRST => 6,
        Effort::First if pixels <= SPEED_8_PIXELS_MAX_FIRST => 8,
        Effort::First | Effort::Best => 9,
    };
    Care {
        speed,
        has_oblongs: effort == Effort::Best,
    }
}

struct Picture {
    width: u32,
    height: u32,
    quantizer: u8,
    care: Care,
}

impl Picture {
    fn colour(&self, planes: &Planes, size: ColourSize) -> Result<Vec<u8>, ImageError> {
        let layout = match size {
            ColourSize::Full => Layout::Full,
            ColourSize::Halved => Layout::Halved,
        };
        let planes = [&planes.luma, &planes.blue, &planes.red];
        let planes = planes.map(|plane| Plane::Words(plane));
        let settings = [
            // Where the library is older, the tuning of before.
            set("tune", &["ssimulacra2", "iq", "ssim"]),
            // Without its search for coefficients to leave out 2 % fewer bytes at equal score (4 % of smooth
            // pictures), and 10 % less time.
            set("disable-trellis-quant", &["1"]),
            set("enable-rect-partitions", self.oblongs()),
        ];
        self.encode(layout, &planes, self.quantizer, &settings)
    }

    /// Twice as fine as the colours: edges of shapes are what one sees of it.
    fn alpha(&self, alpha: &[u16]) -> Result<Vec<u8>, ImageError> {
        let planes = [Plane::Words(alpha)];
        let settings = [
            set("tune", &["psnr"]),
            // Oblong blocks save nothing here.
            set("enable-rect-partitions", &["0"]),
        ];
        self.encode(Layout::Grey, &planes, self.quantizer / 2, &settings)
    }

    fn oblongs(&self) -> &'static [&'static str] {
        if self.care.has_oblongs {
            &["1"]
        } else {
            &["0"]
        }
    }

    fn encode(
        &self,
        layout: Layout,
        planes: &[Plane<'_>],
        quantizer: u8,
        settings: &[Setting<'_>],
    ) -> Result<Vec<u8>, ImageError> {
        let speed = self.care.speed.to_string();
        let speed = [speed.as_str()];
        let mut all = vec![
            set("cpu-used", &speed),
            // What it finds, other predictions find for less: 3 % less time, and no more bytes.
            set("enable-filter-intra", &["0"]),
        ];
        all.extend_from_slice(settings);
        let still = Still {
            width: self.width,
            height: self.height,
            layout,
            quantizer,
            planes,
            settings: &all,
        };
        let data = still.encode().map_err(failed)?;
        // AVIF, section 2.1: an item should have no temporal delimiter.
        match data.split_first_chunk() {
            Some(([0x12, 0x00], rest)) => Ok(rest.to_vec()),
            _ => Ok(data),
        }
    }
}

fn set<'a>(name: &'a str, values: &'a [&'a str]) -> Setting<'a> {
    Setting { name, values }
}

/// What is not seen takes the mean of what is seen around it, so that no edge in there costs bytes or bleeds
/// into what is seen. A colour for each square, not for each row: of stripes libaom thinks that they were drawn, and
/// takes three times as long.
fn even_out(pixels: &mut [Colour], width: u32, unseen_max: u8) {
    let width = usize::try_from(width).unwrap_or(usize::MAX).max(1);
    let band = width.saturating_mul(UNSEEN_SIDE);
    let bands = || pixels.chunks(band);
    let seen = || bands().flat_map(|band| squares(band, width)).flatten();
    // Where nothing is seen, the square before it.
    let mut last = seen().next().unwrap_or_default();
    for band in pixels.chunks_mut(band) {
        let means = squares(band, width).map(|mean| {
            last = mean.unwrap_or(last);
            last
        });
        let means: Vec<_> = means.collect();
        for row in band.chunks_mut(width) {
            for (square, [red, green, blue]) in row.chunks_mut(UNSEEN_SIDE).zip(&means) {
                let hidden = square.iter_mut().filter(|[.., alpha]| *alpha <= unseen_max);
                hidden.for_each(|pixel| {
                    let [.., alpha] = *pixel;
                    *pixel = [*red, *green, *blue, alpha];
                });
            }
        }
    }
}

/// The mean colour of each square of a band, as it is seen.
fn squares(band: &[Colour], width: usize) -> impl Iterator<Item = Option<[u8; 3]>> {
    let count = width.div_ceil(UNSEEN_SIDE);
    let mut sums = vec![[0_u64; 4]; count];
    for row in band.chunks(width) {
        for (square, [reds, greens, blues, weights]) in row.chunks(UNSEEN_SIDE).zip(&mut sums) {
            for [red, green, blue, alpha] in square.iter().map(|pixel| pixel.map(u64::from)) {
                *reds += red * alpha;
                *greens += green * alpha;
                *blues += blue * alpha;
                *weights += alpha;
            }
        }
    }
    sums.into_iter().map(|[reds, greens, blues, weight]| {
        let mean = |sum: u64| {
            sum.checked_div(weight)
                .and_then(|mean| u8::try_from(mean).ok())
        };
        Some([mean(reds)?, mean(greens)?, mean(blues)?])
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::super::config::ImageFormat;
    use super::*;

    fn output(quality: u8, effort: Effort) -> Output {
        Output {
            format: ImageFormat::Avif,
            quality,
            is_lossless: false,
            is_progressive: false,
            effort,
        }
    }

    fn raster(channels: Channels) -> Raster {
        let pixels = (0..33 * 27 * channels.count()).map(|n| u8::try_from(n % 251).unwrap());
        Raster {
            width: 33,
            height: 27,
            channels,
            pixels: pixels.collect(),
        }
    }

    fn has(file: &[u8], bytes: &[u8]) -> bool {
        file.windows(bytes.len()).any(|window| window == bytes)
    }

    #[test]
    fn every_kind_of_pixel_makes_a_file_of_its_size() {
        for channels in [Channels::Grey, Channels::Rgb, Channels::Rgba] {
            for (quality, effort) in [(50, Effort::First), (50, Effort::Best), (95, Effort::First)]
            {
                let file = encode(&raster(channels), &output(quality, effort), None).unwrap();
                assert_eq!(&file[4..12], b"ftypavif");
                assert!(has(&file, b"ispe\0\0\0\0\0\0\0\x21\0\0\0\x1B"));
                assert_eq!(has(&file, b"auxl"), channels == Channels::Rgba);
                // Of `av1C`: profile 1 is full colour; depth and subsampling in the byte after.
                let is_full = quality == 95 && channels != Channels::Grey;
                let kind: &[u8] = if is_full {
                    b"av1C\x81\x3F\x40"
                } else {
                    b"av1C\x81\x1F\x4C"
                };
                assert!(has(&file, kind), "{channels:?} {quality}");
            }
        }
    }

    #[test]
    fn quality_means_bytes() {
        let size = |quality| {
            let output = output(quality, Effort::First);
            encode(&raster(Channels::Rgb), &output, None).unwrap().len()
        };
        assert!(size(20) < size(60) && size(60) < size(100));
        assert_eq!([0, 50, 60, 100].map(quantizer), [63, 32, 25, 0]);
    }

    #[test]
    fn exif_goes_in() {
        let exif = b"II*\0\x08\0\0\0\0\0\0\0\0\0";
        let output = output(40, Effort::First);
        let file = encode(&raster(Channels::Rgb), &output, Some(exif)).unwrap();
        assert!(has(&file, exif) && has(&file, b"Exif"));
    }

    #[test]
    fn what_is_not_seen_takes_the_colour_around_it() {
        let mut pixels = vec![[9, 9, 9, 0]; 200];
        pixels[1] = [10, 20, 30, 255];
        pixels[2] = [20, 40, 60, 255];
        pixels[3] = [200, 200, 200, 3];
        pixels[150] = [7, 8, 9, 4];
        let mut strict = pixels.clone();
        even_out(&mut pixels, 100, 3);
        assert_eq!(pixels[..2], [[16, 30, 45, 0], [10, 20, 30, 255]]);
        // By alpha, so of the third next to nothing; in the square beside nothing is seen.
        assert_eq!(pixels[3], [16, 30, 45, 3]);
        assert_eq!((pixels[99], pixels[150]), ([16, 30, 45, 0], [7, 8, 9, 4]));
        even_out(&mut strict, 100, 0);
        assert_eq!(strict[3], [200, 200, 200, 3]);
        let mut nothing = [[7, 7, 7, 0]; 2];
        even_out(&mut nothing, 1, 3);
        assert_eq!(nothing, [[0; 4]; 2]);
    }

    #[test]
    fn a_square_without_colour_takes_that_of_the_one_before() {
        let mut pixels = vec![[0; 4]; 65 * 65];
        pixels[64 * 65 + 64] = [1, 2, 3, 255];
        even_out(&mut pixels, 65, 0);
        assert!(
            pixels
                .iter()
                .all(|[red, green, blue, _]| [red, green, blue] == [&1, &2, &3])
        );
    }

    #[test]
    fn larger_pictures_get_less_trouble() {
        let speed = |effort, pixels| care(effort, pixels).speed;
        assert_eq!(speed(Effort::Best, 1_000_000), 6);
        assert_eq!(speed(Effort::Best, 12_000_000), 8);
        assert_eq!(speed(Effort::First, 1_000_000), 6);
        assert_eq!(speed(Effort::First, 3_000_000), 8);
        assert_eq!(speed(Effort::First, 12_000_000), 9);
        assert!(care(Effort::Best, 1).has_oblongs && !care(Effort::First, 1).has_oblongs);
        let large = Raster {
            width: 10_000,
            height: 5_001,
            channels: Channels::Grey,
            pixels: Vec::new(),
        };
        let made = encode(&large, &output(50, Effort::First), None);
        assert!(matches!(made, Err(ImageError::TooLarge { .. })));
    }
}
