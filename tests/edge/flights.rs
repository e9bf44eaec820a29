//! How fetches under way meet waiters, purges, `Vary`, failures and each other (DESIGN: cache engine).

use http::StatusCode;
use serde_json::json;

use crate::support::client::Answer;
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

/// `count` waiters on `/a`, all aboard while the origin still holds its head back.
async fn waiters(
    edge: &Edge,
    gate: &Gate,
    count: usize,
    fields: &'static [(&'static str, &'static str)],
) -> tokio::task::JoinHandle<Vec<Answer>> {
    let client = edge.http();
    let asking = tokio::spawn(async move {
        let answers = client.many(count, "/a", fields).await;
        answers.into_iter().map(Result::unwrap).collect()
    });
    gate.reached(1).await;
    edge.readers(count).await;
    asking
}

fn status_of(answer: &Answer) -> String {
    answer.header("cache-status")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_after_a_purge_does_not_join_the_older_flight() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let old = Reply::ok("old")
        .cache_control("max-age=600")
        .hold_head(&gate);
    origin.serve_in_turn("/a", [old, Reply::ok("new").cache_control("max-age=600")]);
    let edge = Edge::before(&origin).await;
    for what in [
        json!({"sites": ["site"], "urls": ["/a"]}),
        json!({"sites": ["site"], "prefixes": ["/"]}),
        json!({"sites": ["site"], "everything": true}),
        json!({"everything": true}),
    ] {
        let origin_was_asked = origin.count_for("/a");
        let first = waiters(&edge, &gate, 1, &[]).await;
        edge.purge(what).await;
        assert_eq!(edge.get("/a").await.text(), "new");
        gate.admit(1);
        first.await.unwrap();
        assert_eq!(edge.get("/a").await.text(), "new");
        // The next turn begins with an older answer again.
        edge.purge(json!({"sites": ["site"], "urls": ["/a"]})).await;
        assert!(origin.count_for("/a") > origin_was_asked);
        let old = Reply::ok("old")
            .cache_control("max-age=600")
            .hold_head(&gate);
        origin.serve_in_turn("/a", [old, Reply::ok("new").cache_control("max-age=600")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_does_not_name_it_leaves_the_flight_joinable() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("one")
            .cache_control("max-age=600")
            .hold_head(&gate),
    );
    let edge = Edge::before(&origin).await;
    let first = waiters(&edge, &gate, 1, &[]).await;
    edge.purge(json!({"sites": ["site"], "urls": ["/b"]})).await;
    let second = waiters(&edge, &gate, 2, &[]).await;
    gate.open();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_of_an_answer_whose_tags_were_purged_meanwhile_move_to_a_new_flight() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let tagged = |text: &'static str| {
        Reply::ok(text)
            .cache_control("max-age=600")
            .header("surrogate-key", "red")
    };
    origin.serve_in_turn("/a", [tagged("old").hold_head(&gate), tagged("new")]);
    let edge = Edge::before(&origin).await;
    let leader = waiters(&edge, &gate, 1, &[]).await;
    edge.purge(json!({"sites": ["site"], "tags": ["red"]}))
        .await;
    // The tags of what is being fetched are not known yet: these board the flight.
    let followers = waiters(&edge, &gate, 3, &[]).await;
    gate.open();
    for answer in followers.await.unwrap() {
        assert_eq!(answer.text(), "new");
    }
    leader.await.unwrap();
    assert_eq!(edge.get("/a").await.text(), "new");
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_fetch_never_replaces_a_newer_one() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let older = Reply::ok("older")
        .cache_control("max-age=600")
        .hold_head(&gate);
    let newer = Reply::ok("newer").cache_control("max-age=600");
    origin.serve_in_turn("/a", [older, newer]);
    let edge = Edge::with(&origin, "[cache]\ncollapse = false\n").await;
    let client = edge.http();
    let first = tokio::spawn(async move { client.get("/a").await.unwrap() });
    gate.reached(1).await;
    edge.pass_seconds(1);
    assert_eq!(edge.get("/a").await.text(), "newer");
    edge.pass_seconds(1);
    gate.open();
    assert_eq!(first.await.unwrap().text(), "older");
    assert_eq!(edge.get("/a").await.text(), "newer");
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vary_learnt_in_flight_splits_the_waiters_into_one_flight_a_value() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.on("/a", move |request| {
        let text = request.header("x-kind").unwrap_or("none").to_owned();
        Reply::ok(text)
            .cache_control("max-age=600")
            .header("vary", "x-kind")
            .hold_head(&held)
    });
    let edge = Edge::before(&origin).await;
    let red = waiters(&edge, &gate, 5, &[("x-kind", "red")]).await;
    let blue = waiters(&edge, &gate, 10, &[("x-kind", "blue")]).await;
    gate.open();
    for answer in red.await.unwrap() {
        assert_eq!(answer.text(), "red");
    }
    for answer in blue.await.unwrap() {
        assert_eq!(answer.text(), "blue");
    }
    // One without the field, from which the rule was learnt, and one a value.
    assert_eq!(origin.count_for("/a"), 3);
    // The rule is known now: each value has its own flight from the start.
    edge.purge(json!({"everything": true})).await;
    let answer = edge.get_with("/a", &[("x-kind", "red")]).await;
    assert_eq!(answer.text(), "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_share_an_answer_of_lifetime_zero_when_nothing_says_that_it_is_personal() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("shared")
            .cache_control("max-age=0")
            .header("etag", "\"1\"")
            .hold_head(&gate),
    );
    let edge = Edge::before(&origin).await;
    let asking = waiters(&edge, &gate, 10, &[]).await;
    gate.open();
    for answer in asking.await.unwrap() {
        assert_eq!(answer.text(), "shared");
    }
    assert_eq!(origin.count_for("/a"), 1);
    edge.get("/a").await;
    assert_eq!(origin.count_for("/a"), 2, "who comes later asks anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_must_not_be_shared_release_all_waiters() {
    for directives in [
        "max-age=0, must-revalidate",
        "no-cache",
        "private",
        "no-store",
        "s-maxage=0",
    ] {
        let origin = Origin::start().await;
        let gate = Gate::closed();
        origin.serve(
            "/a",
            Reply::ok("mine")
                .cache_control(directives)
                .header("etag", "\"1\"")
                .hold_head(&gate),
        );
        let edge = Edge::before(&origin).await;
        let asking = waiters(&edge, &gate, 4, &[]).await;
        gate.open();
        for answer in asking.await.unwrap() {
            assert!(
                !status_of(&answer).contains("collapsed"),
                "{directives}: {}",
                status_of(&answer)
            );
        }
        assert_eq!(origin.count_for("/a"), 4, "{directives}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_say_who_asks_share_no_answer_that_is_stale_at_once() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("mine")
            .cache_control("max-age=0")
            .header("etag", "\"1\"")
            .hold_head(&gate),
    );
    let settings = "+++\nclient_headers = \"transparent\"\n";
    let edge = Edge::with(&origin, settings).await;
    let asking = waiters(&edge, &gate, 4, &[("cookie", "session=1")]).await;
    gate.open();
    asking.await.unwrap();
    assert_eq!(origin.count_for("/a"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_waited_for_once_only() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("mine").cache_control("no-store"),
            Reply::ok("mine").cache_control("no-store").hold_head(&gate),
        ],
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    let client = edge.http();
    let asking = tokio::spawn(async move { client.many(20, "/a", &[]).await });
    // All twenty are at the origin at one time: nobody waits for another.
    gate.reached(20).await;
    gate.open();
    asking.await.unwrap();
    assert_eq!(origin.count_for("/a"), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_origin_is_asked_once_for_all_who_wait_and_not_again_at_once() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve("/a", Reply::reset().hold_head(&gate));
    let settings = "+++\n[origin.retries]\ncount = 0\n";
    let edge = Edge::with(&origin, settings).await;
    let asking = waiters(&edge, &gate, 50, &[]).await;
    gate.open();
    for answer in asking.await.unwrap() {
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert!(answer.header("proxy-status").contains("error="));
    }
    assert_eq!(edge.get("/a").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        origin.count_for("/a"),
        1,
        "the error is shared for a moment"
    );
    origin.serve("/a", Reply::ok("back").cache_control("max-age=60"));
    edge.pass_seconds(2);
    assert_eq!(edge.get("/a").await.text(), "back");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_url_does_not_mark_its_neighbours() {
    let origin = Origin::start().await;
    origin.serve("/bad", Reply::reset());
    origin.serve("/good", Reply::ok("good").cache_control("max-age=60"));
    let edge = Edge::before(&origin).await;
    assert_eq!(edge.get("/bad").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(edge.get("/good").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_origin_is_asked_once_in_a_back_off_while_stale_answers_are_given() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("still").cache_control("max-age=10"));
    let settings = "+++\n[origin.retries]\ncount = 0\n";
    let edge = Edge::with(&origin, settings).await;
    edge.get("/a").await;
    origin.serve("/a", Reply::raw("what is this?\r\n\r\n"));
    edge.pass_seconds(20);
    for _ in 0..20 {
        assert_eq!(edge.get("/a").await.text(), "still");
    }
    assert_eq!(origin.count_for("/a"), 2);
    edge.pass_seconds(2);
    for _ in 0..20 {
        assert_eq!(edge.get("/a").await.text(), "still");
    }
    assert_eq!(origin.count_for("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_503_does_not_hide_the_stale_200() {
    let origin = Origin::start().await;
    origin.serve("/a", Reply::ok("good").cache_control("max-age=10"));
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    origin.serve("/a", Reply::new(503, "down"));
    edge.pass_seconds(20);
    assert_eq!(edge.get("/a").await.text(), "good");
    edge.pass_seconds(5);
    assert_eq!(edge.get("/a").await.text(), "good", "also the second time");
    // An error that the origin gives a lifetime to is an error all the same.
    origin.serve("/a", Reply::new(503, "down").cache_control("max-age=600"));
    edge.pass_seconds(5);
    assert_eq!(edge.get("/a").await.text(), "good");
    edge.pass_seconds(5);
    assert_eq!(edge.get("/a").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_and_a_410_replace_what_is_stored() {
    for status in [404, 410] {
        let origin = Origin::start().await;
        origin.serve("/a", Reply::ok("good").cache_control("max-age=10"));
        let edge = Edge::before(&origin).await;
        edge.get("/a").await;
        origin.serve("/a", Reply::new(status, "gone"));
        edge.pass_seconds(20);
        assert_eq!(edge.get("/a").await.status.as_u16(), status);
        origin.die().await;
        let after = edge.get("/a").await;
        assert_eq!(after.status.as_u16(), status, "{}", status_of(&after));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_object_is_refreshed_by_one_request_and_nobody_waits() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let directives = "max-age=10, stale-while-revalidate=60";
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("one").cache_control(directives),
            Reply::ok("two").cache_control(directives).hold_head(&gate),
        ],
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.pass_seconds(20);
    // The origin holds the refresh back all the time: whoever waited for it would hang.
    for answer in edge.http().many(200, "/a", &[]).await {
        assert_eq!(answer.unwrap().text(), "one");
    }
    gate.reached(1).await;
    assert_eq!(origin.count_for("/a"), 2);
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_refresh_outlives_the_client_that_caused_it() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let directives = "max-age=10, stale-while-revalidate=600";
    origin.serve_in_turn(
        "/a",
        [
            Reply::ok("one").cache_control(directives),
            Reply::ok("two").cache_control(directives).hold_head(&gate),
        ],
    );
    let edge = Edge::before(&origin).await;
    edge.get("/a").await;
    edge.pass_seconds(20);
    // This client has its answer and is gone before the origin speaks.
    assert_eq!(edge.get("/a").await.text(), "one");
    gate.reached(1).await;
    gate.open();
    crate::support::within_deadline("the refreshed object", async {
        while edge.get("/a").await.text() != "two" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(origin.count_for("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_waiters_the_next_is_a_503() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("one")
            .cache_control("max-age=60")
            .hold_head(&gate),
    );
    let edge = Edge::with_node(&origin, "", "---\n[cache.fill]\nmax_waiters = 3\n").await;
    let asking = waiters(&edge, &gate, 3, &[]).await;
    let refused = edge.get("/a").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "1");
    gate.open();
    asking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_disconnects_gives_its_place_back() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    origin.serve(
        "/a",
        Reply::ok("one")
            .cache_control("max-age=60")
            .hold_head(&gate),
    );
    let edge = Edge::with_node(&origin, "", "---\n[cache.fill]\nmax_waiters = 2\n").await;
    let staying = waiters(&edge, &gate, 1, &[]).await;
    let client = edge.http();
    let leaving = tokio::spawn(async move { client.get("/a").await });
    edge.readers(2).await;
    assert_eq!(edge.get("/a").await.status, StatusCode::SERVICE_UNAVAILABLE);
    leaving.abort();
    edge.readers_at_most(1).await;
    let client = edge.http();
    let coming = tokio::spawn(async move { client.get("/a").await.unwrap() });
    edge.readers(2).await;
    gate.open();
    staying.await.unwrap();
    assert_eq!(coming.await.unwrap().text(), "one");
    assert_eq!(origin.count_for("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_answer_that_must_not_be_stored_ends_the_use_of_the_stored_one() {
    for directives in ["no-store", "private"] {
        let origin = Origin::start().await;
        origin.serve_in_turn(
            "/a",
            [
                Reply::ok("old").cache_control("max-age=10, stale-while-revalidate=0"),
                Reply::ok("secret").cache_control(directives),
            ],
        );
        let edge = Edge::before(&origin).await;
        edge.get("/a").await;
        edge.pass_seconds(20);
        assert_eq!(edge.get("/a").await.text(), "secret");
        origin.die().await;
        let after = edge.get("/a").await;
        assert_eq!(
            after.status,
            StatusCode::BAD_GATEWAY,
            "{directives}: {}",
            after.text()
        );
    }
}
