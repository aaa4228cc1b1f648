use std::error::Error;
use std::fmt;

use crate::key::{KeyId, StoreError};

/// Why a presented key is not good.
///
/// # Security
///
/// The kind is for logs. A caller who is told more than "refused" learns which ids exist.
/// [`NotYetValid`](VerifyErrorKind::NotYetValid), [`Expired`](VerifyErrorKind::Expired),
/// [`Disabled`](VerifyErrorKind::Disabled) and [`Revoked`](VerifyErrorKind::Revoked) are given only
/// to whoever presented the right secret.
pub struct VerifyError {
    pub(super) kind: VerifyErrorKind,
    pub(super) id: Option<KeyId>,
    pub(super) fault: Option<Box<Fault>>,
}

/// The reasons of a [`VerifyError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// The text is no key of the format, or not the one that is asked for. The store was not asked.
    Malformed,
    /// There is no key with this id.
    Unknown,
    /// The id exists, the secret is another one.
    WrongSecret,
    /// The key works from a later time on.
    NotYetValid,
    /// The key's time is over.
    Expired,
    /// The key is switched off.
    Disabled,
    /// The key was taken back.
    Revoked,
    /// The store failed or is not set up to check this key. Nothing is known about the key.
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

    pub(crate) fn into_key_id(self) -> Option<KeyId> {
        self.id
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The id that the text named, if it was a key of the format. Whoever presented it need not
    /// have the key.
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

/// What went wrong between this process and its store.
#[derive(Debug)]
pub(super) enum Fault {
    Store(StoreError),
    TimedOut,
    Panicked,
    NoAnswer,
    OtherRecord,
    UnknownPepper,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(_) => "the key store cannot answer",
            Self::TimedOut => "the key store did not answer within its deadline",
            Self::Panicked => "the key store panicked",
            Self::NoAnswer => "the key store said it had answered and had not, or answered twice",
            Self::OtherRecord => "the key store answered with the record of another key",
            Self::UnknownPepper => "the pepper of the stored digest is not configured",
        })
    }
}

impl Error for Fault {}
