use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::control::Control;

/// Connections looked at, and idle ones ended, when a new one finds no place.
const SHED_LOOKED_AT: usize = 64;
const SHED_ENDED: usize = 8;
/// How long a new connection waits for a place that shedding makes.
const SHED_WAIT: Duration = Duration::from_millis(50);

/// The open connections of a listener: bounds them, and reaches them to end them.
#[derive(Debug, Default)]
pub(super) struct Registry {
    open: Mutex<Open>,
    /// A connection ended.
    ended: Notify,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    connections: BTreeMap<u64, Entry>,
    per_address: HashMap<IpAddr, usize>,
    /// Where the last look for idle connections ended.
    looked_at: u64,
    accepted: u64,
    /// New ones are told to close as soon as they have their first answer.
    draining: bool,
}

#[derive(Debug)]
struct Entry {
    control: Arc<Control>,
    /// The bound socket that it came through.
    through: u64,
}

#[derive(Debug, Default)]
struct Counts {
    refused_full: AtomicU64,
    refused_address: AtomicU64,
    handshake_failures: AtomicU64,
    timeouts: AtomicU64,
    stalls: AtomicU64,
    shed: AtomicU64,
}

/// What a listener has seen since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerReport {
    /// The listener's name.
    pub name: Arc<str>,
    /// Connections that are open.
    pub open: usize,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were refused because the listener was full.
    pub refused_full: u64,
    /// Connections that were refused because their address had its share.
    pub refused_address: u64,
    /// TLS handshakes that failed or took too long.
    pub handshake_failures: u64,
    /// Connections that were ended for a late head.
    pub timeouts: u64,
    /// Connections and streams that were reset because the client took nothing.
    pub stalls: u64,
    /// Idle connections that were ended to make room, or for want of memory.
    pub shed: u64,
}

/// Something that happened to a connection and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    HandshakeFailure,
    Timeout,
    Stall,
}

/// Why a connection has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Listener,
    Address,
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    id: u64,
    address: IpAddr,
    control: Arc<Control>,
}

impl Place {
    pub(super) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock();
        open.connections.remove(&self.id);
        if let Some(count) = open.per_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.per_address.remove(&self.address);
            }
        }
        drop(open);
        self.registry.ended.notify_waiters();
    }
}

impl Registry {
    /// Finds a place for a connection, for which idle ones are ended when all are taken. Waits a
    /// moment for that; meanwhile new connections wait in the kernel's queue.
    pub(super) async fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        through: u64,
        limits: Limits,
    ) -> Result<Place, Full> {
        let ended = self.ended.notified();
        let full = match self.place(address, through, limits) {
            Err(Full::Listener) => Full::Listener,
            other => return self.counted(other),
        };
        if self.shed() == 0 {
            return self.counted(Err(full));
        }
        if tokio::time::timeout(SHED_WAIT, ended).await.is_err() {
            return self.counted(Err(full));
        }
        self.counted(self.place(address, through, limits))
    }

    fn place(
        self: &Arc<Self>,
        address: IpAddr,
        through: u64,
        limits: Limits,
    ) -> Result<Place, Full> {
        let address = counted_address(address);
        let mut open = self.open.lock();
        if open.connections.len() >= limits.connections {
            return Err(Full::Listener);
        }
        let of_address = open.per_address.get(&address).copied().unwrap_or(0);
        if limits.per_address > 0 && of_address >= limits.per_address {
            return Err(Full::Address);
        }
        open.per_address.insert(address, of_address + 1);
        let control = Arc::new(Control::new());
        if open.draining {
            control.close();
        }
        open.accepted += 1;
        let id = open.next_id;
        open.next_id += 1;
        let entry = Entry {
            control: Arc::clone(&control),
            through,
        };
        open.connections.insert(id, entry);
        drop(open);
        Ok(Place {
            registry: Arc::clone(self),
            id,
            address,
            control,
        })
    }

    fn counted(&self, place: Result<Place, Full>) -> Result<Place, Full> {
        match &place {
            Ok(_) => {}
            Err(Full::Listener) => {
                self.counts.refused_full.fetch_add(1, Relaxed);
            }
            Err(Full::Address) => {
                self.counts.refused_address.fetch_add(1, Relaxed);
            }
        }
        place
    }

    /// Ends a few idle connections, going round so that a crowd of busy ones costs no more than a
    /// short look each time. Returns how many.
    fn shed(&self) -> usize {
        let mut open = self.open.lock();
        let from = open.looked_at;
        let mut ended = 0;
        let mut last = from;
        let round = open
            .connections
            .range(from..)
            .chain(open.connections.range(..from))
            .take(SHED_LOOKED_AT);
        for (id, entry) in round {
            last = *id;
            if entry.control.is_idle() {
                entry.control.cut();
                ended += 1;
            }
            if ended == SHED_ENDED {
                break;
            }
        }
        open.looked_at = last + 1;
        drop(open);
        let counted = u64::try_from(ended).unwrap_or(u64::MAX);
        self.counts.shed.fetch_add(counted, Relaxed);
        ended
    }

    /// Tells the connections that have been idle for so long to close. Returns how many.
    pub(super) fn close_idle(&self, least: Duration) -> u64 {
        let mut told = 0;
        for entry in self.open.lock().connections.values() {
            if entry.control.idle_for().is_some_and(|idle| idle >= least) {
                entry.control.close();
                told += 1;
            }
        }
        self.counts.shed.fetch_add(told, Relaxed);
        told
    }

    pub(super) fn count(&self, event: Event) {
        let counter = match event {
            Event::HandshakeFailure => &self.counts.handshake_failures,
            Event::Timeout => &self.counts.timeouts,
            Event::Stall => &self.counts.stalls,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn open(&self) -> usize {
        self.open.lock().connections.len()
    }

    /// Connections that have ended since the start.
    pub(super) fn gone(&self) -> u64 {
        let open = self.open.lock();
        let alive = u64::try_from(open.connections.len()).unwrap_or(u64::MAX);
        open.accepted.saturating_sub(alive)
    }

    /// Tells the connections that came through one bound socket to finish.
    pub(super) fn close_those(&self, through: u64) {
        for entry in self.open.lock().connections.values() {
            if entry.through == through {
                entry.control.close();
            }
        }
    }

    /// Tells every connection to finish, and every later one too.
    pub(super) fn close_all(&self) {
        let mut open = self.open.lock();
        open.draining = true;
        for entry in open.connections.values() {
            entry.control.close();
        }
    }

    /// Ends every connection now.
    pub(super) fn cut_all(&self) {
        for entry in self.open.lock().connections.values() {
            entry.control.cut();
        }
    }

    /// Waits until no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before the look, so that no end falls between the two.
            ended.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn report(&self, name: &Arc<str>) -> ListenerReport {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let (open, accepted) = {
            let open = self.open.lock();
            (open.connections.len(), open.accepted)
        };
        ListenerReport {
            name: Arc::clone(name),
            open,
            accepted,
            refused_full: count(&self.counts.refused_full),
            refused_address: count(&self.counts.refused_address),
            handshake_failures: count(&self.counts.handshake_failures),
            timeouts: count(&self.counts.timeouts),
            stalls: count(&self.counts.stalls),
            shed: count(&self.counts.shed),
        }
    }
}

/// Places of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// 0 is no bound.
    pub(super) per_address: usize,
}

