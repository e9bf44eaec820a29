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
/// Speed 6 takes some 0.35 s a megapixel…
const SPEED_6_PIXELS_MAX: u64 = 6_000_000;
/// …and speed 8 some 0.12 s, 9 half of that, with 15 and 25 % more bytes.
const SPEED_8_PIXELS_MAX_BEST: u64 = 20_000_000;
/// Speed 7 takes some 0.2 s a megapixel, with 11 % more bytes than 6.
const SPEED_7_PIXELS_MAX_FIRST: u64 = 2_000_000;
const SPEED_8_PIXELS_MAX_FIRST: u64 = 4_000_000;
/// From here on halved colour shows in red edges and text.
const FULL_COLOUR_FROM: u8 = 90;
const BITS: u8 = 10;

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
        speed: speed(output.effort, pixel_count),
    };
    let mut pixels = Canvas::of(raster).pixels;
    let alpha = raster.has_alpha().then(|| alpha(&pixels));
    if raster.has_alpha() {
        smear(&mut pixels);
    }
    let size = if output.quality >= FULL_COLOUR_FROM && raster.channels != Channels::Grey {
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

fn speed(effort: Effort, pixels: u64) -> u8 {
    match effort {
        Effort::Best if pixels <= SPEED_6_PIXELS_MAX => 6,
        Effort::Best if pixels <= SPEED_8_PIXELS_MAX_BEST => 8,
        Effort::First if pixels <= SPEED_7_PIXELS_MAX_FIRST => 7,
        Effort::First if pixels <= SPEED_8_PIXELS_MAX_FIRST => 8,
        Effort::First | Effort::Best => 9,
    }
}

struct Picture {
    width: u32,
    height: u32,
    quantizer: u8,
    speed: u8,
}

impl Picture {
    fn colour(&self, planes: &Planes, size: ColourSize) -> Result<Vec<u8>, ImageError> {
        let layout = match size {
            ColourSize::Full => Layout::Full,
            ColourSize::Halved => Layout::Halved,
        };
        let planes = [&planes.luma, &planes.blue, &planes.red];
        let planes = planes.map(|plane| Plane::Words(plane));
        // Where the library is older, the tuning of before.
        self.encode(
            layout,
            &planes,
            self.quantizer,
            &["ssimulacra2", "iq", "ssim"],
        )
    }

    /// Twice as fine as the colours: edges of shapes are what one sees of it.
    fn alpha(&self, alpha: &[u16]) -> Result<Vec<u8>, ImageError> {
        let planes = [Plane::Words(alpha)];
        self.encode(Layout::Grey, &planes, self.quantizer / 2, &["psnr"])
    }

    fn encode(
        &self,
        layout: Layout,
        planes: &[Plane<'_>],
        quantizer: u8,
        tune: &[&str],
    ) -> Result<Vec<u8>, ImageError> {
        let speed = self.speed.to_string();
        let settings = [
            Setting {
                name: "cpu-used",
                values: &[&speed],
            },
            Setting {
                name: "tune",
                values: tune,
            },
        ];
        let still = Still {
            width: self.width,
            height: self.height,
            layout,
            quantizer,
            planes,
            settings: &settings,
        };
        let data = still.encode().map_err(failed)?;
        // AVIF, section 2.1: an item should have no temporal delimiter.
        match data.split_first_chunk() {
            Some(([0x12, 0x00], rest)) => Ok(rest.to_vec()),
            _ => Ok(data),
        }
    }
}

/// What is clear takes the colour before it in its row or above, so that no unseen edge costs bytes or
/// bleeds into what is seen.
fn smear(pixels: &mut [Colour]) {
    let seen = pixels.iter().find(|[.., alpha]| *alpha > 0);
    let mut last = seen.copied().unwrap_or_default();
    for pixel in pixels {
        match *pixel {
            [.., 0] => *pixel = last,
            seen => last = seen,
        }
    }
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
    fn what_is_clear_takes_a_neighbours_colour() {
        let mut pixels = [[9, 9, 9, 0], [1, 2, 3, 8], [0; 4], [4, 5, 6, 255], [0; 4]];
        smear(&mut pixels);
        let shown = pixels.map(|[red, ..]| red);
        assert_eq!(shown, [1, 1, 1, 4, 4]);
        let mut nothing = [[7, 7, 7, 0]; 2];
        smear(&mut nothing);
        assert_eq!(nothing, [[0; 4]; 2]);
    }

    #[test]
    fn larger_pictures_get_less_trouble() {
        assert_eq!(speed(Effort::Best, 1_000_000), 6);
        assert_eq!(speed(Effort::Best, 12_000_000), 8);
        assert_eq!(speed(Effort::First, 1_000_000), 7);
        assert_eq!(speed(Effort::First, 3_000_000), 8);
        assert_eq!(speed(Effort::First, 12_000_000), 9);
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
