//! A node that remembers what it was asked, for tests of the door and of what talks to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::cache::{PurgeCounts, PurgeRecord};
use crate::telemetry::PurgeMode;

use super::control::{
    Control, ControlError, ExplainRequest, Explanation, Pending, PullRequest, Pulled, PurgeItem,
    PurgeRequest, Sink, SiteStatus, Status,
};
use super::objects::{ObjectsName, ObjectsReport, ObjectsRequest};
use crate::telemetry::WarmOutcome;

#[derive(Debug, Default)]
pub(crate) struct FakeNode {
    pub(crate) draining: AtomicBool,
    pub(crate) purges: Mutex<Vec<PurgeRequest>>,
    pub(crate) records: Mutex<Vec<PurgeRecord>>,
    pub(crate) questions: Mutex<Vec<ExplainRequest>>,
    /// What a reload says.
    pub(crate) mistakes: Mutex<Vec<String>>,
    /// Objects that were asked about.
    pub(crate) asked: Mutex<Vec<ObjectsRequest>>,
    /// What was pulled, in the order in which it began.
    pub(crate) pulls: Mutex<Vec<PullRequest>>,
    /// Bodies by path; what is not here has one of four bytes.
    pub(crate) pages: Mutex<HashMap<String, Vec<u8>>>,
    /// Holds pulls of `/slow/…` until it has a permit for each.
    pub(crate) gate: Gate,
    /// How many pulls `/shed/…` refuses before it takes one.
    pub(crate) sheds: AtomicUsize,
    /// Pulls under way, and the most there were.
    pub(crate) under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
    /// Whether clients need the node.
    pub(crate) is_busy: AtomicBool,
    /// What a purge says, once.
    pub(crate) failure: Mutex<Option<ControlError>>,
}

/// Closed at first.
#[derive(Debug)]
pub(crate) struct Gate(pub(crate) Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

/// Counts a pull while it is under way, however it ends.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Control for FakeNode {
    fn site_of(&self, host: &str) -> Option<String> {
        let site = host.strip_suffix(".example")?;
        self.sites()
            .into_iter()
            .map(|known| known.name)
            .find(|known| known == site)
    }

    fn purge(&self, request: PurgeRequest) -> Pending<'_, Result<PurgeRecord, ControlError>> {
        Box::pin(async move {
            if let Some(error) = self.failure.lock().take() {
                return Err(error);
            }
            let mut counts = PurgeCounts::default();
            let mut sites = Vec::new();
            for item in &request.items {
                counts.add(item.target());
                sites.push(match item {
                    PurgeItem::Url { site, .. }
                    | PurgeItem::Prefix { site, .. }
                    | PurgeItem::Tag { site, .. }
                    | PurgeItem::Site { site } => site.to_string(),
                    PurgeItem::Everything => "*".to_owned(),
                });
            }
            sites.sort_unstable();
            sites.dedup();
            let mut purges = self.purges.lock();
            let number = purges.len() + 1;
            let record = PurgeRecord {
                id: format!("purge{number}"),
                sequence: number as u64,
                time: "2026-01-02T03:04:05.006Z".to_owned(),
                counts,
                soft: request.mode == PurgeMode::Soft,
                sites,
                token: request.token.clone(),
            };
            purges.push(request);
            self.records.lock().push(record.clone());
            Ok(record)
        })
    }

    fn purge_record(&self, id: &str) -> Option<PurgeRecord> {
        let records = self.records.lock();
        records.iter().find(|record| record.id == id).cloned()
    }

    fn explain(&self, request: ExplainRequest) -> Pending<'_, Result<Explanation, ControlError>> {
        Box::pin(async move {
            let explanation = Explanation {
                site: request.site.clone(),
                key: format!("{}|{}", request.site, request.url.path),
                decision: "forward".to_owned(),
                reason: "uri-miss".to_owned(),
                ..Explanation::default()
            };
            self.questions.lock().push(request);
            Ok(explanation)
        })
    }

    fn objects(&self, request: ObjectsRequest) -> Pending<'_, Result<ObjectsReport, ControlError>> {
        let report = ObjectsReport {
            site: request.site.clone(),
            key: match &request.name {
                ObjectsName::Key(key) => key.clone(),
                ObjectsName::Url { host, url, .. } => format!("{host}{}", url.path),
            },
            ..ObjectsReport::default()
        };
        let absent = report.key.contains("nothing");
        self.asked.lock().push(request);
        Box::pin(async move {
            match absent {
                true => Err(ControlError::Absent("Nothing is stored.".to_owned())),
                false => Ok(report),
            }
        })
    }

    fn pull<'a>(&'a self, request: PullRequest, sink: Option<Sink<'a>>) -> Pending<'a, Pulled> {
        Box::pin(async move {
            let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_under_way.fetch_max(now, Ordering::Relaxed);
            let _under_way = UnderWay(&self.under_way);
            let path = request.url.path.clone();
            self.pulls.lock().push(request);
            if path.starts_with("/slow/") {
                self.gate.0.acquire().await.unwrap().forget();
            }
            let body = self.pages.lock().get(&path).cloned();
            let body = body.unwrap_or_else(|| b"four".to_vec());
            if let Some(sink) = sink {
                for piece in body.chunks(7) {
                    if !sink(piece) {
                        break;
                    }
                }
            }
            let end = |outcome, reason, status| Pulled {
                outcome,
                reason,
                status: Some(status),
                body_bytes: body.len() as u64,
                is_shed: false,
            };
            let kind = path.split('/').nth(1).unwrap_or_default();
            let shed = |left: usize| left.checked_sub(1);
            match kind {
                "hit" => end(WarmOutcome::Hit, "", 200),
                "private" => end(WarmOutcome::Uncacheable, "private", 200),
                "gone" => end(WarmOutcome::Failed, "status", 404),
                "shed"
                    if self
                        .sheds
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shed)
                        .is_ok() =>
                {
                    Pulled {
                        is_shed: true,
                        status: None,
                        ..end(WarmOutcome::Failed, "busy", 503)
                    }
                }
                _ => end(WarmOutcome::Filled, "", 200),
            }
        })
    }

    fn has_room(&self) -> bool {
        !self.is_busy.load(Ordering::Relaxed)
    }

    fn background_pulls_max(&self, _site: &str) -> usize {
        100
    }

    fn status(&self) -> Status {
        Status {
            id: "fake".to_owned(),
            ready: self.is_ready(),
            ..Status::default()
        }
    }

    fn sites(&self) -> Vec<SiteStatus> {
        ["shop", "blog"]
            .map(|name| SiteStatus {
                name: name.to_owned(),
                hosts: vec![format!("{name}.example")],
                origin: "http://127.0.0.1:1".to_owned(),
            })
            .into()
    }

    fn reload(&self) -> Pending<'_, Result<(), Vec<String>>> {
        let mistakes = self.mistakes.lock().clone();
        Box::pin(async move {
            if mistakes.is_empty() {
                Ok(())
            } else {
                Err(mistakes)
            }
        })
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

impl FakeNode {
    /// Whether nobody has asked for anything that changes or tells something.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_ready()
            && self.purges.lock().is_empty()
            && self.questions.lock().is_empty()
            && self.asked.lock().is_empty()
            && self.pulls.lock().is_empty()
    }
}
