//! Rotation: a new secret for a key.

use time::Duration;

use super::change::{allow, next_version};
use super::{KeyManager, MAX_ATTEMPTS, first_version};
use crate::key::new_key::later;
use crate::key::{
    IssuedKey, KeyDraft, KeyId, KeyRecord, ManageError, ManageErrorKind, Owner, WriteOutcome,
};

impl KeyManager {
    /// Gives a key a new secret. The old one stays valid for `overlap`, but not beyond the expiry of the key.
    ///
    /// The record stays, with a new digest, if the format can keep its id. Otherwise, as with
    /// [`OpaqueFormat`](crate::key::OpaqueFormat), a second record gets owner, name, scopes, deadlines,
    /// metadata and whether the key is disabled, and the old record expires after `overlap` at the latest.
    ///
    /// A second rotation within the overlap ends the older of the two old secrets.
    ///
    /// # Errors
    ///
    /// `Invalid` if the overlap is negative or leads beyond the year 9999; `NotFound`, `Revoked`,
    /// `Random`, `Conflict`, `WrongPepper`, `Unavailable`. After `Unavailable` the old record may expire after
    /// `overlap` although there is no new one; [`extend`](Self::extend) undoes that.
    pub async fn rotate(
        &self,
        owner: &Owner,
        id: &KeyId,
        overlap: Duration,
    ) -> Result<IssuedKey, ManageError> {
        self.rotate_if(owner, id, overlap, allow).await
    }

    /// [Rotates](Self::rotate) a key if a guard allows it: see [`update_if`](Self::update_if).
    ///
    /// # Errors
    ///
    /// Those of [`rotate`](Self::rotate), and those of the guard.
    pub async fn rotate_if<E: From<ManageError>>(
        &self,
        owner: &Owner,
        id: &KeyId,
        overlap: Duration,
        mut guard: impl FnMut(&KeyRecord) -> Result<(), E> + Send,
    ) -> Result<IssuedKey, E> {
        if overlap.is_negative() {
            return Err(ManageError::invalid("the overlap of a rotation is not negative").into());
        }
        for _ in 0..MAX_ATTEMPTS {
            let old = self.get(owner, id).await?;
            guard(&old)?;
            self.keep_pepper().await?;
            if let Some(issued) = self.rotate_once(owner, &old, overlap).await? {
                return Ok(issued);
            }
        }
        Err(ManageError::new(ManageErrorKind::Conflict).into())
    }

    /// Replaces this version of the record. `None` after a conflict.
    async fn rotate_once(
        &self,
        owner: &Owner,
        old: &KeyRecord,
        overlap: Duration,
    ) -> Result<Option<IssuedKey>, ManageError> {
        let now = self.parts().clock.now();
        let version = next_version(old)?;
        let until = later(now, overlap)?;
        let until = old.expires_at().map_or(until, |expires_at| until.min(expires_at));
        let draft = KeyDraft::new(owner, now).with_id(old.id());
        let (new_id, digest, secret) = self.draw(&draft)?;
        let sealed = self.seal(&secret, &new_id, owner)?;

        if new_id == *old.id() {
            let previous = (until > now).then(|| (old.digest().clone(), until));
            let record = old
                .clone()
                .with_digest(digest)
                .with_previous_digest(previous)
                .with_sealed(sealed)
                .with_version(version);
            if self.parts().store.replace(record.clone(), old.version()).await?
                == WriteOutcome::Applied
            {
                return Ok(Some(IssuedKey::new(record, secret)));
            }
            return Ok(None);
        }

        let record = KeyRecord::new(new_id, owner.clone(), old.name(), digest, now)?
            .with_version(first_version()?)
            .with_scopes(old.scopes().clone())
            .with_not_before(old.not_before())
            .with_expires_at(old.expires_at())
            .with_disabled(old.disabled())
            .with_sealed(sealed)
            .with_rate_limit(old.rate_limit())
            .with_metadata(old.metadata())?;
        if self.parts().store.insert(record.clone()).await? == WriteOutcome::Conflict {
            return Ok(None);
        }
        let ending = old.clone().with_expires_at(Some(until)).with_version(version);
        let ended = self.parts().store.replace(ending, old.version()).await;
        if matches!(ended, Ok(WriteOutcome::Applied)) {
            return Ok(Some(IssuedKey::new(record, secret)));
        }
        // Undo: the text of the second record is never shown.
        let removed = self.parts().store.remove(owner, &[record.id().clone()]).await;
        if let Err(error) = ended.and(removed) {
            return Err(error.into());
        }
        Ok(None)
    }
}
