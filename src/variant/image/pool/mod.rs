//! Threads that make pictures, apart from those that answer requests. Jobs of one source share its bytes and one
//! decoding; sites share the threads' time; queue, memory and time are bounded, and a picture that breaks its
//! codec breaks only its own job.

mod announced;
mod craft;
mod memory;
mod queue;
mod sources;
mod stats;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::config::ImageWorkers;
use super::error::ImageError;
use super::recipe::{Picture, Recipe};

use self::announced::{Collecting, Intent, Source};
use self::craft::{Codecs, Craft};
use self::memory::Memory;
use self::queue::Queue;
pub use self::queue::Urgency;
use self::sources::Sources;
use self::stats::Counters;
pub use self::stats::{FormatImages, ImageStats, SiteImages};
use self::worker::{Job, Post};

/// The part of the memory for pictures that files may take which wait for a thread.
const FILES_SHARE: u64 = 4;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose picture it is.
    pub site: Arc<str>,
    /// The version of the source's bytes: orders with the same have the same bytes.
    pub source: u128,
    /// How it is made.
    pub recipe: Recipe,
    /// How much it is wanted.
    pub urgency: Urgency,
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRefused {
    /// The reason.
    pub error: ImageError,
    /// Whether the source is to blame, so that no other recipe will do better.
    pub of_source: bool,
}

impl JobRefused {
    fn of_form(error: ImageError) -> Self {
        Self {
            error,
            of_source: false,
        }
    }

    fn of_source(error: ImageError) -> Self {
        Self {
            of_source: error.is_permanent(),
            error,
        }
    }
}

/// The threads, their queue and their memory.
pub struct ImagePool(Pool<Codecs>);

/// An order that is known to be coming, though its source's bytes may not be there yet: what is decoded meanwhile is
/// decoded for it, too. Dropped, it is taken back.
pub struct Announced(Intent<Codecs>);

/// A source's bytes, as an order finds them.
pub enum SourceBytes {
    /// Another order has brought them.
    Here(Bytes),
    /// Nobody has them: they are to be collected and handed in.
    Yours(Collector),
    /// Another order is collecting them; see [`Announced::collected`].
    Coming,
    /// So many files wait for a thread that there is no memory for another.
    Full,
}

/// The duty to collect a source's bytes for all who want something of it. Dropped, they are told that it failed.
pub struct Collector(Collecting<Codecs>);

impl ImagePool {
    /// Starts the threads. They end when the pool is dropped, each after its job.
    #[must_use]
    pub fn new(limits: ImageWorkers) -> Self {
        Self(Pool::new(limits, Codecs { limits }))
    }

    /// Announces an order.
    #[must_use]
    pub fn announce(&self, order: Order) -> Announced {
        Announced(Intent::new(&self.0.shared, order))
    }

    /// Counters for the metrics.
    #[must_use]
    pub fn stats(&self) -> ImageStats {
        self.0.stats()
    }

    /// Whether a new job would have to wait for others.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let state = self.0.shared.state.lock();
        state.running >= state.threads || state.queue.waiting(Urgency::Answer) > 0
    }

    /// Counts an answer that went out without the form that it should have had.
    pub fn fell_back(&self, site: &Arc<str>, reason: &'static str) {
        self.0.shared.counters.fell_back(site, reason);
    }

    /// Counts what became of trying to make a better one.
    pub fn upgraded(&self, site: &Arc<str>, outcome: &'static str) {
        self.0.shared.counters.upgraded(site, outcome);
    }
}

impl Announced {
    /// The source's bytes, or whose turn it is to collect them. `length` is what is known of them.
    #[must_use]
    pub fn source(&self, length: Option<u64>) -> SourceBytes {
        match self.0.source(length) {
            Source::Here(bytes) => SourceBytes::Here(bytes),
            Source::Yours(collecting) => SourceBytes::Yours(Collector(collecting)),
            Source::Coming => SourceBytes::Coming,
            Source::Full => SourceBytes::Full,
        }
    }

    /// Waits for the bytes that another order collects; `None` when that came to nothing. Cancel-safe.
    pub async fn collected(&self) -> Option<Bytes> {
        self.0.collected().await
    }

