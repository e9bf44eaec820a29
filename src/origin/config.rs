use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;

/// `[origin]` of a site, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the bytes come from.
    pub source: Source,
    /// What `Host` says to the origin.
    pub host_header: HostHeader,
    /// The name asked for in the TLS handshake; `None` is the server's own host.
    pub sni: Option<String>,
    /// How the origin's certificate is checked.
    pub verification: TlsVerification,
    /// What may be spoken, best first.
    pub protocols: Vec<Protocol>,
    /// Name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's head, and between two pieces of the request's body that the server
    /// takes.
    pub first_byte_timeout: Duration,
    /// Between two pieces of the body.
    pub read_timeout: Duration,
    /// Connections at one time, all servers together (HTTP/2: streams).
    pub max_connections: usize,
    /// Requests that wait for a connection.
    pub queue: Queue,
    /// Connections kept for the next request.
    pub keepalive: Keepalive,
    /// Second tries.
    pub retries: Retries,
    /// Which of the client's fields reach the origin.
    pub client_headers: ClientHeaders,
    /// Whether parts are asked for.
    pub range_requests: RangeRequests,
    /// Client fields that are passed on (each also belongs to the key).
    pub forward_headers: Vec<HeaderName>,
    /// Fixed fields set on every request.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields removed from every request.
    pub remove_headers: Vec<HeaderName>,
    /// Whether an answer may have a status from 600 to 999, which no register knows.
    pub any_status: bool,
}

impl Config {
    /// The defaults of the configuration reference, in front of `source`.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            host_header: HostHeader::Url,
            sni: None,
            verification: TlsVerification::PublicRoots,
            protocols: vec![Protocol::H2, Protocol::H1],
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            max_connections: 256,
            queue: Queue {
                length: 1000,
                wait: Duration::from_secs(5),
            },
            keepalive: Keepalive {
                idle: Duration::from_secs(60),
                max_idle: 64,
            },
            retries: Retries {
                count: 1,
                on: vec![RetryOn::Connect, RetryOn::Reset],
            },
            client_headers: ClientHeaders::Rebuild,
            range_requests: RangeRequests::Auto,
            forward_headers: Vec::new(),
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            any_status: false,
        }
    }
}

/// Whether the origin is asked for parts of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequests {
    /// Where a part is enough, and as long as it answers with one.
    Auto,
    /// Only for whole objects.
    Never,
}

/// Where the bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One or more HTTP servers; never empty.
    Servers(Vec<Server>),
    /// A folder on this machine.
    Folder(PathBuf),
    /// The bundled demo origin (`url = "demo:"`); the node puts its address here before anybody asks.
    Demo,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(servers) => {
                for (server, index) in servers.iter().zip(0..) {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{server}")?;
                }
                Ok(())
            }
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Demo => f.write_str("the bundled demo origin"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let Self {
            host,
            port,
            base_path,
            ..
        } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}{base_path}"),
            false => write!(f, "{scheme}://{host}:{port}{base_path}"),
        }
    }
}

/// One HTTP server of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path put before every request's, without a slash at its end; often empty.
    pub base_path: String,
    /// Share of the requests beside the others'; at least 1.
    pub weight: u32,
    /// Asked only when no other server answers.
    pub backup: bool,
}

/// Plain or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

/// What `Host` says to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The chosen server's own host (and port, if it is not the scheme's).
    Url,
    /// The client's, which then belongs to the key.
    Client,
    /// This one.
    Fixed(HeaderValue),
}

/// Which of the client's fields reach the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHeaders {
    /// None but those that are listed: requests are built anew.
    Rebuild,
    /// All end-to-end ones, without being part of the key: `Vary` tells which of them made a difference.
    Transparent,
}

/// How the origin's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsVerification {
    /// Against the public certificate authorities.
    PublicRoots,
    /// Against the authorities in this PEM file.
    Authority(PathBuf),
    /// Not at all.
    Off,
}

/// A protocol towards the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, by ALPN (over TLS) or, if it is the only one listed, by prior knowledge.
    H2,
    /// HTTP/1.1.
    H1,
}

/// Requests that wait for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait; one more is refused.
    pub length: usize,
    /// How long one may wait.
    pub wait: Duration,
}

/// Connections kept for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// An idle connection is closed after this.
    pub idle: Duration,
    /// How many idle ones are kept a server.
    pub max_idle: usize,
}

/// Second tries before the first byte of an answer. A request with a body, or neither GET nor HEAD, is tried again
/// only as long as nothing of it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How many after the first.
    pub count: u32,
    /// What is tried again.
    pub on: Vec<RetryOn>,
}

/// A failure that is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection.
    Connect,
    /// The connection broke before the first byte of an answer.
    Reset,
    /// No first byte in time.
    Timeout,
    /// A 502 answer.
    Status502,
    /// A 503 answer.
    Status503,
    /// A 504 answer.
    Status504,
}
