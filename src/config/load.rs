use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::origin;
use crate::policy;
use crate::site::{
    CacheStatusDetail, Diagnostics, HeaderRules, HostPattern, PublicPurge, Site, SiteRules,
};
use crate::store::Quota;
use crate::variant::{CompressionConfig, ImageConfig};

use super::address;
use super::checked::NodeConfig;
use super::error::ConfigErrors;
use super::keys_of_node::NODE;
use super::keys_of_site::SITE;
use super::read_node::{NodeDraft, read_node};
use super::read_site::{SiteDraft, read_site};
use super::section::{Walk, parse};
use super::source::{Mistakes, Source, Wrong, cannot_read};

/// Where the configuration is looked for.
pub const DEFAULT_FOLDER: &str = "edge-config";

/// A longer file is not a configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

const EDGE: &str = include_str!("../../edge-config/edge.toml");
const DEMO: &str = include_str!("../../edge-config/sites/demo.toml");

/// Reads `edge.toml` of this folder and its sites.
///
/// # Errors
/// All mistakes of all files.
pub fn load(folder: &Path) -> Result<NodeConfig, ConfigErrors> {
    load_with(folder, Sites::Folder)
}

fn load_with(folder: &Path, sites: Sites) -> Result<NodeConfig, ConfigErrors> {
    let mistakes = Mistakes::default();
    let path = folder.join("edge.toml");
    let Some(edge) = read_file(&path, 0, &mistakes) else {
        return Err(mistakes_alone(mistakes));
    };
    read(&edge, sites, mistakes)
}

/// The configuration that this program was built with: the shipped `edge-config`, with its state in `./var`.
///
/// # Errors
/// None, unless a shipped file is wrong; a test reads them.
pub fn built_in() -> Result<NodeConfig, ConfigErrors> {
    let folder = Path::new(DEFAULT_FOLDER);
    let demo = Source {
        path: folder.join("sites/demo.toml"),
        text: DEMO.to_owned(),
        order: 1,
    };
    read(
        &built_in_edge(),
        Sites::These(vec![demo]),
        Mistakes::default(),
    )
}

/// What a command line asks for: the folder of `--config`, each `--origin`, or neither. Without both it is
/// the folder [`DEFAULT_FOLDER`] if there is one, or else the built-in configuration.
///
/// # Errors
/// As [`load`] and [`with_origins`].
pub fn resolve(folder: Option<&Path>, origins: &[String]) -> Result<NodeConfig, ConfigErrors> {
    let default = Path::new(DEFAULT_FOLDER);
    match (folder, origins) {
        (Some(folder), []) => load(folder),
        (Some(folder), origins) => with_origins(load_with(folder, Sites::FolderIfAny)?, origins),
        (None, []) if default.is_dir() => load(default),
        (None, []) => built_in(),
        (None, origins) => ad_hoc(origins),
    }
}

/// The built-in node with a site for each of these origins (URLs or folders) instead of the demo.
///
/// # Errors
/// An origin that is neither a URL nor a folder.
pub fn ad_hoc(origins: &[String]) -> Result<NodeConfig, ConfigErrors> {
    let config = read(
        &built_in_edge(),
        Sites::These(Vec::new()),
        Mistakes::default(),
    )?;
    with_origins(config, origins)
}

/// Adds a site for each of these origins. A single one is named `origin`, several `origin-1` and so on. The
/// first answers for `localhost`, `127.0.0.1` and `[::1]`, whoever else did before; of several, each answers
/// for `origin-1.localhost` and so on, too.
///
/// # Errors
/// An origin that is neither a URL nor a folder.
pub fn with_origins(
    mut config: NodeConfig,
    origins: &[String],
) -> Result<NodeConfig, ConfigErrors> {
    let mistakes = Mistakes::default();
    let mut added = Vec::with_capacity(origins.len());
    for (origin, number) in origins.iter().zip(1_usize..) {
        let name = match origins.len() {
            1 => "origin".to_owned(),
            _ => format!("origin-{number}"),
        };
        let mut hosts = Vec::new();
        if number == 1 {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        }
        if origins.len() > 1 {
            hosts.push(format!("{name}.localhost"));
        }
        match argument(origin) {
            Ok(source) => added.push(ad_hoc_site(name, hosts, source)),
            Err(wrong) => mistakes.add_plain(number, Path::new("--origin"), origin, wrong),
        }
    }
    take_hosts_from_others(&mut config, &added);
    for host in added.iter().flat_map(|site| &site.hosts) {
        let HostPattern::Exact(host) = host else {
            continue;
        };
        // With certificates of its own the node has a name; the others come in by the default one.
        let names = &mut config.tls.self_signed;
        if host.ends_with("localhost") && !names.is_empty() && !names.contains(host) {
            names.push(host.clone());
        }
    }
    let mut sites: Vec<Arc<Site>> = added.into_iter().map(Arc::new).collect();
    sites.append(&mut config.sites);
    config.sites = sites;
    mistakes.verdict(config)
}

