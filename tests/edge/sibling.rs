//! Files that lie coded beside their source in a folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::compress::decoded;
use crate::support::client::Answer;
use crate::support::edge::Edge;

const SETTINGS: &str = "[cache]\noverride_ttl = \"60s\"\n[compression]\nupgrade_after_hits = 0\n";
const CODINGS: [(&str, &str); 3] = [("br", "br"), ("zstd", "zst"), ("gzip", "gz")];

fn script(words: u32) -> String {
    (0..words)
        .map(|n| format!("word{} ", n.wrapping_mul(2_654_435_761) >> 20))
        .collect()
}

fn coded(coding: &str, level: u32, content: &str) -> Bytes {
    let coding = brim::variant::Coding::of_token(coding).unwrap();
    brim::variant::encode(coding, level, content.as_bytes()).unwrap()
}

/// A folder with `a.js` and, for each coding, a sibling of this level.
fn folder(content: &str, level: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.js"), content).unwrap();
    for (coding, suffix) in CODINGS {
        let name = format!("a.js.{suffix}");
        fs::write(folder.path().join(name), coded(coding, level, content)).unwrap();
    }
    folder
}

async fn edge(folder: &Path, settings: &str) -> Edge {
    Edge::at(&format!("dir:{}", folder.display()), settings, "").await
}

async fn ask(edge: &Edge, coding: &str) -> Answer {
    edge.get_with("/a.js", &[("accept-encoding", coding)]).await
}

