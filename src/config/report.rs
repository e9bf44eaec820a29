use std::fmt;

use crate::origin::Source;
use crate::site::{HostPattern, Site};

use super::checked::NodeConfig;
use super::quantity::size_text;

/// What a good configuration says, in a few lines for the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a NodeConfig);

/// What this configuration says, in a few lines for the terminal.
#[must_use]
pub fn check_report(config: &NodeConfig) -> Report<'_> {
    Report(config)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for listener in &self.0.listeners {
            let scheme = if listener.tls { "https" } else { "http" };
            let bind: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
            writeln!(
                f,
                "listener {}: {scheme} on {}",
                listener.name,
                bind.join(", ")
            )?;
        }
        for site in &self.0.sites {
            writeln!(
                f,
                "site {}: {} from {}",
                site.name,
                hosts(site),
                origin(site)
            )?;
        }
        let memory = size_text(self.0.store.memory.size_bytes);
        write!(f, "tiers: {memory} of memory")?;
        for disk in &self.0.store.disks {
            write!(
                f,
                ", {} in {}",
                size_text(disk.size_bytes),
                disk.path.display()
            )?;
        }
        match self.0.store.disks.is_empty() {
            true => write!(f, ", no disk"),
            false => Ok(()),
        }
    }
}

fn hosts(site: &Site) -> String {
    let hosts: Vec<String> = site
        .hosts
        .iter()
        .map(|host| match host {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Wildcard(suffix) => format!("*.{suffix}"),
        })
        .collect();
    hosts.join(", ")
}

fn origin(site: &Site) -> String {
    match &site.origin.source {
        Source::Demo => "the bundled demo".to_owned(),
        Source::Folder(path) => path.display().to_string(),
        Source::Servers(servers) => {
            let hosts: Vec<String> = servers
                .iter()
                .map(|server| match server.host.contains(':') {
                    true => format!("[{}]:{}", server.host, server.port),
                    false => format!("{}:{}", server.host, server.port),
                })
                .collect();
            hosts.join(", ")
        }
    }
}
