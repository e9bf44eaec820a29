//! Why was this not cached? `Cache-Status` and explain give the right reason for each situation.

use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

type Fields = &'static [(&'static str, &'static str)];

/// A prepared situation, and what is to be said of the next request in it.
struct Situation {
    name: &'static str,
    settings: &'static str,
    /// What the origin answers, in turn; the last for ever.
    replies: Vec<Reply>,
    /// Requests before the one in question.
    before: Vec<Before>,
    request: Fields,
    /// What explain says before the request: decision and code.
    explained: (&'static str, &'static str),
    /// The status, and `Cache-Status` without the node's name.
    status: u16,
    told: &'static str,
}

enum Before {
    Get(Fields),
    Pass(u64),
    Purge(Value),
    OriginDies,
}

impl Default for Situation {
    fn default() -> Self {
        Self {
            name: "",
            settings: "",
            replies: vec![fresh()],
            before: Vec::new(),
            request: &[],
            explained: ("forward", "uri-miss"),
            status: 200,
            told: "",
        }
    }
}

const NOTHING: Fields = &[];
const OBEYED: &str = "[cache]\nrespect_request_directives = true\n";

fn fresh() -> Reply {
    cached("max-age=60")
}

fn cached(directives: &str) -> Reply {
    Reply::ok("x").cache_control(directives)
}

