//! nginx behind, curl before, the codings' own programs as judges.

use std::fs;
use std::path::Path;

use crate::support::{Edge, Origin, curl, decode, files_below};

const CODINGS: [&str; 4] = ["identity", "gzip", "br", "zstd"];
const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

/// The bundled web assets and photographs, and this project's own text as scripts and source maps.
fn fill(root: &Path) {
    copy_all(Path::new("src/demo/assets"), root);
    for (name, source) in [
        ("app.map", "Cargo.lock"),
        ("readme.html", "README.md"),
        ("code.wasm", "Cargo.lock"),
    ] {
        fs::copy(source, root.join(name)).unwrap();
    }
    fs::write(root.join("tiny.js"), "x").unwrap();
    fs::write(root.join("empty.css"), "").unwrap();
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// Asks for every file in every coding over every version; gives the number of answers that were no hits.
fn pass(root: &Path, edge: &Edge) -> usize {
    let mut files = Vec::new();
    files_below(root, &mut files);
    assert!(files.len() > 8, "too few files to mean anything");
    let mut forwarded = 0;
    for file in &files {
        let path = format!("/{}", file.strip_prefix(root).unwrap().display());
        let original = fs::read(file).unwrap();
        for version in VERSIONS {
            for asked in CODINGS {
                let fetched = curl(edge.https, &path, version, asked);
                let coding = fetched
                    .field("content-encoding")
                    .unwrap_or_else(|| "identity".to_owned());
                assert!(
                    coding == asked || coding == "identity",
                    "{path}: {asked} was asked, {coding} came"
                );
                let bytes = if coding == "identity" {
                    fetched.body.clone()
                } else {
                    decode(&coding, &fetched.body)
                };
                assert!(
                    bytes == original,
                    "{path} {version} {asked}: other bytes than the origin's\n{}",
                    fetched.head
                );
                let story = fetched.field("cache-status").unwrap_or_default();
                forwarded += usize::from(!story.contains("; hit"));
            }
        }
    }
    forwarded
}

#[test]
fn every_file_in_every_coding_is_the_origins_and_then_a_hit_also_after_a_kill() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path());
    let origin = Origin::start(root.path());
    let mut edge = Edge::start(&format!(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"http://127.0.0.1:{}\"\n",
        origin.port
    ));
    pass(root.path(), &edge);
    let asked = origin.requests();
    assert_eq!(pass(root.path(), &edge), 0, "the second pass is all hits");
    assert_eq!(
        origin.requests(),
        asked,
        "the second pass asks the origin for nothing"
    );
    edge.kill_and_restart();
    assert_eq!(pass(root.path(), &edge), 0, "so is the third, after a kill");
    assert_eq!(origin.requests(), asked, "and the origin is left alone");
}
