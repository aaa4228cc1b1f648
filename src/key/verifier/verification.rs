use std::fmt;

use super::{KeyVerifier, VerifiedKey, VerifyError};
use crate::key::digest::PresentedDigests;
use crate::key::{KeyDigest, KeyId, KeyRecord};

/// A verification that has begun: see [`KeyVerifier::begin`].
#[must_use]
pub enum Verification<T = VerifiedKey> {
    /// The result.
    Ready(Result<T, VerifyError>),
    /// The store has to be waited for.
    Pending(PendingLookup),
}

/// The part of a verification that waits for the store.
///
/// It owns what it needs, and has digests of the presented key instead of the key.
#[must_use]
pub struct PendingLookup {
    verifier: KeyVerifier,
    id: KeyId,
    digests: PresentedDigests,
}

impl Verification {
    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see
    /// [`VerifyErrorKind`](super::VerifyErrorKind).
    pub async fn finish(self) -> Result<VerifiedKey, VerifyError> {
        match self {
            Self::Ready(result) => result,
            Self::Pending(lookup) => lookup.finish().await,
        }
    }
}

impl PendingLookup {
    pub(super) fn new(verifier: &KeyVerifier, id: &KeyId, digests: PresentedDigests) -> Self {
        Self { verifier: verifier.clone(), id: id.clone(), digests }
    }

    /// Asks the store and waits for the result.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see
    /// [`VerifyErrorKind`](super::VerifyErrorKind).
    pub async fn finish(self) -> Result<VerifiedKey, VerifyError> {
        self.finish_with(|record, _| VerifiedKey::new(record)).await
    }

    /// As [`finish`](Self::finish), with a result that `accept` makes.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has its arguments twice"
    )]
    pub(crate) fn finish_with<T>(
        self,
        accept: impl FnOnce(&KeyRecord, &KeyDigest) -> T + Send,
    ) -> impl Future<Output = Result<T, VerifyError>> + Send {
        async move {
            let parts = &*self.verifier.0;
            match parts.find(&self.id).await {
                Ok(record) => parts.evaluate(&self.id, &self.digests, record.as_ref(), accept),
                Err(fault) => Err(VerifyError::fault(self.id, fault)),
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Verification<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(lookup) => f.debug_tuple("Pending").field(lookup).finish(),
        }
    }
}

impl fmt::Debug for PendingLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLookup").field("id", &self.id).finish_non_exhaustive()
    }
}
