use std::path::PathBuf;

/// `[cache.memory]`, `[[cache.disk]]` and `[purge]` of the node, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The memory tier.
    pub memory: MemoryConfig,
    /// The disks; without one the node serves from memory alone.
    pub disks: Vec<DiskConfig>,
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
    /// Bytes a second that may be written to it; 0 is no bound.
    pub write_rate_bytes: u64,
    /// Requests for an object before it is written; at least 1.
    pub min_uses: u8,
    /// The sites that it is for; none is all that no other disk is for.
    pub sites: Vec<Box<str>>,
}

impl DiskConfig {
    /// A disk for all sites that takes whatever it can.
    #[must_use]
    pub fn new(path: PathBuf, size_bytes: u64) -> Self {
        Self {
            path,
            size_bytes,
            write_rate_bytes: 0,
            min_uses: 1,
            sites: Vec::new(),
        }
    }
}

/// `[cache] quota` of a site, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// The size of a memory tier of the site's own; 0 shares the node's.
    pub memory_bytes: u64,
    /// What may be written to disk for the site within one turn of the disk's log; 0 is no bound.
    pub disk_bytes: u64,
}
