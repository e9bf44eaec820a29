use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use super::FillError;

/// Marks kept at one time; the oldest goes first.
const MARKS_MAX: usize = 65_536;

/// A short memory of what became of a key, bounded in number.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// Its last answer could not be stored, for this reason: nobody needs to wait for the next one.
    Uncacheable(&'static str),
    /// The origin failed on it, in this way: a stale answer or this error is given at once.
    Failing(FillError),
    /// This form of it is not worth having, or cannot be made.
    Declined(&'static str),
    /// This form of it could not be made now, for a reason that passes.
    Deferred(&'static str),
    /// The origin gives no parts of it that could be used.
    NoParts,
    /// This version is not the origin's any more.
    Changed,
}

#[derive(Default)]
struct Kept {
    marks: HashMap<u128, (Mark, Duration)>,
    order: VecDeque<u128>,
}

/// The marks of all keys.
#[derive(Default)]
pub(super) struct Marks {
    kept: Mutex<Kept>,
}

impl Marks {
    /// Remembers `mark` for `id` until `until` (uptime).
    pub(super) fn set(&self, id: u128, mark: Mark, until: Duration) {
        let mut kept = self.kept.lock();
        if kept.marks.insert(id, (mark, until)).is_none() {
            kept.order.push_back(id);
        }
        while kept.order.len() > MARKS_MAX {
            if let Some(oldest) = kept.order.pop_front() {
                kept.marks.remove(&oldest);
            }
        }
    }

    /// What is remembered of `id` at `uptime`.
    pub(super) fn of(&self, id: u128, uptime: Duration) -> Option<Mark> {
        let kept = self.kept.lock();
        kept.marks
            .get(&id)
            .filter(|(_, until)| *until > uptime)
            .map(|(mark, _)| mark.clone())
    }

    /// Forgets a mark that no longer holds; its place in the order is left to age out.
    pub(super) fn clear(&self, id: u128) {
        let mut kept = self.kept.lock();
        if let Some(mark) = kept.marks.get_mut(&id) {
            mark.1 = Duration::ZERO;
        }
    }
}

/// Versions whose variants are remembered at one time; the oldest goes first.
const MADE_MAX: usize = 16_384;

/// Which variants were made of each version: a bound on what a client can have made of one picture by
/// asking for ever new sizes.
#[derive(Default)]
pub(super) struct Made {
    kept: Mutex<Variants>,
}

#[derive(Default)]
struct Variants {
    of: HashMap<u128, Vec<u128>>,
    order: VecDeque<u128>,
}

impl Made {
    /// Notes that `variant` is made of `version`, unless `most` others are already. One that was made before
    /// may be made again: tiers are lossy.
    pub(super) fn note(&self, version: u128, variant: u128, most: usize) -> bool {
        let mut kept = self.kept.lock();
        if !kept.of.contains_key(&version) {
            kept.order.push_back(version);
            if kept.order.len() > MADE_MAX
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.of.remove(&oldest);
            }
        }
        let variants = kept.of.entry(version).or_default();
        if variants.contains(&variant) {
            return true;
        }
        let fits = variants.len() < most;
        if fits {
            variants.push(variant);
        }
        fits
    }

    /// What was made of `version`, as far as that is remembered.
    pub(super) fn variants_of(&self, version: u128) -> Vec<u128> {
        let kept = self.kept.lock();
        kept.of.get(&version).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(marks: &Marks, id: u128, uptime_seconds: u64) -> Option<&'static str> {
        match marks.of(id, Duration::from_secs(uptime_seconds))? {
            Mark::Uncacheable(reason) | Mark::Declined(reason) | Mark::Deferred(reason) => {
                Some(reason)
            }
            Mark::Failing(error) => Some(error.kind()),
            Mark::NoParts => Some("no-parts"),
            Mark::Changed => Some("changed"),
        }
    }

    #[test]
    fn a_mark_holds_until_its_time_and_no_longer() {
        let marks = Marks::default();
        marks.set(7, Mark::Uncacheable("no-store"), Duration::from_secs(10));
        assert_eq!(reason(&marks, 7, 9), Some("no-store"));
        assert_eq!(reason(&marks, 7, 10), None);
        assert_eq!(reason(&marks, 8, 0), None);
    }

    #[test]
    fn a_cleared_mark_is_gone_and_can_come_back() {
        let marks = Marks::default();
        marks.set(7, Mark::Declined("busy"), Duration::from_secs(10));
        marks.clear(7);
        assert_eq!(reason(&marks, 7, 0), None);
        marks.set(7, Mark::Declined("busy"), Duration::from_secs(10));
        assert_eq!(reason(&marks, 7, 0), Some("busy"));
    }

    #[test]
    fn variants_of_one_version_are_bounded_and_those_of_others_are_not_concerned() {
        let made = Made::default();
        assert!(made.note(1, 10, 2) && made.note(1, 11, 2));
        assert!(!made.note(1, 12, 2));
        assert!(
            made.note(1, 10, 2),
            "what was made before may be made again"
        );
        assert!(made.note(2, 12, 2));
    }

    #[test]
    fn the_oldest_mark_goes_first() {
        let marks = Marks::default();
        for id in 0..=MARKS_MAX as u128 {
            marks.set(id, Mark::Uncacheable("no-store"), Duration::from_secs(10));
        }
        assert_eq!(reason(&marks, 0, 0), None);
        assert_eq!(reason(&marks, 1, 0), Some("no-store"));
    }
}
