//! Heads that a disk may still have although they were replaced or removed.
//!
//! The engine forgets a removal when it is opened anew, and what happens while a disk is out of use does not reach it
//! at all. So the keys of such heads are noted here until the disk has something newer under them, and are removed
//! again when it comes back. When there are too many of them, or a process ended without an account of them, the disk
//! starts empty: an old version must not take the place of the one that replaced it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tracing::warn;

use super::disk::DiskTier;
use super::entry::{EntryKey, Part};
use super::hash::write_durably;

/// Ten megabytes: what a busy node stores while a large disk is being read at its start.
pub(super) const KEYS_MAX: usize = 1 << 18;

/// The first line of the file when the disk was out of use and nobody can tell what it missed.
const AWAY: &str = "away";
/// The first line when all heads in doubt follow.
const KNOWN: &str = "known";
const END: &str = "end";

/// The heads in doubt of one disk.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Where they are kept from one process to the next.
    file: PathBuf,
    state: Mutex<State>,
    /// Held by whoever changes the file.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    heads: HashSet<u128>,
    /// What the disk has cannot be told from what it should have.
    lost_count: bool,
    /// The disk is out of use.
    is_away: bool,
}

impl Doubts {
    /// What the last process has left in `file`.
    pub(super) fn load(file: PathBuf) -> Self {
        let state = match fs::read_to_string(&file) {
            Ok(text) => match parse(&text) {
                Some(heads) => State {
                    heads,
                    ..State::default()
                },
                None => State {
                    lost_count: true,
                    ..State::default()
                },
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                warn!(file = %file.display(), %error, "cannot read what a disk has missed");
                State {
                    lost_count: true,
                    ..State::default()
                }
            }
        };
        Self {
            file,
            state: Mutex::new(state),
            writing: Mutex::default(),
        }
    }

    /// Whether the disk must start empty.
    pub(super) fn must_start_empty(&self) -> bool {
        self.state.lock().lost_count
    }

    /// Makes sure that the head under `key` is not found on the disk again. `tier` gives the one in use, if any.
    pub(super) fn forget(&self, key: &EntryKey, tier: Option<&DiskTier>) {
        if let Some(tier) = tier {
            let was_there = tier.may_contain(key) || tier.has_failed_reads();
            tier.forget(key);
            if !was_there {
                return;
            }
        }
        self.note(key);
    }

    /// The same of a head that is known to be gone from a tier that is in use.
    pub(super) fn note(&self, key: &EntryKey) {
        self.state.lock().note(key);
    }

    /// The disk gets something newer under the key.
    pub(super) fn settle(&self, key: &EntryKey) {
        if key.part == Part::Head {
            self.state.lock().heads.remove(&key.id);
        }
    }

    /// The disk goes out of use; `tier` is what was in use. Whether that is to be written down.
    pub(super) fn leave(&self, tier: Option<&DiskTier>) -> bool {
        if let Some(tier) = tier {
            self.note_unsettled(tier);
        }
        !std::mem::replace(&mut self.state.lock().is_away, true)
    }

    /// What was on its way to the disk when nothing is written any more: under those keys it may have something older.
    pub(super) fn note_unsettled(&self, tier: &DiskTier) {
        tier.abandon();
        for key in tier.unsettled() {
            self.note(&key);
        }
    }

    /// Tells the next process that this disk is out of use, if it still is. Blocks.
    pub(super) fn write_mark(&self) {
        let _order = self.writing.lock();
        if !self.state.lock().is_away {
            return;
        }
        self.mark();
    }

    fn mark(&self) {
        if let Err(error) = write_durably(&self.file, &format!("{AWAY}\n")) {
            warn!(file = %self.file.display(), %error, "cannot write that a disk is out of use");
        }
    }

    /// The disk has been emptied: what it misses from now on is all that it misses.
    pub(super) fn begin_anew(&self) {
        let mut state = self.state.lock();
        *state = State {
            is_away: state.is_away,
            ..State::default()
        };
    }

