//! What the disks take: whether an object is worth writing, and whether there is room for it in what its disk may
//! write, its site may hold and the index may weigh.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::entry::CHUNK_BYTES;

/// What an entry costs in memory as long as its disk has it: its slot in a table that has just doubled.
pub(super) const INDEX_ENTRY_BYTES: u64 = 57;

/// Answers that are remembered, so that all parts of an object get the same one.
const ANSWERS_MAX: usize = 4096;
/// How long a refusal holds for what is pulled of the same object later.
const REFUSAL_HOLDS: Duration = Duration::from_secs(10);

/// What the disk tier says to an object: one answer for its head and all its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is written.
    Granted,
    /// It is not.
    Refused(Refusal),
}

impl Admission {
    /// Whether it is written.
    #[must_use]
    pub fn is_granted(self) -> bool {
        self == Self::Granted
    }
}

/// Why a disk does not take an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No disk is in use that the site may write to.
    NoDisk,
    /// It was not asked for often enough (`min_uses`).
    Uses,
    /// The disk has written as much as it may (`write_rate`).
    Rate,
    /// The site has written as much as it may (`quota`).
    Quota,
    /// It is larger than the disk, or a part of it than a record may be.
    Size,
    /// The index of the disks takes as much memory as it may, and the object is too small for that.
    Index,
    /// The disk is too slow for what it is given.
    Full,
}

impl Refusal {
    /// A short word from a closed set, for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDisk => "no-disk",
            Self::Uses => "uses",
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::Size => "size",
            Self::Index => "index",
            Self::Full => "full",
        }
    }
}

/// An object that is about to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer {
    /// Where its head is kept; requests are counted by it.
    pub id: u128,
    /// Its version.
    pub version: u128,
    /// Bytes of its body, as far as they are known.
    pub bytes: Option<u64>,
    /// Whether all of it is about to be written, or a part.
    pub whole: bool,
}

/// How large an object is: as room runs out, large ones are refused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SizeClass {
    /// Up to 64 KiB: many clients for few bytes.
    Small,
    /// Up to 1 MiB.
    Medium,
    /// Up to 16 MiB.
    Large,
    /// More, or nobody knows.
    Huge,
}

impl SizeClass {
    pub(super) fn of(bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) if bytes <= 64 << 10 => Self::Small,
            Some(bytes) if bytes <= 1 << 20 => Self::Medium,
            Some(bytes) if bytes <= 16 << 20 => Self::Large,
            Some(_) | None => Self::Huge,
        }
    }

    /// How far the bucket may be drawn down for this class.
    fn patience(self) -> Duration {
        match self {
            Self::Small => BURST,
            Self::Medium => Duration::from_millis(750),
            Self::Large => Duration::from_millis(500),
            Self::Huge => Duration::from_millis(250),
        }
    }

    /// What must be free of the room on the way to the disk, in parts of 64. Small objects wait for theirs.
    pub(super) fn room_needed(self) -> u32 {
        match self {
            Self::Small | Self::Medium => 0,
            Self::Large => 4,
            Self::Huge => 8,
        }
    }
}

/// What may be written at once after a pause.
const BURST: Duration = Duration::from_secs(1);

/// `write_rate`: what is written draws a bucket down that fills with time. An object that was let in is written whole,
/// also beyond what the bucket holds; the debt is worked off before the next one.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    /// When it is full again.
    full_at: Duration,
}

impl Bucket {
    /// A full one; a rate of 0 is no bound.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            full_at: Duration::ZERO,
        }
    }

    pub(super) fn has_room(&self, class: SizeClass, uptime: Duration) -> bool {
        self.bytes_per_second == 0 || self.full_at.saturating_sub(uptime) < class.patience()
    }

    pub(super) fn take(&mut self, bytes: u64, uptime: Duration) {
        if self.bytes_per_second == 0 {
            return;
        }
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.full_at = self.full_at.max(uptime).saturating_add(takes);
    }
}

/// The least that an object must weigh when the index of all disks takes `used` of the `most` bytes that it may, so
/// that its entries stop growing: objects of the mean size that fills the disks with just as many entries as are
/// allowed push out as many as they add.
pub(super) fn least_bytes(used: u64, most: u64, capacity_bytes: u64) -> u64 {
    let begins = most / 4 * 3;
    if used < begins || most == 0 {
        return 0;
    }
    let mean = capacity_bytes / (most / INDEX_ENTRY_BYTES).max(1);
    if used >= most {
        // Above: the disk must still turn, or it would never get rid of any.
        return mean.saturating_mul(2);
    }
    let span = u128::from((most - begins).max(1));
    let scaled = u128::from(mean) * u128::from(used - begins) / span;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The answers given lately, by version.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: HashMap<u128, Answer>,
    order: VecDeque<u128>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    admission: Admission,
    until: Duration,
}

impl Answers {
    pub(super) fn get(&self, version: u128, uptime: Duration) -> Option<Admission> {
        let answer = self.given.get(&version)?;
        (uptime < answer.until).then_some(answer.admission)
    }

