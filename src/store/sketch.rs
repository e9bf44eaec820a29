//! How often keys were asked for lately, in bounded memory: a count-min sketch whose counts fade.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

const ROWS: usize = 4;
/// Counters in a row; a power of two. All rows together take 4 MiB.
const WIDTH: usize = 1 << 20;
/// Counters that fade with each request, so that each is halved once in `WIDTH / 2` requests: no row is ever so full
/// that a key asked for once is often taken for one asked for twice.
const FADING: usize = ROWS * 2;

/// Counts of requests by key. A count is never too low until it fades, and seldom too high.
#[derive(Debug)]
pub(super) struct Sketch {
    counters: Box<[AtomicU8]>,
    /// The next counter to fade.
    hand: AtomicUsize,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self {
            counters: (0..ROWS * WIDTH).map(|_| AtomicU8::new(0)).collect(),
            hand: AtomicUsize::new(0),
        }
    }

    /// Counts a request; gives how many there were, this one included.
    pub(super) fn add(&self, id: u128) -> u8 {
        self.fade();
        let before = self.count(id);
        // Only the lowest are raised: what other keys have put into the rest is high enough already.
        for counter in self.of(id) {
            if counter.load(Ordering::Relaxed) == before {
                counter.store(before.saturating_add(1), Ordering::Relaxed);
            }
        }
        before.saturating_add(1)
    }

    /// How many requests there were.
    pub(super) fn count(&self, id: u128) -> u8 {
        let counts = self.of(id).map(|counter| counter.load(Ordering::Relaxed));
        counts.min().unwrap_or(0)
    }

    /// The key's counter in each row. Ids are keyed hashes, so their own bits choose.
    fn of(&self, id: u128) -> impl Iterator<Item = &AtomicU8> {
        (0..ROWS).filter_map(move |row| {
            let bits = usize::try_from((id >> (row * 32)) & (WIDTH as u128 - 1)).unwrap_or(0);
            self.counters.get(row * WIDTH + bits)
        })
    }

    fn fade(&self) {
        let hand = self.hand.fetch_add(FADING, Ordering::Relaxed);
        for at in hand..hand.wrapping_add(FADING) {
            if let Some(counter) = self.counters.get(at % (ROWS * WIDTH)) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    counter.store(count / 2, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> u128 {
        let mut mixed = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        mixed ^= mixed >> 61;
        mixed.wrapping_mul(0xd6e8_feb8_6659_fd93_a5a3_564e_27f8_8651) ^ (mixed >> 17)
    }

    #[test]
    fn requests_are_counted_by_key() {
        let sketch = Sketch::new();
        assert_eq!(sketch.count(id(1)), 0);
        for n in 1..=300u32 {
            let counted = sketch.add(id(1));
            assert_eq!(u32::from(counted), n.min(255), "{n}");
        }
        assert_eq!(sketch.count(id(2)), 0);
    }

    #[test]
    fn a_flood_of_keys_asked_for_once_is_seldom_taken_for_more() {
        let sketch = Sketch::new();
        let flood = 1_000_000;
        let wrong = (0..flood).filter(|n| sketch.add(id(*n)) > 1).count();
        assert!(wrong < 10_000, "{wrong} of {flood}");
    }

    #[test]
    fn counts_fade() {
        let sketch = Sketch::new();
        sketch.add(id(1));
        sketch.add(id(1));
        for n in 10..10 + WIDTH as u64 {
            sketch.add(id(n));
        }
        assert!(sketch.count(id(1)) < 2);
    }
}
