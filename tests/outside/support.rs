//! Starting programs, and ending only those that were started.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A program that ends with its handle.
pub(crate) struct Program(pub(crate) Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until `ready` holds; panics with `what` after a minute.
pub(crate) fn wait_until(what: &str, ready: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(60), what, ready);
}

/// The same, with more patience or less.
#[expect(
    clippy::disallowed_methods,
    reason = "other programs run on the machine's clock"
)]
pub(crate) fn wait_within(patience: Duration, what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !ready() {
        assert!(Instant::now() < end, "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// nginx as an origin: static files of `root`, each with an hour of freshness, every request logged.
pub(crate) struct Origin {
    pub(crate) port: u16,
    log: PathBuf,
    _folder: TempDir,
    _program: Program,
}

impl Origin {
    pub(crate) fn start(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = folder.path().join("access.log");
        let at = folder.path().display();
        let settings = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log {at}/access.log; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; types {{ text/html html; text/css css; application/javascript js mjs;\n\
             application/json json map; application/wasm wasm; image/svg+xml svg; image/jpeg jpg; image/png png; font/woff2 woff2; font/ttf ttf; }}\n\
             server {{ listen 127.0.0.1:{port}; root {root}; add_header Cache-Control \"public, max-age=3600\"; }} }}\n",
            root = root.display()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, settings).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("nginx");
        let child = Command::new(nginx)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx must be installed for this test ({error})"));
        let program = Program(child);
        wait_until("nginx", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            port,
            log,
            _folder: folder,
            _program: program,
        }
    }

    /// Requests that it has answered.
    pub(crate) fn requests(&self) -> usize {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .count()
    }
}

/// A running brim with its configuration in a folder of its own.
pub(crate) struct Edge {
    pub(crate) https: u16,
    pub(crate) admin: u16,
    pub(crate) folder: TempDir,
    program: Option<Program>,
}

impl Edge {
    pub(crate) fn start(site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let https = free_port();
        let admin = free_port();
        fs::create_dir_all(folder.path().join("config/sites")).unwrap();
        let edge = format!(
            "[node]\nid = \"test\"\nsites = \"sites\"\nstate = \"../var\"\n\
             [[listener]]\nname = \"https\"\nbind = [\"127.0.0.1:{https}\"]\nprotocols = [\"h1\", \"h2\"]\ntls = true\n\
             [tls]\nself_signed = [\"localhost\"]\n\
             [cache.memory]\nsize = \"64MiB\"\n[[cache.disk]]\npath = \"../var/cache\"\nsize = \"512MiB\"\n\
             [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:{admin}\"\n"
        );
        fs::write(folder.path().join("config/edge.toml"), edge).unwrap();
        fs::write(folder.path().join("config/sites/site.toml"), site).unwrap();
        let mut edge = Self {
            https,
            admin,
            folder,
            program: None,
        };
        edge.run();
        edge
    }

    fn run(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brim"))
            .arg("serve")
            .arg("--config")
            .arg(self.folder.path().join("config"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What it says is kept flowing, and shown when a test fails.
        let said = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                eprintln!("brim: {line}");
            }
        });
        self.program = Some(Program(child));
        let port = self.https;
        wait_until("brim", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends it without warning and starts it again on the same state and cache.
    pub(crate) fn kill_and_restart(&mut self) {
        self.program = None;
        self.run();
    }
}

/// One answer by curl: head and body as they came over the wire.
pub(crate) struct Fetched {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Fetched {
    pub(crate) fn status(&self) -> u16 {
        let status = self.head.split_whitespace().nth(1);
        status.and_then(|status| status.parse().ok()).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// Asks with curl over `version` (`--http1.1` or `--http2`), saying which coding is taken.
pub(crate) fn curl(port: u16, path: &str, version: &str, coding: &str) -> Fetched {
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let status = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--insecure",
            "--max-time",
            "30",
            version,
        ])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(["--header", &format!("Accept-Encoding: {coding}")])
        .arg(format!("https://localhost:{port}{path}"))
        .status()
        .unwrap_or_else(|error| panic!("curl must be installed for this test ({error})"));
    assert!(status.success(), "curl {path} {version} {coding}: {status}");
    Fetched {
        head: fs::read_to_string(head).unwrap(),
        body: fs::read(body).unwrap_or_default(),
    }
}

/// What one request of several asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    path: String,
    is_head: bool,
    fields: Vec<(String, String)>,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            is_head: false,
            fields: Vec::new(),
        }
    }

    pub(crate) fn head(mut self) -> Self {
        self.is_head = true;
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_all(self, fields: &[(&str, &str)]) -> Self {
        let one = |ask: Self, (name, value): &(&str, &str)| ask.with(name, value);
        fields.iter().fold(self, one)
    }
}

/// Asks one after the other with one curl over `version`, which keeps its connection.
pub(crate) fn curl_all(port: u16, version: &str, asks: &[Ask]) -> Vec<Fetched> {
    let folder = tempfile::tempdir().unwrap();
    let place = |number: usize, what: &str| folder.path().join(format!("{number}.{what}"));
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut lines = Vec::new();
    for (number, ask) in asks.iter().enumerate() {
        if number > 0 {
            lines.push("next".to_owned());
        }
        let url = format!("https://localhost:{port}{}", ask.path);
        lines.extend(["silent", "show-error", "insecure", "globoff"].map(str::to_owned));
        lines.push(version.trim_start_matches('-').to_owned());
        lines.push("max-time = 60".to_owned());
        lines.push(format!("url = {}", quoted(&url)));
        let (head, body) = (place(number, "head"), place(number, "body"));
        lines.push(format!(
            "dump-header = {}",
            quoted(&head.display().to_string())
        ));
        lines.push(format!("output = {}", quoted(&body.display().to_string())));
        if ask.is_head {
            lines.push("head".to_owned());
        }
        for (name, value) in &ask.fields {
            lines.push(format!("header = {}", quoted(&format!("{name}: {value}"))));
        }
    }
    let config = folder.path().join("config");
    fs::write(&config, lines.join("\n")).unwrap();
    let status = Command::new("curl")
        .args(["--disable", "--config"])
        .arg(&config)
        .status()
        .unwrap_or_else(|error| panic!("curl must be installed for this test ({error})"));
    assert!(status.success(), "curl {version} {asks:?}: {status}");
    let fetched = |number| Fetched {
        head: fs::read_to_string(place(number, "head")).unwrap(),
        body: match asks.get(number).is_some_and(|ask| ask.is_head) {
            // curl writes the head here as well.
            true => Vec::new(),
            false => fs::read(place(number, "body")).unwrap_or_default(),
        },
    };
    (0..asks.len()).map(fetched).collect()
}

/// All files below a folder; links are followed.
pub(crate) fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Decodes with the command-line program of the coding.
pub(crate) fn decode(coding: &str, body: &[u8]) -> Vec<u8> {
    let program = match coding {
        "gzip" => "gzip",
        "br" => "brotli",
        "zstd" => "zstd",
        other => panic!("no program for {other}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coded");
    fs::write(&file, body).unwrap();
    let output = Command::new(program)
        .args(["-d", "-c"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed for this test ({error})"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
