//! A store for tests, with faults, delays, and a way past what is in front of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::MemoryKeyStore;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    Error,
    Hang,
    Panic,
    /// Answers with the record of another id; a change is made, and still fails.
    Lie,
    /// Refuses every change.
    Conflict,
    /// Says yes to `try_find_now` and does not visit.
    NoVisit,
    TwoVisits,
}

/// What a call does, and how long it waits before and after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Script {
    pub(crate) fault: Fault,
    pub(crate) before: Duration,
    pub(crate) after: Duration,
}

/// What happens before a change goes through.
type BeforeReplace = Box<dyn FnMut(&MemoryKeyStore) + Send>;

/// Hears of every change, with the record that is stored from now on.
type OnChange = Box<dyn FnMut(&KeyId, Option<&KeyRecord>) + Send>;

/// A [`MemoryKeyStore`] behind faults. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct FaultStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    memory: MemoryKeyStore,
    ready: bool,
    scripts: Mutex<HashMap<&'static str, Script>>,
    before_replace: Mutex<Option<BeforeReplace>>,
    on_change: Mutex<Option<OnChange>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    running: Arc<()>,
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
        self.set(&[method], Script { fault, ..Script::default() });
    }

    pub(crate) fn heal(&self) {
        self.0.scripts.lock().unwrap().clear();
    }

    pub(crate) fn set_reads(&self, script: Script) {
        self.set(&["find"], script);
    }

    pub(crate) fn set_writes(&self, script: Script) {
        self.set(&["insert", "replace", "remove"], script);
    }

    fn set(&self, methods: &[&'static str], script: Script) {
        self.0.scripts.lock().unwrap().extend(methods.iter().map(|method| (*method, script)));
    }

    /// Runs before every `replace`, as another process would.
    pub(crate) fn before_replace(&self, hook: impl FnMut(&MemoryKeyStore) + Send + 'static) {
        *self.0.before_replace.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn on_change(&self, call: impl FnMut(&KeyId, Option<&KeyRecord>) + Send + 'static) {
        *self.0.on_change.lock().unwrap() = Some(Box::new(call));
    }

    pub(crate) fn memory(&self) -> &MemoryKeyStore {
        &self.0.memory
    }

    /// How often the store was asked for anything.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.lock().unwrap().values().sum()
    }

    /// How often a record was looked up.
    pub(crate) fn finds(&self) -> usize {
        self.0.calls.lock().unwrap().get("find").copied().unwrap_or_default()
    }

    /// How many calls are under way.
    pub(crate) fn running(&self) -> usize {
        Arc::strong_count(&self.0.running) - 1
    }

    /// A change as another process makes it.
    pub(crate) fn put(&self, id: &KeyId, record: Option<KeyRecord>) {
        self.0.memory.put_now(id, record);
        self.report(id);
    }

    pub(crate) fn now(&self, id: &KeyId) -> Option<KeyRecord> {
        self.0.memory.find(id).now_or_never().unwrap().unwrap()
    }

    fn report(&self, id: &KeyId) {
        if let Some(call) = &mut *self.0.on_change.lock().unwrap() {
            call(id, self.now(id).as_ref());
        }
    }

    fn begin(&self, method: &'static str) -> Script {
        *self.0.calls.lock().unwrap().entry(method).or_default() += 1;
        self.0.scripts.lock().unwrap().get(method).copied().unwrap_or_default()
    }

    async fn call<T>(
        &self,
        method: &'static str,
        answer: impl FnOnce(Fault) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let script = self.begin(method);
        let _running = Arc::clone(&self.0.running);
        pause(script.before).await;
        let answer = match script.fault {
            Fault::Error => Err(StoreError::new("disk on fire")),
            Fault::Hang => std::future::pending().await,
            Fault::Panic => panic!("a panic of the store"),
            fault => answer(fault),
        };
        if !script.after.is_zero() {
            sleep(script.after).await;
        }
        answer
    }

    async fn write<'a, F>(
        &'a self,
        method: &'static str,
        ids: &[KeyId],
        change: impl FnOnce(&'a MemoryKeyStore) -> F + Send,
    ) -> Result<WriteOutcome, StoreError>
    where
        F: Future<Output = Result<WriteOutcome, StoreError>>,
    {
        self.call(method, |fault| {
            if fault == Fault::Conflict {
                return Ok(WriteOutcome::Conflict);
            }
            let outcome = change(&self.0.memory).now_or_never().unwrap()?;
            if outcome == WriteOutcome::Applied {
                ids.iter().for_each(|id| self.report(id));
            }
            if fault == Fault::Lie {
                return Err(StoreError::new("the connection was lost before the answer"));
            }
            Ok(outcome)
        })
        .await
    }

    fn other(&self, is_other: impl FnMut(&KeyRecord) -> bool) -> Option<KeyRecord> {
        self.0.memory.find_now(is_other)
    }
}

/// Pending at least once.
async fn pause(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        sleep(duration).await;
    }
}

#[async_trait]
impl KeyStore for FaultStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.call("find", |fault| match fault {
            Fault::Lie => {
                let other = self.other(|record| record.id() != id);
                other.map(Some).ok_or_else(|| StoreError::new("there is no other record"))
            }
            _ => Ok(self.now(id)),
        })
        .await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let id = [record.id().clone()];
        self.write("insert", &id, |memory| memory.insert(record)).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        if let Some(hook) = &mut *self.0.before_replace.lock().unwrap() {
            hook(&self.0.memory);
        }
        let id = [record.id().clone()];
        self.write("replace", &id, |memory| memory.replace(record, expected)).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.write("remove", ids, |memory| memory.remove(owner, ids)).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.call("list", |fault| match fault {
            Fault::Lie => Ok(self.other(|record| record.owner() != owner).into_iter().collect()),
            _ => self.0.memory.list(owner, after, limit).now_or_never().unwrap(),
        })
        .await
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        if !self.0.ready {
            return false;
        }
        match self.begin("try_find_now").fault {
            Fault::Panic => panic!("a panic of the store"),
            Fault::NoVisit => return true,
            Fault::TwoVisits => visit(None),
            Fault::Lie => {
                visit(self.other(|record| record.id() != id).as_ref());
                return true;
            }
            _ => {}
        }
        self.0.memory.try_find_now(id, visit)
    }
}