/// What `--origin` says: a URL, or a folder with or without `dir:`.
fn argument(text: &str) -> Result<origin::Source, Wrong> {
    let here = Path::new("");
    let is_url = text.contains("://") || text.starts_with("dir:") || text == "demo:";
    if is_url {
        return address::origin_source(text, here);
    }
    let folder = address::folder(address::below(here, text));
    folder.map(origin::Source::Folder).map_err(|wrong| {
        Wrong::new(
            wrong.problem,
            "write a folder that is there, or a URL with http:// or https://",
        )
    })
}

fn ad_hoc_site(name: String, hosts: Vec<String>, source: origin::Source) -> Site {
    Site {
        name: name.into(),
        hosts: hosts.into_iter().map(HostPattern::Exact).collect(),
        methods: vec![http::Method::GET, http::Method::HEAD, http::Method::OPTIONS],
        max_request_body_bytes: 0,
        origin: origin::Config::new(source),
        cache: policy::Config::default(),
        quota: Quota::default(),
        compression: CompressionConfig::default(),
        images: ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        },
        response_headers: HeaderRules::default(),
        cors: None,
        diagnostics: Diagnostics {
            cache_status: CacheStatusDetail::Full,
        },
        public_purge: PublicPurge::default(),
        rules: SiteRules::default(),
    }
}

/// A site that is left without a host, or without its name, goes.
fn take_hosts_from_others(config: &mut NodeConfig, added: &[Site]) {
    let taken: Vec<&HostPattern> = added.iter().flat_map(|site| &site.hosts).collect();
    config.sites.retain_mut(|site| {
        let site = Arc::make_mut(site);
        site.hosts.retain(|host| !taken.contains(&host));
        !site.hosts.is_empty() && added.iter().all(|other| other.name != site.name)
    });
    if let Some(name) = &config.default_site {
        let is_there = config.sites.iter().any(|site| site.name == *name);
        if !is_there {
            config.default_site = added.first().map(|site| Arc::clone(&site.name));
        }
    }
}

fn built_in_edge() -> Source {
    Source {
        path: Path::new(DEFAULT_FOLDER).join("edge.toml"),
        text: EDGE.to_owned(),
        order: 0,
    }
}

/// Where the sites come from.
enum Sites {
    /// The folder that `edge.toml` names; at least one site.
    Folder,
    /// The same, and none will do.
    FolderIfAny,
    These(Vec<Source>),
}

fn read(edge: &Source, sites: Sites, mistakes: Mistakes) -> Result<NodeConfig, ConfigErrors> {
    let table = parse(edge, &mistakes);
    let walk = Walk::new(edge, NODE, &mistakes);
    let node = read_node(&walk, table.get_ref(), base_of(&edge.path));

    let sources = match sites {
        Sites::These(sources) => sources,
        Sites::Folder => site_files(&node, &mistakes, 1),
        Sites::FolderIfAny => site_files(&node, &mistakes, 0),
    };
    let tables: Vec<_> = sources
        .iter()
        .map(|source| parse(source, &mistakes))
        .collect();
    let walks: Vec<_> = sources
        .iter()
        .map(|source| Walk::new(source, SITE, &mistakes))
        .collect();
    let drafts: Vec<_> = walks
        .iter()
        .zip(&tables)
        .map(|(walk, table)| {
            let path = &walk.source.path;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            read_site(walk, table.get_ref(), base_of(path), &name)
        })
        .collect();
    compare(&drafts, &sources);
    let names: BTreeSet<&str> = drafts.iter().map(|draft| &*draft.site.name).collect();
    let names: Vec<&str> = names.into_iter().collect();
    // A node without its sites has none to name: `--origin` comes later.
    if !names.is_empty() {
        node.check_names(&names);
    }

    let sites = drafts.into_iter().map(|draft| Arc::new(draft.site));
    let config = NodeConfig {
        sites: sites.collect(),
        ..node.config
    };
    mistakes.verdict(config)
}

