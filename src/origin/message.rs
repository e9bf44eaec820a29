use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use crate::semantics::interim::Interim;

use super::body::Body;
use super::upload::Upload;

/// What is asked of an origin.
#[derive(Debug)]
pub struct Request {
    /// GET or HEAD; others are passed on, but not tried again once anything of them was sent.
    pub method: Method,
    /// The canonical path, beginning with a slash.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
    /// The host that the client asked for, for sites whose `host_header` is `client`.
    pub client_host: Option<String>,
    /// The fields, already built; Host and the connection's own fields are this room's affair.
    pub headers: HeaderMap,
    /// The body; never with GET and HEAD. A request with one is not tried again once anything was sent.
    pub body: Upload,
    /// Where interim answers go; without it they are passed over. Servers that speak HTTP/2 have none: the protocol
    /// layer keeps them to itself.
    pub interim: Option<Interim>,
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
