//! A purge holds from its answer on: every variant, every tier, running fills, restarts.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::edge::{Edge, write_site};
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

fn numbered(origin: &Origin, path: &str) {
    let text = |number: usize| {
        format!(
            "version {number} {}",
            "of a text that is worth compressing ".repeat(20)
        )
    };
    let replies = (1..20).map(|number| {
        Reply::ok(text(number))
            .cache_control("max-age=600")
            .header("content-type", "text/plain")
            .header("etag", &format!("\"{number}\""))
            .header("surrogate-key", "red blue")
    });
    origin.serve_in_turn(path, replies.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_purge_takes_every_variant() {
    let origin = Origin::start().await;
    numbered(&origin, "/dir/a");
    let edge = Edge::before(&origin).await;
    for (turn, what) in [
        json!({"urls": ["https://localhost/dir/a"]}),
        json!({"sites": ["site"], "urls": ["/dir/a"]}),
        json!({"sites": ["site"], "prefixes": ["/dir/"]}),
        json!({"sites": ["site"], "prefixes": ["/di*"]}),
        json!({"sites": ["site"], "tags": ["blue"]}),
        json!({"sites": ["site"], "everything": true}),
        json!({"everything": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let expect = format!("version {}", turn + 1);
        for coding in ["identity", "gzip", "identity", "gzip"] {
            let answer = edge
                .get_with("/dir/a", &[("accept-encoding", coding)])
                .await;
            if coding == "identity" {
                assert!(
                    answer.text().starts_with(&expect),
                    "{what}: {}",
                    &answer.text()[..12]
                );
            }
            assert!(
                answer
                    .header("etag")
                    .starts_with(&format!("\"{}", turn + 1)),
                "{what}: {}",
                answer.header("etag")
            );
        }
        edge.purge(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_what_it_does_not_name() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    numbered(&origin, "/ab");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.get("/ab").await;
    edge.purge(json!({"sites": ["site"], "urls": ["/a"]})).await;
    edge.purge(json!({"sites": ["site"], "prefixes": ["/a/"]}))
        .await;
    edge.purge(json!({"sites": ["site"], "tags": ["blu"]}))
        .await;
    assert!(edge.get("/ab").await.header("cache-status").contains("hit"));
    assert_eq!((origin.count_for("/a"), origin.count_for("/ab")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_for_a_fill_that_was_running() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let old = Reply::ok("old")
        .cache_control("max-age=600")
        .hold_body(1, &gate);
    origin.serve_in_turn("/a", [old, Reply::ok("new").cache_control("max-age=600")]);
    let edge = Edge::before(&origin).await;
    let mut running = edge.http().open("/a", &[]).await.unwrap();
    running.until(1).await.unwrap();
    edge.purge(json!({"sites": ["site"], "urls": ["/a"]})).await;
    assert_eq!(
        edge.get("/a").await.text(),
        "new",
        "a request after the purge does not join the older fill"
    );
    gate.open();
    assert_eq!(
        running.whole().await.unwrap().text(),
        "old",
        "whoever asked before it may have the old one"
    );
    assert_eq!(
        edge.get("/a").await.text(),
        "new",
        "the older fill, finished later, does not come back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_after_a_restart() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.purge(json!({"sites": ["site"], "tags": ["red"]}))
        .await;
    let edge = edge.restart().await;
    assert!(edge.get("/a").await.text().starts_with("version 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_makes_stale_and_validates() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.purge(json!({"sites": ["site"], "urls": ["/a"], "soft": true}))
        .await;
    let answer = edge.get("/a").await;
    assert!(
        answer.header("cache-status").contains("fwd=stale"),
        "{}",
        answer.header("cache-status")
    );
    assert_eq!(
        origin.requests_for("/a")[1].header("if-none-match"),
        Some("\"1\"")
    );
}

async fn purge_by_method(client: &Client, target: &str, fields: &[(&str, &str)]) -> Answer {
    let method = Method::from_bytes(b"PURGE").unwrap();
    client
        .send(method, target, fields, Bytes::new())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_purge_is_refused_to_all_whom_the_site_does_not_name() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::with(
        &origin,
        "[purge]\npublic = { allow_ips = [\"192.0.2.0/24\"], token = \"a-long-enough-secret\" }\n",
    )
    .await;
    edge.get("/a").await;
    let plain = edge
        .http()
        .send(Method::DELETE, "/a", &[], Bytes::new())
        .await
        .unwrap();
    for fields in [
        &[][..],
        &[("authorization", "Bearer a-long-enough-secre")],
        &[("authorization", "Bearer a-long-enough-secrets")],
        &[("authorization", "Basic a-long-enough-secret")],
        &[("authorization", "a-long-enough-secret")],
        &[("authorization", "Bearer")],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("forwarded", "for=192.0.2.1")],
    ] {
        for client in [edge.http(), edge.h2()] {
            let answer = purge_by_method(&client, "/a", fields).await;
            // As to any method that is not there.
            assert_eq!(answer.status, 405, "{fields:?}");
            assert_eq!(answer.header("allow"), plain.header("allow"));
            assert!(!answer.text().to_lowercase().contains("purge"));
        }
    }
    assert!(edge.get("/a").await.header("cache-status").contains("hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_in_the_sites_file_nobody_purges_by_method() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    for settings in ["", "[purge]\npublic = { allow_ips = [], token = \"\" }\n"] {
        let edge = Edge::with(&origin, settings).await;
        edge.get("/a").await;
        for fields in [&[][..], &[("authorization", "Bearer ")]] {
            let answer = purge_by_method(&edge.http(), "/a", fields).await;
            assert_eq!(answer.status, 405);
        }
        assert!(edge.get("/a").await.header("cache-status").contains("hit"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_purge_takes_every_variant_of_its_url_and_no_other() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    numbered(&origin, "/b");
    for settings in [
        "[purge]\npublic = { allow_ips = [\"127.0.0.1\"] }\n",
        "[purge]\npublic = { token = \"a-long-enough-secret\" }\n",
    ] {
        let edge = Edge::with(&origin, settings).await;
        let token = [("authorization", "bearer a-long-enough-secret")];
        let codings = ["identity", "gzip", "br"];
        for coding in codings {
            edge.get_with("/a?x=1", &[("accept-encoding", coding)])
                .await;
        }
        edge.get("/b").await;
        edge.get("/a").await;
        let before = origin.count();
        for client in [edge.http(), edge.h2()] {
            let answer = purge_by_method(&client, "/./a?x=1", &token).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("cache-control"), "no-store");
            let receipt: Value = serde_json::from_slice(&answer.body).unwrap();
            let id = receipt["id"].as_str().unwrap();
            let record = edge
                .admin(Method::GET, &format!("/v1/purge/{id}"), &Value::Null)
                .await;
            let record: Value = serde_json::from_slice(&record.body).unwrap();
            assert_eq!(record["sequence"], receipt["sequence"]);
            assert_eq!(
                (&record["token"], &record["sites"]),
                (&json!("PURGE"), &json!(["site"]))
            );
        }
        for coding in codings {
            let answer = edge
                .get_with("/a?x=1", &[("accept-encoding", coding)])
                .await;
            assert!(answer.status.is_success());
        }
        assert_eq!(
            origin.count() - before,
            1,
            "one new version for all codings"
        );
        for other in ["/a", "/b"] {
            assert!(edge.get(other).await.header("cache-status").contains("hit"));
        }
        let metrics = Client::plain(edge.node().admin_address().unwrap());
        let metrics = metrics.get("/metrics").await.unwrap().text();
        assert!(
            metrics.contains("brim_purges_total{target=\"url\",mode=\"hard\"} 2"),
            "{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_purge_may_be_soft_and_is_bounded_in_rate() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::with(
        &origin,
        "[purge]\npublic = { allow_ips = [\"127.0.0.0/8\"] }\n",
    )
    .await;
    edge.get("/a").await;
    let soft = [("soft-purge", "1")];
    assert_eq!(purge_by_method(&edge.http(), "/a", &soft).await.status, 200);
    let answer = edge.get("/a").await;
    assert!(answer.header("cache-status").contains("fwd=stale"));

    let mut connection = edge.http().connect().await.unwrap();
    let mut refused = None;
    for _ in 0..200 {
        let method = Method::from_bytes(b"PURGE").unwrap();
        let answer = connection
            .send(method, "/a", &[], Bytes::new())
            .await
            .unwrap();
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the clock stands still, so nothing refills");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "1");
    edge.pass_seconds(1);
    assert_eq!(purge_by_method(&edge.http(), "/a", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_what_was_purged_when_and_outlives_a_restart() {
    let origin = Origin::start().await;
    let edge = Edge::before(&origin).await;
    edge.pass(Duration::from_millis(1500));
    let what = json!({"sites": ["site"], "urls": ["/a", "/b?c"], "tags": ["t"], "soft": true});
    let record = edge.purge(what).await;
    assert_eq!(record["time"], "2027-01-15T08:00:01.500Z");
    assert_eq!(record["sequence"], 1);
    assert_eq!(
        (&record["counts"]["urls"], &record["counts"]["tags"]),
        (&json!(2), &json!(1))
    );
    let target = format!("/v1/purge/{}", record["id"].as_str().unwrap());
    let find = async |edge: &Edge| -> Value {
        let answer = edge.admin(Method::GET, &target, &Value::Null).await;
        serde_json::from_slice(&answer.body).unwrap()
    };
    assert_eq!(find(&edge).await, record);
    let edge = edge.restart().await;
    assert_eq!(find(&edge).await, record);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_items_are_one_purge_and_every_mistake_has_its_place() {
    let origin = Origin::start().await;
    numbered(&origin, "/u/77");
    let edge = Edge::with(&origin, "[images]\nenabled = true\n").await;
    edge.get("/u/77").await;
    let urls: Vec<String> = (0..10_000)
        .map(|n| format!("https://localhost/u/{n}"))
        .collect();
    let record = edge.purge(json!({ "urls": urls })).await;
    assert_eq!(record["counts"]["urls"], 10_000);
    assert_eq!(edge.get("/u/77").await.text().get(..9), Some("version 2"));

    // The last two are such that only the site itself can tell.
    let urls = ["/ok", "/%00", "/a.jpg?width=-1", "relative"];
    let answer = edge
        .admin(
            Method::POST,
            "/v1/purge",
            &json!({"sites": ["site"], "urls": urls[..3]}),
        )
        .await;
    assert_eq!(answer.status, 400);
    let text: Value = serde_json::from_slice(&answer.body).unwrap();
    let errors: Vec<&str> = text["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error.as_str().unwrap())
        .collect();
    assert_eq!(errors.len(), 2, "{text}");
    assert!(errors[0].starts_with("urls[1] '/%00': "), "{text}");
    assert!(
        errors[1].starts_with("urls[2] '/a.jpg?width=-1': "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_keeps_its_hosts_apart_is_purged_by_host_whatever_the_port() {
    let origin = Origin::start().await;
    numbered(&origin, "/d/a");
    let settings = "[cache.key]\nhost = true\n";
    let edge = Edge::with(&origin, settings).await;
    write_site(edge.folder.path(), "site", &origin.url(), settings);
    let file = edge.folder.path().join("config/sites/site.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[\"localhost\"]", "[\"localhost\", \"other.test\"]");
    std::fs::write(&file, text).unwrap();
    let config = brim::config::load(&edge.folder.path().join("config")).unwrap();
    tokio::task::block_in_place(|| edge.node().reload(config)).unwrap();

    let hosts = ["localhost", "localhost:8080", "other.test", "other.test:81"];
    let get = async |host: &str| {
        let client = edge.http().host(host);
        let answer = client.get("/d/a").await.unwrap();
        answer.header("cache-status").contains("; hit")
    };
    for (what, hit) in [
        (
            json!({"urls": ["https://localhost/d/a"]}),
            [false, false, true, true],
        ),
        (
            json!({"urls": ["http://localhost:9999/d/a"]}),
            [false, false, true, true],
        ),
        (
            json!({"urls": ["http://other.test/*"]}),
            [true, true, false, false],
        ),
        (
            json!({"prefixes": ["http://other.test:7/d/"]}),
            [true, true, false, false],
        ),
        (json!({"sites": "site", "urls": ["/d/a"]}), [false; 4]),
        (json!({"sites": "site", "prefixes": ["/d/*"]}), [false; 4]),
        (json!({"sites": "site", "urls": ["/d/b"]}), [true; 4]),
    ] {
        for host in hosts {
            get(host).await;
            assert!(get(host).await, "{host}");
        }
        edge.purge(what.clone()).await;
        for (host, hit) in hosts.iter().zip(hit) {
            assert_eq!(get(host).await, hit, "{what} {host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_policy_of_the_site_is_that_of_its_purges() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::with(
        &origin,
        "[cache.key]\nquery = { mode = \"exclude\", names = [\"utm\"], sort = true }\n",
    )
    .await;
    edge.get("/a?x=1&y=2").await;
    edge.purge(json!({"urls": ["https://localhost/a?y=2&utm=z&x=1"]}))
        .await;
    assert!(edge.get("/a?x=1&y=2").await.text().starts_with("version 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_for_caches_reach_no_client_in_any_form_of_answer() {
    let origin = Origin::start().await;
    let tagged = |reply: Reply| {
        reply
            .header("surrogate-key", "secret-tag other")
            .header("cache-tag", "secret-tag,other")
    };
    let fresh = Reply::ok("a text that is long enough for a range")
        .cache_control("max-age=60")
        .header("etag", "\"1\"");
    origin.serve("/fresh", tagged(fresh));
    origin.serve("/private", tagged(Reply::ok("x").cache_control("private")));
    origin.serve("/none", tagged(Reply::status(404)));
    origin.serve("/broken", tagged(Reply::status(500)));
    let stale = Reply::ok("s").cache_control("max-age=1, stale-if-error=600");
    origin.serve_in_turn("/stale", [tagged(stale), tagged(Reply::status(503))]);
    let untagged = "[cache]\ntags = []\n";
    for settings in [
        "",
        untagged,
        "[cache]\ntags = [\"Cache-Tag\"]\nmode = \"off\"\n",
    ] {
        let edge = Edge::with(&origin, settings).await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            for client in [edge.http(), edge.h2()] {
                answers.push(client.get("/fresh").await.unwrap());
                answers.push(client.head("/fresh").await.unwrap());
                for fields in [
                    ("if-none-match", "\"1\""),
                    ("range", "bytes=2-5"),
                    ("range", "bytes=0-1,4-5"),
                    ("range", "bytes=900-"),
                    ("accept-encoding", "gzip"),
                    ("if-match", "\"2\""),
                    ("authorization", "Basic eDp5"),
                ] {
                    answers.push(client.get_with("/fresh", &[fields]).await.unwrap());
                }
                for path in ["/private", "/none", "/broken", "/stale"] {
                    answers.push(client.get(path).await.unwrap());
                }
            }
            edge.pass_seconds(10);
        }
        let statuses: std::collections::BTreeSet<u16> = answers
            .iter()
            .map(|answer| answer.status.as_u16())
            .collect();
        for status in [200, 206, 304, 404, 416, 500] {
            assert!(statuses.contains(&status), "{statuses:?} {settings}");
        }
        for answer in &answers {
            assert!(!answer.headers.contains_key("surrogate-key"), "{answer:?}");
            assert!(!answer.headers.contains_key("cache-tag"), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_long_tags_purges_and_one_too_many_makes_any_of_them_purge() {
    let origin = Origin::start().await;
    let tags: Vec<String> = (0..64).map(|n| format!("{n:0>255}")).collect();
    let reply = |tags: &[String]| {
        Reply::ok("x")
            .cache_control("max-age=600")
            .header("surrogate-key", &tags.join(" "))
    };
    origin.serve("/full", reply(&tags));
    let many: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    origin.serve("/over", reply(&many));
    let edge = Edge::before(&origin).await;
    let is_hit = async |path: &str| {
        let answer = edge.get(path).await;
        answer.header("cache-status").contains("; hit")
    };
    for tag in [&tags[0], &tags[31], &tags[63]] {
        is_hit("/full").await;
        assert!(is_hit("/full").await);
        edge.purge(json!({"sites": "site", "tags": [tag]})).await;
        assert!(!is_hit("/full").await, "{tag}");
    }
    is_hit("/over").await;
    for tag in ["t0", "t199", "of-nothing"] {
        assert!(is_hit("/over").await);
        edge.purge(json!({"sites": "site", "tags": [tag]})).await;
        assert!(!is_hit("/over").await, "{tag}");
    }
    // What has few tags is not touched by those of others.
    assert!(is_hit("/full").await);
    let metrics = Client::plain(edge.node().admin_address().unwrap());
    let metrics = metrics.get("/metrics").await.unwrap().text();
    assert!(
        metrics.contains("brim_tag_overflows_total{site=\"site\"}"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_rules_purge_like_those_of_responses() {
    let origin = Origin::start().await;
    numbered(&origin, "/assets/a");
    numbered(&origin, "/b");
    let edge = Edge::with(
        &origin,
        "[[rule]]\nwhen = { path = [\"/assets/**\"] }\ntags = { add = [\"assets\"] }\n",
    )
    .await;
    for path in ["/assets/a", "/b"] {
        edge.get(path).await;
    }
    edge.purge(json!({"sites": "site", "tags": ["assets"]}))
        .await;
    assert!(edge.get("/assets/a").await.text().starts_with("version 2"));
    assert!(edge.get("/b").await.text().starts_with("version 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_when_the_clock_steps_back_an_hour() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.clock.step_back(Duration::from_hours(1));
    edge.purge(json!({"urls": ["https://localhost/a"]})).await;
    assert!(edge.get("/a").await.text().starts_with("version 2"));
    edge.clock.step_back(Duration::from_hours(1));
    assert!(edge.get("/a").await.text().starts_with("version 2"));
    edge.purge(json!({"sites": "site", "tags": ["red"]})).await;
    let edge = edge.restart().await;
    assert!(edge.get("/a").await.text().starts_with("version 3"));
    edge.pass(Duration::from_hours(2));
    assert!(!edge.get("/a").await.text().starts_with("version 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_site_purges_nothing_of_another() {
    let origin = Origin::start().await;
    numbered(&origin, "/a");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "a-token-of-one-site").unwrap();
    let node = format!(
        "[[admin.tokens]]\nname = \"ci\"\nsecret = {{ file = \"{}\" }}\nallow = [\"purge\"]\nsites = [\"elsewhere\"]\n",
        secret.path().display()
    );
    let edge = Edge::before(&origin).await;
    let file = edge.folder.path().join("config/edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + &node).unwrap();
    let other = "hosts = [\"elsewhere.test\"]\n[origin]\nurl = \"http://127.0.0.1:9\"\n";
    std::fs::write(
        edge.folder.path().join("config/sites/elsewhere.toml"),
        other,
    )
    .unwrap();
    let edge = edge.restart().await;
    edge.get("/a").await;
    edge.purge(json!({"urls": ["https://elsewhere.test/a"]}))
        .await;
    for what in [
        json!({"urls": ["https://localhost/a"]}),
        json!({"urls": ["https://localhost/*"]}),
        json!({"prefixes": ["https://localhost/"]}),
        json!({"tags": ["red"]}),
        json!({"everything": true}),
        json!({"sites": "*", "tags": ["red"]}),
        json!({"sites": ["*"], "everything": true}),
        json!({"sites": ["site"], "urls": ["/a"]}),
        json!({"sites": ["elsewhere", "site"], "tags": ["red"]}),
        json!({"sites": ["site", "elsewhere"], "everything": true}),
        json!({"urls": ["https://LOCALHOST./a"]}),
        json!({"urls": ["https://unknown.test/a"]}),
    ] {
        let answer = edge.admin(Method::POST, "/v1/purge", &what).await;
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    }
    // A path is of no site in particular.
    for what in [json!({"urls": ["/a"]}), json!({"prefixes": ["/"]})] {
        let answer = edge.admin(Method::POST, "/v1/purge", &what).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    }
    for (method, target) in [
        (Method::GET, "/v1/status"),
        (Method::POST, "/v1/reload"),
        (Method::POST, "/v1/drain"),
        (Method::GET, "/v1/explain?url=https://localhost/a"),
    ] {
        assert_eq!(edge.admin(method, target, &Value::Null).await.status, 403);
    }
    assert!(
        edge.get("/a")
            .await
            .header("cache-status")
            .contains("; hit")
    );
}
