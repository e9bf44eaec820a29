//! Pictures: the best format that the client takes, in the size that it asks for.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, RgbImage};

use crate::support::edge::Edge;
use crate::support::origin::Origin;
use crate::support::reply::Resource;

pub(crate) const IMAGES: &str = "[images]\nenabled = true\nfirst_answer = \"20s\"\n";

/// A picture with enough in it that a smaller one is really smaller.
pub(crate) fn jpeg(width: u32, height: u32) -> Bytes {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let wave =
            |v: u32| u8::try_from((v * 37 + (x * y) % 61 + (x / 3) * 5 + y * 2) % 256).unwrap();
        image::Rgb([wave(x), wave(y), wave(x + y)])
    });
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, ImageFormat::Jpeg).unwrap();
    out.into_inner().into()
}

async fn start(body: Bytes) -> (Origin, Edge) {
    let origin = Origin::start().await;
    let resource = Resource::new(body)
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .cache_control("max-age=600");
    origin.serve_resource("/a.jpg", resource);
    let edge = Edge::with(&origin, IMAGES).await;
    (origin, edge)
}

fn size(body: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory(body).unwrap();
    (picture.width(), picture.height())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_follows_accept_and_the_second_is_a_hit() {
    let (origin, edge) = start(jpeg(160, 120)).await;
    for (accept, media_type) in [
        ("image/avif,image/webp,*/*", "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("*/*", "image/jpeg"),
    ] {
        for turn in 0..2 {
            let answer = edge
                .get_with("/a.jpg?width=80", &[("accept", accept)])
                .await;
            assert_eq!(answer.header("content-type"), media_type);
            assert_eq!(answer.header("vary"), "Accept, Save-Data");
            if media_type != "image/avif" {
                assert_eq!(size(&answer.body), (80, 60));
            }
            if turn == 1 {
                assert!(
                    answer.header("cache-status").contains("; hit"),
                    "{}",
                    answer.header("cache-status")
                );
            }
        }
    }
    assert_eq!(origin.count_for("/a.jpg"), 1);
    assert_eq!(
        origin.requests_for("/a.jpg")[0].query(),
        None,
        "our parameters are not the origin's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_fits_are_as_asked_and_nothing_is_enlarged() {
    let (_origin, edge) = start(jpeg(160, 120)).await;
    for (query, expect) in [
        ("width=80", (80, 60)),
        ("height=60", (80, 60)),
        ("width=60&height=60", (60, 45)),
        ("width=60&height=60&fit=cover", (60, 60)),
        ("width=40&dpr=2", (80, 60)),
        ("width=4000", (160, 120)),
    ] {
        let answer = edge
            .get_with(&format!("/a.jpg?{query}&format=webp"), &[])
            .await;
        assert_eq!(answer.status.as_u16(), 200, "{query}");
        assert_eq!(size(&answer.body), expect, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_is_400_with_a_sentence() {
    let (_origin, edge) = start(jpeg(16, 16)).await;
    for query in [
        "width=0",
        "width=x",
        "fit=squeeze",
        "format=tga",
        "quality=101",
        "dpr=9",
        "width=999999",
    ] {
        let answer = edge.get(&format!("/a.jpg?{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}: {}", answer.text());
        let name = query.split('=').next().unwrap();
        assert!(answer.text().contains(name), "{query}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_passes_through() {
    let broken = Bytes::from_static(b"\xff\xd8\xff this says that it is a JPEG and is none");
    let (_origin, edge) = start(broken.clone()).await;
    for _ in 0..2 {
        let answer = edge
            .get_with("/a.jpg?width=80", &[("accept", "image/webp")])
            .await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &broken));
        assert_eq!(answer.header("content-type"), "image/jpeg");
        assert!(
            answer.header("cache-status").contains("bad-picture"),
            "{}",
            answer.header("cache-status")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameters_stay_the_origins() {
    let (origin, edge) = start(jpeg(64, 64)).await;
    edge.get("/a.jpg?v=2&width=32&lang=de").await;
    assert_eq!(
        origin.requests_for("/a.jpg")[0].query(),
        Some("v=2&lang=de")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_picture_can_be_made_into_is_bounded() {
    let origin = Origin::start().await;
    let resource = Resource::new(jpeg(160, 120))
        .etag("\"1\"")
        .header("content-type", "image/jpeg")
        .cache_control("max-age=600");
    origin.serve_resource("/a.jpg", resource);
    let edge = Edge::with(
        &origin,
        "[images]\nenabled = true\nfirst_answer = \"20s\"\nmax_variants = 2\n",
    )
    .await;
    for (width, made) in [(40, true), (50, true), (60, false), (40, true)] {
        let answer = edge
            .get_with(&format!("/a.jpg?width={width}&format=webp"), &[])
            .await;
        assert_eq!(answer.status.as_u16(), 200);
        let media_type = if made { "image/webp" } else { "image/jpeg" };
        assert_eq!(
            answer.header("content-type"),
            media_type,
            "{width}: {}",
            answer.header("cache-status")
        );
    }
}
