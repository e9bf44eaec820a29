//! How often the memory tier has what is asked for, by eviction policy: counts, not times.

#![expect(clippy::unwrap_used, reason = "a bench has nobody to tell")]
#![expect(clippy::print_stdout, reason = "it is there to be read")]

#[path = "support/traffic.rs"]
mod traffic;

use brim::store::EvictionPolicy;
use tokio::runtime::Runtime;
use traffic::{Traffic, run};

const POLICIES: [(&str, EvictionPolicy); 4] = [
    ("s3-fifo", EvictionPolicy::S3Fifo),
    ("w-tinylfu", EvictionPolicy::WTinyLfu),
    ("sieve", EvictionPolicy::Sieve),
    ("lru", EvictionPolicy::Lru),
];

fn main() {
    let runtime = Runtime::new().unwrap();
    println!(
        "Zipf 0.9, objects of 32 KiB; hit ratio over the Zipf requests, and over those of the first 100"
    );
    println!("keys    held  one-hit   s3-fifo      w-tinylfu    sieve        lru");
    for keys in [2_000, 20_000] {
        for (held, one_hit_percent) in [(55, 20), (55, 0), (55, 50), (55, 95), (10, 20)] {
            let traffic = Traffic {
                keys,
                exponent: 0.9,
                one_hit_percent,
                warm_up: keys * 15,
                counted: keys * 25,
            };
            print!("{keys:<7} {held} %  {one_hit_percent:>4} % ");
            for (_, policy) in POLICIES {
                let counts = run(&runtime, traffic, policy, held);
                print!("   {:.3} {:.3}", counts.ratio(), counts.hot_ratio());
            }
            println!();
        }
    }
}
