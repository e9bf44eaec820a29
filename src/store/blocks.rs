//! The engine of the disk tier: a log of records in a ring of blocks.
//!
//! Records are appended to one block after the other; when the ring is full, the oldest block is used
//! again, and all that was in it is gone. A block begins with a header, and its records follow. From its
//! end towards them grow the *lines*: one a record, so that a start reads these and not the records.
//!
//! Nothing is synchronised to the disk: after a kill all is there, since it is with the system; after a
//! loss of power anything may be missing, and checksums make that a miss. A block that is used again gets
//! a header with a new first number before anything else, which makes its old lines void at once.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::{Buf, BufMut, Bytes};
use twox_hash::XxHash3_64;

use super::codec::Record;
use super::device::Device;
use super::entry::{EntryKey, Part};
use super::folder::Geometry;
use super::hash::FoldBuilder;
use super::places::{Place, Places};

/// Raised with every change of the bytes below; part of the disk tier's fingerprint.
pub(super) const FORMAT: u8 = 2;

const BLOCK_MAGIC: u64 = 0x6b6c_625f_6d69_7262;
const BLOCK_HEADER_BYTES: usize = 64;
const RECORD_MAGIC: u32 = 0x6d69_7262;
/// What the engine puts before a record.
pub(super) const RECORD_HEADER_BYTES: usize = 48;
const LINE_BYTES: usize = 48;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 64;
const PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];
/// Lines read at once, first and at most: most blocks of large objects have few.
const LINES_READ_FIRST: usize = 85;
const LINES_READ_MAX: usize = 10_922;
/// Blocks near their end, of all: what is still read from them is written again. With 0.3 hot objects
/// stayed (hit ratio 1.00 for 18 % more writes), with 0.1 they did not (0.50).
const PROBATION: f64 = 0.3;

/// What a block holds at most, of one record.
pub(super) fn record_bytes_max(block_bytes: u64) -> u64 {
    block_bytes
        .saturating_sub((BLOCK_HEADER_BYTES + ALIGNMENT + RECORD_HEADER_BYTES + LINE_BYTES) as u64)
}

pub(super) fn hash(key: &EntryKey) -> u64 {
    FoldBuilder.hash_one(key)
}

/// The key under which the watchdog writes; what is kept under it after a restart means nothing.
pub(super) fn probe_key() -> EntryKey {
    EntryKey::chunk(u128::MAX, u32::MAX - 1)
}

/// What the parts of the engine share.
pub(super) struct Ring {
    pub(super) device: Arc<dyn Device>,
    pub(super) places: Places,
    geometry: Geometry,
    blocks: u32,
    /// The block that is being written.
    current: AtomicU32,
    /// The engine is of no use any more: a writer that comes back late must not go on.
    pub(super) abandoned: AtomicBool,
}

impl Ring {
    pub(super) fn new(device: Arc<dyn Device>, geometry: Geometry) -> io::Result<Self> {
        let blocks = u32::try_from(geometry.blocks)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self {
            device,
            places: Places::new(),
            geometry,
            blocks,
            current: AtomicU32::new(0),
            abandoned: AtomicBool::new(false),
        })
    }

    /// Whether the block is among those that are used again next.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a count"
    )]
    pub(super) fn is_old(&self, block: u32) -> bool {
        let current = self.current.load(Ordering::Relaxed);
        let ahead = (block + self.blocks - current) % self.blocks;
        let probation = (f64::from(self.blocks) * PROBATION) as u32;
        (1..=probation).contains(&ahead)
    }

    fn still_wanted(&self) -> io::Result<()> {
        if self.abandoned.load(Ordering::Acquire) {
            return Err(io::Error::other("abandoned"));
        }
        Ok(())
    }

    /// The number that the first record of a block had, if it holds any.
    fn read_block_header(&self, block: u32) -> io::Result<Option<u64>> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        self.device.read(block, 0, &mut header)?;
        let mut read = header.as_slice();
        let (magic, number, first) = (read.get_u64_le(), read.get_u64_le(), read.get_u64_le());
        let check = read.get_u64_le();
        let sound = magic == BLOCK_MAGIC
            && number == u64::from(block)
            && check == block_check(block, first);
        Ok(sound.then_some(first))
    }

    /// The lines of a block whose first record had that number, in the order of writing.
    fn read_lines(&self, block: u32, first: u64) -> io::Result<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        let mut end = self.geometry.block_bytes;
        let mut at_once = LINES_READ_FIRST;
        let mut buffer = Vec::new();
        // Ends at the latest at the front of the block.
        loop {
            let room = end.saturating_sub(BLOCK_HEADER_BYTES as u64) / LINE_BYTES as u64;
            let count = usize::try_from(room).unwrap_or(at_once).min(at_once);
            if count == 0 {
                return Ok(lines);
            }
            end -= (count * LINE_BYTES) as u64;
            buffer.resize(count * LINE_BYTES, 0);
            self.device.read(block, end, &mut buffer)?;
            for line in buffer.rchunks_exact(LINE_BYTES) {
                let next = lines.last().map_or(first, |last| last.number + 1);
                match Line::read(line, block) {
                    Some(line) if line.number >= next => lines.push(line),
                    Some(_) | None => return Ok(lines),
                }
            }
            at_once = (at_once * 8).min(LINES_READ_MAX);
        }
    }
}

