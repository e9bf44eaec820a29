//! The short form of `cargo bench --bench footprint -- tiny`: a flood of tiny objects does not make the process grow beyond
//! what its memory tier may hold.

use brim::store::{Config, MemoryConfig, Placement, Store};

#[path = "../benches/support/mod.rs"]
mod support;

/// As in the program: what the process takes depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE_BYTES: u64 = 32 << 20;
const BEYOND_BYTES: u64 = 32 << 20;
const OBJECTS: u64 = 300_000;

#[tokio::test(flavor = "multi_thread")]
async fn tiny_objects_take_no_more_than_the_memory_tier_may_hold()
-> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let config = Config {
        memory: MemoryConfig {
            size_bytes: SIZE_BYTES,
            ..MemoryConfig::default()
        },
        disks: Vec::new(),
        state: folder.path().to_owned(),
        max_clocks: 1000,
    };
    let store = Store::open(&config, tokio::runtime::Handle::current()).await?;
    let before = support::resident_bytes();
    let mut most = 0;
    for number in 0..OBJECTS {
        let path = format!("/assets/{number:08}.bin");
        let body = support::body(number, 100);
        let (key, entry) = support::object(&store, &path, u128::from(number), body);
        store
            .site("demo")
            .insert(key, entry, Placement::MemoryAndDisk)
            .await;
        if number % 10_000 == 0 {
            most = most.max(support::resident_bytes().saturating_sub(before));
        }
    }
    let memory = store.stats().memory;
    assert!(memory.used_bytes <= SIZE_BYTES);
    assert!(memory.entries > 10_000, "{} entries", memory.entries);
    assert!(
        most <= SIZE_BYTES + BEYOND_BYTES,
        "{} MiB are taken by a tier of {} MiB",
        most >> 20,
        SIZE_BYTES >> 20
    );
    Ok(())
}
