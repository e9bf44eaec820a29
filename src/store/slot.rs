use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::config::DiskConfig;
use super::counters::{DiskCounters, add};
use super::device::Device;
use super::disk::{DiskTier, Jobs, Patience, TierPlan};
use super::doubts::Doubts;
use super::folder::{DiskTrouble, Fingerprint, Folder, Geometry};

/// The first try after a tier was given up comes sooner than the others.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// With more threads than this that a disk does not let go, it is not tried: each try would cost another.
const HANGING_MAX: usize = 8;

/// Puts something between the tier and its files, in tests.
pub(super) type Wrap = Arc<dyn Fn(Arc<dyn Device>) -> Arc<dyn Device> + Send + Sync>;

/// The place of the disk tier: it may be in use or not, and comes and goes while the node runs.
pub(super) struct DiskSlot {
    plan: Arc<DiskPlan>,
    tier: ArcSwapOption<DiskTier>,
    /// Kept once it is ours, also while the tier is out of use.
    folder: Arc<Mutex<Option<Arc<Folder>>>>,
    trouble: Mutex<Option<DiskTrouble>>,
    counters: Arc<DiskCounters>,
    jobs: Jobs,
    /// An opening that took longer than the start of the node waits.
    opening: Mutex<Option<JoinHandle<Result<DiskTier, DiskTrouble>>>>,
}

/// What a [`DiskSlot`] is made from.
pub(super) struct DiskPlan {
    pub(super) config: DiskConfig,
    pub(super) hash_key: String,
    pub(super) clocks: String,
    /// Overrides what follows from the configured size, in tests.
    pub(super) geometry: Option<Geometry>,
    pub(super) device: Option<Wrap>,
    pub(super) patience: Patience,
    pub(super) runtime: Handle,
    /// What the disk has missed.
    pub(super) doubts: Arc<Doubts>,
}

impl DiskSlot {
    /// The slot, with the tier in it if it could be opened soon. An opening that takes longer goes on,
    /// and [`DiskSlot::supervise`] puts its tier in.
    pub(super) async fn open(plan: DiskPlan) -> Self {
        let slot = Self {
            plan: Arc::new(plan),
            tier: ArcSwapOption::empty(),
            folder: Arc::default(),
            trouble: Mutex::new(Some(DiskTrouble::Opening)),
            counters: Arc::default(),
            jobs: Jobs::default(),
            opening: Mutex::default(),
        };
        let mut opening = slot.plan.runtime.spawn(slot.opening());
        match timeout(slot.plan.patience.open, &mut opening).await {
            Ok(opened) => slot.settle_on(opened.unwrap_or_else(|error| Err(engine(&error)))),
            Err(_elapsed) => {
                info!(folder = %slot.plan.config.path.display(), "the disk tier is being opened");
                *slot.opening.lock() = Some(opening);
                // What is stored meanwhile passes it by.
                slot.leave(None);
            }
        }
        slot
    }

    pub(super) fn config(&self) -> &DiskConfig {
        &self.plan.config
    }

    pub(super) fn doubts(&self) -> &Doubts {
        &self.plan.doubts
    }

    pub(super) fn tier(&self) -> Option<Arc<DiskTier>> {
        self.tier.load_full()
    }

    /// Why there is no tier.
    pub(super) fn trouble(&self) -> Option<DiskTrouble> {
        self.trouble.lock().clone()
    }

    pub(super) fn counters(&self) -> &DiskCounters {
        &self.counters
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.plan.config.size_bytes
    }

