use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
#[cfg(not(target_os = "linux"))]
use tokio::time::Instant;

use super::super::cook::Watch;
use super::super::error::ImageError;
use super::super::recipe::{Picture, Recipe};
use super::craft::{Craft, Decoding, Look};
use super::memory::{Reservation, Ticket};
use super::queue::Entry;
use super::sources::{Found, Kept};
use super::{JobRefused, Shared, Urgency};

/// Below everything that answers requests.
pub(super) const NICENESS: i32 = 10;
/// What nobody waits for gets what nobody else wants of the processor.
pub(super) const NICENESS_OF_UPGRADES: i32 = 19;
/// The AV1 encoder recurses over blocks with large frames.
const STACK_BYTES: usize = 8 << 20;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    /// Answers, and what goes on behind them.
    Answers,
    /// Upgrades, while nothing else waits.
    Upgrades,
}

/// What a thread needs to know of a job.
pub(super) struct Job {
    pub(super) recipe: Recipe,
    pub(super) file: Bytes,
    pub(super) ticket: Ticket,
    pub(super) came: Duration,
    pub(super) started: oneshot::Sender<()>,
    pub(super) done: oneshot::Sender<Result<Picture, JobRefused>>,
}

impl<C: Craft> Shared<C> {
    /// Starts a thread. It ends with the pool, after its job.
    pub(super) fn start_thread(self: &Arc<Self>, name: String, post: Post) -> bool {
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name(name)
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work(post));
        // Fewer threads make fewer pictures; the originals are served.
        if let Err(error) = &spawned {
            tracing::warn!(%error, "an image thread could not be started");
        }
        spawned.is_ok()
    }

    /// A thread's life.
    fn work(&self, post: Post) {
        be_nice(match post {
            Post::Answers => NICENESS,
            Post::Upgrades => NICENESS_OF_UPGRADES,
        });
        // Ends when the pool is closed.
        while let Some(entry) = self.next(post) {
            self.run(entry);
        }
    }

    fn next(&self, post: Post) -> Option<Entry<Job>> {
        let mut state = self.state.lock();
        // Ends with a job, or when the pool is closed.
        loop {
            if state.is_closed {
                return None;
            }
            let now = self.now();
            let expired = state.sources.expired(now);
            if !expired.is_empty() {
                // Its memory is given back without the lock.
                drop(state);
                drop(expired);
                state = self.state.lock();
                continue;
            }
            let (queue, sources) = state.parts();
            let is_free = Urgency::ALL
                .into_iter()
                .filter(|urgency| *urgency != Urgency::Upgrade)
                .all(|urgency| queue.waiting(urgency) == 0);
            let least = match post {
                Post::Answers => Some(Urgency::Behind),
                Post::Upgrades => is_free.then_some(Urgency::Upgrade),
            };
            let later = Cell::new(None);
            let taken = least.and_then(|least| {
                queue.take(least, |entry| match sources.ready_at(entry.source) {
                    Some(at) if at <= now => true,
                    Some(at) => {
                        let soonest = later.get().map_or(at, |later: Duration| later.min(at));
                        later.set(Some(soonest));
                        false
                    }
                    None => false,
                })
            });
            if let Some(entry) = taken {
                state.running += usize::from(entry.urgency != Urgency::Upgrade);
                return Some(entry);
            }
            let soonest = sources.next_expiry().into_iter().chain(later.get()).min();
            match soonest {
                Some(at) => {
                    self.arrived.wait_for(&mut state, at.saturating_sub(now));
                }
                None => self.arrived.wait(&mut state),
            }
        }
    }

    fn run(&self, entry: Entry<Job>) {
        let Entry {
            site,
            source,
            urgency,
            job,
            ..
        } = entry;
        let mut spent = Duration::ZERO;
        if !job.ticket.is_cancelled() && job.started.send(()).is_ok() {
            self.counters.waited(self.now().saturating_sub(job.came));
            let begun = processor_time();
            let ticket = match urgency {
                Urgency::Answer | Urgency::Behind => job.ticket.clone(),
                Urgency::Upgrade => job.ticket.modest(),
            };
            let outcome = self.make(source, urgency, &job.recipe, &job.file, &ticket);
            spent = processor_time().saturating_sub(begun);
            let made = outcome.as_ref().ok();
            let lengths = made.map(|picture| (job.file.len() as u64, picture.bytes.len() as u64));
            let format = made.map_or("none", |picture| picture.media.name());
            self.counters.job(&site, format, spent, lengths);
            // An error here is a waiter that gave up, which it has counted itself.
            let _unwanted = job.done.send(outcome);
        }
        let mut state = self.state.lock();
        state.queue.spent(&site, spent);
        state.running -= usize::from(urgency != Urgency::Upgrade);
        drop(state);
        // A job of the same source may have waited for this one's decoding.
        self.arrived.notify_all();
    }

    fn make(
        &self,
        source: u128,
        urgency: Urgency,
        recipe: &Recipe,
        file: &[u8],
        ticket: &Ticket,
    ) -> Result<Picture, JobRefused> {
        // Ends with a picture or a refusal: another turn is only taken when what was decoded has been given up.
        loop {
            ticket.check().map_err(JobRefused::of_form)?;
            let all = self.state.lock().sources.recipes(source);
            let look = guarded(|| self.craft.look(recipe, &all, file))
                .map_err(|error| self.fail(source, error))?;
            let cook = |kept: &Kept<C::Decoded>| {
                let what = (recipe, urgency);
                guarded(|| self.craft.cook(what, &kept.decoded, file, ticket))
                    .map_err(JobRefused::of_form)
            };
            match self.claim(source, &look, ticket)? {
                Claimed::Kept => {
                    let reserved = ticket
                        .reserve(look.cooking_bytes)
                        .map_err(JobRefused::of_form)?;
                    let now = self.now();
                    let kept = self.state.lock().sources.kept(source, look.own, now);
                    let Some(kept) = kept else { continue };
                    self.counters.shared();
                    let cooked = cook(&kept);
                    // First this: whoever waits for memory may then give up what was decoded.
                    drop(kept);
                    drop(reserved);
                    return cooked;
                }
                Claimed::Decoding(decoding) => {
                    let (kept, reserved) = self.decode(decoding, recipe, file, &look, ticket)?;
                    let cooked = cook(&kept);
                    drop(kept);
                    drop(reserved);
                    return cooked;
                }
            }
        }
    }

    /// Remembers that the source cannot be had, for the jobs that are still to come.
    fn fail(&self, source: u128, error: ImageError) -> JobRefused {
        let now = self.now();
        let mut state = self.state.lock();
        state.sources.decoded(source, Some(Err(&error)), now);
        JobRefused::of_source(error)
    }

    fn claim(
        &self,
        source: u128,
        look: &Look,
        ticket: &Ticket,
    ) -> Result<Claimed<'_, C>, JobRefused> {
        let mut state = self.state.lock();
        // Ends when the one who decodes is done, which wakes, or with the deadline, which cancels.
        loop {
            match state.sources.claim(source, look.own) {
                Found::Kept => return Ok(Claimed::Kept),
                Found::Yours => {
                    return Ok(Claimed::Decoding(Claim {
                        shared: self,
                        source,
                        is_open: true,
                    }));
                }
                Found::Failed(error) => return Err(JobRefused::of_source(error)),
                Found::Busy => {
                    ticket.check().map_err(JobRefused::of_form)?;
                    self.arrived.wait(&mut state);
                }
            }
        }
    }

    /// Decodes what all who are announced need. The memory is asked for together with that of this job's cooking.
    fn decode(
        &self,
        mut claim: Claim<'_, C>,
        recipe: &Recipe,
        file: &[u8],
        look: &Look,
        ticket: &Ticket,
    ) -> Result<Cookable<C::Decoded>, JobRefused> {
        let bytes = look.decoding_bytes.saturating_add(look.cooking_bytes);
        let reserved = ticket.reserve(bytes);
        if look.decoding_bytes <= self.limits.memory_bytes
            && let Err(error) = reserved
        {
            // Another recipe may fit.
            return Err(JobRefused::of_form(error));
        }
        let decoded = reserved.and_then(|reserved| {
            ticket.check()?;
            self.counters.decoded();
            let decoded = guarded(|| self.craft.decode(recipe, file, look.together, ticket))?;
            Ok((reserved, decoded))
        });
        let (mut reserved, decoded) = match decoded {
            Ok(decoded) => decoded,
            // Only this job is not wanted any more: the claim passes on.
            Err(ImageError::Cancelled) => return Err(JobRefused::of_form(ImageError::Cancelled)),
            // Its first frame alone may fit.
            Err(error @ ImageError::TooLarge { .. }) if look.own.all_frames => {
                return Err(JobRefused::of_form(error));
            }
            Err(error) => {
                claim.close(Some(Err(&error)));
                return Err(JobRefused::of_source(error));
            }
        };
        let Decoding {
            decoded,
            demand,
            bytes,
        } = decoded;
        let cooking = reserved.split(look.cooking_bytes);
        let kept = Arc::new(Kept {
            decoded,
            demand,
            reserved: reserved.split(bytes),
        });
        // What only decoding took.
        drop(reserved);
        claim.close(Some(Ok(&kept)));
        Ok((kept, cooking))
    }
}

