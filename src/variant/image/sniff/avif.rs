use super::super::error::ImageError;
use super::unsupported;

/// Brands are looked for in as many places.
const BRANDS_MAX: usize = 32;

/// Whether the file type box (ISO/IEC 14496-12 §4.3) names AVIF. HEIC names other brands.
pub(super) fn is_avif(bytes: &[u8]) -> bool {
    brands(bytes).any(|brand| matches!(&brand, b"avif" | b"avis"))
}

pub(super) fn examine(bytes: &[u8]) -> Result<(), ImageError> {
    if brands(bytes).next().as_ref() == Some(b"avis") {
        return unsupported("an animated AVIF");
    }
    Ok(())
}

/// The major brand, then the compatible ones; between them stands a version that is no brand.
fn brands(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    let length = bytes
        .first_chunk()
        .map_or(0, |length| u32::from_be_bytes(*length));
    let content = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.get(8..length.min(bytes.len())))
        .unwrap_or_default();
    let (words, _) = content.as_chunks::<4>();
    let (major, rest) = (words.first(), words.get(2..).unwrap_or_default());
    major.into_iter().chain(rest).copied().take(BRANDS_MAX)
}