    /// Keeps the tier in use as far as the disk allows, until `stop`.
    pub(super) async fn supervise(self: Arc<Self>, stop: CancellationToken) {
        let retry = self.plan.patience.retry;
        let mut pause = retry;
        loop {
            let work = async {
                let opening = self.opening.lock().take();
                if let Some(opening) = opening {
                    let opening = AbortOnDrop(opening);
                    self.settle_on(opening.outcome().await);
                } else if let Some(tier) = self.tier() {
                    let trouble = tier.watch().await;
                    add(&self.counters.failures, 1);
                    self.empty(&trouble);
                    pause = retry.min(FIRST_RETRY);
                } else {
                    sleep(pause).await;
                    pause = retry;
                    if self.jobs.under_way() > HANGING_MAX {
                        return;
                    }
                    let opened = self.opening().await;
                    add(&self.counters.recoveries, u64::from(opened.is_ok()));
                    self.settle_on(opened);
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// Ends the tier and lets go of the folder. Whether all was written before the deadline.
    pub(super) async fn close(&self, deadline: Duration) -> bool {
        *self.trouble.lock() = Some(DiskTrouble::Closed);
        let opening = self.opening.lock().take();
        drop(opening.map(AbortOnDrop));
        let written = match self.tier.swap(None) {
            Some(tier) => {
                let written = matches!(timeout(deadline, tier.close()).await, Ok(true));
                if !written {
                    self.plan.doubts.note_unsettled(&tier);
                }
                written
            }
            None => true,
        };
        let folder = self.folder.lock().take();
        self.plan.doubts.close();
        if let Some(folder) = folder {
            folder.release();
        }
        written
    }

    /// Puts a tier in, or notes why there is none.
    fn settle_on(&self, opened: Result<DiskTier, DiskTrouble>) {
        match opened {
            Ok(tier) => {
                info!(
                    folder = %self.plan.config.path.display(),
                    entries = tier.entries(),
                    "the disk tier is in use"
                );
                let tier = Arc::new(tier);
                let is_back = self.plan.doubts.come_back(&tier, || {
                    self.tier.store(Some(Arc::clone(&tier)));
                    *self.trouble.lock() = None;
                });
                if !is_back {
                    // More was replaced meanwhile than could be noted: the next try empties it.
                    self.empty(&DiskTrouble::Opening);
                }
            }
            Err(trouble) => self.empty(&trouble),
        }
    }

    fn empty(&self, trouble: &DiskTrouble) {
        let before = self.trouble.lock().replace(trouble.clone());
        // Once, not at each try.
        if before.is_none_or(|before| before.to_string() != trouble.to_string()) {
            warn!(
                folder = %self.plan.config.path.display(),
                reason = %trouble,
                "the disk tier is not in use; the node serves from memory"
            );
        }
        let tier = self.tier.swap(None);
        self.leave(tier.as_deref());
    }

    /// Notes that from now on the disk misses what happens.
    fn leave(&self, tier: Option<&DiskTier>) {
        if self.plan.doubts.leave(tier) {
            let plan = Arc::clone(&self.plan);
            let runtime = &self.plan.runtime;
            runtime.spawn_blocking(move || plan.doubts.write_mark());
        }
    }

    fn opening(&self) -> impl Future<Output = Result<DiskTier, DiskTrouble>> + Send + 'static {
        open_tier(
            Arc::clone(&self.plan),
            Arc::clone(&self.folder),
            Arc::clone(&self.counters),
            self.jobs.clone(),
        )
    }
}

async fn open_tier(
    plan: Arc<DiskPlan>,
    held: Arc<Mutex<Option<Arc<Folder>>>>,
    counters: Arc<DiskCounters>,
    jobs: Jobs,
) -> Result<DiskTier, DiskTrouble> {
    let started = Instant::now();
    let geometry = match plan.geometry {
        Some(geometry) => geometry,
        None => Geometry::of(plan.config.size_bytes)?,
    };
    let fingerprint = Fingerprint {
        geometry,
        hash_key: plan.hash_key.clone(),
        clocks: plan.clocks.clone(),
    };
    let claimed = held.lock().clone();
    let preparation = jobs.run(&plan.runtime, {
        let (path, fingerprint) = (plan.config.path.clone(), fingerprint.clone());
        let doubts = Arc::clone(&plan.doubts);
        move || {
            let folder = match claimed.filter(|folder| folder.is_held()) {
                Some(folder) => folder,
                None => Arc::new(Folder::claim(&path)?),
            };
            if doubts.must_start_empty() {
                folder.discard()?;
                doubts.begin_anew();
            }
            let files = folder.prepare(&fingerprint)?;
            Ok((folder, Arc::new(files)))
        }
    });
    let (folder, files) = preparation.await.map_err(|error| engine(&error))??;
    *held.lock() = Some(Arc::clone(&folder));
    let device: Arc<dyn Device> = Arc::clone(&files) as Arc<dyn Device>;
    let tier = DiskTier::open(TierPlan {
        device: plan
            .device
            .as_ref()
            .map_or_else(|| Arc::clone(&device), |wrap| wrap(Arc::clone(&device))),
        geometry,
        runtime: plan.runtime.clone(),
        counters,
        doubts: Arc::clone(&plan.doubts),
        patience: plan.patience,
        inspect: {
            let folder = Arc::clone(&folder);
            Arc::new(move || folder.inspect(&files, &fingerprint))
        },
        jobs,
    })
    .await?;
    // Nobody waits for it: the process may end in the middle, and the next start goes on with it.
    plan.runtime.spawn_blocking(move || folder.remove_aside());
    debug!(took = ?started.elapsed(), "the disk tier was opened");
    Ok(tier)
}

fn engine(error: &dyn std::fmt::Display) -> DiskTrouble {
    DiskTrouble::Engine {
        reason: error.to_string(),
    }
}

/// Ends an opening that nobody waits for any more.
struct AbortOnDrop(JoinHandle<Result<DiskTier, DiskTrouble>>);

impl AbortOnDrop {
    async fn outcome(mut self) -> Result<DiskTier, DiskTrouble> {
        let joined = (&mut self.0).await;
        joined.unwrap_or_else(|error| Err(engine(&error)))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
