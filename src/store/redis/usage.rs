//! When keys were last used.

use async_trait::async_trait;
use redis::Value;
use time::OffsetDateTime;

use super::commands::{Lua, list};
use super::{RedisKeyStore, RedisStoreError, RedisStoreErrorKind};
use crate::clock::Timestamp;
use crate::key::{KeyId, StoreError};
use crate::store::{LastUsedSink, LastUsedSource};

impl RedisKeyStore {
    /// No replica is waited for: a time that a fail-over takes back is written with the next use.
    async fn write_usage(&self, batch: &[(KeyId, i64)]) -> Result<(), RedisStoreError> {
        let mut call = self.script(Lua::usage()).keys([self.names().usage()]);
        for (id, second) in batch {
            let arguments = [second.to_string(), id.to_string()];
            call = call.keys([self.names().record(id)]).arguments(arguments);
        }
        call.execute(self.link(), None).await.map(drop)
    }

    async fn read_usage(
        &self,
        ids: &[KeyId],
    ) -> Result<Vec<Option<OffsetDateTime>>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        let names: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        pipeline.arg("ZMSCORE", (self.names().usage(), names));
        let mut answers = pipeline.query(self.link()).await?;
        let scores = list(answers.pop().unwrap_or_default())?;
        if scores.len() != ids.len() {
            return Err(RedisStoreErrorKind::UnexpectedReply.into());
        }
        scores.iter().map(time_of).collect()
    }
}

/// The time that a score is.
fn time_of(score: &Value) -> Result<Option<OffsetDateTime>, RedisStoreError> {
    if *score == Value::Nil {
        return Ok(None);
    }
    let second = redis::from_redis_value_ref::<i64>(score)
        .map_err(|_| RedisStoreError::new(RedisStoreErrorKind::UnexpectedReply))?;
    Ok(Some(Timestamp::from_unix(second, 0).time()))
}

#[async_trait]
impl LastUsedSink for RedisKeyStore {
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let second = |time| Timestamp::new(time).seconds();
        let batch: Vec<_> = batch.into_iter().map(|(id, time)| (id, second(time))).collect();
        self.namespace.run(self.write_usage(&batch)).await
    }

    fn source(&self) -> Option<&dyn LastUsedSource> {
        Some(self)
    }
}

#[async_trait]
impl LastUsedSource for RedisKeyStore {
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        // `ZMSCORE` wants at least one.
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.namespace.run(self.read_usage(ids)).await
    }
}
