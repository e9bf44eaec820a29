//! Work behind the answers: nobody waits for it, so what finds no place is left.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::Cache;

/// One piece of such work.
pub(super) trait Errand: Send + 'static {
    /// Does it.
    fn run(self, cache: Arc<Cache>) -> impl Future<Output = ()> + Send;
}

/// Where errands of one kind are handed in.
pub(super) struct Queue<E> {
    waiting: mpsc::Sender<E>,
}

/// The other end of a [`Queue`].
pub(super) struct Inbox<E> {
    errands: mpsc::Receiver<E>,
    at_once: usize,
}

impl<E: Errand> Queue<E> {
    /// A queue in which `most` may wait, of which `at_once` are run at a time.
    pub(super) fn new(most: usize, at_once: usize) -> (Self, Inbox<E>) {
        let (waiting, errands) = mpsc::channel(most.max(1));
        let at_once = at_once.max(1);
        (Self { waiting }, Inbox { errands, at_once })
    }

    /// Whether there was a place for it.
    pub(super) fn hand_in(&self, errand: E) -> bool {
        self.waiting.try_send(errand).is_ok()
    }

    /// Errands that wait.
    pub(super) fn queued(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }
}

impl<E: Errand> Inbox<E> {
    /// Runs the errands. Ends with the cache.
    pub(super) fn serve(mut self, runtime: &Handle, cache: Weak<Cache>) {
        let places = Arc::new(Semaphore::new(self.at_once));
        runtime.spawn(async move {
            while let Some(errand) = self.errands.recv().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let Some(cache) = cache.upgrade() else { return };
                tokio::spawn(async move {
                    errand.run(cache).await;
                    drop(place);
                });
            }
        });
    }
}
