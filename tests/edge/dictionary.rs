//! Compression dictionaries (RFC 9842), made by the edge or passed on to the origin.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::client::Answer;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::{Reply, Resource};

const EDGE: &str = "[compression]\ndictionaries = { mode = \"edge\", match = [\"/app.*.js\", \"/lib.js\"], keep_versions = 2 }\n";
const PASSTHROUGH: &str = "[compression]\ndictionaries = { mode = \"passthrough\" }\n";
const ALL: &str = "gzip, deflate, br, zstd, dcb, dcz";

/// Lines that do not repeat; `version` changes one in a hundred.
fn script(version: u32) -> String {
    let mut state = 7_u32;
    (0..3000)
        .map(|line| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let changed = if line % 100 == 0 { version } else { 0 };
            format!("let v{line}=f({state:x},{changed});\n")
        })
        .collect()
}

fn resource(text: impl Into<String>, tag: &str) -> Resource {
    Resource::new(text.into())
        .etag(tag)
        .header("content-type", "application/javascript")
        .cache_control("max-age=3600")
}

fn field(text: &[u8]) -> String {
    let hash = sfv::BareItem::ByteSequence(Sha256::digest(text).to_vec());
    sfv::ItemSerializer::new().bare_item(&hash).finish()
}

/// What a client with `dictionary` reads.
fn decoded(answer: &Answer, dictionary: &[u8]) -> Vec<u8> {
    let body = &answer.body[..];
    let hash = Sha256::digest(dictionary);
    let mut content = Vec::new();
    match answer.header("content-encoding").as_str() {
        "dcz" => {
            let body = body
                .strip_prefix(b"\x5e\x2a\x4d\x18\x20\x00\x00\x00")
                .unwrap();
            let body = body.strip_prefix(&hash[..]).unwrap();
            zstd::stream::read::Decoder::with_ref_prefix(body, dictionary)
                .unwrap()
                .read_to_end(&mut content)
                .unwrap();
        }
        "dcb" => {
            let body = body.strip_prefix(b"\xffDCB").unwrap();
            let body = body.strip_prefix(&hash[..]).unwrap();
            brotli::Decompressor::new_with_custom_dict(body, 4096, dictionary.to_vec().into())
                .read_to_end(&mut content)
                .unwrap();
        }
        "br" => {
            brotli::Decompressor::new(body, 4096)
                .read_to_end(&mut content)
                .unwrap();
        }
        "zstd" => content = zstd::stream::decode_all(body).unwrap(),
        "" => content.extend_from_slice(body),
        other => panic!("{other}"),
    }
    content
}

