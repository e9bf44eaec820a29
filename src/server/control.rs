use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::deadline::Activity;

/// "Not running" for the times below: no connection lives 500 million years.
const NEVER: u64 = u64::MAX;

/// What the parts of one connection (socket, protocol, answers, bodies) tell each other, and what
/// its driver judges deadlines by.
///
/// All parts run on the connection's own worker, so the atomics are there for `Send` alone and
/// relaxed. Only [`Control::close`], [`Control::cut`] and [`Control::wake`] come from other threads.
#[derive(Debug)]
pub(super) struct Control {
    accepted: Instant,
    http2: AtomicBool,
    answers: AtomicUsize,
    owed_chunks: AtomicUsize,
    head_since: AtomicU64,
    quiet_since: AtomicU64,
    blocked_since: AtomicU64,
    moved_at: AtomicU64,
    requested: AtomicBool,
    order: AtomicU8,
    reset: AtomicBool,
    driver: OnceLock<Waker>,
}

/// What a connection has been told to do; a later one never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Serve.
    Serve,
    /// Finish what runs, take nothing new.
    Close,
    /// End now.
    Cut,
}

impl Control {
    /// A connection that was accepted just now: the deadline of its first head runs.
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            http2: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            owed_chunks: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(NEVER),
            moved_at: AtomicU64::new(0),
            requested: AtomicBool::new(false),
            order: AtomicU8::new(0),
            reset: AtomicBool::new(false),
            driver: OnceLock::new(),
        }
    }

    pub(super) fn accepted(&self) -> Instant {
        self.accepted
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    // ----- what the socket and the protocol see -----

    /// From here on bytes may be frames of any kind, so only answers and their data count.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    /// HTTP/1 bytes came in; outside of an answer they begin a head.
    pub(super) fn heard(&self) {
        if self.answers.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// The HTTP/2 preface is whole.
    pub(super) fn greeted(&self) {
        self.head_since.store(NEVER, Relaxed);
        self.quiet_since.store(self.now(), Relaxed);
    }

    /// The socket took bytes.
    pub(super) fn wrote(&self) {
        self.blocked_since.store(NEVER, Relaxed);
        // On HTTP/1 it is the tail of an answer. On HTTP/2 it may be the answer to a PING, which
        // must not keep a connection.
        if !self.http2.load(Relaxed) && self.answers.load(Relaxed) == 0 {
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// The socket takes no bytes at present.
    pub(super) fn blocked(&self) {
        if self.blocked_since.load(Relaxed) == NEVER {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    // ----- answers and their data -----

    /// A request's head is whole and its answer begins.
    pub(super) fn answer_begins(&self) {
        self.requested.store(true, Relaxed);
        self.head_since.store(NEVER, Relaxed);
        self.answers.fetch_add(1, Relaxed);
    }

    /// An answer has been handed to the protocol, or given up.
    pub(super) fn answer_ends(&self) {
        self.quiet_since.store(self.now(), Relaxed);
        self.answers.fetch_sub(1, Relaxed);
    }

    /// A chunk was handed to HTTP/2, which now owes it to the socket.
    pub(super) fn owes_chunk(&self) {
        if self.owed_chunks.fetch_add(1, Relaxed) == 0 {
            self.moved_at.store(self.now(), Relaxed);
        }
    }

    /// Bytes of an owed chunk were taken.
    pub(super) fn moved(&self) {
        self.moved_at.store(self.now(), Relaxed);
    }

    /// An owed chunk is written, or its stream gone.
    pub(super) fn chunk_gone(&self) {
        self.quiet_since.store(self.now(), Relaxed);
        self.owed_chunks.fetch_sub(1, Relaxed);
    }

    // ----- what the driver and the registry ask and tell -----

    pub(super) fn activity(&self) -> Activity {
        let time = |since: &AtomicU64| match since.load(Relaxed) {
            NEVER => None,
            milliseconds => Some(Duration::from_millis(milliseconds)),
        };
        let owed = self.owed_chunks.load(Relaxed) > 0;
        let busy = owed || self.answers.load(Relaxed) > 0;
        Activity {
            requested: self.requested.load(Relaxed),
            head_since: time(&self.head_since),
            quiet_since: if busy { None } else { time(&self.quiet_since) },
            blocked_since: time(&self.blocked_since),
            owing_since: if owed { time(&self.moved_at) } else { None },
        }
    }

    /// Whether ending this connection now takes an answer from nobody. Racy by nature when asked
    /// from another worker; a request that is just arriving is one that its client may repeat.
    pub(super) fn is_idle(&self) -> bool {
        self.requested.load(Relaxed)
            && self.head_since.load(Relaxed) == NEVER
            && self.answers.load(Relaxed) == 0
            && self.owed_chunks.load(Relaxed) == 0
    }

    /// How long it has been so.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let since = self.quiet_since.load(Relaxed);
        (self.is_idle() && since != NEVER)
            .then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Whether an answer is being made or sent.
    pub(super) fn is_answering(&self) -> bool {
        self.answers.load(Relaxed) > 0
    }

    /// Whether closing in good order takes nothing from the client. An HTTP/1 connection without
    /// any request yet would be ended at once, with a request that is on the wire; HTTP/2 tells
    /// its client first which streams it still takes.
    pub(super) fn may_close(&self) -> bool {
        self.requested.load(Relaxed) || self.http2.load(Relaxed)
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Acquire) {
            0 => Order::Serve,
            1 => Order::Close,
            _ => Order::Cut,
        }
    }

    /// Tells the connection to finish what runs and then end.
    pub(super) fn close(&self) {
        self.tell(1);
    }

    /// Tells the connection to end now.
    pub(super) fn cut(&self) {
        self.tell(2);
    }

    fn tell(&self, order: u8) {
        self.order.fetch_max(order, AcqRel);
        self.wake();
    }

    /// Gives the connection a turn.
    pub(super) fn wake(&self) {
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Makes the driver's task known, so that an order wakes it. The driver looks for orders after
    /// this, so that none is lost. A task keeps its waker for life, so the first one stays.
    pub(super) fn driven_by(&self, waker: &Waker) {
        if self.driver.get().is_none() {
            self.driver.get_or_init(|| waker.clone());
        }
    }

    /// Makes the socket end in a reset: what a client does not take is not kept in the kernel.
    pub(super) fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    pub(super) fn ends_in_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }
}
