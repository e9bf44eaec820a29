use super::entry::{Entry, EntryKey};
use super::tiers::Store;

/// What the tiers hold under one key.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// In the memory tier.
    pub memory: Option<Entry>,
    /// In the disk tier.
    pub disk: Option<Entry>,
}

/// Which tiers have something under a key, as far as can be told without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present {
    /// The memory tier.
    pub memory: bool,
    /// The disk tier; seldom wrong, in either direction.
    pub disk: bool,
}

impl Store {
    /// What each tier holds under a key, for somebody who looks and does not use it: nothing is brought into memory,
    /// counted as a hit or written again. The memory tier's eviction takes it for a use all the same.
    pub async fn inspect(&self, key: &EntryKey) -> Inspected {
        let disk = match self.disk_tier() {
            Some(tier) => tier.load(key).await,
            None => None,
        };
        Inspected {
            memory: self.look_in_memory(key),
            disk: disk.and_then(|found| found.record.decode().ok()),
        }
    }

    /// Which tiers have something under a key.
    #[must_use]
    pub fn present(&self, key: &EntryKey) -> Present {
        let disk = self.disk_tier();
        Present {
            memory: self.is_in_memory(key),
            disk: disk.is_some_and(|tier| tier.may_contain(key)),
        }
    }
}
