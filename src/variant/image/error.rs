use std::time::Duration;

/// A known parameter with a wrong value; the text is meant for the one who wrote the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not one of the values.
    #[error("{name} must be {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What to write.
        expected: String,
    },
    /// Written more than once, so nobody knows which one counts.
    #[error("{name} is given twice; write it once")]
    Twice {
        /// The parameter.
        name: &'static str,
    },
}

/// Why there is no other form of a picture. The original is served instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The decoder refuses the bytes.
    #[error("the picture cannot be decoded: {detail}")]
    BadPicture {
        /// The decoder's words, for the log.
        detail: String,
    },
    /// More pixels or bytes than allowed.
    #[error("the picture is too large: {what}")]
    TooLarge {
        /// Which limit.
        what: &'static str,
    },
    /// A kind of picture that is passed through.
    #[error("this kind of picture is left as it is: {what}")]
    Unsupported {
        /// Which kind.
        what: &'static str,
    },
    /// The bytes are another format than the one declared, or none.
    #[error("the bytes are not of the declared type")]
    TypeMismatch,
    /// The result would not save anything.
    #[error("the result is not smaller than the original")]
    NotSmaller,
    /// The encoder failed.
    #[error("the picture cannot be encoded: {detail}")]
    Encode {
        /// The encoder's words, for the log.
        detail: String,
    },
    /// The codec panicked; caught at the edge of its job.
    #[error("the codec panicked")]
    Panicked,
    /// As many jobs wait as may.
    #[error("the queue of pictures is full")]
    QueueFull,
    /// The job waited too long for a thread.
    #[error("the picture waited {0:?} for a thread")]
    QueueTimeout(Duration),
    /// The job ran too long.
    #[error("the picture was not ready within {0:?}")]
    Timeout(Duration),
    /// Nobody waits for it any more.
    #[error("the job was cancelled")]
    Cancelled,
    /// The pool has no threads (any more).
    #[error("the pool is closed")]
    Closed,
}

impl ImageError {
    /// A short token of a closed set, for labels and `detail`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::BadPicture { .. } => "bad-picture",
            Self::TooLarge { .. } => "too-large",
            Self::Unsupported { .. } => "unsupported",
            Self::TypeMismatch => "type-mismatch",
            Self::NotSmaller => "not-smaller",
            Self::Encode { .. } => "encode",
            Self::Panicked => "panicked",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout(_) => "queue-timeout",
            Self::Timeout(_) => "timeout",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }

    /// Whether the same source and recipe will end the same way again, so that it is worth remembering.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::BadPicture { .. }
            | Self::TooLarge { .. }
            | Self::Unsupported { .. }
            | Self::TypeMismatch
            | Self::NotSmaller
            | Self::Encode { .. }
            | Self::Panicked => true,
            Self::QueueFull
            | Self::QueueTimeout(_)
            | Self::Timeout(_)
            | Self::Cancelled
            | Self::Closed => false,
        }
    }
}
