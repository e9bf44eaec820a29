//! The files of real npm packages, as Debian ships them, in every coding: by curl, with the codings' own programs as judges.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Ask, Edge, Fetched, Origin, curl_all, decode, files_below, wait_within};

/// What `libjs-bootstrap5`, `libjs-katex`, `libjs-leaflet`, `libjs-olm`, `fonts-font-awesome` and `iso-codes` install; by
/// their names at npm: bootstrap, katex, leaflet, @matrix-org/olm and font-awesome, and beside them some JSON.
const PACKAGES: [(&str, &str); 6] = [
    ("bootstrap", "/usr/share/javascript/bootstrap5"),
    ("katex", "/usr/share/javascript/katex"),
    ("leaflet", "/usr/share/javascript/leaflet"),
    ("olm", "/usr/share/javascript/olm"),
    ("font-awesome", "/usr/share/fonts-font-awesome"),
    ("iso-codes", "/usr/share/iso-codes/json"),
];
const KINDS: [&str; 5] = ["js", "css", "svg", "wasm", "json"];
const CODINGS: [&str; 4] = ["identity", "gzip", "br", "zstd"];
/// Some are longer than a chunk.
const LONGEST_BYTES: u64 = 700_000;
/// Of the kinds that there are many of and that are much alike (source maps, fonts, sources of styles).
const OTHERS_OF_EACH_KIND: usize = 8;

/// One file of a package, as the origin has it.
struct File {
    path: String,
    content: Vec<u8>,
}

impl File {
    fn kind(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// Copies the packages' files to `root`, each content once.
fn copy_packages(root: &Path) -> Vec<File> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    let mut others = BTreeMap::new();
    for (name, folder) in PACKAGES {
        let mut found = Vec::new();
        files_below(Path::new(folder), &mut found);
        assert!(
            !found.is_empty(),
            "{folder} must be installed for this test: see .ci/run"
        );
        found.sort();
        for from in found {
            let content = fs::read(&from).unwrap();
            if content.len() as u64 > LONGEST_BYTES || !seen.insert(content.clone()) {
                continue;
            }
            let kind = from.extension().unwrap_or_default().to_owned();
            let is_wanted = KINDS.iter().any(|wanted| kind == *wanted);
            let others: &mut usize = others.entry(kind).or_default();
            *others += usize::from(!is_wanted);
            if *others > OTHERS_OF_EACH_KIND {
                continue;
            }
            let path = format!("/{name}/{}", from.strip_prefix(folder).unwrap().display());
            let to = root.join(&path[1..]);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, &content).unwrap();
            files.push(File { path, content });
        }
    }
    for kind in KINDS {
        assert!(files.iter().any(|file| file.kind() == kind), "no {kind}");
    }
    files
}

fn start(settings: &str) -> (TempDir, Vec<File>, Origin, Edge) {
    let root = tempfile::tempdir().unwrap();
    let files = copy_packages(root.path());
    let origin = Origin::start(root.path());
    let port = origin.port;
    let edge = Edge::start(&format!(
        "hosts = [\"localhost\"]\n[origin]\nurl = \"http://127.0.0.1:{port}\"\n{settings}"
    ));
    (root, files, origin, edge)
}

/// A representation as it was met first.
struct Form {
    coding: String,
    tag: String,
    body: Vec<u8>,
}

impl Form {
    fn of(answer: &Fetched) -> Self {
        Self {
            coding: answer.field("content-encoding").unwrap_or_default(),
            tag: answer.field("etag").unwrap(),
            body: answer.body.clone(),
        }
    }
}

fn content_of(answer: &Fetched) -> Vec<u8> {
    match answer.field("content-encoding") {
        Some(coding) => decode(&coding, &answer.body),
        None => answer.body.clone(),
    }
}

