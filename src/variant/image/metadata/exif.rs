use super::Keep;

/// Tags (CIPA DC-008-2023 §4.6, TIFF 6.0).
const ORIENTATION: u16 = 0x0112;
const EXIF_FOLDER: u16 = 0x8769;
const ARTIST: u16 = 0x013b;
const COPYRIGHT: u16 = 0x8298;

/// What `Keep::All` keeps of the picture's own folder: descriptions, the camera, dates, people. Not the pointers to
/// GPS and to thumbnails, nor tags that may hold other metadata (XMP, IPTC, Photoshop), all of which may say where.
const KEPT_OF_PICTURE: [u16; 17] = [
    0x010e, 0x010f, 0x0110, 0x011a, 0x011b, 0x0128, 0x0131, 0x0132, ARTIST, COPYRIGHT, 0x9c9b,
    0x9c9c, 0x9c9d, 0x9c9e, 0x9c9f, 0x013c, 0x4746,
];
/// What `Keep::All` keeps of the folder of the exposure: all that the standard knows, but for the maker's
/// notes, the comment (both hold anything), the interoperability pointer and serial numbers.
const KEPT_OF_EXPOSURE: [u16; 53] = [
    0x829a, 0x829d, 0x8822, 0x8824, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833, 0x8834, 0x8835, 0x9000,
    0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9101, 0x9102, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205,
    0x9206, 0x9207, 0x9208, 0x9209, 0x920a, 0x9290, 0x9291, 0x9292, 0xa000, 0xa001, 0xa20e, 0xa20f,
    0xa210, 0xa215, 0xa217, 0xa300, 0xa301, 0xa401, 0xa402, 0xa403, 0xa404, 0xa405, 0xa406, 0xa407,
    0xa408, 0xa409, 0xa40a, 0xa433, 0xa434,
];

/// More entries than the standard has tags are somebody's joke.
const ENTRIES_MAX: usize = 512;
/// A JPEG segment is to hold it with its name.
const BYTES_MAX: usize = 65_000;

/// A TIFF structure, read where it lies.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

/// One entry of a folder, its value as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    tag: u16,
    kind: u16,
    count: u32,
    value: &'a [u8],
}

