//! Random numbers that a seed gives again.

use std::time::Duration;

/// SplitMix64's finaliser.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let room = usize::try_from((most.saturating_sub(least)).as_micros()).expect("some seconds");
        least + Duration::from_micros(self.below(room + 1) as u64)
    }

    /// Small numbers are likelier, as of popular resources.
    pub(crate) fn popular(&mut self, bound: usize) -> usize {
        let one = self.below(bound);
        let other = self.below(bound);
        one.min(other)
    }
}
