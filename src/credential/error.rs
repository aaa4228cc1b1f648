use std::error::Error;
use std::fmt;

use crate::content::ContentError;
use crate::rejection::{Rejection, RejectionKind};

/// Why no single credential could be read from a request.
///
/// The text is fixed: no part of the request is in it.
#[derive(Debug)]
pub struct FindError {
    kind: FindErrorKind,
    source: Option<ContentError>,
}

/// The kind of a [`FindError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FindErrorKind {
    /// More than one credential was presented.
    Ambiguous,
    /// The query or the body, in which a placement looks, cannot be read. The source says why.
    Unreadable,
    /// A placement is in the body, and no layer has buffered the body.
    NotBuffered,
}

impl FindError {
    pub(super) const fn new(kind: FindErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> FindErrorKind {
        self.kind
    }
}

impl From<ContentError> for FindError {
    fn from(source: ContentError) -> Self {
        Self { kind: FindErrorKind::Unreadable, source: Some(source) }
    }
}

impl From<FindError> for Rejection {
    fn from(error: FindError) -> Self {
        match (error.kind, error.source) {
            (FindErrorKind::Ambiguous, _) => Self::new(RejectionKind::Ambiguous),
            (FindErrorKind::Unreadable, Some(source)) => source.into(),
            (FindErrorKind::Unreadable, None) => Self::new(RejectionKind::MalformedBody),
            (FindErrorKind::NotBuffered, _) => {
                Self::new(RejectionKind::NotWired).with_source(FindError::new(error.kind))
            }
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FindErrorKind::Ambiguous => "more than one credential was presented",
            FindErrorKind::Unreadable => "the place of a credential cannot be read",
            FindErrorKind::NotBuffered => {
                "a placement is in the body, and the body is not buffered: \
                 use `AuthLayer::with_buffer` or put a `BufferLayer` outside"
            }
        })
    }
}

impl Error for FindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
