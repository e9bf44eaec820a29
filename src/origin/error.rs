use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::config::{Retries, RetryOn};
use super::upload::UploadError;

/// What went wrong on the way to an origin. Cheap to clone, so that everybody who waits for one answer can
/// be told the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginError {
    /// The source cannot be used at all; only while an [`Origin`](super::Origin) is made.
    #[error("the origin cannot be used: {why}")]
    Unusable {
        /// What to change.
        why: String,
    },
    /// The file with the origin's certificate authorities cannot be used.
    #[error("the certificate authorities in {path} cannot be used: {why}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The request cannot be said in HTTP; nothing was sent.
    #[error("the request cannot be sent to an origin")]
    Request,
    /// The server's name has no address.
    #[error("no address for {server}")]
    Dns {
        /// `host:port`
        server: Arc<str>,
        /// What the resolver said.
        #[source]
        source: Arc<io::Error>,
    },
    /// No address of the server took the connection.
    #[error("no connection to {server}")]
    Connect {
        /// `host:port`
        server: Arc<str>,
        /// What the last address tried gave.
        #[source]
        source: Arc<io::Error>,
    },
    /// Name, TCP and TLS together took too long.
    #[error("no connection to {server} within {limit:?}")]
    ConnectTimeout {
        /// `host:port`
        server: Arc<str>,
        /// `connect_timeout`
        limit: Duration,
    },
    /// The TLS handshake failed, or no protocol was agreed on.
    #[error("no TLS with {server}")]
    Tls {
        /// `host:port`
        server: Arc<str>,
        /// What TLS said.
        #[source]
        source: Arc<io::Error>,
    },
    /// All connections are taken and the queue for them is full.
    #[error("{length} requests already wait for a connection")]
    QueueFull {
        /// `queue.length`
        length: usize,
    },
    /// All connections stayed taken.
    #[error("no connection became free within {limit:?}")]
    QueueTimeout {
        /// `queue.wait`
        limit: Duration,
    },
    /// The answer's head did not come in time.
    #[error("no answer from {server} within {limit:?}")]
    FirstByteTimeout {
        /// `host:port`
        server: Arc<str>,
        /// `first_byte_timeout`
        limit: Duration,
    },
    /// The body stopped.
    #[error("nothing more from {server} within {limit:?}")]
    ReadTimeout {
        /// `host:port`
        server: Arc<str>,
        /// `read_timeout`
        limit: Duration,
    },
    /// The connection broke before the first byte of an answer.
    #[error("{server} broke the connection before it answered")]
    Reset {
        /// `host:port`
        server: Arc<str>,
        /// What the connection said.
        #[source]
        source: Arc<hyper::Error>,
    },
    /// The answer began and did not end: short of its Content-Length, without its last chunk, reset, or
    /// closed under TLS without notice.
    #[error("the answer of {server} was cut off")]
    Truncated {
        /// `host:port`, or `folder`
        server: Arc<str>,
        /// Bytes of the body that did come.
        received: u64,
    },
    /// The answer is not HTTP, or not HTTP that has only one meaning.
    #[error("{server} gave a malformed answer: {what}")]
    Malformed {
        /// `host:port`
        server: Arc<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than 64 KiB or 200 fields.
    #[error("{server} gave an answer with too large a head")]
    HeadTooLarge {
        /// `host:port`
        server: Arc<str>,
    },
    /// The request's body did not come whole, so the exchange was given up.
    #[error("the request's body was not passed on: {0}")]
    Upload(#[source] UploadError),
    /// A file of a folder source cannot be read.
    #[error("a file of the folder cannot be read")]
    Read {
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file of a folder source changed while it was read.
    #[error("a file of the folder changed while it was read")]
    Changed,
}

impl OriginError {
    /// The status that a client gets if nothing stored can be served.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unusable { .. }
            | Self::Authority { .. }
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Reset { .. }
            | Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::HeadTooLarge { .. }
            | Self::Read { .. }
            | Self::Changed => StatusCode::BAD_GATEWAY,
            Self::Request => StatusCode::BAD_REQUEST,
            Self::Upload(error) => error.status(),
            Self::QueueFull { .. } | Self::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout { .. }
            | Self::FirstByteTimeout { .. }
            | Self::ReadTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether an answer began and did not end, though what came of it was right.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::ReadTimeout { .. })
    }

    /// Whether these rules allow another try. Only what happened before the first byte ever is.
    #[must_use]
    pub fn is_retryable(&self, retries: &Retries) -> bool {
        let on = |what| retries.on.contains(&what);
        match self {
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. } => on(RetryOn::Connect),
            Self::Reset { .. } => on(RetryOn::Reset),
            Self::FirstByteTimeout { .. } => on(RetryOn::Timeout),
            Self::Unusable { .. }
            | Self::Authority { .. }
            | Self::Request
            | Self::Upload(_)
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::ReadTimeout { .. }
            | Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::HeadTooLarge { .. }
            | Self::Read { .. }
            | Self::Changed => false,
        }
    }

    /// Whether there never was a connection: the server itself, not this request, is in trouble.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. }
                | Self::Connect { .. }
                | Self::ConnectTimeout { .. }
                | Self::Tls { .. }
        )
    }

    /// The error type for Proxy-Status (RFC 9209 §2.3).
    #[must_use]
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Unusable { .. } | Self::Authority { .. } => "proxy_configuration_error",
            Self::Read { .. } | Self::Changed => "proxy_internal_error",
            Self::Request | Self::Upload(_) => "http_request_error",
            Self::Dns { source, .. } => match source.kind() {
                io::ErrorKind::TimedOut => "dns_timeout",
                _ => "dns_error",
            },
            Self::Connect { source, .. } => connect_token(source),
            Self::ConnectTimeout { .. } => "connection_timeout",
            Self::Tls { source, .. } => tls_token(source),
            Self::QueueFull { .. } | Self::QueueTimeout { .. } => "connection_limit_reached",
            Self::FirstByteTimeout { .. } => "http_response_timeout",
            Self::ReadTimeout { .. } => "connection_read_timeout",
            Self::Reset { .. } => "connection_terminated",
            Self::Truncated { .. } => "http_response_incomplete",
            Self::Malformed { .. } => "http_protocol_error",
            Self::HeadTooLarge { .. } => "http_response_header_section_size",
        }
    }

    /// A closed label for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "unusable",
            Self::Authority { .. } => "authority",
            Self::Request => "request",
            Self::Upload(error) => error.kind(),
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect-timeout",
            Self::Tls { .. } => "tls",
            Self::QueueFull { .. } => "queue-full",
            Self::QueueTimeout { .. } => "queue-timeout",
            Self::FirstByteTimeout { .. } => "first-byte-timeout",
            Self::ReadTimeout { .. } => "read-timeout",
            Self::Reset { .. } => "reset",
            Self::Truncated { .. } => "truncated",
            Self::Malformed { .. } => "malformed",
            Self::HeadTooLarge { .. } => "head-too-large",
            Self::Read { .. } => "read",
            Self::Changed => "changed",
        }
    }
}

