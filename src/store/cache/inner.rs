//! What clones of the cache share, and what happens in it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter, Weighter};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Settings;
use super::entry::{ByBytes, Entry, FetchStart, Validity};
use super::generations::{Generations, Stamp};
use super::lookups::{Joined, Lookup, Lookups, Waiter};
use super::stats::{Counter, Counters};
use crate::key::{KeyId, KeyRecord, KeyStore, StoreError, WriteOutcome};
use crate::store::Invalidation;
use crate::store::task::StoreTasks;

/// A map with a bound. `quick_cache` evicts what was not read lately.
type Map<V, W> = Cache<KeyId, V, W, RandomState>;

/// Everything that clones share.
pub(super) struct Inner<S> {
    pub(super) store: Arc<S>,
    pub(super) settings: Settings,
    pub(super) records: Map<Arc<Entry>, ByBytes>,
    /// Ids that have no record. A map of its own: guessed ids evict no record.
    pub(super) unknown: Map<Validity, UnitWeighter>,
    generations: Generations,
    hasher: RandomState,
    /// Serializes the comparison with a kept record and the write of the new one.
    fills: Mutex<()>,
    pub(super) lookups: Arc<Lookups>,
    changes: StoreTasks,
    pub(super) counters: Counters,
}

/// How many ids have an invalidation of their own, more or less.
const STRIPES: usize = 16 * 1024;

/// How many changes are under way at most.
const MAX_CHANGES: usize = 1024;

/// Parts of a map, each with a lock and its part of the bound. More would leave too little room in each for the
/// largest records.
const MAX_SHARDS: usize = 16;

/// The longest time for which an answer can be kept.
pub(super) const MAX_TTL: Duration = Duration::from_secs(60);

impl<S> Inner<S> {
    pub(super) fn new(store: Arc<S>, settings: Settings) -> Arc<Self> {
        let (max_bytes, max_entries) = (settings.max_bytes, settings.max_entries);
        let share = max_bytes.div_ceil(max_entries.max(1)) as u64;
        let max_bytes = if max_entries == 0 { 0 } else { max_bytes as u64 };
        let max_unknown = settings.max_negative_entries;
        Arc::new(Self {
            store,
            lookups: Arc::new(Lookups::new(settings.max_lookups)),
            changes: StoreTasks::new().with_limit(MAX_CHANGES).with_deadline(Duration::MAX),
            records: map(max_entries, max_bytes, ByBytes { share }),
            unknown: map(max_unknown, max_unknown as u64, UnitWeighter),
            settings,
            generations: Generations::new(STRIPES),
            hasher: RandomState::new(),
            fills: Mutex::default(),
            counters: Counters::default(),
        })
    }

    pub(super) fn holds(&self, validity: &Validity) -> bool {
        validity.holds(&self.generations, &self.settings.clock)
    }

    fn hash(&self, id: &KeyId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Invalidates every answer about an id, also those that are on their way. The removal only frees memory.
    pub(super) fn forget(&self, id: &KeyId) {
        self.generations.invalidate(self.hash(id));
        self.counters.invalidations.add_one();
        self.records.remove(id);
        self.unknown.remove(id);
    }

    /// Invalidates every answer.
    pub(super) fn forget_all(&self) {
        self.generations.invalidate_all();
        self.counters.invalidate_all.add_one();
        self.records.clear();
        self.unknown.clear();
    }
}

fn map<V: Clone, W: Weighter<KeyId, V> + Clone>(
    max_items: usize,
    max_weight: u64,
    weighter: W,
) -> Map<V, W> {
    let shards = std::thread::available_parallelism().map_or(MAX_SHARDS, usize::from);
    let options = OptionsBuilder::new()
        .shards(shards.min(MAX_SHARDS))
        .estimated_items_capacity(max_items.min(1 << 20))
        .weight_capacity(max_weight)
        .build()
        .unwrap_or_else(|_| unreachable!("both capacities are set"));
    Cache::with_options(options, weighter, RandomState::new(), DefaultLifecycle::default())
}

/// A change under way. When it ends, in any way, its ids are invalidated.
struct Change<S> {
    inner: Arc<Inner<S>>,
    ids: Vec<KeyId>,
}

impl<S> Drop for Change<S> {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            self.inner.forget(&id);
            if let Some(channel) = &self.inner.settings.channel {
                channel.send(Invalidation::Key(id));
            }
        }
    }
}

