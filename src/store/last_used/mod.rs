use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::sink::{LastUsedSink, LastUsedSource};
use crate::ConfigError;
use crate::key::{KeyId, LastUsedObserver, StoreError};
use crate::util::{CatchPanic, Panicked, timeout};

mod sink;

/// Write-behind buffer of the times at which keys were last used.
///
/// 1. To record a use does not wait, takes no lock and, for a key that is remembered, allocates nothing.
///    Times are kept to the second.
/// 2. [`run`](Self::run), in a task of its own, writes a key at most once in an interval of
///    [60 seconds](Self::with_interval), with its latest time.
/// 3. A time that could not be written stays, and is part of the next batch: after an error, a panic or an
///    answer after the [deadline](Self::with_write_deadline).
/// 4. At most [100,000 keys](Self::with_max_keys) are remembered. A use of a further one is dropped and
///    counted. A key that was not used for an interval and is written is forgotten.
/// 5. [`shutdown`](Self::shutdown) writes what is left. A process that ends without it loses an interval.
/// 6. A tracker that records uses and writes none for two intervals was not run: it logs a warning once, with
///    the feature `tracing`.
///
/// Clones share everything. A setting gives a tracker of its own, which is empty.
///
/// The stores in databases are sinks, `LastUsedTracker::new(store.clone())`, and a [`LastUsedSource`] of the
/// times. So is the tracker: it has the uses that are not written yet as well.
///
/// # Examples
///
/// A sink of your own:
///
/// ```
/// use async_trait::async_trait;
/// use time::OffsetDateTime;
/// use tower_webhook::key::{KeyId, KeyManager, NewKey, Owner, StoreError};
/// use tower_webhook::store::MemoryKeyStore;
/// use tower_webhook::store::{LastUsedSink, LastUsedTracker};
///
/// struct Lines;
///
/// #[async_trait]
/// impl LastUsedSink for Lines {
///     async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
///         for (id, time) in batch {
///             println!("{id} was last used at {time}");
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let usage = LastUsedTracker::new(Lines);
/// tokio::spawn(usage.run());
///
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let verifier = keys.verifier().with_last_used(usage.clone());
/// let issued = keys.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?;
/// verifier.verify(issued.secret().expose_secret().as_bytes()).await?;
/// assert!(usage.last_used(issued.record().id()).is_some());
///
/// usage.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LastUsedTracker(Arc<Inner>);

struct Inner {
    settings: Settings,
    slots: papaya::HashMap<KeyId, Slot>,
    /// How many slots are not retired.
    len: AtomicUsize,
    dropped: AtomicU64,
    written: AtomicU64,
    failed: AtomicU64,
    has_ended: AtomicBool,
    end: Notify,
    created: Instant,
    /// Whether the times were ever written, or it was logged that they are not.
    is_run: AtomicBool,
}

#[derive(Clone)]
struct Settings {
    sink: Arc<dyn LastUsedSink>,
    interval: Duration,
    write_deadline: Duration,
    max_keys: usize,
}

/// What a [`LastUsedTracker`] has done since it was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LastUsedStats {
    /// How many keys are remembered.
    pub keys: u64,
    /// Uses that were not recorded because too many keys are remembered.
    pub dropped: u64,
    /// Times that were written.
    pub written: u64,
    /// Batches that could not be written.
    pub failed: u64,
}

/// The most keys in one batch.
const MAX_BATCH: usize = 1000;

impl LastUsedObserver for LastUsedTracker {
    fn record(&self, id: &KeyId, unix_second: i64) {
        self.record_second(id, unix_second);
    }
}

/// The later of what is remembered and of what the [source](LastUsedSink::source) of the sink has.
#[async_trait]
impl LastUsedSource for LastUsedTracker {
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        let remembered: Vec<_> = ids.iter().map(|id| Self::last_used(self, id)).collect();
        let Some(source) = self.0.settings.sink.source() else { return Ok(remembered) };
        let written = source.last_used(ids).await?;
        // `None` is less than every time.
        Ok(remembered.into_iter().zip(written).map(|(one, other)| one.max(other)).collect())
    }
}

