use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::admission::{Bucket, INDEX_ENTRY_BYTES, Refusal, SizeClass, least_bytes};
use super::codec::Record;
use super::config::DiskConfig;
use super::counters::{DiskCounters, add};
use super::disk::{DiskTier, bytes_on_disk};
use super::doubts::Doubts;
use super::entry::{CHUNK_BYTES, EntryKey};
use super::hash::{Fold, FoldBuilder};
use super::rotation::Rotation;
use super::slot::DiskSlot;

/// One of the disks, in use or not, and what may still be written to it.
pub(super) struct Disk {
    slot: Arc<DiskSlot>,
    label: Arc<str>,
    /// Tells it from the others, whatever its place in the configuration.
    seed: u64,
    rotation: Rotation,
    bucket: Mutex<Bucket>,
}

impl Disk {
    pub(super) fn new(slot: Arc<DiskSlot>) -> Self {
        let config = slot.config();
        Self {
            label: config.path.to_string_lossy().into(),
            seed: seed_of(&config.path),
            rotation: Rotation::new(config.size_bytes),
            bucket: Mutex::new(Bucket::new(config.write_rate_bytes)),
            slot,
        }
    }

    pub(super) fn slot(&self) -> &Arc<DiskSlot> {
        &self.slot
    }

    pub(super) fn config(&self) -> &DiskConfig {
        self.slot.config()
    }

    /// Its path, for labels.
    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub(super) fn tier(&self) -> Option<Arc<DiskTier>> {
        self.slot.tier()
    }

    pub(super) fn counters(&self) -> &DiskCounters {
        self.slot.counters()
    }

    /// Entries that it has.
    pub(super) fn entries(&self) -> u64 {
        self.tier().map_or(0, |tier| tier.entries())
    }

    /// Where its log is.
    pub(super) fn segment(&self) -> u64 {
        self.rotation.segment()
    }

    /// The tier, if it may have the entry.
    pub(super) fn holder(&self, key: &EntryKey) -> Option<Arc<DiskTier>> {
        self.tier().filter(|tier| tier.may_contain(key))
    }

    /// Makes sure that what is there under the key is not found again, also when the disk comes back from a failure.
    pub(super) fn forget(&self, key: &EntryKey) {
        if let Some(tier) = self.tier() {
            self.doubts().forget(key, Some(&tier));
            let is_still_there = self.tier().is_some_and(|now| Arc::ptr_eq(&now, &tier));
            if is_still_there {
                return;
            }
        }
        self.doubts().forget_away(key, || self.tier());
    }

    fn doubts(&self) -> &Doubts {
        self.slot.doubts()
    }

    /// Notes that a record is about to be written; gives the segment of the log that it goes to.
    pub(super) fn wrote(&self, record: &Record, uptime: Duration) -> u64 {
        let bytes = bytes_on_disk(record);
        self.bucket.lock().take(bytes, uptime);
        self.rotation.wrote(bytes)
    }

    /// Whether `write_rate` lets an object of this class in.
    pub(super) fn has_rate(&self, class: SizeClass, uptime: Duration) -> bool {
        self.bucket.lock().has_room(class, uptime)
    }

    pub(super) fn count(&self, refusal: Refusal) {
        let counters = self.counters();
        let counter: &AtomicU64 = match refusal {
            // There is no disk to count it.
            Refusal::NoDisk => return,
            Refusal::Uses => &counters.refused_uses,
            Refusal::Rate => &counters.refused_rate,
            Refusal::Quota => &counters.refused_quota,
            Refusal::Size => &counters.refused_size,
            Refusal::Index => &counters.refused_index,
            Refusal::Full => &counters.refused_full,
        };
        add(counter, 1);
    }

