//! A store for tests that fails on demand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::MemoryKeyStore;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Error,
    Hang,
    Panic,
    /// Answers every look-up with the record of the last inserted key.
    OtherRecord,
    /// Says yes to `try_find_now` and does not visit.
    NoVisit,
    TwoVisits,
    /// Refuses every change.
    Conflict,
}

/// What happens before a change goes through.
type Hook = Box<dyn FnMut(&MemoryKeyStore) + Send>;

/// A [`MemoryKeyStore`] behind faults. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct FaultStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    memory: MemoryKeyStore,
    ready: bool,
    faults: Mutex<Vec<(&'static str, Fault)>>,
    before_replace: Mutex<Option<Hook>>,
    last: Mutex<Option<KeyRecord>>,
    calls: AtomicUsize,
}

impl FaultStore {
    /// Answers through `find` only.
    pub(crate) fn waiting() -> Self {
        Self::default()
    }

    /// Answers through `try_find_now`.
    pub(crate) fn ready() -> Self {
        Self(Arc::new(Inner { ready: true, ..Inner::default() }))
    }

    /// From now on, this method fails.
    pub(crate) fn fail(&self, method: &'static str, fault: Fault) {
        self.0.faults.lock().unwrap().push((method, fault));
    }

    pub(crate) fn heal(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    /// Runs before every `replace`, as another process would.
    pub(crate) fn before_replace(&self, hook: impl FnMut(&MemoryKeyStore) + Send + 'static) {
        *self.0.before_replace.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn memory(&self) -> &MemoryKeyStore {
        &self.0.memory
    }

    /// How often the store was asked for anything.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    fn fault(&self, method: &'static str) -> Option<Fault> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let faults = self.0.faults.lock().unwrap();
        faults.iter().find(|(failing, _)| *failing == method).map(|(_, fault)| *fault)
    }

    async fn write(&self, method: &'static str) -> Result<WriteOutcome, StoreError> {
        match self.fault(method) {
            Some(Fault::Error) => Err(StoreError::new("disk on fire")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a panic of the store"),
            Some(Fault::Conflict) => Ok(WriteOutcome::Conflict),
            _ => Ok(WriteOutcome::Applied),
        }
    }
}

#[async_trait]
impl KeyStore for FaultStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let fault = self.fault("find");
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Error) => Err(StoreError::new("disk on fire")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a panic of the store"),
            Some(Fault::OtherRecord) => Ok(self.0.last.lock().unwrap().clone()),
            _ => self.0.memory.find(id).await,
        }
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        if self.write("insert").await? == WriteOutcome::Conflict {
            return Ok(WriteOutcome::Conflict);
        }
        *self.0.last.lock().unwrap() = Some(record.clone());
        self.0.memory.insert(record).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        if let Some(hook) = &mut *self.0.before_replace.lock().unwrap() {
            hook(&self.0.memory);
        }
        if self.write("replace").await? == WriteOutcome::Conflict {
            return Ok(WriteOutcome::Conflict);
        }
        self.0.memory.replace(record, expected_version).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        if self.write("remove").await? == WriteOutcome::Conflict {
            return Ok(WriteOutcome::Conflict);
        }
        self.0.memory.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        match self.fault("list") {
            Some(Fault::Error) => Err(StoreError::new("disk on fire")),
            Some(Fault::OtherRecord) => {
                Ok(self.0.last.lock().unwrap().clone().into_iter().collect())
            }
            _ => self.0.memory.list(owner, after, limit).await,
        }
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        if !self.0.ready {
            return false;
        }
        match self.fault("try_find_now") {
            Some(Fault::Panic) => panic!("a panic of the store"),
            Some(Fault::NoVisit) => return true,
            Some(Fault::TwoVisits) => visit(None),
            Some(Fault::OtherRecord) => {
                visit(self.0.last.lock().unwrap().as_ref());
                return true;
            }
            _ => {}
        }
        self.0.memory.try_find_now(id, visit)
    }
}
