use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::control::ControlError;

/// An answer that says in one sentence why something was not done.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Body,
}

#[derive(Debug, Serialize)]
struct Body {
    error: String,
    /// When there is more than one reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self::with_errors(status, error, Vec::new())
    }

    pub(super) fn with_errors(
        status: StatusCode,
        error: impl Into<String>,
        errors: Vec<String>,
    ) -> Self {
        let error = error.into();
        Self {
            status,
            body: Body { error, errors },
        }
    }

    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn unauthorized(error: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    pub(super) fn forbidden(error: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    pub(super) fn text(&self) -> &str {
        &self.body.error
    }

    pub(super) fn into_error(self) -> String {
        self.body.error
    }

    #[cfg(test)]
    pub(super) fn errors(&self) -> &[String] {
        &self.body.errors
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(super) fn error(&self) -> &str {
        &self.body.error
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::Refused(_) | ControlError::Items(_) => StatusCode::BAD_REQUEST,
            ControlError::Absent(_) => StatusCode::NOT_FOUND,
            ControlError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ControlError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.body);
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2: a 401 names a challenge.
            let challenge = HeaderValue::from_static("Bearer realm=\"brim\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An answer in JSON, ended by a newline so that it reads well in a terminal.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string_pretty(body) {
        Ok(text) => {
            let fields = [(CONTENT_TYPE, "application/json")];
            (status, fields, text + "\n").into_response()
        }
        Err(error) => {
            tracing::error!(%error, "admin answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