    /// Its claim to the id: the highest of all disks has it (rendezvous hashing). A disk of twice the size has twice
    /// as many of the highest, and one that comes or goes moves no id between the others.
    fn claim(&self, id: u128) -> f64 {
        let [a, b, c, d, e, f, g, h, rest @ ..] = id.to_le_bytes();
        let mixed = FoldBuilder.hash_one((
            self.seed,
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u64::from_le_bytes(rest),
        ));
        // Above 0 and below 1, in steps that f64 can tell apart.
        let share = (finish(mixed) >> 12) as f64 + 0.5;
        let share = share / (1u64 << 52) as f64;
        self.slot.size_bytes() as f64 / -share.ln()
    }
}

/// All disks of the node.
pub(super) struct Disks {
    all: Vec<Disk>,
    index_bytes_max: AtomicU64,
}

/// Eighteen million entries.
const INDEX_BYTES: u64 = 1 << 30;

impl Disks {
    pub(super) fn new(all: Vec<Disk>) -> Self {
        Self {
            all,
            index_bytes_max: AtomicU64::new(INDEX_BYTES),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Disk> {
        self.all.iter()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Disk> {
        self.all.get(number)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The disks that a site writes to: its own if it has any, else those that are nobody's own.
    pub(super) fn of_site(&self, site: &str) -> Box<[usize]> {
        let names_it = |disk: &Disk| disk.config().sites.iter().any(|name| **name == *site);
        let numbers = |wanted: &dyn Fn(&Disk) -> bool| -> Box<[usize]> {
            let found = self.all.iter().enumerate();
            found
                .filter(|(_, disk)| wanted(disk))
                .map(|(number, _)| number)
                .collect()
        };
        let own = numbers(&names_it);
        if own.is_empty() {
            numbers(&|disk| disk.config().sites.is_empty())
        } else {
            own
        }
    }

    /// Of the disks with these numbers that are in use, the one for `id`.
    pub(super) fn place(
        &self,
        numbers: &[usize],
        id: u128,
    ) -> Option<(usize, &Disk, Arc<DiskTier>)> {
        let in_use = numbers.iter().filter_map(|number| {
            let disk = self.all.get(*number)?;
            Some((*number, disk, disk.tier()?))
        });
        if numbers.len() == 1 {
            return { in_use }.next();
        }
        in_use.max_by(|(_, one, _), (_, other, _)| one.claim(id).total_cmp(&other.claim(id)))
    }

    /// What the index of all disks takes of the memory, about.
    pub(super) fn index_bytes(&self) -> u64 {
        let tiers = self.all.iter().filter_map(Disk::tier);
        tiers.map(|tier| tier.index_bytes()).sum()
    }

    pub(super) fn index_bytes_max(&self) -> u64 {
        self.index_bytes_max.load(Ordering::Relaxed)
    }

    pub(super) fn set_index_bytes_max(&self, bytes: u64) {
        self.index_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Whether the index has room for the entries of an object of this size.
    pub(super) fn has_index_for(&self, bytes: u64) -> bool {
        let capacity = self.all.iter().map(|disk| disk.slot.size_bytes()).sum();
        let entries: u64 = self.all.iter().map(Disk::entries).sum();
        let used = entries.saturating_mul(INDEX_ENTRY_BYTES);
        let least = least_bytes(used, self.index_bytes_max(), capacity);
        bytes.min(CHUNK_BYTES as u64) >= least
    }

    /// Makes sure that nothing old is found under the key.
    pub(super) fn forget(&self, key: &EntryKey) {
        for disk in &self.all {
            disk.forget(key);
        }
    }

    pub(super) fn may_contain(&self, key: &EntryKey) -> bool {
        self.all.iter().any(|disk| disk.holder(key).is_some())
    }
}

/// A number of a path, the same after a restart.
pub(super) fn seed_of(path: &Path) -> u64 {
    use std::hash::Hasher;
    let mut fold = FoldBuilder.build_hasher();
    Fold::write(&mut fold, path.as_os_str().as_encoded_bytes());
    fold.finish()
}

/// The fold leaves patterns where its words differ in few bits only; this spreads each bit over all (the finalizer of
/// SplitMix64).
fn finish(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