fn connect_token(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "connection_terminated",
        io::ErrorKind::TimedOut => "connection_timeout",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "destination_ip_unroutable"
        }
        _ => "destination_unavailable",
    }
}

fn tls_token(source: &io::Error) -> &'static str {
    let inner = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => "tls_certificate_error",
        Some(rustls::Error::AlertReceived(_)) => "tls_alert_received",
        Some(_) | None => "tls_protocol_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error types of RFC 9209 §2.3.
    const REGISTERED: [&str; 32] = [
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
        "proxy_loop_detected",
    ];

    #[track_caller]
    fn check(error: &OriginError, expect: &str) {
        assert_eq!(error.proxy_status(), expect, "{error}");
        assert!(REGISTERED.contains(&expect), "{expect}");
    }

    #[test]
    fn every_failure_has_a_registered_error_type() {
        let server: Arc<str> = Arc::from("a.example:443");
        let source = |kind: io::ErrorKind| Arc::new(io::Error::from(kind));
        let limit = Duration::from_secs(1);
        for (kind, expect) in [
            (io::ErrorKind::ConnectionRefused, "connection_refused"),
            (io::ErrorKind::ConnectionReset, "connection_terminated"),
            (io::ErrorKind::TimedOut, "connection_timeout"),
            (io::ErrorKind::HostUnreachable, "destination_ip_unroutable"),
            (
                io::ErrorKind::NetworkUnreachable,
                "destination_ip_unroutable",
            ),
            (io::ErrorKind::AddrNotAvailable, "destination_unavailable"),
        ] {
            let (server, source) = (Arc::clone(&server), source(kind));
            check(&OriginError::Connect { server, source }, expect);
        }
        for (kind, expect) in [
            (io::ErrorKind::NotFound, "dns_error"),
            (io::ErrorKind::TimedOut, "dns_timeout"),
        ] {
            let (server, source) = (Arc::clone(&server), source(kind));
            check(&OriginError::Dns { server, source }, expect);
        }
        for (tls, expect) in [
            (
                rustls::Error::InvalidCertificate(rustls::CertificateError::Expired),
                "tls_certificate_error",
            ),
            (
                rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure),
                "tls_alert_received",
            ),
            (rustls::Error::DecryptError, "tls_protocol_error"),
        ] {
            let source = Arc::new(io::Error::other(tls));
            let server = Arc::clone(&server);
            check(&OriginError::Tls { server, source }, expect);
        }
        let why = String::new;
        let path = PathBuf::new();
        check(
            &OriginError::Unusable { why: why() },
            "proxy_configuration_error",
        );
        check(
            &OriginError::Authority { path, why: why() },
            "proxy_configuration_error",
        );
        check(&OriginError::Request, "http_request_error");
        check(
            &OriginError::QueueFull { length: 1 },
            "connection_limit_reached",
        );
        check(
            &OriginError::QueueTimeout { limit },
            "connection_limit_reached",
        );
        check(&OriginError::Changed, "proxy_internal_error");
        let source = source(io::ErrorKind::PermissionDenied);
        check(&OriginError::Read { source }, "proxy_internal_error");
        let named = || Arc::clone(&server);
        check(
            &OriginError::ConnectTimeout {
                server: named(),
                limit,
            },
            "connection_timeout",
        );
        check(
            &OriginError::FirstByteTimeout {
                server: named(),
                limit,
            },
            "http_response_timeout",
        );
        check(
            &OriginError::ReadTimeout {
                server: named(),
                limit,
            },
            "connection_read_timeout",
        );
        check(
            &OriginError::Truncated {
                server: named(),
                received: 1,
            },
            "http_response_incomplete",
        );
        check(
            &OriginError::Malformed {
                server: named(),
                what: "",
            },
            "http_protocol_error",
        );
        check(
            &OriginError::HeadTooLarge { server: named() },
            "http_response_header_section_size",
        );
    }
}
