//! A store for tests, with delays before and after it looks, faults, and a way past the cache.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Fault {
    #[default]
    None,
    Error,
    Hang,
    Panic,
    /// Looks the record of another id up; a change is made, and still fails.
    Lie,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Script {
    pub(super) fault: Fault,
    pub(super) before: Duration,
    pub(super) after: Duration,
}

#[derive(Clone, Default)]
pub(super) struct FakeStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    records: Mutex<HashMap<KeyId, KeyRecord>>,
    reads: Mutex<Script>,
    writes: Mutex<Script>,
    finds: AtomicUsize,
    running: Arc<()>,
    on_change: Mutex<Option<OnChange>>,
}

/// Hears of every change, with the version that is stored from now on.
type OnChange = Box<dyn FnMut(&KeyId, Option<&KeyRecord>) + Send>;

impl FakeStore {
    pub(super) fn set_reads(&self, script: Script) {
        *self.0.reads.lock().unwrap() = script;
    }

    pub(super) fn set_writes(&self, script: Script) {
        *self.0.writes.lock().unwrap() = script;
    }

    pub(super) fn on_change(&self, call: impl FnMut(&KeyId, Option<&KeyRecord>) + Send + 'static) {
        *self.0.on_change.lock().unwrap() = Some(Box::new(call));
    }

    /// How often a record was looked up.
    pub(super) fn finds(&self) -> usize {
        self.0.finds.load(Ordering::SeqCst)
    }

    /// How many look-ups are under way.
    pub(super) fn running(&self) -> usize {
        Arc::strong_count(&self.0.running) - 1
    }

    /// A change as another process makes it.
    pub(super) fn put(&self, id: &KeyId, record: Option<KeyRecord>) {
        let mut records = self.records();
        if let Some(call) = &mut *self.0.on_change.lock().unwrap() {
            call(id, record.as_ref());
        }
        match record {
            Some(record) => records.insert(id.clone(), record),
            None => records.remove(id),
        };
    }

    pub(super) fn now(&self, id: &KeyId) -> Option<KeyRecord> {
        self.records().get(id).cloned()
    }

    fn records(&self) -> MutexGuard<'_, HashMap<KeyId, KeyRecord>> {
        self.0.records.lock().unwrap()
    }

    async fn write(
        &self,
        change: impl FnOnce(&Self) -> WriteOutcome + Send,
    ) -> Result<WriteOutcome, StoreError> {
        let script = *self.0.writes.lock().unwrap();
        pause(script.before).await;
        let written = match script.fault {
            Fault::None => Ok(change(self)),
            Fault::Error => Err(StoreError::new("nothing was written")),
            Fault::Hang => std::future::pending().await,
            Fault::Panic => panic!("a panic of the store"),
            Fault::Lie => {
                let _ = change(self);
                Err(StoreError::new("the connection was lost before the answer"))
            }
        };
        pause(script.after).await;
        written
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

#[async_trait]
impl KeyStore for FakeStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.finds.fetch_add(1, Ordering::SeqCst);
        let _running = Arc::clone(&self.0.running);
        let script = *self.0.reads.lock().unwrap();
        pause(script.before).await;
        let found = match script.fault {
            Fault::None => Ok(self.now(id)),
            Fault::Error => Err(StoreError::new("disk on fire")),
            Fault::Hang => std::future::pending().await,
            Fault::Panic => panic!("a panic of the store"),
            Fault::Lie => {
                let other = self.records().values().find(|record| record.id() != id).cloned();
                other.map(Some).ok_or_else(|| StoreError::new("there is no other record"))
            }
        };
        pause(script.after).await;
        found
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.write(move |store| {
            if store.now(record.id()).is_some() {
                return WriteOutcome::Conflict;
            }
            store.put(&record.id().clone(), Some(record));
            WriteOutcome::Applied
        })
        .await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        self.write(move |store| {
            if store.now(record.id()).is_none_or(|stored| stored.version() != expected_version) {
                return WriteOutcome::Conflict;
            }
            store.put(&record.id().clone(), Some(record));
            WriteOutcome::Applied
        })
        .await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.write(|store| {
            let is_owned = |id| store.now(id).is_some_and(|record| record.owner() == owner);
            if !ids.iter().all(is_owned) {
                return WriteOutcome::Conflict;
            }
            ids.iter().for_each(|id| store.put(id, None));
            WriteOutcome::Applied
        })
        .await
    }

    async fn list(
        &self,
        owner: &Owner,
        _: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let mut found: Vec<_> = self.records().values().cloned().collect();
        found.retain(|record| record.owner() == owner);
        found.sort_by_key(PageCursor::of);
        found.truncate(limit);
        Ok(found)
    }
}
