use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::control::Control;
use super::super::refusal::Refusal;
use super::super::token::new_id;
use super::job::Job;
use super::order::Plan;
use super::record::WarmState;
use super::run::run;

/// Jobs that run at one time, one of each site at most.
const RUNNING_MAX: usize = 4;

/// Jobs that wait or run.
const UNFINISHED_MAX: usize = 32;

/// The lists of all of them together.
const UNFINISHED_BYTES_MAX: usize = 64 << 20;

/// Ended jobs that `GET /v1/warm/{id}` still knows.
const REMEMBERED: usize = 100;

/// All jobs of warming.
pub struct Warming {
    jobs: Mutex<VecDeque<Arc<Job>>>,
    turns: Arc<Semaphore>,
    /// One turn of each site that was ever warmed: a second job would take from the clients' half of its origin.
    sites: Mutex<HashMap<String, Arc<Semaphore>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Warming {
    /// No jobs; those to come run on `tasks` until `stop`.
    pub(in super::super) fn new(tasks: TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            jobs: Mutex::default(),
            turns: Arc::new(Semaphore::new(RUNNING_MAX)),
            sites: Mutex::default(),
            tasks,
            stop: stop.child_token(),
        })
    }

    /// Ends all jobs; those to come end as they begin. What was pulled stays.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Jobs that wait, and jobs that run.
    #[must_use]
    pub fn unfinished(&self) -> (usize, usize) {
        let jobs = self.jobs.lock();
        let count = |state| jobs.iter().filter(|job| job.state() == state).count();
        (count(WarmState::Waiting), count(WarmState::Running))
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Job>> {
        let jobs = self.jobs.lock();
        jobs.iter().find(|job| job.id == id).cloned()
    }

    /// All that are known, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Job>> {
        self.jobs.lock().iter().cloned().collect()
    }

    /// Takes a job in; it runs when its turn comes.
    pub(super) fn start(
        &self,
        plan: Plan,
        token: String,
        control: Arc<dyn Control>,
    ) -> Result<Arc<Job>, Refusal> {
        let (turns, site) = (Arc::clone(&self.turns), self.turn_of(&plan.site));
        let job = {
            let mut jobs = self.jobs.lock();
            let unfinished = || jobs.iter().filter(|job| !job.has_ended());
            let bytes: usize = unfinished().map(|job| job.bytes).sum();
            if unfinished().count() >= UNFINISHED_MAX
                || bytes.saturating_add(plan.bytes()) > UNFINISHED_BYTES_MAX
            {
                return Err(Refusal::new(
                    http::StatusCode::SERVICE_UNAVAILABLE,
                    "Too much is waiting to be warmed; try again when a job has ended.",
                ));
            }
            let ended = jobs.iter().filter(|job| job.has_ended()).count();
            if ended >= REMEMBERED
                && let Some(oldest) = jobs.iter().position(|job| job.has_ended())
            {
                jobs.remove(oldest);
            }
            let id = new_id(jobs.len() as u64);
            let job = Job::new(id, &plan, token, self.stop.child_token());
            jobs.push_back(Arc::clone(&job));
            job
        };
        let own = Arc::clone(&job);
        self.tasks.spawn(async move {
            let work = async {
                // Neither is ever closed, so an error means that there is nothing to wait for.
                let _site = site.acquire().await.ok();
                let _turn = turns.acquire().await.ok();
                own.begin();
                run(Arc::clone(&own), plan, control).await;
            };
            let how = tokio::select! {
                () = own.cancel.cancelled() => WarmState::Cancelled,
                () = work => WarmState::Done,
            };
            own.end(how);
            let record = own.record();
            tracing::info!(
                token = %record.token, site = %record.site, total = record.total, hits = record.hits,
                filled = record.filled, uncacheable = record.uncacheable, failed = record.failed,
                cancelled = how == WarmState::Cancelled, "warmed"
            );
        });
        Ok(job)
    }

    fn turn_of(&self, site: &str) -> Arc<Semaphore> {
        let mut sites = self.sites.lock();
        let turn = sites
            .entry(site.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(1)));
        Arc::clone(turn)
    }
}
