//! The memory tier keeps what is asked for again, whatever passes by. The bench of the same name has more figures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../benches/support/traffic.rs"]
mod traffic;

use brim::store::EvictionPolicy;
use tokio::runtime::Runtime;
use traffic::{Traffic, run};

const MIXED: Traffic = Traffic {
    keys: 20_000,
    exponent: 0.9,
    one_hit_percent: 20,
    warm_up: 200_000,
    counted: 200_000,
};

/// Of a hundred keys, those that the tier holds.
const HELD: u64 = 55;

#[test]
fn s3_fifo_hits_more_than_lru_when_one_hit_requests_are_mixed_in() {
    let runtime = Runtime::new().unwrap();
    let s3_fifo = run(&runtime, MIXED, EvictionPolicy::S3Fifo, HELD).ratio();
    let lru = run(&runtime, MIXED, EvictionPolicy::Lru, HELD).ratio();
    assert!(s3_fifo >= 0.85, "s3-fifo {s3_fifo:.3}, lru {lru:.3}");
    assert!(s3_fifo > lru + 0.05, "s3-fifo {s3_fifo:.3}, lru {lru:.3}");
}

#[test]
fn a_flood_of_one_hit_urls_does_not_push_the_hot_set_out() {
    let runtime = Runtime::new().unwrap();
    let flood = Traffic {
        one_hit_percent: 95,
        ..MIXED
    };
    let s3_fifo = run(&runtime, flood, EvictionPolicy::S3Fifo, HELD).hot_ratio();
    let lru = run(&runtime, flood, EvictionPolicy::Lru, HELD).hot_ratio();
    assert!(s3_fifo >= 0.95, "s3-fifo {s3_fifo:.3}, lru {lru:.3}");
    assert!(s3_fifo > lru, "s3-fifo {s3_fifo:.3}, lru {lru:.3}");
}
