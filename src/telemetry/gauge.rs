use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::shards::Shards;

/// How many of something there are now; counted by guards, so that a cancelled task cannot leave it wrong.
#[derive(Debug)]
pub struct Gauge {
    /// Each shard has its own `Arc`: a guard then touches one cache line, for the number and for the
    /// reference count alike, and may be dropped on another thread.
    shards: Shards<Arc<AtomicI64>>,
}

impl Gauge {
    /// A gauge that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: Shards::new(),
        }
    }

    /// Counts one until the guard is dropped.
    #[must_use = "the count ends when the guard is dropped"]
    pub fn count(&self) -> Counted {
        let shard = Arc::clone(self.shards.mine());
        shard.fetch_add(1, Ordering::Relaxed);
        Counted { shard }
    }

    /// How many there are.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.shards
            .iter()
            .map(|shard| shard.load(Ordering::Relaxed))
            .sum()
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

/// One that a [`Gauge`] counts until this is dropped.
#[derive(Debug)]
pub struct Counted {
    shard: Arc<AtomicI64>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shard.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_count_wherever_they_are_dropped() {
        let gauge = Gauge::new();
        let here = gauge.count();
        let elsewhere = gauge.count();
        assert_eq!(gauge.value(), 2);
        std::thread::spawn(move || drop(elsewhere)).join().unwrap();
        assert_eq!(gauge.value(), 1);
        drop(here);
        assert_eq!(gauge.value(), 0);
    }
}
