use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tower_webhook::key::{KeyRecord, KeyStore, StoreError};
use tower_webhook::store::PostgresKeyStore;

pub(crate) use crate::shared::{at, found, id, insert, owner, record, setting};

/// A schema that no other test uses.
pub(crate) fn new_schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An empty store in a schema of its own.
pub(crate) async fn store(url: &str) -> PostgresKeyStore {
    store_in(url, &new_schema()).await
}

pub(crate) async fn store_in(url: &str, schema: &str) -> PostgresKeyStore {
    let store = PostgresKeyStore::connect(url).await.unwrap().with_schema(schema).unwrap();
    store.migrate().await.unwrap();
    store
}

pub(crate) async fn find(
    store: &PostgresKeyStore,
    key: &str,
) -> Result<Option<KeyRecord>, StoreError> {
    store.find(&id(key)).await
}

/// Waits for the store to work again, and fails if that takes too long.
pub(crate) async fn recovers<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let started = Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                assert!(started.elapsed() < Duration::from_secs(10), "{error:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
