//! Several disks, what goes to them, and what a site may keep for itself.

use std::fs::{self, File};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::content::Content;
use crate::support::edge::{Edge, write_site};
use crate::support::origin::Origin;
use crate::support::reply::Reply;

const MEMORY: &str = "[cache.memory]\nsize = \"16MiB\"\n";

/// A disk `name` beside the state, with further settings.
fn disk(name: &str, settings: &str) -> String {
    format!("[[cache.disk]]\npath = \"../{name}\"\nsize = \"128MiB\"\n{settings}\n")
}

/// An origin with `length` bytes under every path.
async fn origin_of(length: u64) -> Origin {
    let origin = Origin::start().await;
    origin.on_any(move |request| {
        let seed = request.path().bytes().map(u64::from).sum();
        Reply::ok(Content::pattern(seed, length)).cache_control("max-age=3600")
    });
    origin
}

async fn metric(edge: &Edge, name: &str) -> u64 {
    let text = edge
        .admin(Method::GET, "/metrics", &Value::Null)
        .await
        .text();
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn refused(edge: &Edge, reason: &str) -> u64 {
    let name = format!("brim_store_refusals_total{{tier=\"disk\",reason=\"{reason}\"}}");
    metric(edge, &name).await
}

async fn inserts(edge: &Edge) -> u64 {
    metric(edge, "brim_store_inserts_total{tier=\"disk\"}").await
}

async fn tiers(edge: &Edge) -> Vec<Value> {
    let answer = edge.admin(Method::GET, "/v1/status", &Value::Null).await;
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    status["tiers"].as_array().unwrap().clone()
}

/// Puts a second site, for the host `other.test`, in front of the same origin.
fn add_site(edge: &Edge, origin: &Origin, settings: &str) {
    write_site(edge.folder.path(), "other", &origin.url(), settings);
    let file = edge.folder.path().join("config/sites/other.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("\"localhost\"", "\"other.test\"");
    fs::write(file, text).unwrap();
}

fn other(edge: &Edge) -> Client {
    edge.http().host("other.test")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_used_leaves_the_other_in_use() {
    let origin = origin_of(10_000).await;
    let node = format!("{MEMORY}{}{}", disk("a", ""), disk("b", ""));
    let edge = Edge::with_node(&origin, "", &node).await;
    for n in 0..20 {
        edge.get(&format!("/{n}")).await;
    }
    let all = tiers(&edge).await;
    assert_eq!(all.len(), 3);
    let up = |tier: &Value| tier["up"] == json!(true);
    assert!(all.iter().all(up), "{all:?}");
    for (tier, name) in all[1..].iter().zip(["a", "b"]) {
        assert_eq!(tier["name"], json!("disk"));
        assert!(tier["detail"].as_str().unwrap().ends_with(name), "{tier}");
    }
    let labelled = |name: &str, disk: &str| {
        let path = edge.folder.path().join("config").join("..").join(disk);
        format!("{name}{{disk=\"{}\"}}", path.display())
    };
    let text = edge
        .admin(Method::GET, "/metrics", &Value::Null)
        .await
        .text();
    let written = |disk: &str| {
        let name = format!("{}\"}}", disk);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("brim_disk_inserts_total"));
        let line = lines.into_iter().find(|line| line.contains(&name));
        line.unwrap_or_else(|| panic!("no {} in {text}", labelled("brim_disk_inserts_total", disk)))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let (on_a, on_b) = (written("/a"), written("/b"));
    assert!(on_a > 0 && on_b > 0, "{on_a} {on_b}");
    assert_eq!(on_a + on_b, inserts(&edge).await);

    // Somebody else has the first one.
    let path = edge.folder.path().to_owned();
    let edge = edge
        .restart_after(|| {
            let thief = File::open(path.join("a/lock")).unwrap();
            thief.try_lock().unwrap();
            thief
        })
        .await;
    let (edge, thief) = edge;
    let all = tiers(&edge).await;
    assert!(!up(&all[1]) && up(&all[2]), "{all:?}");
    let told = all[1]["detail"].as_str().unwrap();
    assert!(told.contains("in use by"), "{told}");
    origin.forget();
    for n in 0..20 {
        assert_eq!(edge.get(&format!("/{n}")).await.body.len(), 10_000);
    }
    let pulled = origin.count();
    assert!((1..20).contains(&pulled), "{pulled}");
    drop(thief);
    // With both again, nothing is lost: what went to the other disk meanwhile is found there.
    let edge = edge.restart().await;
    assert!(tiers(&edge).await.iter().all(up));
    origin.forget();
    for n in 0..20 {
        let answer = edge.get(&format!("/{n}")).await;
        assert!(answer.header("cache-status").contains("detail=disk"));
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_writes_to_its_own_disk_alone() {
    let origin = origin_of(1000).await;
    let node = format!(
        "{MEMORY}{}{}",
        disk("a", ""),
        disk("b", "sites = [\"site\"]")
    );
    let edge = Edge::with_node(&origin, "", &node).await;
    for n in 0..10 {
        edge.get(&format!("/{n}")).await;
    }
    let text = edge
        .admin(Method::GET, "/metrics", &Value::Null)
        .await
        .text();
    let line = |disk: &str| {
        let mut lines = text.lines();
        let name = format!("{disk}\"}} ");
        lines
            .find(|line| line.starts_with("brim_disk_inserts_total") && line.contains(&name))
            .unwrap()
    };
    assert!(line("/a").ends_with(" 0"), "{}", line("/a"));
    assert!(!line("/b").ends_with(" 0"), "{}", line("/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_goes_to_disk_at_its_second_request() {
    let origin = origin_of(10_000).await;
    let node = format!("{MEMORY}{}", disk("a", "min_uses = 2"));
    let edge = Edge::with_node(&origin, "", &node).await;
    edge.get("/once").await;
    edge.get("/twice").await;
    assert_eq!(inserts(&edge).await, 0);
    let again = edge.get("/twice").await;
    assert!(again.header("cache-status").contains("detail=mem"));
    assert_eq!(refused(&edge, "uses").await, 2);
    crate::support::within_deadline("the write", async {
        while inserts(&edge).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let edge = edge.restart().await;
    assert_eq!(inserts(&edge).await, 0);
    let twice = edge.get("/twice").await;
    assert!(twice.header("cache-status").contains("detail=disk"));
    let once = edge.get("/once").await;
    assert!(once.header("cache-status").contains("fwd=uri-miss"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_does_not_take_is_filled_again_and_kept_then() {
    let origin = origin_of(3 << 20).await;
    let node = format!("{MEMORY}{}", disk("a", "min_uses = 2"));
    let edge = Edge::with_node(&origin, "", &node).await;
    for (turn, expect) in ["not-admitted", "stored", "hit"].into_iter().enumerate() {
        let answer = edge.get("/large").await;
        assert_eq!(answer.body.len(), 3 << 20);
        let told = answer.header("cache-status");
        assert!(told.contains(expect), "{turn}: {told}");
        edge.settled().await;
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_what_is_asked_for_once_writes_nothing() {
    let origin = origin_of(5000).await;
    let node = format!("{MEMORY}{}", disk("a", "min_uses = 2"));
    let edge = Edge::with_node(&origin, "", &node).await;
    for n in 0..300 {
        edge.get(&format!("/{n}")).await;
    }
    assert_eq!(inserts(&edge).await, 0);
    assert_eq!(refused(&edge, "uses").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_written_than_the_rate_allows() {
    let origin = origin_of(50_000).await;
    let node = format!("{MEMORY}{}", disk("a", "write_rate = \"1MiB\""));
    let edge = Edge::with_node(&origin, "", &node).await;
    let flood = async |from: u32| {
        let before = inserts(&edge).await;
        for n in from..from + 40 {
            assert_eq!(edge.get(&format!("/{n}")).await.body.len(), 50_000);
        }
        inserts(&edge).await - before
    };
    let first = flood(0).await;
    assert!((15..=21).contains(&first), "{first}");
    assert_eq!(flood(100).await, 0);
    assert!(refused(&edge, "rate").await >= 59);
    edge.pass(Duration::from_secs(1));
    let second = flood(200).await;
    assert!((15..=21).contains(&second), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_memory_keeps_a_flood_of_another_site_away() {
    let origin = origin_of(100_000).await;
    let node = "[cache.memory]\nsize = \"4MiB\"\n";
    let quota = "[cache]\nquota = { memory = \"4MiB\" }\n";
    let edge = Edge::with_node(&origin, quota, node).await;
    add_site(&edge, &origin, "");
    edge.reload(&origin, quota).await;
    for n in 0..15 {
        edge.get(&format!("/mine/{n}")).await;
    }
    for n in 0..200 {
        other(&edge).get(&format!("/{n}")).await.unwrap();
    }
    origin.forget();
    for n in 0..15 {
        let answer = edge.get(&format!("/mine/{n}")).await;
        assert!(answer.header("cache-status").contains("detail=mem"));
    }
    assert_eq!(origin.count(), 0);
    let name = "brim_site_store_capacity_bytes{tier=\"mem\",site=\"site\"}";
    assert_eq!(metric(&edge, name).await, 4 << 20);
    // Without the quota it shares, and is flooded.
    edge.reload(&origin, "").await;
    for n in 0..15 {
        edge.get(&format!("/mine/{n}")).await;
    }
    for n in 1000..1200 {
        other(&edge).get(&format!("/{n}")).await.unwrap();
    }
    origin.forget();
    for n in 0..15 {
        edge.get(&format!("/mine/{n}")).await;
    }
    assert!(origin.count() > 5, "{}", origin.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_disk_is_a_ceiling_for_one_site_and_may_be_raised() {
    let origin = origin_of(100_000).await;
    let node = format!("{MEMORY}{}{}", disk("a", ""), disk("b", ""));
    let quota = "[cache]\nquota = { disk = \"2MiB\" }\n";
    let edge = Edge::with_node(&origin, quota, &node).await;
    add_site(&edge, &origin, "");
    edge.reload(&origin, quota).await;
    for n in 0..60 {
        edge.get(&format!("/{n}")).await;
    }
    let mine = "brim_site_store_bytes{tier=\"disk\",site=\"site\"}";
    let taken = metric(&edge, mine).await;
    assert!((1_800_000..=2 << 20).contains(&taken), "{taken}");
    assert_eq!(inserts(&edge).await + refused(&edge, "quota").await, 60);
    let before = inserts(&edge).await;
    for n in 0..30 {
        other(&edge).get(&format!("/{n}")).await.unwrap();
    }
    assert_eq!(inserts(&edge).await, before + 30);
    edge.reload(&origin, "[cache]\nquota = { disk = \"4MiB\" }\n")
        .await;
    for n in 100..110 {
        edge.get(&format!("/{n}")).await;
    }
    assert_eq!(inserts(&edge).await, before + 40);
}
