use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use self::error::{ManageError, ManageErrorKind};
#[cfg(feature = "recoverable")]
use super::SealingKeys;
use super::format::system_random;
use super::verifier::Parts;
use super::{
    GenerateError, IssuedKey, KeyDigest, KeyDraft, KeyFormat, KeyHasher, KeyId, KeyRecord,
    KeyStore, KeyVerifier, NewKey, Owner, Page, PageCursor, SealedSecret, StoreError, WriteOutcome,
};
use crate::Clock;
use crate::key::secret::Secret;

/// Generates, lists, changes and revokes keys.
///
/// For a first key, call [`generate`](Self::generate) once from a setup program or a shell on the same store,
/// and give the printed text to its owner: no key is built in.
///
/// 1. Every call but [`find`](Self::find) names the owner. The id of another owner's key is
///    [`NotFound`](ManageErrorKind::NotFound), like an id that does not exist.
/// 2. The text of a key is returned once, by [`generate`](Self::generate) and [`rotate`](Self::rotate). The
///    store has a digest.
/// 3. Every change is a compare-and-set with retries, so that no concurrent change is lost. A new record
///    starts at a random version, so that a change of a deleted key cannot hit a later key with the same id.
/// 4. Revocation is final. A revoked key can only be read and deleted.
/// 5. There are no timeouts here. They belong to the store or the caller.
///
/// Clones share everything.
///
/// # Examples
///
/// ```
/// use time::Duration;
/// use tower_webhook::key::{KeyManager, NewKey, Owner, Scopes};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let ann = Owner::new("ann")?;
/// let new = NewKey::new("deploy bot")
///     .with_scopes(Scopes::parse(["deploy"])?)
///     .with_expires_in(Duration::days(60));
///
/// let issued = keys.generate(&ann, new).await?;
/// let id = issued.record().id().clone();
/// println!("shown once: {}", issued.secret().expose_secret());
///
/// keys.extend(&ann, &id, Duration::days(30)).await?;
/// let renewed = keys.rotate(&ann, &id, Duration::HOUR).await?;
/// let verified = keys.verifier().verify(renewed.secret().expose_secret().as_bytes()).await?;
/// assert_eq!(verified.id(), &id);
///
/// keys.revoke(&ann, &id).await?;
/// assert!(keys.verifier().verify(renewed.secret().expose_secret().as_bytes()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyManager {
    verifier: KeyVerifier,
    /// Whether the store is known to have the pepper of new digests.
    pepper_is_kept: Arc<AtomicBool>,
    #[cfg(feature = "recoverable")]
    sealing: Option<Arc<SealingKeys>>,
}

/// The maximum number of attempts of a compare-and-set. Each failure means that another change was applied, so
/// this many concurrent changes all succeed.
const MAX_ATTEMPTS: usize = 256;

/// The maximum number of random ids that are tried if one is taken.
const MAX_DRAWS: usize = 8;

impl KeyManager {
    /// The maximum number of keys on one page of [`list`](Self::list).
    pub const MAX_PAGE_LEN: usize = 1000;

    /// A manager of keys in the [default format](super::PrefixedFormat), with digests by
    /// [SHA-256](KeyHasher::sha256), on the [system's clock](Clock::system).
    #[must_use]
    pub fn new(store: impl KeyStore) -> Self {
        Self {
            verifier: KeyVerifier::new(store),
            pepper_is_kept: Arc::default(),
            #[cfg(feature = "recoverable")]
            sealing: None,
        }
    }

    /// Sets the format of the texts of keys.
    #[must_use]
    pub fn with_format(mut self, format: impl KeyFormat) -> Self {
        self.verifier = self.verifier.with_format(format);
        self
    }

    /// Sets the hasher of digests.
    #[must_use]
    pub fn with_hasher(mut self, hasher: KeyHasher) -> Self {
        self.verifier = self.verifier.with_hasher(hasher);
        self.pepper_is_kept = Arc::default();
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.verifier = self.verifier.with_clock(clock);
        self
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.parts().clock
    }

