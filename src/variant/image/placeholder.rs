use bytes::Bytes;

use super::super::config::ImageFormat;
use super::decode::Decoded;
use super::encode::{Effort, Output, encode};
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;
use super::operate::{soften, within};
use super::raster::{Channels, Raster};
use super::recipe::{Media, Picture, Recipe};

/// Something small to paint in a picture's place until it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// ThumbHash (evanw.github.io/thumbhash) in base64.
    ThumbHash,
    /// BlurHash (blurha.sh), 4 parts along the longer side and 3 along the other.
    BlurHash,
    /// A tiny picture.
    Lqip,
}

/// ThumbHash takes no larger picture; that much is also plenty for every other description.
const HASHED_SIDE: u32 = 100;
/// BlurHash walks over all pixels for each of its parts.
const BLURHASHED_SIDE: u32 = 32;
const TINY_SIDE: u32 = 32;
/// What a tiny picture may weigh, so that it can stand inside a page.
const TINY_BYTES: usize = 700;

impl Placeholder {
    /// As it is written in a URL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ThumbHash => "thumbhash",
            Self::BlurHash => "blurhash",
            Self::Lqip => "lqip",
        }
    }

    /// The longer side of the picture that it is made of.
    pub(super) fn side(self) -> u32 {
        match self {
            Self::ThumbHash => HASHED_SIDE,
            Self::BlurHash => BLURHASHED_SIDE,
            Self::Lqip => TINY_SIDE,
        }
    }
}

/// Makes a placeholder of a picture that is [`Placeholder::side`] large.
pub(super) fn paint(
    placeholder: Placeholder,
    recipe: &Recipe,
    small: Raster,
    decoded: &Decoded,
) -> Result<Picture, ImageError> {
    let (width, height) = (small.width, small.height);
    let (media, bytes) = match placeholder {
        Placeholder::ThumbHash => (Media::Text, thumbhash(&small)?.into_bytes()),
        Placeholder::BlurHash => (Media::Text, blurhash(&small)?.into_bytes()),
        Placeholder::Lqip => {
            let format = format_of(recipe, &small);
            (Media::Picture(format), tiny(small, format)?)
        }
    };
    Ok(Picture {
        media,
        bytes: Bytes::from(bytes.into_boxed_slice()),
        width,
        height,
        may_improve: false,
        detail: format!(
            "{};placeholder={};from={}",
            media.name(),
            placeholder.name(),
            decoded.sniffed.format.name()
        ),
    })
}

/// The ThumbHash of a picture that may be larger than it takes, in base64.
pub(super) fn thumbhash(picture: &Raster) -> Result<String, ImageError> {
    let small = within(picture, HASHED_SIDE)?;
    let hash =
        thumbhash::rgba_to_thumb_hash(as_index(small.width), as_index(small.height), &rgba(&small));
    Ok(base64(&hash))
}

/// The BlurHash of a picture of any size.
pub(super) fn blurhash(picture: &Raster) -> Result<String, ImageError> {
    let small = within(picture, BLURHASHED_SIDE)?;
    let (across, down) = if small.width >= small.height {
        (4, 3)
    } else {
        (3, 4)
    };
    // It knows no alpha: what is transparent is white, as on a page.
    let mut opaque = Raster {
        channels: Channels::Rgb,
        pixels: small.rgb_on_white(),
        ..small
    };
    opaque.widen(Channels::Rgba);
    blurhash::encode(across, down, opaque.width, opaque.height, &opaque.pixels).map_err(|error| {
        ImageError::Encode {
            detail: format!("blurhash: {error:?}"),
        }
    })
}

/// AVIF's header alone would be half of it, so the older formats are taken.
fn format_of(recipe: &Recipe, small: &Raster) -> ImageFormat {
    match recipe.named_format() {
        Some(format) => format,
        None if recipe.accepts(ImageFormat::Webp) => ImageFormat::Webp,
        None if small.has_alpha() => ImageFormat::Png,
        None => ImageFormat::Jpeg,
    }
}

/// As good as it gets in so few bytes. Softened, because a page shows it many times its size, where the edges
/// of its pixels would draw the eye.
fn tiny(small: Raster, format: ImageFormat) -> Result<Vec<u8>, ImageError> {
    let soft = soften(small);
    let mut file = Vec::new();
    for (side, quality) in [
        (TINY_SIDE, 50),
        (TINY_SIDE, 30),
        (24, 30),
        (16, 30),
        (12, 10),
        (8, 10),
    ] {
        let output = Output {
            format,
            quality,
            is_lossless: false,
            is_progressive: false,
            effort: Effort::First,
        };
        let film = Film::still(within(&soft, side)?);
        file = encode(&film, &output, &Metadata::default())?;
        if file.len() < TINY_BYTES {
            break;
        }
    }
    Ok(file)
}

fn rgba(raster: &Raster) -> Vec<u8> {
    let mut raster = raster.clone();
    raster.widen(Channels::Rgba);
    raster.pixels
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, place| {
            bits << 8 | u32::from(group.get(place).copied().unwrap_or_default())
        });
        for place in 0..4_usize {
            let index = as_index(bits >> (18 - 6 * place) & 63);
            text.push(match ALPHABET.get(index) {
                Some(letter) if place <= group.len() => char::from(*letter),
                _ => '=',
            });
        }
    }
    text
}

fn as_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn raster(picture: &image::DynamicImage) -> Raster {
        Raster {
            width: picture.width(),
            height: picture.height(),
            channels: Channels::Rgb,
            pixels: picture.to_rgb8().into_raw(),
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn hashes_tell_the_mean_colour() {
        let red = Raster {
            width: 200,
            height: 90,
            channels: Channels::Rgb,
            pixels: [200, 20, 20].repeat(200 * 90),
        };
        let hash = blurhash(&red).unwrap();
        // 1 for the parts, 1 for the most, 4 for the mean, 2 for each other part.
        assert_eq!(hash.len(), 6 + 2 * 11);
        let decoded = ::blurhash::decode(&hash, 16, 16, 1.0).unwrap();
        let mean = |channel: usize| {
            let values = decoded.iter().skip(channel).step_by(4);
            values.map(|value| u32::from(*value)).sum::<u32>() / 256
        };
        assert!(mean(0).abs_diff(200) < 6 && mean(1).abs_diff(20) < 6);
        let thumb = thumbhash(&red).unwrap();
        assert!(thumb.len() >= 8 && thumb.len() <= 36, "{thumb}");
    }

    #[test]
    fn tiny_pictures_are_tiny() {
        for picture in [testing::noise(32, 32), testing::corners(32, 20)] {
            for format in [ImageFormat::Webp, ImageFormat::Jpeg, ImageFormat::Png] {
                let file = tiny(raster(&picture), format).unwrap();
                assert!(file.len() < TINY_BYTES, "{format:?}: {}", file.len());
                assert!(image::load_from_memory(&file).is_ok());
            }
        }
    }
}