/// One record, as the start of a node reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    key: EntryKey,
    number: u64,
    offset: u32,
    length: u32,
}

impl Line {
    fn put(&self, out: &mut Vec<u8>, block: u32) {
        let start = out.len();
        put_key(out, &self.key);
        out.put_u64_le(self.number);
        out.put_u32_le(self.offset);
        out.put_u32_le(self.length);
        let check = line_check(out.get(start..).unwrap_or_default(), block);
        out.put_u64_le(check);
    }

    fn read(mut line: &[u8], block: u32) -> Option<Self> {
        let (body, _) = line.split_at_checked(LINE_BYTES - 8)?;
        let check = line_check(body, block);
        let key = get_key(&mut line)?;
        let found = Self {
            key,
            number: line.try_get_u64_le().ok()?,
            offset: line.try_get_u32_le().ok()?,
            length: line.try_get_u32_le().ok()?,
        };
        (line.try_get_u64_le().ok()? == check).then_some(found)
    }

    fn end(&self) -> u64 {
        u64::from(self.offset) + record_span(u64::from(self.length))
    }
}

fn put_key(out: &mut Vec<u8>, key: &EntryKey) {
    out.put_u128_le(key.id);
    out.put_u64_le(match key.part {
        Part::Head => 0,
        Part::Chunk(number) => 1 + u64::from(number),
    });
}

fn get_key(read: &mut &[u8]) -> Option<EntryKey> {
    let id = read.try_get_u128_le().ok()?;
    let part = match read.try_get_u64_le().ok()? {
        0 => Part::Head,
        number => Part::Chunk(u32::try_from(number - 1).ok()?),
    };
    Some(EntryKey { id, part })
}

fn block_check(block: u32, first: u64) -> u64 {
    let both = u128::from(first) << 64 | u128::from(BLOCK_MAGIC ^ u64::from(block));
    XxHash3_64::oneshot(&both.to_le_bytes())
}

fn line_check(body: &[u8], block: u32) -> u64 {
    XxHash3_64::oneshot(body) ^ (u64::from(block) << 32 | u64::from(RECORD_MAGIC))
}

/// Of the key, the number, and the bytes of the record.
fn record_check(key: &EntryKey, number: u64, parts: [&[u8]; 2]) -> u64 {
    let seed = hash(key) ^ number.rotate_left(32);
    match parts {
        [whole, []] => XxHash3_64::oneshot_with_seed(seed, whole),
        [head, body] => {
            let mut hasher = XxHash3_64::with_seed(seed);
            hasher.write(head);
            hasher.write(body);
            hasher.finish()
        }
    }
}

/// What a record takes of a block, without its line.
fn record_span(length: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + length).next_multiple_of(ALIGNMENT as u64)
}

/// Why bytes are not the record that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotIt {
    /// They are another record, or none: the block was used again, or two keys have one hash.
    Another,
    /// They begin as the record and are not what was written.
    Damaged,
}

