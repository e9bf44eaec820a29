use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::config::Keepalive;
use super::dial::{Connection, Dialer, H1};
use super::error::OriginError;
use super::upload::Sending;

/// A kept connection that is not ready by then is not worth waiting for: its driver only has to be polled.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    dialer: Dialer,
    keepalive: Keepalive,
    kept: Mutex<Kept>,
    /// Held while a connection is made that may be HTTP/2: those who come meanwhile share it.
    dialing: Semaphore,
    /// The server has chosen HTTP/1.1, so nothing is to be shared.
    chose_h1: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    /// Idle HTTP/1.1 connections, the longest idle first.
    idle: Vec<Idle>,
    /// All HTTP/2 connections that take new streams.
    shared: Vec<Arc<Shared>>,
    /// The task that closes what was idle for too long runs.
    reaping: bool,
}

#[derive(Debug)]
struct Idle {
    connection: H1,
    since: Instant,
}

/// One HTTP/2 connection and its users.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<Sending>,
    streams: AtomicUsize,
    streams_max: Arc<AtomicUsize>,
    idle_since: Mutex<Instant>,
}

/// A connection for one exchange.
#[derive(Debug)]
pub(super) enum Lease {
    /// All of a connection; it is closed by drop and kept by [`Pool::give_back`].
    H1 {
        connection: H1,
        /// It has carried an exchange before, so it may turn out to be stale.
        reused: bool,
    },
    /// One stream of a shared connection.
    H2(Stream),
}

/// A stream of a shared connection, counted until dropped.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Arc<Shared>,
    reused: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        *self.connection.idle_since.lock() = Instant::now();
        self.connection.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) error: hyper::Error,
    /// The body of a request that never left this machine.
    pub(super) unsent: Option<Sending>,
}

impl Lease {
    /// Sends the request and waits for the head of the final answer.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Sending>,
    ) -> Result<http::Response<Incoming>, NoAnswer> {
        let answer = match self {
            Self::H1 { connection, .. } => connection.sender.try_send_request(request).await,
            Self::H2(stream) => {
                let mut sender = stream.connection.sender.clone();
                sender.try_send_request(request).await
            }
        };
        answer.map_err(|mut failed| NoAnswer {
            unsent: failed.take_message().map(http::Request::into_body),
            error: failed.into_error(),
        })
    }

    pub(super) fn reused(&self) -> bool {
        match self {
            Self::H1 { reused, .. } => *reused,
            Self::H2(stream) => stream.reused,
        }
    }
}

impl Pool {
    pub(super) fn new(dialer: Dialer, keepalive: Keepalive) -> Self {
        Self {
            dialer,
            keepalive,
            kept: Mutex::default(),
            dialing: Semaphore::new(1),
            chose_h1: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        self.dialer.name()
    }

    /// A connection that is already there. The most recently used comes first, so that the others can end.
    pub(super) async fn kept(&self) -> Option<Lease> {
        if let Some(stream) = self.stream() {
            return Some(Lease::H2(stream));
        }
        // Ends with the idle connections.
        loop {
            let Idle {
                mut connection,
                since,
            } = self.kept.lock().idle.pop()?;
            if connection.sender.is_closed() || since.elapsed() >= self.keepalive.idle {
                continue;
            }
            if let Ok(Ok(())) = timeout(READY_WITHIN, connection.sender.ready()).await {
                return Some(Lease::H1 {
                    connection,
                    reused: true,
                });
            }
        }
    }

    /// A new connection, or a stream of one that somebody else made while this waited to.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Lease, OriginError> {
        let deadline = self.dialer.deadline();
        if !self.dialer.may_speak_h2() || self.chose_h1.load(Ordering::Relaxed) {
            return self.dial(deadline).await;
        }
        let Ok(gate) = timeout_at(deadline, self.dialing.acquire()).await else {
            return Err(self.dialer.timed_out());
        };
        if let Some(stream) = self.stream() {
            return Ok(Lease::H2(stream));
        }
        if self.chose_h1.load(Ordering::Relaxed) {
            drop(gate);
        }
        self.dial(deadline).await
    }

