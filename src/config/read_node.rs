use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::admin;
use crate::cache::FillConfig;
use crate::pipeline::RequestLimits;
use crate::server::{ListenerConfig, Mode};
use crate::store::{self, DiskConfig, EvictionPolicy, MemoryConfig};
use crate::telemetry::{LogConfig, MetricsConfig};
use crate::tls::{self, CertificateFiles, MinVersion, UnknownName};
use crate::variant::{CompressionWorkers, ImageWorkers};

use super::address;
use super::checked::NodeConfig;
use super::field;
use super::keys::nearest;
use super::quantity;
use super::section::{Section, Walk, text_of};
use super::source::{Place, Wrong, cannot_read};

/// Eight blocks of 16 MiB: with fewer, the tier would wait for a free one for ever.
pub(super) const DISK_BYTES_MIN: u64 = 8 * (16 << 20);

/// What a node takes that stores nothing: code, threads, the buffers of a disk tier.
const MEMORY_LIMIT_MIN: u64 = 64 << 20;

/// A secret longer than this is a wrong file.
const SECRET_BYTES_MAX: u64 = 4096;

const FILE_FIX: &str =
    "write the path of a file that is there and may be read, relative to this file's folder";

/// Bytes of one decoded pixel.
const PIXEL_BYTES: u64 = 4;

/// `edge.toml` read, before its sites are.
#[derive(Debug)]
pub(super) struct NodeDraft<'a> {
    /// Without sites.
    pub(super) config: NodeConfig,
    pub(super) sites: PathBuf,
    pub(super) top: Section<'a>,
    node: Section<'a>,
    /// Site names that tokens speak of.
    token_sites: Vec<SiteName<'a>>,
    /// Site names that disks speak of.
    disk_sites: Vec<SiteName<'a>>,
}

/// A site's name, and where it stands.
type SiteName<'a> = (Section<'a>, String, Place<'a>);

pub(super) fn read_node<'a>(
    walk: &'a Walk<'a>,
    table: &'a DeTable<'a>,
    base: &Path,
) -> NodeDraft<'a> {
    let top = Section::top(walk, table);
    let node = top.section("node");
    let mut sites = address::below(base, "sites");
    let (mut token_sites, mut disk_sites) = (Vec::new(), Vec::new());
    let mut config = defaults(address::below(base, "../var"));

    node.text("id", &mut config.id, field::node_id);
    node.text("sites", &mut sites, |text| path(base, text));
    node.text("state", &mut config.state, |text| path(base, text));
    node.integer("workers", &mut config.workers);
    node.duration("drain_timeout", &mut config.drain_timeout);
    node.text("default_site", &mut config.default_site, |text| {
        Ok((!text.is_empty()).then(|| text.into()))
    });
    if config.workers == 0 {
        config.workers = cores();
    }

    config.tls = read_tls(top.section("tls"), base);
    config.listeners = read_listeners(top, &config.tls);
    let cache = top.section("cache");
    config.store = read_store(cache, base, &config.state, &mut disk_sites);
    top.section("purge")
        .integer("max_clocks", &mut config.store.max_clocks);
    config.fill = read_fill(cache.section("fill"));
    read_limits(top.section("limits"), &mut config);
    config.compression = read_compression(top.section("compression"));
    config.images = read_images(top.section("images"));
    config.log = read_log(top.section("log"), base);
    top.section("metrics")
        .flag("per_site", &mut config.metrics.per_site);
    let admin = top.section("admin");
    config.admin = read_admin(admin, base, &mut token_sites);
    refuse_a_shared_address(admin, &config);

    NodeDraft {
        config,
        sites,
        top,
        node,
        token_sites,
        disk_sites,
    }
}

