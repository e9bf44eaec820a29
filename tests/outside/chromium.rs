//! The demo page as a person sees it: headless Chromium against the program as it ships.

use std::process::{Command, Stdio};

use crate::support::{Edge, wait_until};

/// The page's own report of what it got, after it has asked for everything.
fn load(edge: &Edge) -> String {
    let profile = tempfile::tempdir().unwrap();
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
            "--ignore-certificate-errors",
            "--virtual-time-budget=30000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("https://localhost:{}/", edge.https))
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("chromium must be installed for this test ({error})"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_page_shows_every_picture_and_the_third_load_is_all_hits() {
    let edge = Edge::start(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"demo:\"\n[images]\nenabled = true\n",
    );
    let _first = load(&edge);
    let mut page = String::new();
    // Pictures that were slow to make are there soon after; then everything is a hit.
    wait_until("a load that is all hits", || {
        page = load(&edge);
        let hits = attribute(&page, "data-hits");
        hits.is_some() && hits == attribute(&page, "data-all")
    });
    let figures: Vec<&str> = page.split("<figure").skip(1).collect();
    assert!(figures.len() >= 7, "{page}");
    for figure in figures {
        assert_eq!(attribute(figure, "data-outcome"), Some("hit"), "{figure}");
        let format = attribute(figure, "data-format");
        assert!(matches!(format, Some("avif" | "webp")), "{figure}");
        assert!(
            attribute(figure, "data-shown").is_some_and(|size| !size.starts_with('0')),
            "decoded: {figure}"
        );
        assert!(figure.contains("· h2"), "{figure}");
    }
    assert!(!page.contains("data-outcome=\"error\""), "{page}");
}

fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("{name}=\""))? + name.len() + 2;
    text[start..].split('"').next()
}