impl LastUsedTracker {
    /// A tracker without a use.
    #[must_use]
    pub fn new(sink: impl LastUsedSink) -> Self {
        Self::build(Settings {
            sink: Arc::new(sink),
            interval: Duration::from_secs(60),
            write_deadline: Duration::from_secs(10),
            max_keys: 100_000,
        })
    }

    /// Sets how often the times are written. The default is 60 seconds.
    ///
    /// # Errors
    ///
    /// Refuses less than a second.
    pub fn with_interval(self, interval: Duration) -> Result<Self, ConfigError> {
        if interval < Duration::from_secs(1) {
            return Err(ConfigError::new(
                "times of last use are written every second or less often",
            ));
        }
        Ok(self.with(|settings| settings.interval = interval))
    }

    /// Sets how long the sink may take for a batch of 1000 keys. The default is 10 seconds.
    #[must_use]
    pub fn with_write_deadline(self, deadline: Duration) -> Self {
        self.with(|settings| settings.write_deadline = deadline)
    }

    /// Sets how many keys are remembered. The default is 100,000, which take about 20 MB.
    #[must_use]
    pub fn with_max_keys(self, keys: usize) -> Self {
        self.with(|settings| settings.max_keys = keys)
    }

    /// Records that a key was used. An earlier time than the one that is known changes nothing.
    ///
    /// A [`KeyVerifier`](crate::key::KeyVerifier) calls this through [`LastUsedObserver`].
    pub fn record(&self, id: &KeyId, now: OffsetDateTime) {
        self.record_second(id, now.unix_timestamp());
    }

    fn record_second(&self, id: &KeyId, second: i64) {
        self.0.warn_if_not_run();
        let slots = self.0.slots.pin();
        if slots.get(id).is_some_and(|slot| slot.touch(second)) {
            return;
        }
        if self.0.len.fetch_add(1, Ordering::Relaxed) >= self.0.settings.max_keys {
            self.0.len.fetch_sub(1, Ordering::Relaxed);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // What a flush has retired and not taken out yet.
        let _ = slots.remove_if(id, |_, slot| slot.is_retired());
        if let Err(taken) = slots.try_insert(id.clone(), Slot::new(second)) {
            self.0.len.fetch_sub(1, Ordering::Relaxed);
            if !taken.current.touch(second) {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// When a key was last used, as far as this tracker remembers. Whole seconds.
    #[must_use]
    pub fn last_used(&self, id: &KeyId) -> Option<OffsetDateTime> {
        let last = self.0.slots.pin().get(id).map(|slot| slot.last.load(Ordering::Relaxed))?;
        (last != RETIRED).then(|| time_of(last))
    }

    /// Writes every interval what has changed, until [`shutdown`](Self::shutdown) or until all other clones are
    /// gone. Spawn it as a task.
    pub fn run(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let tracker = self.clone();
        async move {
            tracker.0.is_run.store(true, Ordering::Relaxed);
            loop {
                let mut end = pin!(tracker.0.end.notified());
                // From here on a notification is not missed.
                end.as_mut().enable();
                if tracker.0.has_ended.load(Ordering::SeqCst)
                    || timeout(tracker.0.settings.interval, &mut end).await.is_some()
                {
                    return;
                }
                let is_last = Arc::strong_count(&tracker.0) == 1;
                // An error is counted, and the next flush tries again.
                let _ = tracker.flush().await;
                if is_last {
                    return;
                }
            }
        }
    }

    /// Writes now what has changed since it was last written, and forgets what has not.
    ///
    /// # Errors
    ///
    /// The sink has failed for a batch. It and those after it are tried again the next time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.is_run.store(true, Ordering::Relaxed);
        let mut changed = self.0.changed();
        while !changed.is_empty() {
            let rest = changed.split_off(changed.len().min(MAX_BATCH));
            let batch = std::mem::replace(&mut changed, rest);
            let times = batch.iter().map(|(id, last)| (id.clone(), time_of(*last))).collect();
            if let Err(error) = self.0.settings.write(times).await {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
            self.0.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.0.confirm(&batch);
        }
        Ok(())
    }

    /// Ends [`run`](Self::run) and writes what is left. What is recorded from now on is not written.
    ///
    /// # Errors
    ///
    /// The sink has failed. It can be called again.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        self.0.has_ended.store(true, Ordering::SeqCst);
        self.0.end.notify_waiters();
        self.flush().await
    }

    /// What the tracker has done so far.
    #[must_use]
    pub fn stats(&self) -> LastUsedStats {
        LastUsedStats {
            keys: self.0.len.load(Ordering::Relaxed) as u64,
            dropped: self.0.dropped.load(Ordering::Relaxed),
            written: self.0.written.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
        }
    }

    fn build(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            settings,
            slots: papaya::HashMap::new(),
            len: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            end: Notify::new(),
            created: Instant::now(),
            is_run: AtomicBool::new(false),
        }))
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.0.settings.clone();
        set(&mut settings);
        Self::build(settings)
    }
}

