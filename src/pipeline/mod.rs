//! One request's way through the node, from its head to its answer.

mod config;

pub use self::config::RequestLimits;
