//! Coded files beside their source, as the programs that people use for that write them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Edge, curl, decode};

/// Lines that do not repeat too much.
fn script() -> String {
    (0..20_000_u32)
        .map(|n| format!("let v{n} = f({});\n", n.wrapping_mul(2_654_435_761) >> 8))
        .collect()
}

/// What `command` writes; it is run by the shell in `folder`.
fn shell(folder: &Path, command: &str) -> Vec<u8> {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    output.stdout
}

#[test]
fn files_that_the_usual_programs_code_are_given_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("other"), "something else").unwrap();
    let edge = Edge::start(&format!(
        "name = \"site\"\nhosts = [\"localhost\"]\n[origin]\nurl = \"dir:{}\"\n",
        at.display()
    ));
    for (number, (coding, suffix, command, is_given)) in [
        ("br", "br", "brotli -c $f", true),
        ("br", "br", "brotli -q 11 -w 24 -c $f", true),
        ("br", "br", "brotli -q 1 -c < $f", true),
        ("br", "br", "brotli --large_window=26 -c $f", false),
        ("br", "br", "brotli -c other", false),
        ("zstd", "zst", "zstd -q -c $f", true),
        ("zstd", "zst", "zstd -q -19 -c < $f", true),
        ("zstd", "zst", "zstd -q -T2 -3 --no-check -c $f", true),
        (
            "zstd",
            "zst",
            "zstd -q --ultra -22 --long=27 -c < $f",
            false,
        ),
        ("zstd", "zst", "zstd -q -c $f; zstd -q -c other", false),
        ("gzip", "gz", "gzip -9 -n -c $f", true),
        ("gzip", "gz", "gzip -1 -c $f", true),
        ("gzip", "gz", "gzip -c $f | head -c 20000", false),
        (
            "gzip",
            "gz",
            "head -c 1000 $f | gzip; tail -c +1001 $f | gzip",
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.js");
        fs::write(at.join(&name), script()).unwrap();
        let made = shell(at, &format!("f={name}; {command}"));
        fs::write(at.join(format!("{name}.{suffix}")), &made).unwrap();
        let fetched = curl(edge.https, &format!("/{name}"), "--http2", coding);
        assert_eq!(fetched.field("content-encoding").unwrap(), coding);
        assert_eq!(fetched.body == made, is_given, "{command}");
        assert!(
            decode(coding, &fetched.body) == script().as_bytes(),
            "{command}"
        );
        let told = fetched.field("cache-status").unwrap();
        let is_told = told.contains(&format!("{coding};sibling"));
        assert_eq!(is_told, is_given, "{command}: {told}");
    }
}
