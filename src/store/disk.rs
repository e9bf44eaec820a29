//! The disk tier: a lossy, checksummed store of immutable records, in front of the engine in `blocks`.
//!
//! It answers from the index, from what is not written yet, and from the blocks. What the system has in
//! memory is read at once, on the caller's thread; only what must come from the disk goes to a thread
//! that may wait. Trouble of any kind is a miss for the caller; trouble with writing ends the tier.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::blocks::{self, NotIt, RECORD_HEADER_BYTES, Ring, Writer};
use super::codec::Record;
use super::counters::{DiskCounters, add};
use super::device::Device;
use super::doubts::Doubts;
use super::entry::{Entry, EntryKey};
use super::folder::{DiskTrouble, Geometry};
use super::hash::random_bytes;
use super::places::Place;

/// Room is counted in these.
const PAGE_BYTES: usize = 4096;
/// Handed over and not written yet, at most: 16 MiB, held in memory meanwhile.
const BUDGET_PAGES: u32 = 4096;
/// Written at once.
const BATCH_BYTES: u64 = 4 << 20;
/// Reads under way at once; each holds a thread of the blocking pool.
const READS_MAX: usize = 128;
/// Reads that fail one after the other before the tier is given up.
const READ_ERRORS_MAX: u32 = 16;

/// Times of the disk tier; shorter in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long an insert waits for room before it is refused.
    pub(super) insert: Duration,
    /// How long a read may take before it is a miss.
    pub(super) load: Duration,
    /// How long a write may take before the tier is given up.
    pub(super) stall: Duration,
    /// Between two looks at the folder and writes that are read back.
    pub(super) probe: Duration,
    /// How long the start of the node waits for the tier.
    pub(super) open: Duration,
    /// Before a tier that was given up is tried again.
    pub(super) retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            insert: Duration::from_millis(500),
            load: Duration::from_secs(2),
            stall: Duration::from_secs(15),
            probe: Duration::from_secs(5),
            open: Duration::from_secs(1),
            retry: Duration::from_secs(10),
        }
    }
}

/// What a tier is opened with.
pub(super) struct TierPlan {
    pub(super) device: Arc<dyn Device>,
    pub(super) geometry: Geometry,
    /// Outlives the tier.
    pub(super) runtime: Handle,
    pub(super) counters: Arc<DiskCounters>,
    /// The heads that must not come back from this disk.
    pub(super) doubts: Arc<Doubts>,
    pub(super) patience: Patience,
    /// Whether the folder and the files are as they were.
    pub(super) inspect: Inspect,
    pub(super) jobs: Jobs,
}

/// Counts the threads that work for the tiers of one disk: when a disk hangs, so do they, and more must
/// not be sent after them.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<AtomicUsize>);

impl Jobs {
    pub(super) fn under_way(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Runs something that may wait for the disk.
    pub(super) fn run<R: Send + 'static>(
        &self,
        runtime: &Handle,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.0));
        runtime.spawn_blocking(move || {
            let _counted = counted;
            work()
        })
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A look at the folder; may block.
pub(super) type Inspect = Arc<dyn Fn() -> Result<(), DiskTrouble> + Send + Sync>;

/// A disk tier that is in use.
pub(super) struct DiskTier {
    shared: Arc<Shared>,
    inspect: Inspect,
    record_bytes_max: usize,
    /// An insert has waited in vain: the next do not wait until there has been room again.
    crowded: AtomicBool,
    reads: Arc<Semaphore>,
    read_errors: AtomicU32,
    has_failed_reads: AtomicBool,
    reads_fail: Notify,
}

/// What the tier shares with the task that writes.
struct Shared {
    ring: Arc<Ring>,
    queue: Mutex<Queue>,
    /// Keys in the queue, so that the many who come when there are none need no lock.
    pending: AtomicUsize,
    /// In pages; closed when nothing is written any more.
    budget: Arc<Semaphore>,
    batch_bytes: u64,
    work: Notify,
    arrived: Notify,
    closing: AtomicBool,
    failure: OnceLock<DiskTrouble>,
    /// The task that writes has ended.
    over: CancellationToken,
    runtime: Handle,
    jobs: Jobs,
    counters: Arc<DiskCounters>,
    doubts: Arc<Doubts>,
    patience: Patience,
}

