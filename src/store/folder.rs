//! The disk tier's folder: who holds it, what it was made for, and that its space is really there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, StatVfsMountFlags, fallocate, statvfs};
use rustix::io::Errno;
use tracing::{info, warn};

use super::device::Files;
use super::hash::write_durably;
use super::{blocks, codec};

/// The least that the disk tier works with: with fewer, too much is gone with each that is used again.
const BLOCKS_MIN: u64 = 8;
/// What the block size aims at: one open file for each block, and eviction by whole blocks, so neither
/// too many nor too few.
const BLOCKS_WANTED: u64 = 128;
const BLOCK_BYTES_MIN: u64 = 16 << 20;
/// Offsets in a block are kept as `u32`.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

const LOCK_FILE: &str = "lock";
const DATA_FOLDER: &str = "data";
const FINGERPRINT_FILE: &str = "fingerprint";
const BLOCK_FILE_PREFIX: &str = "block-";
/// Names that the block files had in earlier versions.
const EARLIER_PREFIX: &str = "foyer-storage-";
/// Folders of what is being removed.
const ASIDE_PREFIX: &str = "old-";
/// Of those, at most; each is removed at the next start at the latest.
const ASIDE_MAX: u32 = 1000;

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
    /// It is being opened; a large one takes a while.
    #[error("it is being opened")]
    Opening,
    /// The system refused to write.
    #[error("cannot write: {source}")]
    WriteFailed {
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file was removed, replaced or cut while it was in use.
    #[error("{path} {what}")]
    Gone {
        /// The file.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// The file system can only be read.
    #[error("the file system of {path} is read-only")]
    ReadOnly {
        /// The folder.
        path: PathBuf,
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
            Self::Opening => "opening",
            Self::WriteFailed { .. } => "write-failed",
            Self::Gone { .. } => "gone",
            Self::ReadOnly { .. } => "read-only",
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

/// What must be the same for the content of a folder to be of use.
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
            "brim disk tier\nblocks_format = {}\nformat = {}\nblock_bytes = {}\nblocks = {}\nhash_key = {}\nclocks = {}\n",
            blocks::FORMAT,
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
    file: File,
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
        Ok(Self { file: held })
    }

    /// Whether the lock is still the one that others would ask for.
    fn is_at(&self, file: &Path) -> bool {
        match (self.file.metadata(), fs::metadata(file)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }
}

/// The disk tier's folder, held by this process alone.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: Mutex<Option<FolderLock>>,
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
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Lets go of the folder, whoever still knows it.
    pub(super) fn release(&self) {
        self.lock.lock().take();
    }

    /// Whether it is still the folder that was claimed, and not another that was put in its place.
    pub(super) fn is_held(&self) -> bool {
        let file = self.path.join(LOCK_FILE);
        self.lock
            .lock()
            .as_ref()
            .is_some_and(|lock| lock.is_at(&file))
    }

    fn data(&self) -> PathBuf {
        self.path.join(DATA_FOLDER)
    }

    /// Gives up what is in the folder: it starts empty.
    pub(super) fn discard(&self) -> Result<(), DiskTrouble> {
        self.put_aside()
            .map_err(DiskTrouble::not_writable(&self.data()))
    }

    /// The block files, empty unless they were made for the same fingerprint, and with all their space
    /// allocated. Files of another fingerprint are put aside, for [`Folder::remove_aside`].
    pub(super) fn prepare(&self, fingerprint: &Fingerprint) -> Result<Files, DiskTrouble> {
        let data = self.data();
        let told = data.join(FINGERPRINT_FILE);
        let wanted = fingerprint.text();
        let known = fs::read_to_string(&told).is_ok_and(|found| found == wanted);
        let directories =
            || (0..fingerprint.geometry.blocks).any(|number| block_file(&data, number).is_dir());
        if known && !directories() {
            return self.allocate(&fingerprint.geometry);
        }
        self.put_aside().map_err(DiskTrouble::not_writable(&data))?;
        fs::create_dir_all(&data).map_err(DiskTrouble::not_writable(&data))?;
        let files = self.allocate(&fingerprint.geometry)?;
        // Last: blocks without a fingerprint are blocks of nobody.
        write_durably(&told, &wanted).map_err(DiskTrouble::not_writable(&told))?;
        Ok(files)
    }

    /// Whether everything is still as [`Folder::prepare`] left it.
    pub(super) fn inspect(&self, files: &Files, wanted: &Fingerprint) -> Result<(), DiskTrouble> {
        let told = self.data().join(FINGERPRINT_FILE);
        let gone = |path: &Path, what| DiskTrouble::Gone {
            path: path.to_owned(),
            what,
        };
        if !self.is_held() {
            return Err(gone(&self.path.join(LOCK_FILE), "was removed or replaced"));
        }
        match fs::read_to_string(&told) {
            Ok(found) if found == wanted.text() => {}
            Ok(_) => return Err(gone(&told, "was changed")),
            Err(_) => return Err(gone(&told, "was removed")),
        }
        files.inspect(&self.data())?;
        // The system is asked, since what it writes later is lost without a word.
        match statvfs(&self.path) {
            Ok(there) if there.f_flag.contains(StatVfsMountFlags::RDONLY) => {
                Err(DiskTrouble::ReadOnly {
                    path: self.path.clone(),
                })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Opens the block files and reserves their space now: a file system that fills up later must not
    /// take the tier with it.
    fn allocate(&self, geometry: &Geometry) -> Result<Files, DiskTrouble> {
        let data = self.data();
        if self.look_for_room(geometry).is_err() {
            // What was put aside takes the room that the new files need.
            self.remove_aside();
        }
        let files: Result<Vec<_>, _> = (0..geometry.blocks)
            .map(|number| self.allocate_block(&block_file(&data, number), geometry))
            .collect();
        if let Err(DiskTrouble::NoRoom { .. }) = &files {
            // A full file system hurts others too: give back what was taken.
            self.put_aside().map_err(DiskTrouble::not_writable(&data))?;
            self.remove_aside();
        }
        Ok(Files::new(files?, geometry.block_bytes))
    }

    fn allocate_block(&self, path: &Path, geometry: &Geometry) -> Result<File, DiskTrouble> {
        let failed = || DiskTrouble::not_writable(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed())?;
        let found = file.metadata().map_err(failed())?;
        let whole = found.len() == geometry.block_bytes;
        if whole && found.blocks().saturating_mul(512) >= geometry.block_bytes {
            return Ok(file);
        }
        match fallocate(&file, FallocateFlags::empty(), 0, geometry.block_bytes) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(self.no_room(geometry)),
            // Not every file system can; then at least look whether there is room now.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.look_for_room(geometry)?,
            Err(errno) => return Err(failed()(errno.into())),
        }
        file.set_len(geometry.block_bytes).map_err(failed())?;
        Ok(file)
    }

    fn look_for_room(&self, geometry: &Geometry) -> Result<(), DiskTrouble> {
        let data = self.data();
        let there =
            statvfs(&data).map_err(|errno| DiskTrouble::not_writable(&data)(errno.into()))?;
        let taken: u64 = (0..geometry.blocks)
            .filter_map(|number| fs::metadata(block_file(&data, number)).ok())
            .map(|file| file.blocks().saturating_mul(512))
            .sum();
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        if free.saturating_add(taken) < geometry.device_bytes() {
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

    /// Moves what this room has put into the data folder into a folder of its own, and nothing else.
    fn put_aside(&self) -> io::Result<()> {
        let data = self.data();
        let names: Vec<_> = match fs::read_dir(&data) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name()))
                .filter(|name| name.as_ref().map_or(true, |name| is_ours(name)))
                .collect::<io::Result<_>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Not a folder.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return fs::rename(&data, self.new_aside()?.join(DATA_FOLDER));
            }
            Err(error) => return Err(error),
        };
        if names.is_empty() {
            return Ok(());
        }
        let aside = self.new_aside()?;
        // The fingerprint first: when this is cut short, what stays are blocks of nobody.
        let (first, rest): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name == FINGERPRINT_FILE);
        if !first.is_empty() {
            info!(folder = %self.path.display(), "the disk tier starts empty");
        }
        for name in first.into_iter().chain(rest) {
            fs::rename(data.join(&name), aside.join(&name))?;
        }
        Ok(())
    }

    fn new_aside(&self) -> io::Result<PathBuf> {
        for number in 0..ASIDE_MAX {
            let path = self.path.join(format!("{ASIDE_PREFIX}{number}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| path),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes what was put aside, now or by a process that did not come to an end with it. May take
    /// long; what cannot be removed stays, and is told.
    pub(super) fn remove_aside(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            let ours = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_prefix(ASIDE_PREFIX)?.parse::<u32>().ok())
                .is_some();
            if !ours {
                continue;
            }
            if let Err(error) = remove_folder_of_files(&entry.path()) {
                warn!(folder = %entry.path().display(), %error, "old blocks cannot be removed");
            }
        }
    }
}

/// Removes the files in a folder and the folder, but no folder that is not empty.
fn remove_folder_of_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    fs::remove_dir(folder)
}

fn is_ours(name: &std::ffi::OsStr) -> bool {
    name == FINGERPRINT_FILE
        || name.to_str().is_some_and(|name| {
            name.starts_with(BLOCK_FILE_PREFIX) || name.starts_with(EARLIER_PREFIX)
        })
}

pub(super) fn block_file(data: &Path, number: u64) -> PathBuf {
    data.join(format!("{BLOCK_FILE_PREFIX}{number:08}"))
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
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        folder.prepare(&fingerprint(8, "a")).unwrap();
        let data = folder.data();
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
        folder.prepare(&fingerprint(8, "a")).unwrap();
        let data = folder.data();
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
