use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::key::{KeyId, KeyRecord, Owner, PageCursor, StoreError, WriteOutcome};
use crate::store::MemoryKeyStore;

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    check(async || MemoryKeyStore::new()).await;
}

#[tokio::test]
async fn the_groups_make_up_the_whole() {
    let fresh = async || MemoryKeyStore::new();
    let parts = [
        crud(fresh).await,
        records(fresh).await,
        owners(fresh).await,
        batches(fresh).await,
        paging(fresh).await,
        ready(fresh).await,
        races(fresh).await,
        cancellation(fresh).await,
        histories(fresh).await,
    ];
    let whole = report(fresh).await;

    whole.assert_kept();
    assert_eq!(parts.iter().map(Report::checks).sum::<usize>(), whole.checks());
    assert_eq!(whole.to_string(), format!("{} checks, 0 failed", whole.checks()));
}

/// Never answers a list.
struct Hangs(MemoryKeyStore);

#[async_trait]
impl KeyStore for Hangs {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.find(id).await
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
        _: &Owner,
        _: Option<&PageCursor>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        pending().await
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_told() {
    let manner = Manner { stop_at_first: true, patience: Duration::from_millis(20) };
    let report = run(&group::ALL, async || Hangs(MemoryKeyStore::new()), manner).await;

    let text = report.violations()[0].to_string();
    assert!(text.contains("list(\"ann\", from the start, limit 10) -> no answer"), "{text}");
    assert!(text.contains("came:     nothing within 20ms"), "{text}");
}
