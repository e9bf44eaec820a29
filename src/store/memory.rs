use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use foyer::{
    Cache, CacheBuilder, Event, EventListener, EvictionConfig, LruConfig, S3FifoConfig, SieveConfig,
};

use super::config::{EvictionPolicy, MemoryConfig};
use super::counters::SpreadCounter;
use super::entry::{Entry, EntryKey, Part, VaryIndex};
use super::hash::FoldBuilder;
use super::object::Object;

/// More shards mean less waiting for their locks; a shard much smaller than this cannot keep its own
/// idea of what is popular.
const SHARD_BYTES_MIN: u64 = 16 << 20;
const SHARDS_MAX: usize = 64;

/// The memory tier: all of it ours, the disk tier never writes to it.
///
/// foyer's own pairing of the two tiers brings removed entries back into memory (a removal that races
/// a disk load, or meets the write queue), so only the halves of it are used.
#[derive(Debug)]
pub(super) struct MemoryTier {
    cache: Cache<Key, Held, FoldBuilder>,
    /// As configured.
    size_bytes: AtomicU64,
    thousandths: AtomicU16,
    shards: usize,
    /// At present; foyer goes on telling the first one.
    capacity_bytes: AtomicU64,
    /// What a single entry may weigh; one heavier would empty its shard.
    weight_max: AtomicUsize,
    evictions: Arc<Evictions>,
    refused_size: SpreadCounter,
}

/// Counts the entries that made room for others.
#[derive(Debug, Default)]
struct Evictions(SpreadCounter);

impl EventListener for Evictions {
    type Key = Key;
    type Value = Held;

    fn on_leave(&self, reason: Event, _: &Key, _: &Held) {
        match reason {
            Event::Evict => self.0.increment(),
            Event::Replace | Event::Remove | Event::Clear => {}
        }
    }
}

impl MemoryTier {
    pub(super) fn new(config: &MemoryConfig) -> Self {
        let capacity = usize::try_from(config.size_bytes).unwrap_or(usize::MAX);
        let shards = usize::try_from(config.size_bytes / SHARD_BYTES_MIN)
            .unwrap_or(SHARDS_MAX)
            .clamp(1, SHARDS_MAX);
        let evictions = Arc::<Evictions>::default();
        let listener = Arc::<Evictions>::clone(&evictions);
        let cache = CacheBuilder::new(capacity)
            .with_shards(shards)
            .with_event_listener(listener)
            .with_hash_builder(FoldBuilder)
            .with_eviction_config(eviction(config.policy))
            .with_weighter(|_, held: &Held| held.weight())
            .build();
        Self {
            cache,
            size_bytes: AtomicU64::new(config.size_bytes),
            shards,
            thousandths: AtomicU16::new(1000),
            capacity_bytes: AtomicU64::new(config.size_bytes),
            weight_max: AtomicUsize::new(capacity / shards / 2),
            evictions,
            refused_size: SpreadCounter::default(),
        }
    }

    pub(super) fn find(&self, key: &EntryKey) -> Option<Entry> {
        self.cache
            .get(&Key::of(key))
            .map(|found| found.value().entry())
    }

    pub(super) fn contains(&self, key: &EntryKey) -> bool {
        self.cache.contains(&Key::of(key))
    }

    /// Takes the entry in, and tells whether it did. What was there under the key is gone either way.
    pub(super) fn insert(&self, key: EntryKey, entry: Entry) -> bool {
        let admitted = entry.weight() <= self.weight_max.load(Ordering::Relaxed);
        if admitted {
            self.cache.insert(Key::of(&key), Held::of(entry));
        } else {
            self.refused_size.increment();
            self.cache.remove(&Key::of(&key));
        }
        admitted
    }

    pub(super) fn remove(&self, key: &EntryKey) {
        self.cache.remove(&Key::of(key));
    }

    /// Makes the tier hold this many thousandths of its configured size. Blocks while it evicts.
    pub(super) fn scale(&self, thousandths: u16) {
        self.thousandths.store(thousandths, Ordering::Relaxed);
        let bytes = scaled(self.size_bytes(), thousandths);
        let capacity = usize::try_from(bytes).unwrap_or(usize::MAX);
        // First, so that nothing comes in that is too heavy for a smaller shard.
        self.weight_max
            .store(capacity / self.shards / 2, Ordering::Relaxed);
        match self.cache.resize(capacity) {
            Ok(()) => self.capacity_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the memory tier keeps its size"),
        }
    }

    /// Configures another size, of which the tier holds the same share.
    pub(super) fn resize(&self, size_bytes: u64) {
        self.size_bytes.store(size_bytes, Ordering::Relaxed);
        self.scale(self.thousandths());
    }

    /// As configured.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// The share of that which it holds.
    pub(super) fn thousandths(&self) -> u16 {
        self.thousandths.load(Ordering::Relaxed)
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions.0.total()
    }

