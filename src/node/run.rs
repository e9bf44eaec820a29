use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::SystemClock;
use crate::config::NodeConfig;
use crate::origin::Source;
use crate::site::HostPattern;
use crate::store::{Tier, TierState};

use super::source::ConfigSource;
use super::{Node, NodeError};

/// How a node ended; the process's exit code says it.
#[derive(Debug)]
pub enum Exit {
    /// Everything that was under way was finished.
    Drained,
    /// The drain's deadline passed, or a second signal came; this many connections were cut.
    Cut(usize),
}

/// Runs a node until it is told to stop, by signal or through the admin door. `started` is told once it
/// answers.
///
/// SIGHUP reloads, SIGUSR1 reopens the access log, SIGTERM and SIGINT drain; a second one stops at once.
///
/// # Errors
/// When the node could not start.
pub fn run(
    first: NodeConfig,
    source: ConfigSource,
    started: impl FnOnce(&Node),
) -> Result<Exit, NodeError> {
    raise_descriptor_limit();
    let node = Node::start(first, &SystemClock::shared())?;
    node.shared().reload_from(source);
    started(&node);
    let signals = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    signals.block_on(until_stopped(&node))?;
    tracing::info!("draining; a second signal stops at once");
    let second = std::thread::Builder::new()
        .name("brim-second-signal".to_owned())
        .spawn(move || {
            if signals.block_on(stop_signal()).is_ok() {
                std::process::exit(3);
            }
        })
        .map_err(NodeError::Runtime)?;
    let outcome = node.drain();
    drop(second);
    Ok(match outcome.cut {
        0 => Exit::Drained,
        cut => Exit::Cut(cut),
    })
}

/// A connection is a descriptor, and so is a block of the disk tier; the soft limit of most systems is 1024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it was");
    }
}

async fn until_stopped(node: &Node) -> Result<(), NodeError> {
    let mut reload = signal(SignalKind::hangup()).map_err(NodeError::Runtime)?;
    let mut reopen = signal(SignalKind::user_defined1()).map_err(NodeError::Runtime)?;
    let mut stopping = std::pin::pin!(stop_signal());
    let shared = Arc::clone(node.shared());
    // Ends with a stop signal or a drain asked for at the admin door.
    loop {
        tokio::select! {
            stopped = &mut stopping => return stopped,
            () = shared.drain_asked() => return Ok(()),
            _ = reload.recv() => match shared.reload_again().await {
                Ok(()) => tracing::info!("configuration reloaded"),
                Err(errors) => {
                    for error in errors {
                        tracing::error!("{error}");
                    }
                    tracing::error!("the configuration was not changed");
                }
            },
            _ = reopen.recv() => {
                if let Some(log) = &shared.log {
                    log.reopen();
                }
            }
        }
    }
}

async fn stop_signal() -> Result<(), NodeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Runtime)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The lines that a start prints: listeners, sites, tiers, and what to try.
#[must_use]
pub fn announcement(node: &Node) -> String {
    let config = node.config();
    let mut lines = vec![format!(
        "brim {} is up as \"{}\"",
        env!("CARGO_PKG_VERSION"),
        config.id
    )];
    for (name, address) in node.addresses() {
        let scheme = match config
            .listeners
            .iter()
            .find(|listener| *listener.name == *name)
        {
            Some(listener) if listener.tls => "https",
            _ => "http",
        };
        lines.push(format!("  listener  {name:<8} {scheme}://{address}"));
    }
    for site in &config.sites {
        let hosts: Vec<String> = site.hosts.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "  site      {:<8} {} <- {}",
            site.name,
            hosts.join(", "),
            site.origin.source
        ));
    }
    for tier in node.tiers() {
        let size = tier.capacity_bytes >> 20;
        let name = match tier.tier {
            Tier::Memory => "memory",
            Tier::Disk => "disk",
        };
        lines.push(match &tier.state {
            TierState::Ready => match &tier.place {
                Some(place) => format!("  tier      {name:<8} {size} MiB in {place}"),
                None => format!("  tier      {name:<8} {size} MiB"),
            },
            TierState::Down(trouble) => {
                format!("  tier      {name:<8} DOWN, serving without it: {trouble}")
            }
        });
    }
    if config.store.disks.is_empty() {
        lines.push("  tier      disk     none configured".to_owned());
    }
    if let Some(address) = node.admin_address() {
        lines.push(format!("  admin     http://{address}"));
    }
    lines.extend(invitation(node));
    lines.join("\n")
}

/// Where to look and what to try, for who started it to see it: with the demo or an ad-hoc site.
fn invitation(node: &Node) -> Option<String> {
    let config = node.config();
    let local = HostPattern::Exact("localhost".to_owned());
    let site = config
        .sites
        .iter()
        .find(|site| site.hosts.contains(&local))?;
    let tls = |name: &str| {
        config
            .listeners
            .iter()
            .any(|listener| listener.tls && *listener.name == *name)
    };
    let (_, address) = node.addresses().into_iter().find(|(name, _)| tls(name))?;
    let (port, name) = (address.port(), &site.name);
    let program = std::env::args().next().unwrap_or_else(|| "brim".to_owned());
    let path = match site.origin.source {
        Source::Demo => "photos/lake.jpg",
        Source::Servers(_) | Source::Folder(_) => "",
    };
    Some(format!(
        "look at https://localhost:{port}/ (the certificate is this node's own, so the browser will ask), or try\n\
         \x20 curl -k -D - -o /dev/null -H 'accept: image/avif' 'https://localhost:{port}/{path}'\n\
         \x20 {program} explain https://localhost:{port}/{path}\n\
         \x20 {program} purge --site {name} --all"
    ))
}
