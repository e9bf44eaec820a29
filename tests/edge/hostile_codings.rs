//! Origins whose codings are bombs, cut off, or not what they are called.

use std::fs;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use brim::variant::{Coding, decode, encode};

use crate::support::client::{Answer, Client};
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::program::Program;
use crate::support::reply::Reply;

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

fn encoded(coding: &str, content: &[u8]) -> Bytes {
    encode(Coding::of_token(coding).unwrap(), 3, content).unwrap()
}

/// Lines that get some four times smaller.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 100);
    let mut number = 7_u32;
    while text.len() < bytes {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("word{} and {}; ", number >> 18, number >> 26));
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// Zeros that were made a thousand times smaller and more, in a body of about `bytes` where the coding allows it.
fn bomb(coding: &str, bytes: usize) -> Bytes {
    let unit = encoded(coding, &vec![0; 64 << 20]);
    // gzip and zstd bodies may follow each other (RFC 1952 §2.2, RFC 8878 §3.1); Brotli makes even more of even less.
    let times = if coding == "br" {
        1
    } else {
        bytes.div_ceil(unit.len()).max(1)
    };
    unit.repeat(times).into()
}

fn reply(coding: &str, body: Bytes) -> Reply {
    Reply::ok(body)
        .cache_control("max-age=60")
        .header("content-type", "text/plain")
        .header("etag", "\"1\"")
        .header("content-encoding", coding)
}

async fn get(edge: &Edge, target: &str, accept: &str) -> Answer {
    edge.get_with(target, &[("accept-encoding", accept)]).await
}

/// Whoever takes the origin's coding gets it untouched, and another object in every coding.
async fn the_others_are_unharmed(edge: &Edge, coding: &str, body: &Bytes) {
    let own = get(edge, "/a", coding).await;
    assert_eq!(own.status.as_u16(), 200, "{coding}");
    assert_eq!(own.header("content-encoding"), coding);
    assert!(own.body == body, "{coding}");
    assert!(own.header("cache-status").contains("; hit"), "{coding}");
    let good = text(5000);
    for accept in CODINGS {
        let answer = get(edge, "/good", accept).await;
        assert_eq!(answer.header("content-encoding"), accept);
        let coding = Coding::of_token(accept).unwrap();
        assert!(decode(coding, &answer.body, 1 << 20).unwrap() == good);
    }
    assert!(get(edge, "/good", "identity").await.body == good[..]);
}

async fn before(coding: &str, body: Bytes) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.serve("/a", reply(coding, body));
    let good = encoded("gzip", &text(5000));
    origin.serve("/good", reply("gzip", good));
    let edge = Edge::before(&origin).await;
    (origin, edge)
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_of_any_length_pass_as_they_are() {
    for coding in CODINGS {
        for bytes in [1, 100 << 10, 900 << 10] {
            let body = bomb(coding, bytes);
            let (origin, edge) = before(coding, body.clone()).await;
            for accept in ["identity", "deflate", "identity;q=0.5, x-unknown"] {
                for client in [edge.http(), edge.h2()] {
                    let fields = [("accept-encoding", accept)];
                    let answer = client.get_with("/a", &fields).await.unwrap();
                    let at = format!("{coding} {} {accept}", body.len());
                    assert_eq!(answer.status.as_u16(), 200, "{at}");
                    assert_eq!(answer.header("content-encoding"), coding, "{at}");
                    assert!(answer.body == body, "{at}");
                    assert_eq!(answer.header("etag"), "\"1\"", "{at}");
                }
            }
            let told = get(&edge, "/a", "identity").await.header("cache-status");
            assert!(told.contains("coding-too-large"), "{told}");
            the_others_are_unharmed(&edge, coding, &body).await;
            assert_eq!(origin.count_for("/a"), 1);
        }
    }
}

/// The head of a long body is out before the bomb in it is met: the answer breaks, and is not begun again.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_behind_an_honest_beginning_is_cut_off_once_and_passes_then() {
    for coding in ["gzip", "zstd"] {
        let honest = encoded(coding, &text(6 << 20));
        assert!(honest.len() > 600 << 10, "{}", honest.len());
        let body: Bytes = [honest, bomb(coding, 900 << 10)].concat().into();
        let (origin, edge) = before(coding, body.clone()).await;
        let fields = [("accept-encoding", "identity")];
        for client in [edge.http(), edge.h2()] {
            match client.get_with("/a", &fields).await {
                Err(failure) => {
                    // At most a hundred times what the origin has sent.
                    let received = failure.received().len();
                    assert!(
                        received <= 100 * body.len() + (256 << 10),
                        "{coding}: {received}"
                    );
                }
                // It was met before the head went out, or is known by now.
                Ok(answer) => {
                    assert_eq!(answer.header("content-encoding"), coding);
                    assert!(answer.body == body, "{coding}");
                }
            }
        }
        let answer = edge.http().get_with("/a", &fields).await.unwrap();
        assert_eq!(answer.header("content-encoding"), coding);
        assert!(answer.body == body, "{coding}");
        the_others_are_unharmed(&edge, coding, &body).await;
        assert_eq!(origin.count_for("/a"), 1, "{coding}");
    }
}

