//! `[[redirect]]`, `[[rewrite]]`, `[[rule]]`: what holds, in which order, and what it does to an answer and to what is
//! stored. Static sites and the guard against cache deception.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

/// An origin that answers every path with its target, of this type, without freshness.
async fn echo(media_type: &'static str) -> Origin {
    let origin = Origin::start().await;
    origin.on_any(move |request| {
        Reply::ok(format!("{} {}", request.target, "text ".repeat(100)))
            .header("content-type", media_type)
    });
    origin
}

#[track_caller]
fn has(answer: &Answer, field: &str, part: &str) {
    let value = answer.header(field);
    assert!(value.contains(part), "{field}: {value}");
}

#[track_caller]
fn is_hit(answer: &Answer) {
    has(answer, "cache-status", "edge; hit");
}

async fn explained(edge: &Edge, path: &str) -> Value {
    let target = format!("/v1/explain?url=https://localhost{path}");
    let answer = edge.admin(Method::GET, &target, &Value::Null).await;
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_rule_wins_setting_by_setting() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [[rule]]
        cache = { override_ttl = "1m", browser_ttl = "30s" }
        headers = { set = { "X-A" = "first", "X-B" = "first" }, add = { "X-C" = "1" } }
        [[rule]]
        when = { path = ["/assets/**"] }
        cache = { override_ttl = "1h", immutable = true }
        headers = { set = { "X-B" = "second" }, add = { "X-C" = "2" }, remove = ["X-Content-Type-Options"] }
        "#,
    )
    .await;
    let plain = edge.get("/a.css").await;
    has(&plain, "cache-status", "ttl=60");
    assert_eq!(plain.header("cache-control"), "max-age=30");
    assert_eq!(plain.header("x-b"), "first");
    assert_eq!(plain.header("x-content-type-options"), "nosniff");

    let asset = edge.get("/assets/a.css").await;
    has(&asset, "cache-status", "ttl=3600");
    assert_eq!(asset.header("cache-control"), "max-age=30, immutable");
    assert_eq!(asset.header("x-a"), "first");
    assert_eq!(asset.header("x-b"), "second");
    let added: Vec<_> = asset.headers.get_all("x-c").iter().collect();
    assert_eq!(added, ["1", "2"]);
    assert!(!asset.headers.contains_key("x-content-type-options"));
    is_hit(&edge.get("/assets/a.css").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_list() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [[rule]]
        when = { extension = ["css"] }
        headers = { set = { "X-A" = "css" } }
        stop = true
        [[rule]]
        headers = { set = { "X-A" = "rest" } }
        "#,
    )
    .await;
    assert_eq!(edge.get("/a.css").await.header("x-a"), "css");
    assert_eq!(edge.get("/a.js").await.header("x-a"), "rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_matcher_of_a_request_decides() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [cache]
        override_ttl = "1m"
        [[rule]]
        when = { path = ["/p/*", "/q/**"] }
        headers = { set = { "X-Path" = "1" } }
        [[rule]]
        when = { path_regex = '\.[0-9a-f]{8,}\.' }
        headers = { set = { "X-Regex" = "1" } }
        [[rule]]
        when = { extension = ["js", "mjs"] }
        headers = { set = { "X-Extension" = "1" } }
        [[rule]]
        when = { method = ["HEAD"] }
        headers = { set = { "X-Method" = "1" } }
        [[rule]]
        when = { header = { "X-Beta" = ["on", "yes*"] } }
        headers = { set = { "X-Header" = "1" } }
        [[rule]]
        when = { header = { "X-Beta" = "" } }
        headers = { set = { "X-Without" = "1" } }
        [[rule]]
        when = { query = { debug = "*" } }
        headers = { set = { "X-Query" = "1" } }
        [[rule]]
        when = { ip = ["127.0.0.0/8"] }
        headers = { set = { "X-Ip" = "1" } }
        [[rule]]
        when = { ip = ["192.0.2.0/24"] }
        headers = { set = { "X-Other-Ip" = "1" } }
        [[rule]]
        when = { path = ["/p/*"], extension = ["js"] }
        headers = { set = { "X-Both" = "1" } }
        "#,
    )
    .await;
    const TOLD: [&str; 9] = [
        "x-path",
        "x-regex",
        "x-extension",
        "x-method",
        "x-header",
        "x-without",
        "x-query",
        "x-ip",
        "x-both",
    ];
    let told = |answer: &Answer| -> Vec<&str> {
        assert!(!answer.headers.contains_key("x-other-ip"));
        let is_told = |name: &&str| answer.headers.contains_key(*name);
        TOLD.into_iter().filter(is_told).collect()
    };
    for (target, beta, expect) in [
        ("/a", None, &["x-without", "x-ip"][..]),
        ("/p/a", None, &["x-path", "x-without", "x-ip"]),
        ("/p/a/b", None, &["x-without", "x-ip"]),
        ("/q/a/b", None, &["x-path", "x-without", "x-ip"]),
        ("/a.0123abcd.x", None, &["x-regex", "x-without", "x-ip"]),
        ("/a.MJS", None, &["x-extension", "x-without", "x-ip"]),
        (
            "/p/a.js",
            None,
            &["x-path", "x-extension", "x-without", "x-ip", "x-both"],
        ),
        ("/a", Some("on"), &["x-header", "x-ip"]),
        ("/a", Some("yes please"), &["x-header", "x-ip"]),
        ("/a", Some("off"), &["x-ip"]),
        ("/a?x=1&debug=", None, &["x-without", "x-query", "x-ip"]),
    ] {
        let fields: Vec<_> = beta.iter().map(|value| ("x-beta", *value)).collect();
        // Twice: pulled, and from the store, where the fields of the last answer are kept.
        for _ in 0..2 {
            let answer = edge.get_with(target, &fields).await;
            assert_eq!(told(&answer), expect, "{target} {beta:?}");
            has(&answer, "vary", "x-beta");
        }
    }
    let head = edge.http().head("/a").await.unwrap();
    assert_eq!(told(&head), ["x-method", "x-without", "x-ip"]);
    assert_eq!(origin.count_for("/a"), 2, "/a and /a?x=1&debug=");
}