impl<'a> NodeDraft<'a> {
    /// Notes names of sites that no site has.
    pub(super) fn check_names(&self, names: &[&str]) {
        let known = || names.join(", ");
        if let Some(name) = &self.config.default_site
            && !names.contains(&name.as_ref())
        {
            self.node.refuse(
                "default_site",
                Wrong::new(
                    "no site has this name",
                    format!("write one of {}, or \"\" for none", known()),
                ),
            );
        }
        for (section, name, place) in &self.token_sites {
            if name != "*" && !names.contains(&name.as_str()) {
                let wrong = Wrong::new(
                    "no site has this name",
                    format!("write one of {}, or \"*\" for all", known()),
                );
                section.refuse_at(*place, "sites", wrong);
            }
        }
        for (section, name, place) in &self.disk_sites {
            if !names.contains(&name.as_str()) {
                let fix = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}? The sites are {}", known()),
                    None => format!("write one of {}, or [] for all", known()),
                };
                section.refuse_at(*place, "sites", Wrong::new("no site has this name", fix));
            }
        }
    }

    /// Notes something about the folder of sites.
    pub(super) fn refuse_sites(&self, wrong: Wrong) {
        if self.node.has("sites") {
            self.node.refuse("sites", wrong);
        } else {
            self.top.refuse("node.sites", wrong);
        }
    }
}

fn defaults(state: PathBuf) -> NodeConfig {
    NodeConfig {
        id: "local".to_owned(),
        workers: 0,
        drain_timeout: Duration::from_secs(30),
        default_site: None,
        listeners: Vec::new(),
        tls: tls::Config::default(),
        store: store::Config {
            memory: MemoryConfig::default(),
            disks: Vec::new(),
            state: state.clone(),
            max_clocks: 2_000_000,
        },
        state,
        fill: FillConfig::default(),
        memory_limit_bytes: 0,
        limits: RequestLimits::default(),
        compression: CompressionWorkers {
            threads: 0,
            queue: 1000,
        },
        images: ImageWorkers::default(),
        log: LogConfig::default(),
        metrics: MetricsConfig::default(),
        admin: admin::Config {
            bind: admin::Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 9900))),
            tokens: Vec::new(),
        },
        sites: Vec::new(),
    }
}

fn read_listeners(top: Section<'_>, tls: &tls::Config) -> Vec<ListenerConfig> {
    let sections = top.sections("listener");
    if sections.is_empty() && !top.has("listener") {
        top.refuse(
            "listener",
            Wrong::new(
                "no listener: nobody could reach the node",
                "write [[listener]] with name = \"http\" and bind = [\"127.0.0.1:8080\"]",
            ),
        );
    }
    let mut listeners: Vec<ListenerConfig> = Vec::with_capacity(sections.len());
    for section in sections {
        let listener = read_listener(section, tls, &listeners);
        listeners.push(listener);
    }
    listeners
}

