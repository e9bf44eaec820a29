use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// More distinct words than any of our enums has; what comes later is counted as `other`.
const WORDS_MAX: usize = 48;

/// Counts words of a closed set that only the caller knows (an enum's `as_str`), without a lock: a word
/// takes the first free slot when it is first seen and keeps it.
#[derive(Debug)]
pub(super) struct Tally {
    slots: Box<[Slot]>,
    other: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    word: OnceLock<&'static str>,
    count: AtomicU64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..WORDS_MAX).map(|_| Slot::default()).collect(),
            other: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, word: &'static str) {
        let slot = self
            .slots
            .iter()
            .find(|slot| *slot.word.get_or_init(|| word) == word);
        slot.map_or(&self.other, |slot| &slot.count)
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let other = self.other.load(Ordering::Relaxed);
        self.slots
            .iter()
            .map_while(|slot| Some((*slot.word.get()?, slot.count.load(Ordering::Relaxed))))
            .chain((other > 0).then_some(("other", other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_count() {
        let tally = Tally::new();
        for word in ["dns", "reset", "dns"] {
            tally.add(word);
        }
        assert_eq!(
            tally.counts().collect::<Vec<_>>(),
            [("dns", 2), ("reset", 1)]
        );
    }

    #[test]
    fn words_beyond_the_bound_are_counted_as_other() {
        let tally = Tally::new();
        for number in 0..WORDS_MAX + 3 {
            tally.add(Box::leak(format!("w{number}").into_boxed_str()));
        }
        assert_eq!(tally.counts().count(), WORDS_MAX + 1);
        assert_eq!(tally.counts().last(), Some(("other", 3)));
    }

    #[test]
    fn threads_that_race_for_a_slot_lose_nothing() {
        let tally = Tally::new();
        std::thread::scope(|scope| {
            for words in [["a", "b"], ["b", "a"], ["c", "a"], ["a", "c"]] {
                let tally = &tally;
                scope.spawn(move || {
                    for _ in 0..500 {
                        words.into_iter().for_each(|word| tally.add(word));
                    }
                });
            }
        });
        let mut counts: Vec<_> = tally.counts().collect();
        counts.sort_unstable();
        assert_eq!(counts, [("a", 2000), ("b", 1000), ("c", 1000)]);
    }
}
