//! Refusals: the errors of all stages, as one type that becomes a response.
//!
//! Each stage has a small error of its own, and each becomes a [`Rejection`]. One match from [`RejectionKind`] decides the
//! status, so that status, challenge, body and log line agree by construction.
//!
//! # Guarantees
//!
//! 1. A response has the status 401 if and only if it carries `WWW-Authenticate`
//!    ([RFC 9110, section 15.5.2]). Each challenge is a field line of its own. [gRPC](self#grpc) has neither.
//! 2. Every credential that was presented and is not good gets the same bytes: the reason is for the
//!    log ([`Rejection::kind`]), not for the caller.
//! 3. A fault of ours (a store that does not answer, a layer that is not wired) is a 5xx, never a 401.
//! 4. Every refusal carries `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`.
//! 5. No refusal repeats anything that the request contained, but for the media type of a gRPC call. The text of
//!    an executor's public error is the executor's.
//! 6. A refusal in answer to `HEAD` has the headers of its document and not the document.
//!
//! The [`Rejection`] is in the extensions of the response, for layers outside: access logs, metrics.
//!
//! The body is a problem document ([RFC 9457]) with the members `type`, `title`, `status` and `code`. Where more is to
//! be said it has a `detail`, for [`Invalid`] `errors`, a list of [`Violation`]s, and for [`Forbidden`] `required_scope`,
//! if a scope is what the caller lacks: a caller whose credential is good may know what to ask for, as in the
//! `insufficient_scope` of [RFC 6750, section 3.1].
//! A closure may replace it ([`AuthLayer::with_rejection_response`]); the status and the headers above
//! are set after the closure has run.
//!
//! # Kinds
//!
//! | kind | status | gRPC | `code` | further headers |
//! |---|---|---|---|---|
//! | [`Missing`], [`Malformed`], [`Unknown`], [`WrongSecret`], [`NotYetValid`], [`Expired`], [`Disabled`], [`Revoked`], [`WrongOwner`] | 401 | 16 | `unauthorized` | `WWW-Authenticate` |
//! | [`Ambiguous`] | 400 | 3 | `invalid_request` | |
//! | [`Answered`] | that of the authenticator | the same | | those of the authenticator |
//! | [`NoSubprotocol`] | 400 | 3 | `no_subprotocol` | |
//! | [`MalformedBody`] | 400 | 3 | `malformed_body` | |
//! | [`TooManyFields`] | 400 | 3 | `too_many_fields` | |
//! | [`InvalidUtf8`] | 400 | 3 | `invalid_utf8` | |
//! | [`Forbidden`] | 403 | 7 | `forbidden` | |
//! | [`RateLimited`] | 429 | 8 | `rate_limited` | `Retry-After`, `RateLimit`, `RateLimit-Policy` (without gRPC) |
//! | [`NotFound`] | 404 | 12 | `not_found` | |
//! | [`MethodNotAllowed`] | 405 | 12 | `method_not_allowed` | `Allow` |
//! | [`TargetTooLong`] | 414 | 8 | `uri_too_long` | |
//! | [`BodyTimeout`] | 408 | 4 | `request_timeout` | `Connection: close` on HTTP/1 |
//! | [`BodyTooLarge`] | 413 | 8 | `content_too_large` | `Connection: close` on HTTP/1 |
//! | [`UnsupportedMediaType`] | 415 | 3 | `unsupported_media_type` | `Accept` |
//! | [`UnsupportedContentCoding`] | 415 | 3 | `unsupported_content_encoding` | `Accept-Encoding: identity` |
//! | [`Invalid`] | 422 | 3 | `invalid` | |
//! | [`Conflict`] | 409 | 10 | `conflict` | |
//! | [`AlreadyRevoked`] | 409 | 10 | `already_revoked` | |
//! | [`InFlight`] | 409 | 10 | `in_flight` | `Retry-After`: 1 to 5 seconds at random |
//! | [`ExecutorFailed`] | 502 | 2 | `executor_failed` | |
//! | [`ExecutorTimeout`] | 504 | 4 | `executor_timeout` | |
//! | [`AtCapacity`], [`Unavailable`] | 503 | 14 | `temporarily_unavailable` | `Retry-After`: the executor's, or 1 to 5 seconds at random |
//! | [`Internal`], [`Misconfigured`] | 500 | 13 | `internal` | |
//!
//! # gRPC
//!
//! With [`AuthLayer::with_grpc_rejections`], a refused gRPC or gRPC-web call gets a [trailers-only] response: the
//! status 200, the `Content-Type` of the call without parameters, the code of the table in `grpc-status`, a fixed
//! text in `grpc-message`, and no content. It has `Cache-Control: no-store` and no challenge. Where the table says
//! `Retry-After`, `grpc-retry-pushback-ms` has the same time. To gRPC-web the response adds
//! `Access-Control-Expose-Headers: grpc-status,grpc-message`. A CORS layer that has a list of exposed headers replaces
//! that one: put both names into its list.
//!
//! 502 is `UNKNOWN` (2), as servers report an exception of a handler. Clients repeat a call after `UNAVAILABLE`, and
//! the execution that failed may have had effects.
//!
//! [trailers-only]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
//! [`AuthLayer::with_grpc_rejections`]: crate::auth::AuthLayer::with_grpc_rejections
//! [RFC 9110, section 15.5.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2
//! [RFC 6750, section 3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
//! [`AuthLayer::with_rejection_response`]: crate::auth::AuthLayer::with_rejection_response
//! [`Answered`]: RejectionKind::Answered
//! [`Missing`]: RejectionKind::Missing
//! [`Malformed`]: RejectionKind::Malformed
//! [`Unknown`]: RejectionKind::Unknown
//! [`WrongSecret`]: RejectionKind::WrongSecret
//! [`NotYetValid`]: RejectionKind::NotYetValid
//! [`Expired`]: RejectionKind::Expired
//! [`Disabled`]: RejectionKind::Disabled
//! [`Revoked`]: RejectionKind::Revoked
//! [`WrongOwner`]: RejectionKind::WrongOwner
//! [`Ambiguous`]: RejectionKind::Ambiguous
//! [`NoSubprotocol`]: RejectionKind::NoSubprotocol
//! [`MalformedBody`]: RejectionKind::MalformedBody
//! [`TooManyFields`]: RejectionKind::TooManyFields
//! [`InvalidUtf8`]: RejectionKind::InvalidUtf8
//! [`Forbidden`]: RejectionKind::Forbidden
//! [`RateLimited`]: RejectionKind::RateLimited
//! [`NotFound`]: RejectionKind::NotFound
//! [`MethodNotAllowed`]: RejectionKind::MethodNotAllowed
//! [`BodyTimeout`]: RejectionKind::BodyTimeout
//! [`BodyTooLarge`]: RejectionKind::BodyTooLarge
//! [`TargetTooLong`]: RejectionKind::TargetTooLong
//! [`UnsupportedMediaType`]: RejectionKind::UnsupportedMediaType
//! [`UnsupportedContentCoding`]: RejectionKind::UnsupportedContentCoding
//! [`Invalid`]: RejectionKind::Invalid
//! [`Conflict`]: RejectionKind::Conflict
//! [`AlreadyRevoked`]: RejectionKind::AlreadyRevoked
//! [`InFlight`]: RejectionKind::InFlight
//! [`ExecutorFailed`]: RejectionKind::ExecutorFailed
//! [`ExecutorTimeout`]: RejectionKind::ExecutorTimeout
//! [`AtCapacity`]: RejectionKind::AtCapacity
//! [`Unavailable`]: RejectionKind::Unavailable
//! [`Internal`]: RejectionKind::Internal
//! [`Misconfigured`]: RejectionKind::Misconfigured

