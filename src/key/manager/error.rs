use std::error::Error;
use std::fmt;

use super::{GenerateError, StoreError};
#[cfg(feature = "recoverable")]
use crate::key::OpenError;
use crate::key::UnknownPepper;
use crate::key::record::InvalidRecord;

use crate::BoxError;

/// A failed call to a [`KeyManager`](super::KeyManager).
///
/// `Display` is a fixed text, and says for `Invalid` which limit was broken. The cause of `Random`, `WrongPepper` and
/// `Unavailable` is the [`source`](Error::source).
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
    /// The id is taken, or concurrent changes won every retry. Nothing was changed.
    Conflict,
    /// A value is outside its limits. `Display` says which.
    Invalid,
    /// The key was revoked, which is final.
    Revoked,
    /// The text of the key was not sealed, and cannot be recovered.
    NotRecoverable,
    /// No key could be generated. Nothing was changed.
    Random,
    /// The store has another pepper of the same name: its bytes differ. Nothing was changed.
    WrongPepper,
    /// The store is unavailable. It is unknown whether something was changed.
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
            ManageErrorKind::Conflict => "the id is taken, or concurrent changes won every retry",
            ManageErrorKind::Invalid => self.reason.unwrap_or("a value is outside its limits"),
            ManageErrorKind::Revoked => "the key was revoked, which is final",
            ManageErrorKind::NotRecoverable => {
                "the text of the key was not sealed and cannot be recovered"
            }
            ManageErrorKind::Random => "no key could be generated",
            ManageErrorKind::WrongPepper => "the pepper is not that of the key store",
            ManageErrorKind::Unavailable => "the key store cannot answer",
        }
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        Self { source: Some(error.into()), ..Self::new(ManageErrorKind::Unavailable) }
    }
}

impl From<UnknownPepper> for ManageError {
    fn from(error: UnknownPepper) -> Self {
        Self { source: Some(error.into()), ..Self::new(ManageErrorKind::WrongPepper) }
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
