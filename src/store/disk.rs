//! The disk tier: foyer's block engine as a lossy, checksummed store of immutable records.
//!
//! What it is not relied on for, because it was seen to fail: that a removed entry stays away, that an
//! update that it drops leaves nothing old behind, that it pushes back when it is full, or that it
//! survives an I/O error. Those are the business of the purge clocks, of [`DiskTier::forget`], of the
//! byte budget here, and of [`DiskTier::watch`].

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    Age, BlockEngineConfig, Code, Compression, DeviceBuilder, Error, FifoPicker, FsDeviceBuilder,
    HybridCache, HybridCacheBuilder, HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode,
    Result as FoyerResult,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::codec::Record;
use super::counters::{DiskCounters, add};
use super::entry::{Entry, EntryKey, Part};
use super::folder::{DiskTrouble, Geometry};
use super::hash::{FoldBuilder, random_bytes};

/// foyer writes in pages, and a record takes whole ones.
const PAGE_BYTES: usize = 4096;
/// What foyer puts around a record: its header and the key.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// One of foyer's two flush buffers. What does not fit is dropped without a word, so no more than half
/// of this is ever on its way.
const FLUSH_BYTES: usize = 32 << 20;
/// That half, in pages.
const BUDGET_PAGES: u32 = 4096;
const _: () = assert!(BUDGET_PAGES as usize * PAGE_BYTES == FLUSH_BYTES / 2);
/// Blocks near their eviction: what is still read from them is written again. With 0.3 hot objects
/// stayed (hit ratio 1.00 for 18 % more writes), with foyer's 0.1 they did not (0.50).
const PROBATION: f64 = 0.3;
/// Shards of foyer's write queue.
const QUEUE_SHARDS: usize = 16;
/// Reads under way at once; each holds a thread of the blocking pool.
const READS_MAX: usize = 128;
/// Reads that fail one after the other before the tier is given up.
const READ_ERRORS_MAX: u32 = 16;

/// Missing writes that are kept in mind; beyond that nobody can say any more what a disk has missed.
const LOST_MAX: usize = super::doubts::KEYS_MAX + 1;

/// Times of the disk tier; shorter in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long an insert waits for room before it is refused.
    pub(super) insert: Duration,
    /// How long a read may take before it is a miss.
    pub(super) load: Duration,
    /// How long a write may take before the tier is given up.
    pub(super) stall: Duration,
    /// Before a tier that was given up is tried again; doubles up to `retry_max`.
    pub(super) retry: Duration,
    /// The longest time between two tries.
    pub(super) retry_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            insert: Duration::from_millis(500),
            load: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            retry: Duration::from_secs(30),
            retry_max: Duration::from_mins(10),
        }
    }
}

/// A disk tier that is in use.
pub(super) struct DiskTier {
    hybrid: HybridCache<EntryKey, Record, FoldBuilder>,
    /// In pages.
    budget: Arc<Semaphore>,
    reads: Semaphore,
    record_bytes_max: usize,
    on_their_way: Mutex<OnTheirWay>,
    written_to: Notify,
    read_errors: AtomicU32,
    reads_fail: Notify,
    counters: Arc<DiskCounters>,
    patience: Patience,
}

/// What was handed to foyer and is not yet known to be written.
#[derive(Default)]
struct OnTheirWay {
    writes: u64,
    batch: Vec<Write>,
    /// The write of each key that counts, or `None` when the key was forgotten since. foyer itself
    /// answers from its queue also with what was removed or replaced in the meantime.
    newest: HashMap<EntryKey, Option<u64>>,
    /// Entries whose writes were missing.
    lost: Vec<EntryKey>,
}

struct Write {
    key: EntryKey,
    number: u64,
    room: Room,
}

/// Room in the flush buffer for one record.
pub(super) struct Room {
    _pages: OwnedSemaphorePermit,
}

/// What a read has found.
pub(super) struct Found {
    pub(super) record: Record,
    /// Its block is about to be evicted.
    pub(super) old: bool,
}

