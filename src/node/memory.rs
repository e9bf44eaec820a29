//! `[limits] memory`: what the process takes is watched, and the node gives way before the system ends it.
//!
//! At 90 % of the limit the memory tier shrinks step by step and idle connections are closed; at 95 % nothing new is
//! begun. Both end well below where they began, so that the node does not go to and fro.
//!
//! The allocator gives back late, and only on threads that work, what a smaller tier has let go. That memory is free for
//! the next objects all the same, so it does not count as taken, up to the limit itself: else a node that refuses
//! everything would never see its memory fall.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::allowance::System;
use crate::cache::{Cache, Pressure};
use crate::config::NodeConfig;
use crate::server::Server;

/// Between two looks. A look is one small file of the system.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A connection between two requests of one page is not idle.
const IDLE_LEAST: Duration = Duration::from_secs(1);

/// In hundredths of the limit.
const TIGHT_FROM: u64 = 90;
const TIGHT_UNTIL: u64 = 85;
const SHORT_FROM: u64 = 95;
const SHORT_UNTIL: u64 = 92;
/// What a shrinking tier aims at.
const AIM: u64 = 85;
/// Below this a tier that was shrunk grows again.
const GROW_BELOW: u64 = 80;

/// Thousandths of the configured size.
const WHOLE: u16 = 1000;
/// A tier as good as none costs more than it frees: its misses are fetched again.
const SHARE_LEAST: u16 = 60;
const STEP: u16 = 60;
/// Looks after a step, before the next.
const REST: u8 = 5;
/// Of what a step has let go, nothing is left with the allocator from here on.
const FULL: u64 = 100;

/// What the process takes.
pub trait Resident: Send + Sync + 'static {
    /// Resident bytes; `None` when that is not known.
    fn resident_bytes(&self) -> Option<u64>;
}

impl Resident for System {
    fn resident_bytes(&self) -> Option<u64> {
        Self::resident_bytes(self)
    }
}

/// What is decided at one look, and what the next one starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    pressure: Pressure,
    /// Thousandths of its configured size that the memory tier may hold.
    share: u16,
    /// Looks to wait before the share is changed again.
    rest: u8,
    /// Bytes that the tier has let go, and what the process took then.
    freed: u64,
    freed_at: u64,
}

impl Plan {
    fn at_first(share: u16) -> Self {
        Self {
            pressure: Pressure::Ample,
            share,
            rest: 0,
            freed: 0,
            freed_at: 0,
        }
    }

    /// What the process takes without what the allocator has yet to give back.
    fn taken(&self, resident: u64) -> u64 {
        resident
            .max(self.freed_at)
            .saturating_sub(self.freed)
            .min(resident)
    }

    fn next(self, seen: Seen) -> Self {
        let taken = self.taken(seen.resident);
        let reached = |hundredths| seen.reaches(taken, hundredths);
        let resident_reached = |hundredths| seen.reaches(seen.resident, hundredths);
        let pressure = if reached(SHORT_FROM)
            || resident_reached(FULL)
            || (self.pressure == Pressure::Short && reached(SHORT_UNTIL))
        {
            Pressure::Short
        } else if resident_reached(TIGHT_FROM)
            || (self.pressure != Pressure::Ample && resident_reached(TIGHT_UNTIL))
        {
            Pressure::Tight
        } else {
            Pressure::Ample
        };
        let is_back = !resident_reached(TIGHT_UNTIL);
        let stay = Self {
            pressure,
            rest: self.rest.saturating_sub(1),
            freed: if is_back { 0 } else { self.freed },
            ..self
        };
        if self.rest > 0 {
            return stay;
        }
        if (reached(TIGHT_FROM) || resident_reached(FULL)) && self.share > SHARE_LEAST {
            let above = taken.saturating_sub(part(seen.limit, AIM));
            // From what the tier holds: room that it does not use frees nothing.
            let from = self.share.min(seen.thousandths(seen.used));
            let step = seen.thousandths(above).max(STEP);
            let share = from.saturating_sub(step).max(SHARE_LEAST);
            let freed = seen.used.saturating_sub(seen.bytes(share));
            return Self {
                share,
                rest: REST,
                freed: freed.saturating_add(seen.resident.saturating_sub(taken)),
                freed_at: seen.resident,
                ..stay
            };
        }
        let room = part(seen.limit, AIM).saturating_sub(seen.resident);
        if !resident_reached(GROW_BELOW)
            && self.share < seen.share_max
            && seen.thousandths(room) >= STEP
        {
            return Self {
                share: self.share.saturating_add(STEP).min(seen.share_max),
                rest: REST,
                ..stay
            };
        }
        stay
    }
}

/// What there is at one look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    resident: u64,
    limit: u64,
    /// The memory tier: as configured, and what is in it.
    size: u64,
    used: u64,
    /// What of it fits into the limit at all.
    share_max: u16,
}

impl Seen {
    fn reaches(&self, bytes: u64, hundredths: u64) -> bool {
        u128::from(bytes) * 100 >= u128::from(self.limit) * u128::from(hundredths)
    }

