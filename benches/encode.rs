//! Content codings and pictures at the sizes of a usual page: `cargo bench --bench encode`.

#![expect(clippy::expect_used, reason = "a bench may stop at what is wrong")]

use std::hint::black_box;

use brim::variant::{
    Coding, ImageConfig, ImagePool, ImageWorkers, Order, Recipe, Urgency, decode, encode, recipe,
    wish_of,
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn codings(criterion: &mut Criterion) {
    let script: Vec<u8> = (0..4000_u32)
        .flat_map(|n| {
            format!("const v{n} = f({}, \"{}\");\n", n * 7919 % 1009, n % 37).into_bytes()
        })
        .collect();
    let mut group = criterion.benchmark_group("coding");
    group.throughput(Throughput::Bytes(script.len() as u64));
    for (coding, level) in [(Coding::Zstd, 3), (Coding::Brotli, 5), (Coding::Gzip, 6)] {
        let name = coding.token();
        group.bench_function(format!("encode {name} {level}"), |bencher| {
            bencher.iter(|| encode(coding, level, black_box(&script)));
        });
        let coded = encode(coding, level, &script).expect("coded");
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| decode(coding, black_box(&coded), 1 << 24));
        });
    }
    group.finish();
}

/// A gradient with grain, like a photograph of 1600 × 1200.
fn photograph() -> Bytes {
    let mut state = 1_u32;
    let picture = image::RgbImage::from_fn(1600, 1200, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = state >> 29;
        image::Rgb([x / 8 + grain, y / 6 + grain, (x + y) / 12].map(|v| v.min(255) as u8))
    });
    let jpeg = mozjpeg_rs::Encoder::fastest()
        .quality(90)
        .encode_rgb(&picture, 1600, 1200);
    Bytes::from(jpeg.expect("encoded"))
}

fn recipe_of(query: &str) -> Recipe {
    let config = ImageConfig {
        enabled: true,
        ..ImageConfig::default()
    };
    let (wish, _) = wish_of(&config, "/a.jpg", Some(query)).expect("a wish");
    recipe(&config, &wish.expect("a wish"), true, true)
}

fn pictures(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let pool = ImagePool::new(ImageWorkers::default());
    let source = photograph();
    // Each time another one, as far as the pool knows: it would keep what it has decoded.
    let mut number = 0;
    let mut group = criterion.benchmark_group("picture");
    group.sample_size(10);
    for query in [
        "width=320&format=jpeg",
        "width=800&format=jpeg",
        "width=800&format=webp",
        "width=320&format=avif",
    ] {
        let recipe = recipe_of(query);
        group.bench_function(query, |bencher| {
            bencher.iter(|| {
                number += 1;
                let announced = pool.announce(Order {
                    site: "bench".into(),
                    source: number,
                    recipe: recipe.clone(),
                    urgency: Urgency::Answer,
                });
                runtime
                    .block_on(announced.render(source.clone(), |_| false))
                    .expect("a picture")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codings, pictures);
criterion_main!(benches);
