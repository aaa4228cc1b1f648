//! Records, and what a store has of them.

use std::env;
use std::str::FromStr;

use time::{Duration, OffsetDateTime};
use tower_webhook::key::{KeyHasher, KeyId, KeyRecord, KeyStore, Owner, ParsedKey, WriteOutcome};

/// The number of a variable of the environment.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

pub(crate) fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

pub(crate) fn owner(text: &str) -> Owner {
    Owner::new(text).unwrap()
}

pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
}

pub(crate) fn record(key: &str, of: &str, second: i64) -> KeyRecord {
    record_at(key, of, at(second))
}

pub(crate) fn record_at(key: &str, of: &str, created_at: OffsetDateTime) -> KeyRecord {
    let digest = KeyHasher::sha256().digest(&ParsedKey::new(id(key), "secret"));
    KeyRecord::new(id(key), owner(of), "laptop", digest, created_at).unwrap()
}

/// What the store has under this id, as text.
pub(crate) async fn found(store: &impl KeyStore, key: &str) -> Option<String> {
    store.find(&id(key)).await.unwrap().map(|record| record.encode())
}

pub(crate) async fn insert(store: &impl KeyStore, record: &KeyRecord) {
    assert_eq!(store.insert(record.clone()).await.unwrap(), WriteOutcome::Applied);
}
