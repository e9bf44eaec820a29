//! The demo page as a person sees it: headless Chromium against the program as it ships.

use std::process::{Command, Stdio};

use crate::support::{Edge, wait_until};

/// The page's own report of what it got, after it has asked for everything.
fn load(edge: &Edge) -> String {
    load_page(edge, "")
}

fn load_page(edge: &Edge, page: &str) -> String {
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
            "--virtual-time-budget=300000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("https://localhost:{}/{page}", edge.https))
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

/// Waits until everything is made that the last load has begun.
fn settle(edge: &Edge) {
    wait_until("the end of all encodings", || {
        let metrics = Command::new("curl")
            .args(["--silent", "--max-time", "5"])
            .arg(format!("http://127.0.0.1:{}/metrics", edge.admin))
            .output()
            .unwrap();
        let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
        metrics.lines().any(|line| line == "brim_flights 0")
    });
}

/// Whether a browser gets `target` as it should be.
fn is_made(edge: &Edge, target: &str) -> bool {
    let answer = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "30", "--head"])
        .args([
            "--header",
            "accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        ])
        .arg(format!("https://localhost:{}{target}", edge.https))
        .output()
        .unwrap();
    let head = String::from_utf8_lossy(&answer.stdout).to_lowercase();
    head.contains("; hit;") && !head.contains("max-age=60\r")
}

fn number(text: &str, name: &str) -> u64 {
    let value = attribute(text, name);
    let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().unwrap()
}

#[test]
fn the_second_load_is_avif_and_weighs_a_quarter_of_the_originals() {
    let edge = Edge::start(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"demo:\"\n[images]\nenabled = true\n",
    );
    let first = load(&edge);
    let shown = |page: &str| page.matches("data-shown=").count();
    assert!(shown(&first) >= 7, "a first visitor sees them all: {first}");
    settle(&edge);
    let second = load(&edge);
    let figures: Vec<&str> = second.split("<figure").skip(1).collect();
    for figure in &figures {
        let pixels: u64 = attribute(figure, "data-shown")
            .unwrap()
            .split(" × ")
            .map(|side| side.parse::<u64>().unwrap())
            .product();
        let is_avif = pixels <= 2_000_000 || cfg!(feature = "native-codecs");
        let expected = if is_avif { "avif" } else { "webp" };
        assert_eq!(attribute(figure, "data-format"), Some(expected), "{figure}");
    }
    let originals: u64 = figures.iter().map(|f| number(f, "data-bytes")).sum();
    let files = second.split("<tr data-asset").skip(1);
    let weight: u64 = figures
        .iter()
        .copied()
        .chain(files)
        .map(|part| number(part, "data-arrived"))
        .sum();
    assert!(weight * 4 <= originals, "{weight} of {originals} bytes");
}

#[test]
fn the_page_of_all_forms_shows_every_one_that_decodes() {
    let edge = Edge::start(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"demo:\"\n[images]\nenabled = true\n",
    );
    let first = load_page(&edge, "formats.html?photo=daisy");
    // This browser leaves when it thinks fit, and takes back what it has asked for: all of it is made here first.
    for figure in first.split("<figure").skip(1) {
        let query = attribute(figure, "data-query").unwrap();
        let query = query.replace("&amp;", "&");
        wait_until(&query, || {
            is_made(&edge, &format!("/photos/daisy.jpg?{query}"))
        });
    }
    let mut page = String::new();
    wait_until("a load to its end", || {
        page = load_page(&edge, "formats.html?photo=daisy");
        attribute(&page, "data-done") == Some("yes")
    });
    assert_eq!(attribute(&page, "data-done"), Some("yes"), "{page}");
    assert_eq!(attribute(&page, "data-errors"), Some("0"), "{page}");
    let figures: Vec<&str> = page.split("<figure").skip(1).collect();
    assert!(figures.len() >= 25, "{page}");
    let found = |query: &str| {
        let query = format!("data-query=\"{}\"", query.replace('&', "&amp;"));
        let figure = figures.iter().find(|figure| figure.contains(&query));
        *figure.unwrap_or_else(|| panic!("no {query}"))
    };
    for format in ["avif", "webp", "jpeg", "png"] {
        let figure = found(&format!("width=640&format={format}"));
        assert_eq!(attribute(figure, "data-format"), Some(format), "{figure}");
        assert_eq!(attribute(figure, "data-size"), Some("640x427"), "{figure}");
    }
    let cover = found("width=480&height=480&fit=cover");
    assert_eq!(attribute(cover, "data-size"), Some("480x480"), "{cover}");
}

fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("{name}=\""))? + name.len() + 2;
    text[start..].split('"').next()
}
