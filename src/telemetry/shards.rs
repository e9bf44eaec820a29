use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More shards than this cost memory at every site and are no longer faster.
const SHARDS_MAX: usize = 16;

/// Two cache lines: the hardware fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// One `T` a core, so that threads on different cores do not write to the same cache line. A thread keeps to
/// its own; a reader adds them up.
#[derive(Debug)]
pub(super) struct Shards<T> {
    last: Padded<T>,
    rest: Box<[Padded<T>]>,
}

impl<T: Default> Shards<T> {
    pub(super) fn new() -> Self {
        Self {
            last: Padded::default(),
            rest: (1..shard_count()).map(|_| Padded::default()).collect(),
        }
    }
}

impl<T> Shards<T> {
    /// The calling thread's own.
    pub(super) fn mine(&self) -> &T {
        let slot = thread_number() % (self.rest.len() + 1);
        &self.rest.get(slot).unwrap_or(&self.last).0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rest
            .iter()
            .chain(std::iter::once(&self.last))
            .map(|padded| &padded.0)
    }
}

fn shard_count() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(SHARDS_MAX))
}

/// A small number that stays with the thread; threads are numbered in the order in which they first ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn what_many_threads_add_is_all_there() {
        let shards = Shards::<AtomicU64>::new();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        shards.mine().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let sum: u64 = shards
            .iter()
            .map(|shard| shard.load(Ordering::Relaxed))
            .sum();
        assert_eq!(sum, 8000);
    }

    #[test]
    fn a_thread_keeps_to_one_shard() {
        let shards = Shards::<AtomicU64>::new();
        assert!(std::ptr::eq(shards.mine(), shards.mine()));
    }
}
