use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cache::Cache;
use crate::clock::{Clock, SharedClock};
use crate::config::NodeConfig;
use crate::demo::Demo;
use crate::origin::Source as OriginSource;
use crate::pipeline::Pipeline;
use crate::server::{self, DrainOutcome, Server};
use crate::store::{Store, TierReport};
use crate::telemetry::{AccessLog, Metrics};
use crate::tls::{self, Tickets};
use crate::variant::ImagePool;

use super::NodeError;
use super::allowance::System;
use super::build;
use super::control::NodeControl;
use super::door::Door;
use super::memory::{MemoryWatch, Resident};
use super::source::ConfigSource;

/// How long the disk tier may take to write what it holds when the node stops.
const STORE_CLOSE: Duration = Duration::from_secs(10);

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    /// The runtime of fills, disk, admin and background work. Dropped last.
    runtime: Option<Runtime>,
    server: Option<Arc<Server>>,
    admin: Option<admin::Door>,
}

/// What the node and its admin door share.
pub(super) struct Shared {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Option<Arc<AccessLog>>,
    pub(super) config: Mutex<Arc<NodeConfig>>,
    demo: Mutex<Option<Arc<Demo>>>,
    /// What a reload reads again; set by `run`.
    source: Mutex<Option<ConfigSource>>,
    draining: CancellationToken,
    tickets: Arc<Tickets>,
    pub(super) memory: Arc<MemoryWatch>,
    server: Mutex<std::sync::Weak<Server>>,
}

impl Node {
    /// Starts everything that `config` says. Blocks until the node answers. Not to be called on a runtime.
    ///
    /// # Errors
    /// The first thing that could not be started; nothing keeps running then.
    pub fn start(config: NodeConfig, clock: &SharedClock) -> Result<Self, NodeError> {
        Self::start_watching(config, clock, Box::new(System::here()))
    }

    /// The same, but what the process takes of the memory is what `resident` says.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_watching(
        config: NodeConfig,
        clock: &SharedClock,
        resident: Box<dyn Resident>,
    ) -> Result<Self, NodeError> {
        prepare_state(&config.state)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.workers.max(2))
            .thread_name("brim-shared")
            .enable_all()
            .build()
            .map_err(NodeError::Runtime)?;
        let handle = runtime.handle().clone();
        let metrics = Metrics::new(config.metrics);
        let log = match config.log.access.enabled {
            true => Some(Arc::new(AccessLog::start(&config.log.access)?)),
            false => None,
        };
        let clock_too = Arc::clone(clock);
        let store = Store::open_timed(&config.store, handle.clone(), clock_too);
        let store = runtime.block_on(store)?;
        let demo = runtime.block_on(start_demo(&config))?;
        let images = Arc::new(ImagePool::new(config.images));
        let cache = Cache::new(
            Arc::clone(&store),
            Arc::clone(clock),
            handle.clone(),
            (Arc::clone(&images), &config.images),
            config.fill,
            &config.store.memory,
            config.compression,
        );
        let address = demo.as_ref().map(|demo| demo.address());
        let routes = build::routes(&config, &store, &metrics, address, None)?;
        store.set_quotas(build::quotas(&config));
        super::control::add_sources(&metrics, &store, &cache, &images);
        let memory = Arc::new(MemoryWatch::new(&config, &cache, resident));
        memory.compare(&config);
        let pipeline = Arc::new(Pipeline::new(routes, cache, &metrics, log.clone()));
        let tickets = Tickets::new(config.tls.ticket_rotation, Arc::clone(clock))?;
        let tls = load_tls(&config, &**clock, &tickets)?;
        let server = Arc::new(Server::start(
            &doors(&config),
            tls.as_ref(),
            &Arc::new(Door(Arc::clone(&pipeline))),
        )?);
        let shared = Arc::new(Shared {
            pipeline,
            store,
            metrics,
            log,
            demo: Mutex::new(demo),
            source: Mutex::new(None),
            draining: CancellationToken::new(),
            tickets,
            memory,
            server: Mutex::new(Arc::downgrade(&server)),
            config: Mutex::new(Arc::new(config)),
        });
        handle.spawn(Arc::clone(&shared.memory).run(Arc::downgrade(&server)));
        super::control::add_doors(&shared.metrics, &server, &shared);
        if let Some(log) = &shared.log {
            log.report_to(&shared.metrics);
        }
        let config = shared.config();
        let control = Arc::new(NodeControl::new(Arc::clone(&shared)));
        let admin = runtime.block_on(admin::Door::open(&config.admin, &config.state, control))?;
        super::control::add_warming(&shared.metrics, admin.warming());
        Ok(Self {
            shared,
            runtime: Some(runtime),
            server: Some(server),
            admin: Some(admin),
        })
    }

    /// Listener names and the addresses that they got.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.server
            .as_ref()
            .map(|server| server.addresses())
            .unwrap_or_default()
    }

    /// Where the admin door is; `None` on a Unix socket.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        match self.admin.as_ref().map(admin::Door::place) {
            Some(admin::Bind::Tcp(address)) => Some(*address),
            Some(admin::Bind::Unix(_)) | None => None,
        }
    }

    /// A token that opens the whole admin door.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        self.admin.as_ref().map_or("", admin::Door::token)
    }

    /// The tiers and their state.
    #[must_use]
    pub fn tiers(&self) -> Vec<TierReport> {
        self.shared.store.tiers()
    }

    /// Where the bundled origin listens, if a site asks for it.
    #[must_use]
    pub fn demo_address(&self) -> Option<SocketAddr> {
        self.shared.demo.lock().as_ref().map(|demo| demo.address())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<NodeConfig> {
        self.shared.config()
    }

    /// The way of a request, for who wants to ask without a socket.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.shared.pipeline
    }

    /// The handle that signals and the admin door use.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes a new configuration: everything is built beside the old, then swapped. Sockets, the cache and
    /// connections stay. Sizes of the tiers, workers and the state folder need a restart.
    ///
    /// # Errors
    /// What could not be built; nothing has changed then.
    pub fn reload(&self, config: NodeConfig) -> Result<(), NodeError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.shared.reload(config)),
            None => Ok(()),
        }
    }

    /// Stops: no new connections, running answers are finished within the drain's time, then the tiers are
    /// closed. Blocks.
    pub fn drain(mut self) -> DrainOutcome {
        let deadline = self.shared.config().drain_timeout;
        let Some(runtime) = self.runtime.take() else {
            return NOTHING_TO_DRAIN;
        };
        // Nobody waits for it, and it would take from those who are still answered.
        if let Some(admin) = &self.admin {
            admin.warming().stop();
        }
        let outcome = match self.server.take() {
            Some(server) => runtime.block_on(server.drain(deadline)),
            None => NOTHING_TO_DRAIN,
        };
        if let Some(admin) = self.admin.take() {
            runtime.block_on(admin.close());
        }
        runtime.block_on(self.shared.store.close(STORE_CLOSE));
        *self.shared.demo.lock() = None;
        if let Some(log) = &self.shared.log {
            log.flush();
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }
}

