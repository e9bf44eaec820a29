//! The block files of the disk tier, as its engine sees them.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev};

use super::folder::{DiskTrouble, block_file};

/// Parts of one write; the system takes no more than 1024.
const PARTS_MAX: usize = 1000;

/// Numbered blocks of one size. Tests put one that fails in the place of the files.
pub(super) trait Device: Send + Sync + 'static {
    /// Reads what the system has in memory, without waiting for the disk. `false` when it has not all
    /// of it: then nothing is known about `into`.
    fn read_now(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<bool>;

    /// Reads; may take as long as the disk takes.
    fn read(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes the parts one behind the other; may take as long as the disk takes.
    fn write(&self, block: u32, offset: u64, parts: &[&[u8]]) -> io::Result<()>;
}

/// Blocks that are a file each.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<File>,
    block_bytes: u64,
    /// Not every file system can read without waiting.
    waits_always: AtomicBool,
}

impl Files {
    /// Files of whole blocks, in the order of their numbers.
    pub(super) fn new(files: Vec<File>, block_bytes: u64) -> Self {
        Self {
            files,
            block_bytes,
            waits_always: AtomicBool::new(false),
        }
    }

    fn file(&self, block: u32) -> io::Result<&File> {
        usize::try_from(block)
            .ok()
            .and_then(|block| self.files.get(block))
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Whether the files held are still those of the folder, and whole. Writes to a file that was
    /// removed or replaced succeed, and are gone with the process.
    pub(super) fn inspect(&self, data: &Path) -> Result<(), DiskTrouble> {
        for (number, file) in (0u64..).zip(&self.files) {
            let path = block_file(data, number);
            let gone = |what| DiskTrouble::Gone {
                path: path.clone(),
                what,
            };
            let held = file.metadata().map_err(|_| gone("cannot be read"))?;
            let named = std::fs::metadata(&path).map_err(|_| gone("was removed"))?;
            if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
                return Err(gone("was replaced"));
            }
            if held.len() != self.block_bytes {
                return Err(gone("was cut"));
            }
        }
        Ok(())
    }
}

impl Device for Files {
    fn read_now(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        if self.waits_always.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let wanted = into.len();
        let parts = &mut [IoSliceMut::new(into)];
        match preadv2(self.file(block)?, parts, offset, ReadWriteFlags::NOWAIT) {
            Ok(count) => Ok(count == wanted),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.waits_always.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn read(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file(block)?.read_exact_at(into, offset)
    }

    fn write(&self, block: u32, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let file = self.file(block)?;
        let mut place = offset;
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        // Ends since every round writes something or fails.
        loop {
            IoSlice::advance_slices(&mut rest, 0);
            if rest.is_empty() {
                return Ok(());
            }
            let now = rest.get(..PARTS_MAX).unwrap_or(rest);
            match pwritev(file, now, place) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    place += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(blocks: usize) -> (tempfile::TempDir, Files) {
        let place = tempfile::tempdir().unwrap();
        let files = (0u64..blocks as u64)
            .map(|number| {
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(block_file(place.path(), number))
                    .unwrap();
                file.set_len(1 << 20).unwrap();
                file
            })
            .collect();
        (place, Files::new(files, 1 << 20))
    }

    #[test]
    fn many_parts_are_written_one_behind_the_other() {
        let (_place, files) = files(1);
        let parts: Vec<Vec<u8>> = (0..3000u32)
            .map(|n| vec![u8::try_from(n % 251).unwrap(); (n % 7) as usize])
            .collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        files.write(0, 100, &slices).unwrap();
        let whole = parts.concat();
        let mut read = vec![0; whole.len()];
        files.read(0, 100, &mut read).unwrap();
        assert_eq!(read, whole);
        let mut now = vec![0; whole.len()];
        if files.read_now(0, 100, &mut now).unwrap() {
            assert_eq!(now, whole);
        }
        files.write(0, 0, &[]).unwrap();
    }

    #[test]
    fn what_is_not_there_cannot_be_read() {
        let (_place, files) = files(1);
        let mut into = [0; 10];
        assert!(files.read(0, (1 << 20) - 5, &mut into).is_err());
        assert!(!files.read_now(0, (1 << 20) - 5, &mut into).unwrap());
        assert!(files.read(1, 0, &mut into).is_err());
        assert!(files.write(1, 0, &[b"x"]).is_err());
    }

    #[track_caller]
    fn check_gone(what: &str, change: impl FnOnce(&Path)) {
        let (place, files) = files(3);
        files.inspect(place.path()).unwrap();
        change(&block_file(place.path(), 1));
        let trouble = files.inspect(place.path()).unwrap_err();
        assert_eq!(trouble.as_str(), "gone");
        assert!(trouble.to_string().contains(what), "{trouble}");
    }

    #[test]
    fn files_that_are_no_longer_those_of_the_folder_are_told() {
        check_gone("removed", |block| std::fs::remove_file(block).unwrap());
        check_gone("replaced", |block| {
            std::fs::remove_file(block).unwrap();
            std::fs::write(block, vec![0; 1 << 20]).unwrap();
        });
        check_gone("replaced", |block| {
            std::fs::remove_file(block).unwrap();
            std::fs::create_dir(block).unwrap();
        });
        check_gone("cut", |block| {
            File::options()
                .write(true)
                .open(block)
                .unwrap()
                .set_len(1000)
                .unwrap();
        });
    }
}
