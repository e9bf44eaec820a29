//! A node that remembers what it was asked, for tests of the door and of what talks to it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::cache::{PurgeCounts, PurgeRecord};
use crate::telemetry::PurgeMode;

use super::control::{
    Control, ControlError, ExplainRequest, Explanation, Pending, PurgeItem, PurgeRequest,
    SiteStatus, Status,
};

#[derive(Debug, Default)]
pub(crate) struct FakeNode {
    pub(crate) draining: AtomicBool,
    pub(crate) purges: Mutex<Vec<PurgeRequest>>,
    pub(crate) records: Mutex<Vec<PurgeRecord>>,
    pub(crate) questions: Mutex<Vec<ExplainRequest>>,
    /// What a reload says.
    pub(crate) mistakes: Mutex<Vec<String>>,
    /// What a purge says, once.
    pub(crate) failure: Mutex<Option<ControlError>>,
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
        self.is_ready() && self.purges.lock().is_empty() && self.questions.lock().is_empty()
    }
}
