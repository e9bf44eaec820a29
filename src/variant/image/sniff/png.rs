use super::Reel;
use super::reader::Reader;

/// What the chunks before the pixels say.
pub(super) fn examine(bytes: &[u8]) -> Reel {
    let mut reel = Reel::STILL;
    let mut reader = Reader(bytes.get(8..).unwrap_or_default());
    // Ends at the pixels, or with the bytes.
    while let Some((kind, content)) = next_chunk(&mut reader) {
        match (&kind, content) {
            (b"IDAT", _) => break,
            // Frames, plays (PNG, third edition §11.3.6.1).
            (b"acTL", [a, b, c, d, e, f, g, h]) => {
                let frames = u32::from_be_bytes([*a, *b, *c, *d]);
                let plays = u32::from_be_bytes([*e, *f, *g, *h]);
                reel = Reel {
                    frames: frames.max(1),
                    repeats: u16::try_from(plays).unwrap_or(u16::MAX),
                };
            }
            _ => {}
        }
    }
    reel
}

/// The next chunk, whose checksum is left to the decoder; `None` at the end.
pub(in super::super) fn next_chunk<'a>(reader: &mut Reader<'a>) -> Option<([u8; 4], &'a [u8])> {
    let length = u32::from_be_bytes(reader.array()?);
    let kind = reader.array::<4>()?;
    let content = reader.take(usize::try_from(length).ok()?)?;
    let _checksum = reader.take(4)?;
    Some((kind, content))
}