async fn get(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Answer {
    edge.h2().get_with(path, fields).await.unwrap()
}

/// Asks until the answer has that coding.
async fn until_coded(edge: &Edge, path: &str, fields: &[(&str, &str)], coding: &str) -> Answer {
    for _ in 0..600 {
        let answer = get(edge, path, fields).await;
        if answer.header("content-encoding") == coding {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} never came as {coding}");
}

/// Waits until so many versions are kept, by the metric.
async fn kept(edge: &Edge, count: u64) {
    for _ in 0..600 {
        if outcomes(edge, "kept").await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not kept");
}

async fn outcomes(edge: &Edge, outcome: &str) -> u64 {
    let told = edge
        .admin(http::Method::GET, "/metrics", &json!(null))
        .await
        .text();
    told.lines()
        .filter(|line| line.starts_with("brim_codings_dictionaries_total"))
        .filter(|line| line.contains(&format!("outcome=\"{outcome}\"")))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

async fn before(settings: &str) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.serve_resource("/app.1.js", resource(script(1), "\"1\""));
    origin.serve_resource("/app.2.js", resource(script(2), "\"2\""));
    origin.serve_resource("/app.3.js", resource(script(3), "\"3\""));
    let edge = Edge::with(&origin, settings).await;
    (origin, edge)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_last_version_gets_the_difference() {
    let (origin, edge) = before(EDGE).await;
    let first = get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    assert_eq!(
        first.header("use-as-dictionary"),
        "match=\"/app.*.js\", id=\"/app.*.js\""
    );
    assert_eq!(
        first.header("vary"),
        "Accept-Encoding, Available-Dictionary"
    );
    assert_eq!(decoded(&first, b""), script(1).into_bytes());
    kept(&edge, 1).await;
    let has = field(script(1).as_bytes());
    for (accept, coding) in [
        (ALL, "dcz"),
        ("br, dcb", "dcb"),
        ("gzip;q=0.8, dcz;q=0.5, dcb;q=0.9, br;q=0.9", "dcb"),
    ] {
        let fields = [("accept-encoding", accept), ("available-dictionary", &*has)];
        let delta = until_coded(&edge, "/app.2.js", &fields, coding).await;
        assert_eq!(
            decoded(&delta, script(1).as_bytes()),
            script(2).into_bytes()
        );
        assert!(
            delta.body.len() * 10 < first.body.len(),
            "{}",
            delta.body.len()
        );
        assert_eq!(
            delta.header("vary"),
            "Accept-Encoding, Available-Dictionary"
        );
        assert!(delta.header("etag").starts_with(&format!("\"2;{coding}.")));
        assert_eq!(delta.header("content-length"), delta.body.len().to_string());
        let status = delta.header("cache-status");
        assert!(status.contains("; hit"), "{status}");
        assert!(status.contains(&format!("{coding};level=")), "{status}");
        // It is a dictionary in its turn.
        assert!(!delta.header("use-as-dictionary").is_empty());
        let tag = delta.header("etag");
        let again = [&fields[..], &[("if-none-match", &*tag)]].concat();
        assert_eq!(get(&edge, "/app.2.js", &again).await.status.as_u16(), 304);
        let head = edge
            .h2()
            .send(http::Method::HEAD, "/app.2.js", &fields, Bytes::new())
            .await
            .unwrap();
        assert_eq!(head.header("etag"), tag);
        let part = [&fields[..], &[("range", "bytes=4-9")]].concat();
        let part = get(&edge, "/app.2.js", &part).await;
        assert_eq!(part.status.as_u16(), 206);
        assert_eq!(
            part.body,
            script(2).as_bytes()[4..10],
            "a part of the content"
        );
        let named = [&fields[..], &[("range", "bytes=4-9"), ("if-range", &*tag)]].concat();
        let named = get(&edge, "/app.2.js", &named).await;
        assert_eq!(
            (named.status.as_u16(), &named.body),
            (206, &delta.body.slice(4..10))
        );
        assert_eq!(named.header("content-encoding"), coding);
    }
    assert_eq!(origin.count_for("/app.2.js"), 1);
    assert_eq!(origin.count_for("/app.1.js"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_dictionary_gets_the_ordinary_coding() {
    let (_origin, edge) = before(EDGE).await;
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    kept(&edge, 1).await;
    let has = field(script(1).as_bytes());
    let (known, accept) = (("available-dictionary", &*has), ("accept-encoding", ALL));
    until_coded(&edge, "/app.2.js", &[accept, known], "dcz").await;
    let unknown = field(b"something else");
    for fields in [
        vec![accept],
        vec![accept, ("available-dictionary", &*unknown)],
        vec![accept, ("available-dictionary", "nonsense")],
        vec![accept, ("available-dictionary", ":AAAA:")],
        vec![accept, known, known],
        // Another site's page may run it, and not read it.
        vec![
            accept,
            known,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ],
        vec![
            accept,
            known,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
            ("origin", "https://other.example"),
        ],
        // It would rather have another.
        vec![("accept-encoding", "zstd, dcz;q=0.9"), known],
        vec![("accept-encoding", "zstd, br"), known],
        vec![("accept-encoding", "zstd, dcz;q=0"), known],
    ] {
        let answer = get(&edge, "/app.2.js", &fields).await;
        assert_eq!(answer.header("content-encoding"), "zstd", "{fields:?}");
        assert_eq!(decoded(&answer, b""), script(2).into_bytes());
    }
    let plain = edge
        .http()
        .get_with("/app.2.js", &[accept, known])
        .await
        .unwrap();
    assert_eq!(plain.header("content-encoding"), "zstd", "not without TLS");
    assert_eq!(plain.header("use-as-dictionary"), "");
    for fields in [
        vec![
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "no-cors"),
        ],
        vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
    ] {
        let fields = [&[accept, known], &fields[..]].concat();
        let answer = get(&edge, "/app.2.js", &fields).await;
        assert_eq!(answer.header("content-encoding"), "dcz", "{fields:?}");
    }
    assert!(outcomes(&edge, "unknown").await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_that_may_read_it_get_the_difference() {
    let settings = format!("{EDGE}[cors]\norigins = [\"https://www.example\"]\n");
    let (_origin, edge) = before(&settings).await;
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    kept(&edge, 1).await;
    let has = field(script(1).as_bytes());
    let asks = |origin: &'static str| {
        vec![
            ("accept-encoding", ALL),
            ("available-dictionary", &*has),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
            ("origin", origin),
        ]
    };
    until_coded(&edge, "/app.2.js", &asks("https://www.example"), "dcz").await;
    let other = get(&edge, "/app.2.js", &asks("https://else.example")).await;
    assert_eq!(other.header("content-encoding"), "zstd");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_versions_of_one_url_are_kept_and_older_ones_are_not() {
    let origin = Origin::start().await;
    let edge = Edge::with(&origin, EDGE).await;
    for version in 1..=3 {
        let tag = format!("\"{version}\"");
        origin.serve_resource("/lib.js", resource(script(version), &tag));
        edge.purge(json!({"sites": ["site"], "urls": ["/lib.js"]}))
            .await;
        let answer = get(&edge, "/lib.js", &[("accept-encoding", ALL)]).await;
        assert_eq!(decoded(&answer, b""), script(version).into_bytes());
        kept(&edge, version.into()).await;
    }
    let asks = |version| field(script(version).as_bytes());
    for version in [2, 3] {
        let has = asks(version);
        let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
        let delta = until_coded(&edge, "/lib.js", &fields, "dcz").await;
        assert_eq!(
            decoded(&delta, script(version).as_bytes()),
            script(3).into_bytes()
        );
    }
    let before = outcomes(&edge, "unknown").await;
    let has = asks(1);
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
    let answer = get(&edge, "/lib.js", &fields).await;
    assert_eq!(answer.header("content-encoding"), "zstd");
    assert_eq!(outcomes(&edge, "unknown").await, before + 1);
    // A purge of all of the site forgets all of them.
    edge.purge(json!({"sites": ["site"], "everything": true}))
        .await;
    let has = asks(2);
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
    get(&edge, "/lib.js", &fields).await;
    assert_eq!(outcomes(&edge, "unknown").await, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dictionaries_outlive_a_restart() {
    let (_origin, edge) = before(EDGE).await;
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    kept(&edge, 1).await;
    let edge = edge.restart().await;
    let has = field(script(1).as_bytes());
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
    let delta = until_coded(&edge, "/app.2.js", &fields, "dcz").await;
    assert_eq!(
        decoded(&delta, script(1).as_bytes()),
        script(2).into_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_of_an_origins_coding_is_the_dictionary() {
    let origin = Origin::start().await;
    for version in [1, 2] {
        let mut coded = Vec::new();
        let text = script(version);
        brotli::BrotliCompress(&mut text.as_bytes(), &mut coded, &Default::default()).unwrap();
        origin.serve_resource(
            &format!("/app.{version}.js"),
            Resource::new(Bytes::from(coded))
                .etag("\"o\"")
                .header("content-type", "application/javascript")
                .header("content-encoding", "br")
                .cache_control("max-age=60"),
        );
    }
    let edge = Edge::with(&origin, EDGE).await;
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    kept(&edge, 1).await;
    let has = field(script(1).as_bytes());
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
    let delta = until_coded(&edge, "/app.2.js", &fields, "dcz").await;
    assert_eq!(
        decoded(&delta, script(1).as_bytes()),
        script(2).into_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_edge_must_not_transform_or_does_not_cover_is_not_marked() {
    let origin = Origin::start().await;
    origin.serve_resource(
        "/app.1.js",
        resource(script(1), "\"1\"").cache_control("max-age=60, no-transform"),
    );
    origin.serve_resource("/other.js", resource(script(1), "\"1\""));
    origin.serve_resource(
        "/lib.js",
        resource(script(1), "\"1\"").header("use-as-dictionary", "match=\"/lib/*\""),
    );
    let edge = Edge::with(&origin, EDGE).await;
    for (path, expect) in [
        ("/app.1.js", ""),
        ("/other.js", ""),
        ("/lib.js", "match=\"/lib/*\""),
    ] {
        let answer = get(&edge, path, &[("accept-encoding", ALL)]).await;
        assert_eq!(answer.header("use-as-dictionary"), expect, "{path}");
    }
}

/// An origin that answers against the dictionary that it is told of.
fn answers_against_dictionaries(origin: &Origin, vary: &'static str) {
    origin.on("/app.js", move |request| {
        let has = request.header("available-dictionary").unwrap_or_default();
        let accept = request.header("accept-encoding").unwrap_or_default();
        let plain = Reply::ok("content").header("use-as-dictionary", "match=\"/app.js\"");
        let reply = match (has.is_empty(), accept.contains("dcz")) {
            (false, true) => Reply::ok(format!("against {has}")).header("content-encoding", "dcz"),
            (false, false) if accept.contains("dcb") => {
                Reply::ok(format!("against {has}")).header("content-encoding", "dcb")
            }
            _ => plain,
        };
        let reply = match vary.is_empty() {
            true => reply,
            false => reply.header("vary", vary),
        };
        reply
            .header("content-type", "application/javascript")
            .cache_control("max-age=60")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origins_answers_against_dictionaries_are_kept_apart() {
    for vary in ["Accept-Encoding, Available-Dictionary", ""] {
        let origin = Origin::start().await;
        answers_against_dictionaries(&origin, vary);
        let edge = Edge::with(&origin, PASSTHROUGH).await;
        let (one, two) = (field(b"one"), field(b"two"));
        for turn in 0..2 {
            for (has, accept, coding) in [
                (&one, ALL, "dcz"),
                (&two, ALL, "dcz"),
                (&two, "br, dcb", "dcb"),
            ] {
                let fields = [
                    ("accept-encoding", accept),
                    ("available-dictionary", &**has),
                ];
                let answer = get(&edge, "/app.js", &fields).await;
                assert_eq!(answer.header("content-encoding"), coding, "{vary} {turn}");
                assert_eq!(answer.text(), format!("against {has}"), "{vary} {turn}");
                let told = answer.header("vary").to_ascii_lowercase();
                assert!(told.contains("available-dictionary"), "{told}");
                assert!(told.contains("accept-encoding"), "{told}");
                let is_hit = answer.header("cache-status").contains("; hit");
                assert_eq!(
                    is_hit,
                    turn == 1,
                    "{vary} {}",
                    answer.header("cache-status")
                );
            }
            for fields in [
                vec![("accept-encoding", ALL)],
                vec![("accept-encoding", "br"), ("available-dictionary", &*one)],
                vec![("accept-encoding", ALL), ("available-dictionary", "odd")],
                vec![
                    ("accept-encoding", ALL),
                    ("available-dictionary", &*one),
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                ],
            ] {
                let answer = get(&edge, "/app.js", &fields).await;
                assert_eq!(answer.text(), "content", "{vary} {turn} {fields:?}");
                assert_eq!(answer.header("use-as-dictionary"), "match=\"/app.js\"");
            }
            let fields = [("accept-encoding", ALL), ("available-dictionary", &*one)];
            let plain = edge.http().get_with("/app.js", &fields).await.unwrap();
            assert_eq!(plain.text(), "content", "not without TLS");
        }
        assert_eq!(origin.count_for("/app.js"), 4, "{vary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_of_the_site_gives_them_to_somebody_else() {
    let vary = "[cache]\nvary = { default = \"ignore\", available-dictionary = \"ignore\" }\n";
    let normal = "[cache]\nvary = { default = \"normalize\" }\n";
    for more in [vary, normal] {
        for top in ["", "client_headers = \"transparent\"\n+++\n"] {
            let origin = Origin::start().await;
            answers_against_dictionaries(&origin, "Accept-Encoding, Available-Dictionary");
            let edge = Edge::with(&origin, &format!("{top}{PASSTHROUGH}{more}")).await;
            let (one, two) = (field(b"one"), field(b"two"));
            for _ in 0..2 {
                for has in [&one, &two] {
                    let fields = [("accept-encoding", ALL), ("available-dictionary", &**has)];
                    let answer = get(&edge, "/app.js", &fields).await;
                    assert_eq!(answer.text(), format!("against {has}"), "{more}{top}");
                }
                let fields = [
                    ("accept-encoding", "br, dcb"),
                    ("available-dictionary", &*one),
                ];
                let answer = get(&edge, "/app.js", &fields).await;
                assert_eq!(answer.header("content-encoding"), "dcb", "{more}{top}");
                let plain = get(&edge, "/app.js", &[("accept-encoding", ALL)]).await;
                assert_eq!(plain.text(), "content", "{more}{top}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_not_told_of_dictionaries_of_pages_that_may_not_read_its_answer() {
    let origin = Origin::start().await;
    answers_against_dictionaries(&origin, "Accept-Encoding, Available-Dictionary");
    let settings = format!("{PASSTHROUGH}[cors]\norigins = [\"https://www.example\"]\n");
    let edge = Edge::with(&origin, &settings).await;
    let has = field(b"one");
    for (page, expect) in [
        ("https://evil.example", "content"),
        ("https://www.example", &*format!("against {has}")),
        ("https://evil.example", "content"),
    ] {
        let fields = [
            ("accept-encoding", ALL),
            ("available-dictionary", &*has),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
            ("origin", page),
        ];
        assert_eq!(
            get(&edge, "/app.js", &fields).await.text(),
            expect,
            "{page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_beside_the_hash_reaches_nobody_else() {
    let origin = Origin::start().await;
    // A firewall before the origin takes offence at a name.
    origin.on("/app.js", |request| {
        let said = [
            request.header("dictionary-id"),
            request.header("available-dictionary"),
        ];
        match said.iter().flatten().any(|said| said.contains("etc")) {
            true => Reply::status(404).cache_control("max-age=60"),
            false => Reply::ok("content").cache_control("max-age=60"),
        }
    });
    let edge = Edge::with(&origin, PASSTHROUGH).await;
    let has = field(b"one");
    let odd = format!("{has};x=\"etc\"");
    let all = ("accept-encoding", ALL);
    let known = ("available-dictionary", &*has);
    let named = get(
        &edge,
        "/app.js",
        &[all, known, ("dictionary-id", "\"/etc/passwd\"")],
    )
    .await;
    assert_eq!(named.status.as_u16(), 404);
    for fields in [
        vec![all],
        vec![all, known],
        vec![all, known, ("dictionary-id", "\"a\"")],
        vec![all, known, ("dictionary-id", "etc")],
        vec![all, ("available-dictionary", &*odd)],
    ] {
        let answer = get(&edge, "/app.js", &fields).await;
        assert_eq!(answer.text(), "content", "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_codes_against_a_dictionary_unasked_is_not_stored() {
    let origin = Origin::start().await;
    origin.serve(
        "/a.js",
        Reply::ok("odd")
            .header("content-encoding", "dcz")
            .cache_control("max-age=60"),
    );
    let edge = Edge::with(&origin, EDGE).await;
    for _ in 0..2 {
        get(&edge, "/a.js", &[("accept-encoding", ALL)]).await;
    }
    assert_eq!(origin.count_for("/a.js"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_that_are_hit_push_no_newer_ones_out() {
    let (_origin, edge) = before(EDGE).await;
    for version in 1..=3 {
        get(
            &edge,
            &format!("/app.{version}.js"),
            &[("accept-encoding", ALL)],
        )
        .await;
        kept(&edge, version).await;
    }
    // From disk: nothing is noted at them any more.
    let edge = edge.restart().await;
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    for version in [2, 3] {
        let has = field(script(version).as_bytes());
        let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
        let delta = until_coded(&edge, "/app.1.js", &fields, "dcz").await;
        assert_eq!(
            decoded(&delta, script(version).as_bytes()),
            script(1).into_bytes()
        );
    }
    assert_eq!(outcomes(&edge, "kept").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_passthrough_the_origin_is_told_of_no_dictionary() {
    for settings in ["", EDGE] {
        let origin = Origin::start().await;
        answers_against_dictionaries(&origin, "Accept-Encoding, Available-Dictionary");
        let edge = Edge::with(&origin, settings).await;
        for name in ["one", "two"] {
            let has = field(name.as_bytes());
            let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
            assert_eq!(get(&edge, "/app.js", &fields).await.text(), "content");
        }
        assert_eq!(origin.count_for("/app.js"), 1, "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_against_a_dictionary_is_explained_and_tells_its_digest() {
    let (origin, edge) = before(EDGE).await;
    let of_source = format!("sha-256={}", field(script(2).as_bytes()));
    let resource = resource(script(2), "\"2\"").header("repr-digest", &of_source);
    origin.serve_resource("/app.2.js", resource);
    get(&edge, "/app.1.js", &[("accept-encoding", ALL)]).await;
    kept(&edge, 1).await;
    let has = field(script(1).as_bytes());
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*has)];
    let delta = until_coded(&edge, "/app.2.js", &fields, "dcz").await;
    let of_delta = format!("sha-256={}", field(&delta.body));
    assert_eq!(delta.header("repr-digest"), of_delta);
    let told = crate::explain::coding(&edge, "/app.2.js", &fields).await;
    assert_eq!(told["coding"], "dcz", "{told}");
    assert_eq!(told["state"], "stored", "{told}");
    assert_eq!(told["stored"]["effort"], "dictionary", "{told}");
    assert_eq!(told["stored"]["level"], 19, "{told}");
    assert_eq!(told["stored"]["body_bytes"], delta.body.len());
    let other = field(b"nobody's");
    let fields = [("accept-encoding", ALL), ("available-dictionary", &*other)];
    let told = crate::explain::coding(&edge, "/app.2.js", &fields).await;
    assert_eq!(told["coding"], "zstd", "{told}");
    assert_eq!(told["dictionary"], "not-made", "{told}");
}
