use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Form, Key, Keys, Kind, alternatives, nearest};
use super::quantity;
use super::source::{Mistakes, Place, Show, Source, Wrong};

/// One file on its way from TOML to checked values.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) mistakes: &'a Mistakes,
    schema: &'static [Keys],
    /// Every key that was asked for, so that a test can tell a listed key that nobody reads.
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a Source, schema: &'static [Keys], mistakes: &'a Mistakes) -> Self {
        Self {
            source,
            mistakes,
            schema,
            asked: RefCell::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

/// Parses a file; syntax errors are noted, and what could be recovered is returned.
pub(super) fn parse<'a>(source: &'a Source, mistakes: &Mistakes) -> Spanned<DeTable<'a>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        mistakes.add_syntax(source, span, error.message());
    }
    table
}

/// One table of a file, or the absence of it: then every read leaves its slot as it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    walk: &'a Walk<'a>,
    keys: &'static Keys,
    table: Option<&'a DeTable<'a>>,
    head: Place<'a>,
}

static NO_KEYS: Keys = Keys {
    path: "",
    form: Form::One,
    about: "",
    keys: &[],
    later: &[],
};

/// One entry of a table with free names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) name_place: Place<'a>,
    pub(super) value: &'a DeValue<'a>,
    pub(super) value_place: Place<'a>,
}

impl<'a> Section<'a> {
    /// The file's top; unknown keys are noted.
    pub(super) fn top(walk: &'a Walk<'a>, table: &'a DeTable<'a>) -> Self {
        let section = Self {
            walk,
            keys: keys_at(walk.schema, ""),
            table: Some(table),
            head: walk.source.place(0..0),
        };
        section.refuse_unknown();
        section
    }

    /// The table `name` below this one.
    pub(super) fn section(&self, name: &'static str) -> Self {
        let keys = self.keys_below(name);
        let absent = Self {
            walk: self.walk,
            keys,
            table: None,
            head: self.head,
        };
        let Some(value) = self.get(name) else {
            return absent;
        };
        let head = self.walk.source.place(value.span());
        match value.get_ref() {
            DeValue::Table(table) => absent.with(table, head),
            other => {
                let path = keys.path;
                self.note(
                    head,
                    Show::Line,
                    path,
                    Wrong::new(
                        format!("{} where a table belongs", a(other)),
                        format!("write [{path}] and its keys below it"),
                    ),
                );
                absent
            }
        }
    }

