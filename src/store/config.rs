use std::path::PathBuf;

/// `[cache.memory]`, `[[cache.disk]]` and `[purge]` of the node, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The memory tier.
    pub memory: MemoryConfig,
    /// The disk tier; `None` is a node that serves from memory alone.
    pub disk: Option<DiskConfig>,
    /// Where purge clocks and the hash key are kept.
    pub state: PathBuf,
    /// Purge clocks kept before the floor is raised.
    pub max_clocks: usize,
}

/// `[cache.memory]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryConfig {
    /// All entries together.
    pub size_bytes: u64,
    /// Objects with a larger body are kept on disk only.
    pub max_object_bytes: u64,
    /// What goes first when the tier is full.
    pub policy: EvictionPolicy,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            size_bytes: 256 << 20,
            max_object_bytes: 2 << 20,
            policy: EvictionPolicy::S3Fifo,
        }
    }
}

/// What goes first when the memory tier is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// S3-FIFO: resists scans.
    S3Fifo,
    /// w-TinyLFU.
    WTinyLfu,
    /// Least recently used.
    Lru,
    /// SIEVE.
    Sieve,
}

/// `[[cache.disk]]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder that holds the tier.
    pub path: PathBuf,
    /// Its size; at least eight blocks of 16 MiB.
    pub size_bytes: u64,
}