impl<'a> Tiff<'a> {
    fn new(exif: &'a [u8]) -> Option<Self> {
        // Some writers of PNG and WebP leave the name of JPEG's segment there.
        let bytes = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        let is_little = match bytes.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self { bytes, is_little })
    }

    fn part(&self, start: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(start..start.checked_add(length)?)
    }

    fn u16_at(&self, start: usize) -> Option<u16> {
        let bytes = *self.part(start, 2)?.first_chunk()?;
        Some(if self.is_little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn u32_at(&self, start: usize) -> Option<u32> {
        let bytes = *self.part(start, 4)?.first_chunk()?;
        Some(if self.is_little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn offset_at(&self, start: usize) -> Option<usize> {
        usize::try_from(self.u32_at(start)?).ok()
    }

    /// Entries that can be read.
    fn folder(&self, start: usize) -> Vec<Entry<'a>> {
        let count = usize::from(self.u16_at(start).unwrap_or(0)).min(ENTRIES_MAX);
        let places = (0..count).map(|n| start + 2 + n * 12);
        places.filter_map(|place| self.entry(place)).collect()
    }

    fn entry(&self, place: usize) -> Option<Entry<'a>> {
        let (tag, kind) = (self.u16_at(place)?, self.u16_at(place + 2)?);
        let count = self.u32_at(place + 4)?;
        let length = usize::try_from(count).ok()?.checked_mul(size_of(kind)?)?;
        let start = if length <= 4 {
            place + 8
        } else {
            self.offset_at(place + 8)?
        };
        Some(Entry {
            tag,
            kind,
            count,
            value: self.part(start, length)?,
        })
    }

    fn picture(&self) -> Vec<Entry<'a>> {
        self.offset_at(4)
            .map_or_else(Vec::new, |start| self.folder(start))
    }

    fn exposure(&self, picture: &[Entry<'a>]) -> Vec<Entry<'a>> {
        picture
            .iter()
            .find(|entry| entry.tag == EXIF_FOLDER)
            .and_then(|entry| {
                let pointer = Self {
                    bytes: entry.value,
                    ..*self
                };
                pointer.offset_at(0)
            })
            .map_or_else(Vec::new, |start| self.folder(start))
    }
}

/// Bytes of one value (TIFF 6.0 §2).
fn size_of(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}

/// 1 to 8.
pub(super) fn orientation(exif: &[u8]) -> Option<u8> {
    let tiff = Tiff::new(exif)?;
    let entries = tiff.picture();
    let entry = entries
        .iter()
        .find(|entry| entry.tag == ORIENTATION && entry.kind == 3)?;
    let value = Tiff {
        bytes: entry.value,
        ..tiff
    };
    let number = u8::try_from(value.u16_at(0)?).ok()?;
    (1..=8).contains(&number).then_some(number)
}

/// Whether all values that the first folder names are there. A decoder of TIFF may take memory for them before it
/// looks.
pub(super) fn is_sound(tiff: &[u8]) -> bool {
    let read = || {
        let tiff = Tiff::new(tiff)?;
        let start = tiff.offset_at(4)?;
        let count = usize::from(tiff.u16_at(start)?);
        let mut places = (0..count).map(|n| start + 2 + n * 12);
        Some(count <= ENTRIES_MAX && places.all(|place| tiff.entry(place).is_some()))
    };
    read().unwrap_or(false)
}

/// A structure made anew of what may be kept, with another orientation; `None` if there is nothing to say.
pub(super) fn rebuilt(exif: &[u8], keep: Keep, orientation: Option<u8>) -> Option<Vec<u8>> {
    let Some(tiff) = Tiff::new(exif) else {
        return orientation.and_then(only_orientation);
    };
    let all = tiff.picture();
    let among = |entries: &[Entry<'_>], tags: &[u16]| {
        let kept = entries.iter().filter(|entry| tags.contains(&entry.tag));
        kept.count()
    };
    let (tags, exposure): (&[u16], _) = match keep {
        Keep::None => (&[], Vec::new()),
        Keep::Copyright => (&[ARTIST, COPYRIGHT], Vec::new()),
        Keep::All => (&KEPT_OF_PICTURE, tiff.exposure(&all)),
    };
    let is_empty = among(&all, tags) == 0 && among(&exposure, &KEPT_OF_EXPOSURE) == 0;
    if is_empty && orientation.is_none() {
        return None;
    }
    let mut writer = Writer::new(tiff.is_little);
    let number = orientation.map(|number| writer.u16_bytes(u16::from(number)));
    let mut picture: Vec<Entry<'_>> = kept(&all, tags);
    if let Some(number) = &number {
        picture.push(Entry {
            tag: ORIENTATION,
            kind: 3,
            count: 1,
            value: number,
        });
    }
    let exposure = kept(&exposure, &KEPT_OF_EXPOSURE);
    writer.write(&picture, &exposure);
    (writer.bytes.len() <= BYTES_MAX).then_some(writer.bytes)
}

/// A structure that says nothing else.
fn only_orientation(number: u8) -> Option<Vec<u8>> {
    rebuilt(b"II*\0\x08\0\0\0\0\0", Keep::None, Some(number))
}

fn kept<'a>(entries: &[Entry<'a>], tags: &[u16]) -> Vec<Entry<'a>> {
    let mut kept: Vec<Entry<'a>> = Vec::new();
    for entry in entries {
        let is_new = kept.iter().all(|other| other.tag != entry.tag);
        if is_new && tags.contains(&entry.tag) {
            kept.push(*entry);
        }
    }
    kept
}

struct Writer {
    bytes: Vec<u8>,
    is_little: bool,
}

impl Writer {
    fn new(is_little: bool) -> Self {
        let start: &[u8] = if is_little {
            b"II*\0\x08\0\0\0"
        } else {
            b"MM\0*\0\0\0\x08"
        };
        Self {
            bytes: start.to_vec(),
            is_little,
        }
    }

