use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::{DecodeError, KeyId, KeyRecord, Owner, PageCursor};

use crate::BoxError;

/// A store of key records.
///
/// A store keeps and finds records. The rules about keys, such as expiry, overlap and ownership, are in
/// [`KeyManager`](super::KeyManager) and [`KeyRecord::state_at`].
///
/// # Rules
///
/// `store::conformance` (feature `conformance`) checks a store against these rules and reports the number of the
/// broken one.
///
/// 1. **`Applied` is seen.** A call that returned [`WriteOutcome::Applied`] is visible to every call that
///    starts after it, until another change.
/// 2. **`Conflict` changes nothing.** A call that returned [`WriteOutcome::Conflict`] changed nothing. One
///    that returned an error changed nothing or everything.
/// 3. **A fault is an error.** It is never an empty answer or a conflict: an unreadable record is not
///    `None`. No call panics or waits without end.
/// 4. **`find` answers by id.** With the record of exactly this id, compared byte for byte, or with `None`.
///    Every [`KeyId`] is possible.
/// 5. **Records round-trip.** Every call returns every field of a record unchanged, for every value of its
///    type: texts byte for byte, times to the nanosecond from the year 0 to the year 9999, versions up to
///    `i64::MAX`. A store keeps a higher version too, or returns an error.
///    [`Scopes::ALL`](super::Scopes::ALL) differs from the empty set, and no metadata differs from the
///    metadata `null`.
/// 6. **`insert` never overwrites.** It keeps a record whose id is free. A record of any owner with the same
///    id is a conflict. The id of a removed record is free.
/// 7. **`replace` is compare-and-set.** It replaces, as a whole, the record with the same id and exactly the
///    expected version. Without one it is in conflict. The store does not count: the new record has the new
///    version. Versions rise; for one that does not, a store keeps the record or returns an error. Owner and
///    time of creation can change.
/// 8. **`remove` is all or nothing.** It removes every record or, in conflict, none. A repeated id counts
///    once. An empty list is [`WriteOutcome::Applied`].
/// 9. **`remove` checks the owner.** It is in conflict if one of the records belongs to another owner. Owners
///    are compared byte for byte.
/// 10. **`list` has the keys of one owner.** All of them, and no others.
/// 11. **`list` is ordered.** By [`PageCursor::of`]: by time of creation, to the nanosecond, then by the
///     bytes of the id.
/// 12. **`list` continues after the cursor.** This is keyset pagination: a cursor is a position in the order.
///     Its record can be gone, or belong to another owner.
/// 13. **`list` keeps to the limit.** It returns as many records as the limit allows, fewer only if there
///     are no more. 0 and `usize::MAX` are limits.
/// 14. **Pages are stable.** A reader that follows the cursors during concurrent changes sees each record
///     that exists all the time exactly once.
/// 15. **A change is atomic.** No other call runs between its comparison and its write, or sees a
///     half-written record. Of many calls that insert one id, replace one version or remove one record,
///     one is applied.
/// 16. **`try_find_now` agrees with `find`.** It visits once and returns `true`, or does not visit and
///     returns `false`. Its answer is as fresh as rule 1 requires.
/// 17. **A dropped call is atomic.** It is applied or not, immediately or a little later. The store keeps
///     working, and no other call gets the answer to a dropped one.
/// 18. **`Applied` is durable.** A change is there after the storage is opened again. A store in memory is
///     exempt.
/// 19. **`replace` ignores earlier records of an id.** After a record was removed and another one inserted
///     under its id, `replace` compares with the version of the present record, which can be lower. A version
///     of the earlier record is a conflict. Since a store compares only versions, the code that creates
///     records starts each at a version that no earlier record of the id had.
///     [`KeyManager`](super::KeyManager) draws one at random, below 2^62.
///
/// # Design
///
/// The trait is object-safe, so that an application can choose its store at run time. That costs one boxed
/// future per call, which [`try_find_now`](Self::try_find_now) avoids for verifications.
///
/// # Examples
///
/// A complete store, and the line that tests it:
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
    /// The store is unavailable.
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Inserts a new record. [`WriteOutcome::Conflict`] if its id is taken (rules 6 and 15).
    ///
    /// # Errors
    ///
    /// It is unknown whether the record is stored.
    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError>;

    /// Compare-and-set: replaces the record with the same id and the version `expected_version`.
    /// [`WriteOutcome::Conflict`] if there is none (rules 7 and 15).
    ///
    /// # Errors
    ///
    /// It is unknown which record is stored.
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
    /// It is unknown which records are stored.
    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError>;

    /// Keyset pagination: at most `limit` records of `owner` after the position `after`, ordered by
    /// [`PageCursor::of`] (rules 10 to 14).
    ///
    /// # Errors
    ///
    /// The store is unavailable.
    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// Finds a record without waiting, as `try_lock` locks: calls `visit` once, with the record or
    /// `None`, and returns `true` (rule 16).
    ///
    /// After `false`, which is the default, the caller uses [`find`](Self::find).
    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let _ = (id, visit);
        false
    }
}

/// The return type of an `async_trait` method.
type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'f>>;

/// Written by hand, since `async_trait` would box the future of the store again.
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

/// The outcome of a write to a [`KeyStore`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum WriteOutcome {
    /// The change was made.
    Applied,
    /// The stored records do not meet the condition of the change. Nothing was changed.
    Conflict,
}

/// An unavailable store. The cause is the [`source`](Error::source).
pub struct StoreError(BoxError);

impl StoreError {
    /// Wraps the cause.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }

    /// The cause.
    #[cfg(any(
        feature = "queue-postgres",
        feature = "queue-sqlite",
        feature = "redis",
        all(feature = "postgres", feature = "signature")
    ))]
    pub(crate) fn into_cause(self) -> BoxError {
        self.0
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
