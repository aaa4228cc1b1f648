//! Compare-and-set with retries.

use time::{Duration, OffsetDateTime};

use super::{KeyManager, MAX_ATTEMPTS};
use crate::key::new_key::later;
use crate::key::{KeyId, KeyRecord, KeyUpdate, ManageError, ManageErrorKind, Owner, WriteOutcome};

impl KeyManager {
    /// Extends a key to `max(now, expiry) + interval`. An expired key becomes valid again.
    ///
    /// A key without an expiry does not change.
    ///
    /// # Errors
    ///
    /// `Invalid` if the interval is not positive or leads beyond the year 9999; `NotFound`,
    /// `Revoked`, `Conflict`, `Unavailable`.
    pub async fn extend(
        &self,
        owner: &Owner,
        id: &KeyId,
        interval: Duration,
    ) -> Result<KeyRecord, ManageError> {
        self.extend_if(owner, id, interval, allow).await
    }

    /// [Extends](Self::extend) a key if a guard allows it: see [`update_if`](Self::update_if).
    ///
    /// # Errors
    ///
    /// Those of [`extend`](Self::extend), and those of the guard.
    pub async fn extend_if<E: From<ManageError>>(
        &self,
        owner: &Owner,
        id: &KeyId,
        interval: Duration,
        guard: impl FnMut(&KeyRecord) -> Result<(), E> + Send,
    ) -> Result<KeyRecord, E> {
        if !interval.is_positive() {
            return Err(ManageError::invalid("the interval of an extension is positive").into());
        }
        self.change_if(owner, id, guard, |record, now| {
            let Some(expires_at) = record.expires_at() else {
                return Ok(None);
            };
            let expires_at = later(expires_at.max(now), interval)?;
            Ok(Some(record.clone().with_expires_at(Some(expires_at))))
        })
        .await
    }

    /// Disables a key, until [`enable`](Self::enable).
    ///
    /// # Errors
    ///
    /// `NotFound`, `Revoked`, `Conflict`, `Unavailable`.
    pub async fn disable(&self, owner: &Owner, id: &KeyId) -> Result<KeyRecord, ManageError> {
        self.set_disabled(owner, id, true).await
    }

    /// Enables a disabled key.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Revoked`, `Conflict`, `Unavailable`.
    pub async fn enable(&self, owner: &Owner, id: &KeyId) -> Result<KeyRecord, ManageError> {
        self.set_disabled(owner, id, false).await
    }

    /// Revokes a key, which is final. The record stays, so that its id is not reused. Revoking twice changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Conflict`, `Unavailable`.
    pub async fn revoke(&self, owner: &Owner, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let revoked = self.change(owner, id, |record, now| {
            let revoked = record.clone().with_revoked_at(Some(now));
            Ok(Some(revoked.with_previous_digest(None).with_sealed(None)))
        });
        match revoked.await {
            Err(error) if error.kind() == ManageErrorKind::Revoked => self.get(owner, id).await,
            revoked => revoked,
        }
    }

    /// Applies a partial update in one step.
    ///
    /// # Errors
    ///
    /// `Invalid`, `NotFound`, `Revoked`, `Conflict`, `Unavailable`.
    pub async fn update(
        &self,
        owner: &Owner,
        id: &KeyId,
        update: KeyUpdate,
    ) -> Result<KeyRecord, ManageError> {
        self.update_if(owner, id, update, allow).await
    }

    /// [Updates](Self::update) a key if a guard allows it.
    ///
    /// The guard sees the record that is replaced. After a concurrent change it is called again with the new
    /// record. A check with [`get`](Self::get) before the call would be a race.
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update), and those of the guard.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyManager, KeyUpdate, ManageError, ManageErrorKind};
    /// # use tower_webhook::key::{NewKey, Owner};
    /// # use tower_webhook::store::MemoryKeyStore;
    ///
    /// enum Refused {
    ///     TooStrong,
    ///     Manage(ManageErrorKind),
    /// }
    ///
    /// impl From<ManageError> for Refused {
    ///     fn from(error: ManageError) -> Self {
    ///         Self::Manage(error.kind())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ManageError> {
    /// # let keys = KeyManager::new(MemoryKeyStore::new());
    /// # let ann = Owner::new("ann").unwrap();
    /// # let issued = keys.generate(&ann, NewKey::new("admin").with_all_scopes()).await?;
    /// # let id = issued.record().id().clone();
    /// let enable = KeyUpdate::new().with_disabled(false);
    /// let refused = keys.update_if(&ann, &id, enable, |record| {
    ///     if record.scopes().is_all() { Err(Refused::TooStrong) } else { Ok(()) }
    /// });
    /// assert!(matches!(refused.await, Err(Refused::TooStrong)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_if<E: From<ManageError>>(
        &self,
        owner: &Owner,
        id: &KeyId,
        update: KeyUpdate,
        guard: impl FnMut(&KeyRecord) -> Result<(), E> + Send,
    ) -> Result<KeyRecord, E> {
        self.change_if(owner, id, guard, |record, _| update.apply(record)).await
    }

    async fn set_disabled(
        &self,
        owner: &Owner,
        id: &KeyId,
        disabled: bool,
    ) -> Result<KeyRecord, ManageError> {
        self.change(owner, id, |record, _| {
            let changes = record.disabled() != disabled;
            Ok(changes.then(|| record.clone().with_disabled(disabled)))
        })
        .await
    }

    /// As [`change_if`](Self::change_if), without a guard.
    pub(super) async fn change(
        &self,
        owner: &Owner,
        id: &KeyId,
        edit: impl Fn(&KeyRecord, OffsetDateTime) -> Result<Option<KeyRecord>, ManageError> + Send,
    ) -> Result<KeyRecord, ManageError> {
        self.change_if(owner, id, allow, edit).await
    }

    /// Compare-and-set: reads, calls the guard, edits and writes, and retries after a conflict. An edit that
    /// returns `None` writes nothing.
    async fn change_if<E: From<ManageError>>(
        &self,
        owner: &Owner,
        id: &KeyId,
        mut guard: impl FnMut(&KeyRecord) -> Result<(), E> + Send,
        edit: impl Fn(&KeyRecord, OffsetDateTime) -> Result<Option<KeyRecord>, ManageError> + Send,
    ) -> Result<KeyRecord, E> {
        for _ in 0..MAX_ATTEMPTS {
            let record = self.get(owner, id).await?;
            guard(&record)?;
            let version = next_version(&record)?;
            let Some(changed) = edit(&record, self.parts().clock.now())? else {
                return Ok(record);
            };
            let changed = changed.with_version(version);
            let written = self.parts().store.replace(changed.clone(), record.version()).await;
            if written.map_err(ManageError::from)? == WriteOutcome::Applied {
                return Ok(changed);
            }
        }
        Err(ManageError::new(ManageErrorKind::Conflict).into())
    }
}

/// The guard of an unguarded change.
pub(super) fn allow(_: &KeyRecord) -> Result<(), ManageError> {
    Ok(())
}

/// The version after a change. A revoked key cannot change.
pub(super) fn next_version(record: &KeyRecord) -> Result<u64, ManageError> {
    if record.revoked() {
        return Err(ManageError::new(ManageErrorKind::Revoked));
    }
    record.version().checked_add(1).ok_or(ManageError::new(ManageErrorKind::Conflict))
}
