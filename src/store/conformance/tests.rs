use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::key::{KeyId, KeyRecord, Owner, PageCursor, StoreError, WriteOutcome};
use crate::store::MemoryKeyStore;
use crate::store::fault_store::{Fault, FaultStore};

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    check(async || MemoryKeyStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_a_violation() {
    let timeout = Duration::from_millis(20);
    let hangs = async || {
        let store = FaultStore::waiting();
        store.fail("list", Fault::Hang);
        store
    };
    let outcome = run(&group::ALL, hangs, timeout).await;

    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("list(\"ann\", from the start, limit 10) -> no answer"), "{text}");
    assert!(text.contains("actual:   nothing within 20ms"), "{text}");
}

/// Replaces by removal and insertion.
struct Away(MemoryKeyStore);

#[async_trait]
impl KeyStore for Away {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.find(id).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.0.insert(record).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let Some(old) = self.0.find(record.id()).await? else { return Ok(WriteOutcome::Conflict) };
        if old.version() != expected {
            return Ok(WriteOutcome::Conflict);
        }
        let _ = self.0.remove(old.owner(), &[old.id().clone()]).await?;
        tokio::task::yield_now().await;
        self.0.insert(record).await
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

#[tokio::test]
async fn a_record_that_is_away_is_missing_on_a_page() {
    let fresh = async || Away(MemoryKeyStore::new());
    let violation = run(&[group::PAGING], fresh, CALL_TIMEOUT).await.unwrap_err();
    assert_eq!(violation.rule, Rule::PagesAreStable, "{violation}");
}
