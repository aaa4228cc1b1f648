use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::inner::Inner;
use super::InvalidationStream;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use crate::{Clock, ConfigError};

mod channel;
mod entry;
mod follow;
mod generations;
mod inner;
mod lookups;
mod stats;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use self::channel::{InvalidationChannel, InvalidationReceiver};
pub use self::stats::CacheStats;

/// What `generations` counts with.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// A bounded cache of records in front of a slow store.
///
/// It keeps records and never decisions: the verifier checks each request against a record and the time.
///
/// 1. A change through this store is seen by every look-up that starts after the change has returned, also by a
///    change that failed or whose outcome is unknown. A change runs in a task of its own: it goes on when its
///    caller leaves, and is seen when it has ended.
/// 2. A record is answered from the cache for a limited time after the store was asked for it: 5 seconds,
///    [at most 60](Self::with_ttl). The limit holds for changes that are made elsewhere, with or without
///    messages about them. Both the monotonic clock and the injected one have to agree that the time is not
///    over.
/// 3. A record is not answered from the cache beyond its next deadline: its expiry, its start, the end of its
///    overlap.
/// 4. An outage of the store extends none of these times.
/// 5. "There is none" is kept apart from the records, [for one second](Self::with_negative_ttl): unknown ids
///    evict no record.
/// 6. Errors are not kept.
/// 7. Single flight: callers who ask for one id at the same time cause one load, and all get its answer. The
///    load is a task of its own and goes on until its last caller has left; then the future of the store is
///    dropped. A panic of the store, a missed [deadline](Self::with_lookup_deadline) and a runtime that ends
///    are errors for those who wait.
/// 8. Memory is bounded: by [the number of records](Self::with_max_entries),
///    [their bytes](Self::with_max_bytes), [the number of unknown ids](Self::with_max_negative_entries) and
///    [the number of loads under way](Self::with_max_lookups), beyond which there is one load in the queue for
///    each id that a caller waits for; 1024 changes are under way at most.
/// 9. An answer to a load that began before a change of the same id is not kept, and is not given to a caller
///    who asks after the change.
/// 10. A record of an older version than one that came within twice the time to live is an error: the store has
///     gone back in time. Versions are compared only if both records were made at the same time; otherwise the
///     one that was made later is another key under the same id, and the newer one. A change through this store
///     resets the comparison, and so does an eviction.
/// 11. A cache that [follows](Self::follow) a subscription forgets what changes elsewhere as soon as the message
///     comes, and everything when messages may be missing.
/// 12. [`find`](KeyStore::find) asks the store, and only [`try_find_now`](KeyStore::try_find_now) reads the cache.
///     So verification is fast, and no change of a key is decided on a record from the cache.
/// 13. An answer from the cache copies no record, allocates nothing and waits for no load.
///
/// When the cache is full, records that were not read lately are evicted first. The bounds are divided over up
/// to 16 parts of the map: a record that is larger than such a part is not kept.
///
/// Clones share everything. A setting gives a cache of its own, which is empty.
///
/// Calls need a tokio runtime with its timer. Without a runtime they are errors.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::key::{KeyManager, NewKey, Owner};
/// use tower_webhook::store::{CachedKeyStore, MemoryKeyStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = MemoryKeyStore::new();
/// let store = CachedKeyStore::new(database).with_ttl(Duration::from_secs(2))?;
/// let keys = KeyManager::new(store.clone());
/// let ann = Owner::new("ann")?;
/// let issued = keys.generate(&ann, NewKey::new("laptop")).await?;
///
/// let verifier = keys.verifier();
/// for _ in 0..10 {
///     verifier.verify(issued.secret().expose_secret().as_bytes()).await?;
/// }
/// assert_eq!((store.stats().hits, store.stats().loads), (9, 1));
///
/// keys.revoke(&ann, issued.record().id()).await?;
/// assert!(verifier.verify(issued.secret().expose_secret().as_bytes()).await.is_err());
/// # Ok(())
/// # }
/// ```
pub struct CachedKeyStore<S>(Arc<Inner<S>>);

#[derive(Clone)]
struct Settings {
    ttl: Duration,
    negative_ttl: Duration,
    max_entries: usize,
    max_bytes: usize,
    max_negative_entries: usize,
    max_lookups: usize,
    lookup_deadline: Duration,
    clock: Clock,
    channel: Option<InvalidationChannel>,
}

impl<S: KeyStore> CachedKeyStore<S> {
    /// The longest time for which an answer can be kept.
    pub const MAX_TTL: Duration = inner::MAX_TTL;

    /// A cache of 10,000 records and 16 MiB, and of 10,000 unknown ids, on the
    /// [system's clock](Clock::system).
    #[must_use]
    pub fn new(store: S) -> Self {
        let settings = Settings {
            ttl: Duration::from_secs(5),
            negative_ttl: Duration::from_secs(1),
            max_entries: 10_000,
            max_bytes: 16 * 1024 * 1024,
            max_negative_entries: 10_000,
            max_lookups: 1024,
            lookup_deadline: Duration::from_secs(2),
            clock: Clock::system(),
            channel: None,
        };
        Self(Inner::new(Arc::new(store), settings))
    }

    /// Sets how long a record is answered from the cache. The default is 5 seconds.
    ///
    /// # Errors
    ///
    /// Refuses zero and more than [`MAX_TTL`](Self::MAX_TTL).
    ///
    /// # Security
    ///
    /// A key that is revoked by another process opens for as long as this.
    pub fn with_ttl(self, ttl: Duration) -> Result<Self, ConfigError> {
        if ttl.is_zero() || ttl > Self::MAX_TTL {
            return Err(ConfigError::new(
                "records are cached for more than 0 and at most 60 seconds",
            ));
        }
        Ok(self.with(|settings| settings.ttl = ttl))
    }