/// The fields that must be the same whenever the same representation is told of.
fn lasting_fields(answer: &Fetched) -> BTreeSet<String> {
    // Each answer has its own age, and each refusal its own date, and its number in the text.
    let own: &[&str] = match answer.status() {
        400.. => &["date", "x-request-id", "content-length"],
        _ => &["age", "cache-status"],
    };
    let fields = answer.head.lines().skip(1).map(str::to_ascii_lowercase);
    fields
        .filter(|line| !line.is_empty())
        .filter(|line| {
            own.iter()
                .all(|name| !line.starts_with(&format!("{name}:")))
        })
        .collect()
}

/// The parts of a multipart answer: where each begins and ends, of how much, and its bytes.
fn parts(answer: &Fetched) -> Vec<(String, Vec<u8>)> {
    let kind = answer.field("content-type").unwrap();
    let mark = kind.strip_prefix("multipart/byteranges; boundary=");
    let mark = format!("--{}", mark.unwrap().trim_matches('"'));
    let mut rest = &answer.body[..];
    let mut found = Vec::new();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|at| at == what);
    while let Some(at) = find(rest, mark.as_bytes()) {
        rest = &rest[at + mark.len()..];
        if rest.starts_with(b"--") {
            return found;
        }
        let head_end = find(rest, b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(rest[..head_end].to_vec()).unwrap();
        let place = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-range").then_some(value)
        });
        let place = place.unwrap().to_owned();
        let (first, last) = bounds(&place);
        let length = last - first + 1;
        found.push((place, rest[head_end..head_end + length].to_vec()));
        rest = &rest[head_end + length..];
    }
    panic!("the last mark is missing in {}", answer.head);
}

/// Of a `Content-Range`.
fn bounds(place: &str) -> (usize, usize) {
    let (places, _) = place["bytes ".len()..].split_once('/').unwrap();
    let (first, last) = places.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}

/// What is asked for a file in one coding, and how the answer is judged.
struct Question<'a> {
    ask: Ask,
    judge: Box<dyn Fn(&Fetched) + 'a>,
}

/// One file, in one coding, when all its representations are stored.
struct Case<'a> {
    file: &'a File,
    accept: &'static str,
    identity: &'a Form,
    form: &'a Form,
    /// Some coding of this file is made here, so that answers vary.
    varies: bool,
}

impl<'a> Case<'a> {
    fn ask(&self, fields: &[(&str, &str)]) -> Ask {
        Ask::get(&self.file.path)
            .with("Accept-Encoding", self.accept)
            .with_all(fields)
    }

    fn check_common(&self, answer: &Fetched) {
        if self.varies && [200, 206, 304].contains(&answer.status()) {
            let vary = answer.field("vary").unwrap_or_default();
            assert_eq!(vary, "Accept-Encoding", "{}", answer.head);
        }
        if answer.status() != 304 {
            let length = answer.field("content-length").unwrap();
            assert_eq!(length, answer.body.len().to_string(), "{}", answer.head);
        }
    }

    fn check_whole(&self, answer: &Fetched) {
        assert_eq!(answer.status(), 200, "{}", answer.head);
        let coding = answer.field("content-encoding").unwrap_or_default();
        // What is the same as before was decoded before.
        let is_known = coding == self.form.coding && answer.body == self.form.body;
        assert!(
            is_known || content_of(answer) == self.file.content,
            "{}",
            answer.head
        );
    }

    /// Bytes `first` to `last` of `form`.
    fn check_part(&self, answer: &Fetched, form: &Form, first: usize, last: usize) {
        assert_eq!(answer.status(), 206, "{}", answer.head);
        let place = format!("bytes {first}-{last}/{}", form.body.len());
        assert_eq!(
            answer.field("content-range"),
            Some(place),
            "{}",
            answer.head
        );
        assert_eq!(
            answer.field("content-encoding").unwrap_or_default(),
            form.coding
        );
        assert_eq!(answer.field("etag").as_ref(), Some(&form.tag));
        assert!(answer.body == form.body[first..=last], "{}", answer.head);
    }