/// Bytes to read for the record at a place.
pub(super) fn bytes_at(place: Place) -> usize {
    RECORD_HEADER_BYTES + place.length as usize
}

/// The record of a key from the bytes at its place.
pub(super) fn read_record(key: &EntryKey, place: Place, bytes: &Bytes) -> Result<Record, NotIt> {
    let mut header = bytes.as_ref();
    let parsed = (|| {
        let magic = header.try_get_u32_le().ok()?;
        let length = header.try_get_u32_le().ok()?;
        let check = header.try_get_u64_le().ok()?;
        let number = header.try_get_u64_le().ok()?;
        let found = get_key(&mut header)?;
        Some((magic, length, check, number, found))
    })();
    let Some((RECORD_MAGIC, length, check, number, found)) = parsed else {
        return Err(NotIt::Another);
    };
    if found != *key || length != place.length {
        return Err(NotIt::Another);
    }
    if record_check(key, number, [header, &[]]) != check {
        return Err(NotIt::Damaged);
    }
    Ok(Record {
        head: bytes.slice(RECORD_HEADER_BYTES..),
        body: Bytes::new(),
    })
}

/// Appends records. There is one for a ring.
pub(super) struct Writer {
    ring: Arc<Ring>,
    block: u32,
    /// Where the next record goes.
    cursor: u64,
    /// The number of the next record; rises for ever.
    number: u64,
    /// Lines of each block.
    lines: Vec<u32>,
}

/// Records of one block that are written together.
#[derive(Default)]
struct Run {
    headers: Vec<[u8; RECORD_HEADER_BYTES]>,
    records: Vec<Record>,
    lines: Vec<Line>,
    bytes: u64,
}

impl Writer {
    /// Reads what the blocks hold into the index, and continues behind it. A block that cannot be read
    /// is taken for an empty one, unless there are many: then what they hold would be given away for a
    /// disk that may be well again soon.
    pub(super) fn recover(ring: Arc<Ring>) -> io::Result<Self> {
        let mut used: Vec<(u64, u32)> = Vec::new();
        let mut unreadable = 0;
        for block in 0..ring.blocks {
            ring.still_wanted()?;
            match ring.read_block_header(block) {
                Ok(Some(first)) => used.push((first, block)),
                Ok(None) => {}
                Err(error) => {
                    unreadable += 1;
                    if unreadable > ring.blocks / 8 {
                        return Err(error);
                    }
                }
            }
        }
        // The newest last, so that it replaces what is older.
        used.sort_unstable();
        let mut writer = Self {
            block: ring.blocks - 1,
            cursor: ring.geometry.block_bytes,
            number: 1,
            lines: vec![0; ring.blocks as usize],
            ring,
        };
        for (first, block) in used {
            writer.ring.still_wanted()?;
            let lines = writer.ring.read_lines(block, first).unwrap_or_default();
            writer.take_up(block, first, &lines);
        }
        writer.ring.current.store(writer.block, Ordering::Relaxed);
        Ok(writer)
    }

    fn take_up(&mut self, block: u32, first: u64, lines: &[Line]) {
        let probe = probe_key();
        let lines_end = self.lines_end(lines.len());
        for line in lines.iter().filter(|line| line.key != probe) {
            let place = Place {
                block,
                offset: line.offset,
                length: line.length,
            };
            if line.end() <= lines_end {
                self.ring.places.insert(hash(&line.key), place);
            }
        }
        self.block = block;
        self.cursor = lines
            .iter()
            .map(Line::end)
            .max()
            .unwrap_or(BLOCK_HEADER_BYTES as u64);
        // A gap, wider than the block has lines: after a loss of power, or a read that failed, there may be more of them
        // behind the last one that was found, and those must not pass for the ones that come next.
        let gap = self.ring.geometry.block_bytes / LINE_BYTES as u64;
        self.number = lines.last().map_or(first, |last| last.number + 1) + gap;
        self.set_lines(block, lines.len());
    }

