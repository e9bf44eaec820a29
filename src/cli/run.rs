use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;

use super::arguments::{Command, Invocation, parse};
use super::client::Client;
use super::exit::Exit;
use super::{check, explain, purge, serve, sign, warm};
use crate::clock::{Clock as _, SystemClock};
use crate::node::ConfigSource;

/// The token that the shell hands to the admin commands.
const TOKEN_VARIABLE: &str = "BRIM_ADMIN_TOKEN";

/// Runs the program; the first argument is its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    match parse(arguments) {
        Ok(invocation) => execute(&invocation),
        Err(error) => {
            // Nobody to tell when the terminal is gone.
            error.print().ok();
            // clap's own code for a wrong usage is 2, which here means that a node could not start.
            if error.use_stderr() {
                Exit::Refused
            } else {
                Exit::Done
            }
        }
    }
}

fn execute(invocation: &Invocation) -> Exit {
    let source = &invocation.source;
    let done = match &invocation.command {
        Command::Serve => return serve::run(source),
        Command::Check => return check::run(source, &mut io::stdout(), &mut io::stderr()),
        Command::Explain(arguments) => client(source, "explain")
            .and_then(|client| explain::run(&client, arguments, &mut io::stdout())),
        Command::Purge(arguments) => client(source, "purge").and_then(|client| {
            purge::run(
                &client,
                arguments,
                &mut io::stdin().lock(),
                &mut io::stdout(),
                &mut io::stderr(),
            )
        }),
        Command::Sign(arguments) => source
            .load()
            .context("the configuration has the site's key")
            .and_then(|config| {
                sign::run(
                    &config,
                    arguments,
                    SystemClock::new().now(),
                    &mut io::stdout(),
                )
            }),
        Command::Warm(arguments) => client(source, "warm").and_then(|client| {
            let watched = io::stderr().is_terminal();
            warm::run(
                &client,
                arguments,
                &mut io::stdin().lock(),
                &mut io::stdout(),
                watched.then_some(&mut io::stderr()),
            )
        }),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            tell(&mut io::stderr(), &format!("{error:#}"));
            Exit::Refused
        }
    }
}

/// One sentence on standard error.
pub(super) fn tell(errors: &mut impl Write, text: &str) {
    // Nobody to tell when the terminal is gone.
    writeln!(errors, "brim: {text}").ok();
}

fn client(source: &ConfigSource, permission: &str) -> anyhow::Result<Client> {
    let config = source
        .load()
        .context("the configuration says where the node's admin door is")?;
    let token = env::var(TOKEN_VARIABLE).ok();
    Client::new(&config.admin, &config.state, token, permission)
        .with_context(|| format!("no admin token; set {TOKEN_VARIABLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, code: u8) {
        let words = line.split_whitespace().map(OsString::from);
        let exit = run(std::iter::once(OsString::from("brim")).chain(words));
        assert_eq!(exit.code(), code);
    }

    #[test]
    fn help_and_version_are_no_failure() {
        check("--version", 0);
        check("--help", 0);
        check("purge --help", 0);
    }

    #[test]
    fn wrong_usage_is_1_and_not_2() {
        check("nonsense", 1);
        check("purge --site s", 1);
        check("--origin a purge --all", 1);
    }
}
