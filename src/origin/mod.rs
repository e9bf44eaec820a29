//! The way to one site's origin: a connection pool over HTTP/1.1 and HTTP/2 with its deadlines, several
//! servers, or a folder. Every answer ends whole or with an error, never in silence.

mod admission;
mod body;
mod client;
mod config;
mod dial;
mod error;
mod fetch;
mod folder;
mod head;
mod message;
mod pool;
mod resolve;
mod rotation;
mod trust;
mod upload;

#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;

pub use self::body::Body;
pub use self::config::{
    ClientHeaders, Config, HostHeader, Keepalive, Protocol, Queue, RangeRequests, Retries, RetryOn,
    Scheme, Server, Source, TlsVerification,
};
pub use self::error::OriginError;
pub use self::fetch::Origin;
pub use self::folder::Sibling;
pub use self::message::{Request, Response};
pub use self::upload::{Upload, UploadError};