impl DiskTier {
    /// Opens the tier in a prepared folder, on a runtime that outlives it.
    pub(super) async fn open(
        data: &Path,
        geometry: Geometry,
        runtime: &Handle,
        counters: Arc<DiskCounters>,
        patience: Patience,
    ) -> Result<Self, DiskTrouble> {
        let engine = |error: &dyn std::fmt::Display| DiskTrouble::Engine {
            reason: error.to_string(),
        };
        let size = |bytes: u64| usize::try_from(bytes).map_err(|error| engine(&error));
        let block_bytes = size(geometry.block_bytes)?;
        let device_bytes = size(geometry.device_bytes())?;
        let (data, spawner) = (data.to_owned(), runtime.clone());
        // On the runtime: foyer spawns as it recovers, and panics where others would return an error.
        let hybrid = runtime
            .spawn(async move {
                let device = FsDeviceBuilder::new(data)
                    .with_capacity(device_bytes)
                    .build()?;
                HybridCacheBuilder::new()
                    .with_name("brim")
                    .with_policy(HybridCachePolicy::WriteOnInsertion)
                    .with_flush_on_close(false)
                    // Nothing is ever put there: the memory tier is our own.
                    .memory(PAGE_BYTES * QUEUE_SHARDS)
                    .with_shards(QUEUE_SHARDS)
                    .with_hash_builder(FoldBuilder)
                    .with_weighter(|_, record: &Record| record.length())
                    .storage()
                    .with_io_engine_config(PsyncIoEngineConfig::new())
                    .with_engine_config(
                        BlockEngineConfig::new(device)
                            .with_block_size(block_bytes)
                            .with_flushers(1)
                            .with_buffer_pool_size(FLUSH_BYTES)
                            .with_submit_queue_size_threshold(2 * FLUSH_BYTES)
                            .with_eviction_pickers(vec![Box::new(FifoPicker::new(PROBATION))])
                            .with_tombstone_log(false),
                    )
                    .with_recover_mode(RecoverMode::Quiet)
                    .with_compression(Compression::None)
                    .with_spawner(spawner.into())
                    .build()
                    .await
            })
            .await
            .map_err(|error| engine(&error))?
            .map_err(|error| engine(&error))?;
        Ok(Self {
            hybrid,
            budget: Arc::new(Semaphore::new(BUDGET_PAGES as usize)),
            reads: Semaphore::new(READS_MAX),
            record_bytes_max: (block_bytes - PAGE_BYTES).min(FLUSH_BYTES / 2)
                - RECORD_OVERHEAD_BYTES,
            on_their_way: Mutex::default(),
            written_to: Notify::new(),
            read_errors: AtomicU32::new(0),
            reads_fail: Notify::new(),
            counters,
            patience,
        })
    }

    /// The entry as a record, if it is not too large: foyer drops those without a word.
    pub(super) fn record(&self, entry: &Entry) -> Option<Record> {
        let record = Record::encode(entry)
            .ok()
            .filter(|record| record.length() <= self.record_bytes_max);
        if record.is_none() {
            add(&self.counters.refused_size, 1);
        }
        record
    }

    /// Waits for room in the flush buffer. `None` is a refusal, and counted.
    pub(super) async fn reserve(&self, record: &Record) -> Option<Room> {
        let budget = Arc::clone(&self.budget);
        let reserved = timeout(
            self.patience.insert,
            budget.acquire_many_owned(pages(record)),
        )
        .await;
        match reserved {
            Ok(Ok(permit)) => Some(Room { _pages: permit }),
            Ok(Err(_)) | Err(_) => {
                add(&self.counters.refused_full, 1);
                None
            }
        }
    }

    /// Hands a record over for writing.
    pub(super) fn write(&self, key: EntryKey, record: Record, room: Room) {
        add(&self.counters.writes, 1);
        add(&self.counters.written_bytes, record.length() as u64);
        let number = {
            let mut way = self.on_their_way.lock();
            way.writes += 1;
            let number = way.writes;
            way.newest.insert(key, Some(number));
            number
        };
        let record = Record {
            write: number,
            ..record
        };
        self.hybrid.storage_writer(key).force().insert(record);
        // Only now: whoever takes the batch then waits for this write, too.
        self.on_their_way
            .lock()
            .batch
            .push(Write { key, number, room });
        self.written_to.notify_one();
    }

    /// Writes a record again that would be evicted soon though it is in use, if there is room now. Whether it did.
    pub(super) fn rewrite(&self, key: EntryKey, record: Record) -> bool {
        let budget = Arc::clone(&self.budget);
        let Ok(permit) = budget.try_acquire_many_owned(pages(&record)) else {
            return false;
        };
        add(&self.counters.rewrites, 1);
        self.write(key, record, Room { _pages: permit });
        true
    }

