//! A scan over all keys.

use async_trait::async_trait;

use super::PostgresKeyStore;
use super::retry::retry;
use crate::key::{KeyRecord, StoreError};
use crate::store::KeyScan;

/// Keyset pagination over the primary key.
#[async_trait]
impl KeyScan for PostgresKeyStore {
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError> {
        // Every id is greater than the empty text.
        let mut after = String::new();
        loop {
            let scan = retry(|attempt| self.statements.scan(attempt, &after));
            let page = self.tasks.run(scan).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id().to_string();
            page.into_iter().for_each(&mut *visit);
        }
    }
}
