//! What clients say in Accept-Encoding, and the coding that they get for it (RFC 9110 §12.5.3).

use std::collections::BTreeSet;

use brim::semantics::negotiate::AcceptEncoding;
use brim::variant::{Coding, CompressionConfig, choose};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::support::client::{Answer, Connection, exchange_raw};
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

/// What one client gets for a script of which every coding can be made, with the site's order zstd, br, gzip.
struct Row {
    who: &'static str,
    /// The field's lines; none where the client does not send it.
    says: &'static [&'static str],
    /// A coding, `identity`, or `406`.
    gets: &'static str,
}

const fn row(who: &'static str, says: &'static [&'static str], gets: &'static str) -> Row {
    Row { who, says, gets }
}

const ROWS: &[Row] = &[
    // Browsers.
    row(
        "Chrome 123 and later, Edge, Opera",
        &["gzip, deflate, br, zstd"],
        "zstd",
    ),
    row(
        "Chrome that has a dictionary",
        &["gzip, deflate, br, zstd, dcb, dcz"],
        "zstd",
    ),
    row("Chrome 50 to 122", &["gzip, deflate, br"], "br"),
    row("Chrome 49 and before", &["gzip, deflate, sdch"], "gzip"),
    row("Chrome of 2010", &["gzip,deflate,sdch"], "gzip"),
    row("Chrome without TLS", &["gzip, deflate"], "gzip"),
    row(
        "Chrome for films and sound",
        &["identity;q=1, *;q=0"],
        "identity",
    ),
    row(
        "Firefox 126 and later",
        &["gzip, deflate, br, zstd"],
        "zstd",
    ),
    row("Firefox 44 to 125", &["gzip, deflate, br"], "br"),
    row("Firefox for films and sound", &["identity"], "identity"),
    row("Firefox 3", &["gzip,deflate"], "gzip"),
    row("Safari", &["gzip, deflate, br"], "br"),
    row("Safari on iOS 11", &["br, gzip, deflate"], "br"),
    row("Safari's films and sound", &["identity"], "identity"),
    row("Edge of before Chromium", &["gzip, deflate, br"], "br"),
    row("Internet Explorer 11", &["gzip, deflate"], "gzip"),
    row(
        "Internet Explorer on the Xbox",
        &["gzip, deflate, peerdist"],
        "gzip",
    ),
    row("Opera 12", &["gzip, deflate"], "gzip"),
    row(
        "Opera 9",
        &["deflate, gzip, x-gzip, identity, *;q=0"],
        "gzip",
    ),
    row("Opera with LZMA", &["gzip, deflate, lzma, sdch, br"], "br"),
    row("Android Browser 4", &["gzip,deflate"], "gzip"),
    row("Android WebView", &["gzip, deflate, br, zstd"], "zstd"),
    row("Dalvik", &["gzip"], "gzip"),
    row("Konqueror 3", &["x-gzip, x-deflate, gzip, deflate"], "gzip"),
    row("Lynx", &["gzip, compress, bzip2"], "gzip"),
    row("w3m", &["gzip, compress, bzip, bzip2, deflate"], "gzip"),
    row("ELinks", &["bzip2, deflate, gzip"], "gzip"),
    row("Netscape 4", &["gzip"], "gzip"),
    // Programs.
    row("curl", &[], "identity"),
    row("curl --compressed with zlib", &["deflate, gzip"], "gzip"),
    row(
        "curl --compressed with brotli",
        &["deflate, gzip, br"],
        "br",
    ),
    row(
        "curl --compressed with everything",
        &["deflate, gzip, br, zstd"],
        "zstd",
    ),
    row("wget", &["identity"], "identity"),
    row("wget --compression=auto", &["gzip"], "gzip"),
    row(
        "wget2",
        &["gzip, deflate, bzip2, xz, lzma, br, zstd, lzip"],
        "zstd",
    ),
    row("Go", &["gzip"], "gzip"),
    row("Python's urllib", &["identity"], "identity"),
    row("requests", &["gzip, deflate"], "gzip"),
    row("requests with brotli", &["gzip, deflate, br"], "br"),
    row(
        "requests with brotli and zstandard",
        &["gzip, deflate, br, zstd"],
        "zstd",
    ),
    row("aiohttp", &["gzip, deflate, br"], "br"),
    row("httpx with zstandard", &["gzip, deflate, zstd"], "zstd"),
    row("Java's HttpURLConnection", &[], "identity"),
    row("Java Web Start", &["pack200-gzip, gzip"], "gzip"),
    row("Apache HttpClient", &["gzip, x-gzip, deflate"], "gzip"),
    row("okhttp", &["gzip"], "gzip"),
    row("okhttp with brotli", &["br,gzip"], "br"),
    row("node's fetch", &["br, gzip, deflate"], "br"),
    row("axios", &["gzip, compress, deflate, br"], "br"),
    row("got", &["gzip, deflate, br"], "br"),
    row("reqwest", &["gzip, br, zstd, deflate"], "zstd"),
    row(
        "Ruby's Net::HTTP",
        &["gzip;q=1.0,deflate;q=0.6,identity;q=0.3"],
        "gzip",
    ),
    row(
        "libwww-perl",
        &["gzip, x-gzip, deflate, x-bzip2, bzip2"],
        "gzip",
    ),
    row(".NET", &["gzip, deflate, br"], "br"),
    row(
        "Alamofire 5",
        &["br;q=1.0, gzip;q=0.9, deflate;q=0.8"],
        "br",
    ),
    row("Alamofire 4", &["gzip;q=1.0, compress;q=0.5"], "gzip"),
    row("AVFoundation", &["identity"], "identity"),
    // Bots.
    row("Googlebot", &["gzip, deflate, br"], "br"),
    row("Googlebot of before", &["gzip,deflate"], "gzip"),
    row("bingbot", &["gzip, deflate, br"], "br"),
    row("facebookexternalhit", &["deflate, gzip"], "gzip"),
    row("AhrefsBot", &["deflate, gzip, br"], "br"),
    row("CCBot", &["br,gzip"], "br"),
    row("Applebot", &["gzip, deflate, br"], "br"),
    row("a monitor", &["gzip, deflate"], "gzip"),
    row("another node", &["br, gzip"], "br"),
    // Weights.
    row("weights in order", &["br;q=1.0, gzip;q=0.8, *;q=0.1"], "br"),
    row(
        "weights against our order",
        &["zstd;q=0.1, br;q=0.2, gzip;q=0.3"],
        "gzip",
    ),
    row("the least weight", &["gzip;q=0.001"], "gzip"),
    row("three decimals", &["gzip;q=0.999, br;q=0.998"], "gzip"),
    row("blanks", &["gzip ; q=0.4 ,\tbr ;\tq=0.5"], "br"),
    row("blanks around the sign", &["gzip;q = 0, br;q =0.5"], "br"),
    row("a large Q", &["gzip;Q=0.1, br;Q=0.2"], "br"),
    row(
        "other parameters",
        &["gzip;level=9;q=0.1, br;x=\"a,b;q=0\";q=0.2"],
        "br",
    ),
    row(
        "identity wanted more",
        &["gzip;q=0.5, identity"],
        "identity",
    ),
    row("identity wanted as much", &["gzip, identity"], "gzip"),
    row("identity wanted less", &["identity;q=0.9, gzip"], "gzip"),
    row(
        "nothing but what we do not make",
        &["compress, deflate, bzip2"],
        "identity",
    ),
    // What is refused.
    row("everything but one", &["br, *;q=0"], "br"),
    row("all but gzip by name", &["gzip;q=0, *"], "zstd"),
    row(
        "all but two by name",
        &["zstd;q=0, br;q=0, *;q=0.5"],
        "gzip",
    ),
    row("gzip by name", &["gzip;q=0"], "identity"),
    row(
        "every coding by name",
        &["gzip;q=0, br;q=0, zstd;q=0"],
        "identity",
    ),
    row("identity", &["identity;q=0, gzip"], "gzip"),
    row("identity, and names nothing else", &["identity;q=0"], "406"),
    row(
        "identity, and takes what we do not make",
        &["deflate, identity;q=0"],
        "406",
    ),
    row("everything", &["*;q=0"], "406"),
    row("everything in three decimals", &["*;q=0.000"], "406"),
    row("everything but identity", &["*;q=0, identity"], "identity"),
    // Odd ones.
    row("nothing said", &[""], "identity"),
    row("commas", &[",, ,"], "identity"),
    row("anything", &["*"], "zstd"),
    row("anything, a little", &["*;q=0.1"], "zstd"),
    row("large letters", &["GZIP"], "gzip"),
    row("mixed letters", &["Gzip, Br"], "br"),
    row("the old name", &["x-gzip"], "gzip"),
    row("the old name in large letters", &["X-GZip;q=0.5"], "gzip"),
    row("several lines", &["gzip", "br;q=0.5"], "gzip"),
    row("several lines with empty ones", &["", "br", ""], "br"),
    row("the same again, refused", &["gzip, gzip;q=0"], "gzip"),
    row(
        "refused, and the same again",
        &["gzip;q=0, gzip"],
        "identity",
    ),
    row("too many decimals", &["gzip;q=0.0001"], "identity"),
    row("more than one", &["gzip;q=1.001, br;q=0.1"], "br"),
    row("much more than one", &["gzip;q=100"], "identity"),
    row("less than none", &["gzip;q=-1"], "identity"),
    row("no number", &["gzip;q=high, br;q="], "identity"),
    row("a decimal comma", &["gzip;q=0,5"], "identity"),
    row("a number in quotes", &["gzip;q=\"1\""], "identity"),
    row("a name in quotes", &["\"gzip\""], "identity"),
    row("a quote without an end", &["gzip, \"br, zstd"], "gzip"),
    row("no comma", &["gzip deflate"], "identity"),
    row("semicolons for commas", &["gzip;br;zstd"], "gzip"),
    row("a version", &["gzip/1.0"], "identity"),
    row("Brotli's first name", &["bro"], "identity"),
    row("a longer name", &["br-64, gzipped, zstd2"], "identity"),
    row("only dictionaries, and has none", &["dcb, dcz"], "identity"),
    row("not in ASCII", &["gz\u{ef}p, \u{fc}, br"], "br"),
    row("what a firewall leaves", &["---------------"], "identity"),
    row("another firewall", &["xxxx, xxxxxxx, xx"], "identity"),
    row("a character set", &["utf-8"], "identity"),
    row("a traversal", &["../../etc/passwd, gzip"], "gzip"),
    row("a script", &["<script>alert(1)</script>"], "identity"),
];

fn fields(row: &Row) -> Vec<HeaderValue> {
    let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
    row.says.iter().map(value).collect()
}

/// What the two rooms that decide come to, without a cache between them.
fn decided(lines: &[HeaderValue]) -> &'static str {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::ACCEPT_ENCODING, line.clone());
    }
    let accepted = AcceptEncoding::of(&headers);
    let quality = |coding: &str| accepted.quality(coding);
    match choose(&CompressionConfig::default(), &quality, accepted.identity()).first() {
        Some(coding) => coding.token(),
        None if accepted.identity() == 0 => "406",
        None => "identity",
    }
}

