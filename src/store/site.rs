use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::admission::{Admission, Newcomer, Refusal, SizeClass, is_one_piece};
use super::codec::Record;
use super::config::{MemoryConfig, Quota};
use super::counters::{SpreadCounter, add, read};
use super::disk::{DiskTier, Found, Look, bytes_on_disk};
use super::disks::Disk;
use super::entry::{CHUNK_BYTES, Entry, EntryKey, Kept, Part, Placement, Tier};
use super::inspect::{Inspected, Present};
use super::memory::MemoryTier;
use super::object::{Body, Object};
use super::report::SiteStats;
use super::rotation::Window;
use super::tiers::Tiers;
use super::turns::Ticket;

/// The tiers as one site sees them: what it may put where, and how often it found something.
///
/// It is a cache: an entry that was inserted may be gone at any time, and a head that was replaced or
/// removed may come back after a crash. What is found is whole and unchanged; whether it may still be
/// used is for [`Clocks::check`](super::Clocks::check) and `policy` to say, on every hit.
pub struct SiteStore {
    name: Box<str>,
    tiers: Arc<Tiers>,
    /// Whether `memory` is there: what every hit asks.
    has_memory: AtomicBool,
    memory: ArcSwapOption<MemoryTier>,
    /// The disks that it writes to, by number. It reads from all.
    disks: Box<[usize]>,
    /// Bytes on disk that it may write within one turn of the log; 0 is no bound.
    disk_quota: AtomicU64,
    /// What it has written to each disk.
    written: Box<[Mutex<Window>]>,
    memory_hits: SpreadCounter,
    memory_misses: SpreadCounter,
    disk_hits: AtomicU64,
    disk_misses: AtomicU64,
}

impl SiteStore {
    pub(super) fn new(name: &str, tiers: Arc<Tiers>) -> Self {
        Self {
            name: name.into(),
            has_memory: AtomicBool::new(false),
            memory: ArcSwapOption::empty(),
            disks: tiers.disks.of_site(name),
            disk_quota: AtomicU64::new(0),
            written: (0..tiers.disks.len()).map(|_| Mutex::default()).collect(),
            memory_hits: SpreadCounter::default(),
            memory_misses: SpreadCounter::default(),
            disk_hits: AtomicU64::new(0),
            disk_misses: AtomicU64::new(0),
            tiers,
        }
    }

