use std::error::Error;
use std::fmt;

use crate::key::{KeyId, StoreError, UnknownPepper};

/// A refused key, or a failed verification.
///
/// # Security
///
/// The kind is for logs. In a response it would reveal which ids exist.
/// [`NotYetValid`](VerifyErrorKind::NotYetValid), [`Expired`](VerifyErrorKind::Expired),
/// [`Disabled`](VerifyErrorKind::Disabled) and [`Revoked`](VerifyErrorKind::Revoked) imply that the
/// secret was right.
pub struct VerifyError {
    pub(super) kind: VerifyErrorKind,
    pub(super) id: Option<KeyId>,
    pub(super) fault: Option<Box<Fault>>,
}

/// The reasons of a [`VerifyError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// The text is not a key of the format, or not the expected key. There was no look-up.
    Malformed,
    /// There is no key with this id.
    Unknown,
    /// The id exists, and the secret is wrong.
    WrongSecret,
    /// The start of the key is in the future.
    NotYetValid,
    /// The deadline of the key has passed.
    Expired,
    /// The key is disabled.
    Disabled,
    /// The key was revoked.
    Revoked,
    /// The store failed, or the pepper of the key is not configured or has other bytes. The validity of the key is
    /// unknown.
    StoreUnavailable,
}

impl VerifyError {
    pub(super) fn refused(id: KeyId, kind: VerifyErrorKind) -> Self {
        Self { kind, id: Some(id), fault: None }
    }

    pub(super) fn fault(id: KeyId, fault: Fault) -> Self {
        let kind = VerifyErrorKind::StoreUnavailable;
        Self { kind, id: Some(id), fault: Some(Box::new(fault)) }
    }

    /// The key of a caller that a queue has kept.
    #[cfg(feature = "queue")]
    pub(crate) fn without_store(id: KeyId) -> Self {
        Self::fault(id, Fault::Store(StoreError::new("a stored caller has no key store")))
    }

    pub(crate) fn into_key_id(self) -> Option<KeyId> {
        self.id
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The id in the text, if it was a key of the format. It is not verified.
    #[must_use]
    pub fn key_id(&self) -> Option<&KeyId> {
        self.id.as_ref()
    }
}

impl fmt::Debug for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("VerifyError");
        debug.field("kind", &self.kind).field("key_id", &self.id);
        if let Some(fault) = &self.fault {
            debug.field("source", fault);
        }
        debug.finish()
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            VerifyErrorKind::Malformed => "the text is no key",
            VerifyErrorKind::Unknown => "the key is unknown",
            VerifyErrorKind::WrongSecret => "the key has another secret",
            VerifyErrorKind::NotYetValid => "the key is not valid yet",
            VerifyErrorKind::Expired => "the key has expired",
            VerifyErrorKind::Disabled => "the key is disabled",
            VerifyErrorKind::Revoked => "the key was revoked",
            VerifyErrorKind::StoreUnavailable => "the key could not be checked",
        })
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.fault.as_deref()? {
            Fault::Store(error) => Some(error),
            fault => Some(fault),
        }
    }
}

/// A fault of the store or its configuration.
#[derive(Debug)]
pub(super) enum Fault {
    Store(StoreError),
    TimedOut,
    Panicked,
    NoAnswer,
    OtherRecord,
    UnknownPepper(UnknownPepper),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(_) => "the key store cannot answer",
            Self::TimedOut => "the key store did not answer within its deadline",
            Self::Panicked => "the key store panicked",
            Self::NoAnswer => {
                "the key store returned `true` from `try_find_now` and did not visit exactly once"
            }
            Self::OtherRecord => "the key store answered with the record of another key",
            Self::UnknownPepper(error) => return error.fmt(f),
        })
    }
}

impl Error for Fault {}