    fn set_lines(&mut self, block: u32, count: usize) {
        if let Some(lines) = self.lines.get_mut(block as usize) {
            *lines = u32::try_from(count).unwrap_or(u32::MAX);
        }
    }

    fn lines_of(&self, block: u32) -> u32 {
        self.lines.get(block as usize).copied().unwrap_or_default()
    }

    /// Where the lines begin when there are so many.
    fn lines_end(&self, count: usize) -> u64 {
        let lines = (count * LINE_BYTES) as u64;
        self.ring.geometry.block_bytes.saturating_sub(lines)
    }

    /// Writes the records, and tells where they are. After an error nothing more can be written.
    pub(super) fn append(&mut self, batch: &[(EntryKey, Record)]) -> io::Result<Vec<Place>> {
        let mut places = Vec::with_capacity(batch.len());
        let mut run = Run::default();
        for (key, record) in batch {
            let length = record.length();
            let span = record_span(length as u64);
            let lines = self.lines_of(self.block) as usize + run.lines.len() + 1;
            if self.cursor + run.bytes + span > self.lines_end(lines) {
                self.commit(&mut run)?;
                self.next_block()?;
            }
            let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
            let place = Place {
                block: self.block,
                offset: u32::try_from(self.cursor + run.bytes).map_err(out_of_range)?,
                length: u32::try_from(length).map_err(out_of_range)?,
            };
            run.push(*key, record, self.number, place);
            self.number += 1;
            places.push(place);
        }
        self.commit(&mut run)?;
        Ok(places)
    }

    fn commit(&mut self, run: &mut Run) -> io::Result<()> {
        if run.lines.is_empty() {
            return Ok(());
        }
        self.ring.still_wanted()?;
        let mut parts: Vec<&[u8]> = Vec::with_capacity(4 * run.records.len());
        for (header, record) in run.headers.iter().zip(&run.records) {
            let written = (RECORD_HEADER_BYTES + record.length()) as u64;
            let padding = usize::try_from(record_span(record.length() as u64) - written);
            parts.extend([header.as_slice(), &record.head, &record.body]);
            parts.push(
                PADDING
                    .get(..padding.unwrap_or_default())
                    .unwrap_or_default(),
            );
        }
        self.ring.device.write(self.block, self.cursor, &parts)?;
        self.ring.still_wanted()?;
        let count = self.lines_of(self.block) as usize + run.lines.len();
        let mut lines = Vec::with_capacity(run.lines.len() * LINE_BYTES);
        for line in run.lines.iter().rev() {
            line.put(&mut lines, self.block);
        }
        let lines_at = self.lines_end(count);
        self.ring.device.write(self.block, lines_at, &[&lines])?;
        self.set_lines(self.block, count);
        self.cursor += run.bytes;
        *run = Run::default();
        Ok(())
    }

    /// Goes on to the next block of the ring, whose records are gone then.
    fn next_block(&mut self) -> io::Result<()> {
        let block = (self.block + 1) % self.ring.blocks;
        self.empty(block);
        self.ring.still_wanted()?;
        let mut header = Vec::with_capacity(BLOCK_HEADER_BYTES);
        header.put_u64_le(BLOCK_MAGIC);
        header.put_u64_le(u64::from(block));
        header.put_u64_le(self.number);
        header.put_u64_le(block_check(block, self.number));
        header.resize(BLOCK_HEADER_BYTES, 0);
        self.ring.device.write(block, 0, &[&header])?;
        self.ring.current.store(block, Ordering::Relaxed);
        self.block = block;
        self.cursor = BLOCK_HEADER_BYTES as u64;
        self.set_lines(block, 0);
        Ok(())
    }

    /// Takes the records of a block out of the index.
    fn empty(&self, block: u32) {
        let expected = self.lines_of(block);
        if expected == 0 {
            return;
        }
        let lines = match self.ring.read_block_header(block) {
            Ok(Some(first)) => self.ring.read_lines(block, first).unwrap_or_default(),
            Ok(None) | Err(_) => Vec::new(),
        };
        if lines.len() as u64 == u64::from(expected) {
            for line in lines {
                self.ring.places.remove_in(hash(&line.key), block);
            }
        } else {
            // Some of its lines are damaged: slower, and as thorough.
            self.ring.places.remove_block(block);
        }
    }
}

