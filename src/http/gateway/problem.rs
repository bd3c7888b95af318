//! Why a request was not done: a status, a code that programs match on, and a message.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::auth::AuthError;
use crate::types::{OperationError, RequestError};

/// Seconds after which a refused client may come back: where the wait is not known, and where
/// signatures are forgotten by the minute.
const RETRY_AFTER_SECONDS: u64 = 1;
/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    code: &'static str,
    message: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// A request that makes no sense; `what` says what to change.
    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", what)
    }

    /// A path that nothing is at.
    pub(super) fn no_such_route() -> Self {
        let message = "nothing is served at this path; see /openapi.json";
        Self::new(StatusCode::NOT_FOUND, "NoSuchRoute", message)
    }

    /// A method that is not for its path.
    pub(super) fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("this path takes {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
            .with(header::ALLOW, allowed)
    }

    /// A key that is not there.
    pub(super) fn no_such_key() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey", "the key does not exist")
    }

    /// `If-Match` or `If-None-Match` does not hold; nothing was written.
    pub(super) fn precondition_failed() -> Self {
        let message = "If-Match or If-None-Match does not hold; nothing was written";
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
    }

    /// A body that did not arrive in time.
    pub(super) fn body_timeout(within: std::time::Duration) -> Self {
        let message = format!("the body did not arrive within {} ms", within.as_millis());
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
    }

    /// The node stops; others serve.
    pub(super) fn stopping() -> Self {
        RequestError::Unavailable { reason: "the node is stopping".to_owned() }.into()
    }

    /// The node knows no user yet.
    pub(super) fn not_ready() -> Self {
        let reason = "the node is not ready yet: it joins, or its cluster is being founded";
        RequestError::Unavailable { reason: reason.to_owned() }.into()
    }

    /// As many bytes of requests and answers are in memory as may be.
    pub(super) fn no_memory() -> Self {
        RequestError::Overloaded { retry_after_ms: 1_000 }.into()
    }

    /// An answer of another kind than what was asked: a fault of ours.
    pub(super) fn other_answer() -> Self {
        let message = "the store answered something else than was asked";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, &seconds.to_string())
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let body = ProblemJson { code: self.code, message: &self.message, request_id };
        // A structure of three texts can be written.
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::FORBIDDEN);
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let (status, code) = match &error {
            OperationError::FutureRevision { .. } => (StatusCode::BAD_REQUEST, "FutureRevision"),
            OperationError::Compacted { .. } => (StatusCode::BAD_REQUEST, "Compacted"),
            OperationError::KeyNotFound => (StatusCode::NOT_FOUND, "NoSuchKey"),
            OperationError::LeaseNotFound { .. } => (StatusCode::NOT_FOUND, "NoSuchLease"),
            OperationError::RequestTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge")
            }
            OperationError::AnswerTooLarge { .. } => (StatusCode::BAD_REQUEST, "AnswerTooLarge"),
            OperationError::PermissionDenied { .. } => (StatusCode::FORBIDDEN, "AccessDenied"),
            OperationError::SessionExpired { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "OutcomeUnknown")
            }
            OperationError::TooManySessions { .. }
            | OperationError::TooManySignatures { .. }
            | OperationError::TooManyAnswersKept { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
            }
            OperationError::RequestExpired { .. } => (StatusCode::FORBIDDEN, "RequestExpired"),
            OperationError::AnswerNotKept { .. } => (StatusCode::CONFLICT, "AnswerNotKept"),
            OperationError::JoinRefused { .. }
            | OperationError::OtherIncarnation { .. }
            | OperationError::StaleStart { .. } => (StatusCode::CONFLICT, "Refused"),
            OperationError::TooManyKeysVisited { .. } => {
                (StatusCode::BAD_REQUEST, "TooManyKeysVisited")
            }
            OperationError::TooManyDeletes { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "TooManyDeletes")
            }
            OperationError::DeleteUnderWay { .. } => (StatusCode::CONFLICT, "DeleteUnderWay"),
            _ => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        };
        let problem = Self::new(status, code, error.to_string());
        match code {
            "SlowDown" => problem.retry_after(RETRY_AFTER_SECONDS),
            _ => problem,
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::Operation(error) => error.into(),
            RequestError::OutcomeUnknown { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "OutcomeUnknown", message)
            }
            RequestError::Unavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
                    .retry_after(RETRY_AFTER_SECONDS)
            }
            RequestError::Overloaded { retry_after_ms } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", message)
                    .retry_after(retry_after_ms.div_ceil(1_000))
            }
            RequestError::DeadlinePassed => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "DeadlinePassed", message)
            }
            RequestError::Invalid { .. } => Self::invalid(message),
            RequestError::PermissionDenied { .. } => {
                Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
            }
            RequestError::Refused { .. } => Self::new(StatusCode::CONFLICT, "Refused", message),
            RequestError::NoSpace { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "NoSpace", message)
            }
            RequestError::DeleteUnderWay { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "DeleteUnderWay", message)
                    .retry_after(RETRY_AFTER_SECONDS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_and_what_was_not_are_told_apart() {
        let reason = || "r".to_owned();
        for (error, status, code, retry_after) in [
            (RequestError::OutcomeUnknown { reason: reason() }, 504, "OutcomeUnknown", None),
            (RequestError::Unavailable { reason: reason() }, 503, "Unavailable", Some("1")),
            (RequestError::Overloaded { retry_after_ms: 50 }, 503, "Overloaded", Some("1")),
            (RequestError::Overloaded { retry_after_ms: 1_001 }, 503, "Overloaded", Some("2")),
            (RequestError::DeadlinePassed, 504, "DeadlinePassed", None),
            (RequestError::PermissionDenied { reason: reason() }, 403, "AccessDenied", None),
            (RequestError::Refused { reason: reason() }, 409, "Refused", None),
            (OperationError::EmptyKey.into(), 400, "InvalidRequest", None),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.code(), code);
            let response = problem.into_response("id");
            assert_eq!(response.status(), status);
            let header = response.headers().get(header::RETRY_AFTER);
            assert_eq!(header.map(HeaderValue::as_bytes), retry_after.map(str::as_bytes));
        }
    }
}
