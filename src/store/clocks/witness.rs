//! A second place that knows the last number of the database.
//!
//! After a crash the database goes back to its last commit but one when the last does not verify. That is right for a
//! commit that was torn, which nobody was told of. When a commit that was told of is damaged later, its purges would be
//! lost without a word. This small file says which number has been told. It is written after each commit and not synced:
//! it outlives the process, and after a loss of power it may be behind, never ahead.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

const FILE: &str = "purge.last";

/// The file, of a database of this name.
pub(super) struct Witness {
    path: PathBuf,
    identity: String,
    file: Option<File>,
}

impl Witness {
    pub(super) fn new(state: &Path, identity: &str) -> Self {
        Self {
            path: state.join(FILE),
            identity: identity.to_owned(),
            file: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last number that was told; `None` when that is not known, or of another database.
    pub(super) fn last(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let number = text.split(' ').next()?.parse().ok()?;
        (text == self.line(number)).then_some(number)
    }

    /// All up to this number is in the database.
    pub(super) fn note(&mut self, number: u64) -> io::Result<()> {
        let line = self.line(number);
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)?,
        };
        // In place: all lines of one database are of one length.
        file.write_all_at(line.as_bytes(), 0)?;
        file.set_len(line.len() as u64)?;
        self.file = Some(file);
        Ok(())
    }

    fn line(&self, number: u64) -> String {
        let mut hasher = SipHasher13::new();
        hasher.write(self.identity.as_bytes());
        hasher.write_u64(number);
        format!("{number:020} {} {:016x}\n", self.identity, hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_was_told_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let mut witness = Witness::new(state.path(), "a");
        assert_eq!(witness.last(), None);
        for number in [7, 8, u64::MAX] {
            witness.note(number).unwrap();
            assert_eq!(Witness::new(state.path(), "a").last(), Some(number));
        }
        assert_eq!(Witness::new(state.path(), "b").last(), None);
        let text = std::fs::read_to_string(witness.path()).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            std::fs::write(witness.path(), &bytes).unwrap();
            assert_eq!(witness.last(), None, "byte {at}");
        }
    }
}
