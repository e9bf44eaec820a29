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
}

/// What the bytes say of themselves, before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) format: SourceFormat,
    /// Whether the pixels were kept exactly, so that graphics should stay exact too.
    pub(super) is_lossless: bool,
    /// A progressive JPEG keeps all its coefficients while it is decoded.
    pub(super) keeps_coefficients: bool,
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
        keeps_coefficients: false,
    };
    match format {
        SourceFormat::Jpeg => {
            sniffed.is_lossless = false;
            sniffed.keeps_coefficients = jpeg::examine(bytes)?;
        }
        SourceFormat::Png => png::examine(bytes)?,
        SourceFormat::Gif => gif::examine(bytes)?,
        SourceFormat::Webp => sniffed.is_lossless = webp::examine(bytes)?,
        SourceFormat::Bmp | SourceFormat::Tiff => {}
    }
    Ok(sniffed)
}

fn unsupported<T>(what: &'static str) -> Result<T, ImageError> {
    Err(ImageError::Unsupported { what })
}

/// Takes bytes from the front; `None` at the end. The decoder has the last word on what is cut short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn skip(&mut self, length: u32) -> Option<()> {
        self.take(usize::try_from(length).ok()?).map(|_| ())
    }
}

mod jpeg {
    use super::{ImageError, Reader, unsupported};

    /// A progressive picture may come in very many scans, each of which walks over all of it.
    const SCANS_MAX: usize = 100;

    struct Frame {
        is_progressive: bool,
        components: usize,
    }

    /// Whether the picture is progressive. An `Err` names a kind that the decoder gets wrong.
    pub(super) fn examine(bytes: &[u8]) -> Result<bool, ImageError> {
        let mut reader = Reader(bytes);
        let mut frame = None;
        loop {
            match next_segment(&mut reader)? {
                Some((0xda, scan)) => return judge(frame.as_ref(), scan, bytes),
                Some((0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, segment))
                    if frame.is_some() || segment.is_empty() =>
                {
                    return unsupported("a hierarchical JPEG");
                }
                Some((kind @ (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf), segment)) => {
                    frame = Some(frame_of(kind, segment)?);
                }
                Some(_) => {}
                // Cut short: let the decoder say so.
                None => return Ok(false),
            }
        }
    }

    fn judge(frame: Option<&Frame>, scan: &[u8], bytes: &[u8]) -> Result<bool, ImageError> {
        let Some(frame) = frame else {
            return unsupported("a JPEG scan before its frame");
        };
        if frame.components > 3 {
            // The decoder has no use for the profile, and without it CMYK comes out in wrong colours.
            return unsupported("a CMYK JPEG");
        }
        let in_first_scan = scan.first().copied().map_or(0, usize::from);
        if !frame.is_progressive && in_first_scan < frame.components {
            // zune-jpeg 0.5.15 decodes these to garbage without an error.
            return unsupported("a baseline JPEG with a scan for each component");
        }
        if memchr::memmem::find_iter(bytes, &[0xff, 0xda])
            .nth(SCANS_MAX)
            .is_some()
        {
            return unsupported("a JPEG of more than 100 scans");
        }
        Ok(frame.is_progressive)
    }

    /// ITU-T T.81 §B.2.2: precision, height and width come before the number of components.
    fn frame_of(kind: u8, segment: &[u8]) -> Result<Frame, ImageError> {
        let mut reader = Reader(segment);
        let (Some(_), Some(components)) = (reader.take(5), reader.byte()) else {
            return unsupported("a JPEG frame cut short");
        };
        match kind {
            0xc0..=0xc2 => Ok(Frame {
                is_progressive: kind == 0xc2,
                components: usize::from(components),
            }),
            _ => unsupported("a lossless, hierarchical or arithmetic JPEG"),
        }
    }

    /// The next marker with what its segment holds. Bytes between segments are refused: a decoder skips
    /// them in its own way, and we would no longer judge what it decodes.
    fn next_segment<'a>(reader: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, ImageError> {
        let Some(first) = reader.byte() else {
            return Ok(None);
        };
        if first != 0xff {
            return unsupported("a JPEG with bytes between its segments");
        }
        let kind = loop {
            match reader.byte() {
                Some(0xff) => {}
                Some(kind) => break kind,
                None => return Ok(None),
            }
        };
        // Markers without a segment: TEM, RSTn, SOI, EOI.
        if matches!(kind, 0x01 | 0xd0..=0xd9) {
            return Ok(Some((kind, &[])));
        }
        let segment = reader
            .array()
            .map(u16::from_be_bytes)
            .and_then(|length| length.checked_sub(2))
            .and_then(|length| reader.take(usize::from(length)));
        Ok(segment.map(|segment| (kind, segment)))
    }
}

mod png {
    use super::{ImageError, Reader, unsupported};