    fn u16_bytes(&self, value: u16) -> [u8; 2] {
        if self.is_little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    fn u32_bytes(&self, value: usize) -> [u8; 4] {
        // The parts come from a bounded structure.
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        if self.is_little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    fn write(&mut self, picture: &[Entry<'_>], exposure: &[Entry<'_>]) {
        if exposure.is_empty() {
            self.folder(picture);
            return;
        }
        // The other folder begins behind this one and its values.
        let nowhere = pointer_to_exposure(&[0; 4]);
        let start = self.bytes.len() + folder_length(&[picture, &[nowhere]].concat());
        let there = self.u32_bytes(start);
        self.folder(&[picture, &[pointer_to_exposure(&there)]].concat());
        self.folder(exposure);
    }

    fn folder(&mut self, entries: &[Entry<'_>]) {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|entry| entry.tag);
        let mut values = Vec::new();
        let values_start = self.bytes.len() + 2 + entries.len() * 12 + 4;
        let count = self.u16_bytes(u16::try_from(entries.len()).unwrap_or(u16::MAX));
        self.bytes.extend_from_slice(&count);
        for entry in &entries {
            let head = [self.u16_bytes(entry.tag), self.u16_bytes(entry.kind)].concat();
            let count = self.u32_bytes(usize::try_from(entry.count).unwrap_or(usize::MAX));
            self.bytes.extend_from_slice(&head);
            self.bytes.extend_from_slice(&count);
            if entry.value.len() <= 4 {
                let mut inside = [0; 4];
                for (there, byte) in inside.iter_mut().zip(entry.value) {
                    *there = *byte;
                }
                self.bytes.extend_from_slice(&inside);
            } else {
                let place = self.u32_bytes(values_start + values.len());
                self.bytes.extend_from_slice(&place);
                values.extend_from_slice(entry.value);
                if values.len() % 2 == 1 {
                    values.push(0);
                }
            }
        }
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&values);
    }
}

fn pointer_to_exposure(place: &[u8; 4]) -> Entry<'_> {
    Entry {
        tag: EXIF_FOLDER,
        kind: 4,
        count: 1,
        value: place,
    }
}

fn folder_length(entries: &[Entry<'_>]) -> usize {
    let outside = |entry: &Entry<'_>| match entry.value.len() {
        0..=4 => 0,
        length => length.next_multiple_of(2),
    };
    2 + entries.len() * 12 + 4 + entries.iter().map(outside).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Little- or big-endian, with a GPS folder and a thumbnail behind.
    fn camera(is_little: bool, number: u8) -> Vec<u8> {
        let mut writer = Writer::new(is_little);
        let orientation = writer.u16_bytes(u16::from(number));
        let gps = writer.u32_bytes(8);
        let text = |tag, value: &'static [u8]| Entry {
            tag,
            kind: 2,
            count: u32::try_from(value.len()).unwrap(),
            value,
        };
        let picture = vec![
            text(0x010f, b"Maker of cameras\0"),
            text(COPYRIGHT, b"Ann\0"),
            text(ARTIST, b"Ann Other\0"),
            Entry {
                tag: ORIENTATION,
                kind: 3,
                count: 1,
                value: &orientation,
            },
            Entry {
                tag: 0x8825,
                kind: 4,
                count: 1,
                value: &gps,
            },
        ];
        let exposure = vec![
            text(0x9003, b"2026:11:27 22:31:37\0"),
            text(0x927c, b"52.5 N 13.4 E\0"),
        ];
        writer.write(&picture, &exposure);
        writer.bytes
    }

    fn tags(exif: &[u8]) -> (Vec<u16>, Vec<u16>) {
        let tiff = Tiff::new(exif).unwrap();
        let picture = tiff.picture();
        let exposure = tiff.exposure(&picture);
        let tags = |entries: &[Entry<'_>]| entries.iter().map(|entry| entry.tag).collect();
        (tags(&picture), tags(&exposure))
    }

    #[test]
    fn orientation_is_read_in_either_order() {
        for is_little in [true, false] {
            assert_eq!(orientation(&camera(is_little, 6)), Some(6));
            assert_eq!(orientation(&camera(is_little, 9)), None);
        }
        assert_eq!(orientation(b"Exif\0\0II*\0\x08\0\0\0\0\0"), None);
    }

    #[test]
    fn places_and_makers_notes_are_never_kept() {
        for is_little in [true, false] {
            let exif = camera(is_little, 3);
            assert_eq!(rebuilt(&exif, Keep::None, None), None);

            let owner = rebuilt(&exif, Keep::Copyright, None).unwrap();
            assert_eq!(tags(&owner), (vec![ARTIST, COPYRIGHT], vec![]));
            let tiff = Tiff::new(&owner).unwrap();
            assert_eq!(tiff.picture()[0].value, b"Ann Other\0");
            assert_eq!(tiff.picture()[1].value, b"Ann\0");

            let all = rebuilt(&exif, Keep::All, Some(3)).unwrap();
            let expect = vec![0x010f, ORIENTATION, ARTIST, COPYRIGHT, EXIF_FOLDER];
            assert_eq!(tags(&all), (expect, vec![0x9003]));
            assert_eq!(orientation(&all), Some(3));
            assert!(memchr::memmem::find(&all, b"52.5 N").is_none());
            assert_eq!(
                rebuilt(&all, Keep::All, Some(3)),
                Some(all),
                "nothing more to drop"
            );
        }
    }

    #[test]
    fn only_an_orientation_can_be_said() {
        let exif = rebuilt(b"junk", Keep::All, Some(8)).unwrap();
        assert_eq!(orientation(&exif), Some(8));
        assert_eq!(rebuilt(b"junk", Keep::All, None), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..300), is_little: bool) {
            let start: &[u8] = if is_little { b"II*\0\x08\0\0\0" } else { b"MM\0*\0\0\0\x08" };
            let exif = [start, &rest].concat();
            let _number = orientation(&exif);
            if let Some(kept) = rebuilt(&exif, Keep::All, None) {
                prop_assert_eq!(rebuilt(&kept, Keep::All, None), Some(kept));
            }
        }
    }
}
