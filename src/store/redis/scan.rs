//! A scan over all keys.

use async_trait::async_trait;
use redis::Value;

use super::commands::{ReadPipeline, list, text};
use super::names::Names;
use super::{RedisKeyStore, RedisStoreError, RedisStoreErrorKind};
use crate::key::{KeyId, KeyRecord, StoreError};
use crate::store::KeyScan;

/// How many names the server looks at in one step. About as many of them are records of the namespace as the
/// namespace has a share in the server.
const STEP_LEN: usize = 1000;

/// The cursor of `SCAN`: only the server knows what it means. It is `0` at the start and at the end.
pub(super) struct ScanCursor(Option<Vec<u8>>);

impl ScanCursor {
    pub(super) fn start() -> Self {
        Self(Some(b"0".to_vec()))
    }

    pub(super) fn is_end(&self) -> bool {
        self.0.is_none()
    }
}

impl ReadPipeline {
    /// One step of a scan over the records of a namespace.
    pub(super) fn scan(&mut self, cursor: &ScanCursor, names: &Names) {
        let cursor = cursor.0.as_deref().unwrap_or_default();
        self.arg("SCAN", (cursor, "MATCH", names.all_records(), "COUNT", STEP_LEN));
    }
}

/// The answer to one step: where the scan continues, and the names of records.
pub(super) fn scanned(answers: Vec<Value>) -> Result<(ScanCursor, Vec<Value>), RedisStoreError> {
    let unexpected = || RedisStoreError::new(RedisStoreErrorKind::UnexpectedReply);
    let [step] = <[Value; 1]>::try_from(answers).map_err(|_| unexpected())?;
    let [next, found] = <[Value; 2]>::try_from(list(step)?).map_err(|_| unexpected())?;
    let next = text(next)?.ok_or_else(unexpected)?;
    Ok((ScanCursor((next != b"0").then_some(next)), list(found)?))
}

impl RedisKeyStore {
    async fn scan_step(
        &self,
        cursor: &ScanCursor,
    ) -> Result<(ScanCursor, Vec<KeyRecord>), RedisStoreError> {
        let mut pipeline = self.pipeline();
        pipeline.scan(cursor, self.names());
        let (next, found) = scanned(pipeline.query(self.link()).await?)?;
        let invalid = || RedisStoreError::new(RedisStoreErrorKind::InvalidRecord);
        let mut ids: Vec<KeyId> = Vec::with_capacity(found.len());
        for name in found {
            let name = text(name)?.ok_or_else(invalid)?;
            ids.push(self.names().record_id(&name).ok_or_else(invalid)?);
        }
        Ok((next, self.records_that_are_there(&ids).await?))
    }
}

#[async_trait]
impl KeyScan for RedisKeyStore {
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError> {
        let mut cursor = ScanCursor::start();
        while !cursor.is_end() {
            let (next, records) = self.namespace.run(self.scan_step(&cursor)).await?;
            records.into_iter().for_each(&mut *visit);
            cursor = next;
        }
        Ok(())
    }
}
