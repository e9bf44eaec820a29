//! The operators' door: purge, explain, status, reload, metrics. Bearer tokens, own listener.

mod config;

pub use self::config::{Bind, Config, Token};
