//! Content codings: made once, stored, told apart by tag (RFC 9110 §8.4, §12.5.3).

use std::io::Read;

use bytes::Bytes;
use sha2::Digest as _;

use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

fn text() -> String {
    "a line that is there again and again, as lines of scripts are\n".repeat(2000)
}

pub(crate) fn decoded(coding: &str, body: &Bytes) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => {
            flate2::read::MultiGzDecoder::new(&body[..])
                .read_to_end(&mut out)
                .unwrap();
        }
        "br" => {
            brotli::Decompressor::new(&body[..], 4096)
                .read_to_end(&mut out)
                .unwrap();
        }
        "zstd" => out = zstd::stream::decode_all(&body[..]).unwrap(),
        _ => out.extend_from_slice(body),
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn every_coding_gives_the_origins_bytes_and_is_then_a_hit() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/a.js",
        Resource::new(text())
            .etag("\"1\"")
            .header("content-type", "application/javascript")
            .cache_control("max-age=60"),
    );
    let edge = Edge::before(&origin).await;
    for turn in 0..2 {
        for client in [edge.http(), edge.h1(), edge.h2()] {
            for (accept, coding) in [
                ("gzip", "gzip"),
                ("br", "br"),
                ("zstd", "zstd"),
                ("gzip;q=0.5, br;q=0.9", "br"),
                ("gzip;q=0.9, br;q=0.9, zstd", "zstd"),
                ("identity", ""),
                ("br;q=0, gzip;q=0", ""),
                ("unknown", ""),
            ] {
                let answer = client
                    .get_with("/a.js", &[("accept-encoding", accept)])
                    .await
                    .unwrap();
                assert_eq!(answer.header("content-encoding"), coding, "{accept}");
                assert_eq!(
                    decoded(coding, &answer.body),
                    text().into_bytes(),
                    "{accept}"
                );
                assert_eq!(answer.header("vary"), "Accept-Encoding", "{accept}");
                let tag = answer.header("etag");
                match coding {
                    "" => assert_eq!(tag, "\"1\""),
                    coding => assert!(tag.starts_with(&format!("\"1;{coding}.")), "{tag}"),
                }
                if turn == 1 {
                    assert!(
                        answer.header("cache-status").contains("; hit"),
                        "{accept}: {}",
                        answer.header("cache-status")
                    );
                    assert_eq!(
                        answer.header("content-length"),
                        answer.body.len().to_string()
                    );
                }
            }
        }
    }
    assert_eq!(origin.count_for("/a.js"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coded_tag_validates_and_conditions_a_range_on_nothing_else() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/a.css",
        Resource::new(text())
            .etag("\"1\"")
            .header("content-type", "text/css")
            .cache_control("max-age=60"),
    );
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    let coded = edge.get_with("/a.css", &[("accept-encoding", "br")]).await;
    let tag = coded.header("etag");
    let again = edge
        .get_with(
            "/a.css",
            &[("accept-encoding", "br"), ("if-none-match", &tag)],
        )
        .await;
    assert_eq!(again.status.as_u16(), 304);
    let part = edge
        .get_with(
            "/a.css",
            &[("accept-encoding", "br"), ("range", "bytes=0-9")],
        )
        .await;
    assert_eq!(
        (
            part.status.as_u16(),
            part.header("content-encoding").as_str()
        ),
        (206, "")
    );
    assert_eq!(part.body, text().as_bytes()[..10]);
    let of_the_coded = |tag: &str| {
        let tag = tag.to_owned();
        let edge = &edge;
        async move {
            let fields = [
                ("accept-encoding", "br"),
                ("range", "bytes=10-19"),
                ("if-range", tag.as_str()),
            ];
            edge.get_with("/a.css", &fields).await
        }
    };
    let part = of_the_coded(&tag).await;
    assert_eq!(
        (
            part.status.as_u16(),
            part.header("content-encoding").as_str()
        ),
        (206, "br"),
        "the client has a part of the coded form"
    );
    assert_eq!(part.body, coded.body[10..20]);
    assert_eq!(part.header("etag"), tag);
    let other = tag.replace(';', ";x");
    let whole = of_the_coded(&other).await;
    assert_eq!(whole.status.as_u16(), 200, "that form was never made here");
    // Remade bytes are another version, even where they would be the same.
    let version = tag.rsplit_once('.').unwrap().1.trim_end_matches('"');
    let gone = tag.replace(version, "000000000000");
    let whole = of_the_coded(&gone).await;
    assert_eq!(whole.status.as_u16(), 200);
    assert_eq!(
        decoded(&whole.header("content-encoding"), &whole.body),
        text().into_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_small_coded_or_not_to_be_touched_stays_as_it_is() {
    let origin = Origin::start().await;
    let reply = |text: String| {
        Reply::ok(text)
            .cache_control("max-age=60")
            .header("content-type", "text/plain")
    };
    origin.serve("/small", reply("x".repeat(100)));
    origin.serve(
        "/picture",
        Reply::ok(text())
            .cache_control("max-age=60")
            .header("content-type", "image/jpeg"),
    );
    origin.serve("/coded", reply(text()).header("content-encoding", "secret"));
    origin.serve(
        "/untouchable",
        Reply::ok(text())
            .header("content-type", "text/plain")
            .cache_control("max-age=60, no-transform"),
    );
    let edge = Edge::before(&origin).await;
    for path in ["/small", "/picture", "/coded", "/untouchable"] {
        let answer = edge
            .get_with(path, &[("accept-encoding", "gzip, br, zstd")])
            .await;
        assert!(
            ["", "secret"].contains(&answer.header("content-encoding").as_str()),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coded_bytes_flow_while_the_origin_still_sends() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let reply = Reply::ok(text())
        .cache_control("max-age=60")
        .header("content-type", "text/plain");
    origin.serve("/a", reply.hold_body(60_000, &gate));
    let edge = Edge::before(&origin).await;
    let mut reader = edge
        .http()
        .open("/a", &[("accept-encoding", "gzip")])
        .await
        .unwrap();
    reader.until(50).await.unwrap();
    assert_eq!(gate.arrivals(), 1);
    gate.open();
    let whole = reader.whole().await.unwrap();
    assert_eq!(decoded("gzip", &whole.body), text().into_bytes());
    let hit = edge.get_with("/a", &[("accept-encoding", "gzip")]).await;
    assert_eq!(
        hit.body, whole.body,
        "the streamed bytes were stored as they went out"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_off_breaks_the_coded_answer_and_nothing_is_kept() {
    let origin = Origin::start().await;
    let reply = || {
        Reply::ok(text())
            .cache_control("max-age=60")
            .header("content-type", "text/plain")
    };
    origin.serve_in_turn("/a", [reply().close_after(60_000), reply()]);
    let edge = Edge::before(&origin).await;
    assert!(
        edge.h2()
            .get_with("/a", &[("accept-encoding", "gzip")])
            .await
            .is_err()
    );
    let whole = edge.get_with("/a", &[("accept-encoding", "gzip")]).await;
    assert_eq!(decoded("gzip", &whole.body), text().into_bytes());
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_fetched_again_keep_their_version_and_the_forms_made_of_them() {
    let origin = Origin::start().await;
    let same = "a line of text that is worth compressing\n".repeat(200);
    let reply = |text: &str| {
        Reply::ok(text.to_owned())
            .cache_control("max-age=10")
            .header("content-type", "text/plain")
            .header("etag", "\"1\"")
    };
    let other = same.replace("line", "LINE");
    let plain = reply(&same);
    origin.serve_in_turn("/a", [plain.clone(), plain, reply(&other)]);
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    let fields = [("accept-encoding", "br")];
    let version = async || {
        let target = "/v1/explain?url=https://localhost/a";
        let answer = edge
            .admin(http::Method::GET, target, &serde_json::Value::Null)
            .await;
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        said["details"]["version"].as_str().unwrap().to_owned()
    };
    edge.get_with("/a", &fields).await;
    let made = edge.get_with("/a", &fields).await.header("etag");
    let first = version().await;
    edge.pass_seconds(20);
    edge.get("/a").await;
    assert_eq!(version().await, first);
    let again = edge.get_with("/a", &fields).await;
    assert_eq!(again.header("etag"), made, "the form that was made stays");
    edge.pass_seconds(20);
    edge.get("/a").await;
    assert_ne!(version().await, first, "other bytes are another version");
    let other_form = edge.get_with("/a", &fields).await;
    assert_ne!(other_form.header("etag"), made);
    assert_eq!(origin.count_for("/a"), 3);
}

/// An origin that codes whatever is asked.
async fn coding_origin(coding: &str, body: Bytes) -> (Origin, Edge) {
    let origin = Origin::start().await;
    let reply = Reply::ok(body)
        .cache_control("max-age=60")
        .header("content-type", "text/plain")
        .header("etag", "\"1\"")
        .header("content-encoding", coding);
    origin.serve("/a", reply);
    let edge = Edge::before(&origin).await;
    (origin, edge)
}

fn encoded(coding: &str, content: &[u8]) -> Bytes {
    let coding = brim::variant::Coding::of_token(coding).unwrap();
    brim::variant::encode(coding, 3, content).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_codes_is_passed_on_and_undone_for_those_who_do_not_take_it() {
    // Not so repetitive that it would count as a bomb.
    let long: String = (0..200_000_u32)
        .map(|n| format!("word{} ", n.wrapping_mul(2_654_435_761) >> 20))
        .collect();
    for content in [text(), long] {
        for origins in ["gzip", "br", "zstd"] {
            let sent = encoded(origins, content.as_bytes());
            let (origin, edge) = coding_origin(origins, sent.clone()).await;
            for turn in 0..2 {
                for (accept, expect) in [
                    ("gzip", "gzip"),
                    ("br", "br"),
                    ("zstd", "zstd"),
                    ("identity", ""),
                    ("gzip, br, zstd", origins),
                    ("gzip;q=0.1, br;q=0.1, zstd;q=0.1", origins),
                ] {
                    let fields = [("accept-encoding", accept)];
                    let answer = edge.get_with("/a", &fields).await;
                    let at = format!("{origins}, {accept}, {turn}");
                    assert_eq!(answer.header("content-encoding"), expect, "{at}");
                    assert_eq!(decoded(expect, &answer.body), content.as_bytes(), "{at}");
                    assert_eq!(answer.header("vary"), "Accept-Encoding", "{at}");
                    if expect == origins {
                        assert_eq!(answer.body, sent, "{at}");
                        assert_eq!(answer.header("etag"), "\"1\"", "{at}");
                    } else {
                        let tag = answer.header("etag");
                        assert!(tag.starts_with("\"1;"), "{at}: {tag}");
                        let fields = [("accept-encoding", accept), ("if-none-match", &tag)];
                        let again = edge.get_with("/a", &fields).await;
                        assert_eq!(again.status.as_u16(), 304, "{at}");
                    }
                    if turn == 1 {
                        let status = answer.header("cache-status");
                        assert!(status.contains("; hit"), "{at}: {status}");
                        let length = answer.body.len().to_string();
                        assert_eq!(answer.header("content-length"), length, "{at}");
                    }
                }
                let part = edge.get_with("/a", &[("range", "bytes=100-199")]).await;
                assert_eq!(part.status.as_u16(), 206);
                assert_eq!(part.body, content.as_bytes()[100..200]);
            }
            assert_eq!(origin.count_for("/a"), 1, "{origins}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_that_lies_is_never_undone_and_never_coded_again() {
    let good = encoded("gzip", text().as_bytes());
    let cut = good.slice(..good.len() - 9);
    for body in [Bytes::from(text()), cut] {
        let (origin, edge) = coding_origin("gzip", body.clone()).await;
        for _ in 0..2 {
            let as_it_is = edge.get_with("/a", &[("accept-encoding", "gzip")]).await;
            assert_eq!(as_it_is.body, body);
            for accept in ["identity", "br"] {
                let answer = edge.get_with("/a", &[("accept-encoding", accept)]).await;
                assert_eq!(answer.status.as_u16(), 502, "{accept}");
                assert!(
                    answer
                        .header("proxy-status")
                        .contains("error=http_response_content_coding")
                );
            }
        }
        assert_eq!(origin.count_for("/a"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_passes_as_it_is() {
    let zeros = vec![0; 64 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let bomb = encoded(coding, &zeros);
        let (_origin, edge) = coding_origin(coding, bomb.clone()).await;
        for _ in 0..2 {
            let answer = edge
                .get_with("/a", &[("accept-encoding", "identity")])
                .await;
            assert_eq!(answer.status.as_u16(), 200);
            assert_eq!(answer.header("content-encoding"), coding);
            assert_eq!(answer.body, bomb);
        }
        let status = edge.get("/a").await.header("cache-status");
        assert!(status.contains("coding-too-large"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_for_codings_where_the_site_says_so() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let asked = request.header("accept-encoding").unwrap_or_default();
        let reply = Reply::ok(encoded("br", text().as_bytes()))
            .cache_control("max-age=60")
            .header("content-type", "text/plain")
            .header("vary", "Accept-Encoding")
            .header("content-encoding", "br");
        match asked {
            "br, gzip;q=0.9" => reply,
            _ => Reply::status(500),
        }
    });
    let edge = Edge::with(&origin, "[compression]\npull = [\"br\", \"gzip\"]\n").await;
    for accept in ["br", "gzip", "identity"] {
        let answer = edge.get_with("/a", &[("accept-encoding", accept)]).await;
        let coding = answer.header("content-encoding");
        assert_eq!(
            decoded(&coding, &answer.body),
            text().into_bytes(),
            "{accept}"
        );
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_the_content_as_it_is_gets_a_coding_or_406() {
    let origin = Origin::start().await;
    let reply = |kind: &str| {
        Reply::ok(text())
            .cache_control("max-age=60")
            .header("content-type", kind)
    };
    origin.serve("/text", reply("text/plain"));
    origin.serve("/picture", reply("image/jpeg"));
    let fixed = reply("text/plain").header("cache-control", "max-age=60, no-transform");
    origin.serve("/fixed", fixed);
    let edge = Edge::before(&origin).await;
    for (path, accept, status, coding) in [
        ("/text", "gzip, identity;q=0", 200, "gzip"),
        ("/text", "br;q=0.1, *;q=0", 200, "br"),
        ("/text", "deflate, *;q=0", 406, ""),
        ("/text", "identity;q=0", 406, ""),
        ("/text", "*", 200, "zstd"),
        ("/text", "", 200, ""),
        ("/picture", "gzip", 200, ""),
        ("/picture", "gzip, identity;q=0", 200, "gzip"),
        ("/picture", "compress, *;q=0", 406, ""),
        ("/fixed", "gzip, identity;q=0", 406, ""),
        ("/fixed", "gzip", 200, ""),
    ] {
        for _ in 0..2 {
            let answer = edge.get_with(path, &[("accept-encoding", accept)]).await;
            let at = format!("{path} {accept}");
            assert_eq!(answer.status.as_u16(), status, "{at}");
            if status == 200 {
                assert_eq!(answer.header("content-encoding"), coding, "{at}");
                assert_eq!(decoded(coding, &answer.body), text().into_bytes(), "{at}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_equals_the_smallest_that_is_stored_is_given() {
    let origin = Origin::start().await;
    // At the first levels brotli is smaller than zstd on this, and the site's order is zstd first.
    let words: String = (0..4000_u32)
        .map(|n| format!("word{} ", n.wrapping_mul(2_654_435_761) >> 20))
        .collect();
    let reply = Reply::ok(words)
        .cache_control("max-age=60")
        .header("content-type", "text/plain");
    origin.serve("/a", reply);
    let edge = Edge::before(&origin).await;
    let coding = async |accept: &str| {
        let answer = edge.get_with("/a", &[("accept-encoding", accept)]).await;
        (answer.header("content-encoding"), answer.body.len())
    };
    // One that only gzip takes does not make gzip everybody's.
    coding("gzip").await;
    coding("gzip").await;
    assert_eq!(coding("gzip, br, zstd").await.0, "zstd");
    let zstd = coding("gzip, br, zstd").await;
    assert_eq!(zstd.0, "zstd");
    coding("br").await;
    let brotli = coding("br").await;
    assert!(brotli.1 < zstd.1, "{brotli:?} {zstd:?}");
    assert_eq!(coding("gzip, br, zstd").await, brotli);
    assert_eq!(coding("gzip, zstd;q=0.9").await.0, "gzip");
}

fn bundle() -> String {
    (0..3000_u32)
        .map(|n| {
            let mixed = n.wrapping_mul(2_654_435_761);
            format!(
                "export const item{} = (a, b) => a * {} + b.field{};\n",
                mixed >> 22,
                mixed >> 24,
                n % 50
            )
        })
        .collect()
}

async fn metrics(edge: &Edge) -> String {
    let answer = edge
        .admin(http::Method::GET, "/metrics", &serde_json::Value::Null)
        .await;
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Asks until the answer is another one than `first`.
async fn until_better(edge: &Edge, coding: &str, first: &str) -> Better {
    for _ in 0..600 {
        let answer = edge.get_with("/a.js", &[("accept-encoding", coding)]).await;
        if answer.header("etag") != first {
            return Better {
                tag: answer.header("etag"),
                status: answer.header("cache-status"),
                body: answer.body,
            };
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{coding} was not made better");
}

struct Better {
    tag: String,
    status: String,
    body: Bytes,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_again_is_coded_better_behind_the_answers() {
    let origin = Origin::start().await;
    let reply = Reply::ok(bundle())
        .cache_control("max-age=600")
        .header("content-type", "text/javascript")
        .header("etag", "\"1\"");
    origin.serve("/a.js", reply);
    let edge = Edge::before(&origin).await;
    for coding in ["br", "zstd", "gzip"] {
        let fields = [("accept-encoding", coding)];
        let first = edge.get_with("/a.js", &fields).await;
        let hit = edge.get_with("/a.js", &fields).await;
        assert_eq!(hit.body, first.body);
        let tag = first.header("etag");
        let better = until_better(&edge, coding, &tag).await;
        assert!(
            better.body.len() * 100 <= first.body.len() * 99,
            "{coding}: {} of {}",
            better.body.len(),
            first.body.len()
        );
        assert_eq!(decoded(coding, &better.body), bundle().into_bytes());
        assert!(
            better.tag.starts_with(&format!("\"1;{coding}.")),
            "{}",
            better.tag
        );
        assert!(better.status.contains("best"), "{}", better.status);
        // Who holds the first one validates, but gets no part of the other.
        let fields = [("accept-encoding", coding), ("if-none-match", tag.as_str())];
        assert_eq!(edge.get_with("/a.js", &fields).await.status.as_u16(), 304);
        let fields = [
            ("accept-encoding", coding),
            ("range", "bytes=0-9"),
            ("if-range", tag.as_str()),
        ];
        assert_eq!(edge.get_with("/a.js", &fields).await.status.as_u16(), 200);
    }
    let metrics = metrics(&edge).await;
    for (name, labels, value) in [
        ("brim_codings_upgrades_total", ["outcome=\"better\""; 2], 3),
        (
            "brim_codings_jobs_total",
            ["coding=\"br\"", "effort=\"best\""],
            1,
        ),
        (
            "brim_codings_jobs_total",
            ["coding=\"br\"", "effort=\"first\""],
            1,
        ),
    ] {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        let found = line.and_then(|line| line.rsplit(' ').next());
        assert_eq!(found, Some(value.to_string().as_str()), "{name} {labels:?}");
    }
    assert_eq!(origin.count_for("/a.js"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_coded_better_where_the_site_says_never() {
    let origin = Origin::start().await;
    let reply = Reply::ok(bundle())
        .cache_control("max-age=600")
        .header("content-type", "text/javascript");
    origin.serve("/a.js", reply);
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    for _ in 0..20 {
        edge.get_with("/a.js", &[("accept-encoding", "br")]).await;
    }
    let metrics = metrics(&edge).await;
    assert!(metrics.contains("brim_codings_queue 0"), "{metrics}");
    assert!(!metrics.contains("effort=\"best\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_called_coded_is_nothing() {
    let origin = Origin::start().await;
    let reply = Reply::new(301, "")
        .cache_control("max-age=60")
        .header("location", "/b")
        .header("content-encoding", "gzip");
    origin.serve("/a", reply);
    let edge = Edge::before(&origin).await;
    assert_eq!(edge.get("/a").await.status.as_u16(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_comes_coded_in_pieces_is_never_cut_for_its_size() {
    let origin = Origin::start().await;
    let long: String = (0..300_000_u32)
        .map(|n| format!("word{} ", n.wrapping_mul(2_654_435_761) >> 12))
        .collect();
    assert!(long.len() > 3 << 20);
    let reply = Reply::ok(encoded("gzip", long.as_bytes()))
        .chunked()
        .cache_control("max-age=60")
        .header("content-type", "text/plain")
        .header("content-encoding", "gzip");
    origin.serve("/a", reply);
    let edge = Edge::with(&origin, "[compression]\nmax_size = \"1MiB\"\n").await;
    for _ in 0..2 {
        let answer = edge
            .get_with("/a", &[("accept-encoding", "identity")])
            .await;
        match answer.header("content-encoding").as_str() {
            "" => assert!(answer.body == long.as_bytes()),
            coding => assert!(decoded(coding, &answer.body) == long.as_bytes()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_at_the_origin_is_told_whatever_the_client_takes() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let reply = |status| {
            Reply::new(status, text())
                .header("content-type", "application/json")
                .header("etag", "\"2\"")
        };
        match request.method.as_str() {
            "PUT" => reply(201),
            _ => reply(200).header("content-encoding", "gzip"),
        }
    });
    let edge = Edge::with(
        &origin,
        "methods = [\"GET\", \"HEAD\", \"PUT\"]\nmax_request_body = \"1MiB\"\n---\nclient_headers = \"transparent\"\n+++\n[compression]\nenabled = true\n",
    )
    .await;
    for accept in ["gzip", "compress, *;q=0"] {
        let fields = [("if-none-match", "*"), ("accept-encoding", accept)];
        let answer = edge
            .http()
            .send(http::Method::PUT, "/a", &fields, Bytes::from_static(b"x"))
            .await
            .unwrap();
        assert_eq!(answer.status.as_u16(), 201, "{accept}");
    }
    let fields = [("authorization", "Bearer x")];
    let head = edge
        .http()
        .send(http::Method::HEAD, "/a", &fields, Bytes::new())
        .await
        .unwrap();
    assert_eq!(head.status.as_u16(), 200);
}

fn digest_of(body: &[u8]) -> String {
    let digest = sfv::BareItem::ByteSequence(sha2::Sha256::digest(body).to_vec());
    let item = sfv::ItemSerializer::new().bare_item(&digest).finish();
    format!("sha-256={item}")
}

const DIGESTS: [&str; 4] = [
    "repr-digest",
    "content-digest",
    "content-md5",
    "unencoded-digest",
];

/// `bundle()` with these digests, of which the last one is of the content without its coding.
fn digested(repr_digest: &str) -> Reply {
    Reply::ok(bundle())
        .cache_control("max-age=60")
        .header("content-type", "text/javascript")
        .header("etag", "\"1\"")
        .header("repr-digest", repr_digest)
        .header("content-digest", &digest_of(bundle().as_bytes()))
        .header("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ==")
        .header("unencoded-digest", &digest_of(bundle().as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_coding_tells_its_own_digest_where_its_source_tells_one() {
    let origin = Origin::start().await;
    let of_content = digest_of(bundle().as_bytes());
    let confirmed = Reply::status(304).cache_control("max-age=60");
    origin.serve_in_turn("/a.js", [digested(&of_content), confirmed]);
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 20\n").await;
    for coding in ["br", "zstd", "gzip"] {
        let fields = [("accept-encoding", coding)];
        let told =
            |answer: &crate::support::client::Answer| DIGESTS.map(|name| answer.header(name));
        let check = |answer: &crate::support::client::Answer, repr_digest: &str| {
            let expect = [repr_digest, "", "", &*of_content];
            assert_eq!(told(answer), expect, "{coding}");
            assert_eq!(answer.header("content-encoding"), coding);
        };
        let first = edge.get_with("/a.js", &fields).await;
        check(&first, "");
        edge.settled().await;
        let of_coded = digest_of(&first.body);
        let hit = edge.get_with("/a.js", &fields).await;
        assert_eq!(hit.body, first.body);
        check(&hit, &of_coded);
        let head = edge
            .http()
            .send(http::Method::HEAD, "/a.js", &fields, Bytes::new())
            .await
            .unwrap();
        check(&head, &of_coded);
        let tag = first.header("etag");
        let fields = [
            ("accept-encoding", coding),
            ("range", "bytes=0-9"),
            ("if-range", tag.as_str()),
        ];
        let part = edge.get_with("/a.js", &fields).await;
        assert_eq!(part.status.as_u16(), 206);
        check(&part, &of_coded);
        let better = until_better(&edge, coding, &tag).await;
        let hit = edge.get_with("/a.js", &[("accept-encoding", coding)]).await;
        assert_eq!(hit.body, better.body);
        check(&hit, &digest_of(&better.body));
    }
    // Validated, the source is a newer one, and what was made of it takes that over.
    edge.pass_seconds(70);
    for coding in ["br", "zstd", "gzip"] {
        for _ in 0..2 {
            let answer = edge.get_with("/a.js", &[("accept-encoding", coding)]).await;
            assert!(answer.header("cache-status").contains("best"));
            assert_eq!(answer.header("repr-digest"), digest_of(&answer.body));
            assert_eq!(answer.header("unencoded-digest"), of_content);
        }
    }
    let plain = edge.get("/a.js").await;
    assert_eq!(plain.header("repr-digest"), of_content);
    assert_eq!(plain.header("content-digest"), of_content);
    let part = edge.get_with("/a.js", &[("range", "bytes=0-9")]).await;
    assert_eq!(part.status.as_u16(), 206);
    let told = DIGESTS.map(|name| part.header(name));
    assert_eq!(
        told,
        [&*of_content, "", "", &*of_content],
        "of the part none is known"
    );
    let parts = edge
        .get_with("/a.js", &[("range", "bytes=0-9, 500-509")])
        .await;
    assert_eq!(parts.status.as_u16(), 206);
    assert_eq!(parts.header("content-digest"), "");
    assert_eq!(origin.count_for("/a.js"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_digest_is_told_that_the_source_does_not_tell() {
    let origin = Origin::start().await;
    origin.serve("/weak", digested("md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"));
    let reply = Reply::ok(bundle())
        .cache_control("max-age=60")
        .header("content-type", "text/javascript")
        .header("content-digest", &digest_of(bundle().as_bytes()));
    origin.serve("/none", reply);
    let edge = Edge::before(&origin).await;
    for path in ["/weak", "/none"] {
        for _ in 0..2 {
            let answer = edge.get_with(path, &[("accept-encoding", "br")]).await;
            assert_eq!(answer.header("content-encoding"), "br");
            assert_eq!(answer.header("repr-digest"), "", "{path}");
            assert_eq!(answer.header("content-digest"), "", "{path}");
            edge.settled().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_digest_of_the_content_outlives_an_undone_coding_and_none_a_picture() {
    let origin = Origin::start().await;
    let of_content = digest_of(text().as_bytes());
    let sent = encoded("gzip", text().as_bytes());
    let coded = Reply::ok(sent.clone())
        .cache_control("max-age=60")
        .header("content-type", "text/plain")
        .header("content-encoding", "gzip")
        .header("repr-digest", &digest_of(&sent))
        .header("unencoded-digest", &of_content);
    origin.serve("/a", coded);
    let photo = crate::image::jpeg(160, 120);
    let of_photo = digest_of(&photo);
    let resource = Resource::new(photo)
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .header("repr-digest", &of_photo)
        .header("unencoded-digest", &of_photo)
        .cache_control("max-age=60");
    origin.serve_resource("/a.jpg", resource);
    let edge = Edge::with(&origin, crate::image::IMAGES).await;
    let told = async |target: &str, fields: &[(&str, &str)]| {
        let answer = edge.get_with(target, fields).await;
        edge.settled().await;
        ["repr-digest", "unencoded-digest"].map(|name| answer.header(name))
    };
    for turn in 0..4 {
        let as_it_is = told("/a", &[("accept-encoding", "gzip")]).await;
        assert_eq!(as_it_is, [digest_of(&sent), of_content.clone()]);
        for accept in ["identity", "br"] {
            let found = told("/a", &[("accept-encoding", accept)]).await;
            assert_eq!(found, ["", &of_content], "{accept}");
        }
        let found = told("/a.jpg?width=80", &[("accept", "image/webp")]).await;
        assert_eq!(found, ["", ""], "of a picture");
        if turn == 1 {
            edge.pass_seconds(70);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_of_what_was_validated_counts_as_that() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/a.js",
        Resource::new(text())
            .etag("\"1\"")
            .header("content-type", "application/javascript")
            .cache_control("max-age=10"),
    );
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    let fields = [("accept-encoding", "br")];
    let first = edge.get_with("/a.js", &fields).await;
    edge.get_with("/a.js", &fields).await;
    edge.pass_seconds(20);
    let again = edge.get_with("/a.js", &fields).await;
    assert_eq!(again.body, first.body, "the form is the same");
    assert!(again.header("cache-status").contains("fwd-status=304"));
    let told = metrics(&edge).await;
    let of = |result: &str| {
        let label = format!("cache=\"{result}\"");
        told.lines()
            .filter(|line| line.starts_with("brim_requests_total") && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    assert_eq!((of("revalidated"), of("stale")), (1, 0), "{told}");
}