#[tokio::test(flavor = "multi_thread")]
async fn matchers_of_the_response_decide_when_it_is_there() {
    let origin = Origin::start().await;
    origin.serve("/gone", Reply::new(404, "no"));
    origin.serve("/broken", Reply::new(500, "no"));
    let text = |media_type: &str| Reply::ok("x".repeat(1000)).header("content-type", media_type);
    origin.serve("/page", text("text/html; charset=utf-8"));
    origin.serve("/picture", text("image/gif"));
    origin.serve("/data", text("application/json"));
    let edge = Edge::with(
        &origin,
        r#"
        [[rule]]
        cache = { default_ttl = "1h" }
        [[rule]]
        name = "missing"
        when = { status = ["404", "5xx"] }
        cache = { status_ttl = { "404" = "2m", "5xx" = "3s" } }
        headers = { set = { "X-Rule" = "missing" } }
        [[rule]]
        name = "pages"
        when = { content_type = ["text/html", "image/*"] }
        cache = { override_ttl = "5m" }
        headers = { set = { "X-Rule" = "pages" } }
        tags = { add = ["pages"] }
        stop = true
        [[rule]]
        name = "rest"
        when = { content_type = ["application/json"] }
        compression = { enabled = false }
        headers = { set = { "X-Rule" = "rest" } }
        "#,
    )
    .await;
    for (path, rule, ttl) in [
        ("/gone", "missing", 120),
        ("/broken", "missing", 3),
        ("/page", "pages", 300),
        ("/picture", "pages", 300),
        ("/data", "rest", 3600),
    ] {
        let first = edge.get(path).await;
        assert_eq!(first.header("x-rule"), rule, "{path}");
        has(&first, "cache-status", &format!("ttl={ttl}"));
        let second = edge.get(path).await;
        assert_eq!(second.header("x-rule"), rule, "{path}");
        is_hit(&second);
    }
    let coded = |path: &'static str| {
        let edge = &edge;
        async move {
            let answer = edge.get_with(path, &[("accept-encoding", "gzip")]).await;
            answer.headers.contains_key("content-encoding")
        }
    };
    assert!(coded("/page").await);
    assert!(!coded("/data").await, "the rule turns compression off");

    edge.purge(json!({"sites": ["site"], "tags": ["pages"]}))
        .await;
    edge.get("/page").await;
    edge.get("/data").await;
    assert_eq!(
        (origin.count_for("/page"), origin.count_for("/data")),
        (2, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_rules_are_purged_like_the_origins() {
    let origin = Origin::start().await;
    for path in ["/assets/a.css", "/assets/b.css", "/c.css"] {
        let reply = Reply::ok(path).cache_control("max-age=600");
        origin.serve(path, reply.header("surrogate-key", "all"));
    }
    let edge = Edge::with(
        &origin,
        "[[rule]]\nwhen = { path = [\"/assets/**\"] }\ntags = { add = [\"assets\", \"v1\"] }\n",
    )
    .await;
    let all = ["/assets/a.css", "/assets/b.css", "/c.css"];
    let ask = async || {
        for path in all {
            edge.get(path).await;
        }
        all.map(|path| origin.count_for(path))
    };
    assert_eq!(ask().await, [1, 1, 1]);
    edge.purge(json!({"sites": ["site"], "tags": ["assets"]}))
        .await;
    assert_eq!(ask().await, [2, 2, 1]);
    edge.purge(json!({"sites": ["site"], "tags": ["all"]}))
        .await;
    assert_eq!(ask().await, [3, 3, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_answered_without_the_origin() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [[redirect]]
        from = "/old/*"
        to = "/new/$1"
        [[redirect]]
        from = "/old/**"
        to = "https://other.test/$1?from=old"
        status = 302
        [[redirect]]
        from = "/open/**"
        to = "/$1"
        status = 301
        [cors]
        origins = ["https://shop.test"]
        [[rule]]
        when = { path_regex = '^/blog/(\d{4})/(.+)$' }
        redirect = { to = "/$1-$2", status = 307 }
        [[rule]]
        when = { path = ["/mobile/*"], header = { "User-Agent" = "*Mobile*" } }
        redirect = { to = "https://m.other.test/$1" }
        headers = { set = { "X-Rule" = "mobile" } }
        "#,
    )
    .await;
    for (target, status, location) in [
        ("/old/a%20b", 308, "/new/a%20b"),
        ("/old/a?x=1&y", 308, "/new/a?x=1&y"),
        ("/old/a/b?x=1", 302, "https://other.test/a/b?from=old"),
        ("/open//evil.test/a", 301, "/evil.test/a"),
        ("/blog/2024/a/b?q", 307, "/2024-a/b?q"),
    ] {
        let answer = edge.get(target).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        assert_eq!(answer.header("location"), location, "{target}");
        assert!(answer.body.is_empty());
        assert!(!answer.headers.contains_key("cache-control"));
        has(&answer, "vary", "Origin");
    }
    let phone = edge
        .get_with("/mobile/a", &[("user-agent", "X Mobile Y")])
        .await;
    assert_eq!(phone.header("location"), "https://m.other.test/a");
    assert_eq!(phone.header("x-rule"), "mobile");
    has(&phone, "vary", "user-agent");
    assert_eq!(origin.count(), 0);

    let desk = edge.get("/mobile/a").await;
    assert_eq!(desk.status, StatusCode::OK);
    has(&desk, "vary", "user-agent");
    let preflight = edge
        .http()
        .send(Method::OPTIONS, "/old/a", &[], bytes::Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        preflight.status,
        StatusCode::NO_CONTENT,
        "a preflight must not be redirected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rewrites_change_the_key_and_what_the_origin_is_asked() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [cache]
        override_ttl = "1h"
        [[rewrite]]
        from = "/v*/**"
        to = "/$2"
        [[rule]]
        when = { path = ["/js/*"] }
        headers = { set = { "X-Rule" = "js" } }
        [[rule]]
        when = { path = ["/folder/**/"] }
        rewrite = { to = "/folder/$1/index.html" }
        [[rule]]
        when = { path = ["/cut/*F*"] }
        rewrite = { to = "/$1" }
        "#,
    )
    .await;
    let first = edge.get("/v1/js/a.js?x=1").await;
    assert!(
        first.text().starts_with("/js/a.js?x=1 "),
        "{}",
        first.text()
    );
    assert_eq!(first.header("x-rule"), "js", "rules see the new path");
    is_hit(&edge.get("/v2/js/a.js?x=1").await);
    is_hit(&edge.get("/js/a.js?x=1").await);

    edge.purge(json!({"urls": ["https://localhost/v3/js/a.js?x=1"]}))
        .await;
    edge.get("/js/a.js?x=1").await;
    assert_eq!(
        origin.count_for("/js/a.js"),
        2,
        "a purge follows the rewrite"
    );

    let page = edge.get("/folder/a/b/").await;
    assert!(page.text().starts_with("/folder/a/b/index.html "));
    is_hit(&edge.get("/folder/a/b/index.html").await);

    assert!(edge.get("/cut/aaF").await.text().starts_with("/aa "));
    let half = edge.get("/cut/%2Fa").await;
    assert_eq!(half.status, StatusCode::BAD_REQUEST, "half an escape");
    let dots = edge.get("/v1/..%2Fa").await;
    assert!(dots.text().starts_with("/..%2Fa "), "no dot segment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_of_every_path_that_rules_may_make_of_a_url() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [cache]
        override_ttl = "1h"
        [[rule]]
        when = { path = ["/a/*"], header = { x-device = ["m"] } }
        rewrite = { to = "/m/$1" }
        "#,
    )
    .await;
    let small = [("x-device", "m")];
    edge.get("/a/x").await;
    assert!(
        edge.get_with("/a/x", &small)
            .await
            .text()
            .starts_with("/m/x ")
    );
    is_hit(&edge.get_with("/a/x", &small).await);
    edge.purge(json!({"urls": ["https://localhost/a/x"]})).await;
    edge.get("/a/x").await;
    edge.get_with("/a/x", &small).await;
    assert_eq!((origin.count_for("/a/x"), origin.count_for("/m/x")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_requests_never_reach_the_origin() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [[rule]]
        when = { path = ["/private/**"] }
        deny = true
        [[rule]]
        when = { path = ["/private/gone"] }
        deny = 410
        [[rule]]
        when = { path = ["/private/open"] }
        deny = false
        [[rule]]
        when = { query = { role = "admin" } }
        deny = 404
        "#,
    )
    .await;
    for (target, status) in [
        ("/private/a", 403),
        ("/x/..//private/a", 200),
        ("/x/../private/a", 403),
        ("/%70rivate/a", 403),
        ("/private/gone", 410),
        ("/private/open", 200),
        ("/a?role=%61dmin", 404),
        ("/a?role=user", 200),
    ] {
        let answer = edge.get(target).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        if status != 200 {
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(answer.text().contains("refused by a rule"));
        }
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_settings_hold_where_their_rule_holds() {
    let origin = Origin::start().await;
    let cookie = Reply::ok("x")
        .cache_control("max-age=60")
        .header("set-cookie", "a=b");
    origin.serve("/cookie", cookie.clone());
    origin.serve("/strip/cookie", cookie);
    for path in ["/a", "/off/a", "/all/a"] {
        let said = if path == "/a" {
            "max-age=60"
        } else {
            "no-store"
        };
        origin.serve(path, Reply::ok("x").cache_control(said));
    }
    for path in ["/small/a", "/small/b"] {
        origin.serve(path, Reply::ok("x".repeat(100)).cache_control("max-age=60"));
    }
    let edge = Edge::with(
        &origin,
        r#"
        [[rule]]
        when = { path = ["/strip/**"] }
        cache = { set_cookie = "strip" }
        [[rule]]
        when = { path = ["/off/**"] }
        cache = { mode = "off" }
        [[rule]]
        when = { path = ["/all/**"] }
        cache = { mode = "all", default_ttl = "30s", browser_ttl = "5s" }
        [[rule]]
        when = { path = ["/small/a"] }
        cache = { max_object = "10B" }
        [[rule]]
        when = { header = { "X-Fresh" = "*" } }
        cache = { mode = "off" }
        "#,
    )
    .await;
    for (path, says) in [
        ("/a", "stored"),
        ("/cookie", "detail=set-cookie"),
        ("/strip/cookie", "stored"),
        ("/off/a", "fwd=bypass"),
        ("/all/a", "ttl=30; stored"),
        ("/small/a", "detail=too-large"),
        ("/small/b", "stored"),
    ] {
        has(&edge.get(path).await, "cache-status", says);
    }
    let all = edge.get("/all/a").await;
    is_hit(&all);
    assert_eq!(all.header("cache-control"), "max-age=5");
    assert!(
        !edge
            .get("/strip/cookie")
            .await
            .headers
            .contains_key("set-cookie")
    );
    let past = edge.get_with("/a", &[("x-fresh", "1")]).await;
    has(&past, "cache-status", "fwd=bypass");
    is_hit(&edge.get("/a").await);
}

/// The word of a rule that waits for the response must not make credentials shareable that went to the origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_response_does_not_share_what_credentials_got() {
    let origin = Origin::start().await;
    origin.on("/secret", |request| {
        let who = request
            .header("authorization")
            .unwrap_or("nobody")
            .to_owned();
        Reply::ok(who)
            .cache_control("max-age=60")
            .header("content-type", "text/html")
    });
    let edge = Edge::with(
        &origin,
        r#"
        [cache]
        authorization = "strip"
        [[rule]]
        when = { content_type = ["text/html"] }
        stop = true
        [[rule]]
        when = { path = ["/secret"] }
        cache = { authorization = "rfc" }
        "#,
    )
    .await;
    let mine = edge
        .get_with("/secret", &[("authorization", "Basic bWU=")])
        .await;
    assert_eq!(mine.text(), "Basic bWU=");
    has(&mine, "cache-status", "detail=authorization");
    assert_eq!(edge.get("/secret").await.text(), "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_site_stores_static_types_alone() {
    let origin = Origin::start().await;
    let of = |media_type: &str| {
        Reply::ok("x")
            .cache_control("max-age=60")
            .header("content-type", media_type)
    };
    origin.serve("/style", of("text/css"));
    origin.serve("/page", of("text/html"));
    origin.serve("/data", of("application/json"));
    origin.serve("/bare.css", Reply::ok("x").cache_control("max-age=60"));
    origin.serve("/never.css", of("text/css").cache_control("no-store"));
    let edge = Edge::with(
        &origin,
        "[cache]\nmode = \"static\"\n[[rule]]\nwhen = { path = [\"/data\"] }\ncache = { mode = \"respect\" }\n",
    )
    .await;
    for (path, says) in [
        ("/style", "stored"),
        ("/page", "detail=not-static"),
        ("/data", "stored"),
        ("/bare.css", "stored"),
        ("/never.css", "detail=no-store"),
    ] {
        has(&edge.get(path).await, "cache-status", says);
    }
    edge.get("/page").await;
    assert_eq!(origin.count_for("/page"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_under_the_name_of_an_asset_is_not_stored() {
    let origin = Origin::start().await;
    origin.on_any(|request| {
        let cookie = request.header("x-user").unwrap_or("nobody").to_owned();
        Reply::ok(cookie)
            .cache_control("max-age=600")
            .header("content-type", "text/html")
    });
    let edge = Edge::with(
        &origin,
        r#"
        [cache]
        mode = "all"
        [[rule]]
        when = { path = ["/known/**"] }
        cache = { deception_guard = false }
        "#,
    )
    .await;
    for path in [
        "/account/x.css",
        "/account;x.js",
        "/account%2Fx.png",
        "/account/.css",
    ] {
        for turn in 1..=2 {
            has(&edge.get(path).await, "cache-status", "detail=deception");
            assert_eq!(origin.count_for(path), turn, "{path}");
        }
    }
    for path in ["/page.html", "/page", "/known/x.css"] {
        edge.get(path).await;
        is_hit(&edge.get(path).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_rules() {
    let origin = echo("text/css").await;
    let edge = Edge::with(
        &origin,
        r#"
        [[redirect]]
        from = "/old/*"
        to = "/new/$1"
        [[rule]]
        name = "hashed assets"
        when = { path = ["/assets/**"] }
        cache = { override_ttl = "1h" }
        [[rule]]
        when = { path = ["/nowhere"] }
        deny = true
        [[rule]]
        name = "styles"
        when = { content_type = ["text/css"] }
        "#,
    )
    .await;
    let before = explained(&edge, "/assets/a").await;
    assert_eq!(before["details"]["rules"], "hashed assets");
    assert_eq!(before["details"]["rules_of_response"], "styles");
    edge.get("/assets/a").await;
    let after = explained(&edge, "/assets/a").await;
    assert_eq!(after["decision"], "hit");
    assert_eq!(after["details"]["rules"], "hashed assets, styles");
    let denied = explained(&edge, "/nowhere").await;
    assert_eq!(denied["decision"], "refuse");
    assert_eq!(denied["details"]["rules"], "rule 2");
    let redirected = explained(&edge, "/old/a?b").await;
    assert_eq!(redirected["decision"], "redirect");
    assert_eq!(redirected["reason"], "308 to /new/a?b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_rules_of_what_is_stored() {
    let origin = echo("text/css").await;
    let rule = |value: &str| {
        format!(
            "[cache]\noverride_ttl = \"1h\"\n[[rule]]\nwhen = {{ path = [\"/a\"] }}\nheaders = {{ set = {{ \"X-A\" = \"{value}\" }} }}\n"
        )
    };
    let edge = Edge::with(&origin, &rule("one")).await;
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.header("x-a"), "one");
    edge.reload(&origin, &rule("two")).await;
    let hit = edge.get("/a").await;
    is_hit(&hit);
    assert_eq!(hit.header("x-a"), "two");
}

/// More combinations of rules than a site remembers, chosen by the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_tries_all_combinations_gets_right_answers() {
    let origin = echo("text/css").await;
    let mut settings =
        "[cache]\noverride_ttl = \"1h\"\n[cache.key]\nquery = { mode = \"none\" }\n".to_owned();
    for number in 0..10 {
        settings.push_str(&format!(
            "[[rule]]\nwhen = {{ query = {{ p{number} = \"*\" }} }}\nheaders = {{ add = {{ \"X-P\" = \"{number}\" }} }}\n"
        ));
    }
    let edge = Edge::with(&origin, &settings).await;
    let client = edge.http();
    for combination in (0_u32..1024).step_by(2).chain([1, 2, 4]) {
        let held: Vec<u32> = (0..10)
            .filter(|bit| combination & (1 << bit) != 0)
            .collect();
        let query: Vec<String> = held.iter().map(|bit| format!("p{bit}=1")).collect();
        let answer = client
            .get(&format!("/a?{}", query.join("&")))
            .await
            .unwrap();
        let told: Vec<u32> = answer
            .headers
            .get_all("x-p")
            .iter()
            .map(|value| value.to_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(told, held);
    }
    assert_eq!(origin.count(), 1);
}
