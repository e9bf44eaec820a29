use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with a configuration, in the order of files and lines; never empty.
///
/// `Display` gives the whole report: each mistake with its line and a caret below it, then the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        Self { errors }
    }

    /// The mistakes one by one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// Each mistake in one line, for logs and for the answer to a reload.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.errors.iter().map(ConfigError::message).collect()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        let mut files: Vec<_> = self.errors.iter().map(|error| &error.file).collect();
        files.dedup();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{} mistake{} in {} file{}",
            self.errors.len(),
            plural(self.errors.len()),
            files.len(),
            plural(files.len())
        )
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the command-line argument.
    pub file: PathBuf,
    /// Where in the file; `None` when it is about the file as a whole.
    pub position: Option<Position>,
    /// The key with its tables (`listener.bind`); empty when it is not about one key.
    pub key: String,
    /// The value as written; empty when there is none, or when it is a secret.
    pub value: String,
    /// What is wrong.
    pub problem: String,
    /// What to do; a sentence without its full stop.
    pub fix: String,
    /// The line to point at.
    pub excerpt: Option<Excerpt>,
}

/// A place in a file, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The part of a line that an error points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, fit for a terminal.
    pub text: String,
    /// Characters before the caret.
    pub indent: usize,
    /// Length of the caret; at least 1.
    pub width: usize,
}

impl ConfigError {
    /// The mistake in one line: `file:line:column: key = value: problem; fix`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.file.display().to_string();
        if let Some(at) = self.position {
            message.push_str(&format!(":{}:{}", at.line, at.column));
        }
        message.push_str(": ");
        if !self.key.is_empty() {
            message.push_str(&self.key);
            if !self.value.is_empty() {
                message.push_str(" = ");
                message.push_str(&self.value);
            }
            message.push_str(": ");
        }
        message.push_str(&self.problem);
        if !self.fix.is_empty() {
            message.push_str("; ");
            message.push_str(&self.fix);
        }
        message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message())?;
        if let (Some(at), Some(excerpt)) = (self.position, &self.excerpt) {
            write!(f, "\n{:>5} | {}", at.line, excerpt.text)?;
            let (blank, indent) = ("", excerpt.indent);
            write!(f, "\n{blank:>5} | {blank:indent$}")?;
            write!(f, "{}", "^".repeat(excerpt.width))?;
        }
        Ok(())
    }
}
