//! A node of the test's own: configured by files, on ports of the system's choice, with a clock that the
//! test moves.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brim::clock::{ManualClock, SharedClock};
use brim::config;
use brim::node::{Node, Resident};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Answer, Client};
use super::origin::Origin;
use super::within_deadline;

/// A running node; it ends with its handle.
pub struct Edge {
    node: Option<Node>,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
}

impl Edge {
    /// One site for `localhost` in front of `origin`, all settings at their defaults.
    pub async fn before(origin: &Origin) -> Self {
        Self::with(origin, "").await
    }

    /// The same with further lines in the site's file.
    pub async fn with(origin: &Origin, settings: &str) -> Self {
        Self::with_node(origin, settings, "").await
    }

    /// The same with further lines in the node's file.
    pub async fn with_node(origin: &Origin, settings: &str, node: &str) -> Self {
        Self::at(&origin.url(), settings, node).await
    }

    /// The same in front of any origin, by its URL.
    pub async fn at(url: &str, settings: &str, node: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), "site", url, settings);
        write_node(folder.path(), node);
        let clock = Arc::new(ManualClock::starting_at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        ));
        Self::start(folder, clock).await
    }

    /// The same, and what the process takes of the memory is what `resident` says.
    pub async fn watching(
        origin: &Origin,
        settings: &str,
        node: &str,
        resident: Box<dyn Resident>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), "site", &origin.url(), settings);
        write_node(folder.path(), node);
        let clock = Arc::new(ManualClock::starting_at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        ));
        let place = folder.path().join("config");
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let node = tokio::task::spawn_blocking(move || {
            let config = config::load(&place).unwrap_or_else(|errors| panic!("{errors}"));
            Node::start_watching(config, &shared, resident)
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .await
        .unwrap();
        Self {
            node: Some(node),
            clock,
            folder,
        }
    }

    async fn start(folder: TempDir, clock: Arc<ManualClock>) -> Self {
        let place = folder.path().join("config");
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let node = tokio::task::spawn_blocking(move || {
            let config = config::load(&place).unwrap_or_else(|errors| panic!("{errors}"));
            Node::start(config, &shared).unwrap_or_else(|error| panic!("{error}"))
        })
        .await
        .unwrap();
        Self {
            node: Some(node),
            clock,
            folder,
        }
    }

    /// Drains, stops, and starts again on the same state and cache.
    pub async fn restart(self) -> Self {
        self.restart_after(|| ()).await.0
    }

    /// The same, with something done in between.
    pub async fn restart_after<R>(mut self, between: impl FnOnce() -> R) -> (Self, R) {
        let node = self.node.take().unwrap();
        tokio::task::spawn_blocking(move || node.drain())
            .await
            .unwrap();
        let (folder, clock) = (
            std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()),
            Arc::clone(&self.clock),
        );
        let done = between();
        (Self::start(folder, clock).await, done)
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Changes the site's file and takes the new configuration.
    pub async fn reload(&self, origin: &Origin, settings: &str) {
        write_site(self.folder.path(), "site", &origin.url(), settings);
        let config = config::load(&self.folder.path().join("config"))
            .unwrap_or_else(|errors| panic!("{errors}"));
        tokio::task::block_in_place(|| self.node().reload(config)).unwrap();
    }

    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub fn pass_seconds(&self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    pub fn http(&self) -> Client {
        Client::plain(self.address("http"))
    }

    pub fn h1(&self) -> Client {
        Client::h1(self.address("https"))
    }

    pub fn h2(&self) -> Client {
        Client::h2(self.address("https"))
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        let addresses = self.node().addresses();
        let found = addresses.iter().find(|(name, _)| **name == *listener);
        found.unwrap().1
    }

    /// `GET target`, which must be answered whole.
    pub async fn get(&self, target: &str) -> Answer {
        self.http().get(target).await.unwrap()
    }

    pub async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.http().get_with(target, fields).await.unwrap()
    }

    /// Waits until `count` requests wait for or read from running fetches.
    pub async fn readers(&self, count: usize) {
        let cache = self.node().pipeline().cache();
        within_deadline("readers of running fetches", async {
            while cache.flight_readers() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Waits until no fetch is under way that others could join: what was fetched is stored then.
    pub async fn settled(&self) {
        let cache = self.node().pipeline().cache();
        within_deadline("the end of all fetches", async {
            while cache.flights_under_way() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Waits until no more than `count` requests do so.
    pub async fn readers_at_most(&self, count: usize) {
        let cache = self.node().pipeline().cache();
        within_deadline("readers leaving", async {
            while cache.flight_readers() > count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Asks the admin door with its token.
    pub async fn admin(&self, method: Method, target: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.node().admin_token());
        let fields = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let address = self.node().admin_address().unwrap();
        Client::plain(address)
            .send(method, target, &fields, body)
            .await
            .unwrap()
    }

    /// Purges; gives the receipt.
    pub async fn purge(&self, what: Value) -> Value {
        let answer = self.admin(Method::POST, "/v1/purge", &what).await;
        assert!(
            answer.status.is_success(),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let Some(node) = self.node.take() else { return };
        // A node blocks while it ends, which a test's runtime does not allow on its own threads.
        let ended = std::thread::spawn(move || drop(node)).join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the node panicked while it ended"
        );
    }
}

/// Writes `sites/<name>.toml` for `localhost` in front of `url`.
pub fn write_site(folder: &Path, name: &str, url: &str, settings: &str) {
    let sites = folder.join("config/sites");
    fs::create_dir_all(&sites).unwrap();
    let (top, tables) = settings.split_once("---\n").unwrap_or(("", settings));
    let (origin, tables) = tables.split_once("+++\n").unwrap_or(("", tables));
    let text = format!(
        "name = \"{name}\"\nhosts = [\"localhost\"]\n{top}\n[origin]\nurl = \"{url}\"\n{origin}\n{tables}\n"
    );
    fs::write(sites.join(format!("{name}.toml")), text).unwrap();
}

fn write_node(folder: &Path, settings: &str) {
    let (listener, rest) = settings.split_once("---\n").unwrap_or(("", settings));
    let disk = if rest.contains("[cache.memory]") {
        ""
    } else {
        "[cache.memory]\nsize = \"32MiB\"\n[[cache.disk]]\npath = \"../var/cache\"\nsize = \"256MiB\"\n"
    };
    let text = format!(
        "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\nworkers = 2\n\
         [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n{listener}\n\
         [[listener]]\nname = \"https\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\", \"h2\"]\ntls = true\n\
         [tls]\nself_signed = [\"localhost\"]\n{disk}\n\
         [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n{rest}\n"
    );
    fs::write(folder.join("config/edge.toml"), text).unwrap();
}
