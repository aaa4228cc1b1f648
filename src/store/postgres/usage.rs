//! When keys were last used.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::PostgresKeyStore;
use super::trial::Trials;
use crate::clock::Timestamp;
use crate::key::{KeyId, StoreError};
use crate::store::{UsageSink, UsageSource};

#[async_trait]
impl UsageSink for PostgresKeyStore {
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let (connections, statements) = (self.connections.clone(), self.statements.clone());
        let second = |time| Timestamp::new(time).seconds();
        let (ids, seconds): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|(id, time)| (id.to_string(), second(time))).unzip();
        let call = async move {
            let mut trials = Trials::new();
            loop {
                // A time that is written twice is the same as once.
                match statements.write_usage(&connections, &ids, &seconds).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.run_in_turn(&self.turns, call).await
    }
}

#[async_trait]
impl UsageSource for PostgresKeyStore {
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        let (connections, statements) = (self.connections.clone(), self.statements.clone());
        let asked: Vec<String> = ids.iter().map(KeyId::to_string).collect();
        let call = async move {
            let mut trials = Trials::new();
            loop {
                match statements.read_usage(&connections, &asked).await {
                    Ok(seconds) => return Ok(seconds),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        let seconds = self.calls.run_in_turn(&self.turns, call).await?;
        let time =
            |id: &KeyId| seconds.get(id.as_str()).map(|&s| Timestamp::from_unix(s, 0).time());
        Ok(ids.iter().map(time).collect())
    }
}
