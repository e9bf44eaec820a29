use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::cache::FillError;
use crate::origin::{OriginError, UploadError};
use crate::rules::TemplateError;
use crate::semantics::path::PathError;
use crate::semantics::status_fields::{PROXY_STATUS, ProxyStatus};
use crate::store::StoreError;
use crate::variant::{ParameterError, SignatureError};

use super::{Body, RequestError};

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
    /// The origin's body is not what its content coding says, and the client does not take that coding.
    #[error("the origin's body is not what its content coding says")]
    Undecodable,
    /// No coding that the client takes can be made, and it refuses the content as it is (RFC 9110 §12.5.3).
    #[error(
        "no content coding that the request accepts can be made; accept identity, gzip, br or zstd"
    )]
    NotAcceptable,
    /// A URL of pictures is not signed as it should be.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// A picture that cannot be processed, where the site does not serve it as it is.
    #[error("the picture cannot be processed: {reason}")]
    Picture {
        /// 415 or 422.
        status: StatusCode,
        /// A closed word.
        reason: &'static str,
    },
    /// A picture that is not ready in time, where the site does not serve the original meanwhile.
    #[error("the picture cannot be made in time; try again in a moment")]
    PictureLate {
        /// A closed word.
        reason: &'static str,
    },
    /// The request has been here before (RFC 8586).
    #[error("this request has passed this node before: an origin points back at it")]
    Loop,
    /// Nothing usable is stored, and the request wants nothing else (RFC 9111 §5.2.1.7).
    #[error("nothing usable is stored, and the request asks for nothing else (only-if-cached)")]
    OnlyIfCached,
    /// A precondition does not hold (RFC 9110 §13.1.1).
    #[error("a precondition of the request does not hold")]
    Precondition,
    /// The node has as many requests as it takes.
    #[error("the server is at its limit; try again in a moment")]
    Busy,
    /// A purge of a path on a site that keeps its hosts apart and answers for any number of them.
    #[error("the site keeps its hosts apart: write the URL with its host")]
    NeedsHost,
    /// More purges by method than the site takes.
    #[error("too many purges; try again in a moment, or purge a list through the admin door")]
    TooManyPurges,
    /// A purge could not be written: it does not hold.
    #[error("the purge could not be written and does not hold; try again in a moment")]
    PurgeFailed(#[source] StoreError),
    /// The request's body is not as it should be.
    #[error("{}", upload_text(.0))]
    Upload(#[from] UploadError),
    /// No answer from the origin.
    #[error("{}", public_text(.0))]
    Fill(FillError),
}

impl From<FillError> for Refusal {
    /// The client's own fault is not told as the origin's.
    fn from(error: FillError) -> Self {
        if let FillError::Origin(origin) = &error
            && let OriginError::Upload(upload) = **origin
        {
            return Self::Upload(upload);
        }
        Self::Fill(error)
    }
}

fn upload_text(error: &UploadError) -> &'static str {
    match error {
        UploadError::Cut => "the request's body did not come whole",
        UploadError::TooLarge { .. } => "the request's body is larger than is taken here",
        UploadError::Timeout { .. } => "the request's body did not come in time",
    }
}