#[test]
fn what_each_client_says_decides_its_coding() {
    assert!(ROWS.len() > 100);
    for row in ROWS {
        assert_eq!(
            decided(&fields(row)),
            row.gets,
            "{}: {:?}",
            row.who,
            row.says
        );
    }
}

#[test]
fn thousands_of_members_are_read_and_few_are_kept() {
    let many: String = (0..1500).map(|n| format!("x{n};q=0.{n:03}, ")).collect();
    assert!(many.len() > 8 << 10);
    for (end, gets) in [("br", "br"), ("*;q=0", "406"), ("gzip;q=0", "identity")] {
        let line = HeaderValue::from_str(&format!("{many}{end}")).unwrap();
        assert_eq!(decided(&[line]), gets, "{end}");
    }
}

fn script() -> String {
    "export const edge = (a, b) => a * 7 + b;\n".repeat(100)
}

async fn before_scripts() -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.on_any(|_| {
        Reply::ok(script())
            .cache_control("max-age=60")
            .header("etag", "\"1\"")
            .header("content-type", "text/javascript")
    });
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 0\n").await;
    (origin, edge)
}

/// What this client can send: it is strict about its own fields.
fn sent() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .filter(|row| row.says.iter().all(|line| line.is_ascii()))
}

async fn ask(
    connection: &mut Connection,
    method: Method,
    target: &str,
    row: &Row,
    more: &[(&str, &str)],
) -> Answer {
    let lines = row.says.iter().map(|line| ("accept-encoding", *line));
    let fields: Vec<_> = lines.chain(more.iter().copied()).collect();
    let sent = connection.send(method, target, &fields, Bytes::new());
    sent.await.unwrap()
}