    /// The disk comes back: `put_in` takes the tier into use, behind the removal of all that is in doubt. Whether that is
    /// all: else the disk must be emptied and opened once more.
    #[must_use]
    pub(super) fn come_back(&self, tier: &DiskTier, put_in: impl FnOnce()) -> bool {
        let mut state = self.state.lock();
        if state.lost_count {
            return false;
        }
        for id in &state.heads {
            tier.forget(&EntryKey::head(*id));
        }
        state.is_away = false;
        // Under the lock: whoever finds no tier waits for it, and then finds this one.
        put_in();
        drop(state);
        let _order = self.writing.lock();
        remove(&self.file);
        true
    }

    /// As `forget`, where no tier was in use a moment ago: `tier` looks again.
    pub(super) fn forget_away<T: AsRef<DiskTier>>(
        &self,
        key: &EntryKey,
        tier: impl FnOnce() -> Option<T>,
    ) {
        let mut state = self.state.lock();
        if let Some(tier) = tier() {
            drop(state);
            self.forget(key, Some(tier.as_ref()));
            return;
        }
        state.note(key);
    }

    /// Writes down what the next process must know.
    pub(super) fn close(&self) {
        let _order = self.writing.lock();
        let mut state = self.state.lock();
        // A mark that is still to be written comes too late.
        state.is_away = false;
        if state.lost_count {
            self.mark();
        } else if state.heads.is_empty() {
            remove(&self.file);
        } else if let Err(error) = write_durably(&self.file, &text(&state.heads)) {
            warn!(file = %self.file.display(), %error, "cannot write what a disk has missed");
        }
    }
}

impl State {
    fn note(&mut self, key: &EntryKey) {
        if self.lost_count || key.part != Part::Head {
            return;
        }
        self.heads.insert(key.id);
        if self.heads.len() > KEYS_MAX {
            self.lost_count = true;
            self.heads = HashSet::new();
        }
    }
}

fn remove(file: &Path) {
    match fs::remove_file(file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            warn!(file = %file.display(), %error, "cannot remove what a disk has missed");
        }
    }
}

fn text(heads: &HashSet<u128>) -> String {
    let lines = heads.iter().map(|id| format!("{id:032x}\n"));
    format!("{KNOWN}\n{}{END}\n", lines.collect::<String>())
}

/// `None` when the file does not tell, or not all.
fn parse(text: &str) -> Option<HashSet<u128>> {
    let body = text
        .strip_prefix(KNOWN)?
        .strip_prefix('\n')?
        .strip_suffix('\n')?
        .strip_suffix(END)?;
    body.lines()
        .map(|line| u128::from_str_radix(line, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(doubts: &Doubts) -> usize {
        doubts.state.lock().heads.len()
    }

    #[test]
    fn what_is_in_doubt_outlives_an_orderly_end() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("doubts");
        let doubts = Doubts::load(file.clone());
        assert!(!doubts.must_start_empty());
        for id in 0..10 {
            doubts.note(&EntryKey::head(id));
            doubts.note(&EntryKey::chunk(id, 0));
        }
        doubts.settle(&EntryKey::head(3));
        doubts.close();
        let again = Doubts::load(file.clone());
        assert_eq!(noted(&again), 9);
        assert!(!again.must_start_empty());
        for id in 0..10 {
            again.settle(&EntryKey::head(id));
        }
        again.close();
        assert!(!file.exists());
    }

    #[test]
    fn an_end_while_the_disk_is_away_leaves_nothing_to_trust() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("doubts");
        let doubts = Doubts::load(file.clone());
        assert!(doubts.leave(None));
        doubts.write_mark();
        assert!(!doubts.leave(None), "once is enough");
        assert!(Doubts::load(file.clone()).must_start_empty());
        // An orderly end gives account of all that was missed.
        doubts.note(&EntryKey::head(1));
        doubts.close();
        assert!(!Doubts::load(file.clone()).must_start_empty());
        let whole = fs::read(&file).unwrap();
        for cut in 0..whole.len() - 1 {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(Doubts::load(file.clone()).must_start_empty(), "{cut}");
        }
    }

    #[test]
    fn more_than_can_be_noted_is_noted_as_that() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("doubts");
        let doubts = Doubts::load(file.clone());
        for id in 0..=KEYS_MAX as u128 {
            assert!(!doubts.must_start_empty());
            doubts.note(&EntryKey::head(id));
        }
        assert!(doubts.must_start_empty());
        doubts.note(&EntryKey::head(1));
        assert_eq!(noted(&doubts), 0);
        doubts.close();
        assert!(Doubts::load(file).must_start_empty());
    }
}
