use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Excerpt, Position};

/// Characters of a value that an error repeats.
const VALUE_SHOWN_MAX: usize = 60;
/// Characters of a line that an error shows, and how many of them come before the caret at most.
const LINE_SHOWN_MAX: usize = 110;
const LINE_BEFORE_MAX: usize = 70;

/// One file's text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Its place in the order of files; errors are sorted by it.
    pub(super) order: usize,
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

/// Why the system gives nothing from `path`.
pub(super) fn cannot_read(path: &Path, error: &std::io::Error, fix: &str) -> Wrong {
    let why = match error.kind() {
        ErrorKind::NotFound => "it is not there".to_owned(),
        kind => kind.to_string(),
    };
    Wrong::new(format!("cannot read {}: {why}", path.display()), fix)
}

/// Whether an error may repeat what stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Value,
    /// The place and its line, but no value: the mistake is in the key, or something is missing.
    Line,
    /// Neither: it may be a secret.
    Nothing,
}

/// All mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: RefCell<Vec<Found>>,
    /// Lines with a syntax error: what was recovered from them is not judged a second time.
    broken: RefCell<Vec<(usize, usize)>>,
}

#[derive(Debug)]
struct Found {
    order: usize,
    offset: usize,
    error: ConfigError,
}

impl Mistakes {
    pub(super) fn add(&self, place: Place<'_>, show: Show, key: &str, wrong: Wrong) {
        let position = place.source.position(place.start);
        let line = (place.source.order, position.line);
        if self.broken.borrow().contains(&line) {
            return;
        }
        self.push(place, show, key, wrong);
    }

    pub(super) fn add_syntax(&self, source: &Source, span: Range<usize>, message: &str) {
        let place = source.place(span);
        let line = source.position(place.start).line;
        self.broken.borrow_mut().push((source.order, line));
        let wrong = Wrong::new(format!("not valid TOML: {message}"), "");
        self.push(place, Show::Line, "", wrong);
    }

    /// A mistake about a file as a whole, or about an argument.
    pub(super) fn add_plain(&self, order: usize, file: &Path, value: &str, wrong: Wrong) {
        self.found.borrow_mut().push(Found {
            order,
            offset: 0,
            error: ConfigError {
                file: file.to_owned(),
                position: None,
                key: value.to_owned(),
                value: String::new(),
                problem: wrong.problem,
                fix: wrong.fix,
                excerpt: None,
            },
        });
    }

    /// Whether this file has a syntax error, so that what seems missing may only be unreadable.
    pub(super) fn is_broken(&self, source: &Source) -> bool {
        let broken = self.broken.borrow();
        broken.iter().any(|(order, _)| *order == source.order)
    }

    /// `good` when nothing is wrong.
    pub(super) fn verdict<T>(self, good: T) -> Result<T, ConfigErrors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(good);
        }
        found.sort_by_key(|found| (found.order, found.offset));
        Err(ConfigErrors::new(
            found.into_iter().map(|found| found.error).collect(),
        ))
    }

    fn push(&self, place: Place<'_>, show: Show, key: &str, wrong: Wrong) {
        self.found.borrow_mut().push(Found {
            order: place.source.order,
            offset: place.start,
            error: ConfigError {
                file: place.source.path.clone(),
                position: Some(place.source.position(place.start)),
                key: key.to_owned(),
                value: match show {
                    Show::Value => place.value_shown(),
                    Show::Line | Show::Nothing => String::new(),
                },
                problem: wrong.problem,
                fix: wrong.fix,
                excerpt: match show {
                    Show::Value | Show::Line => Some(place.excerpt()),
                    Show::Nothing => None,
                },
            },
        });
    }
}

impl Source {
    pub(super) fn place(&self, span: Range<usize>) -> Place<'_> {
        let start = span.start.min(self.text.len());
        Place {
            source: self,
            start,
            end: span.end.clamp(start, self.text.len()),
        }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before
                .get(line_start..)
                .map_or(0, |text| text.chars().count())
                + 1,
        }
    }
}

impl Place<'_> {
    /// The text of this place.
    pub(super) fn text(&self) -> &str {
        let text = self.source.text.get(self.start..self.end);
        text.unwrap_or_default()
    }

    fn value_shown(&self) -> String {
        let first_line = self.text().lines().next().unwrap_or_default();
        let mut shown: String = first_line
            .chars()
            .take(VALUE_SHOWN_MAX)
            .map(printable)
            .collect();
        if shown.len() < self.text().trim_end().len() {
            shown.push('…');
        }
        shown
    }

    fn excerpt(&self) -> Excerpt {
        let at = self.source.position(self.start);
        let line = self.source.text.lines().nth(at.line - 1);
        let line = line.unwrap_or_default();
        let before = at.column - 1;
        let skipped = before.saturating_sub(LINE_BEFORE_MAX);
        let text: String = line
            .chars()
            .skip(skipped)
            .take(LINE_SHOWN_MAX)
            .map(printable)
            .collect();
        let indent = before - skipped;
        let shown = text.chars().count();
        let width = self
            .text()
            .lines()
            .next()
            .map_or(1, |text| text.chars().count());
        Excerpt {
            text,
            indent,
            width: width.clamp(1, shown.saturating_sub(indent).max(1)),
        }
    }
}

/// One character wide whatever it was, so that the caret stays below its mark and no escape sequence reaches a terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