    /// All of `places`, which may have been joined where they are near to each other (RFC 9110 §15.3.7.2).
    fn check_parts(&self, answer: &Fetched, form: &Form, places: &[(usize, usize)]) {
        assert_eq!(answer.status(), 206, "{}", answer.head);
        assert_eq!(
            answer.field("content-encoding").unwrap_or_default(),
            form.coding
        );
        let found = match answer.field("content-range") {
            Some(place) => vec![(place, answer.body.clone())],
            None => parts(answer),
        };
        let mut told = Vec::new();
        for (place, bytes) in found {
            let (first, last) = bounds(&place);
            assert_eq!(place, format!("bytes {first}-{last}/{}", form.body.len()));
            assert!(bytes == form.body[first..=last], "{}", answer.head);
            told.push((first, last));
        }
        for (first, last) in places {
            let holds = told.iter().any(|(from, to)| from <= first && last <= to);
            assert!(holds, "{first}-{last} in {told:?}");
        }
    }

    fn check_unchanged(&self, answer: &Fetched) {
        assert_eq!(answer.status(), 304, "{}", answer.head);
        assert_eq!(answer.field("etag").as_ref(), Some(&self.form.tag));
        assert!(answer.body.is_empty());
        for name in ["content-length", "content-encoding", "content-range"] {
            assert_eq!(answer.field(name), None, "{}", answer.head);
        }
    }

    fn questions(&'a self) -> Vec<Question<'a>> {
        let mut questions: Vec<Question<'a>> = Vec::new();
        let mut add = |ask: Ask, judge: Box<dyn Fn(&Fetched) + 'a>| {
            questions.push(Question { ask, judge });
        };
        let (tag, identity_tag) = (self.form.tag.as_str(), self.identity.tag.as_str());
        let weak = format!("W/{tag}");
        let gone = match tag.rsplit_once('.') {
            Some((start, _)) => format!("{start}.0000000000000000\""),
            None => "\"another\"".to_owned(),
        };
        add(
            self.ask(&[]),
            Box::new(|answer| {
                assert_eq!(answer.status(), 200);
                assert!(
                    answer.field("cache-status").unwrap().contains("; hit"),
                    "{}",
                    answer.head
                );
                assert_eq!(answer.field("etag").as_ref(), Some(&self.form.tag));
                assert!(answer.body == self.form.body, "{}", answer.head);
            }),
        );
        add(
            self.ask(&[("If-Match", "\"another\"")]),
            Box::new(|answer| assert_eq!(answer.status(), 412, "{}", answer.head)),
        );
        for held in [tag, identity_tag, weak.as_str(), "*"] {
            add(
                self.ask(&[("If-None-Match", held)]),
                Box::new(|answer| self.check_unchanged(answer)),
            );
        }
        add(
            self.ask(&[("If-None-Match", tag), ("Range", "bytes=0-0")]),
            // A range is of the content as it is, and so is its tag.
            Box::new(|answer| assert_eq!(answer.status(), 304, "{}", answer.head)),
        );
        for held in ["\"another\"", &gone] {
            let is_known = held == tag;
            add(
                self.ask(&[("If-None-Match", held)]),
                Box::new(move |answer| match answer.status() {
                    // Another version of a coding that was made of the same content.
                    304 => assert!(!is_known),
                    _ => self.check_whole(answer),
                }),
            );
        }
        add(
            self.ask(&[("If-Match", tag)]),
            Box::new(|answer| self.check_whole(answer)),
        );
        let (n, m) = (self.file.content.len(), self.form.body.len());
        let beyond = format!("bytes={n}-");
        add(
            self.ask(&[("Range", &beyond)]),
            Box::new(move |answer| {
                assert_eq!(answer.status(), 416, "{}", answer.head);
                assert_eq!(answer.field("content-range"), Some(format!("bytes */{n}")));
            }),
        );
        if n < 100 || m < 100 {
            return questions;
        }
        let (third, middle) = (n / 3, format!("bytes={}-{}", n / 3, n / 3 + 19));
        let of_identity =
            move |answer: &Fetched| self.check_part(answer, self.identity, third, third + 19);
        add(self.ask(&[("Range", &middle)]), Box::new(of_identity));
        add(
            self.ask(&[("Range", "bytes=-7")]),
            Box::new(move |answer| self.check_part(answer, self.identity, n - 7, n - 1)),
        );
        add(
            self.ask(&[("Range", "bytes=0-4,30-39,-6")]),
            Box::new(move |answer| {
                self.check_parts(answer, self.identity, &[(0, 4), (30, 39), (n - 6, n - 1)]);
            }),
        );
        add(
            self.ask(&[("Range", &middle), ("If-Range", identity_tag)]),
            Box::new(of_identity),
        );
        let coded = format!("bytes={}-{}", m / 3, m / 3 + 19);
        add(
            self.ask(&[("Range", &coded), ("If-Range", tag)]),
            Box::new(move |answer| self.check_part(answer, self.form, m / 3, m / 3 + 19)),
        );
        add(
            self.ask(&[("Range", "bytes=0-4,30-39,-6"), ("If-Range", tag)]),
            Box::new(move |answer| {
                self.check_parts(answer, self.form, &[(0, 4), (30, 39), (m - 6, m - 1)]);
            }),
        );
        for other in [&weak, &gone, "\"another\"", "Thu, 01 Jan 1970 00:00:01 GMT"] {
            add(
                self.ask(&[("Range", "bytes=0-9"), ("If-Range", other)]),
                Box::new(|answer| self.check_whole(answer)),
            );
        }
        questions
    }
}

