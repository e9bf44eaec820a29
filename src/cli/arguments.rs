use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};

use crate::config;
use crate::node::ConfigSource;

/// A checked command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    pub(super) source: ConfigSource,
    pub(super) command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Serve,
    Check,
    Explain(ExplainArguments),
    Purge(PurgeArguments),
    Sign(SignArguments),
    Warm(WarmArguments),
}

/// A CDN edge node for static files: pulls, optimises, caches and serves over TLS.
#[derive(Debug, Parser)]
#[command(name = "brim", version)]
struct Arguments {
    /// Folder with edge.toml and sites/ [default: edge-config where it exists, else built-in values]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArguments,
    #[command(subcommand)]
    command: Option<RawCommand>,
}

#[derive(Debug, Subcommand)]
enum RawCommand {
    /// Run the node (what happens without a command)
    Serve(ServeArguments),
    /// Read the configuration and list every mistake
    Check,
    /// Ask the running node what it would do with a request, and why
    Explain(ExplainArguments),
    /// Purge from the running node's cache
    Purge(PurgeArguments),
    /// Sign a picture's URL with the key of its site; needs no running node
    Sign(SignArguments),
    /// Pull URLs into the running node's cache before anybody asks for them
    Warm(WarmArguments),
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Serve this URL or folder on localhost; may be repeated; needs no configuration
    #[arg(long = "origin", value_name = "URL|DIR")]
    origins: Vec<String>,
}

#[derive(Debug, Args, PartialEq, Eq)]
pub(super) struct ExplainArguments {
    /// An absolute URL
    pub(super) url: String,
    /// A field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Ask about a HEAD request
    #[arg(long)]
    pub(super) head: bool,
    /// Print the node's answer as it came
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args, PartialEq, Eq)]
#[command(group(ArgGroup::new("what").required(true).args(["urls", "prefixes", "tags", "files", "all"])))]
pub(super) struct PurgeArguments {
    /// A site, or '*' for all; URLs with a host need none; may be repeated
    #[arg(long = "site", value_name = "SITE")]
    pub(super) sites: Vec<String>,
    #[command(flatten)]
    pub(super) what: PurgeWhat,
    /// Make stale rather than remove
    #[arg(long)]
    pub(super) soft: bool,
    /// Print the node's answers as they came
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args, PartialEq, Eq)]
pub(super) struct PurgeWhat {
    /// URLs, or paths of the one site; '-' reads a list, one a line
    #[arg(long = "url", value_name = "URL", num_args = 1..)]
    pub(super) urls: Vec<String>,
    /// Beginnings of URLs or paths; '-' reads a list, one a line
    #[arg(long = "prefix", value_name = "PREFIX", num_args = 1..)]
    pub(super) prefixes: Vec<String>,
    /// Tags; '-' reads a list, one a line
    #[arg(long = "tag", value_name = "TAG", num_args = 1..)]
    pub(super) tags: Vec<String>,
    /// Lists of URLs, or of paths of the one site, one a line; empty lines and those with '#' in front are left
    /// out, and one that ends in '/*' is all below it; '-' is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// All that the sites have
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args, PartialEq, Eq)]
pub(super) struct SignArguments {
    /// A URL or a path, with the parameters that are asked for
    pub(super) url: String,
    /// The site whose key signs
    #[arg(long, value_name = "SITE")]
    pub(super) site: String,
    /// How long the URL holds, such as 30m, 1h or 7d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(super) expires: Option<Duration>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let length = config::parse_duration(text)?;
    match length.is_zero() {
        true => Err("a URL that never holds".to_owned()),
        false => Ok(length),
    }
}

