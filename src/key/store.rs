use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::{DecodeError, KeyId, KeyRecord, Owner, PageCursor};

use crate::BoxError;

/// Where the records of keys are kept.
///
/// A store keeps and finds records. Every rule about them, such as expiry, overlap and who may touch
/// what, is in [`KeyManager`](super::KeyManager) and [`KeyRecord::state_at`].
///
/// # Rules
///
/// `store::conformance` (feature `conformance`) checks a store against these rules and names the number of the
/// one that is broken.
///
/// 1. **`Applied` is seen.** A call that returned [`WriteOutcome::Applied`] is seen by every call that starts after
///    it, until another change.
/// 2. **`Conflict` changes nothing.** A call that returned [`WriteOutcome::Conflict`] changed nothing. One
///    that returned an error changed nothing or everything.
/// 3. **A fault is an error.** It is never an empty answer or a conflict: a record that cannot be read
///    is not `None`. No call panics, and none waits for ever.
/// 4. **`find` answers by id.** With the record of exactly this id, byte for byte, or with `None`.
///    Every [`KeyId`] can be one.
/// 5. **Records come back as they were given.** In every part, from every call, for every value that
///    the types of the parts allow: texts byte for byte, times to the nanosecond from the year 0 to
///    the year 9999, versions up to `i64::MAX`. A store keeps a higher version too, or returns an
///    error. [`Scopes::ALL`](super::Scopes::ALL) and the empty set stay apart, and so do no metadata
///    and the metadata `null`.
/// 6. **`insert` never overwrites.** It keeps a record whose id is free and is in conflict otherwise,
///    whoever the record with that id belongs to. The id of a removed record is free.
/// 7. **`replace` compares versions.** It puts the record, whole, in the place of the one that has the
///    same id and exactly the expected version, and is in conflict if there is none. The store does
///    not count: the new version is that of the new record. Versions rise; a store keeps a record whose
///    version does not, or returns an error. Owner and time of creation may change.
/// 8. **`remove` is all or nothing.** It removes every record or, in conflict, none. An id that occurs
///    twice counts once. No ids at all are [`WriteOutcome::Applied`].
/// 9. **`remove` asks for the owner.** It is in conflict if one of the records belongs to somebody
///    else. Owners are compared byte for byte.
/// 10. **`list` shows the keys of one owner.** All of them, and nobody else's.
/// 11. **`list` is in order.** In that of [`PageCursor::of`]: by time of creation, to the nanosecond,
///     and then by the bytes of the id.
/// 12. **`list` goes on after the cursor.** With what comes later in that order. A cursor is a place in
///     the order; the record that it was made of need not be there, nor be one of this owner.
/// 13. **`list` keeps to the limit.** It returns as many records as the limit says, fewer only if there
///     are no more. 0 and `usize::MAX` are limits.
/// 14. **Pages are stable.** Whoever follows the cursors while records come, change and go sees each
///     record that was there all along once.
/// 15. **A change is one step.** No other call comes between what a call compares and what it writes,
///     and none sees a half-written record. Of many calls that insert one id, replace one version or
///     remove one record, one is done.
/// 16. **`try_find_now` agrees with `find`.** It visits once and returns `true`, or does not visit and
///     returns `false`. What it shows is as fresh as rule 1 says.
/// 17. **A dropped call happens whole or not at all.** At once or a little later. Afterwards the store
///     works as before, and no answer to a dropped call reaches another one.
/// 18. **`Applied` outlives the store.** If it is there to be kept: what was done is there when the place
///     is opened again. A store in memory is exempt.
/// 19. **`replace` knows no earlier record of an id.** After a record was removed and another one inserted
///     under its id, `replace` compares with the version of the record that is there, which may be below
///     those of the earlier one. With a version that only the earlier one had it is in conflict. A store
///     compares versions and nothing else, so the rest is up to the code that makes records: it starts
///     each at a version that no earlier record of the id had.
///     [`KeyManager`](super::KeyManager) draws one at random, below 2^62.
///
/// # Design
///
/// The trait is object-safe, so that an application can choose its store at run time. The price is
/// one boxed future per call, which [`try_find_now`](Self::try_find_now) saves where it counts.
///
/// # Examples
///
/// A complete store, and the line that proves it:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, MutexGuard, PoisonError};
///
/// use async_trait::async_trait;
/// use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
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
///     async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
///         let mut records = self.records();
///         if records.contains_key(record.id()) {
///             return Ok(WriteOutcome::Conflict);
///         }
///         records.insert(record.id().clone(), record);
///         Ok(WriteOutcome::Applied)
///     }
///
///     async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
///         match self.records().get_mut(record.id()) {
///             Some(stored) if stored.version() == expected => *stored = record,
///             _ => return Ok(WriteOutcome::Conflict),
///         }
///         Ok(WriteOutcome::Applied)
///     }
///
///     async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
///         let mut records = self.records();
///         if !ids.iter().all(|id| records.get(id).is_some_and(|record| record.owner() == owner)) {
///             return Ok(WriteOutcome::Conflict);
///         }
///         records.retain(|id, _| !ids.contains(id));
///         Ok(WriteOutcome::Applied)
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
/// # use tower_webhook::key::{self, KeyManager, NewKey};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "conformance")]
/// tower_webhook::store::conformance::check(async || MapStore::default()).await;
///
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
    /// The record with this id, or `None` if there is none (rules 3 to 5).
    ///
    /// # Errors
    ///
    /// The store cannot tell.
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Keeps a new record. [`WriteOutcome::Conflict`] if its id is taken (rules 6 and 15).
    ///
    /// # Errors
    ///
    /// The store cannot tell whether the record is kept.
    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError>;

    /// Puts a record in the place of the one with the same id and the version `expected_version`.
    /// [`WriteOutcome::Conflict`] if there is none (rule 7).
    ///
    /// Comparing and writing are one step that no other call can come between (rule 15).
    ///
    /// # Errors
    ///
    /// The store cannot tell which record is kept.
    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError>;

    /// Removes these records. [`WriteOutcome::Conflict`], and nothing is removed, unless all of them exist
    /// and belong to `owner` (rules 8, 9 and 15).
    ///
    /// # Errors
    ///
    /// The store cannot tell which records are kept.
    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError>;

    /// At most `limit` records of `owner`, ordered by [`PageCursor::of`], that come after `after`
    /// (rules 10 to 14).
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
    /// returns `false` (rule 16).
    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let _ = (id, visit);
        false
    }
}

