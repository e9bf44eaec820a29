//! What the node says about itself: metrics and the access log. A request pays a few relaxed atomics on
//! cells of its own core, and one push into a bounded queue; everything else happens at a scrape or on the
//! log's own thread.

mod access_log;
mod config;
mod error;
mod exposition;
mod gauge;
mod histogram;
mod metrics;
pub mod names;
mod record;
mod shards;
mod tally;

pub use self::access_log::AccessLog;
pub use self::config::{AccessLogConfig, LogConfig, MetricsConfig};
pub use self::error::TelemetryError;
pub use self::exposition::Exposition;
pub use self::gauge::{Counted, Gauge};
pub use self::metrics::{
    AnswerTier, CONTENT_TYPE, CacheResult, FillOutcome, Metrics, PurgeMode, PurgeTarget,
    SiteMetrics, WarmOutcome,
};
pub use self::names::{Kind, Name};
pub use self::record::{Record, Timestamp};
