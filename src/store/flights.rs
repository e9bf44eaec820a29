use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::entry::{Entry, EntryKey};

type Landing = Arc<OnceCell<Option<Entry>>>;

/// Disk reads under way: those who want the same entry at the same time share one read.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<EntryKey, Landing>>,
}

impl Flights {
    /// The outcome of `read`, or of the read of the same key that is under way.
    ///
    /// Cancel-safe: when the one who reads goes away, another who waits reads again.
    pub(super) async fn share<F>(&self, key: EntryKey, read: impl FnOnce() -> F) -> Option<Entry>
    where
        F: Future<Output = Option<Entry>>,
    {
        let seat = self.board(key);
        seat.landing.get_or_init(read).await.clone()
    }

    fn board(&self, key: EntryKey) -> Seat<'_> {
        let landing = Arc::clone(self.under_way.lock().entry(key).or_default());
        Seat {
            flights: self,
            key,
            landing,
        }
    }
}

struct Seat<'a> {
    flights: &'a Flights,
    key: EntryKey,
    landing: Landing,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        // A read that has landed is over for those who come later: they find the memory tier, or
        // must read anew. One that has not is over when the last who waits goes: the map and this.
        let over = self.landing.initialized() || Arc::strong_count(&self.landing) <= 2;
        if over
            && under_way
                .get(&self.key)
                .is_some_and(|current| Arc::ptr_eq(current, &self.landing))
        {
            under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_come_together_share_one_read() {
        let flights = Flights::default();
        let (reads, gate) = (AtomicUsize::new(0), Notify::new());
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            gate.notified().await;
            Some(Entry::Chunk(Bytes::from_static(b"x")))
        };
        let key = EntryKey::chunk(1, 0);
        let (a, b, ()) = tokio::join!(flights.share(key, read), flights.share(key, read), async {
            gate.notify_one();
        });
        assert!(a.is_some() && b.is_some());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(flights.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_leaves_the_read_to_the_next() {
        let flights = Flights::default();
        let key = EntryKey::chunk(1, 0);
        let first = tokio::time::timeout(
            std::time::Duration::ZERO,
            flights.share(key, std::future::pending::<Option<Entry>>),
        )
        .await;
        assert!(first.is_err());
        assert!(flights.under_way.lock().is_empty());
        assert!(flights.share(key, || async { None }).await.is_none());
    }
}
