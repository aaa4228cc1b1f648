//! A store that runs a future between the read and the write of its next change.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use tower_webhook::store::MemoryKeyStore;

type Happening = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct InterleavingStore {
    /// The same records, without the interleaved future.
    pub(crate) memory: Arc<MemoryKeyStore>,
    before_replace: Arc<Mutex<Option<Happening>>>,
}

impl InterleavingStore {
    /// Runs this once, after the record was read and before it is replaced.
    pub(crate) fn before_replace(&self, happening: impl Future<Output = ()> + Send + 'static) {
        *self.before_replace.lock().unwrap() = Some(Box::pin(happening));
    }

    /// Whether it has happened.
    pub(crate) fn is_over(&self) -> bool {
        self.before_replace.lock().unwrap().is_none()
    }
}

#[async_trait]
impl KeyStore for InterleavingStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.memory.find(id).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.memory.insert(record).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let happening = self.before_replace.lock().unwrap().take();
        if let Some(happening) = happening {
            happening.await;
        }
        self.memory.replace(record, expected).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.memory.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.memory.list(owner, after, limit).await
    }
}
