use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What can go wrong with the state that must outlive a restart. Trouble with the disk tier is never
/// one of these: it is told by [`Store::tiers`](super::Store::tiers), and the node serves on from memory.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The state folder or a file in it cannot be used.
    #[error("cannot {act} {path}: {source}")]
    State {
        /// What was tried.
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process holds the state folder.
    #[error(
        "the state folder {path} is in use by {}; give each node its own `[node] state`",
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, when its lock file says so.
        holder: Option<u32>,
    },
    /// The file of the hash key holds something else.
    #[error(
        "{path} is not a hash key; remove it to make a new one (the disk tier then starts empty)"
    )]
    HashKey {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("no random bytes: {reason}")]
    Random {
        /// What the system said.
        reason: String,
    },
    /// The purge clocks cannot be read or written. A purge that ends so did not happen.
    #[error("purge clocks: {source}")]
    Clocks {
        /// What the database said.
        #[source]
        source: Arc<redb::Error>,
    },
    /// The purge clocks were written by a newer brim.
    #[error("the purge clocks in {path} have format {found}; this brim knows {known}")]
    ClocksFormat {
        /// The database.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format of this build.
        known: u64,
    },
    /// The store is closed, or its clock thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn state(act: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::State {
            act,
            path: path.into(),
            source: Arc::new(source),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(source: redb::Error) -> Self {
        Self::Clocks {
            source: Arc::new(source),
        }
    }
}
