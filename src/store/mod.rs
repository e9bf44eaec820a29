//! Bytes that outlive requests: the memory tier, the disk tier, and the purge clocks.

mod config;

pub use self::config::{Config, DiskConfig, EvictionPolicy, MemoryConfig};