    /// Sets how long "there is none" is answered from the cache. The default is one second. With zero
    /// it is not kept.
    ///
    /// A key that another process makes is unknown here for as long as this, if it was presented before.
    ///
    /// # Errors
    ///
    /// Refuses more than [`MAX_TTL`](Self::MAX_TTL).
    pub fn with_negative_ttl(self, ttl: Duration) -> Result<Self, ConfigError> {
        if ttl > Self::MAX_TTL {
            return Err(ConfigError::new("unknown ids are cached for at most 60 seconds"));
        }
        Ok(self.with(|settings| settings.negative_ttl = ttl))
    }

    /// Sets how many records are kept. The default is 10,000. With zero none is.
    #[must_use]
    pub fn with_max_entries(self, entries: usize) -> Self {
        self.with(|settings| settings.max_entries = entries)
    }

    /// Sets how many bytes the records take, about. The default is 16 MiB.
    ///
    /// A record with few scopes and no metadata takes about 600 bytes.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        self.with(|settings| settings.max_bytes = bytes)
    }

    /// Sets how many unknown ids are kept. The default is 10,000.
    #[must_use]
    pub fn with_max_negative_entries(self, entries: usize) -> Self {
        self.with(|settings| settings.max_negative_entries = entries)
    }

    /// Sets how many loads are under way at most. The default is 1024. A look-up beyond that waits in a queue,
    /// first come, first served, for as long as the [deadline](Self::with_lookup_deadline). After that it is an
    /// error.
    ///
    /// A load ends when its last caller has left, so guesses whose senders are gone delay no key.
    #[must_use]
    pub fn with_max_lookups(self, lookups: usize) -> Self {
        self.with(|settings| settings.max_lookups = lookups)
    }

    /// Sets how long the store may take for a load. The default is 2 seconds.
    ///
    /// The store's future is dropped at the deadline, and before it when the last caller has left. Callers
    /// of a verifier leave at [its own deadline](crate::key::KeyVerifier::with_store_deadline).
    #[must_use]
    pub fn with_lookup_deadline(self, deadline: Duration) -> Self {
        self.with(|settings| settings.lookup_deadline = deadline)
    }

    /// Sets the clock that deadlines of records are compared with: the one of the verifier.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Sends every change through this store to a channel.
    #[must_use]
    pub fn with_invalidation_channel(self, channel: &InvalidationChannel) -> Self {
        self.with(|settings| settings.channel = Some(channel.clone()))
    }

    /// The store behind the cache.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.0.store
    }

    /// Forgets one id, after a change that was made past this store.
    pub fn invalidate(&self, id: &KeyId) {
        self.0.forget(id);
    }

    /// Forgets everything.
    pub fn invalidate_all(&self) {
        self.0.forget_all();
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            entries: self.0.records.len() as u64,
            negative_entries: self.0.unknown.len() as u64,
            bytes: self.0.records.weight(),
            ..self.0.counters.snapshot()
        }
    }

    /// Forgets what a subscription reports, until it ends or all clones of this store are gone. Spawn it as a
    /// task.
    ///
    /// After an error everything is forgotten, the subscription is asked again after a pause of 0.1 to
    /// 10 seconds, and everything is forgotten once more when it answers. Everything is forgotten as
    /// well when the task ends. Several subscriptions can be followed.
    pub fn follow<I: InvalidationStream>(
        &self,
        invalidations: I,
    ) -> impl Future<Output = ()> + Send + 'static + use<S, I> {
        follow::follow(Arc::downgrade(&self.0), invalidations)
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.0.settings.clone();
        set(&mut settings);
        Self(Inner::new(Arc::clone(&self.0.store), settings))
    }
}

impl<S> Clone for CachedKeyStore<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait]
impl<S: KeyStore> KeyStore for CachedKeyStore<S> {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.look_up(id)?.answer().await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let ids = vec![record.id().clone()];
        self.0.change(ids, |store| async move { store.insert(record).await }).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        let ids = vec![record.id().clone()];
        let replace = |store: Arc<S>| async move { store.replace(record, expected_version).await };
        self.0.change(ids, replace).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let (owner, ids) = (owner.clone(), ids.to_vec());
        let removed = ids.clone();
        self.0.change(ids, |store| async move { store.remove(&owner, &removed).await }).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.store.list(owner, after, limit).await
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let inner = &*self.0;
        if let Some(entry) = inner.records.get(id).filter(|entry| inner.holds(&entry.validity)) {
            inner.counters.hits.add_one();
            visit(Some(&entry.record));
            return true;
        }
        if inner.unknown.get(id).is_some_and(|validity| inner.holds(&validity)) {
            inner.counters.negative_hits.add_one();
            visit(None);
            return true;
        }
        inner.counters.misses.add_one();
        false
    }
}

impl<S> fmt::Debug for CachedKeyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.0.settings;
        f.debug_struct("CachedKeyStore")
            .field("ttl", &settings.ttl)
            .field("negative_ttl", &settings.negative_ttl)
            .field("max_entries", &settings.max_entries)
            .field("max_bytes", &settings.max_bytes)
            .field("max_negative_entries", &settings.max_negative_entries)
            .field("max_lookups", &settings.max_lookups)
            .field("lookup_deadline", &settings.lookup_deadline)
            .field("clock", &settings.clock)
            .finish_non_exhaustive()
    }
}
