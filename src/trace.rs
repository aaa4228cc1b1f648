//! What is logged, in one place (feature `tracing`; without it the functions do nothing).
//!
//! One event per accepted request (at the level debug), one per refusal and one per failed execution. The field names are part of the public interface:
//!
//! | field | value |
//! |---|---|
//! | `event` | `authn_login_success`, `authn_login_fail`, `authz_fail`, `input_validation_fail`, `sys_fault`, `request_refused` or `executor_fail` |
//! | `auth.reason` | [`RejectionKind::as_str`](crate::rejection::RejectionKind::as_str) |
//! | `auth.key_id` | the id of the key, if the credential was well formed |
//! | `auth.owner` | the proven caller, if there is one |
//! | `auth.placement` | [`PlacementKind::as_str`](crate::credential::PlacementKind::as_str) of an accepted credential |
//! | `auth.required_scope` | the scope that was missing |
//! | `http.status` | the status of the response |
//! | `hook.name` | the name of the hook whose execution failed |
//! | `executor.reason` | [`FailureKind::as_str`](crate::executor::FailureKind::as_str) |
//! | `error` | the error behind a fault of ours: its own text, not those below it |
//!
//! No event has a secret, a digest, a header value, a query or a whole URI.

use crate::identity::Identity;
use crate::rejection::Rejection;

/// Makes the spans of tower-http's `TraceLayer` without credentials: method and path only, and keys in the
/// path replaced. The default of that layer writes the whole target, with a key that stands in the query.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_http::trace::TraceLayer;
/// use tower_webhook::key::{KeyManager, MemoryKeyStore};
/// use tower_webhook::trace;
///
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let make_span = trace::request_span(&keys);
/// let layer = TraceLayer::new_for_http().make_span_with(move |r: &Request<()>| make_span(r));
/// # let _ = layer;
/// ```
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn request_span<B>(
    keys: impl Into<crate::key::KeyVerifier>,
) -> impl Fn(&http::Request<B>) -> tracing::Span + Clone {
    let keys = keys.into();
    move |request| {
        let path = request.uri().path();
        // A placement in the path decodes it, so an encoded key is a key as well.
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let redacted = keys.redact(&decoded);
        tracing::info_span!(
            target: "tower_webhook",
            "request",
            http.method = request.method().as_str(),
            http.path = redacted.as_deref().unwrap_or(path),
        )
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn accepted(identity: &Identity) {
    tracing::debug!(
        target: "tower_webhook",
        event = "authn_login_success",
        auth.key_id = identity.key_id().map(tracing::field::display),
        auth.owner = tracing::field::debug(identity.owner()),
        auth.placement = identity.placement().map(crate::credential::PlacementKind::as_str),
        "request accepted",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn accepted(_identity: &Identity) {}

#[cfg(feature = "tracing")]
pub(crate) fn refused(rejection: &Rejection) {
    use crate::rejection::RejectionKind;

    macro_rules! refusal {
        ($level:ident, $event:literal) => {
            tracing::event!(
                target: "tower_webhook",
                tracing::Level::$level,
                event = $event,
                auth.reason = rejection.kind().as_str(),
                auth.key_id = rejection.key_id().map(tracing::field::display),
                auth.owner = rejection.owner().map(tracing::field::debug),
                auth.required_scope = rejection.required_scope().map(tracing::field::display),
                http.status = rejection.status().as_u16(),
                error = rejection.source().map(tracing::field::display),
                "request refused",
            )
        };
    }

    match rejection.kind() {
        RejectionKind::Missing => refusal!(INFO, "authn_login_fail"),
        kind if kind.is_unauthorized() => refusal!(WARN, "authn_login_fail"),
        RejectionKind::Forbidden => refusal!(WARN, "authz_fail"),
        RejectionKind::Ambiguous
        | RejectionKind::BodyTooLarge
        | RejectionKind::BodyTimeout
        | RejectionKind::MalformedBody => refusal!(WARN, "input_validation_fail"),
        RejectionKind::NotFound | RejectionKind::MethodNotAllowed => {
            refusal!(DEBUG, "request_refused");
        }
        RejectionKind::TooManyFields
        | RejectionKind::UnsupportedMediaType
        | RejectionKind::UnsupportedContentCoding => refusal!(INFO, "input_validation_fail"),
        RejectionKind::AtCapacity => refusal!(WARN, "request_refused"),
        _ => refusal!(ERROR, "sys_fault"),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn refused(_rejection: &Rejection) {}

/// One event for an execution that did not end well, at the level of its kind. What the executor said is in
/// `error`; what a panic said is not known.
#[cfg(feature = "tracing")]
pub(crate) fn failed(hook: Option<&str>, failure: &crate::executor::Failure) {
    let error = failure.error().and_then(crate::executor::ExecutorError::source);
    tracing::error!(
        target: "tower_webhook",
        event = "executor_fail",
        hook.name = hook.map(tracing::field::debug),
        executor.reason = failure.kind().as_str(),
        error = error.map(tracing::field::display),
        "execution failed",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn failed(_hook: Option<&str>, _failure: &crate::executor::Failure) {}
