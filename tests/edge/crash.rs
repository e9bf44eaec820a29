//! The program itself, ended without warning: what it confirmed is still true afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::Method;

use crate::support::client::Client;
use crate::support::content::Content;
use crate::support::edge::write_site;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

struct Program {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    /// Starts it and reads from its first lines where it listens.
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brim"))
            .args(["serve", "--config"])
            .arg(folder.join("config"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |word: &str| -> SocketAddr {
            let line = lines
                .by_ref()
                .map(Result::unwrap)
                .find(|line| line.trim_start().starts_with(word))
                .unwrap();
            line.rsplit("http://")
                .next()
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        };
        let (http, admin) = (address("listener"), address("admin"));
        Self { child, http, admin }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn configure(folder: &Path, origin: &Origin) {
    write_site(folder, "site", &origin.url(), "");
    let text = "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
        [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
        [cache.memory]\nsize = \"32MiB\"\n[[cache.disk]]\npath = \"../var/cache\"\nsize = \"256MiB\"\n\
        [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n";
    fs::write(folder.join("config/edge.toml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_purges_survive_a_kill() {
    let origin = Origin::start().await;
    let large = Content::pattern(8, 2_000_000);
    origin.serve("/small", Reply::ok("small").cache_control("max-age=600"));
    origin.serve(
        "/large",
        Reply::ok(large.clone()).cache_control("max-age=600"),
    );
    origin.serve("/purged", Reply::ok("purged").cache_control("max-age=600"));
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &origin);

    let program = Program::start(folder.path());
    let client = Client::plain(program.http);
    for path in ["/small", "/large", "/purged"] {
        client.get(path).await.unwrap();
    }
    // Objects are on disk a moment after they were served: asking until the node says so.
    let metrics = Client::plain(program.admin);
    crate::support::within_deadline("the disk tier", async {
        loop {
            let text = metrics.get("/metrics").await.unwrap().text();
            let written = text
                .lines()
                .find(|line| line.starts_with("brim_store_waiting_bytes{tier=\"disk\"}"));
            if written.is_some_and(|line| line.ends_with(" 0")) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let token = fs::read_to_string(folder.path().join("var/admin.token")).unwrap();
    let authorization = format!("Bearer {}", token.trim());
    let fields = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let purge = Bytes::from_static(b"{\"sites\":[\"site\"],\"urls\":[\"/purged\"]}");
    let receipt = Client::plain(program.admin)
        .send(Method::POST, "/v1/purge", &fields, purge)
        .await
        .unwrap();
    program.kill();
    assert!(receipt.status.is_success(), "{}", receipt.text());

    let program = Program::start(folder.path());
    let client = Client::plain(program.http);
    assert_eq!(client.get("/small").await.unwrap().text(), "small");
    assert_eq!(client.get("/large").await.unwrap().body, large.to_bytes());
    assert_eq!(origin.count(), 3, "both came from the disk tier");
    client.get("/purged").await.unwrap();
    assert_eq!(
        origin.count_for("/purged"),
        2,
        "the purge was confirmed before the kill"
    );
    program.kill();
}
