use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::clocks::Clocks;
use super::config::Config;
use super::counters::{add, read};
use super::disk::{DiskTier, Found, Look, Patience};
use super::doorkeeper::Doorkeeper;
use super::entry::{Entry, EntryKey, Kept, Part, Placement, Tier};
use super::error::StoreError;
use super::flights::Flights;
use super::folder::{FolderLock, Geometry, LockError};
use super::hash::HashKey;
use super::memory::MemoryTier;
use super::report::{
    ClockStats, CloseOutcome, DiskStats, MemoryStats, Stats, TierReport, TierState,
};
use super::slot::{DiskPlan, DiskSlot, Wrap};
use super::turns::{Ticket, Turns};

const LOCK_FILE: &str = "store.lock";

/// The memory tier, the disk tier and the purge clocks of one node.
///
/// It is a cache: an entry that was inserted may be gone at any time, and a head that was replaced or
/// removed may come back after a restart. What is found is whole and unchanged; whether it may still be
/// used is for [`Clocks::check`] and `policy` to say, on every hit.
pub struct Store {
    key: HashKey,
    memory: MemoryTier,
    doorkeeper: Doorkeeper,
    disk: Option<Arc<DiskSlot>>,
    turns: Turns,
    flights: Flights,
    clocks: Arc<Clocks>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    state_lock: Mutex<Option<FolderLock>>,
}

/// What tests change.
#[derive(Clone, Default)]
pub(super) struct Tuning {
    pub(super) patience: Patience,
    pub(super) geometry: Option<Geometry>,
    pub(super) device: Option<Wrap>,
}

impl Store {
    /// Opens the store; disk work and its upkeep run on `runtime`, which must outlive it.
    ///
    /// # Errors
    ///
    /// When the state folder cannot be used, belongs to another process, or the purge clocks in it
    /// cannot be read. A disk tier that cannot be used is not an error: see [`Store::tiers`].
    pub async fn open(config: &Config, runtime: Handle) -> Result<Arc<Self>, StoreError> {
        Self::open_tuned(config, runtime, Tuning::default()).await
    }

    pub(super) async fn open_tuned(
        config: &Config,
        runtime: Handle,
        tuning: Tuning,
    ) -> Result<Arc<Self>, StoreError> {
        let (state, max_clocks) = (config.state.clone(), config.max_clocks);
        let (state_lock, key, clocks) = runtime
            .spawn_blocking(move || {
                let lock = claim_state(&state)?;
                let key = HashKey::load(&state)?;
                let clocks = Clocks::open(&state, max_clocks)?;
                Ok::<_, StoreError>((lock, key, clocks))
            })
            .await
            .map_err(|_| StoreError::Closed)??;
        let disk = match &config.disk {
            Some(disk) => {
                let plan = DiskPlan {
                    config: disk.clone(),
                    hash_key: key.public_id(),
                    clocks: clocks.identity().to_owned(),
                    geometry: tuning.geometry,
                    device: tuning.device,
                    patience: tuning.patience,
                    runtime: runtime.clone(),
                };
                Some(Arc::new(DiskSlot::open(plan).await))
            }
            None => None,
        };
        let stop = CancellationToken::new();
        let supervisor = disk
            .as_ref()
            .map(|slot| runtime.spawn(Arc::clone(slot).supervise(stop.clone())));
        Ok(Arc::new(Self {
            key,
            memory: MemoryTier::new(&config.memory),
            doorkeeper: Doorkeeper::new(),
            disk,
            turns: Turns::new(),
            flights: Flights::default(),
            clocks: Arc::new(clocks),
            stop,
            supervisor: Mutex::new(supervisor),
            state_lock: Mutex::new(Some(state_lock)),
        }))
    }