#[track_caller]
fn check_is_502(answer: &Answer, at: &str) {
    assert_eq!(answer.status.as_u16(), 502, "{at}");
    let why = answer.header("proxy-status");
    assert!(
        why.contains("error=http_response_content_coding"),
        "{at}: {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_is_called_is_502_and_nothing_of_it_is_stored() {
    let plain = text(5000);
    let mut wrong_sum = encoded("gzip", &plain).to_vec();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let followed = |coding| [&encoded(coding, &plain)[..], b"<script>"].concat();
    let cut = |coding, by| {
        let whole = encoded(coding, &plain);
        whole.slice(..whole.len() - by).to_vec()
    };
    for (coding, body) in [
        ("gzip", plain.clone()),
        ("br", plain.clone()),
        ("zstd", plain.clone()),
        ("gzip", encoded("br", &plain).to_vec()),
        ("gzip", encoded("zstd", &plain).to_vec()),
        ("br", encoded("gzip", &plain).to_vec()),
        ("br", encoded("zstd", &plain).to_vec()),
        ("zstd", encoded("gzip", &plain).to_vec()),
        ("zstd", encoded("br", &plain).to_vec()),
        ("gzip", wrong_sum),
        ("gzip", followed("gzip")),
        ("br", followed("br")),
        ("zstd", followed("zstd")),
        ("gzip", cut("gzip", 1)),
        ("gzip", cut("gzip", 9)),
        ("gzip", cut("gzip", 900)),
        ("br", cut("br", 1)),
        ("br", cut("br", 900)),
        ("zstd", cut("zstd", 1)),
        ("zstd", cut("zstd", 900)),
        ("gzip", vec![0x1f]),
        ("br", vec![0xff; 300]),
        ("zstd", vec![0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let start = &body[..body.len().min(8)];
        let at = format!("{coding}, {} bytes, {start:02x?}", body.len());
        let body = Bytes::from(body);
        let (origin, edge) = before(coding, body.clone()).await;
        let other = if coding == "br" { "gzip" } else { "br" };
        for accept in ["identity", other] {
            for _ in 0..2 {
                check_is_502(&get(&edge, "/a", accept).await, &at);
            }
            let fields = [("accept-encoding", accept), ("range", "bytes=0-9")];
            check_is_502(&edge.get_with("/a", &fields).await, &at);
        }
        let stored = edge.admin(
            Method::GET,
            "/v1/explain?url=https://localhost/a",
            &json!(null),
        );
        assert!(stored.await.status.is_success());
        the_others_are_unharmed(&edge, coding, &body).await;
        assert_eq!(origin.count_for("/a"), 1, "{at}");
        // A right one in its place is served in every way.
        origin.serve(
            "/a",
            reply("gzip", encoded("gzip", &plain)).header("x-new", "1"),
        );
        edge.purge(json!({ "sites": ["site"], "urls": ["https://localhost/a"] }))
            .await;
        for accept in ["identity", "gzip", "br", "zstd"] {
            let answer = get(&edge, "/a", accept).await;
            assert_eq!(answer.status.as_u16(), 200, "{at}: then {accept}");
            let content = match Coding::of_token(accept) {
                Some(coding) => decode(coding, &answer.body, 1 << 20).unwrap(),
                None => answer.body.clone(),
            };
            assert!(content == plain, "{at}: then {accept}");
        }
    }
}

/// What is longer than a chunk goes out while it is decoded, so that its mistake is met on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_that_is_cut_breaks_and_is_502_from_then_on() {
    let plain = text(6 << 20);
    for coding in CODINGS {
        let whole = encoded(coding, &plain);
        assert!(whole.len() > 600 << 10, "{coding}: {}", whole.len());
        let body = whole.slice(..whole.len() - 5);
        let (origin, edge) = before(coding, body.clone()).await;
        for client in [edge.h1(), edge.h2()] {
            let fields = [("accept-encoding", "identity")];
            match client.get_with("/a", &fields).await {
                Err(failure) => assert!(plain.starts_with(&failure.received()), "{coding}"),
                Ok(answer) => check_is_502(&answer, coding),
            }
        }
        for accept in ["identity", if coding == "br" { "gzip" } else { "br" }] {
            check_is_502(&get(&edge, "/a", accept).await, coding);
        }
        the_others_are_unharmed(&edge, coding, &body).await;
        assert_eq!(origin.count_for("/a"), 1, "{coding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_that_nobody_here_undoes_pass_as_they_are() {
    let plain = text(5000);
    let once = encoded("gzip", &plain);
    let twice = encoded("gzip", &once);
    for (label, body) in [
        ("gzip, gzip", twice.clone()),
        ("br, gzip", twice.clone()),
        ("deflate", once.clone()),
        ("aes128gcm", once.clone()),
        ("gzip;q=1", once.clone()),
        ("\"gzip\"", once.clone()),
    ] {
        let (_origin, edge) = before(label, body.clone()).await;
        for accept in ["identity", "gzip", "br", "zstd"] {
            let answer = get(&edge, "/a", accept).await;
            assert_eq!(answer.header("content-encoding"), label, "{accept}");
            assert!(answer.body == body, "{label} {accept}");
        }
    }
    // A content that is itself a gzip file, coded once more.
    let (_origin, edge) = before("gzip", twice).await;
    assert!(get(&edge, "/a", "identity").await.body == once);
}

fn peak_bytes(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    kib << 10
}

/// What is not quite a bomb: some 90 times smaller.
fn nearly_a_bomb() -> Bytes {
    let mut number = 1_u64;
    let mut content = Vec::new();
    while content.len() < 64 << 20 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(&number.to_be_bytes());
        content.resize(content.len() + 1100, b' ');
    }
    encoded("gzip", &content)
}

/// Asks for the content of ten copies of each body at once, which are stored as they are; gives what came of it.
async fn ask_for_content(
    program: &Program,
    bodies: &[(&'static str, Bytes)],
) -> Vec<(String, usize, usize)> {
    let mut asked = tokio::task::JoinSet::new();
    for (number, (coding, body)) in bodies.iter().enumerate() {
        for copy in 0..10 {
            let target = format!("/{}{number}{copy}", body.len());
            program.origin.serve(&target, reply(coding, body.clone()));
            let http = Client::plain(program.http);
            let fields = [("accept-encoding", *coding)];
            assert!(http.get_with(&target, &fields).await.unwrap().body == body);
            asked.spawn(async move {
                let fields = [("accept-encoding", "identity")];
                let mut stream = http.open(&target, &fields).await.unwrap();
                let mut bytes = 0;
                // What has come is not kept: this test is about the program's memory.
                while let Some(piece) = stream.next().await.unwrap() {
                    bytes += piece.len();
                }
                (stream.header("content-encoding"), number, bytes)
            });
        }
    }
    let mut came = Vec::new();
    while let Some(done) = asked.join_next().await {
        let (coding, number, bytes) = done.unwrap();
        came.push((coding, number, bytes));
    }
    came
}

/// The program itself, with thirty bombs at once, and with ten bodies that are just not counted as such.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_take_next_to_no_memory() {
    let node = "[cache.memory]\nsize = \"16MiB\"\n[[cache.disk]]\npath = \"../var/cache\"\nsize = \"2GiB\"\n";
    let program = Program::start(node, |_| {}).await;
    Client::plain(program.http).get("/99").await.unwrap();
    let first = peak_bytes(&program);
    let bombs = CODINGS.map(|coding| (coding, bomb(coding, 900 << 10)));
    for (coding, number, bytes) in ask_for_content(&program, &bombs).await {
        let (expect, body) = &bombs[number];
        assert_eq!((coding.as_str(), bytes), (*expect, body.len()));
    }
    let second = peak_bytes(&program);
    let grown = (second - first) >> 20;

    let near = nearly_a_bomb();
    assert!(near.len() > 512 << 10, "{}", near.len());
    assert!((64 << 20) / near.len() > 60, "{}", near.len());
    for (coding, _, bytes) in ask_for_content(&program, &[("gzip", near)]).await {
        assert_eq!((coding.as_str(), bytes >> 20), ("", 64));
    }
    let nearly = (peak_bytes(&program) - second) >> 20;
    assert!(grown < 160 && nearly < 160, "{grown}, {nearly} MiB");
}
