//! Purge clocks: what was purged, and when in the order of purges.
//!
//! A purge writes a sequence number into a slot (a URL, a prefix, a tag, a site, everything) and touches
//! no object. An object carries the sequence at which the fetch of its bytes began and the one at which
//! its last validation began; comparing those with the slots that concern it tells whether it was
//! purged since. So a purge costs the same however much it hits, holds for what is being fetched while
//! it happens, and cannot be undone by a restart or by a clock that steps.
//!
//! What traffic shows to be out of date has slots and a file of its own, bounded and without an fsync:
//! strangers cause it, and must neither crowd out the purges of operators nor wear out the disk.

mod hits;
mod journal;
mod log;
mod notes;
mod slot;
mod table;
mod traffic;
mod witness;

#[cfg(test)]
mod tests;

pub use self::hits::{ClockHit, ClockTarget};
pub use self::notes::{Note, Noted};
pub use self::slot::{ANY_TAG, Invalidation, Purge, PurgeItem, Purged, Slot, Subject, TrafficSlot};
pub use self::table::{Clocks, SiteClock};
