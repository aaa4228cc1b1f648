use std::error::Error;
use std::fmt;

use http::Version;
use http::request::Parts;
use http_body::Body;

use super::is_identity_coded;
use crate::rejection::{Rejection, RejectionKind};

/// Why a body was not read to its end.
///
/// The texts are fixed. What the body itself reported is the [`source`](Error::source).
pub struct ReadError {
    kind: ReadErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`ReadError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// The body is larger than the limit, as announced or as read.
    TooLarge,
    /// The body did not end before the deadline.
    Timeout,
    /// The body ended with an error, is not as long as its `Content-Length` says, has a `Content-Length`
    /// that is not a number, or goes on after its trailers.
    Broken,
    /// The body panicked when it was polled or dropped.
    Panicked,
}

impl ReadError {
    pub(super) const fn new(kind: ReadErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) const fn broken(source: Box<dyn Error + Send + Sync>) -> Self {
        Self { kind: ReadErrorKind::Broken, source: Some(source) }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ReadErrorKind {
        self.kind
    }

    /// The refusal of a request whose body could not be read, in the version of that request.
    pub(crate) fn into_rejection(self, version: Version) -> Rejection {
        let rejection = match self.kind {
            ReadErrorKind::TooLarge => Rejection::new(RejectionKind::BodyTooLarge),
            ReadErrorKind::Timeout => Rejection::new(RejectionKind::BodyTimeout),
            ReadErrorKind::Broken => Rejection::new(RejectionKind::MalformedBody).with_source(self),
            ReadErrorKind::Panicked => Rejection::new(RejectionKind::Internal).with_source(self),
        };
        with_unread_body(rejection, version)
    }
}

/// Refuses a body that is sent in another coding than `identity`.
pub(crate) fn check_coding<B: Body>(parts: &Parts, body: &B) -> Result<(), Rejection> {
    if is_identity_coded(&parts.headers) {
        return Ok(());
    }
    let rejection = Rejection::new(RejectionKind::UnsupportedContentCoding);
    if body.is_end_stream() {
        return Err(rejection);
    }
    Err(with_unread_body(rejection, parts.version))
}

/// Closes the connection of HTTP/1, where what is left of a body is in front of the next request.
/// Later versions end the stream instead, and forbid the header.
fn with_unread_body(rejection: Rejection, version: Version) -> Rejection {
    if version < Version::HTTP_2 { rejection.with_close() } else { rejection }
}

impl From<ReadErrorKind> for ReadError {
    fn from(kind: ReadErrorKind) -> Self {
        Self::new(kind)
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ReadErrorKind::TooLarge => "the body is over the limit",
            ReadErrorKind::Timeout => "the body did not arrive in time",
            ReadErrorKind::Broken => "the body broke off or is not as long as announced",
            ReadErrorKind::Panicked => "the body panicked",
        })
    }
}

impl fmt::Debug for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use http::header::{CONNECTION, WWW_AUTHENTICATE};

    use super::*;
    use crate::rejection::{Asked, Respond};

    #[test]
    fn each_kind_has_its_status_and_closes_only_http_1() {
        let respond = Respond::new();
        for (kind, status) in [
            (ReadErrorKind::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
            (ReadErrorKind::Timeout, StatusCode::REQUEST_TIMEOUT),
            (ReadErrorKind::Broken, StatusCode::BAD_REQUEST),
            (ReadErrorKind::Panicked, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            for (version, closes) in [
                (Version::HTTP_10, true),
                (Version::HTTP_11, true),
                (Version::HTTP_2, false),
                (Version::HTTP_3, false),
            ] {
                let rejection = ReadError::new(kind).into_rejection(version);
                let response = respond.refuse::<Bytes>(&rejection, &Asked::default());

                assert_eq!(response.status(), status, "{kind:?}");
                assert_eq!(response.headers().contains_key(CONNECTION), closes, "{version:?}");
                assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
            }
        }
    }

    #[test]
    fn the_error_of_the_body_is_kept_and_not_shown() {
        let error = ReadError::broken("opensesame".into());
        assert_eq!(error.source().unwrap().to_string(), "opensesame");
        assert!(!format!("{error} {error:?}").contains("opensesame"));

        let rejection = error.into_rejection(Version::HTTP_11);
        let error = rejection.source().unwrap().downcast_ref::<ReadError>().unwrap();
        assert_eq!(error.kind(), ReadErrorKind::Broken);
        assert!(error.source().is_some());
    }
}
