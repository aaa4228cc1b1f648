use std::error::Error;
use std::fmt;

use super::{GenerateError, StoreError};
#[cfg(feature = "recoverable")]
use crate::key::OpenError;
use crate::key::record::InvalidRecord;

use crate::BoxError;

/// Why a call to a [`KeyManager`](super::KeyManager) did not do what it was asked.
pub struct ManageError {
    kind: ManageErrorKind,
    /// Only for `Invalid`.
    reason: Option<&'static str>,
    source: Option<BoxError>,
}

/// The reasons of a [`ManageError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ManageErrorKind {
    /// The owner has no such key.
    NotFound,
    /// The key is there already, or other changes kept coming first. Nothing was changed.
    Conflict,
    /// A value is outside its limits. `Display` says which, in a fixed text.
    Invalid,
    /// The key was revoked, and nothing changes it any more.
    Revoked,
    /// The text of the key is not kept, and cannot be shown again.
    NotRecoverable,
    /// No text could be made for a key. Nothing was changed.
    Random,
    /// The store cannot answer. Whether something was changed is not known.
    Unavailable,
}

impl ManageError {
    pub(crate) fn new(kind: ManageErrorKind) -> Self {
        Self { kind, reason: None, source: None }
    }

    pub(crate) fn invalid(reason: &'static str) -> Self {
        Self { kind: ManageErrorKind::Invalid, reason: Some(reason), source: None }
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> ManageErrorKind {
        self.kind
    }

    /// The text of `Display`.
    pub(crate) fn text(&self) -> &'static str {
        match self.kind {
            ManageErrorKind::NotFound => "the key is not found",
            ManageErrorKind::Conflict => "the key is there already or changes too fast",
            ManageErrorKind::Invalid => self.reason.unwrap_or("a value is outside its limits"),
            ManageErrorKind::Revoked => "the key was revoked",
            ManageErrorKind::NotRecoverable => "the text of the key is not kept",
            ManageErrorKind::Random => "no key could be made",
            ManageErrorKind::Unavailable => "the key store cannot answer",
        }
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        Self { source: Some(error.into()), ..Self::new(ManageErrorKind::Unavailable) }
    }
}

impl From<GenerateError> for ManageError {
    fn from(error: GenerateError) -> Self {
        Self { source: Some(error.into()), ..Self::new(ManageErrorKind::Random) }
    }
}

#[cfg(feature = "recoverable")]
impl From<OpenError> for ManageError {
    fn from(error: OpenError) -> Self {
        Self { source: Some(error.into()), ..Self::new(ManageErrorKind::Unavailable) }
    }
}

impl From<InvalidRecord> for ManageError {
    fn from(error: InvalidRecord) -> Self {
        Self::invalid(error.0)
    }
}

impl fmt::Debug for ManageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManageError")
            .field("kind", &self.kind)
            .field("reason", &self.reason)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for ManageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for ManageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
