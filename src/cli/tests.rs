//! The admin commands against a real door.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::arguments::{Command, parse};
use super::client::Client;
use super::{explain, purge, warm};
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
            Command::Warm(arguments) => {
                let mut progress = Vec::new();
                let ended = warm::run(
                    &self.client,
                    &arguments,
                    &mut input.as_bytes(),
                    &mut output,
                    Some(&mut progress),
                );
                let progress = String::from_utf8(progress)?;
                assert!(progress.is_empty() || progress.contains('\r'));
                if let Err(error) = ended {
                    return Err(error.context(String::from_utf8(output)?));
                }
            }
            Command::Serve | Command::Check | Command::Sign(_) => panic!("not an admin command"),
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

#[test]
fn warm_reads_a_list_and_says_what_came_of_it() {
    let edge = Edge::tcp();
    let list = "# the start page\n/\n\n https://shop.example/a # and why\n/hit/1\n/private/1\n";
    let said = edge.run("warm --site shop -", list).unwrap();
    assert_eq!(
        said,
        "Warmed 4 of 4: 1 hit, 2 filled (8 bytes), 1 uncacheable, 0 failed.\n  \
         uncacheable: 1 private\n"
    );
    let pulls = edge.node.pulls.lock();
    assert_eq!(pulls.len(), 4);
}

#[test]
fn warm_fails_when_a_url_fails_and_names_it() {
    let edge = Edge::tcp();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list");
    std::fs::write(&file, "/gone/1\n/gone/2\nnonsense\n/a\n").unwrap();
    let line = format!("warm --site shop {}", file.display());
    let error = edge.run(&line, "").unwrap_err();
    let said = format!("{error:#}");
    for part in [
        "Warmed 4 of 4: 0 hits, 1 filled (4 bytes), 0 uncacheable, 3 failed.",
        "failed: 1 bad-url, 2 status-404",
        "  /gone/1: status-404\n",
        "nonsense: bad-url, a URL begins with",
        "3 of 4 could not be warmed",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let missing = edge
        .run("warm --site shop /nonexistent/list", "")
        .unwrap_err();
    assert!(format!("{missing:#}").contains("/nonexistent/list"));
}

#[test]
fn warm_sends_long_lists_in_parts_and_variants_with_each() {
    let edge = Edge::tcp();
    let list = "/a\n".repeat(warm::BATCH + 1);
    let said = edge
        .run(
            "warm --site shop --json --accept-encoding br --concurrency 64",
            &list,
        )
        .unwrap();
    let done: Vec<u64> = said
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["done"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(done, [warm::BATCH as u64, 1]);
    assert_eq!(edge.node.pulls.lock()[0].headers["accept-encoding"], "br");
}

#[test]
fn warm_says_what_the_node_says() {
    let edge = Edge::tcp();
    let error = edge.run("warm --site nope -", "/a\n").unwrap_err();
    assert!(format!("{error:#}").contains("There is no site 'nope'."));
    let error = edge.run("warm --site shop -", "# nothing\n").unwrap_err();
    assert!(
        format!("{error:#}").contains("the list is empty"),
        "{error:#}"
    );
}
