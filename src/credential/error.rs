use std::error::Error;
use std::fmt;

use crate::content::ContentError;

/// Why no single credential could be read from a request.
///
/// The text is fixed: no part of the request is in it.
#[derive(Debug)]
pub struct ExtractError {
    kind: ExtractErrorKind,
    source: Option<ContentError>,
}

/// The kind of a [`ExtractError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExtractErrorKind {
    /// More than one credential was presented.
    Ambiguous,
    /// The query or the body, in which a placement looks, cannot be read. The source says why.
    Unreadable,
    /// A placement is in the body, and no layer has buffered the body.
    NotBuffered,
    /// The target would be longer than a target can be once the credential in it is replaced.
    TargetTooLong,
}

impl ExtractError {
    pub(super) const fn new(kind: ExtractErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ExtractErrorKind {
        self.kind
    }

    pub(crate) const fn content_error(&self) -> Option<&ContentError> {
        self.source.as_ref()
    }
}

impl From<ContentError> for ExtractError {
    fn from(source: ContentError) -> Self {
        Self { kind: ExtractErrorKind::Unreadable, source: Some(source) }
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ExtractErrorKind::Ambiguous => "more than one credential was presented",
            ExtractErrorKind::Unreadable => "the place of a credential cannot be read",
            ExtractErrorKind::TargetTooLong => {
                "the target is too long to take the credential out of it"
            }
            ExtractErrorKind::NotBuffered => {
                "a placement is in the body, and the body is not buffered: \
                 use `AuthLayer::with_buffer` or put a `BodyBufferLayer` outside"
            }
        })
    }
}

impl Error for ExtractError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
