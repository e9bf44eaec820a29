use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use super::arguments::PurgeArguments;
use super::client::{Client, RefusedByNode};
use crate::admin::{Address, PurgeCounts, PurgeRecord};

/// Entries of one request; the door takes 100 000 items, tags times sites, and 16 MiB.
const BATCH: usize = 5_000;
const BATCH_BYTES: usize = 8 << 20;

/// Mistakes in a list that are told.
const MISTAKES_MAX: usize = 100;

/// Purges, in as many requests as the list needs. How it goes is told to `progress`.
pub(super) fn run(
    client: &Client,
    arguments: &PurgeArguments,
    input: &mut impl BufRead,
    output: &mut impl Write,
    progress: &mut impl Write,
) -> anyhow::Result<()> {
    let list = List::of(arguments, input)?;
    list.check()?;
    let batches = list.batches();
    let (mut done, mut total) = (0, Total::default());
    for batch in &batches {
        let answer = client
            .post("/v1/purge", &list.body(arguments, batch))
            .map_err(|error| list.blame(error, batch, done))?;
        done += batch.len();
        if arguments.json {
            output.write_all(&answer)?;
            continue;
        }
        let record: PurgeRecord =
            serde_json::from_slice(&answer).context("the node's answer is not understood")?;
        writeln!(output, "{}", sentence(&record))?;
        total.add(&record);
        if batches.len() > 1 {
            // Nobody to tell when the terminal is gone.
            writeln!(progress, "brim: {done} of {} done", list.entries.len()).ok();
        }
    }
    if batches.len() > 1 && !arguments.json {
        writeln!(output, "{}", total.sentence(batches.len()))?;
    }
    Ok(())
}

/// All that one command purges: the name of a list of `POST /v1/purge`, and what is in it.
struct List {
    field: &'static str,
    entries: Vec<Entry>,
}

struct Entry {
    text: String,
    /// The file and the line that it was read from.
    line: Option<(Rc<str>, usize)>,
}

impl Entry {
    fn given(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            line: None,
        }
    }

    /// Where it stands, as compilers say it.
    fn place(&self) -> String {
        match &self.line {
            Some((name, line)) => format!("{name}:{line}: "),
            None => String::new(),
        }
    }
}

impl List {
    fn of(arguments: &PurgeArguments, input: &mut impl BufRead) -> anyhow::Result<Self> {
        let what = &arguments.what;
        let mut entries = Vec::new();
        if what.all {
            let field = "everything";
            return Ok(Self { field, entries });
        }
        for path in &what.files {
            match path.as_os_str() == "-" {
                true => read_lines(input, "standard input", &mut entries)?,
                false => read_file(path, &mut entries)?,
            }
        }
        let lists = [
            ("urls", &what.urls),
            ("prefixes", &what.prefixes),
            ("tags", &what.tags),
        ];
        let given = lists.into_iter().find(|(_, given)| !given.is_empty());
        let (field, given) = given.unwrap_or(("urls", &what.urls));
        for text in given {
            match text == "-" {
                true => read_lines(input, "standard input", &mut entries)?,
                false => entries.push(Entry::given(text)),
            }
        }
        if entries.is_empty() {
            bail!("the list is empty: there is nothing to purge");
        }
        Ok(Self { field, entries })
    }

    /// What can be seen to be wrong before anything is purged.
    fn check(&self) -> anyhow::Result<()> {
        if self.field == "tags" {
            return Ok(());
        }
        let mut mistakes = Mistakes::default();
        for entry in &self.entries {
            let text = entry.text.strip_suffix('*').unwrap_or(&entry.text);
            if let Err(error) = Address::parse(text) {
                mistakes.add(format_args!("{}'{}': {error}", entry.place(), entry.text));
            }
        }
        mistakes.end("nothing was purged")
    }

