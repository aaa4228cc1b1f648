//! When keys were last used.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{Row, Sqlite, query};
use time::OffsetDateTime;

use super::{SqliteKeyStore, acquire};
use crate::clock::Timestamp;
use crate::key::{KeyId, StoreError};
use crate::store::sql::Checkout;
use crate::store::{LastUsedSink, LastUsedSource};

/// Times are texts of whole seconds, whose order is that of the times. Ids that have no key are left
/// out.
const WRITE: &str = "INSERT INTO key_usage (id, last_used)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1)
WHERE json_extract(value, '$[0]') IN (SELECT id FROM keys)
ON CONFLICT (id) DO UPDATE SET last_used = max(last_used, excluded.last_used)";

const READ: &str =
    "SELECT id, last_used FROM key_usage WHERE id IN (SELECT value FROM json_each(?1))";

#[async_trait]
impl LastUsedSink for SqliteKeyStore {
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let second = |time| Timestamp::from_unix(Timestamp::new(time).seconds(), 0).encode();
        let batch: Vec<_> = batch.into_iter().map(|(id, time)| (id, second(time))).collect();
        let batch = serde_json::to_string(&batch).map_err(StoreError::new)?;
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let write = query(WRITE).bind(batch);
            write.execute(connection).await.map_err(StoreError::new)?;
            checkout.finish();
            Ok(())
        };
        self.tasks.spawn_with(acquire(&self.writer), call).await
    }

    fn source(&self) -> Option<&dyn LastUsedSource> {
        Some(self)
    }
}

#[async_trait]
impl LastUsedSource for SqliteKeyStore {
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        let asked = serde_json::to_string(ids).map_err(StoreError::new)?;
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let rows = query(READ).bind(asked).fetch_all(connection).await;
            let mut times = HashMap::new();
            for row in rows.map_err(StoreError::new)? {
                let id: String = row.try_get("id").map_err(StoreError::new)?;
                let time: &str = row.try_get("last_used").map_err(StoreError::new)?;
                let time = Timestamp::decode(time)
                    .ok_or_else(|| StoreError::new("the time of last use of a key is no time"))?;
                times.insert(id, time.time());
            }
            checkout.finish();
            Ok(times)
        };
        let times = self.tasks.spawn_with(acquire(&self.readers), call).await?;
        Ok(ids.iter().map(|id| times.get(id.as_str()).copied()).collect())
    }
}
