use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use parking_lot::Mutex;

use super::entry::EntryKey;

const STRIPES: usize = 64;

/// Keeps slow work on a key from undoing what was done to that key in the meantime.
///
/// Reading from disk and writing to it take time. Without this, a load that began before a head was
/// replaced could put the old head back into the memory tier, or write it to disk behind the new one.
#[derive(Debug)]
pub(super) struct Turns {
    stripes: Box<[Mutex<HashMap<EntryKey, Line>>]>,
}

#[derive(Debug, Default)]
struct Line {
    latest: u64,
    tickets: usize,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Begins work on `key`.
    pub(super) fn enter(&self, key: EntryKey) -> Ticket<'_> {
        let stripe = self.stripe(&key);
        let mut lines = stripe.lock();
        let line = lines.entry(key).or_default();
        line.tickets += 1;
        Ticket {
            stripe,
            key,
            seen: line.latest,
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is below the number of stripes"
    )]
    fn stripe(&self, key: &EntryKey) -> &Mutex<HashMap<EntryKey, Line>> {
        &self.stripes[(key.id % STRIPES as u128) as usize]
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.stripes.iter().all(|stripe| stripe.lock().is_empty())
    }
}

/// One piece of work on a key; forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    stripe: &'a Mutex<HashMap<EntryKey, Line>>,
    key: EntryKey,
    seen: u64,
}

impl Ticket<'_> {
    /// Makes this the newest work on the key, and does its short part with nobody between.
    pub(super) fn advance<R>(&mut self, act: impl FnOnce() -> R) -> R {
        let mut lines = self.stripe.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.latest += 1;
            self.seen = line.latest;
        }
        act()
    }

    /// Does something short with nobody between, unless newer work has advanced since this one began
    /// or advanced itself.
    pub(super) fn if_latest<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        let lines = self.stripe.lock();
        let latest = lines.get(&self.key).map(|line| line.latest)?;
        (latest == self.seen).then(act)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Slot::Occupied(mut line) = self.stripe.lock().entry(self.key) {
            line.get_mut().tickets -= 1;
            if line.get().tickets == 0 {
                line.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_work_sees_that_newer_work_has_advanced() {
        let turns = Turns::new();
        let key = EntryKey::head(1);
        let older = turns.enter(key);
        assert_eq!(older.if_latest(|| 1), Some(1));
        let mut newer = turns.enter(key);
        newer.advance(|| ());
        assert_eq!(older.if_latest(|| 1), None);
        assert_eq!(newer.if_latest(|| 1), Some(1));
        let mut another_key = turns.enter(EntryKey::head(65));
        another_key.advance(|| ());
        assert_eq!(newer.if_latest(|| 1), Some(1));
        drop((older, newer, another_key));
        assert!(turns.is_empty());
    }
}
