use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SLOTS: usize = 16;

/// A counter that many cores raise at once: each thread has a cache line of its own.
#[derive(Debug, Default)]
pub(super) struct SpreadCounter {
    slots: [Slot; SLOTS],
}

// Two lines of 64 bytes, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(AtomicU64);

thread_local! {
    static SLOT: Cell<usize> = Cell::new(next_slot());
}

fn next_slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREADS.fetch_add(1, Ordering::Relaxed) % SLOTS
}

impl SpreadCounter {
    pub(super) fn increment(&self) {
        if let Some(slot) = self.slots.get(SLOT.get()) {
            slot.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.slots
            .iter()
            .map(|slot| slot.0.load(Ordering::Relaxed))
            .sum()
    }
}

/// What happened on the disk path; raised at most once an operation that touches the disk.
#[derive(Debug, Default)]
pub(super) struct DiskCounters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) rewrites: AtomicU64,
    pub(super) refused_uses: AtomicU64,
    pub(super) refused_rate: AtomicU64,
    pub(super) refused_quota: AtomicU64,
    pub(super) refused_index: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) refused_size: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) read_errors: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) recoveries: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up() {
        let counter = SpreadCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..100).for_each(|_| counter.increment()));
            }
        });
        assert_eq!(counter.total(), 4000);
    }
}