/// Asks for one file in every coding over `version`, and with conditions and ranges in those of `mixed`.
fn put_through(edge: &Edge, version: &str, file: &File, mixed: [&str; 2]) {
    let firsts: Vec<Ask> = CODINGS
        .iter()
        .map(|coding| Ask::get(&file.path).with("Accept-Encoding", coding))
        .collect();
    let firsts = curl_all(edge.https, version, &firsts);
    let mut forms = Vec::new();
    for (accept, answer) in CODINGS.into_iter().zip(&firsts) {
        assert_eq!(answer.status(), 200, "{} {accept}", file.path);
        let form = Form::of(answer);
        assert!(
            form.coding.is_empty() || form.coding == accept,
            "{} {accept}",
            file.path
        );
        assert!(content_of(answer) == file.content, "{} {accept}", file.path);
        forms.push(form);
    }
    let varies = forms.iter().any(|form| !form.coding.is_empty());
    let cases: Vec<_> = CODINGS
        .into_iter()
        .zip(&forms)
        .filter(|(accept, _)| mixed.contains(accept))
        .map(|(accept, form)| Case {
            file,
            accept,
            identity: &forms[0],
            form,
            varies,
        })
        .collect();
    let questions: Vec<_> = cases
        .iter()
        .flat_map(|case| {
            let numbered = case.questions().into_iter().enumerate();
            numbered.map(move |(number, question)| (case, number, question))
        })
        .collect();
    let asks: Vec<_> = questions
        .iter()
        .map(|(_, _, question)| question.ask.clone())
        .collect();
    let answers = curl_all(edge.https, version, &asks);
    for ((case, _, question), answer) in questions.iter().zip(&answers) {
        case.check_common(answer);
        (question.judge)(answer);
    }
    // The first questions again without a body: what GET says, HEAD says (RFC 9110 §9.3.2).
    let heads: Vec<_> = questions
        .iter()
        .zip(&answers)
        .filter(|((_, number, _), _)| *number < 3)
        .map(|((_, _, question), answer)| (question.ask.clone().head(), answer))
        .collect();
    let asks: Vec<_> = heads.iter().map(|(ask, _)| ask.clone()).collect();
    for ((ask, answer), head) in heads.iter().zip(curl_all(edge.https, version, &asks)) {
        assert_eq!(head.status(), answer.status(), "{ask:?}");
        assert!(head.body.is_empty(), "{ask:?}");
        assert_eq!(lasting_fields(&head), lasting_fields(answer), "{ask:?}");
    }
}

