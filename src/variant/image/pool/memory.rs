use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::super::cook::Watch;
use super::super::error::ImageError;

/// The memory of all jobs together, and of what is kept decoded.
///
/// A job waits for all that it needs at once and holds nothing meanwhile, so that no two can wait for each other.
pub(super) struct Memory {
    limit: u64,
    state: Mutex<State>,
    freed: Condvar,
    /// Lets go of something that is only kept in case it is asked for; says whether there was such a thing.
    spare: Box<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Default)]
struct State {
    used: u64,
    /// Counts what may let a waiting job go on.
    turns: u64,
}

/// A part of the memory, given back by drop.
pub(super) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    pub(super) fn new(limit: u64, spare: Box<dyn Fn() -> bool + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            freed: Condvar::new(),
            spare,
        })
    }

    pub(super) fn used(&self) -> u64 {
        self.state.lock().used
    }

    fn free(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(bytes);
        state.turns += 1;
        self.freed.notify_all();
    }

    fn reserve(self: &Arc<Self>, bytes: u64, ticket: &Ticket) -> Result<Reservation, ImageError> {
        let most = if ticket.is_modest {
            self.limit / 2
        } else {
            self.limit
        };
        if bytes > most {
            return Err(ImageError::TooLarge {
                what: "what decoding would take",
            });
        }
        // Ends when others free enough, or with the deadline, which cancels.
        loop {
            let turns = {
                let mut state = self.state.lock();
                if state.used.saturating_add(bytes) <= most {
                    state.used += bytes;
                    return Ok(Reservation {
                        memory: Arc::clone(self),
                        bytes,
                    });
                }
                state.turns
            };
            ticket.check()?;
            // Not under the lock: what is let go of gives its memory back.
            if (self.spare)() {
                continue;
            }
            if ticket.is_modest {
                return Err(ImageError::QueueFull);
            }
            let mut state = self.state.lock();
            if state.turns == turns {
                self.freed.wait(&mut state);
            }
        }
    }
}

impl Reservation {
    /// Parts `bytes` of it off, or as much as there is.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            memory: Arc::clone(&self.memory),
            bytes,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.free(self.bytes);
    }
}

/// What a job and its waiter share.
#[derive(Clone)]
pub(super) struct Ticket {
    cancelled: Arc<AtomicBool>,
    memory: Arc<Memory>,
    /// Whether half of the memory is left to others, and nothing is waited for.
    is_modest: bool,
}

impl Ticket {
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self {
            cancelled: Arc::default(),
            memory: Arc::clone(memory),
            is_modest: false,
        }
    }

    /// The same for a job that nobody waits for: what takes long and is never hurried must not hold what answers need.
    pub(super) fn modest(&self) -> Self {
        Self {
            is_modest: true,
            ..self.clone()
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        // A turn, so that a job that is about to wait for memory cannot miss it.
        self.memory.free(0);
    }
}

impl Watch for Ticket {
    type Reserved = Reservation;

    fn reserve(&self, bytes: u64) -> Result<Reservation, ImageError> {
        self.memory.reserve(bytes, self)
    }

    fn check(&self) -> Result<(), ImageError> {
        if self.is_cancelled() {
            Err(ImageError::Cancelled)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_waited_for_and_given_back() {
        let memory = Memory::new(100, Box::new(|| false));
        let first = Ticket::new(&memory).reserve(60).unwrap();
        let second = Ticket::new(&memory);
        let waiting = second.clone();
        let thread = std::thread::spawn(move || waiting.reserve(60).map(|r| r.bytes));
        drop(first);
        assert_eq!(thread.join().unwrap(), Ok(60));
        assert_eq!(memory.used(), 0);

        let _held = Ticket::new(&memory).reserve(100).unwrap();
        let third = Ticket::new(&memory);
        let waiting = third.clone();
        let thread = std::thread::spawn(move || waiting.reserve(1).map(|r| r.bytes));
        third.cancel();
        assert_eq!(thread.join().unwrap(), Err(ImageError::Cancelled));
        let refused = second.reserve(101).map(|r| r.bytes);
        assert_eq!(refused.unwrap_err().as_str(), "too-large");
    }

    #[test]
    fn who_is_modest_leaves_half_and_does_not_wait() {
        let memory = Memory::new(100, Box::new(|| false));
        let modest = Ticket::new(&memory).modest();
        let reserve = |bytes| modest.reserve(bytes).map(|reserved| reserved.bytes);
        assert_eq!(reserve(50), Ok(50));
        assert_eq!(reserve(51).unwrap_err().as_str(), "too-large");
        let _others = Ticket::new(&memory).reserve(30).unwrap();
        assert_eq!(reserve(20), Ok(20));
        assert_eq!(reserve(21), Err(ImageError::QueueFull));
        assert_eq!(memory.used(), 30);
    }

    #[test]
    fn what_is_only_kept_makes_room() {
        let kept: Arc<Mutex<Vec<Reservation>>> = Arc::default();
        let spare = Arc::clone(&kept);
        let memory = Memory::new(
            100,
            Box::new(move || {
                let oldest = spare.lock().pop();
                oldest.is_some()
            }),
        );
        for _ in 0..4 {
            let own = Ticket::new(&memory).reserve(25).unwrap();
            kept.lock().push(own);
        }
        let room = Ticket::new(&memory).reserve(30).unwrap();
        assert_eq!((kept.lock().len(), memory.used()), (2, 80));
        drop(room);
        // The closure of the memory holds what the memory is held by.
        kept.lock().clear();
    }

    #[test]
    fn a_reservation_can_be_split() {
        let memory = Memory::new(100, Box::new(|| false));
        let mut whole = Ticket::new(&memory).reserve(80).unwrap();
        let part = whole.split(30);
        assert_eq!((whole.bytes(), part.bytes()), (50, 30));
        drop(whole);
        assert_eq!(memory.used(), 30);
        drop(part);
        assert_eq!(memory.used(), 0);
    }
}