#[derive(Debug, Args, PartialEq, Eq)]
pub(super) struct WarmArguments {
    /// The site whose cache is warmed
    #[arg(long, value_name = "SITE")]
    pub(super) site: String,
    /// A list of URLs or paths, one a line, '#' begins a comment; '-' is standard input, which is also read when
    /// neither a list nor a sitemap is named
    #[arg(value_name = "FILE|-")]
    pub(super) file: Option<PathBuf>,
    /// An XML sitemap or index of sitemaps of the site, gzip or plain; may be repeated
    #[arg(long = "sitemap", value_name = "URL")]
    pub(super) sitemaps: Vec<String>,
    /// Pulls at one time, 1 to 64; fewer while clients need the node [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(super) concurrency: Option<u64>,
    /// Ask for each URL with this Accept-Encoding too; may be repeated, '' is a request without it
    #[arg(long = "accept-encoding", value_name = "CODINGS")]
    pub(super) accept_encodings: Vec<String>,
    /// Ask for each URL with this Accept too, such as 'image/avif'; may be repeated, '' is a request without it
    #[arg(long = "accept", value_name = "TYPES")]
    pub(super) accepts: Vec<String>,
    /// A field of each request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// The host that paths are asked for [default: the site's first without a wildcard]
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// Print the node's last answers as they came
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// What clap wants to print: a mistake, or the help and the version that were asked for.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Invocation, clap::Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    let mut origins = arguments.serve.origins;
    let command = match arguments.command {
        None => Command::Serve,
        Some(RawCommand::Serve(more)) => {
            origins.extend(more.origins);
            Command::Serve
        }
        Some(RawCommand::Check) => Command::Check,
        Some(RawCommand::Explain(arguments)) => Command::Explain(arguments),
        Some(RawCommand::Purge(arguments)) => Command::Purge(arguments),
        Some(RawCommand::Sign(arguments)) => Command::Sign(arguments),
        Some(RawCommand::Warm(arguments)) => Command::Warm(arguments),
    };
    if command != Command::Serve && command != Command::Check && !origins.is_empty() {
        return Err(Arguments::command().error(
            ErrorKind::ArgumentConflict,
            "--origin is for serving and checking only",
        ));
    }
    let source = ConfigSource {
        folder: arguments.config,
        origins,
    };
    Ok(Invocation { source, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Invocation, clap::Error> {
        let words = line.split_whitespace();
        parse(std::iter::once("brim").chain(words).map(OsString::from))
    }

    #[track_caller]
    fn check(line: &str, source: ConfigSource, command: Command) {
        let invocation = run(line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(invocation, Invocation { source, command });
    }

    fn folder() -> ConfigSource {
        from(Some("d"), &[])
    }

    fn from(folder: Option<&str>, origins: &[&str]) -> ConfigSource {
        ConfigSource {
            folder: folder.map(Into::into),
            origins: owned(origins),
        }
    }

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        check("", ConfigSource::default(), Command::Serve);
        check("serve", ConfigSource::default(), Command::Serve);
        check("--config d", folder(), Command::Serve);
        check("serve --config d", folder(), Command::Serve);
        check("--config d serve", folder(), Command::Serve);
        let origins = from(None, &["http://a", "./b"]);
        check(
            "--origin http://a --origin ./b",
            origins.clone(),
            Command::Serve,
        );
        check(
            "serve --origin http://a --origin ./b",
            origins.clone(),
            Command::Serve,
        );
        check(
            "--origin http://a serve --origin ./b",
            origins,
            Command::Serve,
        );
        check(
            "--config d --origin a",
            from(Some("d"), &["a"]),
            Command::Serve,
        );
    }

    #[test]
    fn the_folder_may_be_named_anywhere() {
        check("check --config d", folder(), Command::Check);
        check("--config d check", folder(), Command::Check);
        check("--origin a check", from(None, &["a"]), Command::Check);
    }

    #[test]
    fn explain_takes_fields() {
        check(
            "explain https://a/x -H Accept:image/avif --header b:c --head --json",
            ConfigSource::default(),
            Command::Explain(ExplainArguments {
                url: "https://a/x".into(),
                headers: owned(&["Accept:image/avif", "b:c"]),
                head: true,
                json: true,
            }),
        );
    }

    #[test]
    fn purge_takes_one_kind_of_list() {
        let purge = |sites: &[&str], what: PurgeWhat, soft| {
            Command::Purge(PurgeArguments {
                sites: owned(sites),
                what,
                soft,
                json: false,
            })
        };
        let nothing = || PurgeWhat {
            urls: Vec::new(),
            prefixes: Vec::new(),
            tags: Vec::new(),
            files: Vec::new(),
            all: false,
        };
        check(
            "purge -f list --file -",
            ConfigSource::default(),
            purge(
                &[],
                PurgeWhat {
                    files: vec!["list".into(), "-".into()],
                    ..nothing()
                },
                false,
            ),
        );
        check(
            "purge --site s --url /a /b --soft",
            ConfigSource::default(),
            purge(
                &["s"],
                PurgeWhat {
                    urls: owned(&["/a", "/b"]),
                    ..nothing()
                },
                true,
            ),
        );
        check(
            "purge --url - --config d",
            folder(),
            purge(
                &[],
                PurgeWhat {
                    urls: owned(&["-"]),
                    ..nothing()
                },
                false,
            ),
        );
        check(
            "purge --site s --prefix /a --prefix /b",
            ConfigSource::default(),
            purge(
                &["s"],
                PurgeWhat {
                    prefixes: owned(&["/a", "/b"]),
                    ..nothing()
                },
                false,
            ),
        );
        check(
            "purge --site s --site t --tag x",
            ConfigSource::default(),
            purge(
                &["s", "t"],
                PurgeWhat {
                    tags: owned(&["x"]),
                    ..nothing()
                },
                false,
            ),
        );
        check(
            "purge --all --site *",
            ConfigSource::default(),
            purge(
                &["*"],
                PurgeWhat {
                    all: true,
                    ..nothing()
                },
                false,
            ),
        );
    }

    #[test]
    fn sign_takes_a_url_of_a_site() {
        check(
            "sign --config d --site s /a?width=8 --expires 2h",
            folder(),
            Command::Sign(SignArguments {
                url: "/a?width=8".into(),
                site: "s".into(),
                expires: Some(Duration::from_hours(2)),
            }),
        );
    }

    #[test]
    fn warm_takes_a_list_or_a_sitemap() {
        let warm = WarmArguments {
            site: "s".into(),
            file: Some("-".into()),
            sitemaps: Vec::new(),
            concurrency: None,
            accept_encodings: Vec::new(),
            accepts: Vec::new(),
            headers: Vec::new(),
            host: None,
            json: false,
        };
        check(
            "warm --site s -",
            ConfigSource::default(),
            Command::Warm(warm),
        );
        check(
            "warm --config d --site s --sitemap /a.xml --concurrency 3 --accept-encoding br \
             --accept-encoding gzip --accept image/avif -H a:b --host h --json",
            folder(),
            Command::Warm(WarmArguments {
                site: "s".into(),
                file: None,
                sitemaps: owned(&["/a.xml"]),
                concurrency: Some(3),
                accept_encodings: owned(&["br", "gzip"]),
                accepts: owned(&["image/avif"]),
                headers: owned(&["a:b"]),
                host: Some("h".into()),
                json: true,
            }),
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "sign /a",
            "sign --site s",
            "sign --site s /a --expires 1y",
            "sign --site s /a --expires 0s",
            "--origin a sign --site s /a",
            "warm",
            "warm list.txt",
            "warm --site s a b",
            "warm --site s --concurrency 0",
            "--origin a warm --site s",
            "nonsense",
            "--conifg d",
            "check --origin a",
            "--origin a purge --all",
            "--origin a explain https://a/",
            "explain",
            "explain a b",
            "purge",
            "purge --site s",
            "purge --site s --url",
            "purge --site s --url /a --tag x",
            "purge --site s --all --url /a",
            "purge --site s --url /a -f list",
        ] {
            assert!(run(line).is_err(), "{line}");
        }
    }
}