#[test]
fn every_file_of_real_packages_is_right_in_every_coding_range_and_condition() {
    let (_root, files, origin, edge) = start("[compression]\nupgrade_after_hits = 0\n");
    assert!(files.len() > 50, "{} files", files.len());
    for (number, file) in files.iter().enumerate() {
        let mut turns = [
            ("--http1.1", ["identity", "br"]),
            ("--http2", ["gzip", "zstd"]),
        ];
        turns.rotate_left(number % 2);
        if number % 4 > 1 {
            let [(first, _), (second, _)] = &mut turns;
            std::mem::swap(first, second);
        }
        for (version, mixed) in turns {
            put_through(&edge, version, file, mixed);
        }
    }
    eprintln!("{} files", files.len());
    assert_eq!(origin.requests(), files.len(), "each file was pulled once");
}

/// How many bytes a program makes of a file.
fn made_by(program: &str, args: &[&str], file: &Path) -> usize {
    let output = Command::new(program)
        .args(args)
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed for this test ({error})"));
    assert!(output.status.success());
    output.stdout.len()
}

#[test]
fn what_is_coded_behind_the_answers_is_as_small_as_the_programs_make_it() {
    const EACH_KIND: usize = 16;
    let (root, mut files, _origin, edge) = start("");
    let mut kinds = BTreeMap::new();
    files.retain(|file| {
        let count: &mut usize = kinds.entry(file.kind().to_owned()).or_default();
        let is_one = KINDS.contains(&file.kind()) && (1000..450_000).contains(&file.content.len());
        *count += usize::from(is_one);
        is_one && *count <= EACH_KIND
    });
    assert!(files.len() >= 30, "{} files", files.len());
    let mut waiting: Vec<_> = files
        .iter()
        .flat_map(|file| ["br", "zstd", "gzip"].map(|coding| (file, coding)))
        .collect();
    let mut best = BTreeMap::new();
    // Whatever else the machine does comes first.
    wait_within(Duration::from_secs(600), "upgrades", || {
        let asks: Vec<_> = waiting
            .iter()
            .map(|(file, coding)| Ask::get(&file.path).with("Accept-Encoding", coding))
            .collect();
        let answers = curl_all(edge.https, "--http2", &asks);
        for (&(file, coding), answer) in waiting.iter().zip(&answers) {
            if answer.field("cache-status").unwrap().contains(";best") {
                assert!(content_of(answer) == file.content, "{} {coding}", file.path);
                best.insert((file.path.as_str(), coding), answer.body.len());
            }
        }
        waiting.retain(|(file, coding)| !best.contains_key(&(file.path.as_str(), *coding)));
        std::thread::sleep(Duration::from_millis(100));
        waiting.is_empty()
    });
    for (coding, program, args) in [
        ("br", "brotli", ["-q", "11", "-c"].as_slice()),
        ("zstd", "zstd", &["-q", "-19", "-c"]),
        ("gzip", "gzip", &["-9", "-n", "-c"]),
    ] {
        let (mut ours, mut theirs) = (0, 0);
        for file in &files {
            let found = best[&(file.path.as_str(), coding)];
            let expect = made_by(program, args, &root.path().join(&file.path[1..]));
            // The encoders are not the same, so single files may come out a little larger.
            assert!(
                found * 100 <= expect * 102 + 400,
                "{} as {coding}: {found} bytes, {program} makes {expect}",
                file.path
            );
            ours += found;
            theirs += expect;
        }
        eprintln!(
            "{coding}: {ours} bytes, {program} makes {theirs}, {} files",
            files.len()
        );
        // zlib-rs makes a little more of it than gzip.
        let percent = if coding == "gzip" { 102 } else { 101 };
        assert!(
            ours * 100 <= theirs * percent,
            "{coding}: {ours} bytes, {program} makes {theirs}"
        );
    }
}
