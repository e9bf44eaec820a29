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
    use bytes::Bytes;

    use super::super::config::MemoryConfig;
    use super::super::entry::Entry;
    use super::super::memory::MemoryTier;
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

    /// Zipf 0.9 over 20 000 keys, a tenth of which fit: memory hits, and entries put into the tier.
    fn zipf(door: bool) -> (u32, u32) {
        let tier = MemoryTier::new(&MemoryConfig {
            size_bytes: 64 << 20,
            ..MemoryConfig::default()
        });
        let doorkeeper = Doorkeeper::new();
        let mut sums = Vec::new();
        let mut sum = 0.0;
        for rank in 1..=20_000 {
            sum += f64::from(rank).powf(-0.9);
            sums.push(sum);
        }
        let body = Bytes::from_static(&[0; 32 << 10]);
        let (mut hits, mut taken, mut seed) = (0, 0, 7u64);
        for round in 0..300_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = f64::from(u32::try_from(seed >> 32).unwrap()) / f64::from(u32::MAX) * sum;
            let rank = sums.partition_point(|sum| *sum < at);
            let key = EntryKey::head((rank as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c));
            let counts = u32::from(round >= 100_000);
            if tier.find(&key).is_some() {
                hits += counts;
            } else if !door
                || tier.used_bytes() < tier.capacity_bytes() / 8 * 7
                || doorkeeper.knows(&key, tier.entries())
            {
                tier.insert(key, Entry::Chunk(body.clone()));
                taken += counts;
            }
        }
        (hits, taken)
    }

    #[test]
    fn a_full_tier_keeps_more_of_what_is_asked_for_often() {
        let (plain, with) = (zipf(false), zipf(true));
        assert!(with.0 > plain.0, "{plain:?} {with:?}");
        assert!(with.1 < plain.1 / 2, "{plain:?} {with:?}");
    }
}