    /// Looks at the chunks before the pixels.
    pub(super) fn examine(bytes: &[u8]) -> Result<(), ImageError> {
        let mut reader = Reader(bytes);
        if reader.take(8).is_none() {
            return Ok(());
        }
        while let (Some(length), Some(kind)) = (reader.array(), reader.array::<4>()) {
            let length = u32::from_be_bytes(length);
            match &kind {
                b"IDAT" => break,
                b"acTL" if !matches!(reader.0.first_chunk(), Some([0, 0, 0, 1])) => {
                    return unsupported("an animated PNG");
                }
                // Coding-independent code points: all but sRGB would need a conversion of their own.
                b"cICP" if !matches!(reader.0.first_chunk(), Some([1, 13, 0, 1])) => {
                    return unsupported("a PNG of wide colours (cICP)");
                }
                _ => {}
            }
            if reader.skip(length).and_then(|()| reader.skip(4)).is_none() {
                break;
            }
        }
        Ok(())
    }
}

mod gif {
    use super::{ImageError, Reader, unsupported};

    pub(super) fn examine(bytes: &[u8]) -> Result<(), ImageError> {
        match frames_up_to_two(&mut Reader(bytes)) {
            2.. => unsupported("an animated GIF"),
            _ => Ok(()),
        }
    }

    /// Walks over the blocks without decoding them, to the second picture or to the end of what is there.
    fn frames_up_to_two(reader: &mut Reader<'_>) -> usize {
        let mut frames = 0;
        let mut walk = || -> Option<()> {
            reader.take(10)?;
            skip_colours(reader)?;
            // Ends at the trailer, at the second picture, or with the bytes.
            while frames < 2 {
                match reader.byte()? {
                    0x21 => {
                        reader.byte()?;
                    }
                    0x2c => {
                        frames += 1;
                        reader.take(8)?;
                        skip_colours_of_frame(reader)?;
                    }
                    _ => break,
                }
                skip_blocks(reader)?;
            }
            Some(())
        };
        // A cut file counts as far as it goes.
        let _whole = walk();
        frames
    }

    /// The packed byte, background and aspect ratio, and the global colour table.
    fn skip_colours(reader: &mut Reader<'_>) -> Option<()> {
        let packed = reader.byte()?;
        reader.take(2)?;
        skip_table(reader, packed)
    }

    /// The packed byte, the local colour table and the code size.
    fn skip_colours_of_frame(reader: &mut Reader<'_>) -> Option<()> {
        let packed = reader.byte()?;
        skip_table(reader, packed)?;
        reader.byte().map(|_| ())
    }

    fn skip_table(reader: &mut Reader<'_>, packed: u8) -> Option<()> {
        let colours = if packed & 0x80 == 0 {
            0
        } else {
            2_u32 << (packed & 7)
        };
        reader.skip(colours * 3)
    }

    fn skip_blocks(reader: &mut Reader<'_>) -> Option<()> {
        // Ends at the empty block, or with the bytes.
        loop {
            match reader.byte()? {
                0 => return Some(()),
                length => reader.take(usize::from(length))?,
            };
        }
    }
}

mod webp {
    use super::{ImageError, Reader, unsupported};

    /// Whether the pixels are kept exactly (VP8L).
    pub(super) fn examine(bytes: &[u8]) -> Result<bool, ImageError> {
        const ANIMATION: u8 = 0x02;
        let mut reader = Reader(bytes);
        if reader.take(12).is_none() {
            return Ok(false);
        }
        while let (Some(kind), Some(length)) = (reader.array::<4>(), reader.array()) {
            let length = u32::from_le_bytes(length);
            match &kind {
                b"VP8X" if reader.0.first().is_some_and(|flags| flags & ANIMATION != 0) => {
                    return unsupported("an animated WebP");
                }
                b"ANIM" | b"ANMF" => return unsupported("an animated WebP"),
                b"VP8L" => return Ok(true),
                b"VP8 " => return Ok(false),
                _ => {}
            }
            // Chunks are padded to even lengths.
            if reader
                .skip(length)
                .and_then(|()| reader.skip(length & 1))
                .is_none()
            {
                break;
            }
        }
        Ok(false)
    }
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
        for bytes in [&b""[..], b"<svg/>", b"GIF88a", b"RIFFxxxxWAVE", b"\xff\xd8"] {
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
    fn animated_pictures_pass_through() {
        let frame = testing::corners(8, 8);
        check(&testing::gif(&[&frame, &frame]), Err("an animated GIF"));
        check(&testing::animated_png(2), Err("an animated PNG"));
        check(&testing::animated_png(1), Ok(SourceFormat::Png));
        check(&testing::webp_extended(0x02), Err("an animated WebP"));
        check(&testing::webp_extended(0x10), Ok(SourceFormat::Webp));
    }

    #[test]
    fn jpegs_that_the_decoder_gets_wrong_pass_through() {
        use JpegScans::{Interleaved, Progressive, Separate};
        let each = Err("a baseline JPEG with a scan for each component");
        check(
            &testing::flat_jpeg(3, 2, Interleaved),
            Ok(SourceFormat::Jpeg),
        );
        check(&testing::flat_jpeg(3, 2, Separate), each);
        check(&testing::flat_jpeg(3, 1, Separate), each);
        check(&testing::flat_jpeg(1, 1, Separate), Ok(SourceFormat::Jpeg));
        check(
            &testing::flat_jpeg(3, 2, Progressive),
            Ok(SourceFormat::Jpeg),
        );
        check(&testing::flat_jpeg(4, 2, Interleaved), Err("a CMYK JPEG"));
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
                &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"",
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