impl<S: KeyStore> Inner<S> {
    /// Makes a change in a spawned task, so that it ends and invalidates its ids if the caller leaves.
    pub(super) async fn change<F>(
        self: &Arc<Self>,
        ids: Vec<KeyId>,
        call: impl FnOnce(Arc<S>) -> F,
    ) -> Result<WriteOutcome, StoreError>
    where
        F: Future<Output = Result<WriteOutcome, StoreError>> + Send + 'static,
    {
        let written = call(Arc::clone(&self.store));
        let change = Change { inner: Arc::clone(self), ids };
        let call = async move {
            let written = written.await;
            drop(change);
            written
        };
        self.changes.spawn(call).await
    }

    /// Single flight: loads a record from the store, or joins the load that is under way.
    pub(super) fn look_up(self: &Arc<Self>, id: &KeyId) -> Result<Waiter, StoreError> {
        let runtime = Handle::try_current().map_err(StoreError::new)?;
        let stamp = || self.generations.stamp(self.hash(id));
        match self.lookups.join(id, &self.generations, stamp) {
            Joined::Other(waiter) => {
                self.counters.coalesced.add_one();
                Ok(waiter)
            }
            Joined::First(lookup, waiter) => {
                runtime.spawn(Arc::clone(self).load(lookup));
                Ok(waiter)
            }
        }
    }

    /// Waits for a permit and asks the store, as long as one caller waits for the answer.
    async fn load(self: Arc<Self>, lookup: Lookup) {
        let deadline = self.settings.lookup_deadline;
        let permit = lookup.while_wanted(timeout(deadline, lookup.permit())).await;
        let Some(permit) = permit else { return self.counters.abandoned.add_one() };
        let Ok(Some(permit)) = permit else {
            self.counters.refused.add_one();
            return lookup.fail(StoreError::new("too many look-ups are under way"));
        };
        self.counters.loads.add_one();
        let mut failure = Failure(Some(&self.counters.failed));
        let start = FetchStart::now(lookup.stamp(), &self.settings.clock);
        let found = lookup.while_wanted(timeout(deadline, self.store.find(lookup.id()))).await;
        let Some(found) = found else {
            failure.0 = None;
            return self.counters.abandoned.add_one();
        };
        drop(permit);
        let found = found.unwrap_or_else(|late| Err(StoreError::new(late)));
        let answer = found.and_then(|found| self.keep(lookup.id(), &start, found));
        if answer.is_ok() {
            failure.0 = None;
        }
        drop(failure);
        lookup.answer(answer.map_err(Arc::new));
    }

    /// Keeps an answer, unless its id was invalidated since the store was asked.
    fn keep(
        &self,
        id: &KeyId,
        start: &FetchStart,
        found: Option<KeyRecord>,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let Some(record) = found else {
            self.keep_unknown(id, start);
            return Ok(None);
        };
        if record.id() != id {
            return Err(StoreError::new("the key store answered with another record"));
        }
        let validity = start.validity(self.settings.ttl, Some(&record));
        let entry = Arc::new(Entry { record, validity });
        let _fill = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_current(start.stamp) {
            return Ok(Some(entry));
        }
        let kept = self.records.peek(id);
        let kept = kept.filter(|kept| kept.validity.is_compared(&self.generations));
        if kept.is_some_and(|kept| is_older_than(&entry.record, &kept.record)) {
            return Err(StoreError::new("the key store answered with an older record than before"));
        }
        self.records.insert(id.clone(), Arc::clone(&entry));
        self.unknown.remove(id);
        Ok(Some(entry))
    }

    fn keep_unknown(&self, id: &KeyId, start: &FetchStart) {
        let _fill = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_current(start.stamp) {
            self.records.remove(id);
            let ttl = self.settings.negative_ttl;
            if !ttl.is_zero() {
                self.unknown.insert(id.clone(), start.validity(ttl, None));
            }
        }
    }

    fn is_current(&self, stamp: Stamp) -> bool {
        let is_current = self.generations.is_current(stamp);
        if !is_current {
            self.counters.discarded.add_one();
        }
        is_current
    }
}

/// Compares creation and version. A record of another time of creation is another key under the same id: the
/// one that was made later is the newer one.
fn is_older_than(record: &KeyRecord, other: &KeyRecord) -> bool {
    (record.creation(), record.version()) < (other.creation(), other.version())
}

/// Counts a load that ends without a good answer. A panic of the store drops it as well.
struct Failure<'a>(Option<&'a Counter>);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.add_one();
        }
    }
}
