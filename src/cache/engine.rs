use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::SharedClock;
use crate::store::{MemoryConfig, Store};
use crate::variant::{BestCoder, CompressionWorkers, ImagePool, ImageWorkers};

use super::FillConfig;
use super::behind::Queue;
use super::blocks::Blocks;
use super::codings::{Codings, SiteCodings};
use super::dictionary::{DELTAS_WAITING, Delta, KEEPS_WAITING, Keep};
use super::flight::Flights;
use super::form::FormIds;
use super::marks::{Made, Marks};
use super::no_vary_search::Equivalents;
use super::pressure::{Gauge, Pressure, Shed};
use super::upgrade::{PICTURES_WAITING, Upgrades};

/// The cache: what all sites share.
pub struct Cache {
    pub(super) store: Arc<Store>,
    pub(super) clock: SharedClock,
    /// The runtime of fills, disk and background work.
    pub(super) fills: Handle,
    pub(super) images: Arc<ImagePool>,
    pub(super) images_max_source: u64,
    pub(super) upgrades: Upgrades,
    /// Contents that are to be kept as dictionaries.
    pub(super) keeps: Queue<Keep>,
    /// Codings against dictionaries.
    pub(super) deltas: Queue<Delta>,
    pub(super) codings: Codings,
    pub(super) form_ids: FormIds,
    pub(super) config: FillConfig,
    memory_object_max: u64,
    pub(super) flights: Arc<Flights>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) marks: Arc<Marks>,
    pub(super) made: Made,
    pub(super) equivalents: Equivalents,
    pub(super) pressure: Gauge,
    pub(super) under_way: Arc<Semaphore>,
    /// Steps of compression at one time; each is a few milliseconds of one core.
    pub(super) encoding: Arc<Semaphore>,
    /// Compressions under way, running or waiting for a step.
    pub(super) encodings: Arc<Semaphore>,
}

impl Cache {
    /// A cache over `store` whose fills run on `fills`.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        clock: SharedClock,
        fills: Handle,
        images: (Arc<ImagePool>, &ImageWorkers),
        config: FillConfig,
        memory: &MemoryConfig,
        workers: CompressionWorkers,
    ) -> Arc<Self> {
        let marks = Arc::<Marks>::default();
        let (pictures, of_pictures) = Queue::new(PICTURES_WAITING, 1);
        let (codings, of_codings) = Queue::new(workers.queue, workers.threads);
        // One at a time: each reads what its pattern has, and writes it anew.
        let (keeps, of_keeps) = Queue::new(KEEPS_WAITING, 1);
        let (deltas, of_deltas) = Queue::new(DELTAS_WAITING, workers.threads);
        let cache = Arc::new(Self {
            blocks: Blocks::new(&store, &clock, &fills, &marks),
            form_ids: FormIds::new(&store),
            store,
            clock,
            fills,
            images: images.0,
            images_max_source: images.1.max_source_bytes,
            upgrades: Upgrades {
                pictures,
                codings,
                coder: BestCoder::new(&workers),
            },
            keeps,
            deltas,
            codings: Codings::default(),
            config,
            memory_object_max: memory.max_object_bytes,
            flights: Arc::default(),
            marks,
            made: Made::default(),
            equivalents: Equivalents::default(),
            pressure: Gauge::default(),
            under_way: Arc::new(Semaphore::new(config.in_flight.min(Semaphore::MAX_PERMITS))),
            encoding: Arc::new(Semaphore::new(workers.threads.max(1))),
            encodings: Arc::new(Semaphore::new(
                workers.queue.clamp(1, Semaphore::MAX_PERMITS),
            )),
        });
        of_pictures.serve(&cache.fills, Arc::downgrade(&cache));
        of_codings.serve(&cache.fills, Arc::downgrade(&cache));
        of_keeps.serve(&cache.fills, Arc::downgrade(&cache));
        of_deltas.serve(&cache.fills, Arc::downgrade(&cache));
        cache
    }

    /// The tiers.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Wall time, as the cache sees it.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// From now on the node is this short of memory.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.pressure.set(pressure);
    }

    /// How short of memory the node is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.pressure.get()
    }

    /// What was not begun for want of memory.
    #[must_use]
    pub fn shed(&self) -> Shed {
        self.pressure.shed()
    }

    /// What codings have cost and saved, by site.
    #[must_use]
    pub fn coding_sums(&self) -> Vec<(Arc<str>, SiteCodings)> {
        self.codings.of_sites()
    }

    /// Codings that wait to be made better.
    #[must_use]
    pub fn codings_queued(&self) -> usize {
        self.upgrades.codings.queued()
    }

    /// Whether a body of this length goes into memory.
    pub(super) fn fits_memory(&self, body_bytes: u64) -> bool {
        body_bytes <= self.memory_object_max
    }

    /// Fetches from origins under way, of all that may be (see [`Cache::fills_max`]).
    #[must_use]
    pub fn fills_under_way(&self) -> usize {
        let free = self.under_way.available_permits();
        self.fills_max().saturating_sub(free)
    }

    /// Waits until no fetch from an origin is under way, but not longer than this. Others do not begin meanwhile.
    pub async fn fills_ended(&self, deadline: Duration) {
        let all = u32::try_from(self.fills_max()).unwrap_or(u32::MAX);
        // An error means that they go on; they end with the runtime then.
        drop(timeout(deadline, self.under_way.acquire_many(all)).await);
    }

    /// How many fetches from origins may be under way.
    #[must_use]
    pub fn fills_max(&self) -> usize {
        self.config.in_flight.min(Semaphore::MAX_PERMITS)
    }

    /// Fills and encodings under way.
    #[must_use]
    pub fn flights_under_way(&self) -> usize {
        self.flights.count()
    }

    /// Requests that wait for or read from fills and encodings under way.
    #[must_use]
    pub fn flight_readers(&self) -> usize {
        self.flights.readers()
    }
}