    /// That share of the tier, in bytes.
    fn bytes(&self, share: u16) -> u64 {
        let bytes = u128::from(self.size) * u128::from(share) / u128::from(WHOLE);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes as a part of the tier's configured size, rounded up.
    fn thousandths(&self, bytes: u64) -> u16 {
        let part = (u128::from(bytes) * u128::from(WHOLE)).div_ceil(u128::from(self.size.max(1)));
        u16::try_from(part).unwrap_or(u16::MAX)
    }
}

fn part(bytes: u64, hundredths: u64) -> u64 {
    bytes / 100 * hundredths
}

/// The watch over the process's memory.
pub(super) struct MemoryWatch {
    limit: u64,
    /// The memory tier's configured size, and what of it fits into the limit.
    size: u64,
    share_max: u16,
    resident: AtomicU64,
    plan: Mutex<Plan>,
    cache: Arc<Cache>,
    source: Box<dyn Resident>,
}

/// What the watch says of itself.
pub(super) struct MemoryReport {
    pub(super) limit_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) pressure: Pressure,
    /// 1 is the configured size.
    pub(super) cache_share: f64,
}

impl MemoryWatch {
    pub(super) fn new(config: &NodeConfig, cache: &Arc<Cache>, source: Box<dyn Resident>) -> Self {
        let limit = limit(config, System::here().memory_bytes());
        let share_max = share_max(limit, config);
        Self {
            limit,
            size: tiers_bytes(config),
            share_max,
            resident: AtomicU64::new(source.resident_bytes().unwrap_or(0)),
            plan: Mutex::new(Plan::at_first(share_max)),
            cache: Arc::clone(cache),
            source,
        }
    }

    /// Holds the tier to what fits, and tells the operator when what is configured does not.
    pub(super) fn compare(&self, config: &NodeConfig) {
        self.cache.store().set_index_budget(self.limit / INDEX_PART);
        if self.share_max < WHOLE {
            self.cache.store().scale_memory(self.share_max);
        }
        let budgets = fixed(config)
            .saturating_add(tiers_bytes(config))
            .saturating_add(config.images.memory_bytes);
        if budgets > self.limit {
            tracing::warn!(
                limit_bytes = self.limit,
                budgets_bytes = budgets,
                memory_tier_thousandths = self.share_max,
                "the memory tier, the pictures and the disk's buffers may together take more than [limits] memory: write a \
                 smaller [cache.memory] size or [images] memory, or a larger limit"
            );
        }
    }