    /// Takes another quota from now on. A memory tier of its own starts empty, and what it had is gone with it.
    pub fn set_quota(&self, quota: Quota) {
        self.disk_quota.store(quota.disk_bytes, Ordering::Relaxed);
        let before = self.memory.load_full();
        match (quota.memory_bytes, before) {
            (0, _) => {
                self.has_memory.store(false, Ordering::Relaxed);
                self.memory.store(None);
            }
            (bytes, Some(tier)) if tier.size_bytes() != bytes => tier.resize(bytes),
            (_, Some(_)) => {}
            (bytes, None) => {
                let config = MemoryConfig {
                    size_bytes: bytes,
                    ..self.tiers.memory_config
                };
                let tier = MemoryTier::new(&config);
                // While the node is short of memory, this one is as small as the others.
                match self.tiers.memory.thousandths() {
                    1000 => {}
                    share => tier.scale(share),
                }
                self.memory.store(Some(Arc::new(tier)));
                self.has_memory.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What the entries of its own memory tier weigh.
    pub(super) fn memory_used_bytes(&self) -> u64 {
        self.memory
            .load()
            .as_ref()
            .map_or(0, |own| own.used_bytes())
    }

    pub(super) fn scale_memory(&self, thousandths: u16) {
        if let Some(own) = self.memory.load_full() {
            own.scale(thousandths);
        }
    }

    /// Looks in the memory tier of the site; never waits.
    #[must_use]
    pub fn memory(&self, key: &EntryKey) -> Option<Entry> {
        let found = self.peek(key);
        match found {
            Some(_) => self.memory_hits.increment(),
            None => self.memory_misses.increment(),
        }
        found
    }

    /// As `memory`, but not counted.
    fn peek(&self, key: &EntryKey) -> Option<Entry> {
        self.in_memory(|memory| memory.find(key))
    }

    /// Does something with the memory tier that the site uses.
    fn in_memory<R>(&self, act: impl FnOnce(&MemoryTier) -> R) -> R {
        if self.has_memory.load(Ordering::Relaxed)
            && let Some(own) = &*self.memory.load()
        {
            return act(own);
        }
        act(&self.tiers.memory)
    }

    /// What the shared memory tier still has of the time before the site had one of its own would come back with it.
    fn drop_from_shared(&self, key: &EntryKey) {
        if self.has_memory.load(Ordering::Relaxed) {
            self.tiers.memory.remove(key);
        }
    }

    /// Looks in memory, then on the disks, and takes what they have into memory. Disk trouble is a miss.
    ///
    /// Cancel-safe; may be awaited on any runtime that has a timer.
    pub async fn load(&self, key: &EntryKey) -> Option<(Entry, Tier)> {
        self.load_placed(key, Placement::MemoryAndDisk).await
    }

    /// As [`SiteStore::load`], but with [`Placement::DiskPreferred`] what a disk has stays out of the
    /// memory tier: for the chunks of objects that are too large for it.
    pub async fn load_placed(&self, key: &EntryKey, placement: Placement) -> Option<(Entry, Tier)> {
        if let Some(entry) = self.peek(key) {
            self.memory_hits.increment();
            return Some((entry, Tier::Memory));
        }
        // All of them: another configuration, or a failure, may have put it elsewhere than it would go now.
        let disks = self.tiers.disks.iter();
        let holders: Vec<_> = disks
            .filter_map(|disk| Some((disk, disk.holder(key)?)))
            .collect();
        let Some(first) = holders.first().map(|(disk, _)| *disk) else {
            if let Some((_, disk, _)) = self.tiers.disks.place(&self.disks, key.id) {
                add(&disk.counters().misses, 1);
                add(&self.disk_misses, 1);
            }
            return None;
        };
        let counters = first.counters();
        let found = match self.look(&holders, *key, placement) {
            Some(found) => found,
            None => {
                self.tiers
                    .flights
                    .share(*key, || self.fetch(holders, *key, placement))
                    .await
            }
        };
        match &found {
            Some(_) => {
                add(&counters.hits, 1);
                add(&self.disk_hits, 1);
            }
            None => {
                add(&counters.misses, 1);
                add(&self.disk_misses, 1);
            }
        }
        found.map(|entry| (entry, Tier::Disk))
    }

    /// What can be told without waiting: most of what is asked for often is in the system's memory. `None` when a
    /// disk must be waited for.
    fn look(
        &self,
        holders: &[(&Disk, Arc<DiskTier>)],
        key: EntryKey,
        placement: Placement,
    ) -> Option<Option<Entry>> {
        let [(disk, tier)] = holders else { return None };
        let ticket = self.tiers.turns.enter(key);
        match tier.look(&key) {
            Look::Found(found) => {
                let found = vec![(*disk, Arc::clone(tier), found)];
                Some(self.take(&ticket, key, placement, found))
            }
            Look::Nothing => Some(self.peek(&key)),
            Look::OnDisk => None,
        }
    }

    async fn fetch(
        &self,
        holders: Vec<(&Disk, Arc<DiskTier>)>,
        key: EntryKey,
        placement: Placement,
    ) -> Option<Entry> {
        let ticket = self.tiers.turns.enter(key);
        let mut all = Vec::with_capacity(holders.len());
        for (disk, tier) in holders {
            if let Some(found) = tier.load(&key).await {
                all.push((disk, tier, found));
                // Chunks never change: one is as good as another.
                if key.part != Part::Head {
                    break;
                }
            }
        }
        self.take(&ticket, key, placement, all)
    }

    /// Takes the best of what the disks have.
    fn take(
        &self,
        ticket: &Ticket<'_>,
        key: EntryKey,
        placement: Placement,
        all: Vec<(&Disk, Arc<DiskTier>, Found)>,
    ) -> Option<Entry> {
        let mut best: Option<Candidate<'_>> = None;
        let mut beaten = Vec::new();
        for (disk, tier, found) in all {
            let Ok(entry) = found.record.clone().decode() else {
                tier.note_corrupt(&key);
                continue;
            };
            let candidate = Candidate {
                disk,
                tier,
                found,
                entry,
                is_home: self.is_home(disk, &key),
            };
            best = Some(match best.take() {
                None => candidate,
                Some(other) => {
                    let (better, worse) = candidate.or(other);
                    beaten.push(worse.disk);
                    better
                }
            });
        }
        let Some(best) = best else {
            // Inserted while we looked, perhaps.
            return self.peek(&key);
        };
        let entry = best.entry.clone();
        let taken = ticket.if_latest(|| {
            for disk in beaten {
                disk.forget(&key);
            }
            if placement == Placement::MemoryAndDisk {
                self.in_memory(|memory| {
                    if self.has_a_place(memory, &key) {
                        memory.insert(key, entry.clone());
                    }
                });
            }
            if best.found.old {
                self.write_again(&best, key);
            }
        });
        match taken {
            Some(()) => Some(entry),
            // Replaced while we read: the new one, if it is in memory.
            None => self.peek(&key).or(Some(entry)),
        }
    }

    /// Whether what was read from disk should be in memory, too.
    fn has_a_place(&self, memory: &MemoryTier, key: &EntryKey) -> bool {
        let (used, capacity) = (memory.used_bytes(), memory.capacity_bytes());
        used < capacity / 8 * 7 || self.tiers.doorkeeper.knows(key, memory.entries())
    }

    /// What each tier holds under a key, for somebody who looks and does not use it: nothing is brought into memory,
    /// counted as a hit or written again. The memory tier's eviction takes it for a use all the same.
    pub async fn inspect(&self, key: &EntryKey) -> Inspected {
        let mut on_disk = None;
        for disk in self.tiers.disks.iter() {
            let Some(tier) = disk.holder(key) else {
                continue;
            };
            let Some(found) = tier.load(key).await else {
                continue;
            };
            let Ok(entry) = found.record.clone().decode() else {
                continue;
            };
            let candidate = Candidate {
                disk,
                tier,
                found,
                entry,
                is_home: self.is_home(disk, key),
            };
            on_disk = Some(match on_disk.take() {
                None => candidate,
                Some(other) => candidate.or(other).0,
            });
        }
        Inspected {
            memory: self.peek(key),
            disk: on_disk.map(|found: Candidate<'_>| found.entry),
        }
    }

    /// Which tiers have something under a key.
    #[must_use]
    pub fn present(&self, key: &EntryKey) -> Present {
        Present {
            memory: self.in_memory(|memory| memory.contains(key)),
            disk: self.tiers.disks.may_contain(key),
        }
    }

    /// Whether the entry would go to this disk now.
    fn is_home(&self, disk: &Disk, key: &EntryKey) -> bool {
        let home = self.tiers.disks.place(&self.disks, key.id);
        home.is_some_and(|(_, home, _)| std::ptr::eq(home, disk))
    }

    /// Keeps what is in use from being evicted, as far as the site and the disk may still write.
    fn write_again(&self, best: &Candidate<'_>, key: EntryKey) {
        let numbers = self.disks.iter();
        let number = numbers.copied().find(|number| {
            let disk = self.tiers.disks.get(*number);
            disk.is_some_and(|disk| std::ptr::eq(disk, best.disk))
        });
        // No longer a disk of this site: it ends there.
        let Some(number) = number else { return };
        let (disk, record) = (best.disk, &best.found.record);
        let uptime = self.tiers.clock.uptime();
        let class = SizeClass::of(Some(record.length() as u64));
        if !disk.has_rate(class, uptime) {
            return disk.count(Refusal::Rate);
        }
        if !self.has_quota(bytes_on_disk(record)) {
            return disk.count(Refusal::Quota);
        }
        if best.tier.rewrite(key, record.clone()) {
            self.note_written(number, disk, record);
        }
    }

    /// Whether an entry is there, without reading it. From the disks the answer may be wrong,
    /// seldom, in either direction.
    #[must_use]
    pub fn may_contain(&self, key: &EntryKey) -> bool {
        self.in_memory(|memory| memory.contains(key)) || self.tiers.disks.may_contain(key)
    }

    /// Whether a disk is in use that the site may write to.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        let mut disks = self.disks.iter();
        disks.any(|number| {
            let disk = self.tiers.disks.get(*number);
            disk.is_some_and(|disk| disk.tier().is_some())
        })
    }

    /// Counts a request for the object whose head is kept under `id`, where a disk waits for several.
    pub fn count_use(&self, id: u128) {
        if let Some(sketch) = &self.tiers.sketch {
            sketch.add(id);
        }
    }

    /// Whether the disk takes an object that is about to be filled. The answer holds for what is inserted of this
    /// version from now on: all of it, or nothing.
    #[must_use]
    pub fn admit(&self, newcomer: &Newcomer) -> Admission {
        let uptime = self.tiers.clock.uptime();
        if !newcomer.whole
            && let Some(answer) = self.tiers.answers.lock().get(newcomer.version, uptime)
        {
            return answer;
        }
        let answer = match self.judge(newcomer) {
            Ok(()) => Admission::Granted,
            Err(refusal) => Admission::Refused(refusal),
        };
        // A disk may come back at any time; only a fill that has begun without one goes on so.
        if newcomer.whole || answer != Admission::Refused(Refusal::NoDisk) {
            let mut answers = self.tiers.answers.lock();
            answers.set(newcomer.version, answer, uptime);
        }
        answer
    }

    fn judge(&self, newcomer: &Newcomer) -> Result<(), Refusal> {
        let (id, bytes) = (newcomer.id, newcomer.bytes);
        let place = match is_one_piece(bytes) {
            true => id,
            false => newcomer.version,
        };
        let (_, disk, tier) = self
            .tiers
            .disks
            .place(&self.disks, place)
            .ok_or(Refusal::NoDisk)?;
        let refused = |refusal: Refusal| {
            disk.count(refusal);
            Err(refusal)
        };
        if !self.is_wanted(disk, id) {
            return refused(Refusal::Uses);
        }
        let class = SizeClass::of(bytes);
        if !disk.has_rate(class, self.tiers.clock.uptime()) {
            return refused(Refusal::Rate);
        }
        let coming = bytes.filter(|_| newcomer.whole).unwrap_or(0);
        if !self.has_quota(coming) {
            return refused(Refusal::Quota);
        }
        if coming > disk.config().size_bytes {
            return refused(Refusal::Size);
        }
        if !self.tiers.disks.has_index_for(bytes.unwrap_or(u64::MAX)) {
            return refused(Refusal::Index);
        }
        if newcomer.whole && tier.free_room() < class.room_needed() {
            return refused(Refusal::Full);
        }
        Ok(())
    }

    /// Whether an object has been asked for often enough, or was so before.
    fn is_wanted(&self, disk: &Disk, id: u128) -> bool {
        let min_uses = disk.config().min_uses;
        let Some(sketch) = self.tiers.sketch.as_ref().filter(|_| min_uses > 1) else {
            return true;
        };
        sketch.count(id) >= min_uses || self.tiers.disks.may_contain(&EntryKey::head(id))
    }

    fn has_quota(&self, coming_bytes: u64) -> bool {
        let quota = self.disk_quota.load(Ordering::Relaxed);
        quota == 0 || self.written_bytes().saturating_add(coming_bytes) <= quota
    }

    /// Bytes that were written for the site within the last turn of each log.
    fn written_bytes(&self) -> u64 {
        let disks = self.tiers.disks.iter().zip(&self.written);
        disks
            .map(|(disk, written)| written.lock().sum(disk.segment()))
            .sum()
    }

    fn note_written(&self, number: usize, disk: &Disk, record: &Record) {
        let segment = disk.wrote(record, self.tiers.clock.uptime());
        if let Some(written) = self.written.get(number) {
            written.lock().add(segment, bytes_on_disk(record));
        }
    }

    /// Stores an entry, in place of what was there.
    ///
    /// It is in memory at once. When the disk has more to write than it can, this waits a bounded time
    /// for it, then leaves the disk out (and counts that). Cancelled, it leaves the disk out, too.
    pub async fn insert(&self, key: EntryKey, entry: Entry, placement: Placement) -> Kept {
        let admission = self.admission_of(&key, &entry);
        if let Entry::Object(object) = &entry {
            let waits = admission == Admission::Refused(Refusal::Uses);
            object.awaits_uses.store(waits, Ordering::Relaxed);
        }
        let mut ticket = self.tiers.turns.enter(key);
        let record = self.record(&key, &entry, admission);
        let memory = ticket.advance(|| {
            if key.part == Part::Head {
                self.tiers.disks.forget(&key);
            }
            self.drop_from_shared(&key);
            self.in_memory(|memory| match placement {
                Placement::MemoryAndDisk => memory.insert(key, entry),
                Placement::DiskPreferred => {
                    memory.remove(&key);
                    false
                }
            })
        });
        let disk = match record {
            Some(ready) => self.write(key, ready, |act| ticket.if_latest(act)).await,
            None => false,
        };
        Kept { memory, disk }
    }

    /// What the disk tier has said to the object that the entry belongs to, or says now.
    fn admission_of(&self, key: &EntryKey, entry: &Entry) -> Admission {
        if let Part::Chunk(number) = key.part
            && let Some(before) = number.checked_sub(1)
            && self.is_forgotten(key.id)
            && self
                .tiers
                .disks
                .may_contain(&EntryKey::chunk(key.id, before))
        {
            return Admission::Granted;
        }
        let newcomer = match entry {
            Entry::Object(object) => Newcomer {
                id: key.id,
                version: object.version,
                bytes: Some(inline_bytes(object)),
                whole: false,
            },
            // The id of a chunk is its version; how often its object was asked for is not known here.
            Entry::Chunk(bytes) => Newcomer {
                id: key.id,
                version: key.id,
                bytes: Some(bytes.len() as u64),
                whole: false,
            },
            // Under its own id, which is no version: it is judged by itself.
            Entry::Vary(_) => Newcomer {
                id: key.id,
                version: key.id,
                bytes: Some(0),
                whole: true,
            },
        };
        self.admit(&newcomer)
    }

    /// Whether nobody knows any more what was said to this version.
    fn is_forgotten(&self, version: u128) -> bool {
        let uptime = self.tiers.clock.uptime();
        self.tiers.answers.lock().get(version, uptime).is_none()
    }

    /// The entry as a record for the disk that it goes to, if it goes to one.
    fn record(&self, key: &EntryKey, entry: &Entry, admission: Admission) -> Option<Ready<'_>> {
        if !admission.is_granted() {
            return None;
        }
        let (number, disk, tier) = self.tiers.disks.place(&self.disks, key.id)?;
        let record = tier.record(entry)?;
        Some(Ready {
            number,
            disk,
            tier,
            record,
        })
    }

    /// Hands a record to its disk, unless newer work on the key has come between.
    async fn write(
        &self,
        key: EntryKey,
        ready: Ready<'_>,
        if_latest: impl FnOnce(&mut dyn FnMut() -> bool) -> Option<bool>,
    ) -> bool {
        let Ready {
            number,
            disk,
            tier,
            record,
        } = ready;
        // Whatever was let in: the quota is a ceiling.
        if !self.has_quota(bytes_on_disk(&record)) {
            disk.count(Refusal::Quota);
            self.give_up(&key);
            return false;
        }
        let Some(room) = tier.reserve(&record).await else {
            self.give_up(&key);
            return false;
        };
        let mut room = Some((record, room));
        // Replaced while we waited: the older one must not be written behind the newer.
        let written = if_latest(&mut || {
            let Some((record, room)) = room.take() else {
                return false;
            };
            self.note_written(number, disk, &record);
            tier.write(key, record, room);
            true
        });
        written == Some(true)
    }

    /// A part of an object does not go to disk: nor does what is still to come of it, its head above all.
    fn give_up(&self, key: &EntryKey) {
        if key.part == Part::Head {
            return;
        }
        let refused = Admission::Refused(Refusal::Full);
        let uptime = self.tiers.clock.uptime();
        self.tiers.answers.lock().set(key.id, refused, uptime);
    }

    /// Drops an entry, to save its space. Not a purge: it may come back after a crash, or from a write
    /// that is under way.
    pub fn remove(&self, key: &EntryKey) {
        self.tiers.turns.enter(*key).advance(|| {
            self.drop_from_shared(key);
            self.in_memory(|memory| memory.remove(key));
            self.tiers.disks.forget(key);
        });
    }

    /// Notes that an object which memory has was asked for again, where `awaits_uses` says that a disk waits for that.
    /// Once that is often enough, it is written behind the answer. `ids` are where its head is kept, and those of the
    /// heads that lead to it.
    pub fn asked_again(self: &Arc<Self>, object: &Arc<Object>, ids: &[u128]) {
        let Some(id) = ids.first() else { return };
        for id in ids {
            self.count_use(*id);
        }
        let place = match is_one_piece(Some(object.body.length())) {
            true => *id,
            false => object.version,
        };
        let Some((_, disk, _)) = self.tiers.disks.place(&self.disks, place) else {
            return;
        };
        if !self.is_wanted(disk, *id) {
            return;
        }
        // One of those who ask at the same time does it; with too much of that under way, a later one.
        let Ok(turn) = Arc::clone(&self.tiers.late_writes).try_acquire_owned() else {
            return;
        };
        if !object.awaits_uses.swap(false, Ordering::Relaxed) {
            return;
        }
        let (site, object, ids) = (Arc::clone(self), Arc::clone(object), ids.to_vec());
        self.tiers.runtime.spawn(async move {
            site.write_late(&object, &ids).await;
            drop(turn);
        });
    }

    /// Writes to disk what memory has of an object, if it has all of it; of one that is pulled by parts, its head.
    async fn write_late(&self, object: &Arc<Object>, ids: &[u128]) {
        let Some((id, leading)) = ids.split_first() else {
            return;
        };
        self.tiers.answers.lock().end(object.version);
        let length = object.body.length();
        let newcomer = Newcomer {
            id: *id,
            version: object.version,
            bytes: Some(length),
            whole: true,
        };
        if !self.admit(&newcomer).is_granted() {
            return;
        }
        let chunks = match &object.body {
            Body::Inline(_) => 0,
            Body::Chunked { length } => length.div_ceil(CHUNK_BYTES as u64),
        };
        for number in 0..chunks {
            let Ok(number) = u32::try_from(number) else {
                return;
            };
            let key = EntryKey::chunk(object.version, number);
            if self.tiers.disks.may_contain(&key) {
                continue;
            }
            // What is missing comes with those who ask for it.
            let Some(entry) = self.peek(&key) else {
                continue;
            };
            if !self.write_from_memory(key, &entry).await {
                return;
            }
        }
        self.write_from_memory(EntryKey::head(*id), &Entry::Object(Arc::clone(object)))
            .await;
        for id in leading {
            let key = EntryKey::head(*id);
            if let Some(entry) = self.peek(&key)
                && !self.tiers.disks.may_contain(&key)
            {
                self.write_from_memory(key, &entry).await;
            }
        }
    }

    /// Writes an entry of the memory tier to disk, unless it has been replaced meanwhile.
    async fn write_from_memory(&self, key: EntryKey, entry: &Entry) -> bool {
        let ticket = self.tiers.turns.enter(key);
        if !self.peek(&key).is_some_and(|now| is_same(&now, entry)) {
            return false;
        }
        let Some(ready) = self.record(&key, entry, Admission::Granted) else {
            return false;
        };
        self.write(key, ready, |act| {
            ticket.if_latest(|| {
                if key.part == Part::Head {
                    self.tiers.disks.forget(&key);
                }
                act()
            })
        })
        .await
    }

    pub(super) fn stats(&self) -> SiteStats {
        let own = self.memory.load_full();
        SiteStats {
            name: self.name.clone(),
            memory_used_bytes: own.as_ref().map(|memory| memory.used_bytes()),
            memory_capacity_bytes: own.as_ref().map(|memory| memory.capacity_bytes()),
            memory_entries: own.as_ref().map(|memory| memory.entries()),
            disk_quota_bytes: self.disk_quota.load(Ordering::Relaxed),
            disk_written_bytes: self.written_bytes(),
            memory_hits: self.memory_hits.total(),
            memory_misses: self.memory_misses.total(),
            disk_hits: read(&self.disk_hits),
            disk_misses: read(&self.disk_misses),
        }
    }
}

impl std::fmt::Debug for SiteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteStore")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A record, and where it goes.
struct Ready<'a> {
    number: usize,
    disk: &'a Disk,
    tier: Arc<DiskTier>,
    record: Record,
}

/// What one of several disks has under a key.
struct Candidate<'a> {
    disk: &'a Disk,
    tier: Arc<DiskTier>,
    found: Found,
    entry: Entry,
    /// Whether it would go there now.
    is_home: bool,
}

