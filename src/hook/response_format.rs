use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::ExecutorError;
use super::outcome::{Content, Outcome};
use crate::rejection::{Rejection, RejectionKind};

/// How the end of an execution becomes a response.
///
/// Refusals (401, 413, 503 and the like) are not formatted: only what an executor has brought about is.
#[derive(Clone)]
pub struct ResponseFormat(Kind);

#[derive(Clone)]
enum Kind {
    StatusJson,
    Http,
    Custom(Arc<FormatFn>),
}

type FormatFn = dyn Fn(Result<&Outcome, &Failure>) -> Response<Bytes> + Send + Sync;

/// An execution that did not end well.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    error: Option<ExecutorError>,
}

/// The kind of a [`Failure`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The executor returned an error.
    Failed,
    /// The executor cannot take the work now ([`ExecutorError::busy`]).
    Busy,
    /// What the executor needs does not answer ([`ExecutorError::unavailable`]).
    Unavailable,
    /// The executor says that the input is wrong ([`ExecutorError::invalid`]).
    Invalid,
    /// The executor says that the input is too large ([`ExecutorError::input_too_large`]).
    InputTooLarge,
    /// The deadline passed.
    Timeout,
    /// The executor panicked.
    Panicked,
    /// The result is larger than allowed.
    TooLarge,
}

impl ResponseFormat {
    /// `{"status":0,"result":<value>}` with 200 or the status of the [`Outcome`], and
    /// `{"status":1,"err":"<text>"}` with 200 for an execution that failed. The text is that of a
    /// [public](ExecutorError::public) error, or a fixed one. A [busy](ExecutorError::busy) or
    /// [unavailable](ExecutorError::unavailable) executor is a 503 here as well.
    ///
    /// For senders that read the body, such as clients of Kragle. To every other sender the 200 means
    /// "delivered", and a failed execution is lost.
    #[must_use]
    pub const fn status_json() -> Self {
        Self(Kind::StatusJson)
    }

    /// Plain HTTP, and the default: 200 and the value itself, or a problem document with 422
    /// ([invalid](ExecutorError::invalid)), 413 ([too large](ExecutorError::input_too_large)), 502 (failed), 503
    /// ([busy](ExecutorError::busy), [unavailable](ExecutorError::unavailable)), 504 (deadline) or 500 (panic, result too
    /// large). The text of a [public](ExecutorError::public) error is its `detail`.
    #[must_use]
    pub const fn http() -> Self {
        Self(Kind::Http)
    }

    /// Any other format. A `Cache-Control` header that the closure does not set becomes `no-store`, and a 204,
    /// 205 or 304 is sent without its body.
    #[must_use]
    pub fn custom(
        format: impl Fn(Result<&Outcome, &Failure>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Custom(Arc::new(format)))
    }