    /// A 128-bit hash of the parts under the node's secret key, the same after a restart. Lists of parts
    /// that differ in where one ends hash differently.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> u128 {
        self.key.hash(parts)
    }

    /// The purge clocks.
    #[must_use]
    pub fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }

    /// Looks in the memory tier; never waits.
    #[must_use]
    pub fn memory(&self, key: &EntryKey) -> Option<Entry> {
        self.memory.find(key)
    }

    /// Looks in memory, then on disk, and takes what the disk has into memory. Disk trouble is a miss.
    ///
    /// Cancel-safe; may be awaited on any runtime that has a timer.
    pub async fn load(&self, key: &EntryKey) -> Option<(Entry, Tier)> {
        self.load_placed(key, Placement::MemoryAndDisk).await
    }

    /// As [`Store::load`], but with [`Placement::DiskPreferred`] what the disk has stays out of the
    /// memory tier: for the chunks of objects that are too large for it.
    pub async fn load_placed(&self, key: &EntryKey, placement: Placement) -> Option<(Entry, Tier)> {
        if let Some(entry) = self.memory.find(key) {
            return Some((entry, Tier::Memory));
        }
        let slot = self.disk.as_ref()?;
        let tier = slot.tier()?;
        // Most of what is asked for often is in the system's memory: then nobody waits for anybody.
        let ticket = self.turns.enter(*key);
        let found = match tier.look(key) {
            Look::Found(found) => self.take(&tier, &ticket, *key, placement, found),
            Look::Nothing => None,
            Look::OnDisk => {
                drop(ticket);
                self.flights
                    .share(*key, || self.fetch(&tier, *key, placement))
                    .await
            }
        };
        match &found {
            Some(_) => add(&slot.counters().hits, 1),
            None => add(&slot.counters().misses, 1),
        }
        found.map(|entry| (entry, Tier::Disk))
    }

    async fn fetch(&self, tier: &DiskTier, key: EntryKey, placement: Placement) -> Option<Entry> {
        let ticket = self.turns.enter(key);
        match tier.load(&key).await {
            Some(found) => self.take(tier, &ticket, key, placement, found),
            // Inserted while we looked, perhaps.
            None => self.memory.peek(&key),
        }
    }

    fn take(
        &self,
        tier: &DiskTier,
        ticket: &Ticket<'_>,
        key: EntryKey,
        placement: Placement,
        found: Found,
    ) -> Option<Entry> {
        let again = found.old.then(|| found.record.clone());
        let Ok(entry) = found.record.decode() else {
            tier.note_corrupt(&key);
            return None;
        };
        let taken = ticket.if_latest(|| {
            if placement == Placement::MemoryAndDisk && self.has_a_place_for(&key) {
                self.memory.insert(key, entry.clone());
            }
            if let Some(record) = again {
                tier.rewrite(key, record);
            }
        });
        match taken {
            Some(()) => Some(entry),
            // Replaced while we read: the new one, if it is in memory.
            None => self.memory.peek(&key).or(Some(entry)),
        }
    }

    /// Whether what was read from disk should be in memory, too.
    fn has_a_place_for(&self, key: &EntryKey) -> bool {
        let (used, capacity) = (self.memory.used_bytes(), self.memory.capacity_bytes());
        used < capacity / 8 * 7 || self.doorkeeper.knows(key, self.memory.entries())
    }

    /// Whether an entry is there, without reading it. From the disk tier the answer may be wrong,
    /// seldom, in either direction.
    #[must_use]
    pub fn may_contain(&self, key: &EntryKey) -> bool {
        self.memory.contains(key) || self.disk_tier().is_some_and(|tier| tier.may_contain(key))
    }

    /// Stores an entry, in place of what was there.
    ///
    /// It is in memory at once. When the disk has more to write than it can, this waits a bounded time
    /// for it, then leaves the disk out (and counts that). Cancelled, it leaves the disk out, too.
    pub async fn insert(&self, key: EntryKey, entry: Entry, placement: Placement) -> Kept {
        let mut ticket = self.turns.enter(key);
        let tier = self.disk_tier();
        let record = tier.as_ref().and_then(|tier| tier.record(&entry));
        let memory = ticket.advance(|| {
            if let (Some(tier), Part::Head) = (&tier, key.part) {
                tier.forget(&key);
            }
            match placement {
                Placement::MemoryAndDisk => self.memory.insert(key, entry),
                Placement::DiskPreferred => {
                    self.memory.remove(&key);
                    false
                }
            }
        });
        let (Some(tier), Some(record)) = (tier, record) else {
            return Kept {
                memory,
                disk: false,
            };
        };
        let disk = match tier.reserve(&record).await {
            // Replaced while we waited: the older one must not be written behind the newer.
            Some(room) => ticket.if_latest(|| tier.write(key, record, room)).is_some(),
            None => false,
        };
        Kept { memory, disk }
    }

    /// Waits until all that was handed to the disk so far has been written. Whether that happened before
    /// the deadline.
    pub async fn settle(&self, deadline: Duration) -> bool {
        match self.disk_tier() {
            Some(tier) => timeout(deadline, tier.settle()).await.is_ok(),
            None => true,
        }
    }

    /// Makes the memory tier hold this many thousandths of its configured size, until it is told otherwise. Evicts
    /// at once, and blocks meanwhile: not for a runtime's own threads.
    pub fn scale_memory(&self, thousandths: u16) {
        self.memory.scale(thousandths);
    }

    /// Drops an entry, to save its space. Not a purge: it may come back after a restart, or from a write
    /// that is under way.
    pub fn remove(&self, key: &EntryKey) {
        let tier = self.disk_tier();
        self.turns.enter(*key).advance(|| {
            self.memory.remove(key);
            if let Some(tier) = &tier {
                tier.forget(key);
            }
        });
    }

    /// Whether a disk tier is in use now.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.disk_tier().is_some()
    }

    /// The configured tiers and how they are.
    #[must_use]
    pub fn tiers(&self) -> Vec<TierReport> {
        let memory = TierReport {
            tier: Tier::Memory,
            capacity_bytes: self.memory.capacity_bytes(),
            state: TierState::Ready,
        };
        let disk = self.disk.as_ref().map(|slot| TierReport {
            tier: Tier::Disk,
            capacity_bytes: slot.size_bytes(),
            state: match slot.trouble() {
                None => TierState::Ready,
                Some(trouble) => TierState::Down(trouble),
            },
        });
        std::iter::once(memory).chain(disk).collect()
    }

    /// Numbers for the metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            memory: MemoryStats {
                entries: self.memory.entries(),
                used_bytes: self.memory.used_bytes(),
                capacity_bytes: self.memory.capacity_bytes(),
                hits: self.memory.hits(),
                misses: self.memory.misses(),
                evictions: self.memory.evictions(),
                refused_size: self.memory.refused_size(),
            },
            disk: self.disk.as_ref().map(|slot| {
                let (tier, counters) = (slot.tier(), slot.counters());
                DiskStats {
                    in_use: tier.is_some(),
                    capacity_bytes: slot.size_bytes(),
                    entries: tier.as_ref().map_or(0, |tier| tier.entries()),
                    index_bytes: tier.as_ref().map_or(0, |tier| tier.index_bytes()),
                    waiting_bytes: tier.map_or(0, |tier| tier.waiting_bytes()),
                    hits: read(&counters.hits),
                    misses: read(&counters.misses),
                    writes: read(&counters.writes),
                    written_bytes: read(&counters.written_bytes),
                    rewrites: read(&counters.rewrites),
                    refused_full: read(&counters.refused_full),
                    refused_size: read(&counters.refused_size),
                    lost: read(&counters.lost),
                    read_errors: read(&counters.read_errors),
                    corrupt: read(&counters.corrupt),
                    failures: read(&counters.failures),
                }
            }),
            clocks: ClockStats {
                sequence: self.clocks.sequence(),
                floor: self.clocks.floor(),
                slots: self.clocks.slots() as u64,
                traffic: self.clocks.traffic() as u64,
                overflows: self.clocks.overflows(),
            },
        }
    }

    /// Ends the store: what was handed to the disk is written, the clocks and the folders are let go.
    /// Afterwards it serves from memory only, and refuses purges.
    pub async fn close(&self, deadline: Duration) -> CloseOutcome {
        self.stop.cancel();
        let supervisor = self.supervisor.lock().take();
        if let Some(supervisor) = supervisor {
            // Its end is all that matters here; a panic in it has been reported by the runtime.
            drop(supervisor.await);
        }
        let written = match &self.disk {
            Some(slot) => slot.close(deadline).await,
            None => true,
        };
        self.clocks.close().await;
        self.state_lock.lock().take();
        if written {
            CloseOutcome::Complete
        } else {
            CloseOutcome::DeadlinePassed
        }
    }

    /// As [`Store::memory`], but not counted.
    pub(super) fn look_in_memory(&self, key: &EntryKey) -> Option<Entry> {
        self.memory.peek(key)
    }

    pub(super) fn is_in_memory(&self, key: &EntryKey) -> bool {
        self.memory.contains(key)
    }

    pub(super) fn disk_tier(&self) -> Option<Arc<DiskTier>> {
        self.disk.as_ref().and_then(|slot| slot.tier())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("tiers", &self.tiers())
            .finish_non_exhaustive()
    }
}

fn claim_state(state: &Path) -> Result<FolderLock, StoreError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|error| StoreError::state("make", state, error))?;
    let file = state.join(LOCK_FILE);
    FolderLock::take(&file).map_err(|error| match error {
        LockError::Held(holder) => StoreError::InUse {
            path: state.to_owned(),
            holder,
        },
        LockError::Failed(source) => StoreError::state("lock", file, source),
    })
}
