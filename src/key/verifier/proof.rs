use std::cell::LazyCell;

use super::error::Fault;
use super::{KeyVerifier, VerifyError, VerifyErrorKind, refusal};
use crate::clock::Timestamp;
use crate::key::{KeyDigest, KeyId, KeyRecord};
use crate::util::UniqueId;

/// Proof of a verified key, which can be checked again without the secret.
#[derive(Clone)]
pub(crate) struct KeyProof {
    verifier: KeyVerifier,
    /// The digest of the record that matched.
    digest: KeyDigest,
    /// Distinguishes the record from a later one with the same id.
    created: Timestamp,
}

impl KeyProof {
    pub(crate) fn new(verifier: &KeyVerifier, record: &KeyRecord, digest: &KeyDigest) -> Self {
        Self { verifier: verifier.clone(), digest: digest.clone(), created: record.creation() }
    }

    pub(crate) fn verifier_id(&self) -> UniqueId {
        self.verifier.verifier_id()
    }

    /// Looks the record up again and checks that the proof still holds: the record was created at the same
    /// time, the digest that matched is still valid, and the key is active.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub(crate) async fn renew<T>(
        &self,
        id: &KeyId,
        accept: impl FnOnce(&KeyRecord) -> T + Send,
    ) -> Result<T, VerifyError> {
        let parts = &*self.verifier.0;
        match parts.find(id).await {
            Ok(record) => self.evaluate(id, record.as_ref()).map(accept),
            Err(fault) => Err(VerifyError::fault(id.clone(), fault)),
        }
    }

    fn evaluate<'r>(
        &self,
        id: &KeyId,
        record: Option<&'r KeyRecord>,
    ) -> Result<&'r KeyRecord, VerifyError> {
        let refuse = |kind| Err(VerifyError::refused(id.clone(), kind));
        let Some(record) = record else { return refuse(VerifyErrorKind::Unknown) };
        if record.id() != id {
            return Err(VerifyError::fault(id.clone(), Fault::OtherRecord));
        }
        if record.creation() != self.created {
            return refuse(VerifyErrorKind::Unknown);
        }
        let now = LazyCell::new(|| self.verifier.0.clock.timestamp());
        let now = || *now;
        let counts = record.digest().is(&self.digest)
            || record.usable_previous(now).is_some_and(|previous| previous.is(&self.digest));
        match refusal(record.state_by(now)) {
            _ if !counts => refuse(VerifyErrorKind::WrongSecret),
            Some(kind) => refuse(kind),
            None => Ok(record),
        }
    }
}
