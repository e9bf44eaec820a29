//! What a URL may ask of a picture, how it is signed, and what the answer says of it.

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;

use crate::image::jpeg;
use crate::image_load::reached;
use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Resource;

const IMAGES: &str = "[images]\nenabled = true\nfirst_answer = \"20s\"\n";

/// The second that the clock of the tests starts at.
const NOW: u64 = 1_800_000_000;

/// The site with these lines in `[images]`, in front of one photograph.
async fn start(more: &str) -> (Origin, Edge) {
    start_with(jpeg(160, 120), more).await
}

async fn start_with(body: Bytes, more: &str) -> (Origin, Edge) {
    let origin = Origin::start().await;
    let resource = Resource::new(body)
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .cache_control("max-age=600");
    origin.serve_resource("/a.jpg", resource);
    let edge = Edge::with(&origin, &format!("{IMAGES}{more}")).await;
    (origin, edge)
}

fn size(body: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory(body).unwrap();
    (picture.width(), picture.height())
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_are_one_variant() {
    // Not async: what is asked for so often would be made better in the background.
    let (origin, edge) = start(
        "async = false\naliases = [\"cloudflare\"]\npaths = [\"cloudflare\", \"next\"]\n\
         presets = { small = { width = 40, height = 30, fit = \"cover\", format = \"webp\" } }\n",
    )
    .await;
    let mut tags = Vec::new();
    for target in [
        "/a.jpg?width=40&height=30&fit=cover&format=webp",
        "/a.jpg?format=webp&fit=crop&height=30&width=40",
        "/a.jpg?width=20&height=15&dpr=2&fit=cover&format=webp&blur=0&rotate=360",
        "/a.jpg?w=40&h=30&fit=cover&f=webp&gravity=0.5x0.5",
        "/a.jpg?preset=small",
        "/a.jpg?width=20&preset=small&dpr=1&width=40"
            .split("&dpr")
            .next()
            .unwrap(),
        "/cdn-cgi/image/w=40,h=30,fit=crop,f=webp/a.jpg",
    ] {
        let answer = edge.get(target).await;
        assert_eq!(answer.status.as_u16(), 200, "{target}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "image/webp", "{target}");
        tags.push((target, answer.header("etag"), size(&answer.body)));
    }
    let (odd, same): (Vec<_>, Vec<_>) = tags
        .iter()
        .partition(|(target, ..)| target.contains("width=20&preset"));
    assert_eq!(odd[0].2, (20, 30), "what the URL says counts more");
    for (target, tag, dimensions) in &same {
        assert_eq!((tag, *dimensions), (&same[0].1, (40, 30)), "{target}");
    }
    assert_eq!(origin.count(), 1, "one source for them all");
    assert_eq!(origin.requests_for("/a.jpg")[0].query(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_values_are_400_with_what_to_write() {
    let (origin, edge) = start("aliases = [\"imgix\"]\npaths = [\"next\"]\n").await;
    for (target, sentence) in [
        (
            "/a.jpg?gravity=middle",
            "gravity must be smart, center, a side",
        ),
        (
            "/a.jpg?crop=1,2",
            "crop must be w,h,x,y in pixels or percent",
        ),
        ("/a.jpg?background=blurple", "background must be a colour"),
        ("/a.jpg?width=9&w=9", "width is given twice; write it once"),
        (
            "/a.jpg?preset=none",
            "preset must be the name of a preset of the site",
        ),
        (
            "/a.jpg?blur=%00%ff",
            "blur must be a whole number from 0 to 250",
        ),
        (
            "/_next/image?url=https%3A%2F%2Fevil.test%2Fa.jpg&w=8",
            "on a host of this site",
        ),
        (
            "/_next/image?url=%2F%2Fevil.test%2Fa.jpg&w=8",
            "url must be the path of a picture",
        ),
        ("/_next/image?w=8", "url must be the path of a picture"),
    ] {
        let answer = edge.get(target).await;
        assert_eq!(answer.status.as_u16(), 400, "{target}: {}", answer.text());
        assert!(
            answer.text().contains(sentence),
            "{target}: {}",
            answer.text()
        );
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_forms_of_paths_are_the_pictures_own() {
    let (origin, edge) = start("paths = [\"cloudflare\", \"next\", \"ipx\", \"imgproxy\"]\n").await;
    for target in [
        "/cdn-cgi/image/width=80/a.jpg",
        "/cdn-cgi/image/width=80/https://localhost/a.jpg",
        "/_next/image?url=%2Fa.jpg&w=80&q=80",
        "/_ipx/w_80/a.jpg",
        "/insecure/rs:fit:80:80/plain/a.jpg",
    ] {
        let answer = edge.get_with(target, &[("accept", "image/webp")]).await;
        assert_eq!(answer.status.as_u16(), 200, "{target}: {}", answer.text());
        assert_eq!(size(&answer.body), (80, 60), "{target}");
    }
    assert_eq!(origin.count_for("/a.jpg"), 1);
    assert_eq!(origin.count(), 1);

    // A purge of the picture is one of all of them, and one of them is one of the picture.
    let purged = edge
        .node()
        .pipeline()
        .routes()
        .site("site")
        .unwrap()
        .purgeable(None, "/cdn-cgi/image/width=80/a.jpg", None)
        .unwrap();
    let plain = edge
        .node()
        .pipeline()
        .routes()
        .site("site")
        .unwrap()
        .purgeable(None, "/a.jpg", Some("width=80"))
        .unwrap();
    assert_eq!(format!("{purged:?}"), format!("{plain:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_the_picture_holds_for_other_forms_of_its_path() {
    let (origin, edge) = start(
        "paths = [\"cloudflare\"]\n[[rule]]\nwhen = { path = [\"/private/**\"] }\ndeny = true\n",
    )
    .await;
    for target in [
        "/private/a.jpg",
        "/cdn-cgi/image/width=8/private/a.jpg",
        "/cdn-cgi/image/width=8/x/../private/a.jpg",
        "/cdn-cgi/image/width=8/https://localhost/private/a.jpg",
    ] {
        assert_eq!(edge.get(target).await.status.as_u16(), 403, "{target}");
    }
    assert_eq!(origin.count(), 0);
}

const KEY: &str = "a key of sixteen bytes or more";

/// As the README has it.
fn signed(key: &str, path: &str, query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let message = format!("{path}?{}", pairs.join("&"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, message.as_bytes());
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:08b}"))
        .collect();
    let bits: Vec<char> = bits.chars().collect();
    let signature: String = bits
        .chunks(6)
        .map(|six| {
            let text = format!("{:0<6}", six.iter().collect::<String>());
            char::from(letters[usize::from_str_radix(&text, 2).unwrap()])
        })
        .collect();
    format!("{path}?{query}&sig={signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_need_a_signature_where_the_site_says_so() {
    let key = KEY.replace(' ', "-");
    let (origin, edge) = start(&format!(
        "paths = [\"next\"]\nsign = {{ required = true, keys = [\"another-key-of-16-bytes\", \"{key}\"] }}\n"
    ))
    .await;
    let check = async |target: &str, status: u16, says: &str| {
        let answer = edge.get(target).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{target}: {}",
            answer.text()
        );
        if status == 403 {
            assert!(answer.text().contains(says), "{target}: {}", answer.text());
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    };
    let good = signed(&key, "/a.jpg", "width=80&v=1");
    check(&good, 200, "").await;
    check(&good.replace("width=80", "width=81"), 403, "does not fit").await;
    check("/a.jpg?width=80", 403, "only in signed URLs").await;
    check("/a.jpg?v=1", 200, "").await;
    check("/a.jpg?v=1&sig=AAAA", 403, "does not fit").await;
    check(
        &signed("a key of somebody else", "/a.jpg", "width=80"),
        403,
        "does not fit",
    )
    .await;
    check(
        &signed("another-key-of-16-bytes", "/a.jpg", "width=80"),
        200,
        "",
    )
    .await;
    check("/_next/image?url=%2Fa.jpg&w=8", 403, "only in signed URLs").await;
    check(&signed(&key, "/_next/image", "url=%2Fa.jpg&w=8"), 200, "").await;
    let ending = signed(&key, "/a.jpg", &format!("width=80&expires={}", NOW + 10));
    check(&ending, 200, "").await;
    edge.clock.advance(Duration::from_secs(11));
    check(&ending, 403, "has expired").await;
    let queries: Vec<_> = origin
        .requests_for("/a.jpg")
        .iter()
        .map(|request| request.query().map(str::to_owned))
        .collect();
    assert_eq!(
        queries,
        [Some("v=1".to_owned()), None],
        "signatures are no part of the key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_counts_even_where_none_is_needed() {
    let key = KEY.replace(' ', "-");
    let (_origin, edge) = start(&format!("sign = {{ keys = [\"{key}\"] }}\n")).await;
    assert_eq!(edge.get("/a.jpg?width=80").await.status.as_u16(), 200);
    let wrong = edge.get("/a.jpg?width=80&sig=AAAA").await;
    assert_eq!(wrong.status.as_u16(), 403);
    let right = signed(&key, "/a.jpg", "width=80");
    assert_eq!(edge.get(&right).await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_saves_data_gets_a_smaller_file_and_everybody_is_told() {
    let (_origin, edge) = start("").await;
    let webp = ("accept", "image/webp");
    let full = edge.get_with("/a.jpg?width=120", &[webp]).await;
    let saved = edge
        .get_with("/a.jpg?width=120", &[webp, ("save-data", "on")])
        .await;
    assert!(saved.body.len() < full.body.len());
    let asked = edge.get_with("/a.jpg?width=120&quality=78", &[webp]).await;
    let kept = edge
        .get_with("/a.jpg?width=120&quality=78", &[webp, ("save-data", "on")])
        .await;
    assert_eq!(
        asked.body, kept.body,
        "a quality that was asked for is kept"
    );
    for answer in [&full, &saved] {
        assert_eq!(answer.header("vary"), "Accept, Save-Data");
    }
    assert_eq!(kept.header("vary"), "Accept");

    // The same on HEAD, on 304, on a range and without negotiation.
    let head = edge.http().head("/a.jpg?width=120").await.unwrap();
    assert_eq!(head.header("vary"), "Accept, Save-Data");
    let tag = full.header("etag");
    let again = edge
        .get_with("/a.jpg?width=120", &[webp, ("if-none-match", &tag)])
        .await;
    assert_eq!(
        (again.status.as_u16(), again.header("vary").as_str()),
        (304, "Accept, Save-Data")
    );
    let part = edge
        .get_with(
            "/a.jpg?width=120",
            &[webp, ("range", "bytes=0-9"), ("if-range", &tag)],
        )
        .await;
    assert_eq!(part.status.as_u16(), 206);
    assert_eq!(&part.body[..], &full.body[..10]);
    assert_eq!(part.header("vary"), "Accept, Save-Data");
    let png = edge.get_with("/a.jpg?format=png", &[webp]).await;
    assert_eq!(png.header("vary"), "", "one form for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_of_zero_is_a_refusal() {
    let (_origin, edge) = start("").await;
    for (accept, media_type) in [
        ("image/avif;q=0, image/webp", "image/webp"),
        ("image/avif;q=0, image/webp;q=0, */*", "image/jpeg"),
        ("IMAGE/WEBP;q=0.1", "image/webp"),
    ] {
        let answer = edge
            .get_with("/a.jpg?width=80", &[("accept", accept)])
            .await;
        assert_eq!(answer.header("content-type"), media_type, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_hints_size_pictures_where_the_site_asks_for_them() {
    let (_origin, edge) = start("client_hints = true\n").await;
    let webp = ("accept", "image/webp");
    let answer = edge
        .get_with("/a.jpg?width=40", &[webp, ("sec-ch-dpr", "2")])
        .await;
    assert_eq!(size(&answer.body), (80, 60));
    assert_eq!(answer.header("content-dpr"), "2");
    assert_eq!(answer.header("vary"), "Accept, Save-Data, Sec-CH-DPR, DPR");
    assert_eq!(
        answer.header("accept-ch"),
        "Sec-CH-DPR, Sec-CH-Width, Sec-CH-Viewport-Width"
    );
    let answer = edge
        .get_with("/a.jpg", &[webp, ("sec-ch-width", "77")])
        .await;
    assert_eq!(size(&answer.body), (100, 75));
    assert_eq!(answer.header("content-dpr"), "");
    let small = edge
        .get_with("/a.jpg?width=80", &[webp, ("sec-ch-dpr", "3")])
        .await;
    assert_eq!(size(&small.body), (160, 120), "nothing is enlarged");
    assert_eq!(
        small.header("content-dpr"),
        "2",
        "as many pixels as there are"
    );

    let (_origin, edge) = start("").await;
    let answer = edge
        .get_with("/a.jpg?width=40", &[webp, ("sec-ch-dpr", "2")])
        .await;
    assert_eq!(size(&answer.body), (40, 30));
    assert_eq!(answer.header("accept-ch"), "");
    assert_eq!(answer.header("vary"), "Accept, Save-Data");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_cannot_be_processed_is_refused_where_the_site_says_so() {
    let broken = Bytes::from_static(b"\xff\xd8\xff this says that it is a JPEG and is none");
    for (setting, status) in [
        ("refused = 415\n", 415),
        ("refused = \"422\"\n", 422),
        ("", 200),
    ] {
        let (_origin, edge) = start_with(broken.clone(), setting).await;
        for _ in 0..2 {
            let answer = edge.get("/a.jpg?width=80").await;
            assert_eq!(answer.status.as_u16(), status, "{setting}");
            let plain = edge.get("/a.jpg").await;
            assert_eq!(
                (plain.status.as_u16(), &plain.body),
                (200, &broken),
                "{setting}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_too_long_is_told_so_where_the_site_says_so() {
    let origin = Origin::start().await;
    let picture = |body| {
        Resource::new(body)
            .header("content-type", "image/jpeg")
            .cache_control("max-age=600")
    };
    origin.serve_resource("/slow.jpg", picture(jpeg(960, 720)));
    origin.serve_resource("/a.jpg", picture(jpeg(320, 240)));
    let node = "[images]\nthreads = 1\nqueue_timeout = \"200ms\"\ntimeout = \"60s\"\n";
    let site = "[images]\nenabled = true\nasync = false\nfallback = \"error\"\n";
    let edge = Edge::with_node(&origin, site, node).await;
    let client = edge.http();
    let slow = tokio::spawn(async move { client.get("/slow.jpg?format=avif").await.unwrap() });
    reached(&edge, "brim_images_queue_wait_seconds_count", 1).await;
    let late = edge.get("/a.jpg?width=80&format=webp").await;
    assert_eq!(late.status.as_u16(), 503, "{}", late.text());
    assert_eq!(late.header("retry-after"), "1");
    assert!(
        late.text().contains("cannot be made in time"),
        "{}",
        late.text()
    );
    let plain = edge.get_with("/a.jpg", &[("accept", "image/webp")]).await;
    assert_eq!(plain.status.as_u16(), 200, "nothing is asked for");
    assert_eq!(slow.await.unwrap().status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_may_take_presets_alone() {
    let (origin, edge) =
        start("parameters = false\npresets = { small = { width = 40, format = \"webp\" } }\n")
            .await;
    let answer = edge.get("/a.jpg?preset=small&width=9999999").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(size(&answer.body), (40, 30));
    assert_eq!(
        origin.requests_for("/a.jpg")[0].query(),
        Some("width=9999999")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn svg_pictures_run_no_scripts_where_the_site_says_so() {
    for (setting, expect) in [("svg_csp = true\n", "script-src 'none'"), ("", "")] {
        let origin = Origin::start().await;
        let svg = Resource::new("<svg xmlns='http://www.w3.org/2000/svg'/>")
            .header("content-type", "image/svg+xml; charset=utf-8")
            .cache_control("max-age=600");
        origin.serve_resource("/a.svg", svg);
        let edge = Edge::with(&origin, &format!("{IMAGES}{setting}")).await;
        for _ in 0..2 {
            let answer = edge.get("/a.svg").await;
            assert_eq!(answer.header("content-security-policy"), expect);
        }
    }
}
