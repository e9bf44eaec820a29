use std::path::PathBuf;

/// `[log]` and `[log.access]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A `tracing` filter, for example `info` or `brim=debug`.
    pub level: String,
    /// The access log.
    pub access: AccessLogConfig,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            access: AccessLogConfig::default(),
        }
    }
}

/// `[log.access]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// Whether requests are logged at all.
    pub enabled: bool,
    /// The file to append to; `None` is standard output.
    pub path: Option<PathBuf>,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
        }
    }
}

/// `[metrics]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Whether series carry a `site` label.
    pub per_site: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { per_site: true }
    }
}
