use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::auth::Keyring;
use super::config::{Bind, Config};
use super::control::Control;
use super::error::AdminError;
use super::listener::{Listener, Stream};
use super::routes::{Shared, router};
use super::token::tokens;
use super::warm::Warming;

/// Operators and scrapers at one time.
const CONNECTIONS_MAX: usize = 256;

/// A head must be there in this time, the first as well as one on a kept connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a closing door waits for answers that are under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// After a failed accept (too many open files, mostly): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The operators' door, open until it is closed or dropped.
pub struct Door {
    place: Bind,
    token: String,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the accept loop and all connections when the door is dropped without being closed.
    _stop_on_drop: DropGuard,
}

impl Door {
    /// Opens the door; it is served on the calling runtime. `state` is the folder for the random token.
    ///
    /// # Errors
    /// When the address is taken or the token's file cannot be kept.
    pub async fn open(
        config: &Config,
        state: &Path,
        control: Arc<dyn Control>,
    ) -> Result<Self, AdminError> {
        let tokens = tokens(config, state)?;
        let token = tokens.first().map(|token| token.secret.clone());
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            keyring: ArcSwap::from_pointee(Keyring::new(&tokens)?),
            control,
            warming: Warming::new(tasks.clone(), &stop),
        });
        let listener = Listener::bind(&config.bind).await?;
        let place = listener.place();
        tasks.spawn(accept_all(
            listener,
            router(Arc::clone(&shared)),
            tasks.clone(),
            stop.clone(),
        ));
        Ok(Self {
            place,
            token: token.unwrap_or_default(),
            shared,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where the door is; with the real port when 0 was configured.
    #[must_use]
    pub fn place(&self) -> &Bind {
        &self.place
    }

    /// The secret of the first token that the door was opened with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The jobs of warming.
    #[must_use]
    pub fn warming(&self) -> &Arc<Warming> {
        &self.shared.warming
    }

    /// Puts other tokens in place, after a reload. Running requests keep what they were granted.
    ///
    /// # Errors
    /// When the token's file cannot be kept; the old tokens then go on.
    pub fn replace_tokens(&self, config: &Config, state: &Path) -> Result<(), AdminError> {
        let keyring = Keyring::new(&tokens(config, state)?)?;
        self.shared.keyring.store(Arc::new(keyring));
        Ok(())
    }

    /// Closes the door; answers under way have a few seconds.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        // Ends: each connection bounds its own end.
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Ends when the door is closed.
async fn accept_all(
    listener: Listener,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                let served = serve(stream, router.clone(), stop.clone());
                tasks.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: Stream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Out of time: the connection is dropped where it stands.
            tokio::time::timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}
