use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::config::ImageWorkers;
use super::cook::{Watch, cook_file};
use super::encode::Effort;
use super::error::ImageError;
use super::recipe::{Picture, Recipe};

/// How long a job may wait that nobody waits for.
const BACKGROUND_WAIT: Duration = Duration::from_secs(30);

/// Below everything that answers requests.
const NICENESS: i32 = 10;
/// The AV1 encoder recurses over blocks with large frames.
const STACK_BYTES: usize = 8 << 20;

/// Threads that make pictures, apart from those that answer requests: a bounded queue, a budget of memory
/// and deadlines. A picture that breaks its codec breaks only its own job.
pub struct ImagePool {
    shared: Arc<Shared>,
}

/// Counters since the start, and what is going on now.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageStats {
    /// Jobs that a thread has finished, well or not.
    pub jobs: u64,
    /// Time of the threads spent on them.
    pub busy: Duration,
    /// Source bytes of the pictures made.
    pub bytes_in: u64,
    /// Bytes of the pictures made.
    pub bytes_out: u64,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// Memory reserved by running jobs.
    pub memory_bytes: u64,
    /// How often each reason of [`ImageError::as_str`] was given.
    pub refusals: Vec<(&'static str, u64)>,
}

type Cook = dyn Fn(&Recipe, &[u8], &Ticket) -> Result<Picture, ImageError> + Send + Sync;

struct Shared {
    limits: ImageWorkers,
    cook: Box<Cook>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    memory: Arc<Memory>,
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    is_closed: bool,
}

struct Job {
    recipe: Recipe,
    source: Bytes,
    ticket: Ticket,
    started: oneshot::Sender<()>,
    done: oneshot::Sender<Result<Picture, ImageError>>,
}

#[derive(Default)]
struct Counters {
    jobs: AtomicU64,
    busy_nanoseconds: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    refusals: [AtomicU64; ImageError::NAMES.len()],
}

impl ImagePool {
    /// Starts the threads. They end when the pool is dropped, each after its job.
    #[must_use]
    pub fn new(limits: ImageWorkers) -> Self {
        Self::with_cook(
            limits,
            Box::new(move |recipe, source, ticket| {
                cook_file(recipe, Effort::First, source, &limits, ticket)
            }),
        )
    }

