use std::io::{self, IsTerminal, Write};

use anyhow::{Context, anyhow};
use tracing_subscriber::EnvFilter;

use super::exit::Exit;
use super::run::tell;
use crate::node;

pub(super) fn run(source: &node::ConfigSource) -> Exit {
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            tell(
                &mut io::stderr(),
                &format!("the configuration is refused\n{errors}"),
            );
            return Exit::Refused;
        }
    };
    if let Err(error) = start_log(&config.log.level) {
        tell(&mut io::stderr(), &format!("{error:#}"));
        return Exit::Refused;
    }
    let announce = |node: &node::Node| {
        // Nobody to tell when the terminal is gone.
        writeln!(io::stdout(), "{}", node::announcement(node)).ok();
    };
    match node::run(config, source.clone(), announce) {
        Ok(node::Exit::Drained) => Exit::Done,
        Ok(node::Exit::Cut(connections)) => {
            tell(
                &mut io::stderr(),
                &format!("the drain's time was up: {connections} connections were cut"),
            );
            Exit::DrainDeadline
        }
        Err(error) => {
            tell(&mut io::stderr(), &format!("could not start: {error}"));
            Exit::CouldNotStart
        }
    }
}

/// For people, on standard error; what is for machines is in the access log and the metrics.
fn start_log(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(level).with_context(|| {
        format!("[log] level '{level}' is no filter; write for example \"info\"")
    })?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init()
        .map_err(|error| anyhow!("the log cannot be started: {error}"))
}