    /// # Errors
    ///
    /// Returns a rejection where the format reports a failure as one.
    pub(super) fn response(
        &self,
        end: Result<&Outcome, &Failure>,
    ) -> Result<Response<Bytes>, Rejection> {
        let mut response = match (&self.0, end) {
            (Kind::Custom(format), end) => format(end),
            (_, Ok(Outcome { content: Content::Accepted, status, headers })) => {
                with_headers(Bytes::new(), status.unwrap_or(StatusCode::ACCEPTED), headers)
            }
            (_, Ok(Outcome { content: Content::Raw(bytes), status, headers })) => {
                let mut response =
                    with_headers(bytes.clone(), status.unwrap_or(StatusCode::OK), headers);
                response
                    .headers_mut()
                    .entry(CONTENT_TYPE)
                    .or_insert(HeaderValue::from_static("application/octet-stream"));
                response
            }
            (Kind::StatusJson, Ok(Outcome { content: Content::Json(text), status, headers })) => {
                json(format!(r#"{{"status":0,"result":{text}}}"#), *status, headers)
            }
            (Kind::Http, Ok(Outcome { content: Content::Json(text), status, headers })) => {
                json(text.clone(), *status, headers)
            }
            (Kind::StatusJson, Err(failure)) if !failure.kind.asks_to_retry() => {
                // Texts are always JSON.
                let text = serde_json::to_string(failure.text()).unwrap_or_default();
                json(format!(r#"{{"status":1,"err":{text}}}"#), None, &HeaderMap::new())
            }
            (_, Err(failure)) => return Err(failure.rejection()),
        };
        if has_no_content(response.status()) {
            *response.body_mut() = Bytes::new();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

impl Default for ResponseFormat {
    fn default() -> Self {
        Self::http()
    }
}

impl fmt::Debug for ResponseFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::StatusJson => "ResponseFormat(status_json)",
            Kind::Http => "ResponseFormat(http)",
            Kind::Custom(_) => "ResponseFormat(<fn>)",
        })
    }
}

impl Failure {
    pub(super) const fn new(kind: FailureKind) -> Self {
        Self { kind, error: None }
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The error, if the executor has returned one.
    #[must_use]
    pub const fn error(&self) -> Option<&ExecutorError> {
        self.error.as_ref()
    }

    /// After which time the executor wants to be asked again ([`ExecutorError::retry_after`]).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.error.as_ref()?.retry_after()
    }

    /// A text for the caller: that of a public error, or a fixed one.
    #[must_use]
    pub fn text(&self) -> &str {
        match self.kind {
            FailureKind::Failed | FailureKind::Invalid | FailureKind::InputTooLarge => {
                let public = self.error.as_ref().and_then(ExecutorError::public_text);
                public.unwrap_or("execution failed")
            }
            FailureKind::Busy => "busy",
            FailureKind::Unavailable => "unavailable",
            FailureKind::Timeout => "timeout",
            FailureKind::Panicked | FailureKind::TooLarge => "internal error",
        }
    }

    pub(super) fn rejection(&self) -> Rejection {
        let rejection = Rejection::new(match self.kind {
            FailureKind::Failed => RejectionKind::ExecutorFailed,
            FailureKind::Busy => RejectionKind::AtCapacity,
            FailureKind::Unavailable => RejectionKind::Unavailable,
            FailureKind::Invalid => RejectionKind::Invalid,
            FailureKind::InputTooLarge => RejectionKind::BodyTooLarge,
            FailureKind::Timeout => RejectionKind::ExecutorTimeout,
            FailureKind::Panicked | FailureKind::TooLarge => RejectionKind::Internal,
        });
        let rejection = rejection.logged();
        let rejection = match self.retry_after() {
            Some(time) => rejection.with_retry_after(time),
            None => rejection,
        };
        match self.error.as_ref().and_then(ExecutorError::public_text) {
            Some(text) => rejection.with_detail(text),
            None => rejection,
        }
    }
}

impl FailureKind {
    /// Every kind, in the order of the enum. The last variant is in the type, so that a list without a new one before it
    /// does not compile.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; Self::TooLarge as usize + 1] = [
        Self::Failed,
        Self::Busy,
        Self::Unavailable,
        Self::Invalid,
        Self::InputTooLarge,
        Self::Timeout,
        Self::Panicked,
        Self::TooLarge,
    ];

    /// Whether the sender is to come back: one that is answered with a 200 does not.
    const fn asks_to_retry(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }

    /// A short name of the kind for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
            Self::InputTooLarge => "input_too_large",
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<ExecutorError> for Failure {
    fn from(error: ExecutorError) -> Self {
        Self { kind: error.kind(), error: Some(error) }
    }
}

/// Statuses whose responses have no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
const fn has_no_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

fn json(text: String, status: Option<StatusCode>, headers: &HeaderMap) -> Response<Bytes> {
    let mut response = with_headers(text.into(), status.unwrap_or(StatusCode::OK), headers);
    response
        .headers_mut()
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    response
}

fn with_headers(body: Bytes, status: StatusCode, headers: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    response
}
