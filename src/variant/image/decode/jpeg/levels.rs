//! What an eighth of a progressive JPEG is made of. One pixel of each block is its level (the DC coefficient),
//! which the first scans hold; a decoder reads all the others nevertheless, most of the file.

use memchr::memchr;

use super::super::super::sniff::{Reader, next_segment};

/// The last coefficient of a block, in zigzag order.
const LAST: u8 = 63;
/// libjpeg-turbo smooths over blocks while of so many coefficients one is not known to the last bit.
const SMOOTHED: usize = 10;
const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// The file without the scans that do not count at an eighth of its size, in place of which zeros are
/// announced: the pixels are the same to the bit. `None` if there are no such scans, and for everything
/// unusual: what is wrong with a file should be for the decoder to say.
pub(super) fn with_levels_alone(source: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(source);
    let mut kept = Vec::new();
    let mut frame: Option<Frame> = None;
    loop {
        let before = reader.0;
        let (kind, segment) = next_segment(&mut reader).ok()??;
        let mut is_kept = true;
        match kind {
            0xd9 => break,
            0xc2 if frame.is_none() => frame = Some(Frame::of(segment)?),
            // Another frame, or one of another kind.
            0xc0..=0xcf if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => return None,
            0xda => {
                skip_data(&mut reader)?;
                is_kept = frame.as_mut()?.add(&Scan::of(segment)?)?;
            }
            _ => {}
        }
        if is_kept {
            let (whole, _) = before.split_at_checked(before.len() - reader.0.len())?;
            kept.extend_from_slice(whole);
        }
    }
    let frame = frame?;
    let is_whole = |component: &Component| component.bits_left == [Some(0); SMOOTHED];
    let is_shorter = frame.components.iter().any(|component| component.is_cut);
    if !kept.starts_with(&START) || !is_shorter || !frame.components.iter().all(is_whole) {
        return None;
    }
    frame.announce_zeros(&mut kept);
    kept.extend_from_slice(&END);
    Some(kept)
}

/// Over what is coded after the header of a scan, up to the next marker.
fn skip_data(reader: &mut Reader<'_>) -> Option<()> {
    loop {
        let at = memchr(0xff, reader.0)?;
        reader.take(at)?;
        match reader.0.get(1)? {
            // A byte that looks like a marker, and restarts.
            0x00 | 0xd0..=0xd7 => reader.take(2)?,
            // Filling.
            0xff => reader.take(1)?,
            _ => return Some(()),
        };
    }
}

/// ITU-T T.81 §B.2.2.
struct Frame {
    width: u16,
    height: u16,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    across: u8,
    down: u8,
    /// Of the first coefficients, how many of their last bits are still to come; `None` before the first scan.
    bits_left: [Option<u8>; SMOOTHED],
    is_cut: bool,
}

impl Frame {
    fn of(segment: &[u8]) -> Option<Self> {
        let mut reader = Reader(segment);
        let _precision = reader.byte()?;
        let height = u16::from_be_bytes(reader.array()?);
        let width = u16::from_be_bytes(reader.array()?);
        let count = reader.byte()?;
        let mut components: Vec<Component> = Vec::new();
        for _ in 0..count {
            let [id, sampling, _table] = reader.array()?;
            let (across, down) = (sampling >> 4, sampling & 15);
            let is_sane = (1..=4).contains(&across) && (1..=4).contains(&down);
            if !is_sane || components.iter().any(|known| known.id == id) {
                return None;
            }
            components.push(Component {
                id,
                across,
                down,
                bits_left: [None; SMOOTHED],
                is_cut: false,
            });
        }
        Some(Self {
            width,
            height,
            components,
        })
    }

    /// Whether the scan counts at an eighth. `None` if it should not be there.
    fn add(&mut self, scan: &Scan) -> Option<bool> {
        let most = self.sampling();
        let mut counts = scan.first == 0;
        for id in &scan.components {
            let component = self.components.iter_mut().find(|known| known.id == *id)?;
            let [level, ..] = component.bits_left;
            if scan.first > 0 && level.is_none() {
                return None;
            }
            let coefficients = usize::from(scan.first)..=usize::from(scan.last);
            for (n, left) in component.bits_left.iter_mut().enumerate() {
                if coefficients.contains(&n) {
                    if left.unwrap_or(0) != scan.bits_before {
                        return None;
                    }
                    *left = Some(scan.bits_left);
                }
            }
            counts |= !component.is_a_pixel_each(most);
            component.is_cut |= !counts;
        }
        Some(counts)
    }

    fn sampling(&self) -> (u8, u8) {
        let components = self.components.iter();
        components.fold((1, 1), |(across, down), component| {
            (across.max(component.across), down.max(component.down))
        })
    }

