use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::super::error::ImageError;
use super::super::recipe::Picture;
use super::craft::Craft;
use super::memory::Ticket;
use super::queue::{Entry, Pushed};
use super::sources::FoundFile;
use super::worker::Job;
use super::{JobRefused, Order, Shared, Urgency};

/// How long a job may wait that nobody waits for.
const BACKGROUND_WAIT: Duration = Duration::from_secs(60);

/// What nobody waits for may take this many times as long: an encoder that is at work cannot be stopped, and what it
/// makes would be thrown away.
const PATIENCE_BEHIND: u32 = 4;

/// What a file is taken to have until it is known.
const UNKNOWN_FILE_BYTES: u64 = 4 << 20;

/// Where the number of a job stands that is not in the queue.
const NO_JOB: u64 = 0;

/// An order that is known to be coming, before its source's bytes are there; taken back by drop.
pub(super) struct Intent<C: Craft> {
    shared: Arc<Shared<C>>,
    order: Order,
    number: u64,
    /// The job in the queue, or the last one that was there.
    job: AtomicU64,
    /// The answer was given without it.
    is_behind: AtomicBool,
}

/// A source's bytes, as an order finds them.
pub(super) enum Source<C: Craft> {
    Here(Bytes),
    /// Nobody has them: this one collects them for all.
    Yours(Collecting<C>),
    /// Another collects them.
    Coming,
    Full,
}

/// The duty to collect a source's bytes. Dropped before the end, those who wait for them are told.
pub(super) struct Collecting<C: Craft> {
    shared: Arc<Shared<C>>,
    source: u128,
    is_open: bool,
}

impl<C: Craft> Collecting<C> {
    pub(super) fn done(mut self, bytes: Bytes) {
        self.close(Some(bytes));
    }

    fn close(&mut self, bytes: Option<Bytes>) {
        self.is_open = false;
        self.shared
            .state
            .lock()
            .sources
            .collected(self.source, bytes);
        self.shared.collected.notify_waiters();
    }
}

impl<C: Craft> Drop for Collecting<C> {
    fn drop(&mut self) {
        if self.is_open {
            self.close(None);
        }
    }
}

impl<C: Craft> Intent<C> {
    pub(super) fn new(shared: &Arc<Shared<C>>, order: Order) -> Self {
        let now = shared.now();
        let mut state = shared.state.lock();
        let number = state.sources.announce(order.source, &order.recipe, now);
        drop(state);
        Self {
            shared: Arc::clone(shared),
            is_behind: AtomicBool::new(order.urgency != Urgency::Answer),
            order,
            number,
            job: AtomicU64::new(NO_JOB),
        }
    }

    /// The source's bytes, or whose turn it is to collect them. `length` is what is known of them.
    pub(super) fn source(&self, length: Option<u64>) -> Source<C> {
        let limit = self.shared.limits.max_source_bytes;
        let length = length.unwrap_or(UNKNOWN_FILE_BYTES).min(limit);
        let source = self.order.source;
        match self.shared.state.lock().sources.file(source, length) {
            FoundFile::Here(bytes) => Source::Here(bytes),
            FoundFile::Yours => Source::Yours(Collecting {
                shared: Arc::clone(&self.shared),
                source,
                is_open: true,
            }),
            FoundFile::Coming => Source::Coming,
            FoundFile::Full => {
                let refused = ImageError::QueueFull.as_str();
                self.shared.counters.refused(&self.order.site, refused);
                Source::Full
            }
        }
    }

    /// Waits for the bytes that another collects; `None` when that came to nothing.
    pub(super) async fn collected(&self) -> Option<Bytes> {
        // Ends with the one who collects, who tells when he gives up, too.
        loop {
            let mut told = std::pin::pin!(self.shared.collected.notified());
            told.as_mut().enable();
            match self.shared.state.lock().sources.look(self.order.source) {
                FoundFile::Here(bytes) => return Some(bytes),
                FoundFile::Coming => {}
                FoundFile::Yours | FoundFile::Full => return None,
            }
            told.await;
        }
    }

    /// The answer is given without it: it makes way for those that somebody waits for, and may wait for longer.
    pub(super) fn leave_behind(&self) {
        self.is_behind.store(true, Ordering::Release);
        let job = self.job.load(Ordering::Acquire);
        if self.order.urgency == Urgency::Answer {
            let mut state = self.shared.state.lock();
            state.queue.turn(job, &self.order.site, Urgency::Behind);
        }
    }

