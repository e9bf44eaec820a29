//! The file of invalidations: appended to with one write and no fsync, so what is in it outlives the
//! process and not the machine.
//!
//! It is a row of frames, the first of which says what the file is and to which database it belongs. A
//! frame is the length of its content, the complement of that length, the content, a checksum, and a
//! byte that is not zero. So an append that was cut short can be told from damage: it ends the file, or
//! is followed by nothing but the zeros that a file system leaves where data was lost.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::slot::{Marks, TrafficSlot};

const FILE: &str = "traffic.log";
/// The first frame: this, then the name of the database.
const MAGIC: &[u8] = b"brim traffic log 1\n";
const LENGTHS_BYTES: usize = 4;
const SUM_BYTES: usize = 8;
const END: u8 = 0xff;

/// The file is written anew when it is larger than this, and twice what it was when last written anew.
const REWRITE_BYTES: u64 = 4 << 20;
/// More than the bound on the slots can ever need; what is larger is not a log.
const READ_BYTES_MAX: u64 = 512 << 20;
/// A file that could not be written is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The file, as its only writer sees it.
#[derive(Debug)]
pub(super) struct TrafficLog {
    path: PathBuf,
    identity: String,
    /// `None` until it has been written anew: at first, and after every failure, since then it may end
    /// in a part of a frame.
    file: Option<File>,
    bytes: u64,
    rewrite_at_bytes: u64,
    retry_at: Duration,
}

impl TrafficLog {
    pub(super) fn new(state: &Path, identity: &str) -> Self {
        Self {
            path: state.join(FILE),
            identity: identity.to_owned(),
            file: None,
            bytes: 0,
            rewrite_at_bytes: REWRITE_BYTES,
            retry_at: Duration::ZERO,
        }
    }

    /// Reads what is there.
    pub(super) fn read(&self) -> Replay {
        let mut content = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(READ_BYTES_MAX + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > READ_BYTES_MAX => Replay::Damaged("too large".into()),
            Ok(_) => parse(&content, &self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Replay::Records(Vec::new()),
            Err(error) => Replay::Damaged(error.to_string()),
        }
    }

    /// Removes the file.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.file = None;
        fs::remove_file(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the next write a [`rewrite`](Self::rewrite): much of the file is of no use any more.
    pub(super) fn rewrite_next(&mut self) {
        self.rewrite_at_bytes = 0;
    }

    /// Whether the next write must be [`rewrite`](Self::rewrite).
    pub(super) fn wants_rewrite(&self) -> bool {
        self.file.is_none() || self.bytes > self.rewrite_at_bytes
    }

    /// Whether it has failed so lately that it is not tried now.
    pub(super) fn rests(&self, uptime: Duration) -> bool {
        self.file.is_none() && uptime < self.retry_at
    }

    /// Adds to the file.
    pub(super) fn append(&mut self, frames: &Frames, uptime: Duration) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(&frames.bytes) {
            self.retry_at = uptime + RETRY_AFTER;
            return Err(error);
        }
        self.bytes += frames.bytes.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Puts a file with nothing but `frames` in place of what is there.
    pub(super) fn rewrite(&mut self, frames: &Frames, uptime: Duration) -> io::Result<()> {
        self.file = None;
        match self.write_beside(frames) {
            Ok((file, bytes)) => {
                self.file = Some(file);
                self.bytes = bytes;
                self.rewrite_at_bytes = REWRITE_BYTES.max(2 * bytes);
                Ok(())
            }
            Err(error) => {
                self.retry_at = uptime + RETRY_AFTER;
                Err(error)
            }
        }
    }

    fn write_beside(&self, frames: &Frames) -> io::Result<(File, u64)> {
        let mut content = Frames::default();
        content.push(&[MAGIC, self.identity.as_bytes()].concat())?;
        content.bytes.extend_from_slice(&frames.bytes);
        let beside = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&content.bytes)?;
        fs::rename(&beside, &self.path)?;
        Ok((file, content.bytes.len() as u64))
    }

    /// Brings the file to stable storage, at the end.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

/// What a slot has, as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) site: String,
    pub(super) slot: TrafficSlot,
    pub(super) marks: Marks,
}

/// What was in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replay {
    /// All that was written, but perhaps for its very end.
    Records(Vec<Record>),
    /// It belongs to another database, whose numbers mean nothing to this one.
    Foreign,
    /// It cannot be known what was in it, and why.
    Damaged(String),
}

/// Frames to be written.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds a record; fails when the name of the site is too long for a frame.
    pub(super) fn add(&mut self, site: &str, slot: TrafficSlot, marks: Marks) -> io::Result<()> {
        let numbers = [marks.hard.to_le_bytes(), marks.soft.to_le_bytes()].concat();
        self.push(&[numbers, slot.encode(site)].concat())
    }

    fn push(&mut self, content: &[u8]) -> io::Result<()> {
        let length = u16::try_from(content.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend((!length).to_le_bytes());
        self.bytes.extend(content);
        self.bytes.extend(sum(content).to_le_bytes());
        self.bytes.push(END);
        Ok(())
    }
}

/// Against accidents, not against people: who can write the file can do worse.
fn sum(content: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(content);
    hasher.finish()
}

