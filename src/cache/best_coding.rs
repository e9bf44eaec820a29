//! Codings that are asked for again are made once more behind the answers, at the best level.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::semantics::digest::REPR_DIGEST;
use crate::store::{Body, Object, Tier};
use crate::variant::{BestCoder, Coding, CompressionWorkers};

use super::codings::{Effort, Upgrade};
use super::form::{better_object, keeping_of};
use super::served::Served;
use super::upgrade::BEST;
use super::{Ask, Cache, Pressure, Story};

/// In percent of the bytes: a result that saves less does not take the place of the first.
const WORTH_PERCENT: u64 = 99;

/// A coding that may be made better.
pub(super) struct Candidate {
    ask: Arc<Ask>,
    source: Arc<Object>,
    coding: Coding,
    id: u128,
    made: Arc<Object>,
}

/// Where candidates are handed in, and who codes them.
pub(super) struct BestCodings {
    waiting: mpsc::Sender<Candidate>,
    coder: BestCoder,
}

/// The other end of [`BestCodings`].
pub(super) struct Inbox {
    candidates: mpsc::Receiver<Candidate>,
    threads: usize,
}

impl BestCodings {
    pub(super) fn new(workers: &CompressionWorkers) -> (Self, Inbox) {
        let (waiting, candidates) = mpsc::channel(workers.queue.max(1));
        let threads = workers.threads.max(1);
        let coder = BestCoder::new(workers);
        (
            Self { waiting, coder },
            Inbox {
                candidates,
                threads,
            },
        )
    }

    /// Candidates that wait.
    pub(super) fn queued(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }
}

impl Inbox {
    /// Makes as many codings better at one time as there are threads. Ends with the cache.
    pub(super) fn serve(mut self, runtime: &Handle, cache: Weak<Cache>) {
        let places = Arc::new(Semaphore::new(self.threads));
        runtime.spawn(async move {
            while let Some(candidate) = self.candidates.recv().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let Some(cache) = cache.upgrade() else { return };
                tokio::spawn(async move {
                    let site = Arc::clone(&candidate.ask.zone.name);
                    let outcome = cache.improve_coding(candidate).await;
                    cache.codings.upgraded(&site, outcome);
                    drop(place);
                });
            }
        });
    }
}

impl Cache {
    /// Notes that a coding of the first level is asked for. On the way of each hit: one relaxed load, once the count is
    /// full.
    pub(super) fn note_coding_use(
        &self,
        ask: &Ask,
        source: &Arc<Object>,
        coding: Coding,
        (id, made): (u128, &Arc<Object>),
    ) {
        let after = ask.zone.compression.upgrade_after_hits;
        if made.uses.load(Ordering::Relaxed) >= after
            || made.uses.fetch_add(1, Ordering::Relaxed) + 1 != after
            || made.detail().ends_with(BEST)
        {
            return;
        }
        let candidate = Candidate {
            ask: Arc::new(Ask {
                interim: None,
                ..ask.clone()
            }),
            source: Arc::clone(source),
            coding,
            id,
            made: Arc::clone(made),
        };
        if self.best_codings.waiting.try_send(candidate).is_err() {
            made.uses.store(0, Ordering::Relaxed);
        }
    }

    async fn improve_coding(self: &Arc<Self>, candidate: Candidate) -> Upgrade {
        let Candidate {
            ask,
            source,
            coding,
            id,
            made,
        } = candidate;
        let again = || {
            made.uses.store(0, Ordering::Relaxed);
            Upgrade::NotNow
        };
        if self.pressure() != Pressure::Ample {
            return again();
        }
        if self.present(&ask, id, &made).await.is_none() {
            return Upgrade::Gone;
        }
        let compression = &ask.zone.compression;
        // From the tiers alone: nothing is pulled for it.
        let reader = Served::made(Arc::clone(&source), Story::hit(Tier::Memory), id)
            .without_head()
            .into_reader(self, &ask.zone.store, 0, None);
        let Ok(Some(content)) = reader.collect(compression.max_size_bytes).await else {
            return Upgrade::Gone;
        };
        let content_bytes = content.len() as u64;
        let level = compression.best_level.of(coding);
        let best = match self.best_codings.coder.encode(coding, level, content).await {
            Some(Ok(best)) => best,
            Some(Err(error)) => {
                tracing::warn!(%error, coding = coding.token(), "a body could not be coded");
                return again();
            }
            None => return again(),
        };
        let coded_bytes = best.bytes.len() as u64;
        self.codings.made(
            &ask.zone.name,
            (coding, Effort::Best),
            (content_bytes, coded_bytes),
            best.cpu,
        );
        let Some(present) = self.present(&ask, id, &made).await else {
            return Upgrade::Gone;
        };
        if coded_bytes.saturating_mul(100) <= made.body.length().saturating_mul(WORTH_PERCENT) {
            self.keep_best(&ask, &present, (coding, level), id, best.bytes)
                .await;
            // Which one is the smallest is to be found anew.
            source.forms.store(0, Ordering::Relaxed);
            return Upgrade::Better;
        }
        // Remembered with the form, so that a restart does not try it again.
        let mut draft = present.draft();
        draft.detail = format!("{}{BEST}", present.detail()).into();
        self.install(&ask, id, Arc::new(draft.seal()), None).await;
        Upgrade::NoBetter
    }

    async fn keep_best(
        self: &Arc<Self>,
        ask: &Ask,
        present: &Object,
        (coding, level): (Coding, u32),
        id: u128,
        bytes: Bytes,
    ) {
        let mut draft = better_object(present, coding.token());
        draft.detail = format!("{};level={level}{BEST}", coding.token()).into();
        draft.body = Body::Inline(Bytes::new());
        let object = Arc::new(draft.seal());
        let max_bytes = ask.zone.policy.max_object_bytes;
        let mut keeping = keeping_of(self, ask, id, &object, Some(bytes.len() as u64), max_bytes)
            .digested(present.headers().contains_key(REPR_DIGEST));
        if keeping.add(&bytes).await.is_some()
            && let Some(finished) = keeping.finish().await
        {
            self.install(ask, id, finished, None).await;
        }
    }
}
