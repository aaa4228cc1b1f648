//! The check of peppers: a record in the store says which one belongs to a name.

use std::sync::atomic::Ordering;

use super::{KeyManager, ManageError, ManageErrorKind, first_version};
use crate::key::{
    KeyId, KeyRecord, Owner, ParsedKey, Pepper, StoreError, WriteOutcome, random_base62,
};

/// The owner of the records that name peppers.
const OWNER: &str = "tower-webhook";

impl KeyManager {
    /// Checks that the store answers, and that it has no other pepper under the name of a configured one: for the start
    /// of a server and for its readiness probe.
    ///
    /// The first key that is made under a [`Pepper`] leaves a record with the fingerprint of the pepper in the store:
    /// the id is `pepper:` and the name of the pepper, the owner is `tower-webhook`. It is revoked and opens nothing.
    /// Where it is missing, nothing is compared. The check changes nothing.
    ///
    /// # Errors
    ///
    /// `WrongPepper`, whose source names the pepper; `Unavailable`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyHasher, KeyManager, ManageErrorKind, NewKey, Owner, Pepper};
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (good, stale) = ([7; 31].as_slice(), [8; 31].as_slice());
    /// # let (good, stale) = ([good, b"1"].concat(), [stale, b"1"].concat());
    /// let store = std::sync::Arc::new(MemoryKeyStore::new());
    /// let keys = |bytes: Vec<u8>| {
    ///     let hasher = KeyHasher::peppered(Pepper::new("2026", bytes)?);
    ///     Ok::<_, tower_webhook::ConfigError>(KeyManager::new(store.clone()).with_hasher(hasher))
    /// };
    ///
    /// let here = keys(good)?;
    /// here.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?;
    /// here.check().await?;
    ///
    /// let elsewhere = keys(stale)?;
    /// let error = elsewhere.check().await.map_err(|error| error.kind());
    /// assert_eq!(error, Err(ManageErrorKind::WrongPepper));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<(), ManageError> {
        let mut peppers = self.parts().hasher.peppers().peekable();
        if peppers.peek().is_none() {
            // Any id shows whether the store answers.
            self.parts().store.find(&id_of("none")).await?;
        }
        for pepper in peppers {
            self.kept(pepper).await?;
        }
        Ok(())
    }

    /// Keeps the pepper of new digests in the store, or checks it there, once.
    pub(super) async fn keep_pepper(&self) -> Result<(), ManageError> {
        let Some(pepper) = self.parts().hasher.current_pepper() else { return Ok(()) };
        if self.pepper_is_kept.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.kept(pepper).await? {
            let record = self.record_of(pepper)?;
            // In conflict, another server was first.
            let is_kept = match self.parts().store.insert(record).await? {
                WriteOutcome::Applied => true,
                WriteOutcome::Conflict => self.kept(pepper).await?,
            };
            if !is_kept {
                return Err(ManageError::new(ManageErrorKind::Conflict));
            }
        }
        self.pepper_is_kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the store has a record for the name of this pepper.
    ///
    /// # Errors
    ///
    /// Returns an error if it is one of another pepper.
    async fn kept(&self, pepper: &Pepper) -> Result<bool, ManageError> {
        let id = id_of(pepper.name());
        let Some(record) = self.parts().store.find(&id).await? else { return Ok(false) };
        if *record.id() != id {
            return Err(StoreError::new("the key store answered with another record").into());
        }
        self.parts().hasher.knows_pepper(record.digest())?;
        Ok(true)
    }

    /// A revoked record whose key was thrown away.
    fn record_of(&self, pepper: &Pepper) -> Result<KeyRecord, ManageError> {
        let now = self.parts().clock.now();
        let secret = random_base62(43)?;
        let id = id_of(pepper.name());
        let digest =
            self.parts().hasher.digest(&ParsedKey::new(id.clone(), secret.expose_secret()));
        let owner = Owner::new(OWNER).map_err(StoreError::new)?;
        let record = KeyRecord::new(id, owner, "fingerprint of a pepper", digest, now)?;
        Ok(record.with_revoked_at(Some(now)).with_version(first_version()?))
    }
}