fn compare(drafts: &[SiteDraft<'_>], sources: &[Source]) {
    let with_file = || drafts.iter().zip(sources);
    for (index, draft) in drafts.iter().enumerate() {
        for (earlier, source) in with_file().take(index) {
            draft.compare(earlier, &source.path);
        }
    }
}

/// The files of the folder of sites in name order; hidden ones and those of editors are left out.
fn site_files(node: &NodeDraft<'_>, mistakes: &Mistakes, least: usize) -> Vec<Source> {
    let listed = std::fs::read_dir(&node.sites).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<PathBuf>, _>>()
    });
    let mut paths = match listed {
        Ok(paths) => paths,
        Err(error) if least == 0 && error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let fix = "create this folder and put one file a site into it";
            node.refuse_sites(cannot_read(&node.sites, &error, fix));
            return Vec::new();
        }
    };
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".toml") && !name.starts_with('.')
    });
    paths.sort();
    if paths.len() < least {
        node.refuse_sites(Wrong::new(
            format!("no site: {} has no .toml file", node.sites.display()),
            "put one there, with hosts = [\"static.example.com\"] and [origin] url = \"https://…\"",
        ));
    }
    let files = paths.iter().zip(1..);
    files
        .filter_map(|(path, order)| read_file(path, order, mistakes))
        .collect()
}

fn read_file(path: &Path, order: usize, mistakes: &Mistakes) -> Option<Source> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let wrong = match read {
        Err(error) => Wrong::new(
            format!("cannot be read: {}", error.kind()),
            "name the folder of edge.toml with --config, and let this user read it",
        ),
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > FILE_BYTES_MAX) => {
            Wrong::new("longer than 4 MiB", "split it, or name another file")
        }
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => {
                return Some(Source {
                    path: path.to_owned(),
                    text,
                    order,
                });
            }
            Err(error) => Wrong::new(
                format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to() + 1),
                "save it as UTF-8",
            ),
        },
    };
    mistakes.add_plain(order, path, "", wrong);
    None
}

fn mistakes_alone(mistakes: Mistakes) -> ConfigErrors {
    match mistakes.verdict(()) {
        Err(errors) => errors,
        Ok(()) => ConfigErrors::new(Vec::new()),
    }
}

