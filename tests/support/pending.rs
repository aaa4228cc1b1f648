//! What a store behind a network costs without the network.

use async_trait::async_trait;
use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use tower_webhook::store::MemoryKeyStore;

/// A store in memory that never answers at once.
#[derive(Debug, Default)]
pub struct Pending(MemoryKeyStore);

#[async_trait]
impl KeyStore for Pending {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        // In one future of its own, as a store has it.
        let mut found = None;
        self.0.try_find_now(id, &mut |record| found = record.cloned());
        Ok(found)
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.0.insert(record).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        self.0.replace(record, expected).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.0.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.list(owner, after, limit).await
    }
}