    fn with_cook(limits: ImageWorkers, cook: Box<Cook>) -> Self {
        let shared = Arc::new(Shared {
            limits,
            cook,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            memory: Arc::new(Memory {
                limit: limits.memory_bytes,
                used: Mutex::new(0),
                freed: Condvar::new(),
            }),
            counters: Counters::default(),
        });
        for number in 0..limits.threads.max(1) {
            let worker = Arc::clone(&shared);
            let spawned = std::thread::Builder::new()
                .name(format!("image-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || worker.work());
            match spawned {
                Ok(_) => shared.queue.lock().threads += 1,
                // Fewer threads make fewer pictures; the originals are served.
                Err(error) => tracing::warn!(%error, "an image thread could not be started"),
            }
        }
        Self { shared }
    }

    /// Makes a picture. May be awaited on any tokio runtime with a timer.
    ///
    /// Cancel-safe: dropping the future takes a waiting job out of the queue and stops a running one
    /// between its stages.
    ///
    /// # Errors
    /// See [`ImageError`]; in every case the original can be served.
    pub async fn render(&self, recipe: Recipe, source: Bytes) -> Result<Picture, ImageError> {
        let wait = self.shared.limits.queue_timeout;
        self.counted(recipe, source, wait).await
    }

    /// As [`ImagePool::render`], behind an answer that does not wait for it: a job may then stand in the
    /// queue for longer, so that a page full of pictures is done by the time it is asked for again.
    ///
    /// # Errors
    /// As there.
    pub async fn render_behind(
        &self,
        recipe: Recipe,
        source: Bytes,
    ) -> Result<Picture, ImageError> {
        let wait = self.shared.limits.queue_timeout.max(BACKGROUND_WAIT);
        self.counted(recipe, source, wait).await
    }

    async fn counted(
        &self,
        recipe: Recipe,
        source: Bytes,
        wait: Duration,
    ) -> Result<Picture, ImageError> {
        let source_bytes = as_count(source.len());
        let outcome = self.rendered(recipe, source, wait).await;
        let counters = &self.shared.counters;
        match &outcome {
            Ok(picture) => {
                counters.bytes_in.fetch_add(source_bytes, Ordering::Relaxed);
                let made = as_count(picture.bytes.len());
                counters.bytes_out.fetch_add(made, Ordering::Relaxed);
            }
            Err(error) => counters.refused(error),
        }
        outcome
    }

    /// Counters for the metrics.
    #[must_use]
    pub fn stats(&self) -> ImageStats {
        let counters = &self.shared.counters;
        let refusals = ImageError::NAMES
            .into_iter()
            .zip(&counters.refusals)
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .collect();
        ImageStats {
            jobs: counters.jobs.load(Ordering::Relaxed),
            busy: Duration::from_nanos(counters.busy_nanoseconds.load(Ordering::Relaxed)),
            bytes_in: counters.bytes_in.load(Ordering::Relaxed),
            bytes_out: counters.bytes_out.load(Ordering::Relaxed),
            queued: self.shared.queue.lock().jobs.len(),
            memory_bytes: *self.shared.memory.used.lock(),
            refusals,
        }
    }

    async fn rendered(
        &self,
        recipe: Recipe,
        source: Bytes,
        wait: Duration,
    ) -> Result<Picture, ImageError> {
        let limits = &self.shared.limits;
        if as_count(source.len()) > limits.max_source_bytes {
            return Err(ImageError::TooLarge { what: "its file" });
        }
        let (started, starts) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let ticket = Ticket::new(&self.shared.memory);
        // Made before the job is in the queue: whatever ends this future ends the job.
        let mut waiter = Waiter {
            shared: &self.shared,
            ticket: ticket.clone(),
            is_served: false,
        };
        self.shared.push(Job {
            recipe,
            source,
            ticket,
            started,
            done,
        })?;

        // A sender that is gone belongs to a pool that is gone.
        timeout(wait, starts)
            .await
            .map_err(|_| ImageError::QueueTimeout(wait))?
            .map_err(|_| ImageError::Closed)?;
        let outcome = timeout(limits.timeout, result)
            .await
            .map_err(|_| ImageError::Timeout(limits.timeout))?
            .map_err(|_| ImageError::Closed)?;
        waiter.is_served = true;
        outcome
    }
}

impl Drop for ImagePool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), ImageError> {
        let mut queue = self.queue.lock();
        if queue.is_closed || queue.threads == 0 {
            return Err(ImageError::Closed);
        }
        if queue.jobs.len() >= self.limits.queue {
            return Err(ImageError::QueueFull);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// A thread's life; ends with the pool.
    fn work(&self) {
        be_nice();
        while let Some(job) = self.next() {
            self.run(job);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        // Ends with a job, or when the pool is dropped.
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            self.arrived.wait(&mut queue);
        }
    }

    fn run(&self, job: Job) {
        if job.ticket.is_cancelled() || job.started.send(()).is_err() {
            return;
        }
        let begun = Instant::now();
        let cooked = catch_unwind(AssertUnwindSafe(|| {
            (self.cook)(&job.recipe, &job.source, &job.ticket)
        }));
        let outcome = cooked.unwrap_or(Err(ImageError::Panicked));
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.jobs.fetch_add(1, Ordering::Relaxed);
        self.counters
            .busy_nanoseconds
            .fetch_add(took, Ordering::Relaxed);
        // An error here is a waiter that gave up, which it has counted itself.
        let _unwanted = job.done.send(outcome);
    }
}

impl Counters {
    fn refused(&self, error: &ImageError) {
        let counters = ImageError::NAMES.iter().zip(&self.refusals);
        for (_, count) in counters.filter(|(name, _)| **name == error.as_str()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The waiting side of a job.
struct Waiter<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    is_served: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.is_served {
            return;
        }
        self.ticket.cancel();
        self.shared
            .queue
            .lock()
            .jobs
            .retain(|job| !job.ticket.is_same(&self.ticket));
    }
}

/// What a job and its waiter share.
#[derive(Clone)]
struct Ticket {
    cancelled: Arc<AtomicBool>,
    memory: Arc<Memory>,
}

/// The memory of all jobs together.
struct Memory {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Ticket {
    fn new(memory: &Arc<Memory>) -> Self {
        Self {
            cancelled: Arc::default(),
            memory: Arc::clone(memory),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cancelled, &other.cancelled)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        // Under the lock, so that a job that is about to wait for memory cannot miss it.
        let _used = self.memory.used.lock();
        self.memory.freed.notify_all();
    }
}

impl Watch for Ticket {
    type Reserved = Reservation;

