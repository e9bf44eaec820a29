use super::super::error::ImageError;
use super::reader::Reader;
use super::unsupported;

/// A progressive picture may come in very many scans, each of which walks over all of it.
const SCANS_MAX: usize = 100;
/// Pixels of all scans together; usual pictures of 100 megapixels have some 10 scans.
const SCANNED_PIXELS_MAX: u64 = 1_200_000_000;

/// What of a JPEG's making decides who decodes it and what that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct JpegKind {
    /// Pixels.
    pub(in super::super) width: u16,
    /// Pixels.
    pub(in super::super) height: u16,
    /// 1 is grey, 3 is colour, 4 is CMYK.
    pub(in super::super) components: u8,
    /// All coefficients are kept while it is decoded.
    pub(in super::super) is_progressive: bool,
    /// Whether the first scan holds all components.
    pub(in super::super) is_interleaved: bool,
}

/// Walks over the segments before the first scan. An `Err` names a kind that no decoder of ours takes.
pub(super) fn examine(bytes: &[u8]) -> Result<Option<JpegKind>, ImageError> {
    let mut reader = Reader(bytes);
    let mut frame = None;
    // Ends at the first scan, or with the bytes.
    loop {
        match next_segment(&mut reader)? {
            Some((0xda, scan)) => return judge(frame, scan, bytes).map(Some),
            Some((kind, segment)) if is_frame(kind) => {
                if frame.is_some() || segment.is_empty() {
                    return unsupported("a hierarchical JPEG");
                }
                frame = Some(frame_of(kind, segment)?);
            }
            Some(_) => {}
            // Cut short: let the decoder say so.
            None => return Ok(None),
        }
    }
}

fn is_frame(kind: u8) -> bool {
    matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc)
}

fn judge(frame: Option<JpegKind>, scan: &[u8], bytes: &[u8]) -> Result<JpegKind, ImageError> {
    let Some(frame) = frame else {
        return unsupported("a JPEG scan before its frame");
    };
    let scans = memchr::memmem::find_iter(bytes, &[0xff, 0xda]);
    let scans = scans.take(SCANS_MAX + 1).count();
    if scans > SCANS_MAX {
        return unsupported("a JPEG of more than 100 scans");
    }
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let scanned = u64::try_from(scans).map(|scans| scans.saturating_mul(pixels));
    if scanned.is_ok_and(|scanned| scanned > SCANNED_PIXELS_MAX) {
        return unsupported("a JPEG of many scans for its size");
    }
    Ok(JpegKind {
        is_interleaved: scan.first().is_some_and(|count| *count >= frame.components),
        ..frame
    })
}

/// ITU-T T.81 §B.2.2: precision, height and width come before the number of components.
fn frame_of(kind: u8, segment: &[u8]) -> Result<JpegKind, ImageError> {
    let mut reader = Reader(segment);
    let (Some(precision), Some(height), Some(width), Some(components)) = (
        reader.byte(),
        reader.array().map(u16::from_be_bytes),
        reader.array().map(u16::from_be_bytes),
        reader.byte(),
    ) else {
        return unsupported("a JPEG frame cut short");
    };
    if !matches!(kind, 0xc0..=0xc2) {
        return unsupported("a lossless, hierarchical or arithmetic JPEG");
    }
    if precision != 8 || !matches!(components, 1 | 3 | 4) {
        return unsupported("a JPEG of other than 8 bits and 1, 3 or 4 components");
    }
    Ok(JpegKind {
        width,
        height,
        components,
        is_progressive: kind == 0xc2,
        is_interleaved: true,
    })
}

/// The next marker with what its segment holds. Bytes between segments are refused: a decoder skips
/// them in its own way, and we would no longer judge what it decodes.
pub(in super::super) fn next_segment<'a>(
    reader: &mut Reader<'a>,
) -> Result<Option<(u8, &'a [u8])>, ImageError> {
    let Some(first) = reader.byte() else {
        return Ok(None);
    };
    if first != 0xff {
        return unsupported("a JPEG with bytes between its segments");
    }
    // Ends with the fill bytes, or with the file.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_may_have_fewer_scans() {
        let judged = |side, scans| {
            let frame = JpegKind {
                width: side,
                height: side,
                components: 3,
                is_progressive: true,
                is_interleaved: true,
            };
            judge(Some(frame), &[3], &[0xff, 0xda].repeat(scans)).is_ok()
        };
        assert!(judged(7000, 12) && judged(1000, 100));
        assert!(!judged(7000, 60) && !judged(1000, 101));
    }
}
