use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Purges whose words are kept, on disk and in memory: some megabytes at most.
pub(super) const KEPT: usize = 10_000;
/// Longer words are not kept.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What is to be said later of a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its name, which is never given twice.
    pub id: String,
    /// The words; up to 16 KiB are kept.
    pub text: String,
}

impl Note {
    pub(super) fn fits(&self) -> bool {
        self.id.len() + self.text.len() <= TEXT_BYTES_MAX
    }
}

/// What was said of a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The number of the purge.
    pub sequence: u64,
    /// The words.
    pub text: Arc<str>,
}

/// The words about the last purges.
#[derive(Debug, Default)]
pub(super) struct Notes {
    found: HashMap<Arc<str>, Noted>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
}

impl Notes {
    pub(super) fn add(&mut self, id: &str, noted: Noted) {
        let id: Arc<str> = id.into();
        if self.found.insert(Arc::clone(&id), noted).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.found.remove(&oldest);
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<Noted> {
        self.found.get(id).cloned()
    }
}