    fn reserve(&self, bytes: u64) -> Result<Reservation, ImageError> {
        let memory = &self.memory;
        if bytes > memory.limit {
            return Err(ImageError::TooLarge {
                what: "what decoding would take",
            });
        }
        let mut used = memory.used.lock();
        // Ends when others free enough, or with the deadline, which cancels.
        while used.saturating_add(bytes) > memory.limit {
            self.check()?;
            memory.freed.wait(&mut used);
        }
        *used += bytes;
        Ok(Reservation {
            memory: Arc::clone(memory),
            bytes,
        })
    }

    fn check(&self) -> Result<(), ImageError> {
        if self.is_cancelled() {
            Err(ImageError::Cancelled)
        } else {
            Ok(())
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.memory.used.lock();
        *used = used.saturating_sub(self.bytes);
        self.memory.freed.notify_all();
    }
}

/// On Linux niceness belongs to the thread; elsewhere it would slow the whole process.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "an image thread keeps its priority");
    }
}

fn as_count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::super::config::{ImageConfig, ImageFormat};
    use super::super::recipe::{Media, recipe};
    use super::super::testing;
    use super::super::wish::wish_of;
    use super::*;

    fn recipe_of(query: &str) -> Recipe {
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
        recipe(&config, &wish.unwrap(), true, true)
    }

    fn picture() -> Picture {
        Picture {
            media: Media::Picture(ImageFormat::Png),
            bytes: Bytes::from_static(b"made"),
            width: 1,
            height: 1,
            may_improve: false,
            detail: String::new(),
        }
    }

    fn refusals(pool: &ImagePool, name: &str) -> u64 {
        let stats = pool.stats();
        stats.refusals.iter().find(|(n, _)| *n == name).unwrap().1
    }

    /// One thread whose jobs say when they begin and wait for a word to go on.
    fn gated(limits: ImageWorkers) -> (Arc<ImagePool>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begin, begun) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let gate = Mutex::new(gate);
        let pool = ImagePool::with_cook(
            limits,
            Box::new(move |_, _, ticket| {
                begin.send(()).unwrap();
                gate.lock().recv().unwrap();
                ticket.check()?;
                Ok(picture())
            }),
        );
        (Arc::new(pool), begun, go)
    }

