use std::io;

/// Why the bundled origin could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Not even a free port of loopback could be had.
    #[error("the bundled origin could not listen on 127.0.0.1")]
    Listen {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
