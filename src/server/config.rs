use std::net::SocketAddr;
use std::time::Duration;

use crate::pipeline::RequestLimits;

/// What the door is made of, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The listeners; their names differ.
    pub listeners: Vec<ListenerConfig>,
    /// Threads that serve connections; 0 is one a core.
    pub workers: usize,
    /// Bounds on request heads; beyond them connections are not even read.
    pub request_limits: RequestLimits,
}

/// One `[[listener]]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Unique in a node; names the listener in logs.
    pub name: String,
    /// Addresses; never empty. Port 0 lets the system choose.
    pub bind: Vec<SocketAddr>,
    /// Whether HTTP/1.1 is spoken.
    pub h1: bool,
    /// Whether HTTP/2 is spoken (by ALPN; on a plain listener by prior knowledge).
    pub h2: bool,
    /// Whether the listener speaks TLS.
    pub tls: bool,
    /// What a plain listener does.
    pub mode: Mode,
    /// Connections at one time.
    pub max_connections: usize,
    /// Connections of one address; 0 is no bound.
    pub max_connections_per_ip: usize,
    /// TLS handshake, from accept.
    pub handshake_timeout: Duration,
    /// The whole header block, from its first byte; the first one from accept.
    pub header_timeout: Duration,
    /// Between requests on HTTP/1.1.
    pub idle_timeout: Duration,
    /// No progress in sending.
    pub write_timeout: Duration,
    /// A whole request body, from the end of its request's head. Whoever reads one keeps to it.
    pub body_timeout: Duration,
    /// HTTP/2 settings.
    pub h2_config: H2Config,
}

impl ListenerConfig {
    /// The defaults of the configuration reference.
    #[must_use]
    pub fn new(name: &str, bind: Vec<SocketAddr>) -> Self {
        Self {
            name: name.to_owned(),
            bind,
            h1: true,
            h2: false,
            tls: false,
            mode: Mode::Serve,
            max_connections: 10_000,
            max_connections_per_ip: 1024,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            h2_config: H2Config::default(),
        }
    }
}

/// What a listener does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers them.
    Serve,
    /// Sends every request to https.
    RedirectHttps,
}

/// `[listener.h2]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H2Config {
    /// A connection without streams.
    pub idle_timeout: Duration,
    /// Streams of one connection at one time.
    pub max_concurrent_streams: u32,
    /// A request's decoded header list.
    pub max_header_list_bytes: u32,
    /// What one stream may hold unsent.
    pub send_buffer_bytes: usize,
}

impl Default for H2Config {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            max_concurrent_streams: 100,
            max_header_list_bytes: 32 << 10,
            send_buffer_bytes: 64 << 10,
        }
    }
}
