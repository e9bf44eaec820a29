use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::super::config::ImageWorkers;
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;
use super::raster::{Channels, Raster};
use super::sniff::{Sniffed, SourceFormat};

/// A picture of which only the header was read.
pub(super) struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    sniffed: Sniffed,
    /// As stored, before turning.
    pub(super) size: (u32, u32),
    pub(super) orientation: Orientation,
    pub(super) profile: Option<Vec<u8>>,
    /// What decoding will hold at its peak.
    pub(super) decoding_bytes: u64,
}

/// How much of a picture is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Pixels are decoded at a half, a quarter or an eighth where the decoder can do so for less: 1, 2, 4 or 8.
    pub(super) reduction: u8,
    /// Whether frames after the first are needed.
    pub(super) all_frames: bool,
}

impl Demand {
    /// What serves both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            reduction: self.reduction.min(other.reduction),
            all_frames: self.all_frames || other.all_frames,
        }
    }
}

/// A decoded picture, which may serve several recipes.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) sniffed: Sniffed,
    /// As stored, before turning; reduced as `demand` allowed.
    pub(super) film: Film,
    /// Width and height of the whole, as stored, before turning and reducing.
    pub(super) size: (u32, u32),
    pub(super) demand: Demand,
    pub(super) orientation: Orientation,
    pub(super) profile: Option<Vec<u8>>,
    pub(super) metadata: Metadata,
}

/// Reads the header and holds it against the limits. Nothing the size of the picture is allocated.
pub(super) fn open<'a>(
    source: &'a [u8],
    sniffed: &Sniffed,
    limits: &ImageWorkers,
) -> Result<Opened<'a>, ImageError> {
    let mut bounds = Limits::default();
    bounds.max_image_width = Some(limits.max_side);
    bounds.max_image_height = Some(limits.max_side);
    bounds.max_alloc = Some(limits.memory_bytes);

    let mut reader = ImageReader::with_format(Cursor::new(source), sniffed.format.into());
    reader.limits(bounds);
    let mut decoder: Box<dyn ImageDecoder + 'a> = Box::new(reader.into_decoder().map_err(refusal)?);

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > limits.max_side {
        return Err(ImageError::TooLarge {
            what: "its longer side",
        });
    }
    if pixels > limits.max_pixels {
        return Err(ImageError::TooLarge {
            what: "its number of pixels",
        });
    }
    if pixels == 0 {
        return Err(ImageError::BadPicture {
            detail: "it has no pixels".to_owned(),
        });
    }
    // Metadata that cannot be read is metadata that nobody else reads either.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().unwrap_or_default();
    Ok(Opened {
        size: (width, height),
        orientation,
        profile,
        decoding_bytes: decoding_bytes(&*decoder, pixels, sniffed, source),
        decoder,
        sniffed: *sniffed,
    })
}

impl Opened<'_> {
    /// Decodes to eight bits a channel, in the order of the file (see [`Self::orientation`]).
    pub(super) fn decode(self, _demand: Demand) -> Result<Decoded, ImageError> {
        let decoded = DynamicImage::from_decoder(self.decoder).map_err(refusal)?;
        let (width, height) = self.size;
        let colour = decoded.color();
        let (channels, pixels) = match (colour.has_color(), colour.has_alpha()) {
            (_, true) => (Channels::Rgba, decoded.into_rgba8().into_raw()),
            (true, false) => (Channels::Rgb, decoded.into_rgb8().into_raw()),
            (false, false) => (Channels::Grey, decoded.into_luma8().into_raw()),
        };
        let raster = Raster {
            width,
            height,
            channels,
            pixels,
        };
        Ok(Decoded {
            sniffed: self.sniffed,
            film: Film::still(raster),
            size: self.size,
            demand: Demand {
                reduction: 1,
                all_frames: true,
            },
            orientation: self.orientation,
            profile: self.profile,
            metadata: Metadata::default(),
        })
    }
}

/// The decoder's output, the same at eight bits where that is a copy, coefficients, and the copy of the
/// source that the JPEG decoder makes.
fn decoding_bytes(
    decoder: &dyn ImageDecoder,
    pixels: u64,
    sniffed: &Sniffed,
    source: &[u8],
) -> u64 {
    const COEFFICIENT_BYTES: u64 = 2 * 3;
    let output = decoder.total_bytes();
    let converted = pixels * 4;
    let coefficients = if sniffed.keeps_coefficients {
        pixels * COEFFICIENT_BYTES
    } else {
        0
    };
    let copied = u64::try_from(source.len()).unwrap_or(u64::MAX);
    output
        .saturating_add(converted)
        .saturating_add(coefficients)
        .saturating_add(copied)
}

