use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::cache::FillError;
use crate::rules::TemplateError;
use crate::semantics::path::PathError;
use crate::semantics::status_fields::ProxyStatus;
use crate::variant::ParameterError;

use super::{Body, RequestError};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not answered with an object.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request's head is not as it should be.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// No site answers for this host.
    #[error("no site here answers for this host")]
    UnknownHost,
    /// The request names no host.
    #[error("the request names no host")]
    NoHost,
    /// The path is not one.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A rule of the site makes no path of this one.
    #[error("the site leads this path to what is no path: {0}")]
    Template(#[from] TemplateError),
    /// A rule of the site refuses the request, with this status.
    #[error("this request is refused by a rule of the site")]
    Denied(StatusCode),
    /// The site does not answer this method.
    #[error("this method is not allowed here")]
    Method(Vec<Method>),
    /// A picture parameter has a wrong value.
    #[error("{0}")]
    Parameter(#[from] ParameterError),
    /// The request has been here before (RFC 8586).
    #[error("this request has passed this node before: an origin points back at it")]
    Loop,
    /// A precondition does not hold (RFC 9110 §13.1.1).
    #[error("a precondition of the request does not hold")]
    Precondition,
    /// The node has as many requests as it takes.
    #[error("the server is at its limit; try again in a moment")]
    Busy,
    /// No answer from the origin.
    #[error("{}", public_text(.0))]
    Fill(#[from] FillError),
}

/// What a client may know of a failed fill: nothing of addresses or certificates behind the edge.
fn public_text(error: &FillError) -> &'static str {
    match error.status() {
        StatusCode::GATEWAY_TIMEOUT => "the origin did not answer in time",
        StatusCode::SERVICE_UNAVAILABLE => {
            "the origin has too many requests under way; try again in a moment"
        }
        _ => "the origin gave no usable answer",
    }
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(error) => error.status(),
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NoHost | Self::Path(_) | Self::Parameter(_) | Self::Template(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Denied(status) => *status,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Fill(error) => error.status(),
        }
    }

    /// A closed reason for the log.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request(_) => "bad-request",
            Self::UnknownHost => "unknown-host",
            Self::NoHost => "no-host",
            Self::Path(_) => "bad-path",
            Self::Template(_) => "bad-rewrite",
            Self::Denied(_) => "denied",
            Self::Method(_) => "method",
            Self::Parameter(_) => "bad-parameter",
            Self::Loop => "loop",
            Self::Precondition => "precondition",
            Self::Busy => "busy",
            Self::Fill(error) => error.kind(),
        }
    }

    /// The answer: a sentence of plain text with a request id, never stored by anybody.
    pub(super) fn response(&self, node: &str, request_id: &str) -> Response<Body> {
        let status = self.status();
        let text = format!(
            "{} {}\n{self}\nrequest {request_id}\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Error")
        );
        let mut response = Response::new(Body::whole(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        match self {
            Self::Method(allowed) => {
                headers.insert(ALLOW, allow(allowed));
            }
            Self::Busy => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            Self::Fill(error) => {
                let field = ProxyStatus {
                    node,
                    error: error.proxy_status(),
                    details: None,
                };
                headers.insert(PROXY_STATUS, field.header_value());
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
                }
            }
            Self::Request(_)
            | Self::UnknownHost
            | Self::NoHost
            | Self::Path(_)
            | Self::Template(_)
            | Self::Denied(_)
            | Self::Parameter(_)
            | Self::Loop
            | Self::Precondition => {}
        }
        response
    }
}

/// The `Allow` field (RFC 9110 §10.2.1).
pub(super) fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", "))
        .unwrap_or_else(|_| HeaderValue::from_static("GET, HEAD"))
}