    /// Makes the picture. When those who wait have waited for long enough, `late` is told why, and says whether it
    /// goes on behind their answers. Cancel-safe: dropping the future takes a waiting job out of the queue and stops
    /// a running one between its stages.
    pub(super) async fn render(
        &self,
        file: Bytes,
        late: impl Fn(&'static str) -> bool,
    ) -> Result<Picture, JobRefused> {
        let outcome = self.rendered(file, late).await;
        if let Err(refused) = &outcome {
            let reason = refused.error.as_str();
            self.shared.counters.refused(&self.order.site, reason);
        }
        outcome
    }

    async fn rendered(
        &self,
        file: Bytes,
        late: impl Fn(&'static str) -> bool,
    ) -> Result<Picture, JobRefused> {
        let limits = &self.shared.limits;
        if file.len() as u64 > limits.max_source_bytes {
            let error = ImageError::TooLarge { what: "its file" };
            return Err(JobRefused::of_source(error));
        }
        let (started, mut starts) = oneshot::channel();
        let (done, mut result) = oneshot::channel();
        let ticket = Ticket::new(&self.shared.memory);
        // Made before the job is in the queue: whatever ends this future ends the job.
        let mut waiter = Waiter {
            shared: &self.shared,
            order: &self.order,
            job: NO_JOB,
            ticket: ticket.clone(),
            is_over: false,
        };
        let job = Job {
            recipe: self.order.recipe.clone(),
            file,
            ticket,
            came: self.shared.now(),
            started,
            done,
        };
        waiter.job = self.push(job)?;

        let may_go_on = |error: &ImageError| {
            let goes_on = !self.is_behind.load(Ordering::Acquire) && late(error.as_str());
            if goes_on {
                self.leave_behind();
            }
            goes_on
        };
        let came = Instant::now();
        // Ends when a thread takes it, or with its deadline, which moves once at most.
        loop {
            let wait = self.wait();
            match timeout_at(came + wait, &mut starts).await {
                Ok(Ok(())) => break,
                // The sender is gone: the job made room for another, or the pool is gone.
                Ok(Err(_)) => return Err(waiter.ended(self.shared.given_up())),
                Err(_) if self.wait() > wait => {}
                Err(_) => {
                    let error = ImageError::QueueTimeout(wait);
                    if !may_go_on(&error) {
                        return Err(waiter.ended(error));
                    }
                }
            }
        }
        let began = Instant::now();
        // Ends with the job, or with its deadline, which moves once at most.
        loop {
            let time = self.time();
            match timeout_at(began + time, &mut result).await {
                Ok(Ok(outcome)) => {
                    waiter.is_over = true;
                    return outcome;
                }
                Ok(Err(_)) => return Err(waiter.ended(ImageError::Closed)),
                Err(_) if self.time() > time => {}
                Err(_) => {
                    let error = ImageError::Timeout(time);
                    if !may_go_on(&error) {
                        return Err(waiter.ended(error));
                    }
                }
            }
        }
    }

    fn time(&self) -> Duration {
        let time = self.shared.limits.timeout;
        match self.is_behind.load(Ordering::Acquire) {
            true => time * PATIENCE_BEHIND,
            false => time,
        }
    }

    fn wait(&self) -> Duration {
        let wait = self.shared.limits.queue_timeout;
        match self.is_behind.load(Ordering::Acquire) {
            true => wait.max(BACKGROUND_WAIT),
            false => wait,
        }
    }

    fn push(&self, job: Job) -> Result<u64, JobRefused> {
        let mut state = self.shared.state.lock();
        if state.is_closed || state.threads == 0 {
            return Err(JobRefused::of_form(ImageError::Closed));
        }
        state.jobs += 1;
        let number = state.jobs;
        let urgency = match self.order.urgency {
            Urgency::Answer if self.is_behind.load(Ordering::Acquire) => Urgency::Behind,
            urgency => urgency,
        };
        self.job.store(number, Ordering::Release);
        let pushed = state.queue.push(Entry {
            number,
            site: Arc::clone(&self.order.site),
            source: self.order.source,
            urgency,
            job,
        });
        drop(state);
        match pushed {
            Pushed::Full => return Err(JobRefused::of_form(ImageError::QueueFull)),
            // Its waiter is told by the drop of its sender.
            Pushed::InPlaceOf(displaced) => drop(displaced),
            Pushed::Waits => {}
        }
        // All: a thread for upgrades alone may be the one that is woken.
        self.shared.arrived.notify_all();
        Ok(number)
    }
}

impl<C: Craft> Drop for Intent<C> {
    fn drop(&mut self) {
        let now = self.shared.now();
        let mut state = self.shared.state.lock();
        state.sources.leave(self.order.source, self.number, now);
        drop(state);
        // A herd may be complete without it, and what lingers has a time to go.
        self.shared.arrived.notify_all();
    }
}

/// The waiting side of a job.
struct Waiter<'a, C: Craft> {
    shared: &'a Shared<C>,
    order: &'a Order,
    job: u64,
    ticket: Ticket,
    /// The job has ended, or it is known why it has not.
    is_over: bool,
}

impl<C: Craft> Waiter<'_, C> {
    /// It is not waited for any longer, for this reason.
    fn ended(&mut self, error: ImageError) -> JobRefused {
        self.stop();
        self.is_over = true;
        JobRefused::of_form(error)
    }

    fn stop(&self) {
        self.ticket.cancel();
        let mut state = self.shared.state.lock();
        let removed = state.queue.remove(self.job, &self.order.site);
        drop(state);
        drop(removed);
        // It may wait for another's decoding.
        self.shared.arrived.notify_all();
    }
}

impl<C: Craft> Drop for Waiter<'_, C> {
    fn drop(&mut self) {
        if self.is_over || self.job == NO_JOB {
            return;
        }
        self.stop();
        let reason = ImageError::Cancelled.as_str();
        self.shared.counters.refused(&self.order.site, reason);
    }
}
