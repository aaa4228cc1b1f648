//! A scan over all keys.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, query};

use super::{SqliteKeyStore, acquire, other_record, read};
use crate::key::{KeyRecord, StoreError};
use crate::store::KeyScan;
use crate::store::sql::{Checkout, SCAN_PAGE_LEN};

/// Keyset pagination over the primary key.
#[async_trait]
impl KeyScan for SqliteKeyStore {
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError> {
        // Every id is greater than the empty text.
        let mut after = String::new();
        loop {
            let start = after.clone();
            let call = |mut checkout: Checkout<Sqlite>| async move {
                let connection = checkout.connection().map_err(StoreError::new)?;
                let rows = query(
                    "SELECT id, record, checksum FROM keys WHERE id > ?1 ORDER BY id LIMIT ?2",
                );
                let rows = rows.bind(start).bind(SCAN_PAGE_LEN).fetch_all(connection).await;
                let rows = rows.map_err(StoreError::new)?;
                let records = rows.iter().map(read_own).collect::<Result<Vec<_>, _>>()?;
                checkout.finish();
                Ok(records)
            };
            let page = self.tasks.spawn_with(acquire(&self.readers), call).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id().to_string();
            page.into_iter().for_each(&mut *visit);
        }
    }
}

/// The record in a row that has the column `id` too.
fn read_own(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let id: &str = row.try_get("id").map_err(StoreError::new)?;
    let record = read(row)?;
    if record.id().as_str() == id { Ok(record) } else { Err(other_record()) }
}
