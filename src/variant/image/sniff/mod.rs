mod avif;
mod gif;
mod jpeg;
mod png;
mod reader;
mod webp;

pub(super) use self::gif::{skip_blocks, skip_frame_head, skip_screen};
pub(super) use self::jpeg::{JpegKind, next_segment};
pub(super) use self::png::next_chunk as next_png_chunk;
pub(super) use self::reader::Reader;
pub(super) use self::webp::next_chunk as next_webp_chunk;
use super::error::ImageError;

/// A format that we decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceFormat {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
    /// `image/gif`
    Gif,
    /// `image/webp`
    Webp,
    /// `image/bmp`
    Bmp,
    /// `image/tiff`
    Tiff,
    /// `image/avif`
    Avif,
}

/// What the bytes say of themselves, before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) format: SourceFormat,
    /// Whether the pixels were kept exactly, so that graphics should stay exact too.
    pub(super) is_lossless: bool,
    pub(super) reel: Reel,
    /// Only of a JPEG that is whole as far as its first scan.
    pub(super) jpeg: Option<JpegKind>,
}

/// How many frames there are to come, as counted or declared without decoding one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reel {
    /// At least 1.
    pub(super) frames: u32,
    /// How often it is played; 0 is forever.
    pub(super) repeats: u16,
}

impl Reel {
    pub(super) const STILL: Self = Self {
        frames: 1,
        repeats: 0,
    };
}

impl SourceFormat {
    /// Its short name: `jpeg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Avif => "avif",
        }
    }

    /// The format that the first bytes say.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::Webp),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] if avif::is_avif(bytes) => Some(Self::Avif),
            _ => None,
        }
    }
}

/// Recognises a picture and refuses the kinds that are passed through.
pub(super) fn sniff(bytes: &[u8], declared: Option<SourceFormat>) -> Result<Sniffed, ImageError> {
    let format = SourceFormat::of_bytes(bytes).ok_or(ImageError::TypeMismatch)?;
    if declared.is_some_and(|declared| declared != format) {
        return Err(ImageError::TypeMismatch);
    }
    let mut sniffed = Sniffed {
        format,
        is_lossless: true,
        reel: Reel::STILL,
        jpeg: None,
    };
    match format {
        SourceFormat::Jpeg => {
            sniffed.is_lossless = false;
            sniffed.jpeg = jpeg::examine(bytes)?;
        }
        SourceFormat::Png => sniffed.reel = png::examine(bytes),
        SourceFormat::Gif => sniffed.reel = gif::examine(bytes),
        SourceFormat::Webp => (sniffed.reel, sniffed.is_lossless) = webp::examine(bytes),
        SourceFormat::Avif => {
            sniffed.is_lossless = false;
            avif::examine(bytes)?;
        }
        SourceFormat::Bmp | SourceFormat::Tiff => {}
    }
    Ok(sniffed)
}

pub(super) fn unsupported<T>(what: &'static str) -> Result<T, ImageError> {
    Err(ImageError::Unsupported { what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, JpegScans};
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: Result<SourceFormat, &'static str>) {
        let found = sniff(bytes, None).map(|sniffed| sniffed.format);
        let expect = expect.map_err(|what| ImageError::Unsupported { what });
        assert_eq!(found, expect);
    }

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let picture = testing::corners(8, 8);
        check(&testing::jpeg(&picture), Ok(SourceFormat::Jpeg));
        check(&testing::png(&picture), Ok(SourceFormat::Png));
        check(&testing::gif(&[&picture]), Ok(SourceFormat::Gif));
        check(&testing::webp(&picture), Ok(SourceFormat::Webp));
        check(b"BM", Ok(SourceFormat::Bmp));
        check(b"II*\0", Ok(SourceFormat::Tiff));
        check(b"\0\0\0\x14ftypmif1\0\0\0\0avif", Ok(SourceFormat::Avif));
        check(b"\0\0\0\x10ftypavis\0\0\0\0", Err("an animated AVIF"));
        for bytes in [
            &b""[..],
            b"<svg/>",
            b"\0\0\0\x14ftypheic\0\0\0\0mif1",
            b"GIF88a",
            b"RIFFxxxxWAVE",
            b"\xff\xd8",
        ] {
            assert_eq!(sniff(bytes, None), Err(ImageError::TypeMismatch));
        }
    }

    #[test]
    fn a_declared_type_must_agree() {
        let png = testing::png(&testing::corners(8, 8));
        assert!(sniff(&png, Some(SourceFormat::Png)).is_ok());
        assert_eq!(
            sniff(&png, Some(SourceFormat::Jpeg)),
            Err(ImageError::TypeMismatch)
        );
    }

    #[test]
    fn frames_are_counted_before_they_are_decoded() {
        let frame = testing::corners(8, 8);
        let reel = |bytes: &[u8]| sniff(bytes, None).unwrap().reel;
        assert_eq!(reel(&testing::gif(&[&frame; 3])).frames, 3);
        assert_eq!(reel(&testing::gif(&[&frame])).frames, 1);
        assert_eq!(reel(&testing::animated_png(2)).frames, 2);
        assert_eq!(reel(&testing::animated_png(1)), Reel::STILL);
        assert_eq!(reel(&testing::png(&frame)), Reel::STILL);
        assert_eq!(reel(&testing::webp(&frame)), Reel::STILL);
    }

    #[test]
    fn kinds_of_jpeg_are_told_apart() {
        use JpegScans::{Interleaved, Progressive, Separate};
        let kind = |components, scans| {
            let jpeg = testing::flat_jpeg(components, 1, scans);
            sniff(&jpeg, None).unwrap().jpeg.unwrap()
        };
        let plain = kind(3, Interleaved);
        assert_eq!((plain.width, plain.height, plain.components), (32, 32, 3));
        assert!(plain.is_interleaved && !plain.is_progressive);
        assert!(!kind(3, Separate).is_interleaved);
        assert!(kind(1, Separate).is_interleaved);
        assert!(kind(3, Progressive).is_progressive);
        assert_eq!(kind(4, Interleaved).components, 4);
        let two = testing::flat_jpeg(2, 1, Interleaved);
        check(
            &two,
            Err("a JPEG of other than 8 bits and 1, 3 or 4 components"),
        );
    }

    #[test]
    fn very_many_scans_pass_through() {
        let mut jpeg = testing::flat_jpeg(3, 1, JpegScans::Interleaved);
        jpeg.extend_from_slice(&[0xff, 0xda].repeat(100));
        check(&jpeg, Err("a JPEG of more than 100 scans"));
    }

    #[test]
    fn lossless_webp_is_told_from_lossy() {
        let picture = testing::corners(8, 8);
        assert!(sniff(&testing::webp(&picture), None).unwrap().is_lossless);
        let mut lossy = testing::webp(&picture);
        lossy[15] = b' ';
        assert!(!sniff(&lossy, None).unwrap().is_lossless);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            start in prop::sample::select(vec![
                &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP",
                b"\0\0\0\x14ftypavif", b"",
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(sniffed) = sniff(&bytes, None) {
                prop_assert_eq!(Some(sniffed.format), SourceFormat::of_bytes(&bytes));
            }
        }
    }
}