    async fn dial(self: &Arc<Self>, deadline: Instant) -> Result<Lease, OriginError> {
        match self.dialer.dial(deadline).await? {
            Connection::H1(connection) => {
                self.chose_h1.store(true, Ordering::Relaxed);
                Ok(Lease::H1 {
                    connection,
                    reused: false,
                })
            }
            Connection::H2(connection) => {
                self.chose_h1.store(false, Ordering::Relaxed);
                let shared = Arc::new(Shared {
                    sender: connection.sender,
                    streams: AtomicUsize::new(1),
                    streams_max: connection.streams_max,
                    idle_since: Mutex::new(Instant::now()),
                });
                self.kept.lock().shared.push(Arc::clone(&shared));
                self.reap_later();
                Ok(Lease::H2(Stream {
                    connection: shared,
                    reused: false,
                }))
            }
        }
    }

    /// A place on a shared connection.
    fn stream(&self) -> Option<Stream> {
        let mut kept = self.kept.lock();
        kept.shared
            .retain(|connection| !connection.sender.is_closed());
        let connection = kept.shared.iter().find(|connection| {
            let most = connection.streams_max.load(Ordering::Relaxed);
            connection.streams.load(Ordering::Acquire) < most
        })?;
        connection.streams.fetch_add(1, Ordering::AcqRel);
        Some(Stream {
            connection: Arc::clone(connection),
            reused: true,
        })
    }

    /// Keeps a connection whose exchange has ended well for the next one.
    pub(super) fn give_back(self: &Arc<Self>, lease: Lease) {
        match lease {
            Lease::H1 { connection, .. } => {
                if self.keepalive.max_idle == 0 || connection.sender.is_closed() {
                    return;
                }
                let mut kept = self.kept.lock();
                kept.idle.push(Idle {
                    connection,
                    since: Instant::now(),
                });
                let oldest =
                    (kept.idle.len() > self.keepalive.max_idle).then(|| kept.idle.remove(0));
                drop(kept);
                drop(oldest);
                self.reap_later();
            }
            Lease::H2(stream) => drop(stream),
        }
    }

    /// Gives a shared connection no new streams; those that it has may end.
    pub(super) fn retire(&self, lease: &Lease) {
        if let Lease::H2(stream) = lease {
            self.kept
                .lock()
                .shared
                .retain(|connection| !Arc::ptr_eq(connection, &stream.connection));
        }
    }

    /// How many idle connections of its own there are, and how long the oldest is idle.
    pub(super) fn idle(&self) -> (usize, Option<Instant>) {
        let kept = self.kept.lock();
        (kept.idle.len(), kept.idle.first().map(|idle| idle.since))
    }

    /// Closes the connection that is idle longest.
    pub(super) fn close_oldest(&self) {
        let mut kept = self.kept.lock();
        let oldest = (!kept.idle.is_empty()).then(|| kept.idle.remove(0));
        drop(kept);
        drop(oldest);
    }

    /// Starts the task that closes what is idle too long, unless it runs. It ends when nothing is kept or the
    /// pool is gone.
    fn reap_later(self: &Arc<Self>) {
        let mut kept = self.kept.lock();
        if kept.reaping {
            return;
        }
        kept.reaping = true;
        drop(kept);
        let pool = Arc::downgrade(self);
        let first = Instant::now() + self.keepalive.idle;
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(at) = next {
                sleep_until(at).await;
                let Some(pool) = pool.upgrade() else { return };
                next = pool.reap();
            }
        });
    }

    /// Closes what is idle too long; gives the time to look again, unless nothing is left.
    fn reap(&self) -> Option<Instant> {
        let now = Instant::now();
        let limit = self.keepalive.idle;
        let mut kept = self.kept.lock();
        let young = kept
            .idle
            .partition_point(|idle| now.duration_since(idle.since) >= limit);
        let old: Vec<Idle> = kept.idle.drain(..young).collect();
        kept.shared.retain(|connection| {
            let in_use = connection.streams.load(Ordering::Acquire) > 0;
            let recent = now.duration_since(*connection.idle_since.lock()) < limit;
            !connection.sender.is_closed() && (in_use || recent)
        });
        let next = if let Some(first) = kept.idle.first() {
            Some(first.since + limit)
        } else if kept.shared.is_empty() {
            None
        } else {
            Some(now + limit)
        };
        kept.reaping = next.is_some();
        drop(kept);
        drop(old);
        next
    }
}
