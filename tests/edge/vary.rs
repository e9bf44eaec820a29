//! RFC 9111 §4.1: answers that vary are kept side by side.

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

fn greets_by_language(origin: &Origin) {
    origin.on("/a", |request| {
        let text = match request.header("accept-language") {
            Some("de") => "hallo",
            Some("fr") => "salut",
            _ => "hello",
        };
        Reply::ok(text)
            .cache_control("max-age=60")
            .header("vary", "Accept-Language")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn each_language_has_its_own_answer_and_is_a_hit_then() {
    let origin = Origin::start().await;
    greets_by_language(&origin);
    let edge = Edge::before(&origin).await;
    for turn in 1..=3 {
        for (language, text) in [("de", "hallo"), ("fr", "salut"), ("en", "hello")] {
            let answer = edge.get_with("/a", &[("accept-language", language)]).await;
            assert_eq!(answer.text(), text, "turn {turn}");
            assert_eq!(
                answer.header("cache-status").contains("hit"),
                turn > 1,
                "{language} turn {turn}"
            );
        }
    }
    assert_eq!(edge.get("/a").await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_cannot_see_splits_nothing() {
    let origin = Origin::start().await;
    origin.serve(
        "/a",
        Reply::ok("same")
            .cache_control("max-age=60")
            .header("vary", "Accept-Encoding"),
    );
    let edge = Edge::before(&origin).await;
    for coding in ["gzip", "br", "identity"] {
        edge.get_with("/a", &[("accept-encoding", coding)]).await;
    }
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn vary_star_is_not_stored() {
    let origin = Origin::start().await;
    origin.serve(
        "/a",
        Reply::ok("x")
            .cache_control("max-age=60")
            .header("vary", "*"),
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    assert!(
        edge.get("/a")
            .await
            .header("cache-status")
            .contains("vary-star")
    );
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_key_does_not_reach_the_origin() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("x").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    let evil = [
        ("x-forwarded-host", "evil"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "a=b"),
        ("x-original-url", "/admin"),
        ("forwarded", "host=evil"),
    ];
    edge.get_with("/a?q=1", &evil).await;
    let asked = &origin.requests_for("/a")[0];
    assert_eq!(asked.query(), Some("q=1"));
    for name in ["x-forwarded-host", "cookie", "x-original-url", "forwarded"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    assert_eq!(asked.header("via"), Some("1.1 edge"));
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_of_a_url_are_bounded_and_the_oldest_goes() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        Reply::ok(request.header("x-kind").unwrap_or("none").to_owned())
            .cache_control("max-age=600")
            .header("vary", "x-kind")
    });
    let edge = Edge::with(&origin, "[cache]\nmax_variants = 2\n").await;
    for kind in ["red", "green", "blue"] {
        for _ in 0..2 {
            let answer = edge.get_with("/a", &[("x-kind", kind)]).await;
            assert_eq!(answer.text(), kind);
            edge.settled().await;
        }
    }
    let asked = origin.count_for("/a");
    for kind in ["green", "blue"] {
        edge.get_with("/a", &[("x-kind", kind)]).await;
    }
    assert_eq!(origin.count_for("/a"), asked, "the last two are stored");
    edge.get_with("/a", &[("x-kind", "red")]).await;
    assert_eq!(origin.count_for("/a"), asked + 1, "the oldest is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_language_answers_whoever_likes_it_best() {
    let origin = Origin::start().await;
    origin.on("/a", |request| {
        let english = request
            .header("accept-language")
            .is_some_and(|langs| langs.starts_with("en"));
        let language = if english { "en" } else { "de" };
        Reply::ok(language)
            .cache_control("max-age=600")
            .header("vary", "accept-language")
            .header("content-language", language)
    });
    let edge = Edge::with(&origin, "+++\nclient_headers = \"transparent\"\n").await;
    let ask = async |langs: &str| {
        edge.get_with("/a", &[("accept-language", langs)])
            .await
            .text()
    };
    assert_eq!(ask("de, en;q=0.5").await, "de");
    assert_eq!(origin.count_for("/a"), 1);
    assert_eq!(ask("fr;q=0.5, DE").await, "de");
    assert_eq!(
        origin.count_for("/a"),
        1,
        "nothing can be better than what is stored"
    );
    assert_eq!(ask("en, de;q=0.9").await, "en");
    assert_eq!(
        origin.count_for("/a"),
        2,
        "the origin may have what is liked better"
    );
}
