use std::time::Duration;

use super::quantity;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

/// One table of a file: what it may hold. The reader refuses what is not listed here, and the reference is
/// printed from here.
#[derive(Debug)]
pub(super) struct Keys {
    /// `listener.h2`; empty for the file's top.
    pub(super) path: &'static str,
    pub(super) form: Form,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
    /// Names that the format plans and this version does not have.
    pub(super) later: &'static [&'static str],
}

/// How often a table may stand in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `[table]`
    One,
    /// `[[table]]`
    Many,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As TOML.
    pub(super) default: Preset,
    pub(super) about: &'static str,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// This value.
    Toml(&'static str),
    /// Whatever this says.
    Derived(&'static str),
    /// The key must be written.
    Required,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Flag,
    /// A string; what it is.
    Text(&'static str),
    Integer {
        min: i64,
        max: i64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    /// One of some words. `later` ones are planned.
    Word {
        words: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// A list of such words.
    Words {
        words: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// A list; of what.
    List(&'static str),
    /// A table with free names; from what to what.
    Map(&'static str),
    /// `{ env = "NAME" }` or `{ file = "path" }`
    Secret,
    /// A list of secrets.
    Secrets,
    /// `{ file = "path" }`
    SecretFile,
}

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default: Preset::Toml(default),
        about,
    }
}

pub(super) const fn required(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Preset::Required,
        about,
    }
}

pub(super) const fn derived(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default: Preset::Derived(default),
        about,
    }
}

/// From 1 ms to one day.
pub(super) const TIMEOUT: Kind = Kind::Duration {
    min: Duration::from_millis(1),
    max: Duration::from_hours(24),
};

/// From nothing to ten years: longer lifetimes have no use and could overflow a clock.
pub(super) const LIFETIME: Kind = Kind::Duration {
    min: Duration::ZERO,
    max: Duration::from_hours(24 * 3650),
};

pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

pub(super) const fn word(words: &'static [&'static str]) -> Kind {
    Kind::Word { words, later: &[] }
}

pub(super) const fn words(words: &'static [&'static str]) -> Kind {
    Kind::Words { words, later: &[] }
}

impl Kind {
    /// For the reference and for errors.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Text(what) => (*what).to_owned(),
            Self::Integer { min, max } => format!("number, {min} to {max}"),
            Self::Duration { min, max } => format!(
                "duration, {} to {}",
                quantity::duration_text(*min),
                quantity::duration_text(*max)
            ),
            Self::Size { min, max } => format!(
                "size, {} to {}",
                quantity::size_text(*min),
                quantity::size_text(*max)
            ),
            Self::Word { words, .. } => alternatives(words),
            Self::Words { words, .. } => format!("list of {}", alternatives(words)),
            Self::List(what) => format!("list of {what}"),
            Self::Map(what) => format!("table: {what}"),
            Self::Secret => "`{ env = \"NAME\" }` or `{ file = \"path\" }`".to_owned(),
            Self::Secrets => "list of `{ env = \"NAME\" }` or `{ file = \"path\" }`".to_owned(),
            Self::SecretFile => "`{ file = \"path\" }`".to_owned(),
        }
    }

    /// Whether an error must not repeat the value.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Secrets | Self::SecretFile)
    }
}

/// `"a"`, `"b"` or `"c"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The known name that someone may have meant: few letters apart, or cut short.
pub(super) fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = (written.chars().count() / 3).max(1);
    let is_cut = |name: &str| written.len() >= 3 && name.starts_with(written);
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= allowed || is_cut(name))
        .min()
        .map(|(_, name)| name)
}
