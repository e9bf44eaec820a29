//! Requests that are the same in each run: most of them follow Zipf's law, the rest are for URLs that nobody asks for twice.

use std::sync::Arc;

use brim::store::{Config, Entry, EntryKey, EvictionPolicy, MemoryConfig, Placement, Store};
use bytes::Bytes;
use tokio::runtime::Runtime;

/// Bytes of every object.
pub(crate) const BODY_BYTES: usize = 32 << 10;

/// What the tier counts for an object beside its body.
const OVERHEAD_BYTES: u64 = 256;

/// What comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// Objects that are asked for by Zipf's law.
    pub(crate) keys: u32,
    /// Its exponent.
    pub(crate) exponent: f64,
    /// One-hit requests in a hundred.
    pub(crate) one_hit_percent: u64,
    /// Requests of both kinds before the count begins.
    pub(crate) warm_up: u32,
    /// Requests of both kinds that are counted.
    pub(crate) counted: u32,
}

/// What came of it, counted over the requests that follow Zipf's law.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) requests: u32,
    pub(crate) hits: u32,
    /// Hits on the hundred most popular objects, and requests for them.
    pub(crate) hot_requests: u32,
    pub(crate) hot_hits: u32,
}

impl Counts {
    pub(crate) fn ratio(self) -> f64 {
        f64::from(self.hits) / f64::from(self.requests)
    }

    pub(crate) fn hot_ratio(self) -> f64 {
        f64::from(self.hot_hits) / f64::from(self.hot_requests)
    }
}

/// Sends the traffic through a memory tier that holds this share of all keys: what is not found is pulled and stored.
pub(crate) fn run(
    runtime: &Runtime,
    traffic: Traffic,
    policy: EvictionPolicy,
    held_percent: u64,
) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let all_bytes = u64::from(traffic.keys) * (BODY_BYTES as u64 + OVERHEAD_BYTES);
    let config = Config {
        memory: MemoryConfig {
            size_bytes: all_bytes * held_percent / 100,
            policy,
            ..MemoryConfig::default()
        },
        disks: Vec::new(),
        state: folder.path().join("state"),
        max_clocks: 1000,
    };
    let store = runtime
        .block_on(Store::open(&config, runtime.handle().clone()))
        .unwrap();
    // All entries share it: the tier counts its length for each of them.
    let body = Bytes::from(vec![0; BODY_BYTES]);
    let counts = runtime.block_on(send(&store, traffic, &body));
    assert!(store.stats().memory.used_bytes <= config.memory.size_bytes);
    counts
}

async fn send(store: &Arc<Store>, traffic: Traffic, body: &Bytes) -> Counts {
    let site = store.site("demo");
    let mut random = Random(0x5eed);
    let popularity = cumulative(traffic.keys, traffic.exponent);
    let mut counts = Counts {
        requests: 0,
        hits: 0,
        hot_requests: 0,
        hot_hits: 0,
    };
    for number in 0..traffic.warm_up + traffic.counted {
        let one_hit = random.next() % 100 < traffic.one_hit_percent;
        let rank = match one_hit {
            true => u64::from(traffic.keys) + u64::from(number),
            false => rank_of(&popularity, random.fraction()),
        };
        let key = EntryKey::head(store.hash(&[&rank.to_le_bytes()]));
        let hit = site.memory(&key).is_some();
        if !hit {
            let entry = Entry::Chunk(body.clone());
            site.insert(key, entry, Placement::MemoryAndDisk).await;
        }
        if number >= traffic.warm_up && !one_hit {
            counts.requests += 1;
            counts.hits += u32::from(hit);
            if rank < 100 {
                counts.hot_requests += 1;
                counts.hot_hits += u32::from(hit);
            }
        }
    }
    counts
}

/// The share of all requests that go to the first objects, for each number of them.
fn cumulative(keys: u32, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        })
        .collect();
    for share in &mut sums {
        *share /= sum;
    }
    sums
}

fn rank_of(popularity: &[f64], fraction: f64) -> u64 {
    popularity.partition_point(|share| *share < fraction) as u64
}

/// SplitMix64: short, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
