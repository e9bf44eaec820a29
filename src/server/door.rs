use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bind::{Sharing, bind};
use super::listener::{Bound, Listener, Settings, https_port};
use super::registry::Registry;
use super::worker::Workers;
use super::{Answer, Config, ListenerConfig, ListenerReport, ServerError};

/// After the deadline of a drain, connections get this long to notice that they are cut.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// The open door: workers, listeners and their connections. Dropping it ends all at once;
/// [`Server::drain`] first lets them finish.
#[derive(Debug)]
pub struct Server {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` after a drain.
    workers: Option<Workers>,
    /// In the order of the configuration.
    listeners: Vec<Arc<Listener>>,
    bound: Vec<Arc<Bound>>,
    /// Removed by a reload, with connections that still finish.
    retired: Vec<Arc<Listener>>,
    next_id: u64,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Connections that ended by themselves.
    pub finished: usize,
    /// Connections that the deadline cut.
    pub cut: usize,
}

type Address = (String, SocketAddr);

impl Server {
    /// Binds all listeners and starts the workers. When it returns, clients can connect.
    ///
    /// `tls` is what [`crate::tls::load`] made; the protocols of each listener are added to it.
    ///
    /// # Errors
    ///
    /// An address that cannot be bound, a TLS listener without `tls`, a thread that cannot start.
    pub fn start<A: Answer>(
        config: &Config,
        tls: Option<&Arc<rustls::ServerConfig>>,
        answer: &Arc<A>,
    ) -> Result<Self, ServerError> {
        let count = NonZeroUsize::new(config.workers)
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let server = Self {
            state: Mutex::new(State {
                workers: Some(Workers::start(count, answer)?),
                listeners: Vec::new(),
                bound: Vec::new(),
                retired: Vec::new(),
                next_id: 0,
            }),
        };
        server.reconcile(config, tls)?;
        Ok(server)
    }

    /// The addresses as bound, by listener, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let state = self.state.lock();
        let name = |bound: &Arc<Bound>| (Arc::clone(&bound.listener.name), bound.address);
        state.bound.iter().map(name).collect()
    }

    /// What each listener has seen.
    #[must_use]
    pub fn report(&self) -> Vec<ListenerReport> {
        let state = self.state.lock();
        let report = |listener: &Arc<Listener>| listener.registry.report(&listener.name);
        state.listeners.iter().map(report).collect()
    }

    /// Closes, in good order, the connections that have been idle for at least so long. How many.
    pub fn close_idle(&self, least: Duration) -> u64 {
        let state = self.state.lock();
        let closed = state
            .listeners
            .iter()
            .chain(&state.retired)
            .map(|listener| listener.registry.close_idle(least));
        closed.sum()
    }

    /// Puts new certificates or TLS settings into use for new connections.
    ///
    /// # Errors
    ///
    /// [`ServerError::Stopped`] after a drain.
    pub fn swap_tls(&self, tls: &Arc<rustls::ServerConfig>) -> Result<(), ServerError> {
        let state = self.state.lock();
        if state.workers.is_none() {
            return Err(ServerError::Stopped);
        }
        for listener in &state.listeners {
            let old = listener.settings.load();
            let settings = Settings::new(
                old.config.clone(),
                old.request_limits,
                Some(tls),
                old.https_port,
            )?;
            listener.settings.store(Arc::new(settings));
        }
        Ok(())
    }

    /// Makes the listeners what `config` says. Sockets and connections of those that stay are not
    /// touched: changed settings hold for new connections. Addresses that go are accepted empty
    /// and closed, and their connections finish what they do. `config.workers` is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Server::start`]; then nothing has changed.
    pub fn reconcile(
        &self,
        config: &Config,
        tls: Option<&Arc<rustls::ServerConfig>>,
    ) -> Result<(), ServerError> {
        self.state.lock().reconcile(config, tls)
    }

    /// Stops accepting (what waits in the queues is still served), tells all connections to
    /// finish, waits for them until the deadline, cuts those that are left, and ends the workers.
    /// A second call finds nothing to do. Must run on a tokio runtime of the caller's; when the
    /// future is dropped half-way, the workers end at once.
    pub async fn drain(&self, deadline: Duration) -> DrainOutcome {
        let deadline = Instant::now() + deadline;
        let (workers, registries, gone_before) = self.state.lock().stop();
        let Some(workers) = workers else {
            return DrainOutcome {
                finished: 0,
                cut: 0,
            };
        };
        for registry in &registries {
            registry.close_all();
        }

        let accepting = workers.accepting();
        accepting.close();
        let finish = async {
            accepting.wait().await;
            for registry in &registries {
                registry.emptied().await;
            }
        };
        let finished_all = timeout_at(deadline, finish).await.is_ok();

        let cut = registries.iter().map(|registry| registry.open()).sum();
        let finished = gone(&registries).saturating_sub(gone_before);
        if !finished_all {
            for registry in &registries {
                registry.cut_all();
            }
            let gone = async {
                for registry in &registries {
                    registry.emptied().await;
                }
            };
            if timeout(CUT_WAIT, gone).await.is_err() {
                tracing::warn!(
                    "connections that do not notice their end are ended with their worker"
                );
            }
        }
        if tokio::task::spawn_blocking(move || workers.stop())
            .await
            .is_err()
        {
            tracing::error!("the workers could not be waited for");
        }
        DrainOutcome {
            finished: usize::try_from(finished).unwrap_or(usize::MAX),
            cut,
        }
    }
}

