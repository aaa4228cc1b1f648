use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{DecodeError, KeyId, KeyRecord, Owner, PageCursor};

type BoxError = Box<dyn Error + Send + Sync>;

/// Where the records of keys are kept.
///
/// A store keeps and finds records. Every rule about them, such as expiry, overlap and who may touch
/// what, is in [`KeyManager`](super::KeyManager) and [`state`](super::state()).
///
/// 1. A call that returned [`Write::Done`] is seen by every call that starts after it.
/// 2. A call that returned [`Write::Conflict`] or an error changed nothing, or, after an error,
///    everything.
/// 3. A fault is an error and never an empty answer: a record that cannot be read is not `None`.
///
/// # Design
///
/// The trait is object-safe, so that an application can choose its store at run time. The price is
/// one boxed future per call, which [`find_ready`](Self::find_ready) saves where it counts.
///
/// # Examples
///
/// A complete store:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, MutexGuard, PoisonError};
///
/// use async_trait::async_trait;
/// use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, Write};
///
/// #[derive(Default)]
/// struct MapStore(Mutex<BTreeMap<KeyId, KeyRecord>>);
///
/// impl MapStore {
///     fn records(&self) -> MutexGuard<'_, BTreeMap<KeyId, KeyRecord>> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner)
///     }
/// }
///
/// #[async_trait]
/// impl KeyStore for MapStore {
///     async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
///         Ok(self.records().get(id).cloned())
///     }
///
///     async fn insert(&self, record: KeyRecord) -> Result<Write, StoreError> {
///         let mut records = self.records();
///         if records.contains_key(record.id()) {
///             return Ok(Write::Conflict);
///         }
///         records.insert(record.id().clone(), record);
///         Ok(Write::Done)
///     }
///
///     async fn replace(&self, record: KeyRecord, expected: u64) -> Result<Write, StoreError> {
///         match self.records().get_mut(record.id()) {
///             Some(stored) if stored.version() == expected => *stored = record,
///             _ => return Ok(Write::Conflict),
///         }
///         Ok(Write::Done)
///     }
///
///     async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<Write, StoreError> {
///         let mut records = self.records();
///         if !ids.iter().all(|id| records.get(id).is_some_and(|record| record.owner() == owner)) {
///             return Ok(Write::Conflict);
///         }
///         records.retain(|id, _| !ids.contains(id));
///         Ok(Write::Done)
///     }
///
///     async fn list(
///         &self,
///         owner: &Owner,
///         after: Option<&PageCursor>,
///         limit: usize,
///     ) -> Result<Vec<KeyRecord>, StoreError> {
///         let records = self.records();
///         let mut found: Vec<_> = records.values().filter(|record| record.owner() == owner).collect();
///         found.sort_by_key(|record| PageCursor::of(record));
///         let later = |record: &&KeyRecord| after.is_none_or(|after| PageCursor::of(record) > *after);
///         Ok(found.into_iter().filter(later).take(limit).cloned().collect())
///     }
/// }
///
/// # use tower_webhook::key::{KeyManager, NewKey};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyManager::new(MapStore::default());
/// let ann = Owner::new("ann")?;
/// let issued = keys.generate(&ann, NewKey::new("laptop")).await?;
/// let verified = keys.verifier().verify(issued.secret().expose_secret().as_bytes()).await?;
/// assert_eq!(verified.owner(), &ann);
/// # keys.rotate(&ann, verified.id(), time::Duration::HOUR).await?;
/// # assert_eq!(keys.list(&ann, None, 10).await?.keys().len(), 1);
/// # keys.delete(&ann, &[verified.id().clone()]).await?;
/// # assert!(keys.get(&ann, verified.id()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The record with this id, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store cannot tell.
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Keeps a new record. [`Write::Conflict`] if its id is taken.
    ///
    /// # Errors
    ///
    /// The store cannot tell whether the record is kept.
    async fn insert(&self, record: KeyRecord) -> Result<Write, StoreError>;

    /// Puts a record in the place of the one with the same id and the version `expected_version`.
    /// [`Write::Conflict`] if there is none.
    ///
    /// Comparing and writing are one step that no other call can come between.
    ///
    /// # Errors
    ///
    /// The store cannot tell which record is kept.
    async fn replace(&self, record: KeyRecord, expected_version: u64) -> Result<Write, StoreError>;

    /// Removes these records. [`Write::Conflict`], and nothing is removed, unless all of them exist
    /// and belong to `owner`.
    ///
    /// # Errors
    ///
    /// The store cannot tell which records are kept.
    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<Write, StoreError>;

    /// At most `limit` records of `owner`, ordered by [`PageCursor::of`], that come after `after`.
    ///
    /// # Errors
    ///
    /// The store cannot tell.
    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// Answers a look-up without waiting, if the store can: calls `visit` once, with the record or
    /// with `None` if there is none, and returns `true`.
    ///
    /// `false` means that the answer takes waiting, and [`find`](Self::find) is asked. The default
    /// returns `false`.
    fn find_ready(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let _ = (id, visit);
        false
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<S: KeyStore + ?Sized> KeyStore for $pointer<S> {
            async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
                (**self).find(id).await
            }

            async fn insert(&self, record: KeyRecord) -> Result<Write, StoreError> {
                (**self).insert(record).await
            }

            async fn replace(
                &self,
                record: KeyRecord,
                expected_version: u64,
            ) -> Result<Write, StoreError> {
                (**self).replace(record, expected_version).await
            }

            async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<Write, StoreError> {
                (**self).remove(owner, ids).await
            }

            async fn list(
                &self,
                owner: &Owner,
                after: Option<&PageCursor>,
                limit: usize,
            ) -> Result<Vec<KeyRecord>, StoreError> {
                (**self).list(owner, after, limit).await
            }

            fn find_ready(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
                (**self).find_ready(id, visit)
            }
        }
    )*};
}

forward!(Arc, Box);

/// What became of a change that a store was asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Write {
    /// The change is made.
    Done,
    /// The records are not as the change expects them. Nothing was changed.
    Conflict,
}

/// A store that cannot answer. The cause is the [`source`](Error::source).
pub struct StoreError(BoxError);

impl StoreError {
    /// Wraps the cause.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreError").field(&self.0).finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key store cannot answer")
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_source() {
        let error = StoreError::new("disk on fire");

        assert_eq!(error.to_string(), "the key store cannot answer");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
    }
}