impl Run {
    fn push(&mut self, key: EntryKey, record: &Record, number: u64, place: Place) {
        let mut header = [0; RECORD_HEADER_BYTES];
        let check = record_check(&key, number, [&record.head, &record.body]);
        let mut fields = Vec::with_capacity(RECORD_HEADER_BYTES);
        fields.put_u32_le(RECORD_MAGIC);
        fields.put_u32_le(place.length);
        fields.put_u64_le(check);
        fields.put_u64_le(number);
        put_key(&mut fields, &key);
        header.copy_from_slice(&fields);
        self.headers.push(header);
        self.records.push(record.clone());
        self.lines.push(Line {
            key,
            number,
            offset: place.offset,
            length: place.length,
        });
        self.bytes += record_span(u64::from(place.length));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;

    const BLOCK_BYTES: u64 = 16 << 10;
    const BLOCKS: u64 = 9;

    struct MemoryDevice(Vec<Mutex<Vec<u8>>>);

    impl MemoryDevice {
        fn new() -> Arc<Self> {
            let block = || Mutex::new(vec![0; 16 << 10]);
            Arc::new(Self((0..BLOCKS).map(|_| block()).collect()))
        }
    }

    impl Device for MemoryDevice {
        fn read_now(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<bool> {
            self.read(block, offset, into).map(|()| true)
        }

        fn read(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            let block = self.0[block as usize].lock();
            into.copy_from_slice(&block[start..start + into.len()]);
            Ok(())
        }

        fn write(&self, block: u32, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
            let whole = parts.concat();
            let start = usize::try_from(offset).unwrap();
            let mut block = self.0[block as usize].lock();
            block[start..start + whole.len()].copy_from_slice(&whole);
            Ok(())
        }
    }

    fn open(device: &Arc<MemoryDevice>) -> (Arc<Ring>, Writer) {
        let geometry = Geometry {
            block_bytes: BLOCK_BYTES,
            blocks: BLOCKS,
        };
        let device = Arc::clone(device) as Arc<dyn Device>;
        let ring = Arc::new(Ring::new(device, geometry).unwrap());
        let writer = Writer::recover(Arc::clone(&ring)).unwrap();
        (ring, writer)
    }

    fn record(seed: u64, length: usize) -> Record {
        let bytes: Vec<u8> = seed
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(length)
            .collect();
        let whole = Bytes::from(bytes);
        Record {
            head: whole.slice(..length / 3),
            body: whole.slice(length / 3..),
        }
    }

    fn whole(record: &Record) -> Bytes {
        [record.head.as_ref(), record.body.as_ref()].concat().into()
    }

    fn append(ring: &Ring, writer: &mut Writer, batch: &[(EntryKey, Record)]) {
        let places = writer.append(batch).unwrap();
        for ((key, _), place) in batch.iter().zip(places) {
            ring.places.insert(hash(key), place);
        }
    }

    fn find(ring: &Ring, key: &EntryKey) -> Option<Result<Record, NotIt>> {
        let place = ring.places.get(hash(key))?;
        let mut bytes = vec![0; bytes_at(place)];
        let offset = u64::from(place.offset);
        ring.device.read(place.block, offset, &mut bytes).unwrap();
        Some(read_record(key, place, &bytes.into()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Once and more around the ring, with restarts: what is found is the newest, nothing damaged,
        /// and what was written last is always found.
        #[test]
        fn what_is_found_is_the_newest(
            batches in prop::collection::vec(prop::collection::vec((0u32..40, 0usize..3000), 1..8), 1..80),
            restart_every in 1usize..20,
        ) {
            let device = MemoryDevice::new();
            let (mut ring, mut writer) = open(&device);
            let mut newest: HashMap<u32, Record> = HashMap::new();
            let mut seed = 0;
            for (round, batch) in batches.iter().enumerate() {
                let batch: Vec<_> = batch
                    .iter()
                    .map(|(key, length)| {
                        seed += 1;
                        let record = record(seed, *length);
                        newest.insert(*key, record.clone());
                        (EntryKey::chunk(7, *key), record)
                    })
                    .collect();
                append(&ring, &mut writer, &batch);
                if round % restart_every == 0 {
                    let entries = ring.places.entries();
                    (ring, writer) = open(&device);
                    prop_assert_eq!(ring.places.entries(), entries);
                }
                for (key, record) in &newest {
                    if let Some(found) = find(&ring, &EntryKey::chunk(7, *key)) {
                        prop_assert_eq!(whole(&found.unwrap()), whole(record));
                    }
                }
                let (last, _) = batch.last().unwrap();
                prop_assert!(find(&ring, last).is_some());
            }
        }

        /// Whatever is changed on the device: what is found was once written under that key.
        #[test]
        fn damage_is_never_found(
            damage in prop::collection::vec((0usize..9, 0usize..16_384, 1u8..=255), 1..60),
        ) {
            let device = MemoryDevice::new();
            let (ring, mut writer) = open(&device);
            for n in 0..120u32 {
                let record = record(u64::from(n), 700);
                append(&ring, &mut writer, &[(EntryKey::chunk(7, n), record)]);
            }
            for (block, place, mask) in damage {
                device.0[block].lock()[place] ^= mask;
            }
            let check = |ring: &Ring| {
                for n in 0..120u32 {
                    if let Some(Ok(found)) = find(ring, &EntryKey::chunk(7, n)) {
                        assert_eq!(whole(&found), whole(&record(u64::from(n), 700)));
                    }
                }
            };
            check(&ring);
            let (ring, mut writer) = open(&device);
            check(&ring);
            // And the ring goes on.
            for n in 200..400u32 {
                let record = record(u64::from(n), 700);
                append(&ring, &mut writer, &[(EntryKey::chunk(7, n), record)]);
                assert!(find(&ring, &EntryKey::chunk(7, n)).is_some_and(|found| found.is_ok()));
            }
            for n in 0..120u32 {
                assert!(find(&ring, &EntryKey::chunk(7, n)).is_none());
            }
        }
    }

    #[test]
    fn a_record_of_another_key_at_the_place_is_not_the_one() {
        let device = MemoryDevice::new();
        let (ring, mut writer) = open(&device);
        let (key, other) = (EntryKey::head(1), EntryKey::head(2));
        append(&ring, &mut writer, &[(key, record(1, 100))]);
        // As if both had one hash.
        let place = ring.places.get(hash(&key)).unwrap();
        ring.places.insert(hash(&other), place);
        assert_eq!(find(&ring, &other).unwrap().unwrap_err(), NotIt::Another);
        assert!(find(&ring, &key).unwrap().is_ok());
    }

    #[test]
    fn an_abandoned_writer_writes_no_more() {
        let device = MemoryDevice::new();
        let (ring, mut writer) = open(&device);
        append(&ring, &mut writer, &[(EntryKey::head(1), record(1, 100))]);
        ring.abandoned.store(true, Ordering::Release);
        let late = [(EntryKey::head(2), record(2, 100))];
        assert!(writer.append(&late).is_err());
        let (ring, _writer) = open(&device);
        assert!(find(&ring, &EntryKey::head(1)).is_some());
        assert!(find(&ring, &EntryKey::head(2)).is_none());
    }

    #[test]
    fn old_are_the_blocks_that_are_used_again_next() {
        let device = MemoryDevice::new();
        let (ring, _writer) = open(&device);
        ring.current.store(8, Ordering::Relaxed);
        let old: Vec<u32> = (0..9).filter(|block| ring.is_old(*block)).collect();
        assert_eq!(old, [0, 1]);
    }

    #[test]
    fn the_largest_record_that_is_allowed_fits() {
        let device = MemoryDevice::new();
        let (ring, mut writer) = open(&device);
        let length = usize::try_from(record_bytes_max(BLOCK_BYTES)).unwrap();
        for n in 0..20 {
            append(
                &ring,
                &mut writer,
                &[(EntryKey::head(n), record(1, length))],
            );
            assert!(find(&ring, &EntryKey::head(n)).unwrap().is_ok());
        }
    }
}