fn base_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::keys::{Form, Keys, Preset};
    use super::*;

    /// A file with every table and every required key; with all defaults written out, or with none.
    fn document(schema: &[Keys], with_defaults: bool) -> String {
        let mut text = String::new();
        for keys in schema {
            match keys.form {
                _ if keys.path.is_empty() => {}
                Form::One => text.push_str(&format!("[{}]\n", keys.path)),
                Form::Many => text.push_str(&format!("[[{}]]\n", keys.path)),
            }
            for key in keys.keys {
                let path = format!("{}.{}", keys.path, key.name);
                let value = match key.default {
                    Preset::Required => required_value(&path),
                    Preset::Toml(default) if with_defaults => default,
                    Preset::Toml(_) | Preset::Derived(_) => continue,
                };
                text.push_str(&format!("{} = {value}\n", key.name));
            }
        }
        text
    }

    fn required_value(path: &str) -> &'static str {
        match path {
            "listener.name" | "admin.tokens.name" => "\"x\"",
            "listener.bind" => "[\"127.0.0.1:0\"]",
            "tls.certificate.cert" => "\"Cargo.toml\"",
            "tls.certificate.key" => "{ file = \"Cargo.toml\" }",
            "cache.disk.path" => "\"x\"",
            "cache.disk.size" => "\"1GiB\"",
            "admin.tokens.secret" => "{ env = \"CARGO_PKG_NAME\" }",
            ".hosts" => "[\"a.test\"]",
            "origin.server.url" => "\"http://o.test\"",
            "redirect.from" | "rewrite.from" => "\"/old/*\"",
            "redirect.to" | "rewrite.to" | "rule.rewrite.to" => "\"/new\"",
            "rule.redirect.to" => "\"https://other.test/\"",
            other => panic!("{other} is required: give this test a value"),
        }
    }

    fn source(name: &str, text: String) -> Source {
        Source {
            path: PathBuf::from(name),
            text,
            order: 0,
        }
    }

    fn node_of(text: String) -> (Result<NodeConfig, ConfigErrors>, BTreeSet<String>) {
        let (mistakes, source) = (Mistakes::default(), source("edge.toml", text));
        let table = parse(&source, &mistakes);
        let walk = Walk::new(&source, NODE, &mistakes);
        let config = read_node(&walk, table.get_ref(), Path::new("")).config;
        let asked = walk.asked();
        (mistakes.verdict(config), asked)
    }

    fn site_of(text: String) -> (Result<Site, ConfigErrors>, BTreeSet<String>) {
        let (mistakes, source) = (Mistakes::default(), source("a.toml", text));
        let table = parse(&source, &mistakes);
        let walk = Walk::new(&source, SITE, &mistakes);
        let site = read_site(&walk, table.get_ref(), Path::new(""), "a").site;
        let asked = walk.asked();
        (mistakes.verdict(site), asked)
    }

    fn listed(schema: &[Keys]) -> BTreeSet<String> {
        let paths = schema.iter().flat_map(|keys| {
            keys.keys.iter().map(|key| match keys.path {
                "" => key.name.to_owned(),
                path => format!("{path}.{}", key.name),
            })
        });
        paths.collect()
    }

    #[test]
    fn listed_defaults_are_those_of_the_code() {
        let (listed, _) = node_of(document(NODE, true));
        let (code, _) = node_of(document(NODE, false));
        assert_eq!(listed.unwrap(), code.unwrap());
        let (listed, _) = site_of(document(SITE, true));
        let (code, _) = site_of(document(SITE, false));
        assert_eq!(listed.unwrap(), code.unwrap());
    }

    #[test]
    fn every_listed_key_is_read() {
        assert_eq!(node_of(document(NODE, false)).1, listed(NODE));
        assert_eq!(site_of(document(SITE, false)).1, listed(SITE));
    }

    #[test]
    fn a_name_is_alive_or_planned_and_not_both() {
        for keys in NODE.iter().chain(SITE) {
            for key in keys.keys {
                assert!(
                    !keys.later.contains(&key.name),
                    "{}.{}",
                    keys.path,
                    key.name
                );
            }
        }
    }

    #[test]
    fn a_token_comes_from_the_environment() {
        let config = node_of(document(NODE, false)).0.unwrap();
        assert_eq!(config.admin.tokens[0].secret, "brim");
    }

    #[test]
    fn ad_hoc_origins_take_localhost() {
        let site = |config: &NodeConfig, index: usize| {
            let site = &config.sites[index];
            let hosts: Vec<_> = site.hosts.iter().map(|host| format!("{host:?}")).collect();
            (site.name.to_string(), hosts.join(" "))
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");

        let one = ad_hoc(&[url(1)]).unwrap();
        assert_eq!(one.sites.len(), 1);
        assert_eq!(
            site(&one, 0),
            (
                "origin".to_owned(),
                r#"Exact("localhost") Exact("127.0.0.1") Exact("[::1]")"#.to_owned()
            )
        );
        assert!(one.sites[0].images.enabled);
        assert_eq!(one.state, PathBuf::from("var"));

        let two = ad_hoc(&[url(1), "src".to_owned()]).unwrap();
        assert_eq!(two.sites.len(), 2);
        assert_eq!(
            site(&two, 1),
            (
                "origin-2".to_owned(),
                r#"Exact("origin-2.localhost")"#.to_owned()
            )
        );
        assert_eq!(
            two.sites[1].origin.source,
            origin::Source::Folder(PathBuf::from("src"))
        );
        assert!(
            two.tls
                .self_signed
                .contains(&"origin-2.localhost".to_owned())
        );

        let mut beside = built_in().unwrap();
        beside.default_site = Some("demo".into());
        let beside = with_origins(beside, &[url(1)]).unwrap();
        assert_eq!(beside.sites.len(), 1, "the demo has no host left");
        assert_eq!(beside.default_site.as_deref(), Some("origin"));

        let wrong = ad_hoc(&["nowhere".to_owned(), "ftp://x".to_owned()]).unwrap_err();
        assert_eq!(wrong.count(), 2);
        assert!(
            wrong.to_string().starts_with("--origin: nowhere: "),
            "{wrong}"
        );
    }

    proptest! {
        /// Whatever is written into a good file, and whatever is cut out of it, is answered and not panicked at.
        #[test]
        fn no_edit_panics(at in 0_usize..6000, cut in 0_usize..40, put in "[\\[\\]{}=\"'a-z0-9.\n ,ä]{0,12}") {
            for (schema, file) in [(NODE, EDGE), (SITE, DEMO)] {
                let full = document(schema, true);
                for text in [file, &full] {
                    let chars: Vec<char> = text.chars().collect();
                    let start = at.min(chars.len());
                    let end = (start + cut).min(chars.len());
                    let mut edited: String = chars[..start].iter().collect();
                    edited.push_str(&put);
                    edited.extend(&chars[end..]);
                    let errors = if schema[0].keys.is_empty() {
                        node_of(edited).0.err()
                    } else {
                        site_of(edited).0.err()
                    };
                    if let Some(errors) = errors {
                        prop_assert!(!errors.to_string().is_empty());
                    }
                }
            }
        }
    }
}