/// What was handed over and is not written yet.
#[derive(Default)]
struct Queue {
    writes: u64,
    waiting: VecDeque<Write>,
    /// The write of each key that counts. A key that was forgotten is not here, and its write is not
    /// found when it arrives.
    newest: HashMap<EntryKey, Pending>,
}

struct Write {
    key: EntryKey,
    number: u64,
    record: Record,
    /// Given back when it is dropped.
    _room: Room,
}

struct Pending {
    number: u64,
    record: Record,
}

/// Room in the queue for one record.
pub(super) struct Room {
    _pages: OwnedSemaphorePermit,
}

/// What a read has found.
pub(super) struct Found {
    pub(super) record: Record,
    /// Its block is about to be used again.
    pub(super) old: bool,
}

/// What can be said without waiting for the disk.
pub(super) enum Look {
    Found(Found),
    Nothing,
    /// It must be read from the disk.
    OnDisk,
}

impl DiskTier {
    /// Opens the tier: reads what the device holds, and makes sure that it can be written.
    pub(super) async fn open(plan: TierPlan) -> Result<Self, DiskTrouble> {
        let engine = |error: &dyn std::fmt::Display| DiskTrouble::Engine {
            reason: error.to_string(),
        };
        let geometry = plan.geometry;
        let ring = Arc::new(Ring::new(plan.device, geometry).map_err(|error| engine(&error))?);
        // When the one who opens goes away, so does the work for him.
        let unfinished = Abandon(Some(Arc::clone(&ring)));
        let recovery = plan.jobs.run(&plan.runtime, {
            let ring = Arc::clone(&ring);
            move || Writer::recover(ring)
        });
        let writer = recovery
            .await
            .map_err(|error| engine(&error))?
            .map_err(|error| engine(&error))?;
        let shared = Arc::new(Shared {
            ring,
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            budget: Arc::new(Semaphore::new(BUDGET_PAGES as usize)),
            // A batch must not come round the ring.
            batch_bytes: BATCH_BYTES.min(geometry.device_bytes() / 4),
            work: Notify::new(),
            arrived: Notify::new(),
            closing: AtomicBool::new(false),
            failure: OnceLock::new(),
            over: CancellationToken::new(),
            runtime: plan.runtime.clone(),
            jobs: plan.jobs,
            counters: plan.counters,
            doubts: plan.doubts,
            patience: plan.patience,
        });
        // Ends when the tier is closed or dropped, or when a write fails.
        plan.runtime
            .spawn(Arc::clone(&shared).write_on(writer, CancelOnDrop(shared.over.clone())));
        let budget_bytes = BUDGET_PAGES as usize * PAGE_BYTES - RECORD_HEADER_BYTES;
        let tier = Self {
            shared,
            inspect: plan.inspect,
            record_bytes_max: usize::try_from(blocks::record_bytes_max(geometry.block_bytes))
                .map_or(budget_bytes, |block| block.min(budget_bytes)),
            crowded: AtomicBool::new(false),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            read_errors: AtomicU32::new(0),
            has_failed_reads: AtomicBool::new(false),
            reads_fail: Notify::new(),
        };
        tier.probe().await?;
        unfinished.keep();
        Ok(tier)
    }

    /// The entry as a record, if it is not too large for the tier.
    pub(super) fn record(&self, entry: &Entry) -> Option<Record> {
        let record = Record::encode(entry)
            .ok()
            .filter(|record| record.length() <= self.record_bytes_max);
        if record.is_none() {
            add(&self.shared.counters.refused_size, 1);
        }
        record
    }

