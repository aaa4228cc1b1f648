//! What answers look like. Every refusal is an object with a `faultstring`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use tower_webhook::RequestHead;
use tower_webhook::key::{ManageError, ManageErrorKind};
use tower_webhook::rejection::{Rejection, RejectionKind};

use crate::accounts::Caller;
use crate::json::Object;
use crate::scopes::Permission;

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: String,
    conflict: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), conflict: None }
    }

    /// Something is wrong with what was sent.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// The caller may not do this, or not to this hook.
    pub(crate) fn denied(caller: &Caller, permission: Permission, hook: Option<&str>) -> Self {
        let (user, permission) = (&caller.user, permission.as_str());
        let on_hook = hook.map(|hook| format!(" on resource \"webhook:{hook}\""));
        Self::forbidden(format!(
            "User \"{user}\" doesn't have required permission \"{permission}\"{}",
            on_hook.unwrap_or_default()
        ))
    }

    /// The name belongs to another rule.
    pub(crate) fn taken(id: String) -> Self {
        let text = "Tried to save a duplicate: there is a rule of this name.";
        Self { conflict: Some(id), ..Self::new(StatusCode::CONFLICT, text) }
    }

    /// The fault is ours. What it was is for the log.
    #[expect(clippy::print_stderr, reason = "the log of an example")]
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        eprintln!("stackstorm: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    fn body(&self) -> Bytes {
        let conflict = self.conflict.as_deref().map(crate::json::quoted);
        let object = Object::new().text("faultstring", &self.text);
        object.maybe("conflict-id", conflict.as_deref()).finish().into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        respond(self.status, self.body())
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl From<ManageError> for Refusal {
    fn from(error: ManageError) -> Self {
        match error.kind() {
            ManageErrorKind::NotFound => Self::not_found("The API key is not found."),
            _ => Self::internal(error),
        }
    }
}

/// The body of what the library refuses. It sets the status and the headers itself.
pub(crate) fn refused(rejection: &Rejection, _head: RequestHead<'_>) -> Response<Bytes> {
    let text = match rejection.kind() {
        RejectionKind::Missing => "Unauthorized - One of Token or API key required.",
        kind if kind.is_unauthorized() => "Unauthorized",
        RejectionKind::Ambiguous => "More than one credential.",
        RejectionKind::NotFound => "The resource could not be found.",
        RejectionKind::MethodNotAllowed => "Method Not Allowed",
        RejectionKind::BodyTooLarge => "The request body is too large.",
        RejectionKind::BodyTimeout => "The request body did not arrive in time.",
        RejectionKind::MalformedBody => "Failed to parse request body: it is not complete",
        RejectionKind::Unavailable | RejectionKind::AtCapacity => "Service Unavailable",
        kind => match kind.status() {
            StatusCode::BAD_REQUEST => "Bad Request",
            _ => "Internal Server Error",
        },
    };
    respond(rejection.status(), Refusal::new(rejection.status(), text).body())
}

/// An answer with a JSON text.
pub(crate) fn json(status: StatusCode, text: String) -> Response {
    respond(status, Body::from(text))
}

/// 204.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn respond<B>(status: StatusCode, body: impl Into<B>) -> Response<B> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
