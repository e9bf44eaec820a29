//! The configuration from its files: what is shipped loads, and what is wrong is told all at once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions beside the tests are tests, too"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brim::config::{self, ConfigErrors, NodeConfig, Position};
use brim::origin::Source;
use brim::policy::VaryAction;
use brim::site::HostPattern;
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn shipped() -> Vec<(&'static str, String)> {
    ["edge.toml", "sites/demo.toml"]
        .map(|name| {
            let path = Path::new("edge-config").join(name);
            (name, fs::read_to_string(path).unwrap())
        })
        .to_vec()
}

fn load(files: &[(&str, &str)]) -> Result<NodeConfig, ConfigErrors> {
    config::load(folder(files).path())
}

#[test]
fn the_shipped_files_load_and_are_what_is_built_in() {
    let loaded = config::load(Path::new("edge-config")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded, config::built_in().unwrap());
    assert_eq!(loaded.state, PathBuf::from("var"));
    assert_eq!(loaded.store.state, PathBuf::from("var"));
    assert_eq!(
        loaded.log.access.path.as_deref(),
        Some(Path::new("var/access.log"))
    );
    let [demo] = &loaded.sites[..] else {
        panic!("{:?}", loaded.sites)
    };
    assert_eq!(&*demo.name, "demo");
    assert_eq!(demo.origin.source, Source::Demo);
    assert!(demo.images.enabled && demo.compression.enabled);
    assert_eq!(
        demo.hosts,
        ["localhost", "127.0.0.1", "[::1]"].map(|host| HostPattern::Exact(host.to_owned()))
    );
    let report = config::check_report(&loaded).to_string();
    assert!(
        report.contains("site demo: localhost, 127.0.0.1, [::1] from the bundled demo"),
        "{report}"
    );
}

/// What the shipped `edge.toml` says beyond the defaults.
const BESIDE_DEFAULTS: &str = r#"
[[listener]]
name = "https"
bind = ["127.0.0.1:8443", "[::1]:8443"]
tls = true
[[listener]]
name = "http"
bind = ["127.0.0.1:8080", "[::1]:8080"]
[tls]
self_signed = ["localhost"]
[[cache.disk]]
path = "../var/cache"
size = "4GiB"
[log.access]
path = "../var/access.log"
"#;

#[test]
fn what_the_shipped_files_spell_out_are_the_defaults() {
    let shipped = shipped();
    let site = shipped[1].1.as_str();
    let folder = folder(&[("edge.toml", BESIDE_DEFAULTS), ("sites/demo.toml", site)]);
    let short = config::load(folder.path()).unwrap();
    fs::write(folder.path().join("edge.toml"), &shipped[0].1).unwrap();
    let spelled_out = config::load(folder.path()).unwrap();
    assert_eq!(short, spelled_out);
}