fn read_listener(
    section: Section<'_>,
    tls: &tls::Config,
    others: &[ListenerConfig],
) -> ListenerConfig {
    let mut listener = ListenerConfig::new("", Vec::new());
    if section.require("name", "write name = \"https\", for example") {
        section.text("name", &mut listener.name, field::label);
        let taken = |other: &ListenerConfig| other.name == listener.name;
        if !listener.name.is_empty() && others.iter().any(taken) {
            section.refuse(
                "name",
                Wrong::new("another listener has this name", "write another name"),
            );
        }
    }
    listener.bind = read_bind(section, others);
    section.flag("tls", &mut listener.tls);
    let mut protocols = if listener.tls { vec![H1, H2] } else { vec![H1] };
    section.words("protocols", &mut protocols, &[("h1", H1), ("h2", H2)]);
    listener.h1 = protocols.contains(&H1);
    listener.h2 = protocols.contains(&H2);
    section.word(
        "mode",
        &mut listener.mode,
        &[
            ("serve", Mode::Serve),
            ("redirect-https", Mode::RedirectHttps),
        ],
    );
    section.integer("max_connections", &mut listener.max_connections);
    section.integer(
        "max_connections_per_ip",
        &mut listener.max_connections_per_ip,
    );
    section.duration("handshake_timeout", &mut listener.handshake_timeout);
    section.duration("header_timeout", &mut listener.header_timeout);
    section.duration("idle_timeout", &mut listener.idle_timeout);
    section.duration("write_timeout", &mut listener.write_timeout);
    section.duration("body_timeout", &mut listener.body_timeout);

    let h2 = section.section("h2");
    let config = &mut listener.h2_config;
    h2.duration("idle_timeout", &mut config.idle_timeout);
    h2.integer("max_concurrent_streams", &mut config.max_concurrent_streams);
    h2.size("max_header_list", &mut config.max_header_list_bytes);
    h2.size("send_buffer", &mut config.send_buffer_bytes);

    if listener.tls && listener.mode == Mode::RedirectHttps {
        section.refuse(
            "mode",
            Wrong::new(
                "a TLS listener cannot send its clients to https",
                "write \"serve\", or tls = false",
            ),
        );
    }
    if listener.tls && tls.certificates.is_empty() && tls.self_signed.is_empty() {
        section.refuse(
            "tls",
            Wrong::new(
                "there is no certificate",
                "write self_signed = [\"localhost\"] in [tls], or [[tls.certificate]] with cert and key",
            ),
        );
    }
    listener
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spoken(u8);
const H1: Spoken = Spoken(1);
const H2: Spoken = Spoken(2);

fn read_bind(section: Section<'_>, others: &[ListenerConfig]) -> Vec<SocketAddr> {
    if !section.require("bind", "write bind = [\"127.0.0.1:8080\"], for example") {
        return Vec::new();
    }
    // Not `list`: port 0 may well be asked for twice.
    let found = section.items("bind", |text| address::socket(text).map(Unshared));
    let found = section.not_empty("bind", found).unwrap_or_default();
    let mut bind = Vec::with_capacity(found.len());
    for (Unshared(address), place) in found {
        let taken = others
            .iter()
            .find(|other| address.port() != 0 && other.bind.contains(&address));
        if let Some(other) = taken {
            let wrong = Wrong::new(
                format!("listener {:?} has this address", other.name),
                "write another port",
            );
            section.refuse_at(place, "bind", wrong);
        }
        bind.push(address);
    }
    bind
}

/// An address that no other listener may have; with port 0 the system finds a free one each time.
struct Unshared(SocketAddr);

impl PartialEq for Unshared {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.0.port() != 0
    }
}

fn refuse_a_shared_address(admin: Section<'_>, config: &NodeConfig) {
    let admin::Bind::Tcp(address) = config.admin.bind else {
        return;
    };
    let taken = |listener: &&ListenerConfig| listener.bind.contains(&address);
    if let Some(listener) = config.listeners.iter().find(taken)
        && address.port() != 0
    {
        let wrong = Wrong::new(
            format!("listener {:?} has this address", listener.name),
            "write another port",
        );
        admin.refuse("bind", wrong);
    }
}

fn read_tls(section: Section<'_>, base: &Path) -> tls::Config {
    let mut config = tls::Config::default();
    let names = [
        ("reject", UnknownName::Reject),
        ("default", UnknownName::Default),
    ];
    section.word(
        "min_version",
        &mut config.min_version,
        &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)],
    );
    section.word("unknown_sni", &mut config.unknown_sni, &names);
    let [reject, default] = names;
    section.word("no_sni", &mut config.no_sni, &[default, reject]);
    section.list(
        "self_signed",
        &mut config.self_signed,
        address::certificate_name,
    );
    section.flag("session_tickets", &mut config.session_tickets);
    section.duration("ticket_rotation", &mut config.ticket_rotation);

    for section in section.sections("certificate") {
        let (mut cert, mut key) = (PathBuf::new(), PathBuf::new());
        if section.require("cert", "write cert = \"tls/example.pem\", for example") {
            section.text("cert", &mut cert, |text| readable(base, text));
        }
        if section.require(
            "key",
            "write key = { file = \"tls/example.key\" }, for example",
        ) {
            section.value("key", &mut key, |value| {
                match secret_source(value, KEY_FIX)? {
                    SecretSource::File(path) => readable(base, &path),
                    SecretSource::Env(_) => Err(Wrong::new(
                        "this version reads private keys from files only",
                        KEY_FIX,
                    )),
                }
            });
        }
        config.certificates.push(CertificateFiles { cert, key });
    }
    config
}