    fn batches(&self) -> Vec<&[Entry]> {
        if self.field == "everything" {
            return vec![&[]];
        }
        let mut batches = Vec::new();
        let mut rest = &self.entries[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(BATCH).take_while(|entry| {
                bytes += entry.text.len() + 3;
                bytes <= BATCH_BYTES
            });
            let (batch, others) = rest.split_at(fitting.count().max(1));
            batches.push(batch);
            rest = others;
        }
        batches
    }

    fn body(&self, arguments: &PurgeArguments, batch: &[Entry]) -> Value {
        let mut order = Map::new();
        if !arguments.sites.is_empty() {
            order.insert("sites".to_owned(), arguments.sites.clone().into());
        }
        if arguments.soft {
            order.insert("soft".to_owned(), true.into());
        }
        let list: Value = match self.field {
            "everything" => true.into(),
            _ => batch.iter().map(|entry| entry.text.as_str()).collect(),
        };
        order.insert(self.field.to_owned(), list);
        order.into()
    }

    /// What the node refused, with the lines that it was read from, and what was purged before.
    fn blame(&self, error: anyhow::Error, batch: &[Entry], done: usize) -> anyhow::Error {
        let before = match done {
            0 => String::new(),
            _ => format!("\nthe first {done} entries are purged, the others are not"),
        };
        let Some(refused) = error.downcast_ref::<RefusedByNode>() else {
            return match done {
                0 => error,
                _ => anyhow::anyhow!("{error:#}{before}"),
            };
        };
        let places: HashMap<String, &Entry> = batch
            .iter()
            .enumerate()
            .map(|(index, entry)| (format!("{}[{index}]", self.field), entry))
            .collect();
        let placed = |text: &str| {
            let place = text.split_once(']').map(|(place, _)| format!("{place}]"));
            let entry = place.and_then(|place| places.get(&place));
            format!(
                "{}{text}",
                entry.map_or_else(String::new, |entry| entry.place())
            )
        };
        let lines = std::iter::once(&refused.error).chain(&refused.errors);
        let lines: Vec<String> = lines.map(|text| placed(text)).collect();
        anyhow::anyhow!("{}{before}", lines.join("\n"))
    }
}

#[derive(Default)]
struct Mistakes {
    text: String,
    count: usize,
}

impl Mistakes {
    fn add(&mut self, mistake: std::fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= MISTAKES_MAX {
            // Writing to a text cannot fail.
            writeln!(self.text, "{mistake}").ok();
        }
    }

    fn end(self, consequence: &str) -> anyhow::Result<()> {
        match self.count {
            0 => Ok(()),
            1 => bail!("{}{consequence}", self.text),
            count => bail!("{}{count} mistakes; {consequence}", self.text),
        }
    }
}

/// What all requests of a command purged.
#[derive(Default)]
struct Total {
    counts: PurgeCounts,
    soft: bool,
    sequence: u64,
}

impl Total {
    fn add(&mut self, record: &PurgeRecord) {
        self.counts.urls += record.counts.urls;
        self.counts.prefixes += record.counts.prefixes;
        self.counts.tags += record.counts.tags;
        self.counts.sites += record.counts.sites;
        self.counts.everything += record.counts.everything;
        (self.soft, self.sequence) = (record.soft, record.sequence);
    }

    fn sentence(&self, requests: usize) -> String {
        format!(
            "{} in {requests} requests (last sequence {}).",
            purged(self.counts, self.soft),
            self.sequence
        )
    }
}

fn read_file(path: &Path, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} cannot be read"))?;
    read_lines(&mut BufReader::new(file), &name, entries)
}

/// Empty lines and those that begin with `#` are left out.
fn read_lines(
    input: &mut impl BufRead,
    name: &str,
    entries: &mut Vec<Entry>,
) -> anyhow::Result<()> {
    let name: Rc<str> = name.into();
    for (line, number) in input.lines().zip(1..) {
        let text = line.with_context(|| format!("{name}:{number}: cannot be read"))?;
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            entries.push(Entry {
                text: text.to_owned(),
                line: Some((Rc::clone(&name), number)),
            });
        }
    }
    Ok(())
}

