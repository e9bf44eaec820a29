use std::collections::HashMap;

use parking_lot::RwLock;

use super::hash::FoldBuilder;

const SHARDS: usize = 64;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u32,
    /// In the block; a block has at most 1 GiB.
    pub(super) offset: u32,
    /// Of the record without what the engine puts around it.
    pub(super) length: u32,
}

/// The index of the disk tier: where each record lies, by the hash of its key.
///
/// 64 bits of a keyed hash, not the key: 20 bytes a record. Two keys with one hash take turns, and the
/// whole key is compared when a record is read.
#[derive(Debug)]
pub(super) struct Places {
    shards: Box<[RwLock<HashMap<u64, Place, FoldBuilder>>]>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }

    pub(super) fn get(&self, hash: u64) -> Option<Place> {
        self.shard(hash).read().get(&hash).copied()
    }

    pub(super) fn insert(&self, hash: u64, place: Place) {
        self.shard(hash).write().insert(hash, place);
    }

    pub(super) fn remove(&self, hash: u64) {
        self.shard(hash).write().remove(&hash);
    }

    /// Removes what is still kept under the hash at that very place.
    pub(super) fn remove_at(&self, hash: u64, place: Place) {
        let mut shard = self.shard(hash).write();
        if shard.get(&hash) == Some(&place) {
            shard.remove(&hash);
        }
    }

    /// Removes what is still kept under the hash in that block.
    pub(super) fn remove_in(&self, hash: u64, block: u32) {
        let mut shard = self.shard(hash).write();
        if shard.get(&hash).is_some_and(|place| place.block == block) {
            shard.remove(&hash);
        }
    }

    /// Removes all that is kept in a block, by looking at everything.
    pub(super) fn remove_block(&self, block: u32) {
        for shard in &self.shards {
            shard.write().retain(|_, place| place.block != block);
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.read().len() as u64)
            .sum()
    }

    /// What the index takes in memory, about.
    pub(super) fn bytes(&self) -> u64 {
        // A slot and its control byte; a table is filled to seven eighths.
        const SLOT: u64 = size_of::<(u64, Place)>() as u64 + 1;
        self.shards
            .iter()
            .map(|shard| shard.read().capacity() as u64 * SLOT * 8 / 7)
            .sum()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is below the number of shards"
    )]
    fn shard(&self, hash: u64) -> &RwLock<HashMap<u64, Place, FoldBuilder>> {
        // The upper bits: the tables use the lower ones.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(block: u32, offset: u32) -> Place {
        Place {
            block,
            offset,
            length: 1,
        }
    }

    #[test]
    fn only_what_is_where_it_was_said_to_be_is_removed() {
        let places = Places::new();
        places.insert(1, at(3, 0));
        places.remove_at(1, at(3, 64));
        places.remove_in(1, 4);
        assert_eq!(places.get(1), Some(at(3, 0)));
        places.remove_in(1, 3);
        assert_eq!(places.get(1), None);
        places.insert(1, at(3, 0));
        places.insert(1, at(5, 0));
        places.remove_at(1, at(3, 0));
        assert_eq!(places.get(1), Some(at(5, 0)));
        places.insert(2, at(6, 0));
        places.remove_block(5);
        assert_eq!((places.get(1), places.get(2)), (None, Some(at(6, 0))));
        assert_eq!(places.entries(), 1);
    }

    #[test]
    fn an_entry_takes_little_memory() {
        let places = Places::new();
        for n in 0..1_000_000u64 {
            places.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), at(1, 0));
        }
        assert_eq!(places.entries(), 1_000_000);
        let each = places.bytes() / 1_000_000;
        assert!((20..64).contains(&each), "{each}");
    }
}