fn read_store<'a>(
    cache: Section<'a>,
    base: &Path,
    state: &Path,
    disk_sites: &mut Vec<SiteName<'a>>,
) -> store::Config {
    let mut memory = MemoryConfig::default();
    let section = cache.section("memory");
    section.size("size", &mut memory.size_bytes);
    section.size("max_object", &mut memory.max_object_bytes);
    section.word(
        "policy",
        &mut memory.policy,
        &[
            ("s3-fifo", EvictionPolicy::S3Fifo),
            ("w-tinylfu", EvictionPolicy::WTinyLfu),
            ("lru", EvictionPolicy::Lru),
            ("sieve", EvictionPolicy::Sieve),
        ],
    );
    if memory.max_object_bytes > memory.size_bytes {
        let name = if section.has("max_object") {
            "max_object"
        } else {
            "size"
        };
        section.refuse(
            name,
            Wrong::new(
                "max_object is larger than the whole tier",
                "write a smaller max_object or a larger size",
            ),
        );
    }

    let mut disks: Vec<DiskConfig> = Vec::new();
    for section in cache.sections("disk") {
        let disk = read_disk(section, base, disk_sites);
        refuse_a_shared_folder(section, &disk, &disks);
        disks.push(disk);
    }
    store::Config {
        memory,
        disks,
        state: state.to_owned(),
        max_clocks: 2_000_000,
    }
}

fn read_disk<'a>(
    section: Section<'a>,
    base: &Path,
    disk_sites: &mut Vec<SiteName<'a>>,
) -> DiskConfig {
    let mut disk = DiskConfig::new(PathBuf::new(), DISK_BYTES_MIN);
    if section.require("path", "write path = \"../var/cache\", for example") {
        section.text("path", &mut disk.path, |text| path(base, text));
    }
    if section.require("size", "write size = \"4GiB\", for example") {
        section.size("size", &mut disk.size_bytes);
    }
    section.size("write_rate", &mut disk.write_rate_bytes);
    section.integer("min_uses", &mut disk.min_uses);
    let sites = section.items("sites", |text| Ok(text.to_owned()));
    for (name, place) in sites.unwrap_or_default() {
        disk.sites.push(name.as_str().into());
        disk_sites.push((section, name, place));
    }
    disk
}

/// Two disks in one folder would wait for each other's lock for ever; one in the folder of another would fill it.
fn refuse_a_shared_folder(section: Section<'_>, disk: &DiskConfig, others: &[DiskConfig]) {
    // Without a path there is a mistake already.
    if disk.path.as_os_str().is_empty() {
        return;
    }
    let own = real(&disk.path);
    for other in others
        .iter()
        .filter(|other| !other.path.as_os_str().is_empty())
    {
        let theirs = real(&other.path);
        let problem = if own == theirs {
            "another [[cache.disk]] has this folder"
        } else if own.starts_with(&theirs) {
            "the folder lies in that of another [[cache.disk]]"
        } else if theirs.starts_with(&own) {
            "the folder of another [[cache.disk]] lies in this one"
        } else {
            continue;
        };
        let fix = "write a folder of its own for each disk";
        return section.refuse("path", Wrong::new(problem, fix));
    }
}

/// The folder without detours, as far as it is there already.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
        if let Ok(real) = plain.canonicalize() {
            plain = real;
        }
    }
    plain
}

fn read_fill(section: Section<'_>) -> FillConfig {
    let mut fill = FillConfig::default();
    section.integer("max_waiters", &mut fill.max_waiters);
    section.size("finish_if_remaining", &mut fill.finish_if_remaining_bytes);
    fill
}

