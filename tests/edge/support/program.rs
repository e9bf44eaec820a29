//! The program itself, as an operator starts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::client::Client;
use super::content::Content;
use super::edge::write_site;
use super::origin::Origin;
use super::reply::Reply;

/// What each resource of its origin is long.
pub const BYTES: u64 = 40_000;

/// The program, in front of an origin that has `pattern(number, BYTES)` at `/number`; it ends with its handle.
pub struct Program {
    child: Child,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    /// What it has said on standard error.
    pub said: Arc<Mutex<String>>,
    pub origin: Origin,
    pub folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Program {
    /// Starts it with these tiers and limits; `prepare` may spoil its folder before.
    pub async fn start(node: &str, prepare: impl FnOnce(&Path)) -> Self {
        let origin = Origin::start().await;
        origin.on_any(|request| {
            let number: u64 = request.path()[1..].parse().unwrap();
            Reply::ok(Content::pattern(number, BYTES)).cache_control("max-age=600")
        });
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), "site", &origin.url(), "");
        let text = format!(
            "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
             [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
             [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n{node}"
        );
        fs::write(folder.path().join("config/edge.toml"), text).unwrap();
        prepare(folder.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_brim"))
            .args(["serve", "--config"])
            .arg(folder.path().join("config"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let hearing = Arc::clone(&said);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = hearing.lock();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |word: &str| -> SocketAddr {
            let line = lines
                .by_ref()
                .map(Result::unwrap)
                .find(|line| line.trim_start().starts_with(word))
                .unwrap();
            let text = line.rsplit("http://").next().unwrap();
            text.trim().parse().unwrap()
        };
        let (http, admin) = (address("listener"), address("admin"));
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            http,
            admin,
            said,
            origin,
            folder,
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The number of a series.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = Client::plain(self.admin).get("/metrics").await;
        let text = text.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} in {text}"))
            .trim()
            .parse()
            .unwrap()
    }
}
