use super::super::super::sniff::Reader;

/// Kinds of units (AV1 §6.2.2).
const SEQUENCE: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// Frames in a stream of AV1, as far as it can be read; counting ends at `most`.
pub(super) fn frames_up_to(data: &[u8], most: usize) -> usize {
    let is_frame = |(kind, _): &(u8, &[u8])| matches!(*kind, FRAME_HEADER | FRAME);
    units(data).filter(is_frame).take(most).count()
}

/// Primaries, transfer and matrix (ITU-T H.273) as the stream says them, if its header is that of a still picture.
pub(super) fn codes(data: &[u8]) -> Option<(u8, u8, u8)> {
    let (_, header) = units(data).find(|(kind, _)| *kind == SEQUENCE)?;
    let mut bits = Bits {
        bytes: header,
        place: 0,
    };
    // §5.5.1: only the short form, which stills have.
    let profile = bits.take(3)?;
    let _still = bits.take(1)?;
    if bits.take(1)? == 0 {
        return None;
    }
    let _level = bits.take(5)?;
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    bits.take(width_bits)?;
    bits.take(height_bits)?;
    // Superblocks and five tools.
    bits.take(6)?;
    // §5.5.2.
    let is_deep = bits.take(1)? == 1;
    if profile == 2 && is_deep {
        bits.take(1)?;
    }
    if profile != 1 {
        bits.take(1)?;
    }
    if bits.take(1)? == 0 {
        return None;
    }
    let mut code = || u8::try_from(bits.take(8)?).ok();
    Some((code()?, code()?, code()?))
}

/// Units with their kinds (§5.3). Without a length one goes to the end.
fn units(data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = Reader(data);
    std::iter::from_fn(move || {
        let head = reader.byte()?;
        let (kind, is_extended, has_length) = ((head >> 3) & 15, head & 4 != 0, head & 2 != 0);
        if is_extended {
            reader.byte()?;
        }
        let length = if has_length {
            leb128(&mut reader)?
        } else {
            reader.0.len()
        };
        // One that is cut short counts all the same.
        let content = reader.take(length.min(reader.0.len()))?;
        Some((kind, content))
    })
}

/// §4.10.5.
fn leb128(reader: &mut Reader<'_>) -> Option<usize> {
    let mut value = 0_u64;
    for n in 0..8_u32 {
        let byte = reader.byte()?;
        value |= u64::from(byte & 0x7f) << (n * 7);
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

/// Bits from the highest.
struct Bits<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Bits<'_> {
    /// Up to 32.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.place / 8)?;
            let bit = byte >> (7 - self.place % 8) & 1;
            value = value << 1 | u32::from(bit);
            self.place += 1;
        }
        Some(value)
    }
}
