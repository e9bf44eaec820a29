use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::origin::OriginError;
use crate::variant::DecodeError;

/// Why a request got no object. Shared by all who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FillError {
    /// The origin gave no answer, or not a whole one.
    #[error("{0}")]
    Origin(Arc<OriginError>),
    /// The origin answered with a server error while a stale object can still be served.
    #[error("the origin answered {0}")]
    Status(StatusCode),
    /// The origin answered 304 without a condition, or 206 without a range.
    #[error("the origin answered {0}, which was not asked for")]
    Unasked(StatusCode),
    /// The fill has as many readers as it may have.
    #[error("too many requests wait for this object")]
    TooManyWaiters,
    /// As many fills are running as may run.
    #[error("too many requests are on their way to origins")]
    Overloaded,
    /// The node is short of memory and begins nothing new.
    #[error("the node is short of memory")]
    MemoryShort,
    /// A part of a stored object is gone and could not be fetched again.
    #[error("a part of the stored object is missing and could not be fetched again")]
    Hole,
    /// The origin has another version by now: parts of the two are never put together.
    #[error("the object changed at the origin while it was read")]
    Changed,
    /// The reader was so slow that the fill went on without it.
    #[error("the reader fell behind the fill")]
    FellBehind,
    /// The whole object was not there in the time that the site gives a fetch.
    #[error("the object was not fetched within {0:?}")]
    Deadline(Duration),
    /// Nobody wanted the rest.
    #[error("the fill was given up because nobody read it")]
    Abandoned,
    /// Making another form of the object failed midway.
    #[error("encoding failed: {0}")]
    Encoding(Arc<std::io::Error>),
    /// The origin's content coding could not be undone.
    #[error("decoding failed: {0}")]
    Decoding(Arc<DecodeError>),
}

impl FillError {
    /// What the client is told when nothing has been sent yet.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Origin(error) => error.status(),
            Self::Status(status) => *status,
            Self::Unasked(_)
            | Self::Hole
            | Self::Changed
            | Self::FellBehind
            | Self::Abandoned
            | Self::Decoding(_) => StatusCode::BAD_GATEWAY,
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::TooManyWaiters | Self::Overloaded | Self::MemoryShort => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Encoding(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error type of RFC 9209 §2.3.
    #[must_use]
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Origin(error) => error.proxy_status(),
            // The origin says itself that it cannot.
            Self::Status(_) => "destination_unavailable",
            Self::Unasked(_) => "http_protocol_error",
            Self::TooManyWaiters | Self::Overloaded => "connection_limit_reached",
            // Nothing was asked of an origin.
            Self::MemoryShort => "proxy_internal_response",
            Self::Hole | Self::Changed | Self::Abandoned | Self::FellBehind => {
                "http_response_incomplete"
            }
            Self::Deadline(_) => "http_response_timeout",
            Self::Encoding(_) => "proxy_internal_error",
            Self::Decoding(_) => "http_response_content_coding",
        }
    }

    /// The status that the origin gave, where that is what is wrong (RFC 9209 §2.1.5).
    #[must_use]
    pub fn received_status(&self) -> Option<StatusCode> {
        match self {
            Self::Status(status) | Self::Unasked(status) => Some(*status),
            Self::Origin(_)
            | Self::TooManyWaiters
            | Self::Overloaded
            | Self::MemoryShort
            | Self::Hole
            | Self::Changed
            | Self::FellBehind
            | Self::Abandoned
            | Self::Deadline(_)
            | Self::Encoding(_)
            | Self::Decoding(_) => None,
        }
    }

    /// A closed label for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Origin(error) => error.kind(),
            Self::Status(_) => "status",
            Self::Unasked(_) => "unasked",
            Self::TooManyWaiters => "waiters",
            Self::Overloaded => "overloaded",
            Self::MemoryShort => "memory-short",
            Self::Hole => "hole",
            Self::Changed => "changed",
            Self::FellBehind => "fell-behind",
            Self::Abandoned => "abandoned",
            Self::Deadline(_) => "deadline",
            Self::Encoding(_) => "encoding",
            Self::Decoding(_) => "decoding",
        }
    }
}

impl From<OriginError> for FillError {
    fn from(error: OriginError) -> Self {
        Self::Origin(Arc::new(error))
    }
}
