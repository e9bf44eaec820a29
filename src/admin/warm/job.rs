use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::control::Pulled;
use super::order::{Plan, URL_BYTES_MAX};
use super::record::{WarmFailure, WarmRecord, WarmState};
use crate::telemetry::WarmOutcome;

/// Failures that a record names; the others are counted.
const FAILURES_KEPT: usize = 100;

/// Distinct reasons that a record counts. They are closed words, and `status-` with a number.
const REASONS_MAX: usize = 64;

/// A job of warming, seen by those who run it and those who ask about it.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) site: String,
    /// What its order costs.
    pub(super) bytes: usize,
    state: Mutex<Progress>,
    /// Asks it to end.
    pub(super) cancel: CancellationToken,
    /// Says that it has ended.
    pub(super) ended: CancellationToken,
}

struct Progress {
    record: WarmRecord,
    began: Option<Instant>,
}

impl Job {
    pub(super) fn new(
        id: String,
        plan: &Plan,
        token: String,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let record = WarmRecord {
            id: id.clone(),
            site: plan.site.clone(),
            total: (plan.urls.len() as u64).saturating_mul(plan.variants.len() as u64),
            token,
            ..WarmRecord::default()
        };
        Arc::new(Self {
            id,
            site: plan.site.clone(),
            bytes: plan.bytes(),
            state: Mutex::new(Progress {
                record,
                began: None,
            }),
            cancel,
            ended: CancellationToken::new(),
        })
    }

    /// All that is known of it.
    pub(super) fn record(&self) -> WarmRecord {
        let state = self.state.lock();
        let mut record = state.record.clone();
        record.elapsed_seconds = state.elapsed_seconds();
        record
    }

    /// The numbers alone.
    pub(super) fn numbers(&self) -> WarmRecord {
        let state = self.state.lock();
        let record = &state.record;
        WarmRecord {
            id: record.id.clone(),
            site: record.site.clone(),
            token: record.token.clone(),
            uncacheable_reasons: BTreeMap::new(),
            failed_reasons: BTreeMap::new(),
            failures: Vec::new(),
            elapsed_seconds: state.elapsed_seconds(),
            ..*record
        }
    }

    pub(super) fn state(&self) -> WarmState {
        self.state.lock().record.state
    }

    pub(super) fn has_ended(&self) -> bool {
        match self.state() {
            WarmState::Waiting | WarmState::Running => false,
            WarmState::Done | WarmState::Cancelled => true,
        }
    }

    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.record.state = WarmState::Running;
        state.began = Some(Instant::now());
    }

    pub(super) fn end(&self, how: WarmState) {
        {
            let mut state = self.state.lock();
            state.record.elapsed_seconds = state.elapsed_seconds();
            state.record.state = how;
            state.began = None;
        }
        self.ended.cancel();
    }

    /// A sitemap was read that lists so many URLs.
    pub(super) fn found(&self, requests: u64) {
        let mut state = self.state.lock();
        state.record.sitemaps += 1;
        state.record.total += requests;
    }

    /// A request for a URL is over.
    pub(super) fn note(&self, url: &str, pulled: &Pulled) {
        let mut state = self.state.lock();
        let record = &mut state.record;
        record.done += 1;
        record.body_bytes += pulled.body_bytes;
        match pulled.outcome {
            WarmOutcome::Hit => record.hits += 1,
            WarmOutcome::Revalidated => record.revalidated += 1,
            WarmOutcome::Filled => {
                record.filled += 1;
                record.filled_bytes += pulled.body_bytes;
            }
            WarmOutcome::Uncacheable => {
                record.uncacheable += 1;
                count(&mut record.uncacheable_reasons, pulled.reason.to_owned(), 1);
            }
            WarmOutcome::Failed => {
                record.failed += 1;
                let reason = match pulled.status {
                    Some(status) if pulled.reason == "status" => format!("status-{status}"),
                    Some(_) | None => pulled.reason.to_owned(),
                };
                let status = pulled.status;
                record.fail(url, (reason, 1), status, None);
            }
        }
    }

    /// A URL, or a sitemap, is not asked for at all, or not what it should be. It counts for `requests`.
    pub(super) fn refuse(&self, url: &str, requests: u64, reason: &str, detail: Option<String>) {
        let mut state = self.state.lock();
        let record = &mut state.record;
        record.done += requests;
        record.failed += requests;
        record.fail(url, (reason.to_owned(), requests), None, detail);
    }

    /// The same for what is not among those that were counted beforehand.
    pub(super) fn refuse_uncounted(&self, url: &str, reason: &str, detail: Option<String>) {
        self.state.lock().record.total += 1;
        self.refuse(url, 1, reason, detail);
    }
}

impl Progress {
    fn elapsed_seconds(&self) -> f64 {
        match self.began {
            Some(began) => began.elapsed().as_secs_f64(),
            None => self.record.elapsed_seconds,
        }
    }
}

impl WarmRecord {
    fn fail(
        &mut self,
        url: &str,
        (reason, requests): (String, u64),
        status: Option<u16>,
        detail: Option<String>,
    ) {
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(WarmFailure {
                // The list may have anything in a line.
                url: url.chars().take(URL_BYTES_MAX).collect(),
                reason: reason.clone(),
                status,
                detail,
            });
        }
        count(&mut self.failed_reasons, reason, requests);
    }
}

fn count(reasons: &mut BTreeMap<String, u64>, reason: String, requests: u64) {
    let reason = match reasons.len() < REASONS_MAX || reasons.contains_key(&reason) {
        true => reason,
        false => "other".to_owned(),
    };
    *reasons.entry(reason).or_default() += requests;
}