fn refusal(error: image::ImageError) -> ImageError {
    match error {
        image::ImageError::Limits(_) => ImageError::TooLarge {
            what: "what decoding would take",
        },
        image::ImageError::Unsupported(_) => ImageError::Unsupported {
            what: "a feature of its format",
        },
        other => ImageError::BadPicture {
            detail: other.to_string(),
        },
    }
}

impl From<SourceFormat> for image::ImageFormat {
    fn from(format: SourceFormat) -> Self {
        match format {
            SourceFormat::Jpeg => Self::Jpeg,
            SourceFormat::Png => Self::Png,
            SourceFormat::Gif => Self::Gif,
            SourceFormat::Webp => Self::WebP,
            SourceFormat::Bmp => Self::Bmp,
            SourceFormat::Tiff => Self::Tiff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sniff::sniff;
    use super::super::testing;
    use super::*;

    fn opened(bytes: &[u8], limits: &ImageWorkers) -> Result<Raster, ImageError> {
        let opened = open(bytes, &sniff(bytes, None)?, limits)?;
        let mut decoded = opened.decode(Demand {
            reduction: 1,
            all_frames: true,
        })?;
        Ok(decoded.film.frames.remove(0).raster)
    }

    #[test]
    fn every_format_decodes_to_the_same_picture() {
        let picture = testing::corners(16, 8);
        for bytes in [
            testing::png(&picture),
            testing::gif(&[&picture]),
            testing::webp(&picture),
            testing::written(&picture, image::ImageFormat::Bmp),
            testing::written(&picture, image::ImageFormat::Tiff),
            testing::jpeg(&picture),
        ] {
            let raster = opened(&bytes, &ImageWorkers::default()).unwrap();
            assert_eq!((raster.width, raster.height), (16, 8));
            testing::assert_corners(&raster, testing::UPRIGHT);
        }
    }

    #[test]
    fn sixteen_bits_become_eight_and_grey_stays_grey() {
        let deep = image::ImageBuffer::from_pixel(2, 2, image::Rgb([0x8080_u16, 0xffff, 0]));
        let raster = opened(&testing::png(&deep.into()), &ImageWorkers::default()).unwrap();
        assert_eq!(raster.pixels[..3], [0x80, 0xff, 0]);

        let grey = image::ImageBuffer::from_pixel(2, 2, image::Luma([77_u8]));
        let raster = opened(&testing::png(&grey.into()), &ImageWorkers::default()).unwrap();
        assert_eq!(
            (raster.channels, raster.pixels),
            (Channels::Grey, vec![77; 4])
        );
    }

    #[test]
    fn limits_hold_before_anything_is_decoded() {
        let bytes = testing::png(&testing::corners(20, 10));
        let limit = |limits: ImageWorkers| opened(&bytes, &limits).unwrap_err().as_str();
        let all = ImageWorkers::default();
        assert_eq!(
            limit(ImageWorkers {
                max_side: 19,
                ..all
            }),
            "too-large"
        );
        assert_eq!(
            limit(ImageWorkers {
                max_pixels: 199,
                ..all
            }),
            "too-large"
        );
        assert!(
            opened(
                &bytes,
                &ImageWorkers {
                    max_side: 20,
                    max_pixels: 200,
                    ..all
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn damaged_pictures_are_refused() {
        let picture = testing::corners(32, 32);
        let all = ImageWorkers::default();
        for bytes in [testing::png(&picture), testing::webp(&picture)] {
            for end in [20, 40, bytes.len() / 2] {
                let error = opened(&bytes[..end], &all).unwrap_err();
                assert_eq!(error.as_str(), "bad-picture", "cut to {end}: {error}");
            }
        }
    }

    #[test]
    fn scans_of_one_component_decode_right_or_not_at_all() {
        use testing::JpegScans::{Interleaved, Progressive, Separate};
        let all = ImageWorkers::default();
        for sampling in [1, 2] {
            let decoded = |scans| opened(&testing::flat_jpeg(3, sampling, scans), &all);
            let right = decoded(Interleaved).unwrap();
            // Levels of the first block: Y 128, Cb 148, Cr 168.
            assert_eq!(right.pixels[..3], [184, 93, 163]);
            assert!(
                decoded(Progressive).unwrap() == right,
                "progressive, {sampling}"
            );
            assert_eq!(decoded(Separate).unwrap_err().as_str(), "unsupported");
        }
    }
}
