use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::{Accepted, serve};
use super::listener::Bound;
use super::{Answer, ServerError};

/// A reload sends one command for each new address.
const COMMANDS_WAITING_MAX: usize = 1024;
/// Pauses of an accept loop that the system refuses a socket (no descriptors, no memory).
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Threads, each with a runtime and sockets of its own: a connection never changes its core.
#[derive(Debug)]
pub(super) struct Workers {
    commands: Vec<mpsc::Sender<Listen>>,
    threads: Vec<JoinHandle<()>>,
    /// The accept loops of all workers.
    accepting: TaskTracker,
}

/// "Accept on this too."
#[derive(Debug)]
struct Listen {
    bound: Arc<Bound>,
    socket: std::net::TcpListener,
    /// Counts as an accept loop from now on: a drain must not miss a loop that is yet to begin,
    /// for clients wait in the socket's queue already.
    accepting: TaskTrackerToken,
}

impl Workers {
    pub(super) fn start<A: Answer>(
        count: NonZeroUsize,
        answer: &Arc<A>,
    ) -> Result<Self, ServerError> {
        let mut workers = Self {
            commands: Vec::new(),
            threads: Vec::new(),
            accepting: TaskTracker::new(),
        };
        for number in 0..count.get() {
            let (commands, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
            let answer = Arc::clone(answer);
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| ServerError::Worker { source })?;
            let thread = thread::Builder::new()
                .name(format!("brim-worker-{number}"))
                .spawn(move || work(runtime, inbox, &answer))
                .map_err(|source| ServerError::Worker { source })?;
            workers.commands.push(commands);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    pub(super) fn count(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.commands.len()).unwrap_or(NonZeroUsize::MIN)
    }

    /// Gives each worker one of the sockets.
    pub(super) fn listen(
        &self,
        bound: &Arc<Bound>,
        sockets: Vec<std::net::TcpListener>,
    ) -> Result<(), ServerError> {
        for (commands, socket) in self.commands.iter().zip(sockets) {
            let listen = Listen {
                bound: Arc::clone(bound),
                socket,
                accepting: self.accepting.token(),
            };
            commands
                .try_send(listen)
                .map_err(|error| ServerError::Worker {
                    source: io::Error::other(error.to_string()),
                })?;
        }
        Ok(())
    }

    /// The accept loops, to wait for their end once they have been told to stop.
    pub(super) fn accepting(&self) -> TaskTracker {
        self.accepting.clone()
    }

    /// Ends the threads with whatever still runs on them, and waits for them. Blocks.
    pub(super) fn stop(self) {
        drop(self.commands);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
    }
}

/// A worker's life: until the server lets go of its end of the commands.
fn work<A: Answer>(runtime: Runtime, mut inbox: mpsc::Receiver<Listen>, answer: &Arc<A>) {
    runtime.block_on(async {
        while let Some(listen) = inbox.recv().await {
            match TcpListener::from_std(listen.socket) {
                Ok(socket) => {
                    let answer = Arc::clone(answer);
                    let bound = listen.bound;
                    tokio::spawn(async move {
                        accept_loop(bound, socket, answer).await;
                        drop(listen.accepting);
                    });
                }
                Err(error) => {
                    let address = listen.bound.address;
                    tracing::error!(%address, %error, "cannot accept here");
                }
            }
        }
    });
    runtime.shutdown_background();
}

/// Accepts until told to stop, then what still waits in the queue: closing a socket resets that.
async fn accept_loop<A: Answer>(bound: Arc<Bound>, socket: TcpListener, answer: Arc<A>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = bound.stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = PAUSE_FIRST;
                admit(&bound, stream, address, &answer).await;
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(listener = %bound.listener.name, %error, "accept failed; pausing");
                tokio::select! {
                    () = bound.stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
        }
    }
    // Asked directly: the runtime may not know yet of those that came last.
    let Ok(socket) = socket.into_std() else {
        return;
    };
    loop {
        match socket.accept() {
            Ok((stream, address)) => {
                let stream = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    admit(&bound, stream, address, &answer).await;
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            // The queue is empty, or the system gives no more sockets.
            Err(_) => return,
        }
    }
}

/// The client went before it was accepted (see accept(2) on errors of the new socket).
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut
    )
}

async fn admit<A: Answer>(
    bound: &Arc<Bound>,
    stream: TcpStream,
    address: SocketAddr,
    answer: &Arc<A>,
) {
    let listener = Arc::clone(&bound.listener);
    let settings = listener.settings.load_full();
    let place = listener
        .registry
        .admit(address.ip(), bound.id, settings.limits())
        .await;
    let place = match place {
        Ok(place) => place,
        Err(full) => {
            tracing::debug!(listener = %listener.name, %address, ?full, "connection refused");
            // A reset leaves nothing in TIME_WAIT on our side.
            let reset = stream.set_zero_linger();
            drop((reset, stream));
            return;
        }
    };
    // After the place is taken: whoever stops this socket later finds the connection there.
    if bound.stop.is_cancelled() {
        place.control().close();
    }
    let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
    let Ok(local) = local else {
        return;
    };
    let accepted = Accepted {
        stream,
        address,
        local,
        listener,
        settings,
        answer: Arc::clone(answer),
        place,
    };
    // Not awaited: its place in the registry is what the drain waits for.
    tokio::spawn(serve(accepted));
}
