use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, SystemClock};

use super::admission::Answers;
use super::clocks::Clocks;
use super::config::{Config, MemoryConfig, Quota};
use super::counters::read;
use super::disk::Patience;
use super::disks::{Disk, Disks};
use super::doorkeeper::Doorkeeper;
use super::doubts::Doubts;
use super::entry::Tier;
use super::error::StoreError;
use super::flights::Flights;
use super::folder::{FolderLock, Geometry, LockError};
use super::hash::HashKey;
use super::memory::MemoryTier;
use super::report::{
    ClockStats, CloseOutcome, DiskStats, MemoryStats, SiteStats, Stats, TierReport, TierState,
};
use super::site::SiteStore;
use super::sketch::Sketch;
use super::slot::{DiskPlan, DiskSlot, Wrap};
use super::turns::Turns;

const LOCK_FILE: &str = "store.lock";

/// The memory tier, the disks and the purge clocks of one node. What is in the tiers is reached by [`Store::site`].
pub struct Store {
    key: HashKey,
    tiers: Arc<Tiers>,
    sites: Mutex<BTreeMap<Box<str>, Arc<SiteStore>>>,
    clocks: Arc<Clocks>,
    stop: CancellationToken,
    supervisors: Mutex<Vec<JoinHandle<()>>>,
    state_lock: Mutex<Option<FolderLock>>,
}

/// What all sites share.
pub(super) struct Tiers {
    pub(super) memory: MemoryTier,
    pub(super) memory_config: MemoryConfig,
    pub(super) doorkeeper: Doorkeeper,
    pub(super) disks: Disks,
    pub(super) turns: Turns,
    pub(super) flights: Flights,
    pub(super) answers: Mutex<Answers>,
    /// Only where a disk waits for several requests.
    pub(super) sketch: Option<Sketch>,
    /// Objects that are written to disk behind an answer.
    pub(super) late_writes: Arc<Semaphore>,
    pub(super) clock: SharedClock,
    pub(super) runtime: Handle,
}

