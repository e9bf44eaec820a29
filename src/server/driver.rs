use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::control::{Control, Order};
use super::deadline::{self, Due, Timeouts};
use super::registry::{Event, Registry};

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("TLS handshake: {0}")]
    Handshake(#[source] io::Error),
    #[error("the TLS handshake took too long")]
    HandshakeTimeout,
    #[error("the client asked for a name without a certificate")]
    UnknownName,
    #[error("the client speaks no protocol of this listener")]
    NoProtocol,
    #[error("the request head took too long")]
    HeadTimeout,
    #[error("the client takes no bytes")]
    Stalled,
    #[error("input or output: {0}")]
    Io(#[source] io::Error),
    #[error("HTTP: {0}")]
    Http(#[source] hyper::Error),
}

/// Runs a connection under its deadlines and the orders of others.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) control: Arc<Control>,
    pub(super) registry: Arc<Registry>,
    pub(super) timeouts: Timeouts,
}

impl Driver {
    /// Polls `connection` to its end. `close` begins its end in good order; `end_of_turn` is
    /// called after each poll of it, and once it is over until that is done too.
    ///
    /// Ends when the connection does, or when a deadline passes; the latest with the write
    /// deadline, if the client does nothing at all.
    pub(super) async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        close: impl Fn(Pin<&mut C>),
        end_of_turn: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Result<(), Ended>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut alarm = pin!(Alarm::at(self.control.accepted() + self.timeouts.head));
        let mut over: Option<hyper::Result<()>> = None;
        let mut closing: Option<Duration> = None;
        let mut told = false;
        poll_fn(|cx| {
            self.control.driven_by(cx.waker());
            loop {
                match self.control.order() {
                    Order::Serve => {}
                    Order::Close => {
                        closing.get_or_insert_with(|| self.control.accepted().elapsed());
                    }
                    Order::Cut => return Poll::Ready(Ok(())),
                }
                // Before an answer's head goes out, so that HTTP/1 says `Connection: close` in it.
                if closing.is_some() && !told && over.is_none() && self.control.is_answering() {
                    told = true;
                    close(connection.as_mut());
                }
                if over.is_none()
                    && let Poll::Ready(result) = connection.as_mut().poll(cx)
                {
                    over = Some(result);
                }
                if let Poll::Ready(flushed) = end_of_turn(cx) {
                    flushed.map_err(Ended::Io)?;
                    if let Some(result) = over.take() {
                        return Poll::Ready(result.map_err(Ended::Http));
                    }
                }
                // After a turn that has read what was there: an idle connection is ended at once.
                if closing.is_some() && !told && over.is_none() && self.control.may_close() {
                    told = true;
                    close(connection.as_mut());
                    continue;
                }
                match ready!(self.poll_due(cx, alarm.as_mut(), closing)) {
                    Due::Idle => closing = Some(self.control.accepted().elapsed()),
                    Due::Lingering => return Poll::Ready(Ok(())),
                    Due::Head => {
                        self.registry.count(Event::Timeout);
                        return Poll::Ready(Err(Ended::HeadTimeout));
                    }
                    Due::Stalled => {
                        self.registry.count(Event::Stall);
                        self.control.reset();
                        return Poll::Ready(Err(Ended::Stalled));
                    }
                }
            }
        })
        .await
    }

    /// Ready with the first deadline that has passed.
    fn poll_due(
        &self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Alarm>,
        closing: Option<Duration>,
    ) -> Poll<Due> {
        let activity = self.control.activity();
        let Some((after, due)) = deadline::next(&self.timeouts, &activity, closing) else {
            return Poll::Pending;
        };
        ready!(alarm.poll_passed(cx, self.control.accepted() + after));
        Poll::Ready(due)
    }
}

/// A timer that is touched only when it must ring earlier than it is set, or has rung too early:
/// in the steady run of requests, deadlines only move away and cost nothing.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set_to: Instant,
}

impl Alarm {
    fn at(instant: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(instant)),
            set_to: instant,
        }
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.set_to {
            self.set(deadline);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
    }

    fn set(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline);
        self.set_to = deadline;
    }
}
