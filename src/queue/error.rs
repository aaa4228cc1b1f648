use std::error::Error;
use std::fmt;

use crate::BoxError;

/// Why a queue did not do what it was asked. The cause is the [`source`](Error::source).
pub struct QueueError {
    kind: QueueErrorKind,
    source: BoxError,
}

/// The kind of a [`QueueError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// The engine cannot be reached, is full, or did not answer in time. It is not known whether the change was made.
    Unavailable,
    /// The engine takes no job of this size. Nothing was changed.
    TooLarge,
}

impl QueueError {
    /// An engine that cannot answer.
    #[must_use]
    pub fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self { kind: QueueErrorKind::Unavailable, source: cause.into() }
    }

    /// A job that is larger than the engine takes.
    #[must_use]
    pub fn too_large(cause: impl Into<BoxError>) -> Self {
        Self { kind: QueueErrorKind::TooLarge, source: cause.into() }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> QueueErrorKind {
        self.kind
    }
}

impl fmt::Debug for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueError")
            .field("kind", &self.kind)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            QueueErrorKind::Unavailable => "the job queue cannot answer",
            QueueErrorKind::TooLarge => "the job is larger than the queue takes",
        })
    }
}

impl Error for QueueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