/// Objects of the memory tier that are written to disk at one time, since they were asked for again.
const LATE_WRITES_MAX: usize = 64;

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
    /// cannot be read. A disk that cannot be used is not an error: see [`Store::tiers`].
    pub async fn open(config: &Config, runtime: Handle) -> Result<Arc<Self>, StoreError> {
        Self::open_timed(config, runtime, SystemClock::shared()).await
    }

    /// As [`Store::open`], with a clock that tells how much may be written.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn open_timed(
        config: &Config,
        runtime: Handle,
        clock: SharedClock,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_as(config, runtime, Tuning::default(), clock).await
    }

    #[cfg(test)]
    pub(super) async fn open_tuned(
        config: &Config,
        runtime: Handle,
        tuning: Tuning,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_as(config, runtime, tuning, SystemClock::shared()).await
    }

    pub(super) async fn open_as(
        config: &Config,
        runtime: Handle,
        tuning: Tuning,
        clock: SharedClock,
    ) -> Result<Arc<Self>, StoreError> {
        let (state, max_clocks) = (config.state.clone(), config.max_clocks);
        let (paths, state_too) = (disk_paths(config), config.state.clone());
        let (state_lock, key, clocks, doubts) = runtime
            .spawn_blocking(move || {
                let lock = claim_state(&state)?;
                let key = HashKey::load(&state)?;
                let clocks = Clocks::open(&state, max_clocks)?;
                let doubts = paths.iter().map(|path| {
                    let file = doubts_file(&state_too, path);
                    Arc::new(Doubts::load(file))
                });
                let doubts: Vec<_> = doubts.collect();
                Ok::<_, StoreError>((lock, key, clocks, doubts))
            })
            .await
            .map_err(|_| StoreError::Closed)??;
        // All at once: one that hangs holds none of the others up.
        let opening: Vec<_> = config
            .disks
            .iter()
            .zip(doubts)
            .map(|(disk, doubts)| {
                let plan = DiskPlan {
                    config: disk.clone(),
                    hash_key: key.public_id(),
                    clocks: clocks.identity().to_owned(),
                    geometry: tuning.geometry,
                    device: tuning.device.clone(),
                    patience: tuning.patience,
                    runtime: runtime.clone(),
                    doubts,
                };
                runtime.spawn(DiskSlot::open(plan))
            })
            .collect();
        let mut disks = Vec::with_capacity(opening.len());
        for slot in opening {
            let slot = slot.await.map_err(|_| StoreError::Closed)?;
            disks.push(Disk::new(Arc::new(slot)));
        }
        let stop = CancellationToken::new();
        let supervisors = disks.iter().map(|disk| {
            let slot = Arc::clone(disk.slot());
            runtime.spawn(slot.supervise(stop.clone()))
        });
        let supervisors = supervisors.collect();
        let waits_for_uses = config.disks.iter().any(|disk| disk.min_uses > 1);
        Ok(Arc::new(Self {
            key,
            tiers: Arc::new(Tiers {
                memory: MemoryTier::new(&config.memory),
                memory_config: config.memory,
                doorkeeper: Doorkeeper::new(),
                disks: Disks::new(disks),
                turns: Turns::new(),
                flights: Flights::default(),
                answers: Mutex::default(),
                sketch: waits_for_uses.then(Sketch::new),
                late_writes: Arc::new(Semaphore::new(LATE_WRITES_MAX)),
                clock,
                runtime,
            }),
            sites: Mutex::default(),
            clocks: Arc::new(clocks),
            stop,
            supervisors: Mutex::new(supervisors),
            state_lock: Mutex::new(Some(state_lock)),
        }))
    }

    /// The tiers as the site with this name sees them. The same for all who ask, without a quota at first.
    #[must_use]
    pub fn site(&self, name: &str) -> Arc<SiteStore> {
        let mut sites = self.sites.lock();
        if let Some(site) = sites.get(name) {
            return Arc::clone(site);
        }
        let site = Arc::new(SiteStore::new(name, Arc::clone(&self.tiers)));
        sites.insert(name.into(), Arc::clone(&site));
        site
    }

    /// Takes the quotas of all sites; one that is not named has none, and gives back what it had for itself.
    pub fn set_quotas<'n>(&self, quotas: impl IntoIterator<Item = (&'n str, Quota)>) {
        let mut named = BTreeSet::new();
        for (name, quota) in quotas {
            self.site(name).set_quota(quota);
            named.insert(name);
        }
        let sites = self.sites.lock().clone();
        for (name, site) in sites {
            if !named.contains(&*name) {
                site.set_quota(Quota::default());
            }
        }
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

    /// Sets what the index of all disks may take of the memory. Once it takes more, the smallest objects are not
    /// written any more. 1 GiB at first.
    pub fn set_index_budget(&self, bytes: u64) {
        self.tiers.disks.set_index_bytes_max(bytes);
    }

    /// Waits until all that was handed to the disks so far has been written. Whether that happened before
    /// the deadline.
    pub async fn settle(&self, deadline: Duration) -> bool {
        let all = async {
            for tier in self.tiers.disks.iter().filter_map(Disk::tier) {
                tier.settle().await;
            }
        };
        timeout(deadline, all).await.is_ok()
    }

    /// What the entries of all memory tiers weigh.
    #[must_use]
    pub fn memory_used_bytes(&self) -> u64 {
        let sites = self.sites.lock();
        let own = sites.values().map(|site| site.memory_used_bytes());
        own.fold(self.tiers.memory.used_bytes(), u64::saturating_add)
    }

    /// Makes the memory tiers hold this many thousandths of their configured sizes, until told otherwise. Evicts
    /// at once, and blocks meanwhile: not for a runtime's own threads.
    pub fn scale_memory(&self, thousandths: u16) {
        self.tiers.memory.scale(thousandths);
        let sites: Vec<_> = self.sites.lock().values().cloned().collect();
        for site in sites {
            site.scale_memory(thousandths);
        }
    }

    /// Whether a disk is in use now.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.tiers.disks.iter().any(|disk| disk.tier().is_some())
    }

    /// The configured tiers and how they are.
    #[must_use]
    pub fn tiers(&self) -> Vec<TierReport> {
        let memory = TierReport {
            tier: Tier::Memory,
            place: None,
            capacity_bytes: self.tiers.memory.capacity_bytes(),
            state: TierState::Ready,
        };
        let disks = self.tiers.disks.iter().map(|disk| TierReport {
            tier: Tier::Disk,
            place: Some(Arc::clone(disk.label())),
            capacity_bytes: disk.slot().size_bytes(),
            state: match disk.slot().trouble() {
                None => TierState::Ready,
                Some(trouble) => TierState::Down(trouble),
            },
        });
        std::iter::once(memory).chain(disks).collect()
    }

    /// Numbers for the metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let sites: Vec<_> = self.sites.lock().values().cloned().collect();
        let sites: Vec<SiteStats> = sites.iter().map(|site| site.stats()).collect();
        let memory = &self.tiers.memory;
        Stats {
            memory: MemoryStats {
                entries: memory.entries(),
                used_bytes: memory.used_bytes(),
                capacity_bytes: memory.capacity_bytes(),
                hits: sites.iter().map(|site| site.memory_hits).sum(),
                misses: sites.iter().map(|site| site.memory_misses).sum(),
                evictions: memory.evictions(),
                refused_size: memory.refused_size(),
            },
            disks: self.tiers.disks.iter().map(disk_stats).collect(),
            index_bytes: self.tiers.disks.index_bytes(),
            index_bytes_max: self.tiers.disks.index_bytes_max(),
            sites,
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
        let supervisors = std::mem::take(&mut *self.supervisors.lock());
        for supervisor in supervisors {
            // Its end is all that matters here; a panic in it has been reported by the runtime.
            drop(supervisor.await);
        }
        let disks = Arc::clone(&self.tiers);
        let closing: Vec<_> = (0..disks.disks.len())
            .filter_map(|number| {
                let slot = Arc::clone(disks.disks.get(number)?.slot());
                let work = async move { slot.close(deadline).await };
                Some(self.tiers.runtime.spawn(work))
            })
            .collect();
        let mut written = true;
        for slot in closing {
            written &= slot.await.unwrap_or(false);
        }
        self.clocks.close().await;
        self.state_lock.lock().take();
        if written {
            CloseOutcome::Complete
        } else {
            CloseOutcome::DeadlinePassed
        }
    }

    #[cfg(test)]
    pub(super) fn disk_tiers(&self) -> Vec<Arc<super::disk::DiskTier>> {
        self.tiers.disks.iter().filter_map(Disk::tier).collect()
    }

    #[cfg(test)]
    pub(super) fn disk_tier(&self) -> Option<Arc<super::disk::DiskTier>> {
        self.tiers.disks.iter().find_map(Disk::tier)
    }
}