    /// Else libjpeg-turbo would guess at what the missing scans hold.
    fn announce_zeros(&self, file: &mut Vec<u8>) {
        const NO_RESTARTS: [u8; 6] = [0xff, 0xdd, 0, 4, 0, 0];
        /// Of codes for "no more in so many blocks" all fifteen, with four bits each.
        const TABLE: [u8; 21] = [
            0xff, 0xc4, 0, 34, 0x10, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        file.extend_from_slice(&NO_RESTARTS);
        file.extend_from_slice(&TABLE);
        file.extend((0..15_u8).map(|power| power << 4));
        let most = self.sampling();
        for component in self.components.iter().filter(|component| component.is_cut) {
            file.extend_from_slice(&[0xff, 0xda, 0, 8, 1, component.id, 0, 1, LAST, 0]);
            let across = blocks(self.width, component.across, most.0);
            let down = blocks(self.height, component.down, most.1);
            empty_blocks(file, across * down);
        }
    }
}

impl Component {
    /// Where others are finer by two both ways, libjpeg-turbo makes more than a pixel of each block.
    fn is_a_pixel_each(&self, (across, down): (u8, u8)) -> bool {
        across % (2 * self.across) != 0 || down % (2 * self.down) != 0
    }
}

/// In a scan of one component alone (ITU-T T.81 §A.2.2).
fn blocks(pixels: u16, sampling: u8, most: u8) -> u64 {
    let samples = (u64::from(pixels) * u64::from(sampling)).div_ceil(u64::from(most));
    samples.div_ceil(8)
}

/// Runs of blocks without another coefficient, each at most 32 767 long (ITU-T T.81 §G.1.2.2).
fn empty_blocks(file: &mut Vec<u8>, mut count: u64) {
    let (mut bits, mut length) = (0_u64, 0_u32);
    while count > 0 {
        let power = count.ilog2().min(14);
        let rest = (count - (1 << power)).min((1 << power) - 1);
        count -= (1 << power) + rest;
        bits = (bits << (4 + power)) | (u64::from(power) << power) | rest;
        length += 4 + power;
        while length >= 8 {
            length -= 8;
            byte(file, bits >> length);
        }
    }
    if length > 0 {
        // The last byte is filled with ones.
        byte(file, ((bits << 8) | 0xff) >> length);
    }
}

fn byte(file: &mut Vec<u8>, bits: u64) {
    let [.., low] = bits.to_be_bytes();
    file.push(low);
    if low == 0xff {
        file.push(0);
    }
}

/// ITU-T T.81 §B.2.3.
struct Scan {
    components: Vec<u8>,
    first: u8,
    last: u8,
    bits_before: u8,
    bits_left: u8,
}

impl Scan {
    fn of(segment: &[u8]) -> Option<Self> {
        let (count, rest) = segment.split_first()?;
        let (pairs, spectrum) = rest.split_at_checked(usize::from(*count) * 2)?;
        let [first, last, approximation] = *spectrum else {
            return None;
        };
        let components = pairs.iter().step_by(2).copied().collect();
        let (bits_before, bits_left) = (approximation >> 4, approximation & 15);
        let is_band = match first {
            0 => last == 0,
            _ => *count == 1 && (first..=LAST).contains(&last),
        };
        let is_next = bits_before == 0 || bits_left + 1 == bits_before;
        (*count > 0 && is_band && is_next).then_some(Self {
            components,
            first,
            last,
            bits_before,
            bits_left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::sniff::sniff;
    use super::super::super::super::testing::corpus::specimens;
    use super::super::turbo;
    use super::*;

    #[test]
    fn an_eighth_is_the_same_without_the_rest() {
        let mut cut = 0;
        for specimen in specimens() {
            let is_meant =
                specimen.name.starts_with("jpeg") && specimen.name.contains("progressive");
            let Some(kind) = sniff(&specimen.bytes, None)
                .ok()
                .and_then(|found| found.jpeg)
            else {
                continue;
            };
            if !is_meant || kind.components == 4 {
                continue;
            }
            let Some(short) = with_levels_alone(&specimen.bytes) else {
                assert!(!kind.is_progressive, "{}", specimen.name);
                continue;
            };
            assert!(short.len() < specimen.bytes.len(), "{}", specimen.name);
            let whole = turbo::decoded(&specimen.bytes, kind, 8).unwrap();
            let found = turbo::decoded(&short, kind, 8).unwrap();
            assert!(found.pixels == whole.pixels, "{}", specimen.name);
            cut += 1;
        }
        assert!(cut >= 7, "{cut}");
    }

    #[test]
    fn what_is_cut_off_or_unfinished_stays_whole() {
        let all = specimens();
        let progressive = all.iter().find(|one| one.name == "jpeg 4:4:4, progressive");
        let bytes = &progressive.unwrap().bytes;
        assert!(with_levels_alone(bytes).is_some());
        assert_eq!(with_levels_alone(&bytes[..bytes.len() - 2]), None);
        let scans: Vec<_> = memchr::memmem::find_iter(bytes, &[0xff, 0xda]).collect();
        let unfinished = [&bytes[..scans[4]], &END].concat();
        assert_eq!(with_levels_alone(&unfinished), None);
    }

    #[test]
    fn runs_of_empty_blocks_add_up() {
        for count in [1_u64, 2, 3, 54, 16_384, 32_767, 32_768, 279_841] {
            let mut file = Vec::new();
            empty_blocks(&mut file, count);
            let mut bits = Vec::new();
            let mut was_mark = false;
            for byte in file {
                if !was_mark {
                    bits.extend((0..8).rev().map(|n| (byte >> n) & 1));
                }
                was_mark = !was_mark && byte == 0xff;
            }
            let mut bits = bits.into_iter().map(u64::from);
            let mut number = |length| (0..length).fold(0, |sum, _| sum * 2 + bits.next().unwrap());
            let mut sum = 0;
            while sum < count {
                let power = number(4);
                sum += (1 << power) + number(power);
            }
            assert_eq!(sum, count);
        }
    }
}
