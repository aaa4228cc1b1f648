//! Recovery of the texts of keys.

use std::sync::Arc;

use super::KeyManager;
use crate::key::secret::Secret;
use crate::key::{KeyId, KeyRecord, ManageError, ManageErrorKind, Owner, SealingKeys};

/// The associated data of a sealed text: it does not open in the record of another key or owner.
pub(super) fn context(id: &KeyId, owner: &Owner) -> String {
    // No id and no owner has a line break.
    format!("key\n{id}\n{owner}")
}

impl KeyManager {
    /// Seals the text of each new, imported or rotated key in its record, for [`recover`](Self::recover).
    ///
    /// [`revoke`](Self::revoke) and [`delete`](Self::delete) remove the sealed text.
    ///
    /// # Security
    ///
    /// Without this call a copy of the store gives no secret. With it, a copy of the store **and** of a sealing
    /// key gives every secret. See [`SealingKeys`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyManager, NewKey, Owner, SealingKeys};
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let key = [7; 32];
    /// let keys = KeyManager::new(MemoryKeyStore::new()).with_recoverable(SealingKeys::new(key));
    /// let ann = Owner::new("ann")?;
    /// let issued = keys.generate(&ann, NewKey::new("hook")).await?;
    ///
    /// let shown = keys.recover(&ann, issued.record().id()).await?;
    /// assert_eq!(shown.expose_secret(), issued.secret().expose_secret());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_recoverable(mut self, keys: SealingKeys) -> Self {
        self.sealing = Some(Arc::new(keys));
        self
    }

    /// Recovers the text of a key, for its owner.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotRecoverable` if the text was not sealed; `Unavailable` if the store cannot answer, or the
    /// sealed text does not open, with the cause as [`source`](std::error::Error::source).
    pub async fn recover(&self, owner: &Owner, id: &KeyId) -> Result<Secret, ManageError> {
        self.recover_record(&self.get(owner, id).await?)
    }

    /// Recovers the text of a key from its record, such as one of a list.
    ///
    /// This call does not check who may see it.
    ///
    /// # Errors
    ///
    /// Those of [`recover`](Self::recover).
    pub fn recover_record(&self, record: &KeyRecord) -> Result<Secret, ManageError> {
        let (Some(sealing), Some(sealed)) = (&self.sealing, record.sealed()) else {
            return Err(ManageError::new(ManageErrorKind::NotRecoverable));
        };
        sealing.open(sealed, &context(record.id(), record.owner())).map_err(ManageError::from)
    }

    /// Seals the text of a key again under the newest sealing key, which makes the previous ones unnecessary
    /// for it.
    ///
    /// A key that is up to date or not sealed does not change.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Revoked`, `Random`, `Conflict`, `Unavailable`.
    pub async fn reseal(&self, owner: &Owner, id: &KeyId) -> Result<KeyRecord, ManageError> {
        self.change(owner, id, |record, _| {
            let (Some(sealing), Some(sealed)) = (&self.sealing, record.sealed()) else {
                return Ok(None);
            };
            if sealing.is_current(sealed) {
                return Ok(None);
            }
            let context = context(id, owner);
            let resealed = sealing.seal(&sealing.open(sealed, &context)?, &context)?;
            Ok(Some(record.clone().with_sealed(Some(resealed))))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use time::Duration;

    use super::*;
    use crate::key::fixtures::ann;
    use crate::key::{KeyStore, NewKey, OpaqueFormat, SealedSecret, WriteOutcome};
    use crate::store::MemoryKeyStore;

    fn manager(store: &Arc<MemoryKeyStore>, byte: u8) -> KeyManager {
        KeyManager::new(store.clone()).with_recoverable(SealingKeys::new([byte; 32]))
    }

    async fn shown(keys: &KeyManager, id: &KeyId) -> Result<String, ManageErrorKind> {
        let secret = keys.recover(&ann(), id).await;
        secret.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn generated_imported_and_rotated_keys_are_recoverable() {
        let keys = manager(&Arc::new(MemoryKeyStore::new()), 1);
        let made = keys.generate(&ann(), NewKey::new("a")).await.unwrap();
        let id = made.record().id();
        assert_eq!(shown(&keys, id).await.as_deref(), Ok(made.secret().expose_secret()));

        let rotated = keys.rotate(&ann(), id, Duration::HOUR).await.unwrap();
        assert_eq!(shown(&keys, id).await.as_deref(), Ok(rotated.secret().expose_secret()));

        let bob = Owner::new("bob").unwrap();
        let error = keys.recover(&bob, id).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::NotFound);

        let foreign = keys.with_format(OpaqueFormat::new());
        let imported =
            foreign.import(&ann(), Secret::new("old:1:x"), NewKey::new("b")).await.unwrap();
        assert_eq!(shown(&foreign, imported.id()).await.as_deref(), Ok("old:1:x"));
        let rotated = foreign.rotate(&ann(), imported.id(), Duration::HOUR).await.unwrap();
        let id = rotated.record().id();
        assert_eq!(shown(&foreign, id).await.as_deref(), Ok(rotated.secret().expose_secret()));
    }

    #[tokio::test]
    async fn the_text_goes_with_its_key_or_with_a_rotation() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = manager(&store, 1);
        let id = keys.generate(&ann(), NewKey::new("a")).await.unwrap().record().id().clone();

        let plain = KeyManager::new(store);
        assert_eq!(shown(&plain, &id).await, Err(ManageErrorKind::NotRecoverable));
        plain.rotate(&ann(), &id, Duration::ZERO).await.unwrap();
        assert_eq!(shown(&keys, &id).await, Err(ManageErrorKind::NotRecoverable));

        keys.rotate(&ann(), &id, Duration::ZERO).await.unwrap();
        assert!(shown(&keys, &id).await.is_ok());
        keys.revoke(&ann(), &id).await.unwrap();
        assert_eq!(shown(&keys, &id).await, Err(ManageErrorKind::NotRecoverable));
    }

    #[tokio::test]
    async fn the_text_of_another_record_does_not_open() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = manager(&store, 1);
        let mut sealed: Vec<SealedSecret> = Vec::new();
        let mut ids = Vec::new();
        for name in ["a", "b"] {
            let record = keys.generate(&ann(), NewKey::new(name)).await.unwrap().into_parts().0;
            sealed.push(record.sealed().unwrap().clone());
            ids.push(record.id().clone());
        }
        let record = keys.get(&ann(), &ids[0]).await.unwrap();
        let version = record.version();
        let swapped = record.with_sealed(Some(sealed[1].clone())).with_version(version + 1);
        assert_eq!(store.replace(swapped, version).await.unwrap(), WriteOutcome::Applied);

        let error = keys.recover(&ann(), &ids[0]).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Unavailable);
        assert!(error.source().unwrap().to_string().contains("belongs elsewhere"));
    }

    #[tokio::test]
    async fn a_sealing_key_is_rotated_without_a_gap() {
        let store = Arc::new(MemoryKeyStore::new());
        let old = manager(&store, 1);
        let issued = old.generate(&ann(), NewKey::new("a")).await.unwrap();
        let (id, text) = (issued.record().id(), issued.secret().expose_secret());

        let alone = manager(&store, 2);
        assert_eq!(shown(&alone, id).await, Err(ManageErrorKind::Unavailable));
        let both = SealingKeys::new([2; 32]).with_previous([1; 32]);
        let both = KeyManager::new(store).with_recoverable(both);
        assert_eq!(shown(&both, id).await.as_deref(), Ok(text));

        let version = issued.record().version() + 1;
        assert_eq!(both.reseal(&ann(), id).await.unwrap().version(), version);
        assert_eq!(shown(&alone, id).await.as_deref(), Ok(text));
        assert_eq!(both.reseal(&ann(), id).await.unwrap().version(), version);
        assert!(alone.verifier().verify(text.as_bytes()).await.is_ok());
    }
}
