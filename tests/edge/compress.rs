//! Content codings: made once, stored, told apart by tag (RFC 9110 §8.4, §12.5.3).

use std::io::Read;

use bytes::Bytes;

use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

fn text() -> String {
    "a line that is there again and again, as lines of scripts are\n".repeat(2000)
}

fn decoded(coding: &str, body: &Bytes) -> Vec<u8> {
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
                ("gzip, br, zstd", "zstd"),
                ("identity", ""),
                ("br;q=0, *;q=0", ""),
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
    let edge = Edge::before(&origin).await;
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
    let mixed = edge
        .get_with(
            "/a.css",
            &[
                ("accept-encoding", "br"),
                ("range", "bytes=0-9"),
                ("if-range", &tag),
            ],
        )
        .await;
    assert_eq!(
        mixed.status.as_u16(),
        200,
        "a coded tag does not condition a part of the plain bytes"
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
    let edge = Edge::before(&origin).await;
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
