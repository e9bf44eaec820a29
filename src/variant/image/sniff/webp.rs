use super::Reel;
use super::reader::Reader;

/// Frames, and whether the pixels are kept exactly (VP8L).
pub(super) fn examine(bytes: &[u8]) -> (Reel, bool) {
    let mut reel = Reel::STILL;
    let mut frames = 0_u32;
    let mut is_lossless = true;
    let mut reader = Reader(bytes.get(12..).unwrap_or_default());
    // Ends with the bytes.
    while let Some((kind, content)) = next_chunk(&mut reader) {
        match &kind {
            b"ANIM" => {
                if let Some([low, high]) = content.get(4..6) {
                    reel.repeats = u16::from_le_bytes([*low, *high]);
                }
            }
            b"ANMF" => {
                frames = frames.saturating_add(1);
                is_lossless &= is_lossless_frame(content.get(16..).unwrap_or_default());
            }
            b"VP8 " => is_lossless = false,
            _ => {}
        }
    }
    reel.frames = frames.max(1);
    (reel, is_lossless)
}

fn is_lossless_frame(content: &[u8]) -> bool {
    let mut reader = Reader(content);
    // Ends with the bytes.
    while let Some((kind, _)) = next_chunk(&mut reader) {
        if &kind == b"VP8 " {
            return false;
        }
    }
    true
}

/// The next chunk of a RIFF file, each padded to an even length; what is cut short is given as far as it
/// goes.
pub(in super::super) fn next_chunk<'a>(reader: &mut Reader<'a>) -> Option<([u8; 4], &'a [u8])> {
    let kind = reader.array::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(reader.array()?)).ok()?;
    let length = length.min(reader.0.len());
    let content = reader.take(length)?;
    if length % 2 == 1 {
        reader.byte();
    }
    Some((kind, content))
}