/// What `async_trait` makes of an answer.
type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'f>>;

/// A pointer hands the store's own future on. By `async_trait` it would put it into a box of its own.
macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<S: KeyStore + ?Sized> KeyStore for $pointer<S> {
            fn find<'s, 'i, 'f>(&'s self, id: &'i KeyId) -> Answer<'f, Option<KeyRecord>>
            where
                's: 'f,
                'i: 'f,
                Self: 'f,
            {
                (**self).find(id)
            }

            fn insert<'s, 'f>(&'s self, record: KeyRecord) -> Answer<'f, WriteOutcome>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).insert(record)
            }

            fn replace<'s, 'f>(
                &'s self,
                record: KeyRecord,
                expected_version: u64,
            ) -> Answer<'f, WriteOutcome>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).replace(record, expected_version)
            }

            fn remove<'s, 'o, 'i, 'f>(
                &'s self,
                owner: &'o Owner,
                ids: &'i [KeyId],
            ) -> Answer<'f, WriteOutcome>
            where
                's: 'f,
                'o: 'f,
                'i: 'f,
                Self: 'f,
            {
                (**self).remove(owner, ids)
            }

            fn list<'s, 'o, 'a, 'f>(
                &'s self,
                owner: &'o Owner,
                after: Option<&'a PageCursor>,
                limit: usize,
            ) -> Answer<'f, Vec<KeyRecord>>
            where
                's: 'f,
                'o: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).list(owner, after, limit)
            }

            fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
                (**self).try_find_now(id, visit)
            }
        }
    )*};
}

forward!(Arc, Box);

/// What became of a change that a store was asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum WriteOutcome {
    /// The change is made.
    Applied,
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