    /// The tables `[[name]]` below this one.
    pub(super) fn sections(&self, name: &'static str) -> Vec<Self> {
        let keys = self.keys_below(name);
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let path = keys.path;
        let wrong = |value: &DeValue<'_>| {
            Wrong::new(
                format!("{} where a list of tables belongs", a(value)),
                format!("write [[{path}]] with two brackets"),
            )
        };
        let DeValue::Array(items) = value.get_ref() else {
            let place = self.walk.source.place(value.span());
            self.note(place, Show::Line, path, wrong(value.get_ref()));
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let head = self.walk.source.place(item.span());
            match item.get_ref() {
                DeValue::Table(table) => found.push(
                    Self {
                        walk: self.walk,
                        keys,
                        table: None,
                        head,
                    }
                    .with(table, head),
                ),
                other => self.note(head, Show::Line, path, wrong(other)),
            }
        }
        found
    }

    fn with(self, table: &'a DeTable<'a>, head: Place<'a>) -> Self {
        let section = Self {
            table: Some(table),
            head,
            ..self
        };
        section.refuse_unknown();
        section
    }

    /// Whether this key stands in the file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Where the value of `name` stands; the head of the table if it is not there.
    pub(super) fn place(&self, name: &str) -> Place<'a> {
        match self.get(name) {
            Some(value) => self.walk.source.place(value.span()),
            None => self.head,
        }
    }

    /// Notes a mistake at the value of `name`, or at the table's head if there is none.
    pub(super) fn refuse(&self, name: &str, wrong: Wrong) {
        let path = self.path_of(name);
        if self.has(name) {
            let show = if self.is_secret(name) {
                Show::Nothing
            } else {
                Show::Value
            };
            self.note(self.place(name), show, &path, wrong);
        } else if !self.walk.mistakes.is_broken(self.walk.source) {
            self.note(self.head, Show::Line, &path, wrong);
        }
    }

    /// Notes a mistake at one place of the value of `name`.
    pub(super) fn refuse_at(&self, place: Place<'a>, name: &str, wrong: Wrong) {
        let show = match self.is_secret(name) {
            true => Show::Nothing,
            false => Show::Value,
        };
        self.note(place, show, &self.path_of(name), wrong);
    }

    /// Notes a mistake in the name of an entry of the free table `name`.
    pub(super) fn refuse_name(&self, entry: &Entry<'a>, name: &str, wrong: Wrong) {
        let path = join(&self.path_of(name), entry.name);
        self.note(entry.name_place, Show::Line, &path, wrong);
    }

    /// Notes a mistake in the value of an entry of the free table `name`.
    pub(super) fn refuse_entry(&self, entry: &Entry<'a>, name: &str, wrong: Wrong) {
        let path = join(&self.path_of(name), entry.name);
        self.note(entry.value_place, Show::Value, &path, wrong);
    }

    /// Notes that a required key is missing.
    pub(super) fn require(&self, name: &str, fix: &str) -> bool {
        if !self.has(name) {
            self.refuse(name, Wrong::new("missing", fix));
        }
        self.has(name)
    }

    pub(super) fn flag(&self, name: &'static str, slot: &mut bool) {
        self.read(name, slot, |_, value| match value {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(Wrong::new(
                format!("{} where a switch belongs", a(other)),
                "write true or false without quotes",
            )),
        });
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, name: &'static str, slot: &mut T) {
        self.read(name, slot, |kind, value| {
            let (min, max) = match kind {
                Kind::Integer { min, max } => (min, max),
                other => return Err(mismatch(other)),
            };
            let fix = || format!("write a whole number from {min} to {max}");
            integer_between(value, min, max)
                .and_then(|number| {
                    T::try_from(number).map_err(|_| Wrong::new("out of range", fix()))
                })
                .map_err(|wrong| Wrong::new(wrong.problem, fix()))
        });
    }

    pub(super) fn duration(&self, name: &'static str, slot: &mut Duration) {
        self.read(name, slot, duration_value);
    }

    pub(super) fn size<T: TryFrom<u64>>(&self, name: &'static str, slot: &mut T) {
        self.read(name, slot, |kind, value| {
            let (min, max) = match kind {
                Kind::Size { min, max } => (min, max),
                other => return Err(mismatch(other)),
            };
            let bytes = match value {
                DeValue::Integer(number) => Err(Wrong::new(
                    "a number without a unit",
                    format!("write \"{number}B\", or use KiB, MiB or GiB"),
                )),
                other => text_of(other, "a size such as \"64MiB\"").and_then(quantity::size),
            }?;
            let range = || {
                let (min, max) = (quantity::size_text(min), quantity::size_text(max));
                format!("write a size from \"{min}\" to \"{max}\"")
            };
            if bytes < min {
                return Err(Wrong::new("too small", range()));
            }
            let fits = (bytes <= max).then(|| T::try_from(bytes).ok()).flatten();
            fits.ok_or_else(|| Wrong::new("too large", range()))
        });
    }

    /// One of the words of the list of keys; `pairs` gives what each means.
    pub(super) fn word<T: Copy>(&self, name: &'static str, slot: &mut T, pairs: &[(&str, T)]) {
        self.read(name, slot, |kind, value| word_value(kind, value, pairs));
    }

    /// A list of such words, each at most once; never empty.
    pub(super) fn words<T: Copy + PartialEq>(
        &self,
        name: &'static str,
        slot: &mut Vec<T>,
        pairs: &[(&str, T)],
    ) {
        if self.not_empty(name, Some(())).is_some() {
            self.any_words(name, slot, pairs);
        }
    }

    /// As [`Self::words`], and there may be none.
    pub(super) fn any_words<T: Copy + PartialEq>(
        &self,
        name: &'static str,
        slot: &mut Vec<T>,
        pairs: &[(&str, T)],
    ) {
        let kind = self.kind(name);
        if let Some(items) = self.items_of(name, &|value| word_value(kind, value, pairs)) {
            *slot = items.into_iter().map(|(item, _)| item).collect();
        }
    }

    /// As [`Self::words`], where there may be none.
    pub(super) fn words_or_none<T: Copy + PartialEq>(
        &self,
        name: &'static str,
        slot: &mut Vec<T>,
        pairs: &[(&str, T)],
    ) {
        let kind = self.kind(name);
        if let Some(items) = self.items_of(name, &|value| word_value(kind, value, pairs)) {
            *slot = items.into_iter().map(|(item, _)| item).collect();
        }
    }

    /// A string that `parse` judges.
    pub(super) fn text<T>(
        &self,
        name: &'static str,
        slot: &mut T,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) {
        self.read(name, slot, |kind, value| {
            text_of(value, &kind.text()).and_then(parse)
        });
    }

    /// A value of any type that `parse` judges.
    pub(super) fn value<T>(
        &self,
        name: &'static str,
        slot: &mut T,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) {
        self.read(name, slot, |_, value| parse(value));
    }

    /// A list of strings that `parse` judges, each at most once.
    pub(super) fn list<T: PartialEq>(
        &self,
        name: &'static str,
        slot: &mut Vec<T>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) {
        if let Some(items) = self.items(name, parse) {
            *slot = items.into_iter().map(|(item, _)| item).collect();
        }
    }

    /// As [`Self::list`], with the place of each.
    pub(super) fn items<T: PartialEq>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<(T, Place<'a>)>> {
        self.items_of(name, &|value| text_of(value, "a string").and_then(&parse))
    }

    /// A list of whole numbers, each at most once.
    pub(super) fn integers<T: TryFrom<i64> + PartialEq>(
        &self,
        name: &'static str,
        slot: &mut Vec<T>,
        (min, max): (i64, i64),
    ) {
        let items = self.items_of(name, &|value| {
            let fix = || format!("write whole numbers from {min} to {max}");
            let number = integer_between(value, min, max);
            let number = number.map_err(|wrong| Wrong::new(wrong.problem, fix()))?;
            T::try_from(number).map_err(|_| Wrong::new("out of range", fix()))
        });
        if let Some(items) = items {
            *slot = items.into_iter().map(|(item, _)| item).collect();
        }
    }

    /// Notes that a list has nothing in it.
    pub(super) fn not_empty<T>(&self, name: &str, items: Option<T>) -> Option<T> {
        if self.has(name) && self.lists_nothing(name) {
            self.refuse(
                name,
                Wrong::new("empty", "name at least one, or leave the key out"),
            );
            return None;
        }
        items
    }

    /// Whether a list is empty or not there. One whose items are wrong lists something.
    pub(super) fn lists_nothing(&self, name: &str) -> bool {
        let Some(value) = self.get(name) else {
            return true;
        };
        let items = value.get_ref().as_array();
        items.is_some_and(|items| items.is_empty())
    }

    /// A table with free names; `None` when it is not there.
    pub(super) fn entries(&self, name: &'static str) -> Option<Vec<Entry<'a>>> {
        self.kind(name);
        let value = self.get(name)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.refuse(
                name,
                Wrong::new(
                    format!("{} where a table belongs", a(value.get_ref())),
                    "write { name = \"value\" }",
                ),
            );
            return None;
        };
        Some(self.listed(table))
    }

    /// The entries of one that is a table with free names itself; `None` when it is none.
    pub(super) fn entries_of(&self, entry: &Entry<'a>) -> Option<Vec<Entry<'a>>> {
        match entry.value {
            DeValue::Table(table) => Some(self.listed(table)),
            _ => None,
        }
    }

    fn listed(&self, table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
        let source = self.walk.source;
        let entries = table.iter().map(|(name, value)| Entry {
            name: name.get_ref(),
            name_place: source.place(name.span()),
            value: value.get_ref(),
            value_place: source.place(value.span()),
        });
        entries.collect()
    }

    /// As [`Self::items`], of values of any type.
    pub(super) fn items_of<T: PartialEq>(
        &self,
        name: &'static str,
        parse: &dyn Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<(T, Place<'a>)>> {
        let kind = self.kind(name);
        let value = self.get(name)?;
        let DeValue::Array(array) = value.get_ref() else {
            let fix = format!("write a list in brackets: [{}]", self.place(name).text());
            self.refuse(
                name,
                Wrong::new(
                    format!(
                        "{} where a {} belongs",
                        a(value.get_ref()),
                        plain(&kind.text())
                    ),
                    fix,
                ),
            );
            return None;
        };
        let mut items: Vec<(T, Place<'a>)> = Vec::with_capacity(array.len());
        for item in array.iter() {
            let place = self.walk.source.place(item.span());
            match parse(item.get_ref()) {
                Ok(item) if items.iter().any(|(other, _)| *other == item) => {
                    self.refuse_at(place, name, Wrong::new("listed twice", "name it once"));
                }
                Ok(item) => items.push((item, place)),
                Err(wrong) => self.refuse_at(place, name, wrong),
            }
        }
        Some(items)
    }

    fn read<T>(
        &self,
        name: &'static str,
        slot: &mut T,
        parse: impl FnOnce(Kind, &DeValue<'_>) -> Result<T, Wrong>,
    ) {
        let kind = self.kind(name);
        let Some(value) = self.get(name) else { return };
        match parse(kind, value.get_ref()) {
            Ok(value) => *slot = value,
            Err(wrong) => self.refuse(name, wrong),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(name)
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.keys.iter().find(|key| key.name == name)
    }

    fn kind(&self, name: &'static str) -> Kind {
        let path = self.path_of(name);
        let key = self.key(name);
        debug_assert!(key.is_some(), "{path} is read and not listed");
        self.walk.asked.borrow_mut().insert(path);
        key.map_or(Kind::Flag, |key| key.kind)
    }

    fn is_secret(&self, name: &str) -> bool {
        self.key(name).is_some_and(|key| key.kind.is_secret())
    }

    fn path_of(&self, name: &str) -> String {
        join(self.keys.path, name)
    }

    fn keys_below(&self, name: &'static str) -> &'static Keys {
        let path = self.path_of(name);
        let keys = keys_at(self.walk.schema, &path);
        debug_assert_eq!(keys.path, path, "{path} is read and not listed");
        keys
    }

    fn note(&self, place: Place<'a>, show: Show, key: &str, wrong: Wrong) {
        self.walk.mistakes.add(place, show, key, wrong);
    }

    fn refuse_unknown(&self) {
        let Some(table) = self.table else { return };
        let known: BTreeSet<&str> = self
            .keys
            .keys
            .iter()
            .map(|key| key.name)
            .chain(tables_below(self.walk.schema, self.keys.path))
            .collect();
        for name in table.keys() {
            let written: &str = name.get_ref();
            if !known.contains(written) {
                let place = self.walk.source.place(name.span());
                let path = self.path_of(written);
                self.note(place, Show::Line, &path, self.unknown(written, &known));
            }
        }
    }

    fn unknown(&self, written: &str, known: &BTreeSet<&'static str>) -> Wrong {
        let later = self.keys.later;
        if later.contains(&written) {
            return Wrong::new("this version does not have it", "remove it");
        }
        let all = known.iter().copied().chain(later.iter().copied());
        match nearest(written, all) {
            Some(name) if later.contains(&name) => {
                return Wrong::new(
                    format!("unknown key; {name} is meant? This version does not have it"),
                    "remove it",
                );
            }
            Some(name) => {
                return Wrong::new("unknown key", format!("write {name}"));
            }
            None => {}
        }
        let elsewhere = self.walk.schema.iter().find(|keys| {
            keys.path != self.keys.path && keys.keys.iter().any(|key| key.name == written)
        });
        match elsewhere {
            Some(keys) if !keys.path.is_empty() => Wrong::new(
                "unknown key here",
                format!("write it in [{}] or remove it", keys.path),
            ),
            Some(_) => Wrong::new(
                "unknown key here",
                "write it at the top of the file, before the first table, or remove it",
            ),
            None => {
                let known: Vec<&str> = known.iter().copied().collect();
                Wrong::new(
                    "unknown key",
                    format!("remove it, or write one of {}", known.join(", ")),
                )
            }
        }
    }
}

/// A string; `expected` says what belongs here.
pub(super) fn text_of<'v>(value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| {
        Wrong::new(
            format!("{} where a string belongs", a(value)),
            format!("write {} in quotes", plain(expected)),
        )
    })
}

/// A duration within the bounds of its kind.
pub(super) fn duration_value(kind: Kind, value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let Kind::Duration { min, max } = kind else {
        return Err(mismatch(kind));
    };
    let length = match value {
        DeValue::Integer(number) => Err(Wrong::new(
            "a number without a unit",
            format!("write \"{number}s\""),
        )),
        other => text_of(other, "a duration such as \"30s\"").and_then(quantity::duration),
    }?;
    let range = || {
        let (min, max) = (quantity::duration_text(min), quantity::duration_text(max));
        format!("write a duration from \"{min}\" to \"{max}\"")
    };
    if length < min {
        return Err(Wrong::new("too short", range()));
    }
    if length > max {
        return Err(Wrong::new("too long", range()));
    }
    Ok(length)
}

/// One of the words of its kind.
pub(super) fn word_value<T: Copy>(
    kind: Kind,
    value: &DeValue<'_>,
    pairs: &[(&str, T)],
) -> Result<T, Wrong> {
    let (Kind::Word { words, later } | Kind::Words { words, later }) = kind else {
        return Err(mismatch(kind));
    };
    debug_assert!(
        pairs.iter().map(|(word, _)| word).eq(words),
        "{words:?} are listed otherwise"
    );
    let written = text_of(value, &alternatives(words))?;
    if let Some((_, meaning)) = pairs.iter().find(|(word, _)| *word == written) {
        return Ok(*meaning);
    }
    let fix = match nearest(written, words.iter().copied()) {
        Some(word) => format!("write \"{word}\""),
        None => format!("write {}", plain(&alternatives(words))),
    };
    if later.contains(&written) {
        return Err(Wrong::new("this version does not have it", fix));
    }
    Err(Wrong::new("unknown word", fix))
}

fn integer_between(value: &DeValue<'_>, min: i64, max: i64) -> Result<i64, Wrong> {
    let DeValue::Integer(number) = value else {
        return Err(Wrong::new(
            format!("{} where a whole number belongs", a(value)),
            "",
        ));
    };
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) if number < min => Err(Wrong::new("too small", "")),
        Ok(number) if number <= max => Ok(number),
        _ => Err(Wrong::new("too large", "")),
    }
}

/// A reader that asks for another type than the list of keys says is a mistake of ours; a test finds it.
fn mismatch(kind: Kind) -> Wrong {
    debug_assert!(false, "listed as {kind:?} and read as something else");
    Wrong::new(format!("not {}", kind.text()), "")
}

fn keys_at(schema: &'static [Keys], path: &str) -> &'static Keys {
    let keys = schema.iter().find(|keys| keys.path == path);
    keys.unwrap_or(&NO_KEYS)
}

/// Names of the tables right below `path`; `cache` counts even if only `cache.memory` is listed.
fn tables_below(schema: &'static [Keys], path: &str) -> impl Iterator<Item = &'static str> {
    let prefix = join(path, "");
    schema
        .iter()
        .filter_map(move |keys| keys.path.strip_prefix(prefix.as_str()))
        .filter(|below| !below.is_empty())
        .map(|below| below.split('.').next().unwrap_or(below))
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// Text of the reference without its code marks.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn a(value: &DeValue<'_>) -> String {
    match value.type_str() {
        kind @ ("integer" | "array") => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}
