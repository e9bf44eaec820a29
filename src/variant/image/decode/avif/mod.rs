//! Still AVIF: the container is read here, the pictures in it are decoded by rav1d, a port of dav1d to Rust,
//! built without assembler.

mod container;
mod planes;
mod stream;

use image::metadata::Orientation;
use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{self, PixelLayout, Settings};

pub(super) use self::container::Container;
pub(in super::super) use self::container::{AvifMetadata, avif_metadata};
use self::planes::Coding;
use super::super::colour::coded_profile;
use super::super::error::ImageError;
use super::super::raster::{Channels, Raster};
use super::{Header, as_length, bad, pixels_of, unsupported};

/// One picture, perhaps in layers; a stream of many would take any time to decode.
const FRAMES_MAX: usize = 4;

pub(super) fn open(source: &[u8]) -> Result<Header<'_>, ImageError> {
    let container = container::read(source)?;
    let by_file = container
        .coding
        .map(|coding| (coding.primaries, coding.transfer));
    let by_stream = || {
        let (primaries, transfer, _) = stream::codes(&container.colour)?;
        Some((primaries, transfer))
    };
    let profile = match (&container.profile, by_file.or_else(by_stream)) {
        (Some(profile), _) => Some(profile.to_vec()),
        (None, Some((primaries, transfer))) => coded_profile(primaries, transfer)?,
        (None, None) => None,
    };
    Ok(Header {
        size: container.size,
        // Exif does not count here: it may stay in a file whose pixels were turned (MIAF §7.3.9).
        orientation: container.orientation.unwrap_or(Orientation::NoTransforms),
        profile,
        exif: container.exif.clone(),
        reader: super::Reader::Avif(container),
    })
}

impl Container<'_> {
    /// Planes of 16 bits with their copies for filters, what the decoder notes down of every block, the
    /// result, and buffers of fixed size.
    pub(super) fn decoding_bytes(&self) -> u64 {
        const PER_PIXEL: u64 = 14;
        const FIXED: u64 = 4 << 20;
        let pictures = if self.alpha.is_some() { 2 } else { 1 };
        pixels_of(self.size)
            .saturating_mul(PER_PIXEL + pictures)
            .saturating_add(FIXED)
    }

    pub(super) fn decode(&self) -> Result<Raster, ImageError> {
        let (width, height) = self.size;
        let mut raster = {
            let picture = self.picture(&self.colour)?;
            // The picture's own words for the others end in a panic where they are unknown.
            let coding = self.coding.unwrap_or_else(|| Coding {
                matrix: stream::codes(&self.colour).map_or(2, |(.., matrix)| matrix),
                primaries: 2,
                transfer: 2,
                is_full: picture.color_range() == YUVRange::Full,
            });
            let (channels, pixels) = planes::colours(&picture, coding)?;
            Raster {
                width,
                height,
                channels,
                pixels,
            }
        };
        if let Some(alpha) = &self.alpha {
            let picture = self.picture(alpha)?;
            let alpha = planes::lights(&picture, picture.color_range())?;
            raster = with_alpha(&raster, &alpha);
        }
        super::checked(raster)
    }

    fn picture(&self, data: &[u8]) -> Result<dav1d::Picture, ImageError> {
        if stream::frames_up_to(data, FRAMES_MAX + 1) > FRAMES_MAX {
            return Err(unsupported("an AVIF of many frames"));
        }
        let mut settings = Settings::new();
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        settings.set_frame_size_limit(u32::try_from(pixels_of(self.size)).unwrap_or(u32::MAX));
        let mut decoder = dav1d::Decoder::with_settings(&settings).map_err(bad)?;
        let mut sent = decoder.send_data(data.to_vec(), None, None, None);
        // Ends with a picture, an error, or when nothing more comes of the data.
        for _ in 0..=FRAMES_MAX {
            match sent {
                Ok(()) => {}
                Err(error) if error.is_again() => {}
                Err(error) => return Err(bad(error)),
            }
            match decoder.get_picture() {
                Ok(picture) if (picture.width(), picture.height()) == self.size => {
                    return Ok(picture);
                }
                Ok(_) => return Err(bad("the picture is of another size than its file says")),
                Err(error) if error.is_again() => sent = decoder.send_pending_data(),
                Err(error) => return Err(bad(error)),
            }
        }
        Err(bad("there is no picture in it"))
    }
}

fn with_alpha(raster: &Raster, alpha: &[u8]) -> Raster {
    let rgb = raster.rgb_on_white();
    let (triples, _) = rgb.as_chunks::<3>();
    let mut pixels = Vec::with_capacity(as_length(raster.pixel_count() * 4));
    for ([r, g, b], alpha) in triples.iter().zip(alpha) {
        pixels.extend_from_slice(&[*r, *g, *b, *alpha]);
    }
    Raster {
        width: raster.width,
        height: raster.height,
        channels: Channels::Rgba,
        pixels,
    }
}

/// Halvings of the colour planes, across and down.
fn halvings(layout: PixelLayout) -> (bool, bool) {
    match layout {
        PixelLayout::I420 => (true, true),
        PixelLayout::I422 => (true, false),
        PixelLayout::I444 | PixelLayout::I400 => (false, false),
    }
}
