//! What the tests of the node from outside stand on: an origin that does what a test says, clients
//! that tell a whole answer from one that was cut off, and gates instead of sleeps.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the tests use"
)]

pub mod client;
pub mod content;
pub mod edge;
pub mod gate;
pub mod origin;
pub mod program;
pub mod reply;
mod self_test;

use std::future::Future;
use std::time::Duration;

/// How long anything here may take. A broken test fails instead of hanging.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `work`, at most [`DEADLINE`]; `what` names it when it is late.
#[track_caller]
pub fn within_deadline<F: Future>(
    what: &str,
    work: F,
) -> impl Future<Output = F::Output> + use<'_, F> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(output) => output,
            Err(_) => panic!("{what}: not done after {DEADLINE:?} (asked at {caller})"),
        }
    }
}
