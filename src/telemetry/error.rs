use std::io;
use std::path::PathBuf;

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The access log's file cannot be written.
    #[error(
        "the access log {} cannot be opened for appending: {source}; give [log.access] another path, or \"\" for standard output",
        path.display()
    )]
    OpenAccessLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the access log.
    #[error("the access log's thread cannot be started: {0}")]
    StartThread(#[source] io::Error),
}
