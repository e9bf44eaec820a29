//! The number of the last purge that was confirmed, beside the database.
//!
//! After a crash the database takes up its last commit that is whole. If bits of the very last one were
//! flipped, that is the one before, and a confirmed purge would be gone without a word. This file, written
//! after each commit and before its confirmation, tells. It costs a write and no fsync: it need not outlive
//! a loss of power, after which it says too little, never too much.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

const FILE: &str = "purge.seq";
const MAGIC: &[u8; 8] = b"brimseq1";
const BYTES_MAX: u64 = 256;

#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    identity: String,
    file: Option<File>,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing of this database.
    Nothing,
    /// The number of its last confirmed purge.
    Sequence(u64),
    /// It was damaged.
    Damaged,
}

impl Witness {
    /// That of the database called `identity`.
    pub(super) fn new(state: &Path, identity: &str) -> Self {
        Self {
            path: state.join(FILE),
            identity: identity.to_owned(),
            file: None,
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn read(&self) -> Told {
        let mut content = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut content));
        match read {
            Ok(_) => self.parse(&content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Told::Nothing,
            Err(_) => Told::Damaged,
        }
    }

    fn parse(&self, content: &[u8]) -> Told {
        // What a file system leaves of a file whose data it has lost.
        if content.iter().all(|byte| *byte == 0) {
            return Told::Nothing;
        }
        let parsed = || {
            let (content, told) = content.split_last_chunk::<8>()?;
            if u64::from_le_bytes(*told) != sum(content) {
                return None;
            }
            let (identity, sequence) = content.strip_prefix(MAGIC)?.split_last_chunk::<8>()?;
            Some((identity, u64::from_le_bytes(*sequence)))
        };
        match parsed() {
            Some((identity, sequence)) if identity == self.identity.as_bytes() => {
                Told::Sequence(sequence)
            }
            Some(_) => Told::Nothing,
            None => Told::Damaged,
        }
    }

    /// Notes the number of a purge that is durable.
    pub(super) fn tell(&mut self, sequence: u64) -> io::Result<()> {
        let mut content = Vec::with_capacity(64);
        content.extend_from_slice(MAGIC);
        content.extend_from_slice(self.identity.as_bytes());
        content.extend_from_slice(&sequence.to_le_bytes());
        content.extend_from_slice(&sum(&content).to_le_bytes());
        if let Some(file) = &self.file {
            return file.write_all_at(&content, 0);
        }
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        file.set_len(content.len() as u64)?;
        file.write_all_at(&content, 0)?;
        self.file = Some(file);
        Ok(())
    }
}

/// Against accidents, not against people: who can write the file can do worse.
fn sum(content: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(content);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_was_told_or_that_it_was_damaged() {
        let state = tempfile::tempdir().unwrap();
        let mut witness = Witness::new(state.path(), "name");
        assert_eq!(witness.read(), Told::Nothing);
        for sequence in [1, u64::MAX, 7] {
            witness.tell(sequence).unwrap();
            assert_eq!(witness.read(), Told::Sequence(sequence));
        }
        assert_eq!(Witness::new(state.path(), "other").read(), Told::Nothing);
        let path = state.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            assert_eq!(witness.read(), Told::Damaged, "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            let expect = if at == 0 {
                Told::Nothing
            } else {
                Told::Damaged
            };
            assert_eq!(witness.read(), expect, "{at}");
        }
        fs::write(&path, vec![0; whole.len()]).unwrap();
        assert_eq!(witness.read(), Told::Nothing);
    }
}
