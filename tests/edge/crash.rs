//! The program itself, ended without warning: what it confirmed is still true afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::Method;

use crate::support::client::{Answer, Client};
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
        Self::start_by(&mut Command::new(env!("CARGO_BIN_EXE_brim")), folder)
    }

    /// The same in a shell that first runs `before`, which can bound what the program may do.
    fn start_after(before: &str, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
        Self::start_by(shell.arg(env!("CARGO_BIN_EXE_brim")), folder)
    }

    fn start_by(command: &mut Command, folder: &Path) -> Self {
        let mut child = command
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

    async fn purge(&self, folder: &Path, what: &serde_json::Value) -> Answer {
        let token = fs::read_to_string(folder.join("var/admin.token")).unwrap();
        let authorization = format!("Bearer {}", token.trim());
        let fields = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        Client::plain(self.admin)
            .send(
                Method::POST,
                "/v1/purge",
                &fields,
                Bytes::from(what.to_string()),
            )
            .await
            .unwrap()
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Program {
    /// A test that fails leaves no program behind.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn configure(folder: &Path, origin: &Origin) {
    configure_with(
        folder,
        origin,
        "[[cache.disk]]\npath = \"../var/cache\"\nsize = \"256MiB\"\n",
    );
}

fn configure_with(folder: &Path, origin: &Origin, disk: &str) {
    write_site(folder, "site", &origin.url(), "");
    let text = format!(
        "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
        [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
        [cache.memory]\nsize = \"32MiB\"\n{disk}\
        [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n"
    );
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
    let purge = serde_json::json!({"sites": ["site"], "urls": ["/purged"]});
    let receipt = program.purge(folder.path(), &purge).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_folder_refuses_purges_and_the_node_serves_on() {
    let origin = Origin::start().await;
    origin.serve_in_turn(
        "/a",
        (1..9).map(|n| Reply::ok(format!("version {n}")).cache_control("max-age=600")),
    );
    let folder = tempfile::tempdir().unwrap();
    configure_with(folder.path(), &origin, "");
    // No file grows beyond 2 MiB (some shells count in 512 bytes, others in 1024); the signal that would end the
    // program is not taken, so it sees an error as of a full disk.
    let program = Program::start_after("trap '' XFSZ; ulimit -f 2048", folder.path());
    let client = Client::plain(program.http);
    client.get("/a").await.unwrap();
    let one = serde_json::json!({"sites": ["site"], "urls": ["/a"]});
    assert_eq!(program.purge(folder.path(), &one).await.status, 200);
    assert_eq!(client.get("/a").await.unwrap().text(), "version 2");

    let many: Vec<String> = (0..90_000).map(|n| format!("/many/{n}")).collect();
    let many = serde_json::json!({"sites": ["site"], "urls": many, "prefixes": ["/a"]});
    for _ in 0..2 {
        let refused = program.purge(folder.path(), &many).await;
        assert!(refused.status.is_server_error(), "{}", refused.text());
        assert!(refused.text().contains("error"), "{}", refused.text());
        // All or nothing: the prefix of that purge does not hold, and nothing else suffers.
        let answer = client.get("/a").await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &*answer.text()),
            (200, "version 2")
        );
    }
    let metrics = Client::plain(program.admin).get("/metrics").await.unwrap();
    assert!(metrics.text().contains("brim_purge_failures_total 2"));
    // Where there is room for it, a purge goes on to work.
    assert_eq!(program.purge(folder.path(), &one).await.status, 200);
    assert_eq!(client.get("/a").await.unwrap().text(), "version 3");
    program.kill();

    let program = Program::start(folder.path());
    assert_eq!(program.purge(folder.path(), &many).await.status, 200);
    program.kill();
}
