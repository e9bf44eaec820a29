//! The disk tier's folder: who holds it, what it was made for, and that its space is really there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use tracing::info;

use super::codec;
use super::hash::write_durably;

/// The least that the disk tier works with; below eight blocks its flusher can wait for ever for one
/// that is free.
const BLOCKS_MIN: u64 = 8;
/// What the block size aims at: one open file for each block, and eviction by whole blocks, so neither
/// too many nor too few.
const BLOCKS_WANTED: u64 = 128;
const BLOCK_BYTES_MIN: u64 = 16 << 20;
/// foyer keeps offsets in a block as `u32`.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

const LOCK_FILE: &str = "lock";
const DATA_FOLDER: &str = "data";
const FINGERPRINT_FILE: &str = "fingerprint";
/// How foyer names its block files; they are made here first, so that their space is there.
const BLOCK_FILE_PREFIX: &str = "foyer-storage-direct-fs-";

/// Why the disk tier is not in use. The node serves from memory meanwhile, and tries again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskTrouble {
    /// The configured size is below eight blocks.
    #[error("a size of {size_bytes} bytes is below the least, {least_bytes}")]
    TooSmall {
        /// What was configured.
        size_bytes: u64,
        /// What it must be at least.
        least_bytes: u64,
    },
    /// Another process holds the folder.
    #[error(
        "{path} is in use by {}",
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, when its lock file says so.
        holder: Option<u32>,
    },
    /// The folder or a file in it cannot be made or written.
    #[error("cannot write {path}: {source}")]
    NotWritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file system has no room for the configured size.
    #[error("the file system of {path} has no room for {size_bytes} bytes")]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// What was configured.
        size_bytes: u64,
    },
    /// The cache engine could not be started.
    #[error("the disk cache cannot be opened: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
    /// What was written could not be read back.
    #[error("writes are lost")]
    WritesLost,
    /// Nothing was written for a long time.
    #[error("writes have stalled")]
    Stalled,
    /// Reads keep failing.
    #[error("reads fail")]
    ReadsFail,
    /// The store has been closed.
    #[error("closed")]
    Closed,
}

impl DiskTrouble {
    /// A short word from a closed set, for labels.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "too-small",
            Self::InUse { .. } => "in-use",
            Self::NotWritable { .. } => "not-writable",
            Self::NoRoom { .. } => "no-room",
            Self::Engine { .. } => "engine",
            Self::WritesLost => "writes-lost",
            Self::Stalled => "stalled",
            Self::ReadsFail => "reads-fail",
            Self::Closed => "closed",
        }
    }

    fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::NotWritable {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// How the disk tier is cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) block_bytes: u64,
    pub(super) blocks: u64,
}

impl Geometry {
    pub(super) fn of(size_bytes: u64) -> Result<Self, DiskTrouble> {
        let block_bytes = (size_bytes / BLOCKS_WANTED)
            .next_power_of_two()
            .clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        let blocks = size_bytes / block_bytes;
        if blocks < BLOCKS_MIN {
            return Err(DiskTrouble::TooSmall {
                size_bytes,
                least_bytes: BLOCKS_MIN * BLOCK_BYTES_MIN,
            });
        }
        Ok(Self {
            block_bytes,
            blocks,
        })
    }

    pub(super) fn device_bytes(&self) -> u64 {
        self.block_bytes * self.blocks
    }
}

/// What must be the same for the content of a folder to be of use. Were it not compared, foyer would cut
/// its files to the new block size and then fail on every read.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    pub(super) geometry: Geometry,
    /// Ids are hashes under a key; under another key nothing would be found.
    pub(super) hash_key: String,
    /// Sequence numbers in objects mean something to these clocks only.
    pub(super) clocks: String,
}

impl Fingerprint {
    fn text(&self) -> String {
        format!(
            "brim disk tier\nformat = {}\nblock_bytes = {}\nblocks = {}\nhash_key = {}\nclocks = {}\n",
            codec::FORMAT,
            self.geometry.block_bytes,
            self.geometry.blocks,
            self.hash_key,
            self.clocks,
        )
    }
}

/// An exclusive lock of this process on a folder, by a file in it.
#[derive(Debug)]
pub(super) struct FolderLock {
    // Released when it is closed, also by the kernel when the process ends in whatever way.
    _file: File,
}

