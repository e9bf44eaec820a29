//! The clients' door: listeners, TLS, HTTP/1.1 and HTTP/2, their deadlines and limits, and the drain.

mod config;

pub use self::config::{H2Config, ListenerConfig, Mode};
