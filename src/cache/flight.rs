use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::policy::NotStored;
use crate::store::Object;

use super::{FillError, Stored};

/// What a flight holds for its readers: eight chunks.
const WINDOW_BYTES: usize = 8 * crate::store::CHUNK_BYTES;

/// What all flights hold together before each has to do with less.
const WINDOWS_BYTES: usize = 32 * WINDOW_BYTES;

/// What a flight may always hold.
const WINDOW_BYTES_MIN: usize = 128 << 10;

/// How long a fill whose bytes are in no tier waits for its slowest reader before it goes on without it.
const STALL: Duration = Duration::from_secs(10);

/// One pull under way, and the growing object that all its readers follow at their own offset.
///
/// It ends in `Ok` or in an error, never in silence: a `Pilot` that is dropped early fails it.
pub(super) struct Flight {
    /// The purge sequence at which the pull started.
    pub(super) sequence: u64,
    state: Mutex<State>,
    /// A reader moved on, came or left.
    moved: Notify,
}

/// What is known once the head is there.
#[derive(Clone)]
pub(super) struct Head {
    /// Status, fields, freshness, version; its body is filled in when it is known.
    pub(super) object: Arc<Object>,
    /// The body's length when the origin said it.
    pub(super) length: Option<u64>,
    /// Whether it goes into the tiers.
    pub(super) stored: Result<(), NotStored>,
    /// Where the body comes from.
    pub(super) body: HeadBody,
    /// Whether the request that pulls it said who asks.
    pub(super) personal: bool,
    /// The varying request fields that the origin chose by, and the key made of what it was sent.
    pub(super) vary: Option<VaryTrait>,
}

/// Where a flight's body comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadBody {
    /// The flight itself: it grows.
    Growing,
    /// The tiers: the origin said that the stored one is still right.
    Stored,
    /// The flight itself, for one reader: the origin has looked at that client's conditions and range.
    HandedOn,
    /// The tiers, block by block: the origin gives parts, and only a part was asked for.
    Sparse,
}

/// A `Vary` learnt from an answer.
#[derive(Clone)]
pub(super) struct VaryTrait {
    pub(super) fields: Vec<http::HeaderName>,
    pub(super) secondary: String,
}

/// What a reader finds at its offset.
pub(super) enum Piece {
    /// These bytes come next.
    Bytes(Bytes),
    /// The flight no longer holds them: the tiers have them.
    Behind,
    /// That was all.
    End,
    /// There will be no more.
    Failed(FillError),
}

#[derive(Default)]
struct State {
    head: Option<Result<Head, FillError>>,
    end: Option<Result<(), FillError>>,
    pieces: VecDeque<(u64, Bytes)>,
    held_bytes: usize,
    received: u64,
    /// Everything before this offset is in a tier.
    kept_to: u64,
    /// Readers that are behind can pull what they need by themselves.
    by_ranges: bool,
    readers: HashMap<u64, Slot>,
    next_reader: u64,
    windows: Windows,
    /// It goes on although nobody may be left who reads.
    goes_on: bool,
    /// Nobody is to wait for the head, for this reason: it will be a while.
    delayed: Option<&'static str>,
}

#[derive(Default)]
struct Slot {
    position: u64,
    waker: Option<Waker>,
    cut: bool,
}

impl State {
    fn wake(&mut self) -> Vec<Waker> {
        self.readers
            .values_mut()
            .filter_map(|slot| slot.waker.take())
            .collect()
    }

    /// Lets go of what nobody can miss until no more than `window` bytes are left. Says whether that went.
    fn trim(&mut self, window: usize) -> bool {
        while self.held_bytes > window {
            let Some((start, piece)) = self.pieces.front() else {
                break;
            };
            let end = start + piece.len() as u64;
            if end > self.kept_to && self.is_missed(end) {
                return false;
            }
            self.drop_first();
        }
        true
    }