    pub(super) fn set(&mut self, version: u128, admission: Admission, uptime: Duration) {
        let until = match admission {
            Admission::Granted => Duration::MAX,
            Admission::Refused(_) => uptime.saturating_add(REFUSAL_HOLDS),
        };
        if self
            .given
            .insert(version, Answer { admission, until })
            .is_none()
        {
            self.order.push_back(version);
        }
        while self.order.len() > ANSWERS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.given.remove(&oldest);
            }
        }
    }

    /// Ends what was answered. Its place stays until its turn to go comes.
    pub(super) fn end(&mut self, version: u128) {
        if let Some(answer) = self.given.get_mut(&version) {
            answer.until = Duration::ZERO;
        }
    }
}

/// Whether a body of this length lies in its head, or in one chunk.
pub(super) fn is_one_piece(bytes: Option<u64>) -> bool {
    bytes.is_some_and(|bytes| bytes <= CHUNK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_bucket_lets_its_rate_through_and_a_second_at_once() {
        let mut bucket = Bucket::new(MIB);
        let mut written = 0;
        let mut fill = |bucket: &mut Bucket, uptime: Duration| {
            while bucket.has_room(SizeClass::Small, uptime) {
                bucket.take(64 << 10, uptime);
                written += 64 << 10;
            }
            written
        };
        assert_eq!(fill(&mut bucket, Duration::ZERO), MIB);
        assert_eq!(fill(&mut bucket, Duration::ZERO), MIB);
        assert_eq!(fill(&mut bucket, Duration::from_millis(500)), MIB * 3 / 2);
        assert_eq!(fill(&mut bucket, Duration::from_secs(100)), MIB * 5 / 2);
    }

    #[test]
    fn the_large_are_refused_first_and_debts_are_worked_off() {
        let mut bucket = Bucket::new(MIB);
        let all = [
            SizeClass::Small,
            SizeClass::Medium,
            SizeClass::Large,
            SizeClass::Huge,
        ];
        let room = |bucket: &Bucket, at| all.map(|class| bucket.has_room(class, at));
        assert_eq!(room(&bucket, Duration::ZERO), [true; 4]);
        bucket.take(MIB / 4, Duration::ZERO);
        assert_eq!(room(&bucket, Duration::ZERO), [true, true, true, false]);
        bucket.take(MIB / 4, Duration::ZERO);
        assert_eq!(room(&bucket, Duration::ZERO), [true, true, false, false]);
        bucket.take(MIB / 4, Duration::ZERO);
        assert_eq!(room(&bucket, Duration::ZERO), [true, false, false, false]);
        // One that was let in is written whole.
        bucket.take(10 * MIB, Duration::ZERO);
        assert_eq!(room(&bucket, Duration::from_secs(9)), [false; 4]);
        assert_eq!(room(&bucket, Duration::from_secs(11)), [true; 4]);
    }

    #[test]
    fn no_rate_is_no_bound() {
        let mut bucket = Bucket::new(0);
        bucket.take(u64::MAX, Duration::ZERO);
        assert!(bucket.has_room(SizeClass::Huge, Duration::ZERO));
        let mut slow = Bucket::new(1);
        slow.take(u64::MAX, Duration::ZERO);
        assert!(!slow.has_room(SizeClass::Small, Duration::from_secs(1 << 30)));
    }

    #[test]
    fn the_index_refuses_the_smallest_first() {
        let (most, capacity) = (100 * INDEX_ENTRY_BYTES, 100_000);
        let least = |entries: u64| least_bytes(entries * INDEX_ENTRY_BYTES, most, capacity);
        assert_eq!(least(0), 0);
        assert_eq!(least(74), 0);
        assert!((300..500).contains(&least(85)), "{}", least(85));
        assert!((900..1000).contains(&least(99)), "{}", least(99));
        // Never everything: only what is written makes the rest go.
        assert_eq!(least(100), 2000);
        assert_eq!(least(10_000), 2000);
    }

    #[test]
    fn an_answer_holds_for_all_parts_of_an_object() {
        let mut answers = Answers::default();
        let refused = Admission::Refused(Refusal::Rate);
        answers.set(1, Admission::Granted, Duration::ZERO);
        answers.set(2, refused, Duration::ZERO);
        let late = Duration::from_secs(11);
        assert_eq!(answers.get(1, late), Some(Admission::Granted));
        assert_eq!(answers.get(2, Duration::from_secs(9)), Some(refused));
        assert_eq!(answers.get(2, late), None);
        answers.end(1);
        assert_eq!(answers.get(1, Duration::ZERO), None);
        answers.set(1, Admission::Granted, late);
        for version in 10..10 + ANSWERS_MAX as u128 {
            answers.set(version, refused, late);
            answers.set(version, refused, late);
        }
        assert_eq!(answers.get(1, late), None);
        assert_eq!(answers.given.len(), ANSWERS_MAX);
        assert_eq!(answers.order.len(), ANSWERS_MAX);
    }
}
