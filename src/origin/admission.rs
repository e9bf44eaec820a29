use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::Queue;
use super::error::OriginError;

/// Leave to use one connection (HTTP/1.1) or stream (HTTP/2); given back by drop.
pub(super) type Slot = OwnedSemaphorePermit;

/// Who may talk to the origin now, and who waits.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
    queue: Queue,
}

impl Admission {
    pub(super) fn new(max_connections: usize, queue: Queue) -> Self {
        let size = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(size)),
            size,
            waiting: AtomicUsize::new(0),
            queue,
        }
    }

    /// Takes a slot, waiting in the queue if it must. First come, first served.
    pub(super) async fn enter(&self) -> Result<Slot, OriginError> {
        // Freed slots go to those who wait before this can see them, so nobody is overtaken.
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _place = self.place()?;
        match timeout(self.queue.wait, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            // The semaphore is never closed; to say so is still an answer.
            Ok(Err(_)) | Err(_) => Err(OriginError::QueueTimeout {
                limit: self.queue.wait,
            }),
        }
    }

    /// Slots taken now.
    pub(super) fn taken(&self) -> usize {
        self.size.saturating_sub(self.slots.available_permits())
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn place(&self) -> Result<Place<'_>, OriginError> {
        let length = self.queue.length;
        self.waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < length).then_some(waiting + 1)
            })
            .map_err(|_| OriginError::QueueFull { length })?;
        Ok(Place(&self.waiting))
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
