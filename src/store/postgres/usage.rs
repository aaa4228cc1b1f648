//! When keys were last used.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::PostgresKeyStore;
use super::retry::retry;
use crate::clock::Timestamp;
use crate::key::{KeyId, StoreError};
use crate::store::{LastUsedSink, LastUsedSource};

#[async_trait]
impl LastUsedSink for PostgresKeyStore {
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let statements = self.statements.clone();
        let second = |time| Timestamp::new(time).seconds();
        let (ids, seconds): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|(id, time)| (id.to_string(), second(time))).unzip();
        // Idempotent: the later time wins.
        let call =
            async move { retry(|attempt| statements.write_usage(attempt, &ids, &seconds)).await };
        self.tasks.spawn(call).await
    }

    fn source(&self) -> Option<&dyn LastUsedSource> {
        Some(self)
    }
}

#[async_trait]
impl LastUsedSource for PostgresKeyStore {
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        let asked: Vec<String> = ids.iter().map(KeyId::to_string).collect();
        let call = retry(|attempt| self.statements.read_usage(attempt, &asked));
        let seconds = self.tasks.run(call).await?;
        let time =
            |id: &KeyId| seconds.get(id.as_str()).map(|&s| Timestamp::from_unix(s, 0).time());
        Ok(ids.iter().map(time).collect())
    }
}