fn id_of(name: &str) -> KeyId {
    KeyId::from_checked(&format!("pepper:{name}"))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Arc;

    use super::*;
    use crate::credential::Secret;
    use crate::key::{
        KeyFormat, KeyHasher, KeyStore, NewKey, OpaqueFormat, PrefixedFormat, TokenFormat,
        VerifyErrorKind,
    };
    use crate::store::MemoryKeyStore;

    fn hasher(name: &str, last: u8) -> KeyHasher {
        let mut bytes = *b"0123456789abcdef0123456789abcdef";
        bytes[31] = last;
        KeyHasher::peppered(Pepper::new(name, bytes).unwrap())
    }

    fn ann() -> Owner {
        Owner::new("ann").unwrap()
    }

    fn kind<T>(result: Result<T, ManageError>) -> Option<ManageErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[tokio::test]
    async fn another_pepper_of_the_same_name_is_a_fault() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = |hasher| KeyManager::new(Arc::clone(&store)).with_hasher(hasher);
        let (good, bad) = (keys(hasher("p", b'1')), keys(hasher("p", b'2')));
        good.check().await.unwrap();
        bad.check().await.unwrap();
        let issued = good.generate(&ann(), NewKey::new("n")).await.unwrap();
        let (text, id) = (issued.secret().expose_secret(), issued.record().id());

        good.check().await.unwrap();
        let error = bad.check().await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::WrongPepper);
        assert!(error.source().unwrap().to_string().contains("`p`"));
        let renewed = bad.rotate(&ann(), id, time::Duration::ZERO).await;
        assert_eq!(kind(renewed), Some(ManageErrorKind::WrongPepper));
        let new = bad.generate(&ann(), NewKey::new("n")).await;
        assert_eq!(kind(new), Some(ManageErrorKind::WrongPepper));
        let error = bad.verifier().verify(text.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
        assert!(error.source().unwrap().to_string().contains("`p`"), "{error:?}");
        assert!(good.verifier().verify(text.as_bytes()).await.is_ok());

        // As a previous pepper too.
        let previous = |last| {
            let mut bytes = *b"0123456789abcdef0123456789abcdef";
            bytes[31] = last;
            hasher("q", b'3').with_previous_pepper(Pepper::new("p", bytes).unwrap()).unwrap()
        };
        keys(previous(b'1')).check().await.unwrap();
        let error = keys(previous(b'2')).check().await;
        assert_eq!(kind(error), Some(ManageErrorKind::WrongPepper));
        keys(previous(b'1')).generate(&ann(), NewKey::new("n")).await.unwrap();
        assert_eq!(kind(keys(hasher("q", b'4')).check().await), Some(ManageErrorKind::WrongPepper));
    }

    #[tokio::test]
    async fn the_record_of_a_pepper_is_made_once_and_opens_nothing() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = KeyManager::new(Arc::clone(&store)).with_hasher(hasher("p", b'1'));
        for _ in 0..3 {
            keys.generate(&ann(), NewKey::new("n")).await.unwrap();
        }
        keys.clone().with_format(TokenFormat).check().await.unwrap();
        let record = store.find(&id_of("p")).await.unwrap().unwrap();
        assert!(record.revoked());
        assert_eq!(record.owner().as_str(), OWNER);
        assert_eq!(keys.list(&ann(), None, 10).await.unwrap().keys().len(), 3);
        let without = KeyManager::new(Arc::clone(&store));
        without.check().await.unwrap();
        without.generate(&ann(), NewKey::new("n")).await.unwrap();
        assert_eq!(keys.list(record.owner(), None, 10).await.unwrap().keys().len(), 1);
    }

    #[tokio::test]
    async fn a_text_with_a_line_end_is_not_imported() {
        async fn check(format: impl KeyFormat + Clone, text: &str) {
            let keys = KeyManager::new(MemoryKeyStore::new()).with_format(format.clone());
            let id = format.parse(text).map_or(KeyId::new("hook").unwrap(), |key| key.into_id());
            let new = || NewKey::new("n").with_id(id.clone());
            for blank in ["\n", "\r\n", " ", "\t", "\r"] {
                for text in [format!("{text}{blank}"), format!("{blank}{text}")] {
                    let error = keys.import(&ann(), Secret::new(text), new()).await.unwrap_err();
                    assert_eq!(error.kind(), ManageErrorKind::Invalid);
                    assert!(error.to_string().contains("white space"), "{error}");
                }
            }
            keys.import(&ann(), Secret::new(text), new()).await.unwrap();
        }

        check(TokenFormat, "two words").await;
        check(OpaqueFormat::new(), "opensesame").await;
        let keys = KeyManager::new(MemoryKeyStore::new());
        let issued = keys.generate(&ann(), NewKey::new("n")).await.unwrap();
        check(PrefixedFormat::default(), issued.secret().expose_secret()).await;
    }
}
