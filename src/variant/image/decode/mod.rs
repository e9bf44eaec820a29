mod animation;
mod avif;
mod canvas;
mod jpeg;
mod still;

pub(super) use self::avif::{AvifMetadata, avif_metadata};

use image::ImageDecoder;
use image::metadata::Orientation;

use super::super::config::ImageWorkers;
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;
use super::raster::Raster;
use super::sniff::{JpegKind, Reel, Sniffed, SourceFormat};

/// A larger profile is ignored: those of presses have some 2 MiB.
const PROFILE_BYTES_MAX: usize = 4 << 20;
/// Larger metadata is ignored; JPEG has room for 64 KiB.
const EXIF_BYTES_MAX: usize = 1 << 20;

/// A picture of which only the header was read.
pub(super) struct Opened<'a> {
    source: &'a [u8],
    reader: Reader<'a>,
    sniffed: Sniffed,
    limits: ImageWorkers,
    /// As stored, before turning.
    pub(super) size: (u32, u32),
    pub(super) orientation: Orientation,
    pub(super) profile: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
}

/// Who decodes it.
enum Reader<'a> {
    Jpeg(JpegKind),
    Gif,
    /// Animated.
    Webp,
    Avif(avif::Container<'a>),
    /// The crate `image`; of an animated PNG only the picture that stands for all.
    Image(Box<dyn ImageDecoder + 'a>),
}

/// What the header of a file says.
struct Header<'a> {
    reader: Reader<'a>,
    size: (u32, u32),
    orientation: Orientation,
    profile: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
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
    /// As stored, before turning; reduced as `demand` says.
    pub(super) film: Film,
    /// Width and height of the whole, as stored, before turning and reducing.
    pub(super) size: (u32, u32),
    /// What was decoded, which may be more than was asked for.
    pub(super) demand: Demand,
    pub(super) orientation: Orientation,
    pub(super) profile: Option<Vec<u8>>,
    /// All that the file says; see [`Metadata::kept`].
    pub(super) metadata: Metadata,
}

/// Asked between two frames whether to go on.
pub(super) type Check<'a> = &'a dyn Fn() -> Result<(), ImageError>;

/// Reads the header and holds it against the limits. Nothing the size of the picture is allocated.
pub(super) fn open<'a>(
    source: &'a [u8],
    sniffed: &Sniffed,
    limits: &ImageWorkers,
) -> Result<Opened<'a>, ImageError> {
    let header = match sniffed.format {
        SourceFormat::Jpeg => jpeg::open(source, sniffed.jpeg)?,
        SourceFormat::Gif => animation::open_gif(source)?,
        SourceFormat::Avif => avif::open(source)?,
        SourceFormat::Png => still::open_png(source, limits)?,
        SourceFormat::Webp => still::open_webp(source)?,
        SourceFormat::Bmp => still::open_bmp(source)?,
        SourceFormat::Tiff => still::open_tiff(source)?,
    };
    let (width, height) = header.size;
    let pixels = pixels_of(header.size);
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
        return Err(bad("it has no pixels"));
    }
    Ok(Opened {
        source,
        reader: header.reader,
        sniffed: *sniffed,
        limits: *limits,
        size: header.size,
        orientation: header.orientation,
        profile: bounded(header.profile, PROFILE_BYTES_MAX),
        exif: bounded(header.exif, EXIF_BYTES_MAX),
    })
}

