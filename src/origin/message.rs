use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use super::body::Body;

/// What is asked of an origin. It has no body: the node pulls, it does not push.
#[derive(Debug, Clone)]
pub struct Request {
    /// GET or HEAD; others are passed on but never tried twice.
    pub method: Method,
    /// The canonical path, beginning with a slash.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
    /// The host that the client asked for, for sites whose `host_header` is `client`.
    pub client_host: Option<String>,
    /// The fields, already built; Host and the connection's own fields are this room's affair.
    pub headers: HeaderMap,
}

/// The head of an origin's answer, with the body still to come.
#[derive(Debug)]
pub struct Response {
    /// The final status.
    pub status: StatusCode,
    /// The fields without those of the connection (RFC 9110 §7.6.1).
    pub headers: HeaderMap,
    /// What `Content-Length` says. With HEAD and 304 that is the length of what was not sent.
    pub content_length: Option<u64>,
    /// The body.
    pub body: Body,
    /// Who answered: `host:port`, or `folder`.
    pub server: Arc<str>,
}
