use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config::DiskConfig;
use super::counters::{DiskCounters, add};
use super::disk::{DiskTier, Patience};
use super::doubts::Doubts;
use super::folder::{DiskTrouble, Fingerprint, Folder, Geometry};

/// The place of the disk tier: it may be in use or not, and comes and goes while the node runs.
pub(super) struct DiskSlot {
    config: DiskConfig,
    hash_key: String,
    clocks: String,
    /// Overrides what follows from the configured size, in tests.
    geometry: Option<Geometry>,
    patience: Patience,
    runtime: Handle,
    tier: ArcSwapOption<DiskTier>,
    /// Kept once it is ours, also while the tier is out of use.
    folder: Mutex<Option<Arc<Folder>>>,
    trouble: Mutex<Option<DiskTrouble>>,
    counters: Arc<DiskCounters>,
    doubts: Arc<Doubts>,
}

/// What a [`DiskSlot`] is made from.
pub(super) struct DiskPlan {
    pub(super) config: DiskConfig,
    pub(super) hash_key: String,
    pub(super) clocks: String,
    pub(super) geometry: Option<Geometry>,
    pub(super) patience: Patience,
    pub(super) runtime: Handle,
    pub(super) doubts: Arc<Doubts>,
}

impl DiskSlot {
    /// The slot, with the tier in it if it could be opened.
    pub(super) async fn open(plan: DiskPlan) -> Self {
        let slot = Self {
            config: plan.config,
            hash_key: plan.hash_key,
            clocks: plan.clocks,
            geometry: plan.geometry,
            patience: plan.patience,
            runtime: plan.runtime,
            tier: ArcSwapOption::empty(),
            folder: Mutex::default(),
            trouble: Mutex::default(),
            counters: Arc::default(),
            doubts: plan.doubts,
        };
        slot.fill().await;
        slot
    }

    pub(super) fn config(&self) -> &DiskConfig {
        &self.config
    }

    pub(super) fn doubts(&self) -> &Doubts {
        &self.doubts
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
        self.config.size_bytes
    }

    /// Keeps the tier in use as far as the disk allows, until `stop`.
    pub(super) async fn supervise(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = self.patience.retry;
        loop {
            let work = async {
                if let Some(tier) = self.tier() {
                    let trouble = tier.watch().await;
                    add(&self.counters.failures, 1);
                    self.empty(trouble);
                } else {
                    sleep(pause).await;
                    pause = if self.fill().await {
                        add(&self.counters.recoveries, 1);
                        self.patience.retry
                    } else {
                        pause.saturating_mul(2).min(self.patience.retry_max)
                    };
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
        let written = match self.tier.swap(None) {
            Some(tier) => matches!(timeout(deadline, tier.close()).await, Ok(Ok(()))),
            None => true,
        };
        self.doubts.close();
        self.folder.lock().take();
        written
    }

    /// Tries to put a tier in. Whether there is one now.
    async fn fill(&self) -> bool {
        match self.try_open().await {
            Ok((tier, started_empty)) => {
                info!(folder = %self.config.path.display(), "the disk tier is in use");
                let tier = Arc::new(tier);
                self.doubts.come_back(&tier, started_empty, || {
                    self.tier.store(Some(Arc::clone(&tier)));
                    *self.trouble.lock() = None;
                });
                true
            }
            Err(trouble) => {
                self.empty(trouble);
                false
            }
        }
    }

    fn empty(&self, trouble: DiskTrouble) {
        warn!(
            folder = %self.config.path.display(),
            reason = %trouble,
            "the disk tier is not in use; the node serves from memory"
        );
        *self.trouble.lock() = Some(trouble);
        let tier = self.tier.swap(None);
        if self.doubts.leave(tier.as_deref()) {
            let doubts = Arc::clone(&self.doubts);
            self.runtime.spawn_blocking(move || doubts.write_mark());
        }
    }

    /// The tier, and whether it had to start empty.
    async fn try_open(&self) -> Result<(DiskTier, bool), DiskTrouble> {
        let geometry = match self.geometry {
            Some(geometry) => geometry,
            None => Geometry::of(self.config.size_bytes)?,
        };
        let fingerprint = Fingerprint {
            geometry,
            hash_key: self.hash_key.clone(),
            clocks: self.clocks.clone(),
        };
        let (held, path) = (self.folder.lock().clone(), self.config.path.clone());
        let start_empty = self.doubts.must_start_empty();
        let (folder, data) = self
            .runtime
            .spawn_blocking(move || {
                let folder = match held {
                    Some(folder) => folder,
                    None => Arc::new(Folder::claim(&path)?),
                };
                if start_empty {
                    folder.discard()?;
                }
                let data = folder.prepare(&fingerprint)?;
                Ok((folder, data))
            })
            .await
            .map_err(|error| DiskTrouble::Engine {
                reason: error.to_string(),
            })??;
        *self.folder.lock() = Some(folder);
        let tier = DiskTier::open(
            &data,
            geometry,
            &self.runtime,
            Arc::clone(&self.counters),
            self.patience,
        )
        .await?;
        Ok((tier, start_empty))
    }
}
