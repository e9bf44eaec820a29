//! What the node says about itself: metrics and the access log.

mod config;

pub use self::config::{AccessLogConfig, LogConfig, MetricsConfig};
