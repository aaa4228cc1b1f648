//! What clones of the cache share, and what happens in it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Settings;
use super::bounded::Bounded;
use super::entry::{Absent, Entry, Lease, Present, Start};
use super::generations::Generations;
use super::lookups::{Joined, Lookup, Lookups, Waiter};
use super::stats::{Counter, Counters};
use crate::key::{KeyId, KeyRecord, KeyStore, StoreError, WriteOutcome};
use crate::store::Invalidation;
use crate::store::id_hasher::IdHasher;

/// Everything that clones share.
pub(super) struct Inner<S> {
    pub(super) store: Arc<S>,
    pub(super) settings: Settings,
    pub(super) present: Bounded<Present, IdHasher>,
    /// The least that a record counts for.
    share: u64,
    /// Whoever guesses ids fills it, so its hashes are of a kind that cannot be guessed.
    pub(super) absent: Bounded<Absent, RandomState>,
    generations: Generations,
    hasher: IdHasher,
    pub(super) lookups: Arc<Lookups>,
    changes: Arc<Semaphore>,
    pub(super) counters: Counters,
}

/// How many ids have an invalidation of their own, more or less.
const STRIPES: usize = 16 * 1024;

/// How many changes are under way at most.
const MAX_CHANGES: usize = 1024;

/// The longest time for which an answer can be kept.
pub(super) const MAX_TTL: Duration = Duration::from_secs(60);

impl<S> Inner<S> {
    pub(super) fn new(store: Arc<S>, settings: Settings) -> Arc<Self> {
        let (max_bytes, max_entries) = (settings.max_bytes, settings.max_entries);
        // One bound for both: a record counts for at least its share of the bytes.
        let share = max_bytes.div_ceil(max_entries.max(1)) as u64;
        let capacity = if max_entries == 0 { 0 } else { max_bytes as u64 };
        let absent = Bounded::new(settings.max_negative_entries as u64);
        Arc::new(Self {
            store,
            lookups: Arc::new(Lookups::new(settings.max_lookups)),
            changes: Arc::new(Semaphore::new(MAX_CHANGES)),
            settings,
            present: Bounded::new(capacity),
            share,
            absent,
            generations: Generations::new(STRIPES),
            hasher: IdHasher::default(),
            counters: Counters::default(),
        })
    }

    pub(super) fn is_good(&self, lease: &Lease) -> bool {
        lease.is_good(&self.generations, &self.settings.clock)
    }

    /// Runs no code of the app: maps are locked meanwhile.
    fn is_over(&self, lease: &Lease) -> bool {
        !lease.is_remembered(&self.generations)
    }

    fn hash(&self, id: &KeyId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// From here on, nothing that is known or asked so far is good. To take it out of the maps only
    /// saves memory.
    pub(super) fn forget(&self, id: &KeyId) {
        self.generations.invalidate(self.hash(id));
        self.counters.invalidations.add_one();
        self.present.remove(id);
        self.absent.remove(id);
    }

    /// The same for everything. What is in the maps makes room by and by.
    pub(super) fn forget_all(&self) {
        self.generations.invalidate_all();
        self.counters.clears.add_one();
    }
}

/// A change that is being made. However it ends, its ids are forgotten.
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
    /// Makes a change on a task of its own: it ends, and its ids are forgotten after that, whether or not
    /// the caller stays.
    pub(super) async fn change<F>(
        self: &Arc<Self>,
        ids: Vec<KeyId>,
        call: impl FnOnce(Arc<S>) -> F,
    ) -> Result<WriteOutcome, StoreError>
    where
        F: Future<Output = Result<WriteOutcome, StoreError>> + Send + 'static,
    {
        let runtime = Handle::try_current().map_err(StoreError::new)?;
        let permit = Arc::clone(&self.changes).try_acquire_owned();
        let permit = permit.map_err(|_| StoreError::new("too many changes are under way"))?;
        let written = call(Arc::clone(&self.store));
        let change = Change { inner: Arc::clone(self), ids };
        let task = runtime.spawn(async move {
            let written = written.await;
            drop((change, permit));
            written
        });
        match task.await {
            Ok(written) => written,
            Err(error) if error.is_panic() => Err(StoreError::new("the key store panicked")),
            Err(_) => Err(StoreError::new("the runtime has ended")),
        }
    }

