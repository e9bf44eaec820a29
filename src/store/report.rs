use std::sync::Arc;

use super::entry::Tier;
use super::folder::DiskTrouble;

/// A configured tier and how it is.
#[derive(Debug, Clone)]
pub struct TierReport {
    /// Which one.
    pub tier: Tier,
    /// The path of a disk.
    pub place: Option<Arc<str>>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The memory tier that sites share.
    pub memory: MemoryStats,
    /// The disks that are configured.
    pub disks: Vec<DiskStats>,
    /// Bytes of memory that the index of all disks takes, about.
    pub index_bytes: u64,
    /// What it may take.
    pub index_bytes_max: u64,
    /// The sites that have asked for their part.
    pub sites: Vec<SiteStats>,
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
    /// Entries found, also in tiers that are a site's own.
    pub hits: u64,
    /// Entries not found.
    pub misses: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Entries refused because they were too large.
    pub refused_size: u64,
}

/// Numbers of what one site has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteStats {
    /// The site's name.
    pub name: Box<str>,
    /// What the entries of its own memory tier weigh; `None` when it has none.
    pub memory_used_bytes: Option<u64>,
    /// What they may weigh.
    pub memory_capacity_bytes: Option<u64>,
    /// How many there are.
    pub memory_entries: Option<u64>,
    /// What may be written for it within one turn of the log; 0 is no bound.
    pub disk_quota_bytes: u64,
    /// What was.
    pub disk_written_bytes: u64,
    /// Entries found in memory.
    pub memory_hits: u64,
    /// Entries not found there.
    pub memory_misses: u64,
    /// Entries found on disk.
    pub disk_hits: u64,
    /// Entries looked for on disk and not found.
    pub disk_misses: u64,
}

/// Numbers of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStats {
    /// Its path.
    pub place: Arc<str>,
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
    /// Objects refused because they were not asked for often enough.
    pub refused_uses: u64,
    /// Entries refused because the disk had written as much as it may.
    pub refused_rate: u64,
    /// Entries refused because their site had written as much as it may.
    pub refused_quota: u64,
    /// Objects refused because the index had no room for what is so small.
    pub refused_index: u64,
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
    /// Times that it was taken into use again, after a failure or since it could not be used at first.
    pub recoveries: u64,
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
