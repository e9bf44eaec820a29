//! A gate holds the origin back until the test has seen what it wanted to see.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::within_deadline;

/// Closed at first. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    arrived: Arc<watch::Sender<usize>>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            arrived: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Opens for all who wait and all who come.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Lets `count` through, no more.
    pub fn admit(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Waits until `count` have come to the gate since it was made, whether they went through or not.
    pub async fn reached(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        within_deadline(
            "arrivals at a gate",
            arrived.wait_for(|seen| *seen >= count),
        )
        .await
        .expect("the gate holds its own sender");
    }

    /// How many have come to the gate.
    pub fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Goes through when it is open, as the origin does.
    pub async fn pass_through(&self) {
        self.pass().await;
    }

    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|seen| *seen += 1);
        // A closed semaphore is an open gate.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}