fn disk_stats(disk: &Disk) -> DiskStats {
    let (tier, counters) = (disk.tier(), disk.counters());
    DiskStats {
        place: Arc::clone(disk.label()),
        in_use: tier.is_some(),
        capacity_bytes: disk.slot().size_bytes(),
        entries: disk.entries(),
        index_bytes: tier.as_ref().map_or(0, |tier| tier.index_bytes()),
        waiting_bytes: tier.map_or(0, |tier| tier.waiting_bytes()),
        hits: read(&counters.hits),
        misses: read(&counters.misses),
        writes: read(&counters.writes),
        written_bytes: read(&counters.written_bytes),
        rewrites: read(&counters.rewrites),
        refused_uses: read(&counters.refused_uses),
        refused_rate: read(&counters.refused_rate),
        refused_quota: read(&counters.refused_quota),
        refused_index: read(&counters.refused_index),
        refused_full: read(&counters.refused_full),
        refused_size: read(&counters.refused_size),
        lost: read(&counters.lost),
        read_errors: read(&counters.read_errors),
        corrupt: read(&counters.corrupt),
        failures: read(&counters.failures),
        recoveries: read(&counters.recoveries),
    }
}

fn disk_paths(config: &Config) -> Vec<PathBuf> {
    config.disks.iter().map(|disk| disk.path.clone()).collect()
}

/// Where it is kept what a disk has missed.
fn doubts_file(state: &Path, disk: &Path) -> PathBuf {
    state.join(format!("disk-{:016x}.doubts", super::disks::seed_of(disk)))
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