impl fmt::Debug for LastUsedTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastUsedTracker")
            .field("interval", &self.0.settings.interval)
            .field("max_keys", &self.0.settings.max_keys)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn warn_if_not_run(&self) {
        if !self.is_run.load(Ordering::Relaxed)
            && self.created.elapsed() >= 2 * self.settings.interval
            && !self.is_run.swap(true, Ordering::Relaxed)
        {
            #[cfg(feature = "tracing")]
            tracing::warn!(
                "times of last use are recorded and not written: LastUsedTracker::run was not spawned"
            );
        }
    }

    /// What has to be written. What has not changed since it was written is retired.
    fn changed(&self) -> Vec<(KeyId, i64)> {
        let slots = self.slots.pin();
        let mut changed = Vec::new();
        for (id, slot) in &slots {
            let last = slot.last.load(Ordering::Relaxed);
            if last != RETIRED && last > slot.written.load(Ordering::Relaxed) {
                changed.push((id.clone(), last));
            } else if slot.retire(last) {
                self.len.fetch_sub(1, Ordering::Relaxed);
                let _ = slots.remove_if(id, |_, slot| slot.is_retired());
            }
        }
        changed
    }

    fn confirm(&self, batch: &[(KeyId, i64)]) {
        let slots = self.slots.pin();
        for (id, last) in batch {
            if let Some(slot) = slots.get(id) {
                slot.written.fetch_max(*last, Ordering::Relaxed);
            }
        }
    }
}

impl Settings {
    /// One write. A panic of the sink ends neither the task nor the process.
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let panicked = |Panicked| StoreError::new("the sink panicked");
        let mut write = CatchPanic::new(|| self.sink.write(batch)).map_err(panicked)?;
        let written = timeout(self.write_deadline, &mut write).await;
        written.ok_or_else(|| StoreError::new("the sink took too long"))?.map_err(panicked)?
    }
}

/// When a key was last used, and which of these times is written.
#[derive(Debug)]
struct Slot {
    last: AtomicI64,
    written: AtomicI64,
}

/// Tombstone in the place of a time: the slot is, or will be, out of the map. It does not change any more, so no
/// use is recorded in a slot that is not read again.
const RETIRED: i64 = i64::MIN;

impl Slot {
    fn new(second: i64) -> Self {
        Self { last: AtomicI64::new(second), written: AtomicI64::new(RETIRED) }
    }

    /// Records a use, unless the slot is retired. Most uses only read: a second changes once.
    fn touch(&self, second: i64) -> bool {
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            if last == RETIRED {
                return false;
            }
            if second <= last {
                return true;
            }
            let order = Ordering::Relaxed;
            match self.last.compare_exchange_weak(last, second, order, order) {
                Ok(_) => return true,
                Err(other) => last = other,
            }
        }
    }

    /// Whether this call has retired the slot, which had this time.
    fn retire(&self, last: i64) -> bool {
        let order = Ordering::Relaxed;
        last != RETIRED && self.last.compare_exchange(last, RETIRED, order, order).is_ok()
    }

    fn is_retired(&self) -> bool {
        self.last.load(Ordering::Relaxed) == RETIRED
    }
}

fn time_of(second: i64) -> OffsetDateTime {
    // In range: every second came from a time.
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
