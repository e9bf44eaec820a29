use std::sync::atomic::{AtomicU32, Ordering};

use super::blocks::hash;
use super::entry::EntryKey;

/// Never more than this many are remembered: 256 KiB.
const SLOTS_MAX: usize = 1 << 16;

/// Who was here a short while ago.
///
/// What is read from disk once goes out again without pushing anything out of a full memory tier, and its
/// buffer is used for the next while the processor still has it. As many are remembered as the memory
/// tier has entries: who does not come back within that many is not worth one of its places.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    slots: Box<[AtomicU32]>,
}

impl Doorkeeper {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS_MAX).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Whether the key was here among the last `window` or so; it has been now.
    pub(super) fn knows(&self, key: &EntryKey, window: u64) -> bool {
        let hash = hash(key);
        let slots = usize::try_from(window)
            .unwrap_or(SLOTS_MAX)
            .clamp(1, SLOTS_MAX)
            .next_power_of_two();
        let [a, b, c, d, rest @ ..] = hash.to_le_bytes();
        let mark = u32::from_le_bytes(rest);
        let place = u32::from_le_bytes([a, b, c, d]) as usize & (slots - 1);
        self.slots.get(place).is_some_and(|slot| {
            let known = slot.load(Ordering::Relaxed) == mark;
            if !known {
                slot.store(mark, Ordering::Relaxed);
            }
            known
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> EntryKey {
        EntryKey::chunk(u128::from(n) << 64, n)
    }

    #[test]
    fn who_comes_back_soon_is_known() {
        let doorkeeper = Doorkeeper::new();
        assert!(!doorkeeper.knows(&key(1), 1000));
        assert!(doorkeeper.knows(&key(1), 1000));
        for n in 2..20_000 {
            doorkeeper.knows(&key(n), 1000);
        }
        let known = (2..20_000).filter(|n| doorkeeper.knows(&key(*n), 1000));
        assert!(known.count() < 100);
        assert!(!doorkeeper.knows(&key(99_999), 0));
    }
}