    /// Looks again and again; ends with the runtime.
    pub(super) async fn run(self: Arc<Self>, server: std::sync::Weak<Server>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let watch = Arc::clone(&self);
            let server = server.clone();
            // Evicting blocks.
            if tokio::task::spawn_blocking(move || watch.look(server.upgrade().as_deref()))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn look(&self, server: Option<&Server>) {
        // Unknown is no reason to refuse anybody.
        let Some(resident) = self.source.resident_bytes() else {
            return;
        };
        self.resident.store(resident, Ordering::Relaxed);
        let seen = Seen {
            resident,
            limit: self.limit,
            size: self.size,
            used: self.cache.store().memory_used_bytes(),
            share_max: self.share_max,
        };
        let before = *self.plan.lock();
        let plan = before.next(seen);
        *self.plan.lock() = plan;
        // First: it must not wait for evictions.
        self.cache.set_pressure(plan.pressure);
        if plan.pressure != before.pressure {
            tracing::warn!(
                state = plan.pressure.as_str(),
                before = before.pressure.as_str(),
                resident_bytes = resident,
                limit_bytes = self.limit,
                "memory"
            );
        }
        if plan.share != before.share {
            tracing::info!(
                thousandths = plan.share,
                resident_bytes = resident,
                "the memory tier is resized"
            );
            self.cache.store().scale_memory(plan.share);
        }
        if let Some(server) = server.filter(|_| plan.pressure != Pressure::Ample) {
            server.close_idle(IDLE_LEAST);
        }
    }

    pub(super) fn report(&self) -> MemoryReport {
        let plan = *self.plan.lock();
        MemoryReport {
            limit_bytes: self.limit,
            resident_bytes: self.resident.load(Ordering::Relaxed),
            pressure: plan.pressure,
            cache_share: f64::from(plan.share) / f64::from(WHOLE),
        }
    }
}

/// What is configured, else three quarters of what there is.
fn limit(config: &NodeConfig, there_is: Option<u64>) -> u64 {
    match config.memory_limit_bytes {
        // Metrics count in signed numbers.
        0 => there_is.map_or(u64::MAX >> 1, |bytes| bytes / 4 * 3),
        bytes => bytes,
    }
}

/// The index of the disks may take the limit divided by this.
const INDEX_PART: u64 = 8;

/// What the node takes without objects and pictures.
fn fixed(config: &NodeConfig) -> u64 {
    /// Code, threads and their stacks, clocks.
    const BASE: u64 = 48 << 20;
    /// Two flush buffers of each disk.
    const DISK: u64 = 64 << 20;
    BASE + config.store.disks.len() as u64 * DISK
}

/// All memory tiers together: the one that sites share, and those that are a site's own.
fn tiers_bytes(config: &NodeConfig) -> u64 {
    let own = config.sites.iter().map(|site| site.quota.memory_bytes);
    own.fold(config.store.memory.size_bytes, u64::saturating_add)
}

/// The thousandths of the memory tier that the limit has room for, beside what the node takes anyway.
fn share_max(limit: u64, config: &NodeConfig) -> u16 {
    let room = part(limit, AIM).saturating_sub(fixed(config));
    let size = u128::from(tiers_bytes(config).max(1));
    let share = u128::from(room) * u128::from(WHOLE) / size;
    u16::try_from(share)
        .unwrap_or(WHOLE)
        .clamp(SHARE_LEAST, WHOLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A tier of 500 MiB that is full, under a limit of 1000 MiB.
    fn seen(resident_mib: u64, used_mib: u64) -> Seen {
        Seen {
            resident: resident_mib * MIB,
            limit: 1000 * MIB,
            size: 500 * MIB,
            used: used_mib * MIB,
            share_max: WHOLE,
        }
    }

    fn plan(pressure: Pressure, share: u16) -> Plan {
        Plan {
            pressure,
            ..Plan::at_first(share)
        }
    }

    #[test]
    fn states_begin_and_end_at_different_places() {
        for (before, resident, after) in [
            (Pressure::Ample, 899, Pressure::Ample),
            (Pressure::Ample, 900, Pressure::Tight),
            (Pressure::Ample, 950, Pressure::Short),
            (Pressure::Tight, 949, Pressure::Tight),
            (Pressure::Tight, 950, Pressure::Short),
            (Pressure::Tight, 851, Pressure::Tight),
            (Pressure::Tight, 849, Pressure::Ample),
            (Pressure::Short, 921, Pressure::Short),
            (Pressure::Short, 919, Pressure::Tight),
            (Pressure::Short, 849, Pressure::Ample),
        ] {
            let next = plan(before, WHOLE).next(seen(resident, 500));
            assert_eq!(next.pressure, after, "{before:?} at {resident}");
        }
    }

    #[test]
    fn a_tier_shrinks_by_what_is_too_much_and_then_rests() {
        // 60 MiB above the aim of 850 are 120 thousandths of 500 MiB.
        let mut now = plan(Pressure::Ample, WHOLE).next(seen(910, 500));
        assert_eq!((now.share, now.rest), (880, REST));
        // The process goes on growing by what the tier has not got.
        for _ in 0..REST {
            now = now.next(seen(960, 440));
            assert_eq!(now.share, 880);
        }
        assert_eq!(now.next(seen(960, 440)).share, 780);
    }

    #[test]
    fn what_the_allocator_has_yet_to_give_back_is_not_taken() {
        let mut now = plan(Pressure::Ample, WHOLE).next(seen(960, 500));
        assert_eq!((now.pressure, now.share), (Pressure::Short, 780));
        for _ in 0..20 {
            now = now.next(seen(960, 390));
            assert_eq!((now.pressure, now.share), (Pressure::Tight, 780));
        }
        // Beyond the limit there is no excuse.
        assert_eq!(now.next(seen(1000, 390)).pressure, Pressure::Short);
        let back = now.next(seen(840, 390));
        assert_eq!((back.pressure, back.freed), (Pressure::Ample, 0));
    }

    #[test]
    fn room_that_is_not_used_is_not_what_is_given_up() {
        let next = plan(Pressure::Ample, WHOLE).next(seen(910, 250));
        assert_eq!(next.share, 500 - 120);
    }

    #[test]
    fn something_is_left_of_a_tier_that_is_not_to_blame() {
        let mut now = plan(Pressure::Ample, WHOLE);
        for _ in 0..100 {
            now = now.next(seen(1500, u64::from(now.share) / 2));
        }
        assert_eq!((now.pressure, now.share), (Pressure::Short, SHARE_LEAST));
    }

    #[test]
    fn a_tier_grows_again_when_there_is_room_for_it() {
        let mut now = plan(Pressure::Ample, 400);
        for (resident, share) in [(860, 400), (805, 400), (790, 460)] {
            now.rest = 0;
            now = now.next(seen(resident, 200));
            assert_eq!(now.share, share, "at {resident}");
        }
        for _ in 0..100 {
            now = now.next(seen(300, 200));
        }
        assert_eq!((now.pressure, now.share), (Pressure::Ample, WHOLE));
    }

    proptest! {
        #[test]
        fn no_reading_leads_astray(
            readings in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..50),
            limit in any::<u64>(),
            size in any::<u64>(),
        ) {
            let mut now = Plan::at_first(WHOLE);
            for (resident, used) in readings {
                now = now.next(Seen { resident, limit, size, used, share_max: WHOLE });
                prop_assert!((SHARE_LEAST..=WHOLE).contains(&now.share));
            }
        }
    }
}