    /// Waits for room in the queue. `None` is a refusal, and counted. Who comes after one who waited in
    /// vain does not wait: a disk that dies holds up one request, not each.
    pub(super) async fn reserve(&self, record: &Record) -> Option<Room> {
        let pages = pages(record);
        let budget = || Arc::clone(&self.shared.budget);
        let mut permit = budget().try_acquire_many_owned(pages).ok();
        if permit.is_none() && !self.crowded.load(Ordering::Relaxed) {
            let wait = self.shared.patience.insert;
            let waited = timeout(wait, budget().acquire_many_owned(pages)).await;
            permit = waited.ok().and_then(Result::ok);
        }
        self.crowded.store(permit.is_none(), Ordering::Relaxed);
        if permit.is_none() {
            add(&self.shared.counters.refused_full, 1);
        }
        permit.map(|pages| Room { _pages: pages })
    }

    /// Hands a record over for writing.
    pub(super) fn write(&self, key: EntryKey, record: Record, room: Room) {
        add(&self.shared.counters.writes, 1);
        add(&self.shared.counters.written_bytes, record.length() as u64);
        self.shared.hand_over(key, record, room);
    }

    /// Writes a record again that would be evicted soon though it is in use, if there is room now. Whether it did.
    pub(super) fn rewrite(&self, key: EntryKey, record: Record) -> bool {
        let budget = Arc::clone(&self.shared.budget);
        let Ok(permit) = budget.try_acquire_many_owned(pages(&record)) else {
            return false;
        };
        add(&self.shared.counters.rewrites, 1);
        self.write(key, record, Room { _pages: permit });
        true
    }

    /// Makes sure that what is on disk under the key is not found again, until a restart.
    pub(super) fn forget(&self, key: &EntryKey) {
        self.shared.forget(key);
    }

    /// Whether a read is worth while. May be wrong in either direction, seldom.
    pub(super) fn may_contain(&self, key: &EntryKey) -> bool {
        self.shared.is_pending(key) || self.place(key).is_some()
    }

    fn place(&self, key: &EntryKey) -> Option<Place> {
        self.shared.ring.places.get(blocks::hash(key))
    }

    /// Looks for a record without waiting for the disk.
    pub(super) fn look(&self, key: &EntryKey) -> Look {
        if let Some(record) = self.shared.pending_record(key) {
            return Look::Found(Found { record, old: false });
        }
        let Some(place) = self.place(key) else {
            return Look::Nothing;
        };
        let mut bytes = vec![0; blocks::bytes_at(place)];
        let offset = u64::from(place.offset);
        match self
            .shared
            .ring
            .device
            .read_now(place.block, offset, &mut bytes)
        {
            Ok(true) => self
                .open_record(key, place, &bytes.into())
                .map_or(Look::Nothing, Look::Found),
            Ok(false) => Look::OnDisk,
            Err(error) => {
                self.note_read_error(key, place, &error);
                Look::Nothing
            }
        }
    }

    /// Reads a record. Trouble of any kind is a miss, and counted.
    pub(super) async fn load(&self, key: &EntryKey) -> Option<Found> {
        match self.look(key) {
            Look::Found(found) => return Some(found),
            Look::Nothing => return None,
            Look::OnDisk => {}
        }
        let place = self.place(key)?;
        match timeout(self.shared.patience.load, self.read(place)).await {
            Ok(Ok(bytes)) => {
                // Here alone: what the page cache has says nothing of the disk.
                self.read_errors.store(0, Ordering::Relaxed);
                self.open_record(key, place, &bytes)
            }
            Ok(Err(error)) => {
                self.note_read_error(key, place, &error);
                None
            }
            Err(_elapsed) => {
                self.note_read_error(key, place, &"timed out");
                None
            }
        }
    }