/// One customer of an IPv6 network has a whole /64 to choose addresses from, so that is what
/// counts. A mapped IPv4 address is the IPv4 client that it stands for.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::Order;
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        per_address: 2,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn idle(place: &Place) {
        place.control().answer_begins();
        place.control().answer_ends();
    }

    #[tokio::test]
    async fn places_are_bounded_for_all_and_for_each_and_come_back() {
        let registry = Arc::new(Registry::default());
        let one = address("192.0.2.1");
        let first = registry.admit(one, 0, LIMITS).await.unwrap();
        let _second = registry.admit(one, 0, LIMITS).await.unwrap();
        let mapped = address("::ffff:192.0.2.1");
        assert_eq!(
            registry.admit(mapped, 0, LIMITS).await.unwrap_err(),
            Full::Address
        );
        drop(first);
        let _third = registry.admit(mapped, 0, LIMITS).await.unwrap();
        let six = registry.admit(address("2001:db8::1"), 0, LIMITS).await;
        let seven = registry.admit(address("2001:db8::ffff"), 0, LIMITS).await;
        assert!(six.is_ok() && seven.is_ok());
        assert_eq!(
            registry
                .admit(address("192.0.2.9"), 0, LIMITS)
                .await
                .unwrap_err(),
            Full::Listener
        );
        let report = registry.report(&Arc::from("x"));
        assert_eq!((report.open, report.accepted), (4, 5));
        assert_eq!((report.refused_full, report.refused_address), (1, 1));
        drop((six, seven));
        assert_eq!(registry.open(), 2);
    }

    #[tokio::test]
    async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
        let registry = Arc::new(Registry::default());
        let limits = Limits {
            connections: 2,
            per_address: 0,
        };
        let any = address("192.0.2.1");
        let busy = registry.admit(any, 0, limits).await.unwrap();
        busy.control().answer_begins();
        let quiet = registry.admit(any, 0, limits).await.unwrap();
        idle(&quiet);
        let watcher = Arc::clone(quiet.control());
        let waiting = Arc::clone(&registry);
        let newcomer = tokio::spawn(async move { waiting.admit(any, 0, limits).await });
        while watcher.order() != Order::Cut {
            tokio::task::yield_now().await;
        }
        drop(quiet);
        assert!(newcomer.await.unwrap().is_ok());
        assert_eq!(busy.control().order(), Order::Serve);
    }

    #[tokio::test]
    async fn connections_that_are_idle_are_told_to_close_and_no_others() {
        let registry = Arc::new(Registry::default());
        let any = address("192.0.2.1");
        let (fresh, quiet) = (
            registry.admit(any, 0, LIMITS).await.unwrap(),
            registry.admit(any, 0, LIMITS).await.unwrap(),
        );
        idle(&quiet);
        assert_eq!(registry.close_idle(Duration::from_hours(1)), 0);
        assert_eq!(registry.close_idle(Duration::ZERO), 1);
        assert_eq!(quiet.control().order(), Order::Close);
        assert_eq!(fresh.control().order(), Order::Serve);
        assert_eq!(registry.report(&Arc::from("x")).shed, 1);
    }

    #[tokio::test]
    async fn orders_reach_those_they_are_for() {
        let registry = Arc::new(Registry::default());
        let any = address("192.0.2.1");
        let first = registry.admit(any, 1, LIMITS).await.unwrap();
        let second = registry.admit(any, 2, LIMITS).await.unwrap();
        registry.close_those(1);
        assert_eq!(first.control().order(), Order::Close);
        assert_eq!(second.control().order(), Order::Serve);
        registry.close_all();
        assert_eq!(second.control().order(), Order::Close);
        drop((first, second));
        let late = registry.admit(any, 3, LIMITS).await.unwrap();
        assert_eq!(late.control().order(), Order::Close);
        registry.cut_all();
        assert_eq!(late.control().order(), Order::Cut);
        drop(late);
        registry.emptied().await;
    }
}