fn read_limits(section: Section<'_>, config: &mut NodeConfig) {
    section.size("memory", &mut config.memory_limit_bytes);
    if (1..MEMORY_LIMIT_MIN).contains(&config.memory_limit_bytes) {
        section.refuse(
            "memory",
            Wrong::new(
                "less than the node needs without any cache",
                format!(
                    "write at least \"{}\", or \"0\" for three quarters of the machine",
                    quantity::size_text(MEMORY_LIMIT_MIN)
                ),
            ),
        );
    }
    let limits = &mut config.limits;
    section.size("request_line", &mut limits.request_line_bytes);
    section.size("request_field", &mut limits.request_field_bytes);
    section.size("request_headers", &mut limits.request_headers_bytes);
    section.integer("header_count", &mut limits.header_count);
    section.integer("in_flight", &mut limits.in_flight);
    section.integer("origin_in_flight", &mut config.fill.in_flight);
    if limits.request_field_bytes > limits.request_headers_bytes {
        let name = if section.has("request_field") {
            "request_field"
        } else {
            "request_headers"
        };
        section.refuse(
            name,
            Wrong::new(
                "one field may be larger than all of them",
                "write a smaller request_field or a larger request_headers",
            ),
        );
    }
}

fn read_compression(section: Section<'_>) -> CompressionWorkers {
    let mut workers = CompressionWorkers {
        threads: 0,
        queue: 1000,
    };
    section.integer("threads", &mut workers.threads);
    section.integer("queue", &mut workers.queue);
    if workers.threads == 0 {
        workers.threads = half_of_the_cores();
    }
    workers
}

fn read_images(section: Section<'_>) -> ImageWorkers {
    let mut workers = ImageWorkers {
        threads: 0,
        ..ImageWorkers::default()
    };
    section.integer("threads", &mut workers.threads);
    section.integer("queue", &mut workers.queue);
    section.duration("queue_timeout", &mut workers.queue_timeout);
    section.size("memory", &mut workers.memory_bytes);
    section.integer("max_pixels", &mut workers.max_pixels);
    section.integer("max_side", &mut workers.max_side);
    section.size("max_source", &mut workers.max_source_bytes);
    section.integer("max_frames", &mut workers.max_frames);
    section.integer("max_frame_pixels", &mut workers.max_frame_pixels);
    section.duration("timeout", &mut workers.timeout);
    if workers.threads == 0 {
        workers.threads = half_of_the_cores();
    }
    let largest_bytes = workers.max_pixels.saturating_mul(PIXEL_BYTES);
    if largest_bytes > workers.memory_bytes {
        let name = if section.has("max_pixels") {
            "max_pixels"
        } else {
            "memory"
        };
        section.refuse(
            name,
            Wrong::new(
                "a picture of max_pixels (4 bytes each) is larger than memory",
                "write fewer max_pixels or more memory",
            ),
        );
    }
    workers
}

fn read_log(section: Section<'_>, base: &Path) -> LogConfig {
    let mut log = LogConfig::default();
    section.text("level", &mut log.level, field::log_filter);
    let access = section.section("access");
    access.flag("enabled", &mut log.access.enabled);
    access.text("path", &mut log.access.path, |text| match text {
        "" => Ok(None),
        text => path(base, text).map(Some),
    });
    log
}

fn read_admin<'a>(
    section: Section<'a>,
    base: &Path,
    token_sites: &mut Vec<SiteName<'a>>,
) -> admin::Config {
    let mut bind = admin::Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 9900)));
    section.text("bind", &mut bind, |text| match text.strip_prefix("unix:") {
        Some(text) => path(base, text).map(admin::Bind::Unix),
        None => address::socket(text).map(admin::Bind::Tcp),
    });
    let mut tokens: Vec<admin::Token> = Vec::new();
    for section in section.sections("tokens") {
        let token = read_token(section, base, token_sites);
        if !token.name.is_empty() && tokens.iter().any(|other| other.name == token.name) {
            section.refuse(
                "name",
                Wrong::new("another token has this name", "write another name"),
            );
        }
        tokens.push(token);
    }
    admin::Config { bind, tokens }
}

