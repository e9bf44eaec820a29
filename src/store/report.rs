use super::entry::Tier;
use super::folder::DiskTrouble;

/// A configured tier and how it is.
#[derive(Debug, Clone)]
pub struct TierReport {
    /// Which one.
    pub tier: Tier,
    /// Its configured size.
    pub capacity_bytes: u64,
    /// Whether it is in use.
    pub state: TierState,
}

/// Whether a tier is in use.
#[derive(Debug, Clone)]
pub enum TierState {
    /// It is.
    Ready,
    /// It is not, and why; it is tried again from time to time.
    Down(DiskTrouble),
}

/// Numbers for the metrics. Those that count do so since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The memory tier.
    pub memory: MemoryStats,
    /// The disk tier, when one is configured.
    pub disk: Option<DiskStats>,
    /// The purge clocks.
    pub clocks: ClockStats,
}

/// Numbers of the memory tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStats {
    /// Entries held.
    pub entries: u64,
    /// What they weigh.
    pub used_bytes: u64,
    /// What they may weigh.
    pub capacity_bytes: u64,
    /// Entries found.
    pub hits: u64,
    /// Entries not found.
    pub misses: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Entries refused because they were too large.
    pub refused_size: u64,
}

/// Numbers of the disk tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskStats {
    /// Whether it is in use.
    pub in_use: bool,
    /// Its configured size.
    pub capacity_bytes: u64,
    /// Entries that can be found.
    pub entries: u64,
    /// What its index takes in memory, about.
    pub index_bytes: u64,
    /// Handed over and not written yet.
    pub waiting_bytes: u64,
    /// Entries found.
    pub hits: u64,
    /// Entries looked for on disk and not found.
    pub misses: u64,
    /// Entries handed over for writing.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Entries written again because they were in use and near their eviction; part of `writes`.
    pub rewrites: u64,
    /// Entries refused because the disk was too slow for them.
    pub refused_full: u64,
    /// Entries refused because they were too large.
    pub refused_size: u64,
    /// Entries handed over that were not there afterwards.
    pub lost: u64,
    /// Reads that failed or took too long.
    pub read_errors: u64,
    /// Records that were not entries.
    pub corrupt: u64,
    /// Times that the tier was given up.
    pub failures: u64,
}

/// Numbers of the purge clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStats {
    /// The last purge or invalidation that holds.
    pub sequence: u64,
    /// What is older than this is purged.
    pub floor: u64,
    /// Clocks held, without those of invalidations.
    pub slots: u64,
    /// Clocks of invalidations held.
    pub traffic: u64,
    /// How often a site's clock was raised since it had too many of those.
    pub overflows: u64,
}

/// How closing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseOutcome {
    /// All that was handed over has been written.
    Complete,
    /// Some may not have been: those entries are lost.
    DeadlinePassed,
}
