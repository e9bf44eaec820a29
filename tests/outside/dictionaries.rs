//! Compression dictionaries as others read them: headless Chromium, and zstd's own program.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Edge, Origin, wait_until};

/// Lines like those of a bundle; `version` changes one in a hundred.
fn bundle(version: u32) -> String {
    let mut state = 1_u32;
    let mut next = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % most
    };
    let words: Vec<String> = (0..900)
        .map(|_| {
            let letters = 3 + next(7);
            let letter = |n: u32| char::from_u32('a' as u32 + n).unwrap();
            (0..letters).map(|_| letter(next(26))).collect()
        })
        .collect();
    let mut text = String::new();
    let mut line = 0;
    while text.len() < 300 << 10 {
        let mut word = || words.get(next(900) as usize).unwrap();
        let (name, one, two, three) = (word(), word(), word(), word());
        let number = if line % 100 == 0 { version } else { line };
        text.push_str(&format!(
            "function {name}({one},{two}){{return {three}.{one}({two},{number})}}\n"
        ));
        line += 1;
    }
    text
}

/// Gets what its query names and shows how many bytes came over the wire, and the hash of what they hold.
const PAGE: &str = r#"<!doctype html><html><body><script>
(async () => {
  const path = new URL(location).searchParams.get("get");
  const text = await (await fetch(path)).text();
  await new Promise(later => setTimeout(later, 500));
  const entry = performance.getEntriesByName(new URL(path, location).href).pop();
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const digits = [...new Uint8Array(hash)].map(byte => byte.toString(16).padStart(2, "0")).join("");
  document.body.dataset.arrived = entry.encodedBodySize;
  document.body.dataset.hash = digits;
})();
</script></body></html>"#;

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} must be installed for this test ({error})"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    output
}

/// The hash of the certificate's key, by which a browser can be told to trust this one: to a mistake in a certificate
/// that it is told to overlook it gives no dictionary.
fn key_hash(edge: &Edge) -> String {
    let at = format!("127.0.0.1:{}", edge.https);
    let shown = run(
        "openssl",
        &["s_client", "-connect", &at, "-servername", "localhost"],
        b"",
    );
    let key = run("openssl", &["x509", "-pubkey", "-noout"], &shown.stdout);
    let key = run(
        "openssl",
        &["pkey", "-pubin", "-outform", "der"],
        &key.stdout,
    );
    let hash = run("openssl", &["dgst", "-sha256", "-binary"], &key.stdout);
    let text = run("openssl", &["base64"], &hash.stdout);
    String::from_utf8(text.stdout).unwrap().trim().to_owned()
}

/// What the page tells after it has got `path`: bytes over the wire, and the hash.
fn visit(edge: &Edge, profile: &Path, key_hash: &str, path: &str) -> (u64, String) {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--virtual-time-budget=60000",
            "--dump-dom",
        ])
        .arg(format!("--ignore-certificate-errors-spki-list={key_hash}"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!(
            "https://localhost:{}/page.html?get={path}",
            edge.https
        ))
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("chromium must be installed for this test ({error})"));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let attribute = |name: &str| {
        let start = page
            .find(&format!("{name}=\""))
            .unwrap_or_else(|| panic!("{page}"));
        let value = &page[start + name.len() + 2..];
        value.split('"').next().unwrap().to_owned()
    };
    let arrived = attribute("data-arrived").parse().unwrap();
    (arrived, attribute("data-hash"))
}

fn hash(text: &str) -> String {
    let digest = run("openssl", &["dgst", "-sha256", "-r"], text.as_bytes());
    let digest = String::from_utf8(digest.stdout).unwrap();
    digest.split(' ').next().unwrap().to_owned()
}

fn field(text: &str) -> String {
    let digest = run("openssl", &["dgst", "-sha256", "-binary"], text.as_bytes());
    let encoded = run("openssl", &["base64"], &digest.stdout);
    format!(":{}:", String::from_utf8(encoded.stdout).unwrap().trim())
}

/// One answer for a client that has `dictionary`: its coding, and its bytes.
fn with_dictionary(edge: &Edge, path: &str, codings: &str, dictionary: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let head = folder.path().join("head");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--http2"])
        .arg("--dump-header")
        .arg(&head)
        .args(["--header", &format!("Accept-Encoding: {codings}")])
        .args(["--header", &format!("Available-Dictionary: {dictionary}")])
        .arg(format!("https://localhost:{}{path}", edge.https))
        .output()
        .unwrap_or_else(|error| panic!("curl must be installed for this test ({error})"));
    assert!(output.status.success(), "{path}");
    let head = fs::read_to_string(head).unwrap().to_ascii_lowercase();
    let coding = head
        .lines()
        .find_map(|line| line.strip_prefix("content-encoding: "));
    (coding.unwrap_or_default().trim().to_owned(), output.stdout)
}

fn check(coding: &str, ours: &str) {
    let (old, new) = (bundle(1), bundle(2));
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("page.html"), PAGE).unwrap();
    fs::write(root.path().join("app.1.js"), &old).unwrap();
    fs::write(root.path().join("app.2.js"), &new).unwrap();
    let origin = Origin::start(root.path());
    let edge = Edge::start(&format!(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"http://127.0.0.1:{}\"\n\
         [compression]\ncodings = [\"{ours}\"]\n\
         dictionaries = {{ mode = \"edge\", match = [\"/app.*.js\"] }}\n",
        origin.port
    ));
    let trusted = key_hash(&edge);
    let profile = tempfile::tempdir().unwrap();
    let (first, of_first) = visit(&edge, profile.path(), &trusted, "/app.1.js");
    assert_eq!(of_first, hash(&old));
    assert!(first > 30_000, "{first}");
    // The difference is made when the first one asks for it who has the old version.
    let mut delta = Vec::new();
    wait_until("the difference", || {
        let codings = format!("{ours}, {coding}");
        let (got, bytes) = with_dictionary(&edge, "/app.2.js", &codings, &field(&old));
        delta = bytes;
        got == coding
    });
    let (second, of_second) = visit(&edge, profile.path(), &trusted, "/app.2.js");
    assert_eq!(of_second, hash(&new), "the browser reads the new version");
    assert_eq!(second, delta.len() as u64, "it got the difference");
    let best = run("brotli", &["-q", "11", "-c"], new.as_bytes()).stdout;
    assert!(
        second * 10 < best.len() as u64,
        "{second} of {} bytes",
        best.len()
    );
    if coding == "dcz" {
        let folder = tempfile::tempdir().unwrap();
        let (dictionary, body) = (folder.path().join("old"), folder.path().join("body"));
        fs::write(&dictionary, &old).unwrap();
        fs::write(&body, &delta).unwrap();
        // The first 40 bytes are a frame that is skipped: the mark, and the hash (RFC 9842 §5.1).
        let from = format!("--patch-from={}", dictionary.display());
        let read = run(
            "zstd",
            &["-d", "-c", &from, &body.display().to_string()],
            b"",
        );
        assert!(read.stdout == new.as_bytes(), "zstd reads the new version");
    }
}

#[test]
fn a_browser_gets_the_difference_by_zstd() {
    check("dcz", "zstd");
}

#[test]
fn a_browser_gets_the_difference_by_brotli() {
    check("dcb", "br");
}
