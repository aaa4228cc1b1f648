//! What the server says: answers and refusals, all of them JSON.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use tower_webhook::RequestHead;
use tower_webhook::key::{VerifyError, VerifyErrorKind};
use tower_webhook::rejection::{Rejection, RejectionKind};

use crate::json::quoted;
use crate::keys::KeyError;
use crate::validation::{EXTENSION, Fault, beyond_time};

/// Why a request is refused, behind the layers of the library.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A key that was good a moment ago, or whose user is not configured any more.
    Unauthorized,
    /// The key is not for this walker or for nodes of this type.
    Forbidden,
    /// The node of this reference has another owner.
    NoAccess(String),
    NotFound,
    /// The name is taken.
    Conflict,
    Invalid(Vec<Fault>),
    /// A fault of ours.
    Unavailable,
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], body.into()).into_response()
}

/// An answer that no cache keeps, such as one that shows a secret to its owner.
pub(crate) fn confidential(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = json(status, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of what the library refuses. Status and challenge are the library's.
pub(crate) fn rejection(rejection: &Rejection, _head: RequestHead<'_>) -> http::Response<Bytes> {
    let text = match rejection.kind() {
        RejectionKind::Missing => "Not authenticated",
        kind => kind.status().canonical_reason().unwrap_or("Refused"),
    };
    if let (true, Some(error)) = (rejection.status().is_server_error(), rejection.source()) {
        log(error);
    }
    let mut response = http::Response::new(detail(text).into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds the headers without which a 401 or a 405 is incomplete.
pub(crate) fn completed(mut response: Response, methods: &[Method]) -> Response {
    match response.status() {
        StatusCode::UNAUTHORIZED => {
            let challenge = HeaderValue::from_static("ApiKey realm=\"webhook\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                response.headers_mut().insert(ALLOW, names);
            }
        }
        _ => {}
    }
    response
}

/// Logs an internal fault.
#[expect(clippy::print_stderr, reason = "the log of the program")]
pub(crate) fn log(error: &(impl std::error::Error + ?Sized)) {
    match error.source() {
        Some(cause) => eprintln!("jac: {error}: {cause}"),
        None => eprintln!("jac: {error}"),
    }
}

impl Refusal {
    /// An internal fault: logged, with a fixed answer.
    pub(crate) fn unavailable(error: &(impl std::error::Error + ?Sized)) -> Self {
        log(error);
        Self::Unavailable
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NoAccess(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn body(&self) -> String {
        match self {
            Self::NoAccess(reference) => {
                let text = format!("You don't have access on target entry {reference}!");
                format!(r#"{{"detail":{{"error":{}}}}}"#, quoted(&text))
            }
            Self::Invalid(faults) => {
                serde_json::to_string(&BTreeMap::from([("detail", faults)])).unwrap_or_default()
            }
            _ => detail(self.status().canonical_reason().unwrap_or("Refused")),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound => Self::NotFound,
            KeyError::NameTaken => Self::Conflict,
            // An extension is all of its body. The handler of a new key adds its own.
            KeyError::BeyondTime => Self::Invalid(vec![beyond_time(EXTENSION)]),
            KeyError::Failed(error) => Self::unavailable(&*error),
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        match error.kind() {
            VerifyErrorKind::StoreUnavailable => Self::unavailable(&error),
            _ => Self::Unauthorized,
        }
    }
}

impl From<Vec<Fault>> for Refusal {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Invalid(faults)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = confidential(self.status(), self.body());
        if matches!(self, Self::Unavailable) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        completed(response, &[])
    }
}

fn detail(text: &str) -> String {
    format!(r#"{{"detail":{}}}"#, quoted(text))
}