    /// Whether what ends at `end` is in no tier and its readers would miss it. Where they can do without, the fill goes
    /// at the pace of the fastest: it would otherwise pull what nobody reads.
    fn is_missed(&self, end: u64) -> bool {
        let mut readers = self.readers.values().filter(|slot| !slot.cut);
        if self.by_ranges {
            !self.readers.is_empty() && readers.all(|slot| slot.position < end)
        } else {
            readers.any(|slot| slot.position < end)
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, piece)) = self.pieces.pop_front() {
            self.held_bytes -= piece.len();
            self.windows.0.fetch_sub(piece.len(), Ordering::Relaxed);
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.held_bytes += bytes.len();
        self.windows.0.fetch_add(bytes.len(), Ordering::Relaxed);
        let start = self.received;
        self.received += bytes.len() as u64;
        self.pieces.push_back((start, bytes));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state
            .windows
            .0
            .fetch_sub(state.held_bytes, Ordering::Relaxed);
    }
}

/// What all flights hold together.
#[derive(Clone, Default)]
struct Windows(Arc<AtomicUsize>);

impl Windows {
    /// What one flight may hold now, in bytes.
    fn each(&self) -> usize {
        if self.0.load(Ordering::Relaxed) > WINDOWS_BYTES {
            WINDOW_BYTES_MIN
        } else {
            WINDOW_BYTES
        }
    }
}

impl Flight {
    fn new(sequence: u64, windows: &Windows) -> Arc<Self> {
        Arc::new(Self {
            sequence,
            state: Mutex::new(State {
                windows: windows.clone(),
                ..State::default()
            }),
            moved: Notify::new(),
        })
    }

    /// Adds a reader at the start, unless there are `most` already.
    pub(super) fn board(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let mut state = self.state.lock();
        if state.readers.len() >= most {
            return None;
        }
        let number = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(number, Slot::default());
        Some(Seat {
            flight: Arc::clone(self),
            number,
        })
    }

    /// Bytes that have come so far.
    pub(super) fn received(&self) -> u64 {
        self.state.lock().received
    }

    /// Whether a reader that begins now can have all of it.
    pub(super) fn is_joinable(&self) -> bool {
        let state = self.state.lock();
        let held_from = state
            .pieces
            .front()
            .map_or(state.received, |(start, _)| *start);
        held_from <= state.kept_to || state.by_ranges
    }

    /// The head, if it is there.
    pub(super) fn head(&self) -> Option<Result<Head, FillError>> {
        self.state.lock().head.clone()
    }

    fn readers(&self) -> usize {
        self.state.lock().readers.len()
    }
}

/// A reader's place in a flight; leaving is dropping it.
pub(super) struct Seat {
    flight: Arc<Flight>,
    number: u64,
}