    async fn read(&self, place: Place) -> io::Result<Bytes> {
        // Never closed, so an error means that there is nothing to wait for.
        let turn = Arc::clone(&self.reads).acquire_owned().await.ok();
        let device = Arc::clone(&self.shared.ring.device);
        let read = self.shared.jobs.run(&self.shared.runtime, move || {
            let mut bytes = vec![0; blocks::bytes_at(place)];
            let done = device.read(place.block, u64::from(place.offset), &mut bytes);
            // A read that hangs keeps its turn, whoever still waits for it.
            drop(turn);
            done.map(|()| Bytes::from(bytes))
        });
        read.await.map_err(io::Error::other)?
    }

    fn open_record(&self, key: &EntryKey, place: Place, bytes: &Bytes) -> Option<Found> {
        match blocks::read_record(key, place, bytes) {
            Ok(record) => Some(Found {
                record,
                old: self.shared.ring.is_old(place.block),
            }),
            Err(not_it) => {
                // Gone from the index already when its block was used again while we read.
                if self.place(key) == Some(place) {
                    self.shared.ring.places.remove_at(blocks::hash(key), place);
                    if not_it == NotIt::Damaged {
                        add(&self.shared.counters.corrupt, 1);
                    }
                }
                None
            }
        }
    }

    /// Forgets a record that is not an entry.
    pub(super) fn note_corrupt(&self, key: &EntryKey) {
        add(&self.shared.counters.corrupt, 1);
        self.forget(key);
    }

    fn note_read_error(&self, key: &EntryKey, place: Place, error: &dyn std::fmt::Display) {
        add(&self.shared.counters.read_errors, 1);
        // Else it would be read, and fail, for ever.
        self.shared.ring.places.remove_at(blocks::hash(key), place);
        self.has_failed_reads.store(true, Ordering::Relaxed);
        let in_a_row = self.read_errors.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row == 1 {
            warn!(%error, "a read from the disk tier failed");
        }
        if in_a_row >= READ_ERRORS_MAX {
            self.reads_fail.notify_one();
        }
    }

    /// Looks after the tier. Returns when it is no longer of use.
    pub(super) async fn watch(&self) -> DiskTrouble {
        tokio::select! {
            () = self.shared.over.cancelled() => self.shared.trouble(),
            () = self.reads_fail.notified() => DiskTrouble::ReadsFail,
            trouble = self.look_after() => trouble,
        }
    }

    /// Also when nobody uses the tier: what is found out early does not cost a request.
    async fn look_after(&self) -> DiskTrouble {
        loop {
            sleep(self.shared.patience.probe).await;
            if let Err(trouble) = self.probe().await {
                return trouble;
            }
        }
    }