/// Why a folder could not be locked.
#[derive(Debug)]
pub(super) enum LockError {
    Held(Option<u32>),
    Failed(io::Error),
}

impl FolderLock {
    pub(super) fn take(file: &Path) -> Result<Self, LockError> {
        let mut held = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)
            .map_err(LockError::Failed)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = held.take(32).read_to_string(&mut text).ok();
                return Err(LockError::Held(pid.and_then(|_| text.trim().parse().ok())));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Failed(error)),
        }
        held.set_len(0).map_err(LockError::Failed)?;
        held.rewind().map_err(LockError::Failed)?;
        writeln!(held, "{}", std::process::id()).map_err(LockError::Failed)?;
        Ok(Self { _file: held })
    }
}

/// The disk tier's folder, held by this process alone.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: FolderLock,
}

impl Folder {
    /// Makes the folder if need be, and takes it for this process.
    pub(super) fn claim(path: &Path) -> Result<Self, DiskTrouble> {
        fs::create_dir_all(path).map_err(DiskTrouble::not_writable(path))?;
        let lock = FolderLock::take(&path.join(LOCK_FILE)).map_err(|error| match error {
            LockError::Held(holder) => DiskTrouble::InUse {
                path: path.to_owned(),
                holder,
            },
            LockError::Failed(source) => DiskTrouble::not_writable(path)(source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Gives up what is in the folder.
    pub(super) fn discard(&self) -> Result<(), DiskTrouble> {
        let data = self.path.join(DATA_FOLDER);
        remove_blocks(&data).map_err(DiskTrouble::not_writable(&data))
    }

    /// The folder with the block files, empty unless it was made for the same fingerprint, and with
    /// all its space allocated.
    pub(super) fn prepare(&self, fingerprint: &Fingerprint) -> Result<PathBuf, DiskTrouble> {
        let data = self.path.join(DATA_FOLDER);
        let told = data.join(FINGERPRINT_FILE);
        let wanted = fingerprint.text();
        if fs::read_to_string(&told).is_ok_and(|found| found == wanted) {
            self.allocate(&data, &fingerprint.geometry)?;
            return Ok(data);
        }
        remove_blocks(&data).map_err(DiskTrouble::not_writable(&data))?;
        fs::create_dir_all(&data).map_err(DiskTrouble::not_writable(&data))?;
        self.allocate(&data, &fingerprint.geometry)?;
        // Last: blocks without a fingerprint are blocks of nobody.
        write_durably(&told, &wanted).map_err(DiskTrouble::not_writable(&told))?;
        Ok(data)
    }

    /// Reserves the space now: foyer's flusher does not survive a file system that fills up later.
    fn allocate(&self, data: &Path, geometry: &Geometry) -> Result<(), DiskTrouble> {
        let allocated = (0..geometry.blocks).try_for_each(|number| {
            let path = block_file(data, number);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(DiskTrouble::not_writable(&path))?;
            match fallocate(&file, FallocateFlags::empty(), 0, geometry.block_bytes) {
                Ok(()) => Ok(()),
                Err(Errno::NOSPC | Errno::DQUOT) => Err(self.no_room(geometry)),
                // Not every file system can; then at least look whether there is room now.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.look_for_room(data, geometry),
                Err(errno) => Err(DiskTrouble::not_writable(&path)(errno.into())),
            }
        });
        if let Err(DiskTrouble::NoRoom { .. }) = &allocated {
            // A full file system hurts others too: give back what was taken.
            remove_blocks(data).map_err(DiskTrouble::not_writable(data))?;
        }
        allocated
    }

    fn look_for_room(&self, data: &Path, geometry: &Geometry) -> Result<(), DiskTrouble> {
        use std::os::unix::fs::MetadataExt;
        let there = statvfs(data).map_err(|errno| DiskTrouble::not_writable(data)(errno.into()))?;
        let taken: u64 = (0..geometry.blocks)
            .filter_map(|number| fs::metadata(block_file(data, number)).ok())
            .map(|file| file.blocks() * 512)
            .sum();
        if there.f_bavail.saturating_mul(there.f_frsize) + taken < geometry.device_bytes() {
            return Err(self.no_room(geometry));
        }
        Ok(())
    }

    fn no_room(&self, geometry: &Geometry) -> DiskTrouble {
        DiskTrouble::NoRoom {
            path: self.path.clone(),
            size_bytes: geometry.device_bytes(),
        }
    }
}

pub(super) fn block_file(data: &Path, number: u64) -> PathBuf {
    data.join(format!("{BLOCK_FILE_PREFIX}{number:08}"))
}

/// Removes what this room has put into the folder, and nothing else.
fn remove_blocks(data: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // The fingerprint first: a removal that is cut short leaves blocks of nobody.
    match fs::remove_file(data.join(FINGERPRINT_FILE)) {
        Ok(()) => info!(folder = %data.display(), "the disk tier starts empty"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    for entry in entries {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(BLOCK_FILE_PREFIX))
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(blocks: u64, key: &str) -> Fingerprint {
        Fingerprint {
            geometry: Geometry {
                block_bytes: 1 << 20,
                blocks,
            },
            hash_key: key.to_owned(),
            clocks: "c".to_owned(),
        }
    }

    #[test]
    fn blocks_grow_with_the_device() {
        let check = |size: u64, block: u64, blocks: u64| {
            let geometry = Geometry::of(size).unwrap();
            assert_eq!((geometry.block_bytes, geometry.blocks), (block, blocks));
        };
        check(128 << 20, 16 << 20, 8);
        check((128 << 20) + 12345, 16 << 20, 8);
        check(4 << 30, 32 << 20, 128);
        check(1 << 40, 1 << 30, 1024);
        check(100 << 40, 1 << 30, 102_400);
    }

    #[test]
    fn fewer_than_eight_blocks_are_refused() {
        for size in [0, 8 << 20, (128 << 20) - 1] {
            let trouble = Geometry::of(size).unwrap_err();
            assert_eq!(trouble.as_str(), "too-small", "{size}");
        }
    }

    #[test]
    fn the_second_process_is_told_who_was_first() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::claim(place.path()).unwrap();
        match Folder::claim(place.path()).unwrap_err() {
            DiskTrouble::InUse { holder, .. } => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other}"),
        }
        drop(first);
        Folder::claim(place.path()).unwrap();
    }

    #[test]
    fn the_space_is_really_taken() {
        use std::os::unix::fs::MetadataExt;
        let place = tempfile::tempdir().unwrap();
        let data = Folder::claim(place.path())
            .unwrap()
            .prepare(&fingerprint(8, "a"))
            .unwrap();
        for number in 0..8 {
            let block = fs::metadata(block_file(&data, number)).unwrap();
            assert_eq!(block.len(), 1 << 20);
            assert!(block.blocks() * 512 >= 1 << 20);
        }
    }

    #[test]
    fn content_stays_while_the_fingerprint_is_the_same() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        let data = folder.prepare(&fingerprint(8, "a")).unwrap();
        fs::write(block_file(&data, 3), vec![7; 1 << 20]).unwrap();
        folder.prepare(&fingerprint(8, "a")).unwrap();
        assert_eq!(fs::read(block_file(&data, 3)).unwrap()[9], 7);
        for other in [fingerprint(8, "b"), fingerprint(9, "b")] {
            fs::write(block_file(&data, 3), vec![7; 1 << 20]).unwrap();
            fs::write(data.join("of the operator"), "x").unwrap();
            folder.prepare(&other).unwrap();
            assert_eq!(fs::read(block_file(&data, 3)).unwrap()[9], 0);
            assert!(data.join("of the operator").exists());
        }
    }

    #[test]
    fn a_file_system_without_room_is_told_and_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        let mut huge = fingerprint(8, "a");
        // More than any file system has; blocks so large that the first already fails.
        huge.geometry.block_bytes = 1 << 60;
        let trouble = folder.prepare(&huge).unwrap_err();
        // Some file systems say that the file would be too large instead.
        assert!(
            ["no-room", "not-writable"].contains(&trouble.as_str()),
            "{trouble}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        let trouble = Folder::claim(&file.join("below")).unwrap_err();
        assert_eq!(trouble.as_str(), "not-writable");
    }
}