/// Mistakes of every sort, over several files.
const BROKEN: &[(&str, &str)] = &[
    (
        "edge.toml",
        r#"[node]
id = "my edge"
drain_timout = "30s"
default_site = "nobody"
workers = -1
trusted_proxies = []

[[listener]]
name = "https"
bind = ["127.0.0.1:8443", "localhost:8443"]
protocols = ["h1", "h3"]
tls = true
header_timeout = 10
idle_timeout = "0s"
max_connections = "many"
proxy_protocl = false

[[listener]]
name = "https"
bind = "127.0.0.1:8443"
mode = "redirect"
[listener.h2]
max_header_list = "32kb"

[[tls.certificate]]
cert = "tls/none.pem"
key = "tls/none.key"

[cache.disk]
path = "x"

[cache.memory]
size = "1MiB"
max_obj = "1MiB"

[log]
level = "inof"

[[admin.tokens]]
name = "ops"
secret = "hunter2"
sites = ["demmo"]
[fleet]
redis = ""
"#,
    ),
    (
        "sites/a.toml",
        r#"hosts = ["a.test", "b.test:80", "a.test"]
methods = ["GET", "TRACE"]
[origin]
url = "ftp://o.test"
verify = "no"
forward_headers = ["Host"]
queue = { length = 10, wiat = "5s" }
[cache]
min_ttl = "2d"
max_ttl = "1d"
mode = "statik"
status_ttl = { "4o4" = "10s", "5xx" = 3 }
[cache.vary]
accept = "normalise"
[compression]
types = ["text"]
first_level = { br = 12 }
[cors]
origins = ["https://x.test/"]
"#,
    ),
    (
        "sites/b.toml",
        r#"name = "a"
hosts = ["a.test"]
origin = { url = "dir:nowhere" 
[cache]
min_ttl = 
"#,
    ),
    (
        "sites/c.toml",
        "hosts = [\"c.test\"]\n[origin]\nurl = \"o.test\n[cache]\nmin_ttl = \"5\"\nname = 3\nmax_ttl = @\nmin_ttl = \"1s\"\n",
    ),
];

/// Where each of them is, its key, and something of what is said about it.
const EXPECTED: &[(&str, usize, usize, &str, &str)] = &[
    ("edge.toml", 2, 6, "node.id", "not a node's name"),
    (
        "edge.toml",
        3,
        1,
        "node.drain_timout",
        "write drain_timeout",
    ),
    (
        "edge.toml",
        4,
        16,
        "node.default_site",
        "no site has this name; write one of a, c",
    ),
    (
        "edge.toml",
        5,
        11,
        "node.workers",
        "too small; write a whole number from 0",
    ),
    (
        "edge.toml",
        6,
        1,
        "node.trusted_proxies",
        "this version does not have it",
    ),
    ("edge.toml", 10, 27, "listener.bind", "127.0.0.1:8443"),
    (
        "edge.toml",
        11,
        20,
        "listener.protocols",
        "this version does not have it",
    ),
    (
        "edge.toml",
        13,
        18,
        "listener.header_timeout",
        "write \"10s\"",
    ),
    (
        "edge.toml",
        14,
        16,
        "listener.idle_timeout",
        "too short; write a duration from \"1ms\"",
    ),
    (
        "edge.toml",
        15,
        19,
        "listener.max_connections",
        "a string where a whole number belongs",
    ),
    (
        "edge.toml",
        16,
        1,
        "listener.proxy_protocl",
        "proxy_protocol is meant? This version does not",
    ),
    (
        "edge.toml",
        19,
        8,
        "listener.name",
        "another listener has this name",
    ),
    ("edge.toml", 20, 8, "listener.bind", "[\"127.0.0.1:8443\"]"),
    (
        "edge.toml",
        21,
        8,
        "listener.mode",
        "write \"redirect-https\"",
    ),
    (
        "edge.toml",
        23,
        19,
        "listener.h2.max_header_list",
        "write \"32KiB\"",
    ),
    (
        "edge.toml",
        26,
        8,
        "tls.certificate.cert",
        "it is not there",
    ),
    ("edge.toml", 27, 7, "tls.certificate.key", "write { file = "),
    ("edge.toml", 29, 1, "cache.disk", "write [[cache.disk]]"),
    (
        "edge.toml",
        33,
        8,
        "cache.memory.size",
        "max_object is larger",
    ),
    (
        "edge.toml",
        34,
        1,
        "cache.memory.max_obj",
        "write max_object",
    ),
    ("edge.toml", 37, 9, "log.level", "not a log level"),
    ("edge.toml", 41, 10, "admin.tokens.secret", "write { env = "),
    (
        "edge.toml",
        42,
        10,
        "admin.tokens.sites",
        "no site has this name",
    ),
    ("edge.toml", 43, 2, "fleet", "this version does not have it"),
    ("sites/a.toml", 1, 20, "hosts", "write \"b.test\""),
    ("sites/a.toml", 1, 33, "hosts", "listed twice"),
    ("sites/a.toml", 2, 19, "methods", "TRACE is never answered"),
    (
        "sites/a.toml",
        4,
        7,
        "origin.url",
        "write an http or https URL",
    ),
    (
        "sites/a.toml",
        5,
        10,
        "origin.verify",
        "write true or false",
    ),
    (
        "sites/a.toml",
        6,
        20,
        "origin.forward_headers",
        "write origin.host_header",
    ),
    ("sites/a.toml", 7, 24, "origin.queue.wiat", "write wait"),
    (
        "sites/a.toml",
        9,
        11,
        "cache.min_ttl",
        "min_ttl is longer than max_ttl",
    ),
    ("sites/a.toml", 11, 8, "cache.mode", "write \"static\""),
    (
        "sites/a.toml",
        12,
        16,
        "cache.status_ttl.4o4",
        "no status that can be stored",
    ),
    (
        "sites/a.toml",
        12,
        39,
        "cache.status_ttl.5xx",
        "write \"3s\"",
    ),
    (
        "sites/a.toml",
        14,
        10,
        "cache.vary.accept",
        "write \"normalize\"",
    ),
    (
        "sites/a.toml",
        16,
        10,
        "compression.types",
        "not a media type",
    ),
    (
        "sites/a.toml",
        17,
        22,
        "compression.first_level.br",
        "too large; write a whole number from 0 to 11",
    ),
    (
        "sites/a.toml",
        19,
        12,
        "cors.origins",
        "write \"https://x.test\"",
    ),
    ("sites/b.toml", 1, 8, "name", "has the name \"a\", too"),
    ("sites/b.toml", 2, 10, "hosts", "answers for this host"),
    ("sites/b.toml", 4, 1, "", "not valid TOML"),
    ("sites/b.toml", 5, 1, "", "not valid TOML"),
    (
        "sites/b.toml",
        5,
        10,
        "",
        "not valid TOML: unclosed inline table",
    ),
    (
        "sites/c.toml",
        3,
        14,
        "",
        "not valid TOML: invalid basic string",
    ),
    ("sites/c.toml", 5, 11, "cache.min_ttl", "write \"5s\""),
    ("sites/c.toml", 6, 1, "cache.name", "at the top of the file"),
    ("sites/c.toml", 7, 11, "", "not valid TOML"),
    ("sites/c.toml", 8, 1, "", "not valid TOML: duplicate key"),
];

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let folder = folder(BROKEN);
    let errors = config::load(folder.path()).unwrap_err();
    for (error, (file, line, column, key, says)) in errors.iter().zip(EXPECTED) {
        let message = error.message();
        assert_eq!(error.file, folder.path().join(file), "{message}");
        let position = Position {
            line: *line,
            column: *column,
        };
        assert_eq!(error.position, Some(position), "{message}");
        assert_eq!(error.key, *key, "{message}");
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(errors.count(), EXPECTED.len(), "{errors}");
    assert!(errors.to_string().ends_with("49 mistakes in 4 files"));
}

#[test]
fn a_mistake_shows_its_line_with_a_caret() {
    let folder = folder(&[
        (
            "edge.toml",
            "[node]\n\tdrain_timeout\t= \"ten\" # ä\n[[listener]]\nname = \"h\"\nbind = [\"127.0.0.1:0\"]\n",
        ),
        ("sites/a.toml", SITE),
    ]);
    let errors = config::load(folder.path()).unwrap_err().to_string();
    let file = folder.path().join("edge.toml");
    let expect = format!(
        "{}:2:18: node.drain_timeout = \"ten\": not a duration; write a whole number and one of ms, s, m, h, d, \
         such as \"30s\"\n    2 |  drain_timeout = \"ten\" # ä\n      |                  ^^^^^\n1 mistake in 1 file",
        file.display()
    );
    assert_eq!(errors, expect);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let errors = load(BROKEN).unwrap_err();
    assert!(!errors.to_string().contains("hunter2"));
}

const LISTENER: &str = "[[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:8080\"]\n";
const SITE: &str = "hosts = [\"a.test\"]\n[origin]\nurl = \"http://o.test\"\n";

/// The only mistake of this `edge.toml` beside a good site, or of this site beside a good node.
#[track_caller]
fn check(edge: &str, site: &str, expect: Option<&str>) {
    let files = [("edge.toml", edge), ("sites/a.toml", site)];
    match (load(&files), expect) {
        (Ok(_), None) => {}
        (Err(errors), Some(expect)) => {
            assert_eq!(errors.count(), 1, "{errors}");
            assert!(errors.to_string().contains(expect), "{errors}");
        }
        (got, expect) => panic!("{got:?}, not {expect:?}"),
    }
}

#[track_caller]
fn check_edge(more: &str, expect: Option<&str>) {
    check(&format!("{LISTENER}{more}"), SITE, expect);
}

#[track_caller]
fn check_site(more: &str, expect: Option<&str>) {
    check(LISTENER, &format!("{SITE}{more}"), expect);
}

#[test]
fn a_disk_is_for_sites_that_there_are() {
    let assets = format!("name = \"assets\"\n{SITE}");
    let disk = |sites: &str| {
        format!("{LISTENER}[[cache.disk]]\npath = \"x\"\nsize = \"1GiB\"\nsites = {sites}\n")
    };
    check(&disk("[\"assets\"]"), &assets, None);
    let problem = load(&[
        ("edge.toml", &disk("[\"asets\"]")),
        ("sites/a.toml", &assets),
    ]);
    let told = problem.unwrap_err().to_string();
    assert!(told.contains("did you mean \"assets\"?"), "{told}");
    check(&disk("[\"x-y-z\"]"), &assets, Some("write one of assets"));
}

#[test]
fn a_quota_is_read() {
    let quota = "[cache]\nquota = { memory = \"8MiB\", disk = \"1GiB\" }\n";
    let site = format!("{SITE}{quota}");
    let config = load(&[("edge.toml", LISTENER), ("sites/a.toml", &site)]).unwrap();
    let read = config.sites[0].quota;
    assert_eq!((read.memory_bytes, read.disk_bytes), (8 << 20, 1 << 30));
    check_site(
        "[cache]\nquota = { memry = \"8MiB\" }\n",
        Some("write memory"),
    );
}

#[test]
fn a_node_is_more_than_its_keys() {
    check_edge("", None);
    check("", SITE, Some("listener: no listener"));
    check_edge(
        "[[listener]]\nname = \"x\"\nbind = [\"127.0.0.1:8080\"]",
        Some("listener \"http\" has this address"),
    );
    check_edge(
        "[[listener]]\nname = \"x\"\nbind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]",
        None,
    );
    check_edge("[[listener]]\nname = \"x\"", Some("listener.bind: missing"));
    check_edge("[[listener]]\nname = \"x\"\nbind = []", Some("empty"));
    check_edge(
        "[admin]\nbind = \"127.0.0.1:8080\"",
        Some("listener \"http\" has this address"),
    );
    check_edge("[admin]\nbind = \"unix:admin.sock\"", None);
    check_edge("tls = true", Some("there is no certificate"));
    check_edge(
        "tls = true\nprotocols = [\"h2\"]\n[tls]\nself_signed = [\"localhost\"]",
        None,
    );
    check_edge(
        "tls = true\nmode = \"redirect-https\"\n[tls]\nself_signed = [\"localhost\"]",
        Some("listener.mode"),
    );
    check_edge("protocols = []", Some("empty"));
    check_edge(
        "[[cache.disk]]\npath = \"x\"\nsize = \"127MiB\"",
        Some("write a size from \"128MiB\""),
    );
    check_edge("[[cache.disk]]\npath = \"x\"\nsize = \"128MiB\"", None);
    let disk = "[[cache.disk]]\npath = \"x\"\nsize = \"1GiB\"\n";
    check_edge(disk, None);
    let other = |path: &str| format!("{disk}[[cache.disk]]\npath = \"{path}\"\nsize = \"1GiB\"\n");
    check_edge(&other("y"), None);
    check_edge(&other("xy"), None);
    let same = Some("another [[cache.disk]] has this folder");
    check_edge(&other("x"), same);
    check_edge(&other("./y/../x/"), same);
    check_edge(&other("x/y"), Some("lies in that of another"));
    check_edge(&other("x/y/../z"), Some("lies in that of another"));
    check_edge(&other("."), Some("lies in this one"));
    check_edge(
        &format!("{disk}write_rate = \"10MiB\"\nmin_uses = 2\n"),
        None,
    );
    check_edge(&format!("{disk}min_uses = 0\n"), Some("1 to 100"));
    check_edge(&format!("{disk}sites = []\n"), None);
    check_edge(
        "[cache.memory]\nsize = \"1MiB\"\nmax_object = \"2MiB\"",
        Some("max_object is larger"),
    );
    check_edge("[limits]\nmemory = \"0\"", None);
    check_edge("[limits]\nmemory = \"2GiB\"", None);
    check_edge(
        "[limits]\nmemory = \"1MiB\"",
        Some("write at least \"64MiB\""),
    );
    check_edge(
        "[limits]\nrequest_field = \"64KiB\"",
        Some("limits.request_field"),
    );
    check_edge(
        "[images]\nmax_pixels = 500_000_000",
        Some("images.max_pixels"),
    );
    check_edge("[node]\nworkers = 99999999999999999999", Some("too large"));
    check_edge("[node]\nstate = \"\"", Some("not a path"));
    check_edge(
        "[node]\nsites = \"nowhere\"",
        Some("node.sites = \"nowhere\": cannot read"),
    );
    check_edge(
        "[[tls.certificate]]\ncert = \"edge.toml\"\nkey = { env = \"KEY\" }",
        Some("from files only"),
    );
    check_edge(
        "[[tls.certificate]]\ncert = \"edge.toml\"\nkey = { file = \"edge.toml\" }",
        None,
    );
    check_edge(
        "[[admin.tokens]]\nname = \"x\"\nsecret = { env = \"BRIM_TEST_NOT_SET\" }",
        Some("no variable BRIM_TEST_NOT_SET"),
    );
    check_edge(
        "[admin]\ntokens = [{ name = \"x\", secret = { file = \"edge.toml\" } }]",
        Some("holds no token"),
    );
}

#[test]
fn a_site_is_more_than_its_keys() {
    check_site("", None);
    check(
        LISTENER,
        "[origin]\nurl = \"http://o.test\"",
        Some("hosts: missing"),
    );
    check(
        LISTENER,
        "hosts = [\"a.test\"]",
        Some("the site has no origin"),
    );
    check(
        LISTENER,
        "hosts = []\n[origin]\nurl = \"demo:\"",
        Some("empty"),
    );
    check(
        LISTENER,
        "hosts = [\"a.test\"]\n[origin]\nurl = \"dir:..\"",
        None,
    );
    check(
        LISTENER,
        "hosts = [\"a.test\"]\n[origin]\nurl = \"dir:nowhere\"",
        Some("it is not there"),
    );
    check(
        LISTENER,
        "hosts = [\"a.test\"]\n[origin]\nurl = \"dir:..\"\nverify = false",
        Some("a folder is not asked over HTTP"),
    );
    check(
        LISTENER,
        "hosts = [\"a.test\"]\n[origin]\nurl = \"s3://bucket\"",
        Some("S3"),
    );
    check_site(
        "[[origin.server]]\nurl = \"http://b.test\"",
        Some("not both"),
    );
    let servers = "hosts = [\"a.test\"]\n[[origin.server]]\nurl = \"http://b.test\"\n";
    check(LISTENER, &format!("{servers}weight = 3"), None);
    check(LISTENER, &format!("{servers}weight = 0"), Some("too small"));
    check(
        LISTENER,
        &format!("{servers}backup = true"),
        Some("every server is a backup"),
    );
    check_site("ca = \"nowhere.pem\"", Some("it is not there"));
    check_site(
        "ca = \"a.toml\"\nverify = false",
        Some("no authority is asked"),
    );
    check_site("host_header = \"client\"", None);
    check_site(
        "host_header = \"client\"\n[cache.key]\nhost = false",
        Some("cache.key.host"),
    );
    check_site(
        "[cache.key.query]\nmode = \"include\"",
        Some("names no parameters"),
    );
    check_site(
        "[cache.key.query]\nnames = [\"v\"]",
        Some("does not look at names"),
    );
    check_site(
        "[cache.key]\nquery = { mode = \"exclude\", names = [\"utm_source\"] }",
        None,
    );
    check_site("[cache]\nbrowser_ttl = \"1y\"", Some("or \"respect\""));
    check_site(
        "[cache]\noverride_ttl = \"400d\"",
        Some("override_ttl is longer than max_ttl"),
    );
    check_site("[cache]\nmax_ttl = \"99999d\"", Some("too long"));
    check_site(
        "[compression]\nmin_size = \"32MiB\"",
        Some("min_size is larger"),
    );
    for (dictionaries, expect) in [
        ("mode = \"edge\"", Some("knows of none")),
        ("mode = \"edge\", match = []", Some("knows of none")),
        ("mode = \"edge\", match = [\"/app.*.js\"]", None),
        ("mode = \"edge\", match = [\"app.js\"]", Some("slash")),
        ("mode = \"edge\", match = [\"/app.:id.js\"]", Some("':'")),
        (
            "mode = \"passthrough\", match = [\"/app.js\"]",
            Some("looks at patterns"),
        ),
        ("match = [\"/app.js\"]", Some("looks at patterns")),
        ("mode = \"edge\", match = [\"/a/**\"]", Some("two stars")),
        ("mode = \"edge\", match = [\"/a/../b*\"]", Some("no path")),
        ("mode = \"passthrough\"", None),
        ("mode = \"on\"", Some("passthrough")),
        ("keep_versions = 0", Some("from 1 to 64")),
    ] {
        let text = format!("[compression]\ndictionaries = {{ {dictionaries} }}");
        check_site(&text, expect);
    }
    check_site(
        "[compression]\ncodings = [\"gzip\"]\ndictionaries = { mode = \"edge\", match = [\"/a.js\"] }",
        Some("zstd or br"),
    );
    check_site("[images]\nwidths = [320, 8000]", Some("too large"));
    check_site("[images]\nmatch = [\"jpg\"]", Some("*.jpg"));
    check_site("[images]\naliases = [\"imgixx\"]", Some("write \"imgix\""));
    check_site("[images]\naliases = []\npaths = [\"next\"]", None);
    check_site(
        "[images]\npaths = [\"next\"]\nparameters = false",
        Some("takes none"),
    );
    check_site("[images]\nrefused = 404", Some("415 or 422"));
    check_site("[images]\nrefused = 415\nfallback = \"error\"", None);
    check_site(
        "[images]\npresets = { thumb = { width = 320, dpr = 1.5, fit = \"cover\", upscale = true } }",
        None,
    );
    for (preset, expect) in [
        ("{ widht = 320 }", "images.presets.thumb.widht"),
        ("{ widht = 320 }", "write width"),
        ("{ preset = \"a\" }", "no parameter of pictures"),
        ("{ width = 0 }", "images.presets.thumb.width = 0"),
        (
            "{ width = 0 }",
            "width must be a whole number of pixels from 1 to 4096",
        ),
        ("{ width = [1] }", "true or false"),
        ("5", "not a table"),
    ] {
        let site = format!("[images]\npresets = {{ thumb = {preset} }}");
        check_site(&site, Some(expect));
    }
    check_site("[images.presets.\"a b\"]", Some("is no name"));
    check_site("[images.presets.thumb]\nwidth = 5", None);
    check_site("[images.sign]\nrequired = true", Some("no key to sign by"));
    check_site(
        "[images.sign]\nkeys = [\"0123456789abcde\"]",
        Some("at least 16 characters"),
    );
    check_site(
        "[images.sign]\nrequired = true\nkeys = [{ file = \"a.toml\" }]",
        Some("holds no token"),
    );
    check_site(
        "[images]\nsign = { required = true, keys = [\"0123456789abcdef\", { env = \"CARGO\" }] }",
        None,
    );
    check_site(
        "[headers.response]\nset = { \"X-A\" = \"1\", \"x-a\" = \"2\" }",
        Some("written twice"),
    );
    check_site(
        "[headers.response]\nset = { \"Connection\" = \"close\" }",
        Some("belongs to one connection"),
    );
    check_site(
        "[cors]\norigins = [\"*\", \"https://a.test\"]",
        Some("already allows all"),
    );
}

#[test]
fn rules_are_more_than_their_keys() {
    check_site(
        "[[redirect]]\nfrom = \"/a/*\"\nto = \"/b/$1\"\n[[rewrite]]\nfrom = \"/v*/**\"\nto = \"/$2\"",
        None,
    );
    for (table, expect) in [
        ("from = \"/a\"", "redirect.to: missing"),
        ("to = \"/a\"", "redirect.from: missing"),
        ("from = \"*.js\"\nto = \"/a\"", "write \"/**.js\""),
        ("from = \"/***\"\nto = \"/a\"", "three stars"),
        ("from = \"/a?b\"\nto = \"/a\"", "write the path alone"),
        ("from = \"/ä\"\nto = \"/a\"", "write \"/%C3%A4\""),
        ("from = \"/a/*\"\nto = \"/b/$2\"", "captures $1 alone"),
        ("from = \"/a\"\nto = \"/b/$1\"", "from captures nothing"),
        ("from = \"/a\"\nto = \"/$0\"", "write $1"),
        ("from = \"/a\"\nto = \"b\"", "neither a path nor an http"),
        ("from = \"/**\"\nto = \"https://$1\"", "write the host out"),
        ("from = \"/a\"\nto = \"/b\"\nstatus = 304", "write 301, 302"),
        ("from = \"/a\"\nto = \"/b\"\nstatus = 200", "too small"),
        ("from = \"/a\"\nto = \"/a\"", "leads to itself: /a is"),
        ("from = \"/a/*\"\nto = \"/a/$1.html\"", "leads to itself"),
        (
            "from = \"/**\"\nto = \"https://A.test/$1\"",
            "leads to itself",
        ),
        ("from = \"/a\"\nto = \"/b\"\nstaus = 301", "write status"),
    ] {
        check_site(&format!("[[redirect]]\n{table}"), Some(expect));
    }
    check_site(
        "[[redirect]]\nfrom = \"/new/**\"\nto = \"https://other.test/\"\n[[redirect]]\nfrom = \"/**\"\nto = \"/new/$1\"",
        None,
    );
    for (to, expect) in [
        ("/a?b", "the path alone"),
        ("https://a.test/", "not a path"),
        ("/a/../b", "one spelling"),
        ("/%zz", "%25"),
        ("/$2", "captures $1 alone"),
    ] {
        let table = format!("[[rewrite]]\nfrom = \"/a/*\"\nto = \"{to}\"");
        check_site(&table, Some(expect));
    }
    let many = "[[rewrite]]\nfrom = \"/a\"\nto = \"/b\"\n".repeat(1001);
    check_site(&many, Some("1001 of them; a site has at most 1000"));
}

#[test]
fn rules_say_when_and_what() {
    check_site(
        "[[rule]]\nname = \"a\"\nwhen = { path = [\"/assets/**\"], path_regex = '\\.[0-9a-f]{8,}\\.', extension = [], method = [], \
         header = {}, query = {}, ip = [], status = [], content_type = [] }\n\
         cache = { override_ttl = \"365d\", browser_ttl = \"365d\", immutable = true }\nheaders = { set = {} }\n\
         tags = { add = [\"assets\"] }\nstop = false",
        None,
    );
    for (table, expect) in [
        ("stp = true", "write stop"),
        ("when = { paths = [\"/a\"] }", "write path"),
        (
            "when = { country = [\"DE\"] }",
            "this version does not have it",
        ),
        ("when = { path = [\"a/*\"] }", "write \"/a/*\""),
        ("when = { path_regex = '(a' }", "unclosed group"),
        (
            "when = { path_regex = '((a{99}){99}){99}' }",
            "KiB when compiled",
        ),
        ("when = { extension = [\".css\"] }", "write \"css\""),
        ("when = { method = [\"get\"] }", "write \"GET\""),
        ("when = { header = { \"X A\" = \"*\" } }", "no field name"),
        ("when = { header = { X-A = [] } }", "\"*\" for any value"),
        ("when = { query = { a = 1 } }", "in quotes"),
        ("when = { ip = [\"10.1.2.3/8\"] }", "write \"10.0.0.0/8\""),
        ("when = { ip = [\"localhost\"] }", "2001:db8::/32"),
        ("when = { status = [\"4\"] }", "no status"),
        ("when = { status = [99] }", "no status"),
        ("when = { content_type = [\"html\"] }", "text/css"),
        ("cache = { mode = \"statc\" }", "write \"static\""),
        ("cache = { override_ttl = \"400d\" }", "longer than max_ttl"),
        ("cache = { browser_ttl = 5 }", "or \"respect\""),
        ("cache = { default_tll = \"5s\" }", "write default_ttl"),
        (
            "headers = { set = { Connection = \"x\" } }",
            "one connection",
        ),
        ("tags = { add = [\"a b\"] }", "not a tag"),
        ("images = { quality = { avif = 101 } }", "too large"),
        ("deny = 500", "400 to 499"),
        ("deny = \"yes\"", "400 to 499"),
        (
            "when = { path = [\"/a\"] }\nredirect = { to = \"/b/$1\" }",
            "path captures nothing",
        ),
        (
            "when = { path_regex = '(.)' }\nrewrite = { to = \"/$2\" }",
            "path_regex captures $1",
        ),
        ("redirect = { to = \"/a\" }", "leads to itself"),
        (
            "when = { status = [\"404\"] }\ndeny = true",
            "without status and content_type",
        ),
        (
            "when = { status = [404] }\ncache = { authorization = \"strip\" }",
            "before there is",
        ),
    ] {
        check_site(&format!("[[rule]]\n{table}"), Some(expect));
    }
    check_site(
        "[[rule]]\nwhen = { path = [\"/new/**\"] }\nstop = true\n[[rule]]\nredirect = { to = \"/new/\" }",
        None,
    );
    check_site(
        "[[rule]]\nwhen = { header = { X-A = \"*\" } }\nredirect = { to = \"/a\" }",
        None,
    );
    check_site(
        "[[rule]]\nname = \"a\"\n[[rule]]\nname = \"a\"",
        Some("another rule is named \"a\""),
    );
    check_site(
        "[[rule]]\ncache = { max_ttl = \"500d\", override_ttl = \"400d\" }",
        None,
    );
    check_site(&"[[rule]]\n".repeat(129), Some("129 of them"));
}

#[test]
fn what_is_written_is_what_holds() {
    let site = format!(
        "{SITE}host_header = \"client\"\n[cache]\nstatus_ttl = {{ \"404\" = \"1m\" }}\noverride_ttl = \"1h\"\n\
         [cache.vary]\nuser-agent = \"ignore\"\nx-a = \"bypass\"\n[images]\nwidths = [640, 320]\n"
    );
    let config = load(&[("edge.toml", LISTENER), ("sites/assets.toml", &site)]).unwrap();
    let site = &config.sites[0];
    assert_eq!(&*site.name, "assets", "the file's name is the default");
    assert!(site.cache.key.host, "the client's host belongs to the key");
    assert_eq!(site.cache.status_ttl.exact.len(), 1);
    assert!(site.cache.status_ttl.class.is_empty());
    assert_eq!(site.cache.override_ttl, Some(Duration::from_secs(3600)));
    let action = |name: &str| {
        let found = site
            .cache
            .vary
            .fields
            .iter()
            .find(|(field, _)| field == name);
        found.map(|(_, action)| *action)
    };
    assert_eq!(action("user-agent"), Some(VaryAction::Ignore));
    assert_eq!(action("x-a"), Some(VaryAction::Bypass));
    assert_eq!(action("accept"), Some(VaryAction::Normalize));
    assert_eq!(site.images.widths, [320, 640]);
    let [listener] = &config.listeners[..] else {
        panic!("{:?}", config.listeners)
    };
    assert!(listener.h1 && !listener.h2);
    assert!(config.workers >= 1 && config.images.threads >= 1);
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let nowhere = config::load(Path::new("no-such-folder")).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .starts_with("no-such-folder/edge.toml: cannot be read"),
        "{nowhere}"
    );
    let empty = load(&[
        ("edge.toml", LISTENER),
        ("sites/.hidden.toml", ""),
        ("sites/x.toml~", ""),
    ]);
    assert!(empty.unwrap_err().to_string().contains("no site: "));
    let folder = folder(&[("edge.toml", LISTENER), ("sites/a.toml", SITE)]);
    fs::write(folder.path().join("sites/b.toml"), b"name = \"\xff\"").unwrap();
    let errors = config::load(folder.path()).unwrap_err();
    assert!(
        errors.to_string().contains("not UTF-8 at byte 9"),
        "{errors}"
    );
}

#[test]
fn an_origin_of_the_command_line_needs_no_site() {
    let folder = folder(&[("edge.toml", LISTENER)]);
    let origins = ["http://127.0.0.1:9000".to_owned()];
    let config = config::resolve(Some(folder.path()), &origins).unwrap();
    assert_eq!(&*config.sites[0].name, "origin");
    assert_eq!(config.listeners[0].name, "http");
    assert!(config::resolve(Some(folder.path()), &[]).is_err());
}

/// The reference in the README is the reader's own list of keys; `BRIM_WRITE_REFERENCE=1 cargo test --test config`
/// writes it anew.
#[test]
fn the_readme_holds_the_reference_of_this_version() {
    const BEGIN: &str = "<!-- config reference: begin -->\n";
    const END: &str = "<!-- config reference: end -->";
    let readme = fs::read_to_string("README.md").unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let current = format!("\n{}\n", config::reference().trim());
    if std::env::var_os("BRIM_WRITE_REFERENCE").is_some() {
        fs::write("README.md", format!("{before}{BEGIN}{current}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == current,
        "README.md differs from the code; run BRIM_WRITE_REFERENCE=1 cargo test --test config"
    );
}