    /// Asks the store, or joins somebody who does.
    pub(super) fn look_up(self: &Arc<Self>, id: &KeyId) -> Result<Waiter, StoreError> {
        let runtime = Handle::try_current().map_err(StoreError::new)?;
        let stamp = || self.generations.stamp(self.hash(id));
        match self.lookups.join(id, &self.generations, stamp) {
            Joined::Other(waiter) => {
                self.counters.joined.add_one();
                Ok(waiter)
            }
            Joined::First(lookup, waiter) => {
                runtime.spawn(Arc::clone(self).ask(lookup));
                Ok(waiter)
            }
        }
    }

    /// Asks the store when it is the turn of this question, as long as one caller waits for the answer.
    async fn ask(self: Arc<Self>, lookup: Lookup) {
        let deadline = self.settings.lookup_deadline;
        let turn = lookup.while_wanted(timeout(deadline, lookup.turn())).await;
        let Some(turn) = turn else { return self.counters.abandoned.add_one() };
        let Ok(Some(turn)) = turn else {
            self.counters.refused.add_one();
            return lookup.fail(StoreError::new("too many look-ups are under way"));
        };
        self.counters.lookups.add_one();
        let mut failure = Failure(Some(&self.counters.failed));
        let start = Start::now(lookup.stamp(), &self.settings.clock);
        let found = lookup.while_wanted(timeout(deadline, self.store.find(lookup.id()))).await;
        let Some(found) = found else {
            failure.0 = None;
            return self.counters.abandoned.add_one();
        };
        drop(turn);
        let found = found.unwrap_or_else(|late| Err(StoreError::new(late)));
        let answer = found.and_then(|found| self.keep(lookup.id(), &start, found));
        if answer.is_ok() {
            failure.0 = None;
        }
        drop(failure);
        lookup.answer(answer.map_err(Arc::new));
    }

    /// Keeps an answer, if nothing has changed since the question.
    fn keep(
        &self,
        id: &KeyId,
        start: &Start,
        found: Option<KeyRecord>,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let is_current = || self.generations.is_current(start.stamp);
        let Some(record) = found else {
            if is_current() {
                self.present.remove(id);
                let ttl = self.settings.negative_ttl;
                if !ttl.is_zero() {
                    let absent = Absent { id: id.clone(), lease: start.lease(ttl, None) };
                    let is_over = |absent: &Absent| self.is_over(&absent.lease);
                    self.absent.update(id, is_over, |_| Some(absent));
                }
            } else {
                self.counters.discarded.add_one();
            }
            return Ok(None);
        };
        if record.id() != id {
            return Err(StoreError::new("the key store answered with another record"));
        }
        let lease = start.lease(self.settings.ttl, Some(&record));
        let entry = Arc::new(Entry { record, lease });
        let mut is_older = false;
        let mut is_kept = false;
        let is_over = |present: &Present| self.is_over(&present.entry.lease);
        self.present.update(id, is_over, |kept| {
            let kept = kept.map(|kept| &kept.entry);
            let kept = kept.filter(|kept| !self.is_over(&kept.lease));
            is_older = kept.is_some_and(|kept| is_older_than(&entry.record, &kept.record));
            is_kept = !is_older && is_current();
            is_kept.then(|| Present { entry: Arc::clone(&entry), share: self.share })
        });
        if is_older && is_current() {
            return Err(StoreError::new("the key store answered with an older record than before"));
        }
        if is_kept {
            self.absent.remove(id);
        } else {
            self.counters.discarded.add_one();
        }
        Ok(Some(entry))
    }
}

/// Versions order the records of one key. A record of another time of creation is another key under the
/// same id, whose versions say nothing: the one that was made later is the newer one.
fn is_older_than(record: &KeyRecord, other: &KeyRecord) -> bool {
    (record.creation(), record.version()) < (other.creation(), other.version())
}

/// Counts a question that ends in any other way than by a good answer: a panic drops it, too.
struct Failure<'a>(Option<&'a Counter>);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.add_one();
        }
    }
}