    /// Lets the other tasks run until the thread has taken a job.
    async fn begins(begun: &mpsc::Receiver<()>) {
        while begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Only sure while the thread is busy.
    async fn queued(pool: &ImagePool, jobs: usize) {
        while pool.stats().queued != jobs {
            tokio::task::yield_now().await;
        }
    }

    fn start(pool: &Arc<ImagePool>) -> tokio::task::JoinHandle<Result<Picture, ImageError>> {
        let pool = Arc::clone(pool);
        tokio::spawn(async move { pool.render(recipe_of(""), Bytes::from_static(b"abc")).await })
    }

    #[tokio::test]
    async fn pictures_are_made_and_counted() {
        let pool = ImagePool::new(ImageWorkers::default());
        let source = Bytes::from(testing::png(&testing::noise(32, 32)));
        let made = pool
            .render(recipe_of("width=16&format=jpeg"), source.clone())
            .await
            .unwrap();
        assert_eq!(
            (made.media, made.width),
            (Media::Picture(ImageFormat::Jpeg), 16)
        );
        let stats = pool.stats();
        assert_eq!((stats.jobs, stats.queued, stats.memory_bytes), (1, 0, 0));
        assert_eq!(stats.bytes_in, as_count(source.len()));
        assert_eq!(stats.bytes_out, as_count(made.bytes.len()));
        assert!(stats.busy > Duration::ZERO);
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_job() {
        let pool = ImagePool::with_cook(
            ImageWorkers::default(),
            Box::new(|_, source, ticket| {
                let _reserved = ticket.reserve(100)?;
                assert_ne!(source, b"bad");
                Ok(picture())
            }),
        );
        let bad = pool.render(recipe_of(""), Bytes::from_static(b"bad")).await;
        assert_eq!(bad, Err(ImageError::Panicked));
        let good = pool
            .render(recipe_of(""), Bytes::from_static(b"good"))
            .await;
        assert_eq!(good, Ok(picture()));
        assert_eq!(pool.stats().memory_bytes, 0);
        assert_eq!(refusals(&pool, "panicked"), 1);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (pool, begun, go) = gated(ImageWorkers {
            queue: 1,
            ..ImageWorkers::default()
        });
        let running = start(&pool);
        begins(&begun).await;
        let waiting = start(&pool);
        queued(&pool, 1).await;
        let refused = pool.render(recipe_of(""), Bytes::new()).await;
        assert_eq!(refused, Err(ImageError::QueueFull));
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
        assert_eq!(refusals(&pool, "queue-full"), 1);
    }

    #[tokio::test]
    async fn a_dropped_waiter_leaves_the_queue() {
        let (pool, begun, go) = gated(ImageWorkers::default());
        let running = start(&pool);
        begins(&begun).await;
        let waiting = start(&pool);
        queued(&pool, 1).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(pool.stats().queued, 0);
        go.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
        assert_eq!(pool.stats().jobs, 1, "the other never began");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_and_running_have_deadlines() {
        let (pool, begun, go) = gated(ImageWorkers::default());
        let slow = start(&pool);
        // Real time: the thread takes the job whether or not the clock moves.
        tokio::task::spawn_blocking(move || begun.recv().unwrap())
            .await
            .unwrap();
        let late = pool.render(recipe_of(""), Bytes::new()).await;
        assert_eq!(late, Err(ImageError::QueueTimeout(Duration::from_secs(2))));
        let slow = slow.await.unwrap();
        assert_eq!(slow, Err(ImageError::Timeout(Duration::from_secs(5))));
        go.send(()).unwrap();
    }

    #[tokio::test]
    async fn too_large_a_file_is_refused_before_the_queue() {
        let pool = ImagePool::new(ImageWorkers {
            max_source_bytes: 2,
            ..ImageWorkers::default()
        });
        let refused = pool.render(recipe_of(""), Bytes::from_static(b"abc")).await;
        assert_eq!(refused.unwrap_err().as_str(), "too-large");
        assert_eq!(pool.stats().jobs, 0);
    }

    #[tokio::test]
    async fn a_closed_pool_takes_no_more() {
        let (pool, begun, go) = gated(ImageWorkers::default());
        let running = start(&pool);
        begins(&begun).await;
        pool.shared.queue.lock().is_closed = true;
        let refused = pool.render(recipe_of(""), Bytes::new()).await;
        assert_eq!(refused, Err(ImageError::Closed));
        go.send(()).unwrap();
        assert!(running.await.unwrap().is_ok(), "a running job is finished");
    }

    #[test]
    fn memory_is_waited_for_and_given_back() {
        let memory = Arc::new(Memory {
            limit: 100,
            used: Mutex::new(0),
            freed: Condvar::new(),
        });
        let first = Ticket::new(&memory).reserve(60).unwrap();
        let second = Ticket::new(&memory);
        let waiting = second.clone();
        let thread = std::thread::spawn(move || waiting.reserve(60).map(|r| r.bytes));
        drop(first);
        assert_eq!(thread.join().unwrap(), Ok(60));
        assert_eq!(*memory.used.lock(), 0);

        let _held = Ticket::new(&memory).reserve(100).unwrap();
        let third = Ticket::new(&memory);
        let waiting = third.clone();
        let thread = std::thread::spawn(move || waiting.reserve(1).map(|r| r.bytes));
        third.cancel();
        assert_eq!(thread.join().unwrap(), Err(ImageError::Cancelled));
        let refused = second.reserve(101).map(|r| r.bytes);
        assert_eq!(refused.unwrap_err().as_str(), "too-large");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn threads_are_nice_and_the_process_is_not() {
        let (tell, told) = mpsc::channel();
        let pool = ImagePool::with_cook(
            ImageWorkers::default(),
            Box::new(move |_, _, _| {
                tell.send(rustix::process::getpriority_process(None).unwrap())
                    .unwrap();
                Ok(picture())
            }),
        );
        let own = rustix::process::getpriority_process(None).unwrap();
        pool.render(recipe_of(""), Bytes::new()).await.unwrap();
        assert_eq!(told.recv().unwrap(), (own + NICENESS).min(19));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
    }
}