    /// Makes sure that what is on disk under the key is not found again, until a restart. Needed before
    /// an overwrite: an update that foyer drops would leave the old version in place.
    pub(super) fn forget(&self, key: &EntryKey) {
        if let Some(newest) = self.on_their_way.lock().newest.get_mut(key) {
            *newest = None;
        }
        if self.may_contain(key) {
            self.hybrid.storage().delete(key);
        }
    }

    /// Whether a read is worth while. May be wrong in either direction, seldom.
    pub(super) fn may_contain(&self, key: &EntryKey) -> bool {
        self.hybrid.storage().may_contains(key)
    }

    /// Reads a record. Trouble of any kind is a miss, and counted.
    pub(super) async fn load(&self, key: &EntryKey) -> Option<Found> {
        let read = async {
            // Never closed, so an error means that there is nothing to wait for.
            let _turn = self.reads.acquire().await.ok();
            self.hybrid.storage().load(key).await
        };
        let found = match timeout(self.patience.load, read).await {
            Ok(Ok(Load::Entry {
                value, populated, ..
            })) => Some(Found {
                record: value,
                old: populated.age == Age::Old,
            }),
            Ok(Ok(Load::Piece { piece, .. })) => {
                let record = piece.value().clone();
                self.is_newest(key, &record)
                    .then_some(Found { record, old: false })
            }
            Ok(Ok(Load::Miss | Load::Throttled)) => None,
            Ok(Err(error)) => {
                self.note_read_error(key, &error);
                return None;
            }
            Err(_elapsed) => {
                self.note_read_error(key, &"timed out");
                return None;
            }
        };
        self.read_errors.store(0, Ordering::Relaxed);
        found
    }

    /// Whether a record from foyer's queue is what was last written under the key.
    fn is_newest(&self, key: &EntryKey, record: &Record) -> bool {
        self.on_their_way.lock().newest.get(key) == Some(&Some(record.write))
    }

    /// Forgets a record that is not an entry.
    pub(super) fn note_corrupt(&self, key: &EntryKey) {
        add(&self.counters.corrupt, 1);
        self.forget(key);
    }

    fn note_read_error(&self, key: &EntryKey, error: &dyn std::fmt::Display) {
        add(&self.counters.read_errors, 1);
        // Else it would be read, and fail, for ever.
        self.hybrid.storage().delete(key);
        let in_a_row = self.read_errors.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row == 1 {
            warn!(%error, "a read from the disk tier failed");
        }
        if in_a_row >= READ_ERRORS_MAX {
            self.reads_fail.notify_one();
        }
    }

    /// Follows the writes, and gives their room back. Returns when the tier is no longer of use.
    pub(super) async fn watch(&self) -> DiskTrouble {
        tokio::select! {
            trouble = self.follow_writes() => trouble,
            () = self.reads_fail.notified() => DiskTrouble::ReadsFail,
        }
    }

    async fn follow_writes(&self) -> DiskTrouble {
        loop {
            let batch = std::mem::take(&mut self.on_their_way.lock().batch);
            if batch.is_empty() {
                self.written_to.notified().await;
                continue;
            }
            if !self.drained().await {
                return DiskTrouble::Stalled;
            }
            // foyer tells nobody about a write that failed, so look. Some are missing for good
            // reasons, such as a removal meanwhile; the probe decides.
            let missing = batch
                .iter()
                .filter(|write| !self.may_contain(&write.key))
                .map(|write| write.key);
            let missing: Vec<EntryKey> = missing.collect();
            self.have_arrived(batch);
            let lost = missing.len();
            self.note_lost(missing);
            if lost == 0 {
                continue;
            }
            add(&self.counters.lost, lost as u64);
            debug!(lost, "writes to the disk tier are missing");
            if !self.answers_a_probe().await {
                return DiskTrouble::WritesLost;
            }
        }
    }

    fn note_lost(&self, missing: Vec<EntryKey>) {
        let mut way = self.on_their_way.lock();
        let room = LOST_MAX.saturating_sub(way.lost.len());
        way.lost.extend(missing.into_iter().take(room));
    }

    fn have_arrived(&self, batch: Vec<Write>) {
        let mut way = self.on_their_way.lock();
        for Write { key, number, room } in batch {
            if let Slot::Occupied(newest) = way.newest.entry(key)
                && newest.get().is_none_or(|newest| newest == number)
            {
                newest.remove();
            }
            drop(room);
        }
    }

