use std::io;
use std::path::PathBuf;

/// Why the operators' door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address or socket file is taken, or may not be used.
    #[error(
        "the admin door cannot listen on {place}: {source}; change [admin] bind, or stop what holds it"
    )]
    Listen {
        /// The address or path.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The token's file cannot be read, made or kept private.
    #[error(
        "the admin token in {} cannot be kept: {source}; make its folder writable, or set [admin] tokens",
        path.display()
    )]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random numbers.
    #[error("no random numbers for an admin token: {0}")]
    Random(getrandom::Error),
}
