use mozjpeg_rs::{Encoder, Subsampling};

use super::super::error::ImageError;
use super::super::raster::{Channels, Raster};
use super::{Effort, Output, failed};

/// From here on halved colour shows in red edges and text.
const FULL_COLOUR_FROM: u8 = 90;
/// Passes and trellis take some 0.1 s a megapixel; a larger picture stays baseline.
const PROGRESSIVE_PIXELS_MAX: u64 = 24_000_000;
/// A marker segment has two bytes for its length, which counts itself and Exif's name of six.
const EXIF_BYTES_MAX: usize = 65_535 - 8;

/// Transparency shows white.
pub(super) fn encode(
    raster: &Raster,
    output: &Output,
    exif: Option<&[u8]>,
) -> Result<Vec<u8>, ImageError> {
    let wants_passes = output.is_progressive || output.effort == Effort::Best;
    let encoder = if wants_passes && raster.pixel_count() <= PROGRESSIVE_PIXELS_MAX {
        Encoder::progressive_balanced()
    } else {
        Encoder::fastest().optimize_huffman(true)
    };
    let mut encoder =
        encoder
            .quality(output.quality)
            .subsampling(if output.quality >= FULL_COLOUR_FROM {
                Subsampling::S444
            } else {
                Subsampling::S420
            });
    if let Some(exif) = exif.filter(|exif| exif.len() <= EXIF_BYTES_MAX) {
        encoder = encoder.exif_data(exif.to_vec());
    }
    let (width, height) = (raster.width, raster.height);
    match raster.channels {
        Channels::Grey => encoder.encode_gray(&raster.pixels, width, height),
        Channels::Rgb => encoder.encode_rgb(&raster.pixels, width, height),
        Channels::Rgba | Channels::Cmyk => {
            encoder.encode_rgb(&raster.rgb_on_white(), width, height)
        }
    }
    .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::config::ImageFormat;
    use super::*;

    fn output(quality: u8, is_progressive: bool, effort: Effort) -> Output {
        Output {
            format: ImageFormat::Jpeg,
            quality,
            is_lossless: false,
            is_progressive,
            effort,
        }
    }

    fn ramp(channels: Channels) -> Raster {
        Raster {
            width: 48,
            height: 32,
            channels,
            pixels: (0..48 * 32 * channels.count())
                .map(|n| u8::try_from(n / channels.count() % 48 * 5).unwrap())
                .collect(),
        }
    }

    /// The kind of its frame header: 0xC0 baseline, 0xC2 progressive; and its number of components.
    fn frame(file: &[u8]) -> (u8, u8) {
        let at = file
            .windows(4)
            .position(|bytes| matches!(bytes, [0xFF, 0xC0..=0xC2, 0, 11 | 17]))
            .unwrap();
        (file[at + 1], file[at + 9])
    }

    #[test]
    fn the_first_answer_is_baseline_and_the_best_comes_in_passes() {
        let raster = ramp(Channels::Rgb);
        let made = |output| encode(&raster, &output, None).unwrap();
        assert_eq!(frame(&made(output(80, false, Effort::First))), (0xC0, 3));
        assert_eq!(frame(&made(output(80, true, Effort::First))), (0xC2, 3));
        assert_eq!(frame(&made(output(80, false, Effort::Best))), (0xC2, 3));
    }

    #[test]
    fn grey_stays_grey_and_decodes_to_what_it_was() {
        let raster = ramp(Channels::Grey);
        for effort in [Effort::First, Effort::Best] {
            let file = encode(&raster, &output(95, false, effort), None).unwrap();
            assert_eq!(frame(&file).1, 1);
            let back = image::load_from_memory(&file).unwrap().into_luma8();
            assert_eq!(back.dimensions(), (48, 32));
            let near = back.as_raw().iter().zip(&raster.pixels);
            assert!(near.into_iter().all(|(a, b)| a.abs_diff(*b) < 6));
        }
    }

    #[test]
    fn exif_goes_in_unless_it_is_too_long_for_a_segment() {
        let raster = ramp(Channels::Rgb);
        let output = output(80, false, Effort::First);
        let exif = b"II*\0\x08\0\0\0\0\0\0\0\0\0";
        let file = encode(&raster, &output, Some(exif)).unwrap();
        let segment = [b"Exif\0\0".as_slice(), exif].concat();
        assert!(file.windows(segment.len()).any(|bytes| bytes == segment));
        let long = vec![0; EXIF_BYTES_MAX + 1];
        let file = encode(&raster, &output, Some(&long)).unwrap();
        assert!(!file.windows(4).any(|bytes| bytes == b"Exif"));
    }
}