#[track_caller]
fn check(row: &Row, answer: &Answer, expect_body: bool) {
    let at = format!("{}: {:?}", row.who, row.says);
    let status = if row.gets == "406" { 406 } else { 200 };
    assert_eq!(answer.status.as_u16(), status, "{at}");
    assert_eq!(answer.header("vary"), "Accept-Encoding", "{at}");
    if status == 406 {
        return;
    }
    let coding = answer.header("content-encoding");
    let found = if coding.is_empty() {
        "identity"
    } else {
        &coding
    };
    assert_eq!(found, row.gets, "{at}");
    if expect_body {
        let content = match Coding::of_token(row.gets) {
            Some(coding) => brim::variant::decode(coding, &answer.body, 1 << 20).unwrap(),
            None => answer.body.clone(),
        };
        assert_eq!(content, script(), "{at}");
    }
}

/// Each row has a script of its own: which coding is the smallest is not known when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn each_client_gets_that_coding_over_a_socket_first_and_stored() {
    let (_origin, edge) = before_scripts().await;
    for (protocol, client) in [edge.http(), edge.h1(), edge.h2()].iter().enumerate() {
        let mut connection = client.connect().await.unwrap();
        for (number, row) in sent().enumerate() {
            let target = format!("/{protocol}/{number}.js");
            for _ in 0..2 {
                let answer = ask(&mut connection, Method::GET, &target, row, &[]).await;
                check(row, &answer, true);
            }
            let head = ask(&mut connection, Method::HEAD, &target, row, &[]).await;
            check(row, &head, false);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_them_are_served_from_four_representations_and_one_fetch() {
    let (origin, edge) = before_scripts().await;
    let mut connection = edge.http().connect().await.unwrap();
    let mut tags = BTreeSet::new();
    for row in sent() {
        let answer = ask(&mut connection, Method::GET, "/a.js", row, &[]).await;
        if row.gets == "406" {
            continue;
        }
        let tag = answer.header("etag");
        let held = [("if-none-match", tag.as_str())];
        let again = ask(&mut connection, Method::GET, "/a.js", row, &held).await;
        assert_eq!(again.status.as_u16(), 304, "{}", row.who);
        assert_eq!(again.header("vary"), "Accept-Encoding", "{}", row.who);
        tags.insert(tag);
    }
    assert_eq!(tags.len(), 4, "{tags:?}");
    assert_eq!(origin.count_for("/a.js"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_members_as_a_field_may_have_are_read_and_control_characters_are_refused() {
    let (_origin, edge) = before_scripts().await;
    let many: String = (0..810).map(|n| format!("x{n:03};q=0, ")).collect();
    let says = format!("{many}br");
    assert!((8100..8192 - 15).contains(&says.len()), "{}", says.len());
    for client in [edge.http(), edge.h1(), edge.h2()] {
        let fields = [("accept-encoding", says.as_str())];
        let answer = client.get_with("/a.js", &fields).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(answer.header("content-encoding"), "br");
    }
    for control in ["\0", "\u{1}", "\u{b}", "\u{7f}"] {
        let request = format!(
            "GET /a.js HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip{control}\r\nconnection: close\r\n\r\n"
        );
        let answer = exchange_raw(edge.address("http"), request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{control:?}: {answer}");
    }
    // The field under another name is another field.
    let name = HeaderName::from_static("accept-encodxng");
    let fields = [(name.as_str(), "gzip")];
    let answer = edge.get_with("/a.js", &fields).await;
    assert_eq!(answer.header("content-encoding"), "");
}
