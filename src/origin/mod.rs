//! The way to one site's origin: a connection pool over HTTP/1.1 and HTTP/2 with its deadlines, several
//! servers, or a folder. Every answer ends whole or with an error, never in silence.

mod config;

pub use self::config::{
    Config, HostHeader, Keepalive, Protocol, Queue, Retries, RetryOn, Scheme, Server, Source,
    TlsVerification,
};
