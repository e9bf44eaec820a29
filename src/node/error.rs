use crate::admin::AdminError;
use crate::demo::DemoError;
use crate::origin::OriginError;
use crate::server::ServerError;
use crate::site::SiteError;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;
use crate::tls::TlsError;

/// Why a node could not start, or not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A listener.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Purge clocks or the hash key. (A disk tier that cannot be opened is not an error.)
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A site's origin.
    #[error("site {site}: {source}")]
    Origin {
        /// The site.
        site: String,
        /// What is wrong.
        #[source]
        source: OriginError,
    },
    /// Two sites and one host.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The operators' door.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The bundled origin.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The access log.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The folder for state.
    #[error(
        "{path}: cannot be used for the node's state ({source}); make it writable or set `[node] state`"
    )]
    State {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Threads.
    #[error("cannot start threads: {0}")]
    Runtime(#[source] std::io::Error),
}