async fn explain(edge: &Edge, fields: Fields) -> Value {
    let mut target = "/v1/explain?url=https://localhost/a".to_owned();
    for (name, value) in fields {
        let value = value.replace(' ', "%20").replace('=', "%3D");
        target.push_str(&format!("&header={name}:%20{value}"));
    }
    let answer = edge.admin(Method::GET, &target, &Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

async fn check(situation: Situation) {
    let Situation {
        name,
        settings,
        replies,
        before,
        request,
        explained,
        status,
        told,
    } = situation;
    let origin = Origin::start().await;
    origin.serve_in_turn("/a", replies);
    let edge = Edge::with(&origin, settings).await;
    for step in before {
        match step {
            Before::Get(fields) => drop(edge.get_with("/a", fields).await),
            Before::Pass(seconds) => edge.pass_seconds(seconds),
            Before::Purge(what) => drop(edge.purge(what).await),
            Before::OriginDies => origin.die().await,
        }
    }
    let asked = origin.count();
    let explanation = explain(&edge, request).await;
    assert_eq!(origin.count(), asked, "{name}: explaining asks nobody");
    let said = (
        explanation["decision"].as_str().unwrap(),
        explanation["details"]["code"].as_str().unwrap(),
    );
    assert_eq!(said, explained, "{name}: {explanation}");
    let reason = explanation["reason"].as_str().unwrap();
    assert!(reason.len() > 10, "{name}: {reason}");
    let answer = edge.get_with("/a", request).await;
    assert_eq!(answer.status.as_u16(), status, "{name}");
    assert_eq!(cache_status(&answer), told, "{name}");
}

fn cache_status(answer: &Answer) -> String {
    let name = HeaderName::from_static("cache-status");
    let lines: Vec<_> = answer.headers.get_all(name).iter().collect();
    assert!(lines.len() <= 1, "one line: {lines:?}");
    let line = answer.header("cache-status");
    line.strip_prefix("edge; ").unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_situation_has_its_reason() {
    for situation in situations() {
        check(situation).await;
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn situations() -> Vec<Situation> {
    let stale_soon = || vec![cached("max-age=10"), Reply::new(503, "down")];
    vec![
        Situation {
            name: "never asked for",
            told: "fwd=uri-miss; fwd-status=200; ttl=60; stored",
            ..Situation::default()
        },
        Situation {
            name: "fresh",
            before: vec![Before::Get(NOTHING), Before::Pass(20)],
            explained: ("hit", "fresh"),
            told: "hit; ttl=40; detail=mem",
            ..Situation::default()
        },
        Situation {
            name: "stale, and the origin has another",
            before: vec![Before::Get(NOTHING), Before::Pass(70)],
            explained: ("forward", "stale"),
            told: "fwd=stale; fwd-status=200; ttl=60; stored",
            ..Situation::default()
        },
        Situation {
            name: "stale, and the origin confirms it",
            replies: vec![
                fresh().header("etag", "\"1\""),
                Reply::status(304).cache_control("max-age=60"),
            ],
            before: vec![Before::Get(NOTHING), Before::Pass(70)],
            explained: ("forward", "stale"),
            told: "fwd=stale; fwd-status=304; ttl=60; stored",
            ..Situation::default()
        },
        Situation {
            name: "stale, within the window",
            replies: vec![cached("max-age=10, stale-while-revalidate=60")],
            before: vec![Before::Get(NOTHING), Before::Pass(20)],
            explained: ("hit-and-refresh", "stale-while-revalidate"),
            told: "hit; ttl=-10; detail=mem",
            ..Situation::default()
        },
        Situation {
            name: "no-store",
            replies: vec![cached("no-store")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "no-store"),
            told: "fwd=uri-miss; fwd-status=200; detail=no-store",
            ..Situation::default()
        },
        Situation {
            name: "private",
            replies: vec![cached("private, max-age=60")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "private"),
            told: "fwd=uri-miss; fwd-status=200; detail=private",
            ..Situation::default()
        },
        Situation {
            name: "a cookie is set",
            replies: vec![fresh().header("set-cookie", "a=b")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "set-cookie"),
            told: "fwd=uri-miss; fwd-status=200; detail=set-cookie",
            ..Situation::default()
        },
        Situation {
            name: "no lifetime and no validator",
            replies: vec![Reply::ok("x")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "no-freshness"),
            told: "fwd=uri-miss; fwd-status=200; detail=no-freshness",
            ..Situation::default()
        },
        Situation {
            name: "varies by everything",
            replies: vec![fresh().header("vary", "*")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "vary-star"),
            told: "fwd=uri-miss; fwd-status=200; detail=vary-star",
            ..Situation::default()
        },
        Situation {
            name: "varies by what the site does not store by",
            replies: vec![fresh().header("vary", "user-agent")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "vary-bypass"),
            told: "fwd=uri-miss; fwd-status=200; detail=vary-bypass",
            ..Situation::default()
        },
        Situation {
            name: "a status that says nothing of its lifetime",
            replies: vec![Reply::new(403, "no")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "status"),
            status: 403,
            told: "fwd=uri-miss; fwd-status=403; detail=status",
            ..Situation::default()
        },
        Situation {
            name: "too large for the site",
            settings: "[cache]\nmax_object = \"10B\"\n",
            replies: vec![Reply::ok("more than ten bytes").cache_control("max-age=60")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "too-large"),
            told: "fwd=uri-miss; fwd-status=200; detail=too-large",
            ..Situation::default()
        },
        Situation {
            name: "the request is authorised",
            before: vec![Before::Get(NOTHING)],
            request: &[("authorization", "Bearer x")],
            explained: ("bypass", "authorization"),
            told: "fwd=bypass; fwd-status=200; detail=authorization",
            ..Situation::default()
        },
        Situation {
            name: "caching is off",
            settings: "[cache]\nmode = \"off\"\n",
            explained: ("bypass", "off"),
            told: "fwd=bypass; fwd-status=200; detail=off",
            ..Situation::default()
        },
        Situation {
            name: "no-cache in the response",
            replies: vec![cached("no-cache").header("etag", "\"1\"")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "no-cache"),
            told: "fwd=stale; fwd-status=200; ttl=0; stored; detail=no-cache",
            ..Situation::default()
        },
        Situation {
            name: "no-cache in a request that is obeyed",
            settings: OBEYED,
            before: vec![Before::Get(NOTHING)],
            request: &[("cache-control", "no-cache")],
            explained: ("forward", "request-no-cache"),
            told: "fwd=request; fwd-status=200; ttl=60; stored; detail=request-no-cache",
            ..Situation::default()
        },
        Situation {
            name: "no-cache in a request that is not obeyed",
            before: vec![Before::Get(NOTHING)],
            request: &[("cache-control", "no-cache")],
            explained: ("hit", "fresh"),
            told: "hit; ttl=60; detail=mem",
            ..Situation::default()
        },
        Situation {
            name: "older than the request's max-age",
            settings: OBEYED,
            before: vec![Before::Get(NOTHING), Before::Pass(20)],
            request: &[("cache-control", "max-age=10")],
            explained: ("forward", "request-max-age"),
            told: "fwd=request; fwd-status=200; ttl=60; stored; detail=request-max-age",
            ..Situation::default()
        },
        Situation {
            name: "not fresh for long enough",
            settings: OBEYED,
            before: vec![Before::Get(NOTHING), Before::Pass(20)],
            request: &[("cache-control", "min-fresh=50")],
            explained: ("forward", "request-min-fresh"),
            told: "fwd=request; fwd-status=200; ttl=60; stored; detail=request-min-fresh",
            ..Situation::default()
        },
        Situation {
            name: "stale, and the request takes it",
            settings: OBEYED,
            before: vec![Before::Get(NOTHING), Before::Pass(70)],
            request: &[("cache-control", "max-stale=60")],
            explained: ("hit", "fresh"),
            told: "hit; ttl=-10; detail=mem",
            ..Situation::default()
        },
        Situation {
            name: "only from the store, where it is not",
            settings: OBEYED,
            request: &[("cache-control", "only-if-cached")],
            explained: ("forward", "only-if-cached"),
            status: 504,
            told: "",
            ..Situation::default()
        },
        Situation {
            name: "a request that forbids storing",
            settings: OBEYED,
            request: &[("cache-control", "no-store")],
            explained: ("forward", "uri-miss"),
            told: "fwd=uri-miss; fwd-status=200; detail=no-store",
            ..Situation::default()
        },
        Situation {
            name: "purged",
            before: vec![
                Before::Get(NOTHING),
                Before::Purge(json!({"sites": ["site"], "urls": ["/a"]})),
            ],
            explained: ("forward", "purged"),
            told: "fwd=miss; fwd-status=200; ttl=60; stored; detail=purged",
            ..Situation::default()
        },
        Situation {
            name: "purged softly",
            before: vec![
                Before::Get(NOTHING),
                Before::Purge(json!({"sites": ["site"], "urls": ["/a"], "soft": true})),
            ],
            explained: ("forward", "soft-purged"),
            told: "fwd=stale; fwd-status=200; ttl=60; stored; detail=soft-purged",
            ..Situation::default()
        },
        Situation {
            name: "another variant",
            replies: vec![fresh().header("vary", "x-kind")],
            before: vec![
                Before::Get(&[("x-kind", "red")]),
                Before::Get(&[("x-kind", "red")]),
            ],
            request: &[("x-kind", "blue")],
            explained: ("forward", "vary-miss"),
            told: "fwd=vary-miss; fwd-status=200; ttl=60; stored",
            ..Situation::default()
        },
        Situation {
            name: "the origin fails, and nothing is stored",
            before: vec![Before::OriginDies, Before::Get(NOTHING)],
            explained: ("forward", "origin-failing"),
            status: 502,
            told: "",
            ..Situation::default()
        },
        Situation {
            name: "the origin has failed a moment ago, and a stale object stands in",
            before: vec![
                Before::Get(NOTHING),
                Before::Pass(70),
                Before::OriginDies,
                Before::Get(NOTHING),
            ],
            explained: ("forward", "origin-failing"),
            told: "hit; ttl=-10; detail=\"mem;origin-failing\"",
            ..Situation::default()
        },
        Situation {
            name: "the origin fails, and a stale object stands in",
            before: vec![Before::Get(NOTHING), Before::Pass(70), Before::OriginDies],
            explained: ("forward", "stale"),
            told: "fwd=stale; ttl=-10; detail=\"mem;stale-if-error\"",
            ..Situation::default()
        },
        Situation {
            name: "the origin answers with an error, and a stale object stands in",
            replies: stale_soon(),
            before: vec![Before::Get(NOTHING), Before::Pass(20)],
            explained: ("forward", "stale"),
            told: "fwd=stale; fwd-status=503; ttl=-10; detail=\"mem;stale-if-error\"",
            ..Situation::default()
        },
        Situation {
            name: "a targeted field wins",
            replies: vec![cached("max-age=60").header("cdn-cache-control", "no-store")],
            before: vec![Before::Get(NOTHING)],
            explained: ("forward", "no-store"),
            told: "fwd=uri-miss; fwd-status=200; detail=no-store",
            ..Situation::default()
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_explained_from_its_wish_to_its_form() {
    let origin = Origin::start().await;
    for (path, body) in [
        ("/a.jpg", crate::image::jpeg(320, 240)),
        ("/bad.jpg", bytes::Bytes::from_static(b"\xff\xd8\xff none")),
    ] {
        let resource = crate::support::reply::Resource::new(body)
            .header("content-type", "image/jpeg")
            .cache_control("max-age=600");
        origin.serve_resource(path, resource);
    }
    let edge = Edge::with(&origin, crate::image::IMAGES).await;
    let explained = async |path: &str| {
        let target =
            format!("/v1/explain?url=http%3A%2F%2Flocalhost%2F{path}&header=accept:%20image/webp");
        let answer = edge.admin(Method::GET, &target, &Value::Null).await;
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let picture = async |path: &str| explained(path).await["details"]["picture"].clone();
    let webp = [("accept", "image/webp")];
    assert_eq!(picture("a.jpg%3Fwidth=80").await, Value::Null);
    edge.get("/a.jpg?width=40").await;
    edge.settled().await;
    let told = &explained("a.jpg%3Fwidth=80").await;
    assert_eq!(told["decision"], "hit", "{told}");
    let wish = told["details"]["wish"].as_str().unwrap();
    assert!(wish.contains("width=80"), "{told}");
    let told = &told["details"]["picture"];
    assert_eq!(
        (&told["state"], &told["stored"]),
        (&json!("not-made"), &json!(null))
    );
    edge.get_with("/a.jpg?width=80", &webp).await;
    edge.settled().await;
    let told = picture("a.jpg%3Fwidth=80").await;
    assert_eq!(told["state"], "stored", "{told}");
    assert!(told["recipe"].as_str().unwrap().contains("webp"), "{told}");
    let stored = &told["stored"];
    assert_eq!(stored["detail"], "webp;w=80;from=jpeg");
    assert_eq!(stored["effort"], "first");
    assert_eq!(stored["content_type"], "image/webp");
    assert!(stored["saves_percent"].as_i64().unwrap() > 50, "{told}");

    edge.get_with("/bad.jpg?width=80", &webp).await;
    for width in [80, 90] {
        let told = picture(&format!("bad.jpg%3Fwidth={width}")).await;
        assert_eq!(told["state"], "declined", "{told}");
        assert_eq!(
            told["declined"], "bad-picture",
            "of the source, not of one width"
        );
    }
}

/// What is said of the coding of `path` to a client with these fields.
pub(crate) async fn coding(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Value {
    let mut target = format!("/v1/explain?url=https://localhost{path}");
    for (name, value) in fields {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        target.push_str(&format!("&header={name}:%20{value}"));
    }
    let answer = edge.admin(Method::GET, &target, &Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    told["details"]["coding"].clone()
}

fn lines() -> String {
    "a line that is there again and again, as lines of scripts are\n".repeat(500)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_no_coding_is_told_why() {
    let origin = Origin::start().await;
    let of_type = |body: String, media_type: &str| {
        Reply::ok(body)
            .cache_control("max-age=600")
            .header("content-type", media_type)
    };
    let text = |body: String| of_type(body, "text/plain");
    origin.serve("/text", text(lines()));
    origin.serve("/small", text("x".repeat(100)));
    origin.serve("/large", text("x".repeat(70_000)));
    origin.serve("/photo", of_type(lines(), "image/jpeg"));
    let fixed = text(lines()).cache_control("max-age=600, no-transform");
    origin.serve("/fixed", fixed);
    origin.serve(
        "/secret",
        text(lines()).header("content-encoding", "x-secret"),
    );
    let edge = Edge::with(
        &origin,
        "[compression]\nmax_size = \"64KiB\"\ncodings = [\"br\", \"gzip\"]\n",
    )
    .await;
    assert_eq!(coding(&edge, "/text", &[]).await, Value::Null, "not stored");
    for path in ["/text", "/small", "/large", "/photo", "/fixed", "/secret"] {
        edge.get(path).await;
    }
    edge.settled().await;
    let all = ("accept-encoding", "br, gzip, zstd");
    for (path, fields, because) in [
        ("/small", vec![all], "too-small"),
        ("/large", vec![all], "too-large"),
        ("/photo", vec![all], "type"),
        ("/fixed", vec![all], "no-transform"),
        ("/secret", vec![all], "origin-coded"),
        ("/text", vec![], "no-accept-encoding"),
        ("/text", vec![("accept-encoding", "zstd")], "not-accepted"),
        ("/text", vec![("accept-encoding", "")], "not-accepted"),
        (
            "/text",
            vec![("accept-encoding", "br;q=0.1, identity")],
            "identity-preferred",
        ),
        ("/text", vec![all, ("range", "bytes=0-9")], "range"),
        (
            "/text",
            vec![("accept-encoding", "identity;q=0, x")],
            "not-acceptable",
        ),
        (
            "/photo",
            vec![("accept-encoding", "identity;q=0, x")],
            "not-acceptable",
        ),
    ] {
        let told = coding(&edge, path, &fields).await;
        assert_eq!(told["because"], because, "{path} {fields:?}: {told}");
        assert_eq!(told["state"], Value::Null, "{told}");
        assert_eq!(told["coding"], Value::Null, "{told}");
        assert!(told["reason"].as_str().unwrap().len() > 10, "{told}");
        let answer = edge.get_with(path, &fields).await;
        let given = answer.header("content-encoding");
        assert!(["", "x-secret"].contains(&given.as_str()), "{path} {given}");
        let is_refused = answer.status == StatusCode::NOT_ACCEPTABLE;
        assert_eq!(is_refused, because == "not-acceptable", "{path} {fields:?}");
    }
    edge.reload(&origin, "[compression]\nenabled = false\n")
        .await;
    let told = coding(&edge, "/text", &[all]).await;
    assert_eq!(told["because"], "off", "{told}");
    let rule =
        "[[rule]]\nwhen = { content_type = [\"text/plain\"] }\ncompression = { enabled = false }\n";
    edge.reload(&origin, rule).await;
    let told = coding(&edge, "/text", &[all]).await;
    assert_eq!(
        told["because"], "off",
        "by a rule about the response: {told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_is_explained_from_nothing_to_the_best_level() {
    let origin = Origin::start().await;
    let words: String = (0..4000_u32)
        .map(|n| format!("word{} ", n.wrapping_mul(2_654_435_761) >> 20))
        .collect();
    let reply = Reply::ok(words.clone())
        .cache_control("max-age=600")
        .header("content-type", "text/plain")
        .header("etag", "\"1\"");
    origin.serve("/a", reply);
    let edge = Edge::with(&origin, "[compression]\nupgrade_after_hits = 3\n").await;
    let br = [("accept-encoding", "br, gzip;q=0.5")];
    edge.get("/a").await;
    edge.settled().await;
    let told = coding(&edge, "/a", &br).await;
    assert_eq!(told["coding"], "br", "{told}");
    assert_eq!(told["state"], "not-made", "{told}");
    assert_eq!(told["stored"], Value::Null, "asking makes nothing: {told}");
    let first = edge.get_with("/a", &br).await;
    edge.settled().await;
    let told = coding(&edge, "/a", &br).await;
    assert_eq!(told["state"], "stored", "{told}");
    let stored = &told["stored"];
    assert_eq!(stored["detail"], "br;level=5");
    assert_eq!(stored["effort"], "first");
    assert_eq!(stored["level"], 5);
    assert_eq!(stored["body_bytes"], first.body.len());
    let saved = 100 - first.body.len() * 100 / words.len();
    assert_eq!(stored["saves_percent"], saved);
    assert_eq!(stored["etag"], first.header("etag"));
    assert_eq!(stored["tiers"][0], "mem");
    for _ in 0..600 {
        edge.get_with("/a", &br).await;
        let told = coding(&edge, "/a", &br).await;
        if told["stored"]["effort"] == "best" {
            assert_eq!(told["stored"]["level"], 11, "{told}");
            let tag = first.header("etag");
            let range = [br[0], ("range", "bytes=0-9"), ("if-range", tag.as_str())];
            assert_eq!(coding(&edge, "/a", &range).await["coding"], "br");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was never made better");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origins_coding_is_explained_as_it_is_undone_and_made_anew() {
    let origin = Origin::start().await;
    let gzip = brim::variant::Coding::Gzip;
    let body = brim::variant::encode(gzip, 5, lines().as_bytes()).unwrap();
    let reply = Reply::ok(body)
        .cache_control("max-age=600")
        .header("content-type", "text/plain")
        .header("content-encoding", "gzip");
    origin.serve("/a", reply);
    let edge = Edge::before(&origin).await;
    let gzip = [("accept-encoding", "gzip")];
    edge.get_with("/a", &gzip).await;
    edge.settled().await;
    let told = coding(&edge, "/a", &gzip).await;
    assert_eq!(told["because"], "origin-coded", "{told}");
    assert_eq!(told["coding"], "gzip", "{told}");
    let br = [("accept-encoding", "br")];
    for fields in [&br[..], &[]] {
        let told = coding(&edge, "/a", fields).await;
        assert_eq!(told["undoes"], "gzip", "{told}");
        assert_eq!(told["state"], "not-made", "{told}");
    }
    edge.get_with("/a", &br).await;
    edge.settled().await;
    let told = coding(&edge, "/a", &br).await;
    assert_eq!(
        (&told["undoes"], &told["coding"]),
        (&json!("gzip"), &json!("br"))
    );
    assert_eq!(told["stored"]["effort"], "first", "{told}");
    let told = coding(&edge, "/a", &[]).await;
    assert_eq!(
        (&told["undoes"], &told["coding"]),
        (&json!("gzip"), &json!(null))
    );
    assert_eq!(told["stored"]["effort"], "undone", "{told}");
    assert_eq!(told["stored"]["detail"], "identity;from=gzip", "{told}");
}