    /// The answer is given without it: it makes way for those that somebody waits for, and may stand in the queue for
    /// longer, so that a page full of pictures is done by the time it is asked for again.
    pub fn leave_behind(&self) {
        self.0.leave_behind();
    }

    /// Makes the picture. May be awaited on any tokio runtime with a timer. When those who wait have waited for long
    /// enough, `late` is told why, and says whether it goes on behind their answers, as after
    /// [`Announced::leave_behind`].
    ///
    /// Cancel-safe: dropping the future takes a waiting job out of the queue and stops a running one between its
    /// stages.
    ///
    /// # Errors
    /// See [`JobRefused`]; in every case the original can be served.
    pub async fn render(
        &self,
        file: Bytes,
        late: impl Fn(&'static str) -> bool,
    ) -> Result<Picture, JobRefused> {
        self.0.render(file, late).await
    }
}

impl Collector {
    /// Hands the bytes in.
    pub fn done(self, bytes: Bytes) {
        self.0.done(bytes);
    }
}

struct Pool<C: Craft> {
    shared: Arc<Shared<C>>,
}

/// What the threads and those who wait for them share.
struct Shared<C: Craft> {
    limits: ImageWorkers,
    craft: C,
    began: Instant,
    state: Arc<Mutex<State<C::Decoded>>>,
    /// A job, room, a decoding that is done, or the end.
    arrived: Condvar,
    /// A source's bytes are there, or will not be.
    collected: Notify,
    memory: Arc<Memory>,
    counters: Counters,
}

struct State<D> {
    queue: Queue<Job>,
    sources: Sources<D>,
    /// Jobs so far: each has a number of its own.
    jobs: u64,
    threads: usize,
    /// Threads that are at a job, but for upgrades.
    running: usize,
    is_closed: bool,
}

impl<D> State<D> {
    fn parts(&mut self) -> (&mut Queue<Job>, &Sources<D>) {
        (&mut self.queue, &self.sources)
    }
}

impl<C: Craft> Pool<C> {
    fn new(limits: ImageWorkers, craft: C) -> Self {
        let state = Arc::new(Mutex::new(State {
            queue: Queue::new(limits.queue),
            sources: Sources::new(limits.memory_bytes / FILES_SHARE),
            jobs: 0,
            threads: 0,
            running: 0,
            is_closed: false,
        }));
        // Not held: what is kept holds its part of the memory.
        let kept = Arc::downgrade(&state);
        let spare = move || {
            let spared = kept
                .upgrade()
                .and_then(|state| state.lock().sources.spare());
            spared.is_some()
        };
        let shared = Arc::new(Shared {
            limits,
            craft,
            began: Instant::now(),
            state,
            arrived: Condvar::new(),
            collected: Notify::new(),
            memory: Memory::new(limits.memory_bytes, Box::new(spare)),
            counters: Counters::default(),
        });
        for number in 0..limits.threads.max(1) {
            if shared.start_thread(format!("image-{number}"), Post::Answers) {
                shared.state.lock().threads += 1;
            }
        }
        // One more, since what it does is never worth letting anybody wait for.
        shared.start_thread("image-best".to_owned(), Post::Upgrades);
        Self { shared }
    }

    fn stats(&self) -> ImageStats {
        let shared = &self.shared;
        let state = shared.state.lock();
        let queued = Urgency::ALL.map(|urgency| (urgency, state.queue.waiting(urgency)));
        let decoded_bytes = state.sources.kept_bytes();
        drop(state);
        ImageStats {
            queued,
            decoded_bytes,
            memory_bytes: shared.memory.used(),
            ..shared.counters.stats()
        }
    }
}

impl<C: Craft> Drop for Pool<C> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_closed = true;
        state.queue.clear();
        state.sources.clear();
        drop(state);
        self.shared.arrived.notify_all();
    }
}

impl<C: Craft> Shared<C> {
    /// Time since the pool was made.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Why a job is gone from the queue that nobody took out of it.
    fn given_up(&self) -> ImageError {
        match self.state.lock().is_closed {
            true => ImageError::Closed,
            false => ImageError::QueueFull,
        }
    }
}