mod asked;
mod body;
mod challenge;
mod from;
mod grpc;
mod kind;
#[cfg(any(feature = "management", feature = "queue"))]
pub(crate) mod openapi;
mod problem;
mod respond;
mod violation;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::key::{KeyId, Owner, Scope};
use crate::rate_limit::RateLimitFields;

pub(crate) use self::asked::{Asked, NoPlacements, Scrub};
pub use self::body::ResponseBody;
pub(crate) use self::challenge::{ChallengeScheme, Challenges};
pub use self::kind::RejectionKind;
#[cfg(feature = "management")]
pub(crate) use self::respond::SharedChallenges;
pub(crate) use self::respond::{Audience, Respond, without_content};
pub(crate) use self::violation::Place;
#[cfg(feature = "management")]
pub(crate) use self::violation::Step;
pub use self::violation::Violation;

/// Why a request is refused.
///
/// Made by the stages of this crate only. A closure that replaces the body of refusals reads it; see
/// the [module docs](self) for the response that it becomes.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    by_bearer: bool,
    audience: Audience,
    concealed: bool,
    /// Whether what failed is in the log already.
    logged: bool,
    key_id: Option<KeyId>,
    details: Option<Arc<Details>>,
}

/// What only some rejections have, apart so that the common ones stay small.
#[derive(Clone, Default)]
struct Details {
    allow: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    owner: Option<Owner>,
    required_scope: Option<Scope>,
    violations: Box<[Violation]>,
    /// A text for the caller.
    detail: Option<Box<str>>,
    retry_after: Option<Duration>,
    rate_limit: Option<RateLimitFields>,
    close: bool,
    /// The whole response, where the authenticator has made it.
    answer: Option<Response<Bytes>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Rejection {
    pub(crate) const fn new(kind: RejectionKind) -> Self {
        Self {
            kind,
            by_bearer: false,
            audience: Audience::Keys,
            concealed: false,
            logged: false,
            key_id: None,
            details: None,
        }
    }

    /// A request that the authenticator has answered by itself.
    pub(crate) fn answered(response: Response<Bytes>) -> Self {
        Self::new(RejectionKind::Answered).with(|details| details.answer = Some(response))
    }

    /// Marks the credential as one that came in `Authorization: Bearer`, which decides whether the
    /// challenge has an error code (RFC 6750, section 3.1).
    pub(crate) const fn by_bearer(mut self, by_bearer: bool) -> Self {
        self.by_bearer = by_bearer;
        self
    }

    /// Says whose challenges a 401 has.
    pub(crate) const fn with_audience(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// Answers as every refusal of a layer does that conceals its hooks. The kind is for the log alone.
    /// A fault of ours stays what it is.
    pub(crate) fn concealed(self) -> Self {
        let is_told = self.kind == RejectionKind::Answered;
        let concealed = !self.kind.status().is_server_error() && !is_told;
        Self { concealed, ..self }
    }

    /// Says that what failed has an event of its own.
    pub(crate) const fn logged(mut self) -> Self {
        self.logged = true;
        self
    }

    #[cfg(feature = "tracing")]
    pub(crate) const fn is_logged(&self) -> bool {
        self.logged
    }

    pub(crate) const fn is_concealed(&self) -> bool {
        self.concealed
    }

    /// What the caller gets to know of this refusal.
    fn shown(&self) -> Cow<'_, Self> {
        if !self.concealed {
            return Cow::Borrowed(self);
        }
        let shown = Self { concealed: true, ..Self::new(RejectionKind::Missing) };
        Cow::Owned(if self.close() { shown.with_close() } else { shown })
    }

    pub(crate) fn with_allow(self, allow: HeaderValue) -> Self {
        self.with(|details| details.allow = Some(allow))
    }

    /// The media types that are taken in place of the one that was sent.
    pub(crate) fn with_accept(self, types: &str) -> Self {
        let detail = match (types, self.detail()) {
            (_, Some(detail)) => detail.to_owned(),
            ("", None) => "no body is taken here".to_owned(),
            (types, None) => format!("a body is taken as {types}"),
        };
        let accept = HeaderValue::from_str(types).ok();
        self.with(|details| details.accept = accept).with_detail(detail)
    }

    pub(crate) fn with_key_id(self, key_id: Option<KeyId>) -> Self {
        Self { key_id, ..self }
    }

    pub(crate) fn with_owner(self, owner: Owner) -> Self {
        self.with(|details| details.owner = Some(owner))
    }

    pub(crate) fn with_required_scope(self, scope: Scope) -> Self {
        self.with(|details| details.required_scope = Some(scope))
    }

    pub(crate) fn with_violations(self, violations: impl Into<Box<[Violation]>>) -> Self {
        self.with(|details| details.violations = violations.into())
    }

    pub(crate) fn with_detail(self, text: impl Into<Box<str>>) -> Self {
        self.with(|details| details.detail = Some(text.into()))
    }

    /// After which time to come back, in place of a random one.
    pub(crate) fn with_retry_after(self, time: Duration) -> Self {
        self.with(|details| details.retry_after = Some(time))
    }

    pub(crate) fn with_rate_limit(self, fields: RateLimitFields) -> Self {
        self.with(|details| details.rate_limit = Some(fields))
    }

    /// Asks for the end of the connection, because unread bytes of the body are still on it.
    pub(crate) fn with_close(self) -> Self {
        self.with(|details| details.close = true)
    }

    pub(crate) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        self.with(|details| details.source = Some(source))
    }