fn decode(content: &[u8]) -> Option<Record> {
    let (hard, rest) = content.split_first_chunk::<8>()?;
    let (soft, key) = rest.split_first_chunk::<8>()?;
    let (slot, site) = TrafficSlot::decode(key)?;
    Some(Record {
        site: site.to_owned(),
        slot,
        marks: Marks {
            hard: u64::from_le_bytes(*hard),
            soft: u64::from_le_bytes(*soft),
        },
    })
}

/// Bytes that are no frame, as many as were looked at.
#[derive(Debug, Clone, Copy)]
struct NoFrame {
    extent: usize,
}

/// The content of the first frame, and what follows the frame.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8]), NoFrame> {
    let Some(([a, b, c, d], rest)) = bytes.split_first_chunk::<LENGTHS_BYTES>() else {
        return Err(NoFrame {
            extent: LENGTHS_BYTES,
        });
    };
    let length = u16::from_le_bytes([*a, *b]);
    if length != !u16::from_le_bytes([*c, *d]) {
        return Err(NoFrame {
            extent: LENGTHS_BYTES,
        });
    }
    let length = usize::from(length);
    let no_frame = NoFrame {
        extent: LENGTHS_BYTES + length + SUM_BYTES + 1,
    };
    let Some((content, rest)) = rest.split_at_checked(length) else {
        return Err(no_frame);
    };
    let Some((told, rest)) = rest.split_first_chunk::<SUM_BYTES>() else {
        return Err(no_frame);
    };
    match rest.split_first() {
        Some((_, rest)) if u64::from_le_bytes(*told) == sum(content) => Ok((content, rest)),
        Some(_) | None => Err(no_frame),
    }
}

fn parse(bytes: &[u8], identity: &str) -> Replay {
    // No frame ends in a zero.
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let is_torn = |rest: &[u8], no_frame: NoFrame| no_frame.extent + zeros > rest.len();
    let mut rest = match frame(bytes) {
        Ok((content, rest)) => match content.strip_prefix(MAGIC) {
            Some(name) if name == identity.as_bytes() => rest,
            Some(_) => return Replay::Foreign,
            None => return Replay::Damaged("another format".into()),
        },
        Err(no_frame) if is_torn(bytes, no_frame) => return Replay::Records(Vec::new()),
        Err(_) => return Replay::Damaged("another format".into()),
    };
    let mut records = Vec::new();
    while !rest.is_empty() {
        let damaged = || {
            let at = bytes.len() - rest.len();
            Replay::Damaged(format!("no record at byte {at}"))
        };
        match frame(rest) {
            Ok((content, next)) => {
                let Some(record) = decode(content) else {
                    return damaged();
                };
                records.push(record);
                rest = next;
            }
            Err(no_frame) if is_torn(rest, no_frame) => break,
            Err(_) => return damaged(),
        }
    }
    Replay::Records(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "0123456789abcdef0123456789abcdef";

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let slot = (any::<bool>(), any::<u128>()).prop_map(|(is_url, hash)| {
            if is_url {
                TrafficSlot::Url(hash)
            } else {
                TrafficSlot::Tag(hash)
            }
        });
        let record =
            (".{0,12}", slot, 0u64..300, 0u64..300).prop_map(|(site, slot, hard, soft)| Record {
                site,
                slot,
                marks: Marks { hard, soft },
            });
        proptest::collection::vec(record, 0..6)
    }

    /// The file of these records, and where each frame ends.
    fn file(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut frames = Frames::default();
        frames.push(&[MAGIC, NAME.as_bytes()].concat()).unwrap();
        let mut ends = vec![frames.bytes.len()];
        for record in records {
            frames.add(&record.site, record.slot, record.marks).unwrap();
            ends.push(frames.bytes.len());
        }
        (frames.bytes, ends)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in records()) {
            prop_assert_eq!(parse(&file(&records).0, NAME), Replay::Records(records));
        }

        #[test]
        fn a_file_cut_anywhere_holds_the_records_before_the_cut(
            records in records(),
            cut in any::<proptest::sample::Index>(),
            zeros in prop_oneof![Just(0usize), 0usize..5000],
        ) {
            let (mut bytes, ends) = file(&records);
            bytes.truncate(cut.index(bytes.len() + 1));
            let whole = ends.iter().filter(|end| **end <= bytes.len()).count().saturating_sub(1);
            bytes.resize(bytes.len() + zeros, 0);
            // The zeros may stand for the end of a frame whose last byte alone was lost.
            match parse(&bytes, NAME) {
                Replay::Records(found) => {
                    prop_assert!(found.len() == whole || found.len() == whole + 1);
                    prop_assert_eq!(&found[..], &records[..found.len()]);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_changed_byte_loses_a_record_in_silence(
            records in records(),
            at in any::<proptest::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let (mut bytes, _) = file(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            match parse(&bytes, NAME) {
                Replay::Records(found) => prop_assert_eq!(found, records),
                Replay::Damaged(_) => {}
                Replay::Foreign => prop_assert!(false, "the name is under the checksum"),
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes, NAME);
        }
    }

    #[test]
    fn the_file_of_another_database_is_foreign() {
        let (bytes, _) = file(&[]);
        assert_eq!(parse(&bytes, &NAME.replace('0', "9")), Replay::Foreign);
    }

    #[test]
    fn another_format_is_damage() {
        let mut frames = Frames::default();
        frames.push(b"brim traffic log 2\n").unwrap();
        assert!(matches!(parse(&frames.bytes, NAME), Replay::Damaged(_)));
        assert!(matches!(parse(b"hello, world\n", NAME), Replay::Damaged(_)));
    }
}