impl Opened<'_> {
    /// Frames that `demand` needs.
    pub(super) fn frames(&self, demand: Demand) -> u32 {
        if demand.all_frames {
            self.sniffed.reel.frames
        } else {
            1
        }
    }

    /// Whether there are frames after the first.
    pub(super) fn is_film(&self) -> bool {
        self.sniffed.reel.frames > 1
    }

    /// Whether its pixels may be transparent, so far as the format tells.
    pub(super) fn may_have_alpha(&self) -> bool {
        self.sniffed.format != SourceFormat::Jpeg
    }

    /// By how much it is reduced while it is decoded for `demand`.
    pub(super) fn reduction(&self, demand: Demand) -> u8 {
        self.served(demand).reduction
    }

    /// What the decoder will do, given what is asked for.
    fn served(&self, demand: Demand) -> Demand {
        Demand {
            reduction: match self.reader {
                Reader::Jpeg(kind) => jpeg::reduction(kind, self.source.len(), demand.reduction),
                Reader::Gif | Reader::Webp | Reader::Avif(_) | Reader::Image(_) => 1,
            },
            all_frames: self.sniffed.reel == Reel::STILL || demand.all_frames,
        }
    }

    /// What decoding that much will hold at its peak, with its result.
    pub(super) fn decoding_bytes(&self, demand: Demand) -> u64 {
        let pixels = pixels_of(self.size);
        let frames = u64::from(self.frames(demand));
        let decoder = match &self.reader {
            Reader::Jpeg(kind) => jpeg::decoding_bytes(*kind, self.source.len(), demand.reduction),
            Reader::Avif(container) => container.decoding_bytes(),
            Reader::Gif | Reader::Webp => animation::decoding_bytes(pixels, frames),
            Reader::Image(_) if frames > 1 => animation::decoding_bytes(pixels, frames),
            Reader::Image(decoder) => {
                still::decoding_bytes(&**decoder, pixels, self.sniffed.format)
            }
        };
        let sides = [&self.profile, &self.exif].map(|part| part.as_ref().map_or(0, Vec::len));
        decoder.saturating_add(as_count(sides.iter().sum()))
    }

    /// Decodes to eight bits a channel, in the order of the file (see [`Self::orientation`]).
    ///
    /// # Errors
    ///
    /// `TooLarge` for more frames than allowed, whatever `check` says, and what the decoder refuses.
    pub(super) fn decode(self, demand: Demand, check: Check<'_>) -> Result<Decoded, ImageError> {
        let frames = self.frames(demand);
        self.check(demand)?;
        check()?;
        let served = self.served(demand);
        let (source, size, reel) = (
            self.source,
            self.size,
            Reel {
                frames,
                ..self.sniffed.reel
            },
        );
        let film = match (self.reader, self.sniffed.format) {
            (Reader::Jpeg(kind), _) => {
                Film::still(jpeg::decode(source, kind, served.reduction, check)?)
            }
            (Reader::Avif(container), _) => Film::still(container.decode()?),
            (Reader::Gif, _) => animation::gif(source, size, reel, check)?,
            (Reader::Image(_), SourceFormat::Png) if frames > 1 => {
                animation::png(source, size, reel, check)?
            }
            (Reader::Webp, _) => animation::webp(source, size, reel, check)?,
            (Reader::Image(decoder), _) => Film::still(still::decode(decoder)?),
        };
        Ok(Decoded {
            sniffed: self.sniffed,
            film,
            size,
            demand: served,
            orientation: self.orientation,
            profile: self.profile,
            metadata: Metadata { exif: self.exif },
        })
    }

    /// Whether that much may be decoded.
    ///
    /// # Errors
    ///
    /// `TooLarge` for more frames than allowed.
    pub(super) fn check(&self, demand: Demand) -> Result<(), ImageError> {
        let frames = self.frames(demand);
        if frames > self.limits.max_frames {
            return Err(ImageError::TooLarge {
                what: "its number of frames",
            });
        }
        let pixels = pixels_of(self.size).saturating_mul(u64::from(frames));
        if frames > 1 && pixels > self.limits.max_frame_pixels {
            return Err(ImageError::TooLarge {
                what: "the pixels of all its frames",
            });
        }
        Ok(())
    }
}

fn bounded(part: Option<Vec<u8>>, most: usize) -> Option<Vec<u8>> {
    part.filter(|bytes| bytes.len() <= most)
}

fn pixels_of((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

fn as_count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A buffer's length from a number that the limits have bounded.
fn as_length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn bad(error: impl std::fmt::Display) -> ImageError {
    ImageError::BadPicture {
        detail: error.to_string(),
    }
}

fn unsupported(what: &'static str) -> ImageError {
    ImageError::Unsupported { what }
}

/// A buffer that was asked for in good faith.
fn zeroed(bytes: u64) -> Result<Vec<u8>, ImageError> {
    let length = as_length(bytes);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(bad)?;
    buffer.resize(length, 0);
    Ok(buffer)
}

/// Holds the decoder to what it said.
fn checked(raster: Raster) -> Result<Raster, ImageError> {
    let expect = raster.pixel_count() * as_count(raster.channels.count());
    if as_count(raster.pixels.len()) == expect {
        Ok(raster)
    } else {
        Err(bad("the decoder gave other than a whole picture"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::raster::Channels;
    use super::super::sniff::sniff;
    use super::super::testing;
    use super::*;

    const WHOLE: Demand = Demand {
        reduction: 1,
        all_frames: true,
    };

    fn opened(bytes: &[u8], limits: &ImageWorkers) -> Result<Raster, ImageError> {
        let opened = open(bytes, &sniff(bytes, None)?, limits)?;
        let mut decoded = opened.decode(WHOLE, &|| Ok(()))?;
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
    fn scans_of_one_component_decode_right() {
        use testing::JpegScans::{Interleaved, Progressive, Separate};
        let all = ImageWorkers::default();
        for sampling in [1, 2] {
            let decoded = |scans| opened(&testing::flat_jpeg(3, sampling, scans), &all);
            let right = decoded(Interleaved).unwrap();
            // Levels of the first block: Y 128, Cb 148, Cr 168.
            assert_eq!(right.pixels[..3], [184, 93, 163]);
            let progressive = decoded(Progressive).unwrap();
            if cfg!(feature = "native-codecs") {
                // libjpeg-turbo smooths over blocks of which it has the first coefficient alone.
                let pairs = progressive.pixels.iter().zip(&right.pixels);
                let distance: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let mean = distance / right.pixels.len() as u64;
                assert!(mean < 16, "progressive, {sampling}: {mean}");
            } else {
                assert!(progressive == right, "progressive, {sampling}");
            }
            // Another decoder, which mixes halved colours in another way.
            let separate = decoded(Separate).unwrap();
            let apart = separate.pixels.iter().zip(&right.pixels);
            let most = apart.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(most <= 2, "one by one, {sampling}: {most}");
        }
    }
}