fn sentence(record: &PurgeRecord) -> String {
    format!(
        "{} (sequence {}, id {}, {}).",
        purged(record.counts, record.soft),
        record.sequence,
        record.id,
        record.time
    )
}

fn purged(counts: PurgeCounts, soft: bool) -> String {
    let PurgeCounts {
        urls,
        prefixes,
        tags,
        sites,
        everything,
    } = counts;
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
    let (verb, end) = if soft {
        ("Made", " stale")
    } else {
        ("Purged", "")
    };
    format!("{verb} {}{end}", parts.join(", "))
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
                files: Vec::new(),
                all,
            },
            soft: all,
            json: false,
        }
    }

    fn bodies(arguments: &PurgeArguments, input: &mut impl BufRead) -> anyhow::Result<Vec<Value>> {
        let list = List::of(arguments, input)?;
        list.check()?;
        let batches = list.batches();
        Ok(batches
            .iter()
            .map(|batch| list.body(arguments, batch))
            .collect())
    }

    #[test]
    fn mistakes_in_a_list_are_told_by_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "# all\n/a\n\nnowhere\n/b c\n/img/*\n").unwrap();
        let mut arguments = arguments(&["s"], &[], false);
        arguments.what.files = vec![path.clone()];
        let error = bodies(&arguments, &mut &b""[..]).unwrap_err().to_string();
        let name = path.display();
        assert!(
            error.starts_with(&format!("{name}:4: 'nowhere': ")),
            "{error}"
        );
        assert!(error.contains(&format!("\n{name}:5: '/b c': ")), "{error}");
        assert!(error.ends_with("2 mistakes; nothing was purged"), "{error}");

        arguments.what.files = vec!["-".into()];
        let error = bodies(&arguments, &mut &b"\n//\n  #"[..]);
        assert!(error.is_ok());
        let error = bodies(&arguments, &mut &b"\nx"[..])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("standard input:2: 'x': "), "{error}");
        arguments.what.files = vec![folder.path().join("none")];
        let error = format!("{:#}", bodies(&arguments, &mut &b""[..]).unwrap_err());
        assert!(error.contains("none cannot be read"), "{error}");
    }

    #[test]
    fn what_the_node_refuses_is_told_by_line() {
        let list = "/x\n".repeat(BATCH + 3);
        let mut arguments = arguments(&["s"], &[], false);
        arguments.what.files = vec!["-".into()];
        let list = List::of(&arguments, &mut list.as_bytes()).unwrap();
        let batches = list.batches();
        let refused = RefusedByNode {
            error: "2 mistakes; nothing was purged.".into(),
            errors: vec!["urls[0] '/x': bad.".into(), "urls[2]: bad.".into()],
        };
        let error = list.blame(refused.into(), batches[1], BATCH).to_string();
        assert_eq!(
            error,
            "2 mistakes; nothing was purged.\nstandard input:5001: urls[0] '/x': bad.\n\
             standard input:5003: urls[2]: bad.\nthe first 5000 entries are purged, the others are not"
        );
    }

    #[test]
    fn batches_are_bounded_in_bytes() {
        let line = format!("/{}\n", "x".repeat(3 << 20));
        let bodies = bodies(
            &arguments(&["s"], &["-"], false),
            &mut line.repeat(5).as_bytes(),
        );
        assert_eq!(bodies.unwrap().len(), 3);
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
            time: "T".into(),
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
        check(
            counts,
            false,
            "Purged 1 URL, 3 tags (sequence 7, id ab, T).",
        );
        check(
            counts,
            true,
            "Made 1 URL, 3 tags stale (sequence 7, id ab, T).",
        );
        let counts = PurgeCounts {
            everything: 1,
            ..PurgeCounts::default()
        };
        check(counts, false, "Purged everything (sequence 7, id ab, T).");
    }
}