/// The value of a metric of the site, with these labels too.
async fn metric(edge: &Edge, name: &str, labels: &[&str]) -> u64 {
    let answer = edge.admin(Method::GET, "/metrics", &Value::Null).await;
    let text = answer.text();
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| line.contains(label))
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_is_given_from_the_first_answer_on() {
    for words in [4000, 250_000] {
        let content = script(words);
        let folder = folder(&content, 1);
        let edge = edge(folder.path(), SETTINGS).await;
        for (coding, _) in CODINGS {
            let sibling = coded(coding, 1, &content);
            for turn in 0..3 {
                let answer = ask(&edge, coding).await;
                let told = answer.header("cache-status");
                let at = format!("{coding} {turn}: {told}");
                assert_eq!(answer.header("content-encoding"), coding, "{at}");
                assert!(answer.body == sibling, "{at}");
                assert!(told.contains(&format!("{coding};sibling")), "{at}");
                assert_eq!(answer.header("vary"), "Accept-Encoding", "{at}");
                let length = answer.header("content-length");
                assert_eq!(length, sibling.len().to_string(), "{at}");
                if turn > 0 {
                    assert!(told.contains("; hit"), "{at}");
                }
            }
            let labels = [&*format!("coding=\"{coding}\""), "effort=\"sibling\""];
            for (name, expect) in [
                ("brim_codings_jobs_total", 1),
                ("brim_codings_bytes_in_total", content.len()),
                ("brim_codings_bytes_out_total", sibling.len()),
            ] {
                let found = metric(&edge, name, &labels).await;
                assert_eq!(found, expect as u64, "{coding} {name}");
            }
        }
        let told = edge
            .admin(
                Method::GET,
                "/v1/explain?url=https://localhost/a.js&header=accept-encoding:%20br",
                &Value::Null,
            )
            .await;
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(told["variant"], "br;sibling", "{told}");
        let stored = &told["details"]["coding"]["stored"];
        assert_eq!(stored["effort"], "sibling", "{told}");
        assert_eq!(stored["level"], Value::Null, "{told}");
        let plain = ask(&edge, "identity").await;
        assert!(plain.body == content.as_bytes());
        assert_eq!(plain.header("content-encoding"), "");
        assert_eq!(
            metric(&edge, "brim_codings_siblings_refused_total", &[]).await,
            0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_sibling_is_a_form_like_any_other() {
    let content = script(4000);
    let folder = folder(&content, 9);
    let edge = edge(folder.path(), SETTINGS).await;
    let sibling = coded("br", 9, &content);
    let first = ask(&edge, "br").await;
    let tag = first.header("etag");
    assert!(tag.contains(";br."), "{tag}");
    for client in [edge.http(), edge.h1(), edge.h2()] {
        let fields = [("accept-encoding", "br")];
        let head = client
            .send(Method::HEAD, "/a.js", &fields, Bytes::new())
            .await
            .unwrap();
        assert_eq!(head.header("content-length"), sibling.len().to_string());
        assert_eq!(head.header("etag"), tag);
        assert!(head.body.is_empty());
        let plain = edge.get("/a.js").await.header("etag");
        for known in [&tag, &plain] {
            let fields = [("accept-encoding", "br"), ("if-none-match", known.as_str())];
            let answer = client.get_with("/a.js", &fields).await.unwrap();
            assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
            assert_eq!(answer.header("vary"), "Accept-Encoding");
        }
        let fields = [
            ("accept-encoding", "br"),
            ("range", "bytes=10-19"),
            ("if-range", tag.as_str()),
        ];
        let part = client.get_with("/a.js", &fields).await.unwrap();
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.body, sibling[10..20]);
        let fields = [("accept-encoding", "br"), ("range", "bytes=10-19")];
        let part = client.get_with("/a.js", &fields).await.unwrap();
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.body, content.as_bytes()[10..20]);
    }
    // Gone from the tiers, it comes again from the folder, under a tag of its own.
    edge.purge(serde_json::json!({"sites": ["site"], "everything": true}))
        .await;
    let again = ask(&edge, "br").await;
    assert_eq!(again.body, sibling);
    assert_ne!(again.header("etag"), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_that_does_not_hold_the_same_is_never_given() {
    let content = script(4000);
    let other = content.replace("word7", "WORD7");
    let good = coded("gzip", 6, &content);
    let larger = [&good[..], &vec![0; content.len()]].concat();
    for (what, beside, refused) in [
        ("stale", coded("gzip", 6, &other), 1),
        ("cut off", good.slice(..good.len() - 9), 1),
        (
            "not coded",
            Bytes::copy_from_slice(&content.as_bytes()[..900]),
            1,
        ),
        ("another coding", coded("br", 5, &content), 1),
        ("of nothing", coded("gzip", 6, ""), 1),
        (
            "followed by more",
            Bytes::from([&good[..], b"x"].concat()),
            1,
        ),
        (
            "of two members",
            Bytes::from([&good[..], &good[..]].concat()),
            1,
        ),
        ("of more", coded("gzip", 9, &content.repeat(3)), 1),
        ("of no use", Bytes::from(larger), 0),
        ("empty", Bytes::new(), 0),
    ] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.js"), &content).unwrap();
        fs::write(folder.path().join("a.js.gz"), &beside).unwrap();
        let edge = edge(folder.path(), SETTINGS).await;
        for _ in 0..2 {
            let answer = ask(&edge, "gzip").await;
            assert_eq!(answer.header("content-encoding"), "gzip", "{what}");
            let plain = decoded("gzip", &answer.body);
            assert!(plain == content.as_bytes(), "{what}");
            let told = answer.header("cache-status");
            assert!(told.contains("gzip;level=6"), "{what}: {told}");
        }
        let name = "brim_codings_siblings_refused_total";
        assert_eq!(metric(&edge, name, &[]).await, refused, "{what}");
        let labels = ["effort=\"sibling\""];
        assert_eq!(metric(&edge, "brim_codings_jobs_total", &labels).await, 0);
        let labels = ["effort=\"first\""];
        assert_eq!(metric(&edge, "brim_codings_jobs_total", &labels).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_keep_to_the_folder() {
    let content = script(4000);
    let outside = TempDir::new().unwrap();
    let good = coded("br", 11, &content);
    fs::write(outside.path().join("a.js.br"), &good).unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.js"), &content).unwrap();
    fs::write(folder.path().join(".hidden"), &good).unwrap();
    let place = folder.path().join("a.js.br");
    for target in [outside.path().join("a.js.br"), ".hidden".into()] {
        symlink(target, &place).unwrap();
        let edge = edge(folder.path(), SETTINGS).await;
        let told = ask(&edge, "br").await.header("cache-status");
        assert!(told.contains("br;level=5"), "{told}");
        fs::remove_file(&place).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_is_compared_again_when_its_source_has_changed() {
    let content = script(4000);
    let folder = folder(&content, 9);
    let edge = edge(folder.path(), SETTINGS).await;
    assert!(ask(&edge, "br").await.body == coded("br", 9, &content));
    let later = content.replace("word7", "WORD7");
    fs::write(folder.path().join("a.js"), &later).unwrap();
    // Until the source is pulled again, both hold.
    assert!(ask(&edge, "br").await.body == coded("br", 9, &content));
    edge.pass_seconds(70);
    // The sibling is of the file that was there before.
    let own = ask(&edge, "br").await;
    assert!(decoded("br", &own.body) == later.as_bytes());
    assert!(own.header("cache-status").contains("br;level=5"));
    let third = later.replace("word8", "WORD8");
    fs::write(folder.path().join("a.js"), &third).unwrap();
    fs::write(folder.path().join("a.js.br"), coded("br", 9, &third)).unwrap();
    edge.pass_seconds(70);
    let answer = ask(&edge, "br").await;
    assert!(answer.body == coded("br", 9, &third));
    assert!(answer.header("cache-status").contains("br;sibling"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_is_given_from_its_sibling_too() {
    let content = script(4000);
    let folder = folder(&content, 9);
    let edge = edge(folder.path(), "[cache]\nmode = \"off\"\n").await;
    for turn in 1..=2 {
        let answer = ask(&edge, "br").await;
        assert!(answer.body == coded("br", 9, &content));
        let labels = ["effort=\"sibling\""];
        let jobs = metric(&edge, "brim_codings_jobs_total", &labels).await;
        assert_eq!(jobs, turn, "compared each time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_coded_has_no_siblings() {
    let content = script(4000);
    let folder = folder(&content, 9);
    for settings in [
        "[compression]\nmax_size = \"10KiB\"\n",
        "[compression]\nenabled = false\n",
        "[compression]\ntypes = [\"text/css\"]\n",
    ] {
        let edge = edge(folder.path(), settings).await;
        let answer = ask(&edge, "br").await;
        assert_eq!(answer.header("content-encoding"), "", "{settings}");
        assert!(answer.body == content.as_bytes());
    }
}

/// Asks until an upgrade has come out so.
async fn upgraded(edge: &Edge, outcome: &str) {
    let labels = [&*format!("outcome=\"{outcome}\"")];
    for _ in 0..600 {
        ask(edge, "br").await;
        if metric(edge, "brim_codings_upgrades_total", &labels).await > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no upgrade was {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_sibling_of_a_poor_level_is_made_again() {
    let settings = "[cache]\noverride_ttl = \"600s\"\n[compression]\nupgrade_after_hits = 2\n";
    let content = script(4000);
    for (level, outcome) in [(1, "better"), (11, "no-better")] {
        let folder = folder(&content, level);
        let sibling = coded("br", level, &content);
        let edge = edge(folder.path(), settings).await;
        assert!(ask(&edge, "br").await.body == sibling);
        upgraded(&edge, outcome).await;
        let last = ask(&edge, "br").await;
        let told = last.header("cache-status");
        assert!(decoded("br", &last.body) == content.as_bytes());
        if outcome == "better" {
            assert!(last.body.len() * 100 <= sibling.len() * 99);
            assert!(told.contains("br;level=11;best"), "{told}");
        } else {
            assert!(last.body == sibling);
            assert!(told.contains("br;sibling;best"), "{told}");
        }
    }
}
