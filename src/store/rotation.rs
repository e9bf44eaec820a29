//! What a disk has taken in within one turn of its log. The disk evicts in the order of its log, so what was written
//! longer ago than one turn is gone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts that a turn is counted in. What is in the oldest part counts until all of it is gone, so a sum is too high by
/// an eighth at most, and never too low.
const SEGMENTS: usize = 8;

/// An amount that grows with a log and is forgotten one turn later.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The newest segment and the eight before it, each at its number modulo their count.
    segments: [u64; SEGMENTS + 1],
    newest: u64,
}

impl Window {
    /// Adds to the amount of `segment`.
    pub(super) fn add(&mut self, segment: u64, amount: u64) {
        self.turn_to(segment);
        let place = Self::place(self.newest);
        if let Some(there) = self.segments.get_mut(place) {
            *there = there.saturating_add(amount);
        }
    }

    /// What was added within the last turn.
    pub(super) fn sum(&mut self, segment: u64) -> u64 {
        self.turn_to(segment);
        self.segments
            .iter()
            .fold(0, |sum, part| sum.saturating_add(*part))
    }

    fn turn_to(&mut self, segment: u64) {
        let steps = segment.saturating_sub(self.newest).min(SEGMENTS as u64 + 1);
        for step in 0..steps {
            let place = Self::place(segment - step);
            if let Some(old) = self.segments.get_mut(place) {
                *old = 0;
            }
        }
        self.newest = self.newest.max(segment);
    }

    fn place(segment: u64) -> usize {
        usize::try_from(segment % (SEGMENTS as u64 + 1)).unwrap_or(0)
    }
}

/// The log of one disk.
#[derive(Debug)]
pub(super) struct Rotation {
    segment_bytes: u64,
    written: AtomicU64,
}

impl Rotation {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self {
            segment_bytes: (capacity_bytes / SEGMENTS as u64).max(1),
            written: AtomicU64::new(0),
        }
    }

    /// Where the log is now.
    pub(super) fn segment(&self) -> u64 {
        self.written.load(Ordering::Relaxed) / self.segment_bytes
    }

    /// Notes an entry of so many bytes; gives the segment that it lies in.
    pub(super) fn wrote(&self, bytes: u64) -> u64 {
        self.written.fetch_add(bytes, Ordering::Relaxed) / self.segment_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_a_turn_ago_is_forgotten_and_nothing_earlier() {
        let log = Rotation::new(800);
        let mut window = Window::default();
        for _ in 0..10 {
            window.add(log.wrote(10), 1);
        }
        assert_eq!((log.segment(), window.sum(log.segment())), (1, 10));
        // Seven hundred bytes later the first hundred may still be there.
        window.add(log.wrote(700), 1);
        assert_eq!((log.segment(), window.sum(log.segment())), (8, 11));
        window.add(log.wrote(100), 1);
        assert_eq!(log.segment(), 9);
        assert_eq!(window.sum(log.segment()), 2, "the ten are gone");
        log.wrote(1_000_000);
        assert_eq!(window.sum(log.segment()), 0);
    }

    #[test]
    fn a_window_never_loses_what_is_within_a_turn() {
        let mut window = Window::default();
        for segment in 0..100u64 {
            window.add(segment, segment);
            let first = segment.saturating_sub(8);
            assert_eq!(window.sum(segment), (first..=segment).sum::<u64>());
        }
        // What comes late counts where the log is.
        window.add(95, 1);
        assert_eq!(window.sum(99), (91..=99).sum::<u64>() + 1);
        assert_eq!(window.sum(u64::MAX), 0);
    }
}
