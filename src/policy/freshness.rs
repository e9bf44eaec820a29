//! Age and lifetime of a stored response (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

/// What a stored response carries to decide about its use, worked out once when it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When the response (or its last successful validation) was received.
    pub received_at: SystemTime,
    /// Its age at that moment: corrected_initial_age of RFC 9111 §4.2.3.
    pub initial_age: Duration,
    /// At this age it becomes stale.
    pub lifetime: Duration,
    /// How long beyond its lifetime it may answer while it is validated (RFC 5861 §3).
    pub stale_while_revalidate: Duration,
    /// How long beyond its lifetime it may answer in place of an error (RFC 5861 §4).
    pub stale_if_error: Duration,
    /// `no-cache`: never used without validation, however fresh.
    pub always_validate: bool,
    /// Never used when stale, whatever the client or the site would allow.
    pub must_revalidate: bool,
}

impl Freshness {
    /// The freshness of what is not stored: stale from the start, never used again.
    #[must_use]
    pub fn stale_at(received_at: SystemTime) -> Self {
        Self {
            received_at,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: true,
            must_revalidate: true,
        }
    }

    /// The age at `now` (RFC 9111 §4.2.3). A clock that has stepped back behind `received_at` makes it stand
    /// still, never shrink below the age on arrival.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = now.duration_since(self.received_at).unwrap_or_default();
        self.initial_age.saturating_add(resident)
    }

    /// Whole seconds of freshness that remain; negative when stale, where each begun second counts.
    #[must_use]
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let age = self.age(now);
        match self.lifetime.checked_sub(age) {
            Some(left) => whole_seconds(left),
            None => {
                let over = age.saturating_sub(self.lifetime);
                let begun = u32::from(over.subsec_nanos() > 0);
                whole_seconds(over)
                    .saturating_add(begun.into())
                    .saturating_neg()
            }
        }
    }

    /// RFC 9111 §4.2: the lifetime is longer than the age.
    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.lifetime > self.age(now)
    }

    /// How long it has been stale; zero while it is fresh.
    pub(super) fn staleness(&self, now: SystemTime) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    fn sample(initial_age: u64, lifetime: u64) -> Freshness {
        Freshness {
            received_at: at(1_000_000),
            initial_age: Duration::from_millis(initial_age),
            lifetime: Duration::from_millis(lifetime),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: false,
            must_revalidate: false,
        }
    }

    #[track_caller]
    fn check(initial_age: u64, lifetime: u64, now: u64, age: u64, ttl: i64, fresh: bool) {
        let freshness = sample(initial_age, lifetime);
        assert_eq!(freshness.age(at(now)), Duration::from_millis(age));
        assert_eq!(freshness.ttl(at(now)), ttl);
        assert_eq!(freshness.is_fresh(at(now)), fresh);
    }

    #[test]
    fn age_is_what_it_came_with_and_the_stay() {
        check(0, 60_000, 1_000_000, 0, 60, true);
        check(10_000, 60_000, 1_005_000, 15_000, 45, true);
        check(10_000, 60_000, 1_049_999, 59_999, 0, true);
        check(10_000, 60_000, 1_050_000, 60_000, 0, false);
        check(10_000, 60_000, 1_050_001, 60_001, -1, false);
        check(10_000, 60_000, 1_051_000, 61_000, -1, false);
    }

    #[test]
    fn a_clock_that_steps_back_makes_nothing_younger() {
        check(10_000, 60_000, 0, 10_000, 50, true);
    }

    proptest! {
        #[test]
        fn freshness_is_lost_once_and_for_all(
            initial in 0u64..100_000, lifetime in 0u64..100_000,
            first in 900_000u64..1_200_000, later in 0u64..200_000,
        ) {
            let freshness = sample(initial, lifetime);
            let (one, two) = (at(first), at(first + later));
            prop_assert!(freshness.age(one) <= freshness.age(two));
            prop_assert!(freshness.ttl(one) >= freshness.ttl(two));
            prop_assert!(freshness.is_fresh(one) || !freshness.is_fresh(two));
            prop_assert!(!freshness.is_fresh(one) || freshness.ttl(one) >= 0);
            prop_assert!(freshness.is_fresh(one) || freshness.ttl(one) <= 0);
        }
    }
}
