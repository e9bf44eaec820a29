//! The admin commands against a real door.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::arguments::{Command, parse};
use super::client::Client;
use super::{explain, purge};
use crate::admin::fake::FakeNode;
use crate::admin::{Bind, Config, Door, PurgeItem};

struct Edge {
    client: Client,
    node: Arc<FakeNode>,
    door: Option<Door>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Edge {
    fn open(bind: impl FnOnce(&tempfile::TempDir) -> Bind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config {
            bind: bind(&folder),
            tokens: Vec::new(),
        };
        let node = Arc::new(FakeNode::default());
        let control = Arc::<FakeNode>::clone(&node);
        let door = runtime
            .block_on(Door::open(&config, folder.path(), control))
            .unwrap();
        config.bind = door.place().clone();
        // The random token is found in the state folder.
        let client = Client::new(&config, folder.path(), None, "purge").unwrap();
        Self {
            client,
            node,
            door: Some(door),
            runtime,
            _folder: folder,
        }
    }

    fn tcp() -> Self {
        Self::open(|_| Bind::Tcp(([127, 0, 0, 1], 0).into()))
    }

    fn run(&self, line: &str, input: &str) -> anyhow::Result<String> {
        let words = line.split(' ').map(Into::into);
        let invocation = parse(std::iter::once("brim".into()).chain(words))?;
        let mut output = Vec::new();
        match invocation.command {
            Command::Purge(arguments) => {
                purge::run(
                    &self.client,
                    &arguments,
                    &mut input.as_bytes(),
                    &mut output,
                    &mut std::io::sink(),
                )?;
            }
            Command::Explain(arguments) => explain::run(&self.client, &arguments, &mut output)?,
            Command::Serve | Command::Check => panic!("not an admin command"),
        }
        Ok(String::from_utf8(output)?)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            self.runtime.block_on(door.close());
        }
    }
}

#[test]
fn purge_reaches_the_node() {
    let edge = Edge::tcp();
    let said = edge
        .run("purge --site shop --prefix /img/* /css/", "")
        .unwrap();
    assert!(
        said.starts_with("Purged 2 prefixes (sequence 1, id "),
        "{said}"
    );
    let said = edge
        .run("purge --url -", "https://shop.example/a\n")
        .unwrap();
    assert!(said.starts_with("Purged 1 URL (sequence 2, id "), "{said}");
    let said = edge.run("purge --all --site * --soft --json", "").unwrap();
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["counts"]["everything"], 1);
    let purges = edge.node.purges.lock();
    assert_eq!(purges.len(), 3);
    assert_eq!(purges[2].items, [PurgeItem::Everything]);
}

#[test]
fn a_refusal_is_an_error_in_the_nodes_words() {
    let edge = Edge::tcp();
    let error = edge.run("purge --url /a", "").unwrap_err().to_string();
    assert!(error.contains("urls[0] is a path"), "{error}");
    assert!(edge.node.is_untouched());
}

#[test]
fn explain_reads_well_over_a_unix_socket() {
    let edge = Edge::open(|folder| Bind::Unix(folder.path().join("admin.sock")));
    let said = edge
        .run("explain https://shop.example/a -H Accept:image/avif", "")
        .unwrap();
    assert_eq!(
        said,
        "https://shop.example/a\n  site       shop\n  decision   forward\n  reason     uri-miss\n  key        shop|/a\n"
    );
    assert_eq!(
        edge.node.questions.lock()[0].headers["accept"],
        "image/avif"
    );
    let error = edge.run("explain https://other.example/", "").unwrap_err();
    assert!(error.to_string().contains("421"), "{error}");
}
