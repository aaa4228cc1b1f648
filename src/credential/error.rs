use std::error::Error;
use std::fmt;

use crate::content::ContentError;

/// Why no single credential could be read from a request.
///
/// The text is fixed: no part of the request is in it.
#[derive(Debug)]
pub struct ExtractError {
    kind: ExtractErrorKind,
    /// Whether the credentials of an ambiguous request are equal.
    are_copies: bool,
    source: Option<ContentError>,
}

/// The kind of an [`ExtractError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExtractErrorKind {
    /// More than one credential was presented.
    Ambiguous,
    /// The query or the body, in which a placement looks, cannot be read. The source says why.
    Unreadable,
    /// A placement is in the body, and no layer has buffered the body.
    NotBuffered,
    /// A key is the only protocol that is offered for a WebSocket.
    NoSubprotocol,
    /// The target would be longer than a target can be once the credential in it is replaced.
    TargetTooLong,
}

impl ExtractError {
    pub(super) const fn new(kind: ExtractErrorKind) -> Self {
        Self { kind, are_copies: false, source: None }
    }

    pub(super) const fn ambiguous(are_copies: bool) -> Self {
        Self { are_copies, ..Self::new(ExtractErrorKind::Ambiguous) }
    }

    /// Whether all credentials of an [`Ambiguous`](ExtractErrorKind::Ambiguous) request are equal: what a proxy
    /// that adds the field once more makes of one.
    #[must_use]
    pub const fn are_copies(&self) -> bool {
        self.are_copies
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
        Self { source: Some(source), ..Self::new(ExtractErrorKind::Unreadable) }
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ExtractErrorKind::Ambiguous if self.are_copies => {
                "one credential was presented more than once, in equal copies"
            }
            ExtractErrorKind::Ambiguous => "more than one credential was presented",
            ExtractErrorKind::Unreadable => "the place of a credential cannot be read",
            ExtractErrorKind::NoSubprotocol => "no WebSocket protocol is offered beside the key",
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