impl Drop for Node {
    /// Ends without a drain when `drain` was not called: a test that failed, mostly.
    fn drop(&mut self) {
        self.server = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    pub(super) fn config(&self) -> Arc<NodeConfig> {
        Arc::clone(&self.config.lock())
    }

    /// Where a reload reads the configuration from.
    pub(super) fn reload_from(&self, source: ConfigSource) {
        *self.source.lock() = Some(source);
    }

    /// Reads the configuration again and takes it; every mistake in it otherwise.
    pub(super) async fn reload_again(&self) -> Result<(), Vec<String>> {
        let Some(source) = self.source.lock().clone() else {
            return Err(vec![
                "this node was not started from files: there is nothing to read again".to_owned(),
            ]);
        };
        let loaded = tokio::task::spawn_blocking(move || source.load()).await;
        let config = match loaded {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => return Err(errors.iter().map(ToString::to_string).collect()),
            Err(error) => return Err(vec![error.to_string()]),
        };
        self.reload(config)
            .await
            .map_err(|error| vec![error.to_string()])
    }

    pub(super) fn ask_drain(&self) {
        self.draining.cancel();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the admin door asks for a drain. Cancel-safe.
    pub(super) async fn drain_asked(&self) {
        self.draining.cancelled().await;
    }

    pub(super) async fn reload(&self, config: NodeConfig) -> Result<(), NodeError> {
        if self.demo.lock().is_none() {
            let started = start_demo(&config).await?;
            *self.demo.lock() = started;
        }
        let address = self.demo.lock().as_ref().map(|demo| demo.address());
        let before = self.pipeline.routes();
        let routes = build::routes(&config, &self.store, &self.metrics, address, Some(&before))?;
        let tls = load_tls(&config, &**self.pipeline.cache().clock(), &self.tickets)?;
        let server = self.server.lock().upgrade();
        if let Some(server) = server {
            server.reconcile(&doors(&config), tls.as_ref())?;
        }
        self.pipeline.swap(routes);
        self.store.set_quotas(build::quotas(&config));
        *self.config.lock() = Arc::new(config);
        Ok(())
    }

    pub(super) fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.server
            .lock()
            .upgrade()
            .map(|server| server.addresses())
            .unwrap_or_default()
    }
}

const NOTHING_TO_DRAIN: DrainOutcome = DrainOutcome {
    finished: 0,
    cut: 0,
};

fn doors(config: &NodeConfig) -> server::Config {
    server::Config {
        listeners: config.listeners.clone(),
        workers: config.workers,
        request_limits: config.limits,
    }
}

/// The bundled origin runs only when a site asks for it.
async fn start_demo(config: &NodeConfig) -> Result<Option<Arc<Demo>>, NodeError> {
    if config
        .sites
        .iter()
        .any(|site| site.origin.source == OriginSource::Demo)
    {
        Ok(Some(Arc::new(Demo::start().await?)))
    } else {
        Ok(None)
    }
}

fn load_tls(
    config: &NodeConfig,
    clock: &dyn Clock,
    tickets: &Arc<Tickets>,
) -> Result<Option<Arc<ServerConfig>>, NodeError> {
    if config.listeners.iter().any(|listener| listener.tls) {
        Ok(Some(tls::load(
            &config.tls,
            &config.state,
            clock.now(),
            tickets,
        )?))
    } else {
        Ok(None)
    }
}

/// Keys and purge clocks live there: nobody else may look.
fn prepare_state(state: &Path) -> Result<(), NodeError> {
    if state.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|source| NodeError::State {
            path: state.to_owned(),
            source,
        })
}
