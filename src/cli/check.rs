use std::io::Write;

use super::exit::Exit;
use crate::config::check_report;
use crate::node::ConfigSource;

/// Reads the configuration and says what is wrong with it, or what it holds.
pub(super) fn run(source: &ConfigSource, output: &mut impl Write, errors: &mut impl Write) -> Exit {
    match source.load() {
        Ok(config) => {
            // A closed pipe is no fault of the configuration.
            writeln!(output, "{}", check_report(&config)).ok();
            Exit::Done
        }
        Err(found) => {
            writeln!(errors, "{found}").ok();
            Exit::Refused
        }
    }
}