/// What a client may know of a failed fill: nothing of addresses or certificates behind the edge.
fn public_text(error: &FillError) -> &'static str {
    if matches!(error, FillError::MemoryShort) {
        return "the server is at its limit; try again in a moment";
    }
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
            Self::NoHost
            | Self::NeedsHost
            | Self::Path(_)
            | Self::Parameter(_)
            | Self::Template(_) => StatusCode::BAD_REQUEST,
            Self::TooManyPurges => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(status) | Self::Picture { status, .. } => *status,
            Self::Signature(_) => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Undecodable => StatusCode::BAD_GATEWAY,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Busy | Self::PictureLate { .. } | Self::PurgeFailed(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upload(error) => error.status(),
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
            Self::Signature(SignatureError::Missing) => "not-signed",
            Self::Signature(SignatureError::Wrong) => "bad-signature",
            Self::Signature(SignatureError::Expired) => "expired",
            Self::Picture { reason, .. } | Self::PictureLate { reason } => reason,
            Self::Undecodable => "undecodable",
            Self::NotAcceptable => "not-acceptable",
            Self::Loop => "loop",
            Self::OnlyIfCached => "only-if-cached",
            Self::Precondition => "precondition",
            Self::Busy => "busy",
            Self::NeedsHost => "needs-host",
            Self::TooManyPurges => "too-many-purges",
            Self::PurgeFailed(_) => "purge-failed",
            Self::Upload(error) => error.kind(),
            Self::Fill(error) => error.kind(),
        }
    }

    /// The error type of RFC 9209 §2.3; answers to what the client did wrong have none.
    fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Fill(error) => Some(error.proxy_status()),
            Self::Loop => Some("proxy_loop_detected"),
            Self::Undecodable => Some("http_response_content_coding"),
            // Nothing was asked of an origin.
            Self::Busy | Self::PictureLate { .. } => Some("proxy_internal_response"),
            Self::PurgeFailed(_) => Some("proxy_internal_error"),
            Self::Request(_)
            | Self::UnknownHost
            | Self::NoHost
            | Self::Path(_)
            | Self::Method(_)
            | Self::Parameter(_)
            | Self::Signature(_)
            | Self::Picture { .. }
            | Self::NotAcceptable
            | Self::Precondition
            | Self::OnlyIfCached
            | Self::Template(_)
            | Self::Denied(_)
            | Self::NeedsHost
            | Self::TooManyPurges
            | Self::Upload(_) => None,
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
        if let Self::Method(allowed) = self {
            headers.insert(ALLOW, allow(allowed));
        }
        // Who takes another coding gets an answer.
        if matches!(self, Self::NotAcceptable | Self::Undecodable) {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        let received_status = match self {
            Self::Fill(error) => error.received_status(),
            Self::Request(_)
            | Self::UnknownHost
            | Self::NoHost
            | Self::Path(_)
            | Self::Method(_)
            | Self::Template(_)
            | Self::Denied(_)
            | Self::Parameter(_)
            | Self::Signature(_)
            | Self::Picture { .. }
            | Self::PictureLate { .. }
            | Self::Undecodable
            | Self::NotAcceptable
            | Self::Loop
            | Self::OnlyIfCached
            | Self::Upload(_)
            | Self::Precondition
            | Self::NeedsHost
            | Self::TooManyPurges
            | Self::PurgeFailed(_)
            | Self::Busy => None,
        };
        if let Some(error) = self.proxy_error() {
            let field = ProxyStatus {
                node,
                error,
                received_status,
                details: None,
            };
            headers.insert(PROXY_STATUS, field.header_value());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::TooManyPurges) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[track_caller]
    fn check(refusal: &Refusal, status: u16, proxy_status: Option<&str>) {
        let response = refusal.response("edge", "1");
        assert_eq!(response.status(), status, "{refusal}");
        let told = response.headers().get(PROXY_STATUS);
        assert_eq!(
            told.map(|value| value.to_str().unwrap()),
            proxy_status,
            "{refusal}"
        );
        // RFC 9211 §2: only for what a cache did.
        assert!(!response.headers().contains_key("cache-status"));
    }

    #[test]
    fn a_generated_server_error_names_its_error_type() {
        check(&Refusal::Loop, 508, Some("edge; error=proxy_loop_detected"));
        check(
            &Refusal::Undecodable,
            502,
            Some("edge; error=http_response_content_coding"),
        );
        check(
            &Refusal::Busy,
            503,
            Some("edge; error=proxy_internal_response"),
        );
        for (error, status, expect) in [
            (
                FillError::Overloaded,
                503,
                "edge; error=connection_limit_reached",
            ),
            (
                FillError::TooManyWaiters,
                503,
                "edge; error=connection_limit_reached",
            ),
            (
                FillError::MemoryShort,
                503,
                "edge; error=proxy_internal_response",
            ),
            (FillError::Hole, 502, "edge; error=http_response_incomplete"),
            (
                FillError::FellBehind,
                502,
                "edge; error=http_response_incomplete",
            ),
            (
                FillError::Abandoned,
                502,
                "edge; error=http_response_incomplete",
            ),
            (
                FillError::Status(StatusCode::SERVICE_UNAVAILABLE),
                503,
                "edge; error=destination_unavailable; received-status=503",
            ),
            (
                FillError::Unasked(StatusCode::NOT_MODIFIED),
                502,
                "edge; error=http_protocol_error; received-status=304",
            ),
            (
                FillError::Encoding(Arc::new(std::io::Error::other("x"))),
                500,
                "edge; error=proxy_internal_error",
            ),
        ] {
            check(&Refusal::Fill(error), status, Some(expect));
        }
    }

    #[test]
    fn answers_about_the_request_have_neither_field() {
        check(&Refusal::NotAcceptable, 406, None);
        check(&Refusal::UnknownHost, 421, None);
        check(&Refusal::NoHost, 400, None);
        check(&Refusal::Path(PathError::Nul), 400, None);
        check(&Refusal::Method(vec![Method::GET]), 405, None);
        check(&Refusal::Precondition, 412, None);
    }
}