fn read_token<'a>(
    section: Section<'a>,
    base: &Path,
    token_sites: &mut Vec<SiteName<'a>>,
) -> admin::Token {
    let everything = || vec!["*".to_owned()];
    let mut token = admin::Token {
        name: String::new(),
        secret: String::new(),
        allow: everything(),
        sites: everything(),
    };
    if section.require("name", "write name = \"ops\", for example") {
        section.text("name", &mut token.name, field::label);
    }
    if section.require(
        "secret",
        "write secret = { env = \"BRIM_TOKEN\" }, for example",
    ) {
        section.value("secret", &mut token.secret, |value| secret(value, base));
    }
    let mut allow = vec!["*"];
    let words = [
        "*", "purge", "warm", "explain", "objects", "status", "reload", "drain",
    ]
    .map(|word| (word, word));
    section.words("allow", &mut allow, &words);
    token.allow = allow.into_iter().map(str::to_owned).collect();
    let sites = section.items("sites", |text| Ok(text.to_owned()));
    if let Some(sites) = section.not_empty("sites", sites) {
        token.sites = sites.iter().map(|(name, _)| name.clone()).collect();
        token_sites.extend(
            sites
                .into_iter()
                .map(|(name, place)| (section, name, place)),
        );
    }
    token
}

const SECRET_FIX: &str = "write { env = \"NAME\" } or { file = \"path\" }";
const KEY_FIX: &str = "write { file = \"path\" }";

enum SecretSource {
    Env(String),
    File(String),
}

fn secret_source(value: &DeValue<'_>, fix: &str) -> Result<SecretSource, Wrong> {
    let DeValue::Table(table) = value else {
        return Err(Wrong::new("a secret does not stand in this file", fix));
    };
    let mut entries = table.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(Wrong::new("not exactly one source of a secret", fix));
    };
    let text = text_of(value.get_ref(), "a name")?.to_owned();
    match name.get_ref().as_ref() {
        "env" => Ok(SecretSource::Env(text)),
        "file" => Ok(SecretSource::File(text)),
        other => Err(Wrong::new(
            format!("{other:?} is no source of a secret"),
            fix,
        )),
    }
}

/// A bearer token's secret.
pub(super) fn secret(value: &DeValue<'_>, base: &Path) -> Result<String, Wrong> {
    let (from, secret) = match secret_source(value, SECRET_FIX)? {
        SecretSource::Env(name) => {
            let secret = std::env::var(&name).map_err(|_| {
                Wrong::new(
                    format!("the environment has no variable {name}"),
                    format!("set {name} where the node is started"),
                )
            })?;
            (format!("variable {name}"), secret)
        }
        SecretSource::File(path) => {
            let path = readable(base, &path)?;
            let mut secret = String::new();
            File::open(&path)
                .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut secret))
                .map_err(|error| cannot_read(&path, &error, FILE_FIX))?;
            (path.display().to_string(), secret)
        }
    };
    bearer_token(&secret, &from)
}

/// A text that is a token, from wherever.
pub(super) fn bearer_token(secret: &str, from: &str) -> Result<String, Wrong> {
    let secret = secret.trim();
    // RFC 6750 §2.1: what may follow "Bearer" in a field.
    let is_good = !secret.is_empty()
        && u64::try_from(secret.len()).is_ok_and(|length| length <= SECRET_BYTES_MAX)
        && secret.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then(|| secret.to_owned()).ok_or_else(|| {
        Wrong::new(
            format!("{from} holds no token"),
            "put one line of printable ASCII without spaces there, such as openssl rand -hex 32 prints",
        )
    })
}

fn path(base: &Path, text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::new("not a path", "write a path"));
    }
    Ok(address::below(base, text))
}

/// A file that is there and can be read.
pub(super) fn readable(base: &Path, text: &str) -> Result<PathBuf, Wrong> {
    let path = path(base, text)?;
    let meta = File::open(&path).and_then(|file| file.metadata());
    match meta {
        Ok(meta) if meta.is_dir() => Err(Wrong::new(
            format!("{} is a folder", path.display()),
            "write the path of a file",
        )),
        Ok(_) => Ok(path),
        Err(error) => Err(cannot_read(&path, &error, FILE_FIX)),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn half_of_the_cores() -> usize {
    (cores() / 2).max(1)
}