    /// A verifier of these keys, with the same store, format, hasher and clock. All verifiers of one manager
    /// count as clones of each other.
    #[must_use]
    pub fn verifier(&self) -> KeyVerifier {
        self.verifier.clone()
    }

    /// Generates a key and stores its record. The result has the text, which cannot be read again.
    ///
    /// # Errors
    ///
    /// `Invalid`, `Random`, `WrongPepper`, `Unavailable`; `Conflict` if the [explicit](NewKey::with_id) id, or one random
    /// id after the other, is taken. No record is overwritten.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyManager, NewKey, Owner};
    /// # use tower_webhook::store::MemoryKeyStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryKeyStore::new();
    /// let keys = KeyManager::new(store);
    /// let admin = NewKey::new("first key").with_all_scopes();
    /// let issued = keys.generate(&Owner::new("admin")?, admin).await?;
    /// println!("{}", issued.secret().expose_secret());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn generate(&self, owner: &Owner, new: NewKey) -> Result<IssuedKey, ManageError> {
        let now = self.parts().clock.now();
        if new.expires.is_some_and(|expiry| expiry.is_over(now)) {
            return Err(ManageError::invalid("the expiry of a new key is in the future"));
        }
        self.keep_pepper().await?;
        let draws = if new.id.is_some() { 1 } else { MAX_DRAWS };
        for _ in 0..draws {
            let mut draft = KeyDraft::new(owner, now);
            if let Some(id) = &new.id {
                draft = draft.with_id(id);
            }
            let (id, digest, secret) = self.draw(&draft)?;
            let sealed = self.seal(&secret, &id, owner)?;
            if new.id.as_ref().is_some_and(|asked| *asked != id) {
                return Err(ManageError::invalid("the format of the keys cannot keep this id"));
            }
            let record = new.record(owner, id, digest, now)?;
            let record = record.with_version(first_version()?).with_sealed(sealed);
            if self.parts().store.insert(record.clone()).await? == WriteOutcome::Applied {
                return Ok(IssuedKey::new(record, secret));
            }
        }
        Err(ManageError::new(ManageErrorKind::Conflict))
    }

    /// The record of a key.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    pub async fn get(&self, owner: &Owner, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.find(id).await?;
        if record.owner() != owner {
            return Err(ManageError::new(ManageErrorKind::NotFound));
        }
        Ok(record)
    }

    /// The record of a key of any owner, for operators.
    ///
    /// A key that was found in a log or a public repository names its id and not its owner. To visit all keys, see
    /// [`KeyScan`](crate::store::KeyScan).
    ///
    /// # Security
    ///
    /// Let no caller choose the id: the answer shows whether a key exists, and the keys of others.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyId, KeyManager};
    /// # use tower_webhook::key::{NewKey, Owner};
    /// # use tower_webhook::store::MemoryKeyStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = KeyManager::new(MemoryKeyStore::new());
    /// # let id = KeyId::new("0123456789ABCDEF")?;
    /// # keys.generate(&Owner::new("ann")?, NewKey::new("laptop").with_id(id.clone())).await?;
    /// let leaked = keys.find(&id).await?;
    /// keys.revoke(leaked.owner(), &id).await?;
    /// # assert!(keys.find(&id).await?.revoked_at().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn find(&self, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.parts().store.find(id).await?;
        let record = record.ok_or(ManageError::new(ManageErrorKind::NotFound))?;
        if record.id() != id {
            return Err(StoreError::new("the key store answered with another record").into());
        }
        Ok(record)
    }

    /// A page of the keys of an owner, oldest first, including expired and revoked ones (keyset pagination).
    ///
    /// At most `limit` keys, and at most [`MAX_PAGE_LEN`](Self::MAX_PAGE_LEN).
    ///
    /// # Errors
    ///
    /// `Invalid` if `limit` is 0; `Unavailable`.
    pub async fn list(
        &self,
        owner: &Owner,
        after: Option<PageCursor>,
        limit: usize,
    ) -> Result<Page, ManageError> {
        if limit == 0 {
            return Err(ManageError::invalid("the limit of a page is at least 1"));
        }
        let limit = limit.min(Self::MAX_PAGE_LEN);
        // One more than requested shows whether there is another page.
        let mut keys = self.parts().store.list(owner, after.as_ref(), limit + 1).await?;
        if keys.iter().any(|record| record.owner() != owner) {
            return Err(StoreError::new("the key store listed keys of another owner").into());
        }
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).map(PageCursor::of);
        Ok(Page::new(keys, next))
    }

    /// Deletes keys: all of them, or none if one is not found. A repeated id counts once.
    ///
    /// # Errors
    ///
    /// `Invalid` if there are no ids; `NotFound`, `Unavailable`.
    pub async fn delete(&self, owner: &Owner, ids: &[KeyId]) -> Result<(), ManageError> {
        let ids: Vec<KeyId> = BTreeSet::from_iter(ids.iter().cloned()).into_iter().collect();
        if ids.is_empty() {
            return Err(ManageError::invalid("the list of ids is empty"));
        }
        match self.parts().store.remove(owner, &ids).await? {
            WriteOutcome::Applied => Ok(()),
            WriteOutcome::Conflict => Err(ManageError::new(ManageErrorKind::NotFound)),
        }
    }

    fn parts(&self) -> &Parts {
        self.verifier.parts()
    }

    /// A new text, with its id and digest. The text is parsed as it will be when it is presented.
    fn draw(&self, draft: &KeyDraft<'_>) -> Result<(KeyId, KeyDigest, Secret), ManageError> {
        let secret = self.parts().format.generate(draft)?;
        let text = secret.expose_secret();
        // A format that cannot keep ids parses its text without one.
        let kept = draft.id().and_then(|id| self.parts().format.parse_for(id, text));
        let parsed = kept.or_else(|| self.parts().format.parse(text));
        let fits = text.len() <= super::verifier::MAX_KEY_LEN && !secret.has_outer_blanks();
        let parsed = parsed.filter(|_| fits);
        let parsed = parsed.ok_or_else(|| {
            GenerateError::new("the format cannot parse the key that it generated")
        })?;
        let digest = self.parts().hasher.digest(&parsed);
        let id = parsed.into_id();
        Ok((id, digest, secret))
    }

    /// The sealed text for the record, if keys are recoverable.
    fn seal(
        &self,
        secret: &Secret,
        id: &KeyId,
        owner: &Owner,
    ) -> Result<Option<SealedSecret>, GenerateError> {
        #[cfg(feature = "recoverable")]
        if let Some(sealing) = &self.sealing {
            return sealing.seal(secret, &recovery::context(id, owner)).map(Some);
        }
        let _ = (secret, id, owner);
        Ok(None)
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManager")
            .field("hasher", &self.parts().hasher)
            .field("clock", &self.parts().clock)
            .finish_non_exhaustive()
    }
}

impl From<&KeyManager> for KeyVerifier {
    fn from(keys: &KeyManager) -> Self {
        keys.verifier()
    }
}

impl From<KeyManager> for KeyVerifier {
    fn from(keys: KeyManager) -> Self {
        keys.verifier()
    }
}

/// A random first version, so that no record has a version of an earlier one with the same id. Below 2^62, it
/// cannot overflow.
fn first_version() -> Result<u64, GenerateError> {
    let mut bytes = [0; size_of::<u64>()];
    system_random(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes) >> 2)
}

mod change;
mod check;
mod error;
mod import;
#[cfg(feature = "recoverable")]
mod recovery;
mod rotation;

#[cfg(test)]
mod tests;