impl Seat {
    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the head. Cancel-safe.
    pub(super) async fn head(&self) -> Result<Head, FillError> {
        std::future::poll_fn(|context| {
            let mut state = self.flight.state.lock();
            if let Some(head) = &state.head {
                return Poll::Ready(head.clone());
            }
            if let Some(slot) = state.readers.get_mut(&self.number) {
                slot.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The same, unless it is known that the head will be a while: then why. Cancel-safe.
    pub(super) async fn prompt_head(&self) -> Result<Result<Head, FillError>, &'static str> {
        std::future::poll_fn(|context| {
            let mut state = self.flight.state.lock();
            if let Some(head) = &state.head {
                return Poll::Ready(Ok(head.clone()));
            }
            if let Some(reason) = state.delayed {
                return Poll::Ready(Err(reason));
            }
            if let Some(slot) = state.readers.get_mut(&self.number) {
                slot.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Leaves, and lets it go on for those who come later.
    pub(super) fn leave_behind(self) {
        self.flight.state.lock().goes_on = true;
    }

    /// What comes at `position`.
    pub(super) fn poll_piece(&self, position: u64, context: &Context<'_>) -> Poll<Piece> {
        let mut guard = self.flight.state.lock();
        let state = &mut *guard;
        let Some(slot) = state.readers.get_mut(&self.number) else {
            return Poll::Ready(Piece::Failed(FillError::FellBehind));
        };
        if slot.position != position {
            slot.position = position;
            self.flight.moved.notify_one();
        }
        if slot.cut {
            return Poll::Ready(Piece::Failed(FillError::FellBehind));
        }
        if position < state.received {
            let after = state
                .pieces
                .partition_point(|(start, _)| *start <= position);
            let holding = after
                .checked_sub(1)
                .and_then(|index| state.pieces.get(index));
            let Some((start, piece)) = holding else {
                return Poll::Ready(Piece::Behind);
            };
            let skip = usize::try_from(position - start).unwrap_or(usize::MAX);
            return Poll::Ready(if skip < piece.len() {
                Piece::Bytes(piece.slice(skip..))
            } else {
                Piece::Behind
            });
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(Piece::End),
            Some(Err(error)) => Poll::Ready(Piece::Failed(error.clone())),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.flight.state.lock().readers.remove(&self.number);
        self.flight.moved.notify_one();
    }
}

/// The one who flies: publishes the head and the bytes. Dropped before the end, it fails the flight.
pub(super) struct Pilot {
    flight: Arc<Flight>,
}

impl Pilot {
    pub(super) fn of(flight: Arc<Flight>) -> Self {
        Self { flight }
    }

    pub(super) fn sequence(&self) -> u64 {
        self.flight.sequence
    }

    pub(super) fn publish_head(&self, head: Head) {
        self.update(|state| state.head = Some(Ok(head)));
    }

    /// Adds bytes. Slows down to the slowest reader when the window is full of bytes that no tier has,
    /// for at most `STALL` without progress; such a reader is then cut off.
    pub(super) async fn publish(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.update(|state| {
            state.push(bytes);
        });
        while !self.trim() {
            if tokio::time::timeout(STALL, self.flight.moved.notified())
                .await
                .is_err()
            {
                self.give_way();
            }
        }
    }

    fn trim(&self) -> bool {
        let mut state = self.flight.state.lock();
        let window = state.windows.each();
        state.trim(window)
    }

    /// Says that readers can pull what the flight has let go of.
    pub(super) fn leave_to_ranges(&self) {
        self.flight.state.lock().by_ranges = true;
    }

    /// Says that everything before `offset` is in a tier.
    pub(super) fn kept_to(&self, offset: u64) {
        let mut state = self.flight.state.lock();
        state.kept_to = state.kept_to.max(offset);
    }

    pub(super) fn fail(self, error: &FillError) {
        self.end(Err(error.clone()));
    }

    pub(super) fn finish(self) {
        self.end(Ok(()));
    }

    pub(super) fn received(&self) -> u64 {
        self.flight.state.lock().received
    }

    /// Waits until nobody reads. Cancel-safe.
    pub(super) async fn abandoned(&self) {
        while self.flight.readers() > 0 {
            self.flight.moved.notified().await;
        }
    }

    /// Says that nobody is to wait for the head, and why.
    pub(super) fn delay(&self, reason: &'static str) {
        self.update(|state| state.delayed = Some(reason));
    }

    /// Whether it goes on although nobody reads.
    pub(super) fn goes_on(&self) -> bool {
        self.flight.state.lock().goes_on
    }

    /// Whether nobody reads.
    pub(super) fn is_abandoned(&self) -> bool {
        self.flight.readers() == 0
    }

    /// Goes on without those who stood still for too long.
    fn give_way(&self) {
        self.update(|state| {
            if state.by_ranges {
                state.drop_first();
                return;
            }
            let Some(end) = state
                .pieces
                .front()
                .map(|(start, piece)| start + piece.len() as u64)
            else {
                return;
            };
            for slot in state
                .readers
                .values_mut()
                .filter(|slot| slot.position < end)
            {
                slot.cut = true;
            }
        });
    }

    fn end(&self, end: Result<(), FillError>) {
        self.update(|state| {
            if state.end.is_some() {
                return;
            }
            if state.head.is_none() {
                state.head = Some(Err(end.clone().err().unwrap_or(FillError::Abandoned)));
            }
            state.end = Some(end);
            let window = state.windows.each();
            state.trim(window);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.flight.state.lock();
            change(&mut state);
            state.wake()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.end(Err(FillError::Abandoned));
    }
}

/// The flights under way, one a key.
#[derive(Default)]
pub(super) struct Flights {
    running: Mutex<HashMap<u128, Arc<Flight>>>,
    windows: Windows,
}

/// What became of asking for a flight.
pub(super) enum Boarding {
    /// This one starts it: it must be flown.
    Leads(Seat, Landing),
    /// It was under way.
    Follows(Seat),
    /// It has just ended, and this is what it brought.
    Landed(Stored),
    /// It has as many readers as it may have.
    Full,
}

impl Flights {
    /// Joins the flight of `id` if `joinable` says so, else starts one in its place, unless `landed` finds
    /// what it would bring.
    pub(super) fn board(
        self: &Arc<Self>,
        id: u128,
        most: usize,
        sequence: u64,
        joinable: impl Fn(&Flight) -> bool,
        landed: impl FnOnce() -> Option<Stored>,
    ) -> Boarding {
        let mut running = self.running.lock();
        if let Some(flight) = running.get(&id).filter(|flight| joinable(flight)) {
            return flight.board(most).map_or(Boarding::Full, Boarding::Follows);
        }
        // A flight installs what it brought before it leaves the list, so whoever finds neither has looked
        // for the object too early: it is asked for once more under the lock.
        if let Some(stored) = landed() {
            return Boarding::Landed(stored);
        }
        let flight = Flight::new(sequence, &self.windows);
        let Some(seat) = flight.board(most) else {
            return Boarding::Full;
        };
        running.insert(id, Arc::clone(&flight));
        let landing = Landing {
            flights: Arc::clone(self),
            flight,
            ids: vec![id],
        };
        Boarding::Leads(seat, landing)
    }

    /// Starts a flight that nobody can join.
    pub(super) fn alone(self: &Arc<Self>, sequence: u64) -> Option<(Seat, Landing)> {
        let flight = Flight::new(sequence, &self.windows);
        let seat = flight.board(1)?;
        let landing = Landing {
            flights: Arc::clone(self),
            flight,
            ids: Vec::new(),
        };
        Some((seat, landing))
    }

    /// Whether `id` is being pulled.
    pub(super) fn has(&self, id: u128) -> bool {
        self.running.lock().contains_key(&id)
    }

    /// Readers of all flights under way.
    pub(super) fn readers(&self) -> usize {
        let running: Vec<Arc<Flight>> = self.running.lock().values().map(Arc::clone).collect();
        running.iter().map(|flight| flight.readers()).sum()
    }

    /// Flights under way.
    pub(super) fn count(&self) -> usize {
        self.running.lock().len()
    }
}

/// Takes a flight off the list when its fill ends, however it ends.
pub(super) struct Landing {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    ids: Vec<u128>,
}

impl Landing {
    pub(super) fn pilot(&self) -> Pilot {
        Pilot::of(Arc::clone(&self.flight))
    }

    /// Lets requests under a second key find it too (a `Vary` learnt in flight).
    pub(super) fn also_as(&mut self, id: u128) {
        self.flights
            .running
            .lock()
            .entry(id)
            .or_insert_with(|| Arc::clone(&self.flight));
        self.ids.push(id);
    }

    /// Nobody may join from now on.
    pub(super) fn close(&mut self) {
        let mut running = self.flights.running.lock();
        for id in self.ids.drain(..) {
            if running
                .get(&id)
                .is_some_and(|found| Arc::ptr_eq(found, &self.flight))
            {
                running.remove(&id);
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.close();
        // Whoever boarded in the meantime must not wait for a pilot who never came.
        drop(self.pilot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(flights: &Arc<Flights>, id: u128) -> Boarding {
        flights.board(id, 10, 0, |_| true, || None)
    }

    #[tokio::test]
    async fn who_boards_a_flight_that_never_takes_off_is_told() {
        let flights = Arc::default();
        let Boarding::Leads(_leader, landing) = board(&flights, 7) else {
            panic!("nobody else flies");
        };
        let Boarding::Follows(follower) = board(&flights, 7) else {
            panic!("it is under way");
        };
        drop(landing);
        assert!(matches!(follower.head().await, Err(FillError::Abandoned)));
        assert!(!flights.has(7));
    }

    #[tokio::test]
    async fn a_pilot_who_leaves_early_fails_the_flight() {
        let flights: Arc<Flights> = Arc::default();
        let (seat, landing) = flights.alone(0).unwrap();
        let pilot = landing.pilot();
        pilot.publish(Bytes::from_static(b"half")).await;
        drop(pilot);
        let piece = std::future::poll_fn(|context| seat.poll_piece(0, context)).await;
        assert!(matches!(piece, Piece::Bytes(bytes) if bytes == "half"));
        let piece = std::future::poll_fn(|context| seat.poll_piece(4, context)).await;
        assert!(matches!(piece, Piece::Failed(FillError::Abandoned)));
    }

    #[tokio::test(start_paused = true)]
    async fn where_readers_can_do_without_the_fastest_sets_the_pace() {
        let flights: Arc<Flights> = Arc::default();
        let (slow, landing) = flights.alone(0).unwrap();
        let fast = slow.flight().board(2).unwrap();
        let pilot = landing.pilot();
        pilot.leave_to_ranges();
        let piece = Bytes::from(vec![7; WINDOW_BYTES]);
        let end = WINDOW_BYTES as u64;
        pilot.publish(piece.clone()).await;
        // The fast one takes the first piece and waits for the second.
        let second = std::future::poll_fn(|context| fast.poll_piece(end, context));
        let began = tokio::time::Instant::now();
        let ((), second) = tokio::join!(pilot.publish(piece.clone()), second);
        assert!(matches!(second, Piece::Bytes(_)));
        assert!(began.elapsed() < STALL, "nobody waited for the slow one");
        let told = std::future::poll_fn(|context| slow.poll_piece(0, context)).await;
        assert!(matches!(told, Piece::Behind));
        assert!(slow.flight().is_joinable());
    }

    #[tokio::test]
    async fn what_all_flights_hold_is_counted_and_given_back() {
        let flights: Arc<Flights> = Arc::default();
        let (seat, landing) = flights.alone(0).unwrap();
        let pilot = landing.pilot();
        pilot.publish(Bytes::from_static(b"some")).await;
        assert_eq!(flights.windows.0.load(Ordering::Relaxed), 4);
        drop((seat, landing, pilot));
        assert_eq!(flights.windows.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_cut_off_and_the_others_go_on() {
        let flights: Arc<Flights> = Arc::default();
        let (slow, landing) = flights.alone(0).unwrap();
        let fast = slow.flight().board(2).unwrap();
        let pilot = landing.pilot();
        let piece = Bytes::from(vec![7; WINDOW_BYTES]);
        pilot.publish(piece.clone()).await;
        let took = std::future::poll_fn(|context| fast.poll_piece(0, context)).await;
        assert!(matches!(took, Piece::Bytes(bytes) if bytes.len() == WINDOW_BYTES));
        let end = WINDOW_BYTES as u64;
        let (first, second) = tokio::join!(
            pilot.publish(piece),
            std::future::poll_fn(|context| fast.poll_piece(end, context))
        );
        assert_eq!(first, ());
        assert!(matches!(second, Piece::Bytes(_)));
        let told = std::future::poll_fn(|context| slow.poll_piece(0, context)).await;
        assert!(matches!(told, Piece::Failed(FillError::FellBehind)));
    }
}