/// What was decoded, and the memory for cooking it.
type Cookable<D> = (Arc<Kept<D>>, Reservation);

/// What a job finds of its source.
enum Claimed<'a, C: Craft> {
    Kept,
    Decoding(Claim<'a, C>),
}

/// The right, and the duty, to decode a source. Dropped before the end it passes on.
struct Claim<'a, C: Craft> {
    shared: &'a Shared<C>,
    source: u128,
    is_open: bool,
}

impl<C: Craft> Claim<'_, C> {
    fn close(&mut self, outcome: Option<Result<&Arc<Kept<C::Decoded>>, &ImageError>>) {
        self.is_open = false;
        let now = self.shared.now();
        let mut state = self.shared.state.lock();
        state.sources.decoded(self.source, outcome, now);
        drop(state);
        self.shared.arrived.notify_all();
    }
}

impl<C: Craft> Drop for Claim<'_, C> {
    fn drop(&mut self) {
        if self.is_open {
            self.close(None);
        }
    }
}

/// A picture that breaks its codec breaks only its own job.
fn guarded<T>(work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ImageError::Panicked))
}

/// What this thread has had of the processor. A job that others keep from running is not to be charged for it.
fn processor_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    {
        thread_local!(static START: Instant = Instant::now());
        START.with(Instant::elapsed)
    }
}

/// On Linux niceness belongs to the thread; elsewhere it would slow the whole process.
fn be_nice(niceness: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(niceness) {
        tracing::debug!(%error, "an image thread keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _unused = niceness;
}
