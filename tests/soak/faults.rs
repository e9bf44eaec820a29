//! What happens to the files while the program is down.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::chance::Chance;

/// Something that befalls the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Some bits of the cached data.
    Flip,
    /// A data file loses its end.
    Cut,
    /// A data file is gone.
    Lose,
    /// The text that tells what the data is.
    Fingerprint,
    /// Some bits of the purge clocks.
    FlipClocks,
    /// The purge clocks lose their end.
    CutClocks,
    /// Some bits of the log of invalidations.
    FlipInvalidations,
}

const FAULTS: [Fault; 7] = [
    Fault::Flip,
    Fault::Cut,
    Fault::Lose,
    Fault::Fingerprint,
    Fault::FlipClocks,
    Fault::CutClocks,
    Fault::FlipInvalidations,
];

impl Fault {
    /// The one for a round, if it has one: each in its turn, so that a short run has the most frequent ones.
    pub(crate) fn of_round(round: usize, chance: &mut Chance) -> Option<Self> {
        match round {
            1 => Some(Self::Flip),
            2 => Some(Self::Cut),
            _ if chance.percent(15) => Some(Self::Flip),
            _ if chance.percent(15) => Some(FAULTS[chance.below(FAULTS.len())]),
            _ => None,
        }
    }

    /// By its name, as it is printed.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FAULTS
            .into_iter()
            .find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
    }

    pub(crate) fn strike(self, var: &Path, chance: &mut Chance) {
        let data = files(&var.join("cache"));
        let large: Vec<&PathBuf> = data.iter().filter(|file| length(file) >= 1 << 20).collect();
        match self {
            Self::Flip => {
                for _ in 0..1 + chance.below(64) {
                    if let Some(file) = large.get(chance.below(large.len())) {
                        flip(file, chance);
                    }
                }
            }
            Self::Cut => {
                if let Some(file) = large.get(chance.below(large.len())) {
                    cut(file, chance);
                }
            }
            Self::Lose => {
                if let Some(file) = large.get(chance.below(large.len())) {
                    fs::remove_file(file).expect("it was there");
                }
            }
            Self::Fingerprint => {
                let told = data
                    .iter()
                    .filter(|file| file.ends_with("fingerprint"))
                    .collect::<Vec<_>>();
                if let Some(file) = told.first() {
                    match chance.below(3) {
                        0 => flip(file, chance),
                        1 => cut(file, chance),
                        _ => fs::remove_file(file).expect("it was there"),
                    }
                }
            }
            Self::FlipClocks => flip(&var.join("purge.redb"), chance),
            Self::CutClocks => cut(&var.join("purge.redb"), chance),
            Self::FlipInvalidations => flip(&var.join("traffic.log"), chance),
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    found.sort();
    found
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn flip(path: &Path, chance: &mut Chance) {
    let length = length(path);
    if length == 0 {
        return;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("it was there");
    // Where there is something: most of a file is room that is not used yet.
    for _ in 0..20 {
        let at = chance.next() % length;
        let mut byte = [0];
        if file.read_exact_at(&mut byte, at).is_ok() && byte != [0] {
            byte[0] ^= 1 << chance.below(8);
            file.write_all_at(&byte, at).expect("it can be written");
            return;
        }
    }
}

fn cut(path: &Path, chance: &mut Chance) {
    let length = length(path);
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        file.set_len(chance.next() % length.max(1))
            .expect("it can be cut");
    }
}