impl Candidate<'_> {
    /// The better one, and the other.
    fn or(self, other: Self) -> (Self, Self) {
        let is_newer = match (&self.entry, &other.entry) {
            (Entry::Object(one), Entry::Object(two)) => {
                let rank = |object: &Object| {
                    let received = object.freshness().received_at;
                    (object.body_seq, object.checked_seq, received)
                };
                rank(one) > rank(two)
            }
            // Nothing tells their age.
            _ => self.is_home,
        };
        match is_newer {
            true => (self, other),
            false => (other, self),
        }
    }
}

fn inline_bytes(object: &Object) -> u64 {
    match &object.body {
        Body::Inline(bytes) => bytes.len() as u64,
        // Judged as one of its chunks would be.
        Body::Chunked { .. } => CHUNK_BYTES as u64,
    }
}

fn is_same(one: &Entry, other: &Entry) -> bool {
    match (one, other) {
        (Entry::Object(one), Entry::Object(other)) => Arc::ptr_eq(one, other),
        (Entry::Vary(one), Entry::Vary(other)) => Arc::ptr_eq(one, other),
        (Entry::Chunk(one), Entry::Chunk(other)) => one.as_ptr() == other.as_ptr(),
        (Entry::Object(_) | Entry::Vary(_) | Entry::Chunk(_), _) => false,
    }
}
