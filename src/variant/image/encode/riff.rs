//! The container of WebP (RFC 9649, section 2.3 and 2.7).

use super::super::error::ImageError;
use super::failed;

/// Flags of a `VP8X` chunk.
pub(super) const HAS_ANIMATION: u8 = 0x02;
pub(super) const HAS_EXIF: u8 = 0x08;
pub(super) const HAS_ALPHA: u8 = 0x10;

/// Three bytes for a number: all that sizes, places and times have.
pub(super) const U24_MAX: u32 = 0xFF_FFFF;

/// A file in the making.
pub(super) struct File(Vec<u8>);

impl File {
    /// With its first chunk, which says what is in it.
    pub(super) fn new(flags: u8, width: u32, height: u32) -> Self {
        let mut file = Self(b"RIFF\0\0\0\0WEBP".to_vec());
        let mut content = vec![flags, 0, 0, 0];
        content.extend(u24(width.saturating_sub(1)));
        content.extend(u24(height.saturating_sub(1)));
        file.chunk(*b"VP8X", &content);
        file
    }

    pub(super) fn chunk(&mut self, name: [u8; 4], content: &[u8]) {
        chunk(&mut self.0, name, content);
    }

    /// Chunks that are complete already.
    pub(super) fn chunks(&mut self, chunks: &[u8]) {
        self.0.extend_from_slice(chunks);
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, ImageError> {
        let size = u32::try_from(self.0.len().saturating_sub(8)).map_err(failed)?;
        if let Some(place) = self.0.get_mut(4..8) {
            place.copy_from_slice(&size.to_le_bytes());
        }
        Ok(self.0)
    }
}

pub(super) fn u24(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.min(U24_MAX).to_le_bytes();
    [a, b, c]
}

fn chunk(file: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    file.extend(name);
    // Far below 4 GiB: all of a picture is bounded.
    file.extend(
        u32::try_from(content.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    file.extend_from_slice(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
}

/// The chunks with pixels (`ALPH`, `VP8 `, `VP8L`) of a still file, as they are; and whether there is alpha.
pub(super) fn picture_chunks(still: &[u8]) -> Result<(Vec<u8>, bool), ImageError> {
    let mut rest = still.get(12..).unwrap_or_default();
    let mut chunks = Vec::new();
    let mut has_alpha = false;
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [name @ .., a, b, c, d] = header;
        let size = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).map_err(failed)?;
        let padded = size.saturating_add(size % 2);
        let Some((content, after)) = after.split_at_checked(padded) else {
            return Err(failed("libwebp wrote a chunk that is cut off"));
        };
        if matches!(name, b"ALPH" | b"VP8 " | b"VP8L") {
            chunks.extend_from_slice(header);
            chunks.extend_from_slice(content);
            // RFC 9649, 3.4: after the signature 14 bits each of width and height, then the hint for alpha.
            let hint = content.get(4).is_some_and(|byte| byte & 0x10 != 0);
            has_alpha |= name == b"ALPH" || name == b"VP8L" && hint;
        }
        rest = after;
    }
    if chunks.is_empty() {
        return Err(failed("libwebp wrote no picture"));
    }
    Ok((chunks, has_alpha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_even_and_the_file_knows_its_size() {
        let mut file = File::new(HAS_EXIF, 258, 1);
        file.chunk(*b"EXIF", b"abc");
        let file = file.finish().unwrap();
        assert_eq!(&file[..8], b"RIFF\x22\0\0\0");
        assert_eq!(&file[20..30], [8, 0, 0, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(&file[30..], b"EXIF\x03\0\0\0abc\0");
        assert_eq!(file.len(), 0x22 + 8);
    }

    #[test]
    fn only_pixels_are_taken_over() {
        let mut still = File::new(HAS_ALPHA, 1, 1);
        still.chunk(*b"ALPH", b"a");
        still.chunk(*b"VP8 ", b"pixels");
        still.chunk(*b"XMP ", b"words");
        let still = still.finish().unwrap();
        let (chunks, has_alpha) = picture_chunks(&still).unwrap();
        assert_eq!(chunks, b"ALPH\x01\0\0\0a\0VP8 \x06\0\0\0pixels");
        assert!(has_alpha);
        assert!(picture_chunks(&still[..50]).is_err());
        assert!(picture_chunks(b"RIFF").is_err());
    }
}
