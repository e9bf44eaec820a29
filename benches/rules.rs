//! What every request pays for a site's rules: `cargo bench --bench rules`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;

use brim::rules::{Condition, Expression, Pattern, Program, Question, Rule, ValueTest};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

fn pattern(text: &str) -> Pattern {
    Pattern::of_path(text).unwrap()
}

/// A hundred rules of the sorts that sites have.
fn conditions() -> Vec<Condition> {
    let sort = |number: usize| match number % 5 {
        0 => Condition {
            paths: vec![pattern(&format!("/folder-{number}/**"))],
            ..Condition::default()
        },
        1 => Condition {
            paths: vec![pattern(&format!("/*/part-{number}/**.js"))],
            ..Condition::default()
        },
        2 => Condition {
            extensions: vec!["woff2".to_owned(), format!("x{number}")],
            ..Condition::default()
        },
        3 => Condition {
            expression: Some(Expression::parse(&format!(r"\.[0-9a-f]{{8,}}\.x{number}$")).unwrap()),
            ..Condition::default()
        },
        _ => Condition {
            headers: vec![(
                HeaderName::from_static("x-beta"),
                ValueTest {
                    absent: false,
                    patterns: vec![Pattern::of_value(&format!("group-{number}*")).unwrap()],
                },
            )],
            ..Condition::default()
        },
    };
    (0..100).map(sort).collect()
}

fn rules(bench: &mut Criterion) {
    let program = |conditions: Vec<Condition>| {
        let rule = |when| Rule {
            name: String::new(),
            when,
            stop: false,
            action: (),
        };
        Program::new(conditions.into_iter().map(rule).collect())
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        "accept",
        HeaderValue::from_static("image/avif,image/webp,*/*"),
    );
    let question = Question {
        method: &Method::GET,
        path: "/assets/img/photo-1024.3f2a9bd0.jpg",
        query: Some("v=17"),
        headers: &headers,
        peer: [192, 0, 2, 7].into(),
    };
    let hundred = program(conditions());
    bench.bench_function("100 rules, none holds", |b| {
        b.iter(|| hundred.select(black_box(&question)));
    });
    let prefixes = (0..100).map(|number| Condition {
        paths: vec![pattern(&format!("/folder-{number}/**"))],
        ..Condition::default()
    });
    let prefixes = program(prefixes.collect());
    bench.bench_function("100 folders, none holds", |b| {
        b.iter(|| prefixes.select(black_box(&question)));
    });
    let middle = pattern("/*/img/**.*.jpg");
    bench.bench_function("a pattern of four stars", |b| {
        b.iter(|| middle.matches(black_box(question.path.as_bytes())));
    });
    let long = format!("/{}", "a".repeat(8000));
    let hostile = pattern("/**a*a*a*a**b*");
    bench.bench_function("a hostile path of 8 KB", |b| {
        b.iter(|| hostile.matches(black_box(long.as_bytes())));
    });
}

criterion_group!(benches, rules);
criterion_main!(benches);
