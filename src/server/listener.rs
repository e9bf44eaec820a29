use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use tokio_util::sync::CancellationToken;

use super::deadline::Timeouts;
use super::registry::{Limits, Registry};
use super::{ListenerConfig, ServerError};
use crate::pipeline::RequestLimits;

/// The h1 read buffer is not made smaller than this: it also bounds what is gathered for a write.
const H1_BUFFER_BYTES_MIN: usize = 64 << 10;

/// A listener by name. Its settings may change under it; its connections keep those they began
/// with.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: Arc<str>,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) registry: Arc<Registry>,
}

/// One address of a listener, on every worker.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: Arc<Listener>,
    /// As configured; port 0 stays 0.
    pub(super) configured: SocketAddr,
    /// As bound.
    pub(super) address: SocketAddr,
    /// Never the same twice in a server.
    pub(super) id: u64,
    /// Ends the accept loops, after what waits in their queues.
    pub(super) stop: CancellationToken,
}

/// What the connections of a listener go by.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: ListenerConfig,
    pub(super) request_limits: RequestLimits,
    /// With this listener's ALPN; `None` on a plain one.
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    /// Where `mode = "redirect-https"` sends to.
    pub(super) https_port: Option<u16>,
    pub(super) http1: http1::Builder,
}

impl Settings {
    /// Puts together what a listener needs. `tls` is the node's; the listener's ALPN is added.
    pub(super) fn new(
        config: ListenerConfig,
        request_limits: RequestLimits,
        tls: Option<&Arc<rustls::ServerConfig>>,
        https_port: Option<u16>,
    ) -> Result<Self, ServerError> {
        let tls = match (config.tls, tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(Arc::new(with_alpn(tls, &config))),
            (true, None) => {
                return Err(ServerError::NoTls {
                    listener: config.name,
                });
            }
        };
        Ok(Self {
            http1: http1_builder(&request_limits),
            config,
            request_limits,
            tls,
            https_port,
        })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.config.max_connections,
            per_address: self.config.max_connections_per_ip,
        }
    }

    pub(super) fn http1_timeouts(&self) -> Timeouts {
        Timeouts {
            head: self.config.header_timeout,
            idle: self.config.idle_timeout,
            write: self.config.write_timeout,
        }
    }

    pub(super) fn http2_timeouts(&self) -> Timeouts {
        Timeouts {
            idle: self.config.h2_config.idle_timeout,
            ..self.http1_timeouts()
        }
    }
}

fn with_alpn(tls: &rustls::ServerConfig, config: &ListenerConfig) -> rustls::ServerConfig {
    let mut tls = tls.clone();
    tls.alpn_protocols.clear();
    if config.h2 {
        tls.alpn_protocols.push(b"h2".to_vec());
    }
    if config.h1 {
        tls.alpn_protocols.push(b"http/1.1".to_vec());
    }
    tls
}

fn http1_builder(limits: &RequestLimits) -> http1::Builder {
    // The precise limits are the pipeline's, which tells them apart. This is the bound on what is
    // read at all, so it leaves room for a colon, a space and a line end a field.
    let head = limits.request_line_bytes
        + limits.request_headers_bytes
        + limits.header_count.saturating_mul(4);
    let mut http1 = http1::Builder::new();
    http1
        .half_close(false)
        .keep_alive(true)
        .pipeline_flush(false)
        // The driver has deadlines for head and idle time apart, which this timer has not.
        .header_read_timeout(None)
        .max_header_size(head)
        .max_buf_size(H1_BUFFER_BYTES_MIN.max(head.saturating_mul(2)));
    // Setting it moves the parser's table from the stack to the heap, so only when it differs.
    if limits.header_count != 100 {
        http1.max_headers(limits.header_count);
    }
    http1
}

/// The port that redirects go to: that of the first TLS listener's first address.
pub(super) fn https_port(
    listeners: &[ListenerConfig],
    bound: &HashMap<(String, SocketAddr), SocketAddr>,
) -> Option<u16> {
    let listener = listeners.iter().find(|listener| listener.tls)?;
    let configured = listener.bind.first()?;
    let address = bound
        .get(&(listener.name.clone(), *configured))
        .unwrap_or(configured);
    Some(address.port())
}