/// An address of a new configuration that is not bound yet.
struct Fresh {
    address: Address,
    bound_to: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl State {
    fn reconcile(
        &mut self,
        config: &Config,
        tls: Option<&Arc<rustls::ServerConfig>>,
    ) -> Result<(), ServerError> {
        let Some(workers) = &self.workers else {
            return Err(ServerError::Stopped);
        };
        let fresh = self.bind_fresh(config, workers.count())?;
        let settings = self.settings(config, tls, &fresh)?;
        // Nothing fails from here on but a worker that is gone.
        self.take_settings(settings);
        self.close_gone(config);
        self.open_fresh(config, fresh)
    }

    fn bind_fresh(
        &self,
        config: &Config,
        workers: NonZeroUsize,
    ) -> Result<Vec<Fresh>, ServerError> {
        let ours: HashSet<SocketAddr> = self.bound.iter().map(|bound| bound.address).collect();
        let mut fresh: Vec<Fresh> = Vec::new();
        for (name, address) in addresses_of(config) {
            if self.find(&name, address).is_some() {
                continue;
            }
            let sharing = if ours.contains(&address) {
                Sharing::WithOurOwn
            } else {
                Sharing::Exclusive
            };
            let failed = |source| ServerError::Bind {
                listener: name.clone(),
                address,
                source,
            };
            let sockets = bind(address, workers, sharing).map_err(failed)?;
            let bound_to = match sockets.first() {
                Some(socket) => socket.local_addr().map_err(failed)?,
                None => address,
            };
            fresh.push(Fresh {
                address: (name, address),
                bound_to,
                sockets,
            });
        }
        Ok(fresh)
    }

    fn settings(
        &self,
        config: &Config,
        tls: Option<&Arc<rustls::ServerConfig>>,
        fresh: &[Fresh],
    ) -> Result<Vec<Settings>, ServerError> {
        let mut bound: HashMap<Address, SocketAddr> = self
            .bound
            .iter()
            .map(|one| ((one.listener.name.to_string(), one.configured), one.address))
            .collect();
        bound.extend(fresh.iter().map(|one| (one.address.clone(), one.bound_to)));
        let https_port = https_port(&config.listeners, &bound);
        config
            .listeners
            .iter()
            .map(|listener| Settings::new(listener.clone(), config.request_limits, tls, https_port))
            .collect()
    }

    /// Listeners in the order of the new settings; those that have none retire.
    fn take_settings(&mut self, settings: Vec<Settings>) {
        let mut old: Vec<Arc<Listener>> = std::mem::take(&mut self.listeners);
        for settings in settings {
            let known = old
                .iter()
                .position(|listener| *listener.name == *settings.config.name);
            let listener = match known {
                Some(place) => {
                    let listener = old.swap_remove(place);
                    listener.settings.store(Arc::new(settings));
                    listener
                }
                None => Arc::new(Listener {
                    name: Arc::from(settings.config.name.as_str()),
                    settings: ArcSwap::from_pointee(settings),
                    registry: Arc::default(),
                }),
            };
            self.listeners.push(listener);
        }
        self.retired.retain(|listener| listener.registry.open() > 0);
        self.retired.extend(old);
    }

    fn close_gone(&mut self, config: &Config) {
        let wanted: HashSet<Address> = addresses_of(config).into_iter().collect();
        self.bound.retain(|bound| {
            let stays = wanted.contains(&(bound.listener.name.to_string(), bound.configured));
            if !stays {
                bound.stop.cancel();
                bound.listener.registry.close_those(bound.id);
            }
            stays
        });
    }

    fn open_fresh(&mut self, config: &Config, fresh: Vec<Fresh>) -> Result<(), ServerError> {
        for one in fresh {
            let (name, configured) = one.address;
            let listener = self
                .listeners
                .iter()
                .find(|listener| *listener.name == *name);
            let (Some(listener), Some(workers)) = (listener, &self.workers) else {
                continue;
            };
            let bound = Arc::new(Bound {
                listener: Arc::clone(listener),
                configured,
                address: one.bound_to,
                id: self.next_id,
                stop: CancellationToken::new(),
            });
            self.next_id += 1;
            workers.listen(&bound, one.sockets)?;
            self.bound.push(bound);
        }
        let order: HashMap<Address, usize> = addresses_of(config).into_iter().zip(0..).collect();
        self.bound.sort_by_key(|bound| {
            order
                .get(&(bound.listener.name.to_string(), bound.configured))
                .copied()
        });
        Ok(())
    }

    fn find(&self, name: &str, configured: SocketAddr) -> Option<&Arc<Bound>> {
        self.bound
            .iter()
            .find(|bound| *bound.listener.name == *name && bound.configured == configured)
    }

    /// Ends accepting, and hands out what the drain waits for, with how many connections had ended
    /// before.
    fn stop(&mut self) -> (Option<Workers>, Vec<Arc<Registry>>, u64) {
        let registries: Vec<Arc<Registry>> = self
            .listeners
            .iter()
            .chain(&self.retired)
            .map(|listener| Arc::clone(&listener.registry))
            .collect();
        // Counted first: from the cancelling on, connections end by it.
        let gone_before = gone(&registries);
        for bound in self.bound.drain(..) {
            bound.stop.cancel();
        }
        (self.workers.take(), registries, gone_before)
    }
}

fn gone(registries: &[Arc<Registry>]) -> u64 {
    registries.iter().map(|registry| registry.gone()).sum()
}

/// Each address of each listener once, in order.
fn addresses_of(config: &Config) -> Vec<Address> {
    let mut seen = HashSet::new();
    config
        .listeners
        .iter()
        .flat_map(|listener: &ListenerConfig| {
            listener
                .bind
                .iter()
                .map(|address| (listener.name.clone(), *address))
        })
        .filter(|address| seen.insert(address.clone()))
        .collect()
}