    fn with(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(Arc::make_mut(self.details.get_or_insert_default()));
        self
    }

    /// What exactly went wrong. For logs and metrics: to tell the caller would be to help a guesser.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The status of the response. That of a refused [gRPC call](self#grpc) is 200 instead.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.answer() {
            _ if self.concealed => StatusCode::UNAUTHORIZED,
            Some(answer) => answer.status(),
            None => self.kind.status(),
        }
    }

    /// The `code` member of the problem document. All refusals with the status 401 share one.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        if self.concealed { RejectionKind::Missing.code() } else { self.kind.code() }
    }

    /// The id of the key that was presented, if its text was well formed. An id is not a secret.
    #[must_use]
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// The proven caller, where the credential was good and the permission was not
    /// ([`RejectionKind::Forbidden`], [`RejectionKind::RateLimited`]).
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.details.as_ref()?.owner.as_ref()
    }

    /// The scope that was missing ([`RejectionKind::Forbidden`]), which is the `required_scope` of the problem document.
    #[must_use]
    pub fn required_scope(&self) -> Option<&Scope> {
        self.details.as_ref()?.required_scope.as_ref()
    }

    /// What is outside its limits, and where ([`RejectionKind::Invalid`]).
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.details.as_ref().map_or(&[], |details| &details.violations)
    }

    /// The error behind a fault of ours, whose text is for the log and must not reach the caller, the
    /// [`ContentError`](crate::content::ContentError) of a body that was refused, or the reason why a credential was: that
    /// of an [`Authenticator`](crate::auth::Authenticator), or a `+` of a query or form that was sent raw.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.details.as_ref()?.source.as_deref()
    }

    /// The `detail` of the problem document: what an executor says to the caller
    /// ([`RejectionKind::ExecutorFailed`], [`RejectionKind::Invalid`]), or what is wrong with the label or the first bytes of a body.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.details.as_ref()?.detail.as_deref()
    }

    /// After which time the caller may come back, if the stage that refused knows it: an executor that is
    /// [busy](crate::hook::ExecutorError::busy) or [unavailable](crate::hook::ExecutorError::unavailable), or a
    /// [limit](crate::rate_limit).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.as_ref()?.retry_after
    }

    fn answer(&self) -> Option<&Response<Bytes>> {
        self.details.as_ref()?.answer.as_ref()
    }

    fn rate_limit(&self) -> Option<&RateLimitFields> {
        self.details.as_ref()?.rate_limit.as_ref()
    }

    fn accept(&self) -> Option<&HeaderValue> {
        self.details.as_ref()?.accept.as_ref()
    }

    fn allow(&self) -> Option<&HeaderValue> {
        self.details.as_ref()?.allow.as_ref()
    }

    fn close(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.close)
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind)
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}