    /// Entries that were too large for a shard.
    pub(super) fn refused_size(&self) -> u64 {
        self.refused_size.total()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.cache.usage() as u64
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn entries(&self) -> u64 {
        self.cache.entries() as u64
    }
}

/// That many thousandths; not fewer than one byte for each shard that there may be.
fn scaled(bytes: u64, thousandths: u16) -> u64 {
    let scaled = u128::from(bytes) * u128::from(thousandths.min(1000)) / 1000;
    u64::try_from(scaled)
        .unwrap_or(u64::MAX)
        .max(SHARDS_MAX as u64)
}

/// An [`EntryKey`] in 24 bytes instead of 32: there may be millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    id: [u64; 2],
    part: u64,
}

impl Key {
    fn of(key: &EntryKey) -> Self {
        let [a, b, c, d, e, f, g, h, high @ ..] = key.id.to_le_bytes();
        Self {
            id: [
                u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                u64::from_le_bytes(high),
            ],
            part: match key.part {
                Part::Head => 0,
                Part::Chunk(number) => 1 + u64::from(number),
            },
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.id {
            state.write_u64(word);
        }
        state.write_u64(self.part);
    }
}

/// An [`Entry`] in 16 bytes instead of 40.
#[derive(Debug)]
enum Held {
    Object(Arc<Object>),
    Vary(Arc<VaryIndex>),
    Chunk(Arc<Bytes>),
}

impl Held {
    fn of(entry: Entry) -> Self {
        match entry {
            Entry::Object(object) => Self::Object(object),
            Entry::Vary(index) => Self::Vary(index),
            Entry::Chunk(bytes) => Self::Chunk(Arc::new(bytes)),
        }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Object(object) => Entry::Object(Arc::clone(object)),
            Self::Vary(index) => Entry::Vary(Arc::clone(index)),
            Self::Chunk(bytes) => Entry::Chunk(Bytes::clone(bytes)),
        }
    }

    fn weight(&self) -> usize {
        self.entry().weight()
    }
}

fn eviction(policy: EvictionPolicy) -> EvictionConfig {
    match policy {
        EvictionPolicy::S3Fifo => S3FifoConfig::default().into(),
        EvictionPolicy::WTinyLfu => foyer::LfuConfig::default().into(),
        EvictionPolicy::Lru => LruConfig::default().into(),
        EvictionPolicy::Sieve => SieveConfig.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(size_bytes: u64, policy: EvictionPolicy) -> MemoryTier {
        MemoryTier::new(&MemoryConfig {
            size_bytes,
            policy,
            ..MemoryConfig::default()
        })
    }

    fn chunk(length: usize) -> Entry {
        Entry::Chunk(Bytes::from(vec![0; length]))
    }

    #[test]
    fn each_policy_stays_within_its_size() {
        for policy in [
            EvictionPolicy::S3Fifo,
            EvictionPolicy::WTinyLfu,
            EvictionPolicy::Lru,
            EvictionPolicy::Sieve,
        ] {
            let tier = tier(1 << 20, policy);
            for n in 0..1000 {
                tier.insert(EntryKey::head(n), chunk(10_000));
            }
            assert!(tier.used_bytes() <= 1 << 20, "{policy:?}");
            assert!(tier.entries() > 80, "{policy:?} {}", tier.entries());
            assert_eq!(tier.evictions(), 1000 - tier.entries(), "{policy:?}");
        }
    }

    #[test]
    fn a_smaller_tier_holds_less_at_once_and_a_larger_one_more_again() {
        for policy in [
            EvictionPolicy::S3Fifo,
            EvictionPolicy::WTinyLfu,
            EvictionPolicy::Lru,
            EvictionPolicy::Sieve,
        ] {
            let tier = tier(64 << 20, policy);
            let fill = |from: u128| {
                for n in from..from + 12_000 {
                    tier.insert(EntryKey::head(n), chunk(10_000));
                }
            };
            fill(0);
            for thousandths in [500, 125, 1000, 60] {
                tier.scale(thousandths);
                let capacity = (64 << 20) * u64::from(thousandths) / 1000;
                assert_eq!(tier.capacity_bytes(), capacity, "{policy:?}");
                assert!(
                    tier.used_bytes() <= capacity,
                    "{policy:?} {}",
                    tier.used_bytes()
                );
                fill(u128::from(thousandths) << 32);
                let used = tier.used_bytes();
                assert!(used <= capacity, "{policy:?} {used} of {capacity}");
                assert!(used >= capacity / 10 * 8, "{policy:?} {used} of {capacity}");
                let held = u64::try_from(chunk(10_000).weight()).unwrap() * tier.entries();
                assert_eq!(used, held, "{policy:?}: nothing is lost from the accounts");
            }
        }
    }

    #[test]
    fn an_entry_too_large_for_its_shard_is_refused_and_replaces_nothing_but_its_own() {
        let tier = tier(1 << 20, EvictionPolicy::S3Fifo);
        tier.insert(EntryKey::head(1), chunk(10));
        tier.insert(EntryKey::head(2), chunk(10));
        assert!(!tier.insert(EntryKey::head(1), chunk(900_000)));
        assert!(tier.find(&EntryKey::head(1)).is_none());
        assert!(tier.find(&EntryKey::head(2)).is_some());
        assert_eq!((tier.refused_size(), tier.evictions()), (1, 0));
    }
}