    /// Whether the folder is as it was, and something written can be read back.
    async fn probe(&self) -> Result<(), DiskTrouble> {
        let shared = &self.shared;
        let inspect = Arc::clone(&self.inspect);
        let inspected = shared.jobs.run(&shared.runtime, move || inspect());
        match timeout(shared.patience.stall, inspected).await {
            Ok(Ok(inspected)) => inspected?,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(DiskTrouble::Engine { reason });
            }
            Err(_elapsed) => return Err(DiskTrouble::Stalled),
        }
        let Ok(told) = random_bytes::<32>() else {
            return Ok(());
        };
        let (key, told) = (blocks::probe_key(), Bytes::copy_from_slice(&told));
        let answer = timeout(shared.patience.stall, self.write_and_read(key, &told)).await;
        shared.forget(&key);
        match answer {
            Ok(Ok(read)) if read == told => Ok(()),
            Ok(Ok(_) | Err(_)) => Err(shared
                .failure
                .get()
                .cloned()
                .unwrap_or(DiskTrouble::WritesLost)),
            Err(_elapsed) => Err(DiskTrouble::Stalled),
        }
    }

    async fn write_and_read(&self, key: EntryKey, told: &Bytes) -> io::Result<Bytes> {
        let shared = &self.shared;
        let budget = Arc::clone(&shared.budget);
        let room = budget.acquire_owned().await.map_err(io::Error::other)?;
        let record = Record {
            head: told.clone(),
            body: Bytes::new(),
        };
        // Not by `write`: it takes no part in the accounts.
        shared.hand_over(key, record, Room { _pages: room });
        // Ends with the write, or with the timeout around it.
        loop {
            let arrived = shared.arrived.notified();
            if !shared.is_pending(&key) {
                break;
            }
            tokio::select! {
                () = arrived => {}
                () = shared.over.cancelled() => break,
            }
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let place = self.place(&key).ok_or_else(missing)?;
        let bytes = self.read(place).await?;
        let record = blocks::read_record(&key, place, &bytes).map_err(|_| missing())?;
        Ok(record.head)
    }

    /// Waits until all that was handed over has been dealt with.
    pub(super) async fn settle(&self) {
        // All the room is free only when nothing is on its way; closed when the tier has failed.
        drop(self.shared.budget.acquire_many(BUDGET_PAGES).await);
    }

    /// Nothing is written from now on, also for those who still hold the tier: another one may be opened in its place.
    pub(super) fn abandon(&self) {
        self.shared.abandon();
    }

    /// Whether the disk may hold records that the index has not any more, since they could not be read.
    pub(super) fn has_failed_reads(&self) -> bool {
        self.has_failed_reads.load(Ordering::Relaxed)
    }

    /// What was handed over and may not have reached the disk.
    pub(super) fn unsettled(&self) -> Vec<EntryKey> {
        self.shared.queue.lock().newest.keys().copied().collect()
    }

    /// Parts of 64 of the room on the way to the disk that are free.
    pub(super) fn free_room(&self) -> u32 {
        let free = self.shared.budget.available_permits();
        u32::try_from(free).unwrap_or(BUDGET_PAGES) / (BUDGET_PAGES / 64)
    }

    /// Bytes handed over that are not written yet.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let free = self.shared.budget.available_permits() as u64;
        u64::from(BUDGET_PAGES).saturating_sub(free) * PAGE_BYTES as u64
    }

    /// Records that can be found.
    pub(super) fn entries(&self) -> u64 {
        let pending = self.shared.pending.load(Ordering::Acquire) as u64;
        self.shared.ring.places.entries() + pending
    }

    /// What the index takes in memory, about.
    pub(super) fn index_bytes(&self) -> u64 {
        self.shared.ring.places.bytes()
    }

    /// Ends the tier: nothing is taken any more, what was taken is written. Whether it was.
    pub(super) async fn close(&self) -> bool {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.work.notify_one();
        self.shared.over.cancelled().await;
        self.shared.failure.get().is_none()
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl Shared {
    fn hand_over(&self, key: EntryKey, record: Record, room: Room) {
        let mut queue = self.queue.lock();
        let is_over = self.over.is_cancelled()
            || self.closing.load(Ordering::Acquire)
            || self.ring.abandoned.load(Ordering::Acquire);
        if is_over {
            add(&self.counters.lost, 1);
            return;
        }
        // Under the lock of the queue: a tier that is given up now finds the key in there, and notes it again.
        self.doubts.settle(&key);
        queue.writes += 1;
        let number = queue.writes;
        let pending = Pending {
            number,
            record: record.clone(),
        };
        if queue.newest.insert(key, pending).is_none() {
            self.pending.fetch_add(1, Ordering::Release);
        }
        queue.waiting.push_back(Write {
            key,
            number,
            record,
            _room: room,
        });
        drop(queue);
        self.work.notify_one();
    }

    fn is_pending(&self, key: &EntryKey) -> bool {
        self.pending.load(Ordering::Acquire) != 0 && self.queue.lock().newest.contains_key(key)
    }

    fn pending_record(&self, key: &EntryKey) -> Option<Record> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let queue = self.queue.lock();
        queue.newest.get(key).map(|pending| pending.record.clone())
    }

    fn forget(&self, key: &EntryKey) {
        if self.pending.load(Ordering::Acquire) != 0
            && self.queue.lock().newest.remove(key).is_some()
        {
            self.pending.fetch_sub(1, Ordering::Release);
        }
        // What was under way is in the index by now, or will never be.
        self.ring.places.remove(blocks::hash(key));
    }

    /// Writes what is handed over, until the tier ends in one way or another.
    async fn write_on(self: Arc<Self>, mut writer: Writer, over: CancelOnDrop) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                let closing = self.closing.load(Ordering::Acquire);
                if closing || self.ring.abandoned.load(Ordering::Acquire) {
                    break;
                }
                self.work.notified().await;
                continue;
            }
            let count = batch.len() as u64;
            let job = self.jobs.run(&self.runtime, move || {
                let records: Vec<_> = batch
                    .iter()
                    .map(|write| (write.key, write.record.clone()))
                    .collect();
                let places = writer.append(&records);
                (writer, batch, places)
            });
            let trouble = match timeout(self.patience.stall, job).await {
                Ok(Ok((back, batch, Ok(places)))) => {
                    writer = back;
                    self.have_arrived(batch, &places);
                    continue;
                }
                Ok(Ok((_, _, Err(error)))) => DiskTrouble::WriteFailed {
                    source: Arc::new(error),
                },
                Ok(Err(error)) => DiskTrouble::Engine {
                    reason: error.to_string(),
                },
                Err(_elapsed) => DiskTrouble::Stalled,
            };
            self.fail(trouble, count);
            break;
        }
        self.ring.abandoned.store(true, Ordering::Release);
        self.budget.close();
        drop(over);
    }

    fn next_batch(&self) -> Vec<Write> {
        let mut queue = self.queue.lock();
        let (mut bytes, mut count) = (0, 0);
        for write in &queue.waiting {
            bytes += write.record.length() as u64;
            if bytes > self.batch_bytes && count > 0 {
                break;
            }
            count += 1;
        }
        queue.waiting.drain(..count).collect()
    }

    fn have_arrived(&self, batch: Vec<Write>, places: &[Place]) {
        let mut queue = self.queue.lock();
        for (write, place) in batch.iter().zip(places) {
            let newest = queue.newest.get(&write.key).map(|pending| pending.number);
            if newest == Some(write.number) {
                self.ring.places.insert(blocks::hash(&write.key), *place);
                queue.newest.remove(&write.key);
                // After the insertion: who sees none pending must see the place.
                self.pending.fetch_sub(1, Ordering::Release);
            }
        }
        drop(queue);
        // With the batch goes the room that it took.
        drop(batch);
        self.arrived.notify_waiters();
    }

    fn fail(&self, trouble: DiskTrouble, count: u64) {
        let lost = count + self.queue.lock().waiting.len() as u64;
        add(&self.counters.lost, lost);
        debug!(lost, "writes to the disk tier are lost");
        // There is only one failure: the task that writes ends with it.
        drop(self.failure.set(trouble));
    }

    fn trouble(&self) -> DiskTrouble {
        let unknown = || DiskTrouble::Engine {
            reason: "the task that writes has ended".to_owned(),
        };
        self.failure.get().cloned().unwrap_or_else(unknown)
    }

    fn abandon(&self) {
        self.ring.abandoned.store(true, Ordering::Release);
        self.work.notify_one();
    }
}

/// Tells the engine to stop, unless its opening was brought to an end.
struct Abandon(Option<Arc<Ring>>);

impl Abandon {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(ring) = &self.0 {
            ring.abandoned.store(true, Ordering::Release);
        }
    }
}

/// Says that a task has ended, in whatever way.
struct CancelOnDrop(CancellationToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What a record takes on disk, about.
pub(super) fn bytes_on_disk(record: &Record) -> u64 {
    u64::from(pages(record)) * PAGE_BYTES as u64
}

fn pages(record: &Record) -> u32 {
    let pages = (record.length() + RECORD_HEADER_BYTES).div_ceil(PAGE_BYTES);
    u32::try_from(pages).unwrap_or(u32::MAX)
}
