use std::env;
use std::future::Future;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tower_webhook::key::{
    KeyHasher, KeyId, KeyRecord, KeyStore, Owner, ParsedKey, StoreError, WriteOutcome,
};
use tower_webhook::store::PostgresKeyStore;

pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

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

pub(crate) fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

pub(crate) fn owner(text: &str) -> Owner {
    Owner::new(text).unwrap()
}

pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
}

pub(crate) fn record(key: &str, of: &str, second: i64) -> KeyRecord {
    let key = id(key);
    let digest = KeyHasher::sha256().digest(&ParsedKey::new(key.clone(), "secret"));
    KeyRecord::new(key, owner(of), "laptop", digest, at(second)).unwrap()
}

pub(crate) async fn found(store: &PostgresKeyStore, key: &str) -> Option<String> {
    store.find(&id(key)).await.unwrap().map(|record| record.encode())
}

pub(crate) async fn insert(store: &PostgresKeyStore, record: &KeyRecord) {
    assert_eq!(store.insert(record.clone()).await.unwrap(), WriteOutcome::Applied);
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
