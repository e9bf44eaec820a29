use std::io::{BufRead, Write};

use anyhow::{Context, bail};

use super::arguments::PurgeArguments;
use super::client::Client;
use crate::admin::{PurgeCounts, PurgeRecord};

/// Entries of one request; the door takes 100 000 items, tags times sites.
const BATCH: usize = 5_000;

/// Purges, in as many requests as the list needs.
pub(super) fn run(
    client: &Client,
    arguments: &PurgeArguments,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    for body in bodies(arguments, input)? {
        let answer = client.post("/v1/purge", &body)?;
        if arguments.json {
            output.write_all(&answer)?;
            continue;
        }
        let record: PurgeRecord =
            serde_json::from_slice(&answer).context("the node's answer is not understood")?;
        writeln!(output, "{}", sentence(&record))?;
    }
    Ok(())
}

fn bodies(
    arguments: &PurgeArguments,
    input: &mut impl BufRead,
) -> anyhow::Result<Vec<serde_json::Value>> {
    let what = &arguments.what;
    let mut order = serde_json::Map::new();
    if !arguments.sites.is_empty() {
        order.insert("sites".to_owned(), arguments.sites.clone().into());
    }
    if arguments.soft {
        order.insert("soft".to_owned(), true.into());
    }
    if what.all {
        order.insert("everything".to_owned(), true.into());
        return Ok(vec![order.into()]);
    }
    let (field, given) = [
        ("urls", &what.urls),
        ("prefixes", &what.prefixes),
        ("tags", &what.tags),
    ]
    .into_iter()
    .find(|(_, given)| !given.is_empty())
    .context("nothing to purge")?;
    let entries = with_input(given, input)?;
    if entries.is_empty() {
        bail!("the list on standard input is empty");
    }
    Ok(entries
        .chunks(BATCH)
        .map(|entries| {
            let mut order = order.clone();
            order.insert(field.to_owned(), entries.to_vec().into());
            order.into()
        })
        .collect())
}

/// A `-` stands for the lines of the input; empty ones and those that begin with `#` are left out.
fn with_input(given: &[String], input: &mut impl BufRead) -> anyhow::Result<Vec<String>> {
    let mut entries = Vec::new();
    for entry in given {
        if entry != "-" {
            entries.push(entry.clone());
            continue;
        }
        for line in input.lines() {
            let line = line.context("standard input cannot be read")?;
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                entries.push(line.to_owned());
            }
        }
    }
    Ok(entries)
}

fn sentence(record: &PurgeRecord) -> String {
    let PurgeCounts {
        urls,
        prefixes,
        tags,
        sites,
        everything,
    } = record.counts;
    let mut parts: Vec<String> = [
        (urls, "URL", "URLs"),
        (prefixes, "prefix", "prefixes"),
        (tags, "tag", "tags"),
        (sites, "site", "sites"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
    .collect();
    if everything > 0 {
        parts.push("everything".to_owned());
    }
    let (verb, end) = if record.soft {
        ("Made", " stale")
    } else {
        ("Purged", "")
    };
    format!(
        "{verb} {}{end} (sequence {}, id {}).",
        parts.join(", "),
        record.sequence,
        record.id
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::arguments::PurgeWhat;
    use super::*;

    fn arguments(sites: &[&str], urls: &[&str], all: bool) -> PurgeArguments {
        let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
        PurgeArguments {
            sites: owned(sites),
            what: PurgeWhat {
                urls: owned(urls),
                prefixes: Vec::new(),
                tags: Vec::new(),
                all,
            },
            soft: all,
            json: false,
        }
    }

    #[test]
    fn arguments_become_an_order() {
        let none = &mut &b""[..];
        assert_eq!(
            bodies(&arguments(&[], &["https://a/x"], false), none).unwrap(),
            [json!({ "urls": ["https://a/x"] })]
        );
        assert_eq!(
            bodies(&arguments(&["s"], &[], true), none).unwrap(),
            [json!({ "sites": ["s"], "everything": true, "soft": true })]
        );
    }

    #[test]
    fn a_dash_reads_the_list() {
        let mut list = &b"/a\n\n# old\n  /b  \r\n/c"[..];
        assert_eq!(
            bodies(&arguments(&["s"], &["/0", "-"], false), &mut list).unwrap(),
            [json!({ "sites": ["s"], "urls": ["/0", "/a", "/b", "/c"] })]
        );
        assert!(bodies(&arguments(&["s"], &["-"], false), &mut &b"\n"[..]).is_err());
    }

    #[test]
    fn a_long_list_goes_in_batches() {
        let list = "/x\n".repeat(BATCH + 1);
        let bodies = bodies(&arguments(&["s"], &["-"], false), &mut list.as_bytes()).unwrap();
        let lengths: Vec<_> = bodies
            .iter()
            .map(|body| body["urls"].as_array().unwrap().len())
            .collect();
        assert_eq!(lengths, [BATCH, 1]);
    }

    #[track_caller]
    fn check(counts: PurgeCounts, soft: bool, expect: &str) {
        let record = PurgeRecord {
            id: "ab".into(),
            sequence: 7,
            counts,
            soft,
            sites: Vec::new(),
            token: String::new(),
        };
        assert_eq!(sentence(&record), expect);
    }

    #[test]
    fn the_answer_is_a_sentence() {
        let counts = PurgeCounts {
            urls: 1,
            tags: 3,
            ..PurgeCounts::default()
        };
        check(counts, false, "Purged 1 URL, 3 tags (sequence 7, id ab).");
        check(
            counts,
            true,
            "Made 1 URL, 3 tags stale (sequence 7, id ab).",
        );
        let counts = PurgeCounts {
            everything: 1,
            ..PurgeCounts::default()
        };
        check(counts, false, "Purged everything (sequence 7, id ab).");
    }
}
