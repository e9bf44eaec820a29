//! The house rules: imports go down the floors of `ARCHITECTURE.md`, never up, never sideways.

#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test that cannot read its own sources fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: &[&[&str]] = &[
    &["clock", "codec-sys", "semantics", "telemetry"],
    &["policy", "rules", "access", "tls"],
    &["store", "origin", "variant", "functions", "demo", "limit"],
    &["cache", "site", "fleet"],
    &["pipeline"],
    &["server", "admin"],
    &["config"],
    &["node"],
    &["cli", "main"],
];

#[test]
fn imports_go_down() {
    let mut offences = Vec::new();
    let files = rust_files(Path::new("src"));
    assert!(
        files.len() > 20,
        "the walk found too few files to mean anything"
    );
    for file in files {
        let Some(from) = room_of(&file) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        offences.extend(offences_in(
            &file.display().to_string(),
            &from,
            depth_of(&file),
            &text,
        ));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// `tests/INDEX.md` says which test holds which behaviour.
#[test]
fn the_index_names_tests_that_exist() {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        for file in rust_files(Path::new(folder)) {
            sources.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let index = fs::read_to_string("tests/INDEX.md").unwrap();
    let rows = index.lines().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn every_room_has_a_floor() {
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            name == "lib" || floor_of(&name).is_some(),
            "{name} stands on no floor"
        );
    }
}

#[test]
fn the_check_itself_sees_each_kind_of_offence() {
    let sees = |from: &str, depth: usize, text: &str| offences_in("x.rs", from, depth, text).len();
    assert_eq!(sees("policy", 2, "use crate::cache::Key;"), 1);
    assert_eq!(sees("store", 2, "use crate::origin::Config;"), 1);
    assert_eq!(sees("store", 2, "use crate::{origin, policy};"), 1);
    assert_eq!(sees("store", 1, "use super::origin::Config;"), 1);
    assert_eq!(sees("store", 2, "use super::entry::Entry;"), 0);
    assert_eq!(sees("store", 2, "use super::super::origin::Config;"), 1);
    assert_eq!(
        sees("cache", 2, "use crate::store::Store; // crate::server"),
        0
    );
    let depth = |file: &str| depth_of(Path::new(file));
    assert_eq!(depth("src/store/mod.rs"), 1);
    assert_eq!(depth("src/clock.rs"), 1);
    assert_eq!(depth("src/store/entry.rs"), 2);
    assert_eq!(depth("src/store/clocks/mod.rs"), 2);
    assert_eq!(depth("src/store/clocks/table.rs"), 3);
}

/// `depth` is how many modules lie between a file and the crate: so many `super` lead out of its room.
fn offences_in(file: &str, from: &str, depth: usize, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    let mut in_tests = false;
    for (line, number) in text.lines().zip(1..) {
        in_tests |= line.contains("#[cfg(test)]");
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("crate::{") {
            offences.push(format!(
                "{file}:{number} groups rooms; write one `use` a room"
            ));
        }
        for to in code.split("crate::").skip(1).map(leading_word) {
            if to.is_empty() || to == from {
                continue;
            }
            let down = matches!((floor_of(from), floor_of(to)), (Some(f), Some(t)) if t < f);
            if !down {
                offences.push(format!("{file}:{number} {from} -> {to}"));
            }
        }
        let leaves = "super::".repeat(depth);
        if !in_tests && code.contains(&leaves) {
            offences.push(format!("{file}:{number} leaves {from} by super::"));
        }
    }
    offences
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            // A crate of its own.
            continue;
        }
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

fn room_of(file: &Path) -> Option<String> {
    let below = file.strip_prefix("src").ok()?;
    let first = below.iter().next()?.to_string_lossy().into_owned();
    let room = first.trim_end_matches(".rs").to_owned();
    (room != "lib").then_some(room)
}

fn depth_of(file: &Path) -> usize {
    let names = file.strip_prefix("src").unwrap_or(file).iter().count();
    if file.ends_with("mod.rs") {
        names - 1
    } else {
        names
    }
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

fn leading_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    &text[..end]
}
