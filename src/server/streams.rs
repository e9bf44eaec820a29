use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use super::body::Stream;
use super::registry::{Event, Registry};

/// Runs the streams of one HTTP/2 connection, each as a task under the write deadline: a stream
/// whose client takes nothing is reset, and the others go on.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    /// The stream whose request was handed to the service just now. The protocol layer calls the
    /// service and then this executor for it, with nothing between the two.
    next: Arc<Mutex<Option<Arc<Stream>>>>,
    registry: Arc<Registry>,
    write_timeout: Duration,
}

impl Streams {
    pub(super) fn new(registry: Arc<Registry>, write_timeout: Duration) -> Self {
        Self {
            next: Arc::default(),
            registry,
            write_timeout,
        }
    }

    /// A new stream, whose task is executed next.
    pub(super) fn begin(&self) -> Arc<Stream> {
        let stream = Arc::new(Stream::default());
        *self.next.lock() = Some(Arc::clone(&stream));
        stream
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let Some(stream) = self.next.lock().take() else {
            tokio::spawn(task);
            return;
        };
        let registry = Arc::clone(&self.registry);
        let write_timeout = self.write_timeout;
        tokio::spawn(async move {
            if run(task, &stream, write_timeout).await == Outcome::Stalled {
                registry.count(Event::Stall);
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ended,
    Stalled,
}

/// Runs a stream's task to its end, or drops it, which resets the stream, when the client takes
/// nothing for `write_timeout`. A stream that waits for us has no deadline here.
async fn run(task: impl Future<Output = ()>, stream: &Stream, write_timeout: Duration) -> Outcome {
    let mut task = pin!(task);
    let mut stall: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Outcome::Ended);
        }
        let Some(chunk) = stream.waits_with() else {
            stall = None;
            return Poll::Pending;
        };
        let (waiting, timer) = stall.get_or_insert_with(|| (chunk, Box::pin(sleep(write_timeout))));
        if *waiting != chunk {
            *waiting = chunk;
            timer.as_mut().reset(Instant::now() + write_timeout);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Outcome::Stalled)
    })
    .await
}
