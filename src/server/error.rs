use std::io;
use std::net::SocketAddr;

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error(
        "listener {listener:?} cannot listen on {address} ({source}); is the port taken, or reserved for root?"
    )]
    Bind {
        /// The listener.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// The system's word on it.
        #[source]
        source: io::Error,
    },
    /// A TLS listener without certificates.
    #[error(
        "listener {listener:?} has tls = true, but there is no certificate; add [[tls.certificate]] or `self_signed`"
    )]
    NoTls {
        /// The listener.
        listener: String,
    },
    /// A worker cannot be started.
    #[error("a worker thread cannot be started ({source})")]
    Worker {
        /// The system's word on it.
        #[source]
        source: io::Error,
    },
    /// The server has been drained.
    #[error("the server has been drained and takes no listeners")]
    Stopped,
}
