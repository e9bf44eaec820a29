//! Bytes that outlive requests: the memory tier, the disk tier, and the purge clocks.
//!
//! [`Store`] is a cache and nothing more: what it holds may vanish at any time, and what was removed may
//! come back. Whether a found object may still be used is decided on every hit, by [`Clocks::check`] for
//! purges and by `policy` for time.

mod admission;
mod blocks;
mod clocks;
mod codec;
mod config;
mod counters;
mod device;
mod disk;
mod disks;
mod doorkeeper;
mod doubts;
mod entry;
mod error;
mod flights;
mod folder;
mod hash;
mod inspect;
mod memory;
mod object;
mod packed;
mod places;
mod report;
mod rotation;
mod site;
mod sketch;
mod slot;
mod tiers;
mod turns;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::admission::{Admission, Newcomer, Refusal};
pub use self::clocks::{
    ANY_TAG, ClockHit, ClockTarget, Clocks, Invalidation, Note, Noted, Purge, PurgeItem, Purged,
    SiteClock, Slot, Subject, TrafficSlot,
};
pub use self::config::{Config, DiskConfig, EvictionPolicy, MemoryConfig, Quota};
pub use self::entry::{CHUNK_BYTES, Entry, EntryKey, Kept, Part, Placement, Tier, VaryIndex};
pub use self::error::StoreError;
pub use self::folder::DiskTrouble;
pub use self::inspect::{Inspected, Present};
pub use self::object::{Body, Draft, Dressed, Headers, Object, Told};
pub use self::report::{
    ClockStats, CloseOutcome, DiskStats, MemoryStats, SiteStats, Stats, TierReport, TierState,
};
pub use self::site::SiteStore;
pub use self::tiers::Store;
