//! One request through the pipeline without a socket: a memory hit, a coded hit, and a fill from a folder.
//! `cargo bench --bench request`; for small differences count instructions with callgrind.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use brim::clock::SystemClock;
use brim::config;
use brim::node::Node;
use brim::pipeline::{Client, Pipeline};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt, Empty};

const CLIENT: Client = Client {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    secure: true,
    body_timeout: Duration::from_secs(30),
};

fn start(folder: &std::path::Path) -> Node {
    let files = folder.join("files");
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(folder.join("config/sites")).unwrap();
    fs::write(files.join("1k.bin"), vec![7_u8; 1024]).unwrap();
    fs::write(files.join("32k.js"), "a line of a script\n".repeat(1725)).unwrap();
    let edge = "[node]\nid = \"bench\"\nsites = \"sites\"\nstate = \"../var\"\nworkers = 1\n\
        [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
        [cache.memory]\nsize = \"256MiB\"\n[log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n";
    fs::write(folder.join("config/edge.toml"), edge).unwrap();
    let site = "hosts = [\"localhost\"]\n[origin]\nurl = \"dir:../../files\"\n[cache]\noverride_ttl = \"1h\"\n";
    fs::write(folder.join("config/sites/site.toml"), site).unwrap();
    Node::start(
        config::load(&folder.join("config")).unwrap(),
        &SystemClock::shared(),
    )
    .unwrap()
}

async fn ask(pipeline: &Pipeline, target: &str, coding: &'static str) -> usize {
    let request = Request::get(target)
        .header("host", "localhost")
        .header("accept-encoding", coding)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = pipeline.answer(CLIENT, request, None).await;
    assert_eq!(response.status(), 200);
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .len()
}

fn requests(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let pipeline = Arc::clone(node.pipeline());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (name, target, coding) in [
        ("hit 1 KiB", "/1k.bin", "identity"),
        ("hit 32 KiB identity", "/32k.js", "identity"),
        ("hit 32 KiB br", "/32k.js", "br"),
    ] {
        runtime.block_on(ask(&pipeline, target, coding));
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(ask(&pipeline, target, coding)));
        });
    }
    let mut number = 0_u64;
    criterion.bench_function("fill 1 KiB", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(ask(&pipeline, &format!("/1k.bin?{number}"), "identity"))
        });
    });
    drop(pipeline);
    node.drain();
}

criterion_group!(benches, requests);
criterion_main!(benches);
