//! Time as an argument: the one door to the wall clock and to monotonic time.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// Where the node's time comes from. Deadlines on sockets use tokio's timers; everything that ends
/// in a header, a stored object or a decision asks this.
pub trait Clock: Debug + Send + Sync {
    /// Wall time. May step in either direction.
    fn now(&self) -> SystemTime;
    /// Time since the clock was made. Never steps back.
    fn uptime(&self) -> Duration;
}

/// A clock that several rooms share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the monotonic part at zero.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The machine's clock behind an `Arc`.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that only moves when it is told to, for tests.
#[derive(Debug)]
pub struct ManualClock {
    start: SystemTime,
    uptime: Mutex<Duration>,
    /// How far the wall time has been stepped back in all.
    stepped_back: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn starting_at(start: SystemTime) -> Self {
        Self {
            start,
            uptime: Mutex::new(Duration::ZERO),
            stepped_back: Mutex::new(Duration::ZERO),
        }
    }

    /// Moves both the wall time and the uptime forward.
    pub fn advance(&self, by: Duration) {
        *self.uptime.lock() += by;
    }

    /// Steps the wall time back, as somebody does who sets the machine's clock right.
    pub fn step_back(&self, by: Duration) {
        *self.stepped_back.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.start + self.uptime() - *self.stepped_back.lock()
    }

    fn uptime(&self) -> Duration {
        *self.uptime.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::starting_at(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(clock.uptime(), Duration::from_secs(5));
        clock.step_back(Duration::from_secs(3));
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(2));
        assert_eq!(clock.uptime(), Duration::from_secs(5));
    }
}