    /// Whether all that was handed over before has been dealt with in time.
    async fn drained(&self) -> bool {
        timeout(self.patience.stall, self.hybrid.storage().wait())
            .await
            .is_ok()
    }

    /// Whether something written can be read back.
    async fn answers_a_probe(&self) -> bool {
        let Ok(id) = random_bytes() else { return true };
        let key = EntryKey {
            id: u128::from_le_bytes(id),
            part: Part::Chunk(u32::MAX),
        };
        let Ok(record) = Record::encode(&Entry::Chunk(Bytes::copy_from_slice(&id))) else {
            return true;
        };
        // Not by `write`: it takes no part in the accounts.
        self.hybrid.storage_writer(key).force().insert(record);
        let answered = self.drained().await
            && self.load(&key).await.is_some_and(
                |found| matches!(found.record.decode(), Ok(Entry::Chunk(bytes)) if bytes == id[..]),
            );
        self.forget(&key);
        answered
    }

    /// What may not have reached the disk, and what had been forgotten before it was to be written.
    pub(super) fn unsettled(&self) -> Vec<EntryKey> {
        let way = self.on_their_way.lock();
        way.newest.keys().chain(&way.lost).copied().collect()
    }

    /// Waits until all that was handed over has been dealt with.
    pub(super) async fn settle(&self) {
        // All the room is free only when nothing is on its way. Never closed, so never an error.
        drop(self.budget.acquire_many(BUDGET_PAGES).await);
    }

    /// Parts of 64 of the room on the way to the disk that are free.
    pub(super) fn free_room(&self) -> u32 {
        let free = u32::try_from(self.budget.available_permits()).unwrap_or(BUDGET_PAGES);
        free / (BUDGET_PAGES / 64)
    }

    /// Bytes handed over that are not written yet.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let free = self.budget.available_permits() as u64;
        u64::from(BUDGET_PAGES).saturating_sub(free) * PAGE_BYTES as u64
    }

    /// Ends the tier: nothing is taken any more, what was taken is written.
    pub(super) fn close(&self) -> impl Future<Output = FoyerResult<()>> + Send + 'static {
        let hybrid = self.hybrid.clone();
        async move { hybrid.close().await }
    }
}

/// What a record takes on disk.
pub(super) fn bytes_on_disk(record: &Record) -> u64 {
    u64::from(pages(record)) * PAGE_BYTES as u64
}

fn pages(record: &Record) -> u32 {
    let pages = (record.length() + RECORD_OVERHEAD_BYTES).div_ceil(PAGE_BYTES);
    u32::try_from(pages).unwrap_or(u32::MAX)
}

const KEY_BYTES: usize = 24;

impl Code for EntryKey {
    fn encode(&self, writer: &mut impl std::io::Write) -> FoyerResult<()> {
        let part = match self.part {
            Part::Head => 0,
            Part::Chunk(number) => 1 + u64::from(number),
        };
        writer
            .write_all(&self.id.to_le_bytes())
            .map_err(Error::io_error)?;
        writer
            .write_all(&part.to_le_bytes())
            .map_err(Error::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> FoyerResult<Self> {
        let (mut id, mut part) = ([0; 16], [0; 8]);
        reader.read_exact(&mut id).map_err(Error::io_error)?;
        reader.read_exact(&mut part).map_err(Error::io_error)?;
        let part = match u64::from_le_bytes(part) {
            0 => Part::Head,
            number => Part::Chunk(u32::try_from(number - 1).map_err(|error| {
                Error::io_error(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
            })?),
        };
        Ok(Self {
            id: u128::from_le_bytes(id),
            part,
        })
    }

    fn estimated_size(&self) -> usize {
        KEY_BYTES
    }
}

impl Code for Record {
    fn encode(&self, writer: &mut impl std::io::Write) -> FoyerResult<()> {
        writer.write_all(&self.head).map_err(Error::io_error)?;
        writer.write_all(&self.body).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> FoyerResult<Self> {
        // Bounded by the length that foyer has checked: the reader is a slice of it.
        let mut head = Vec::new();
        reader.read_to_end(&mut head).map_err(Error::io_error)?;
        Ok(Self {
            head: head.into(),
            body: Bytes::new(),
            write: 0,
        })
    }

    fn estimated_size(&self) -> usize {
        self.length()
    }
}
