//! What must not allocate does not. In a binary of its own, because the counting allocator is global.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_webhook::key::{
    CachedKeyStore, KeyId, KeyManager, KeyRecord, KeyStore, MemoryKeyStore, NewKey, Owner,
    StoreError, UsageSink, UsageTracker,
};

/// How many allocations 1000 calls make, in the best of some runs: the map does some work of its own
/// now and then.
fn least(mut call: impl FnMut()) -> u64 {
    let mut run = || (0..1000).for_each(|_| call());
    run();
    (0..20).map(|_| allocation_counter::measure(&mut run).count_total).min().unwrap()
}

fn cached() -> (tokio::runtime::Runtime, CachedKeyStore<MemoryKeyStore>, KeyId, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = CachedKeyStore::new(MemoryKeyStore::new());
    let store = store.with_ttl(Duration::from_secs(60)).unwrap();
    let (id, secret) = runtime.block_on(async {
        let keys = KeyManager::new(store.clone());
        let new = NewKey::new("a name that is longer than what is kept in place");
        let issued = keys.generate(&Owner::new("ann").unwrap(), new).await.unwrap();
        let id = issued.record().id().clone();
        store.find(&id).await.unwrap().unwrap();
        (id, issued.secret().expose_secret().to_owned())
    });
    (runtime, store, id, secret)
}

#[test]
fn guarantee_13_a_hit_allocates_nothing() {
    let (_runtime, store, id, _) = cached();
    let mut versions = 0;
    let mut visit = |record: Option<&KeyRecord>| versions += record.unwrap().version();

    let allocations = least(|| assert!(store.find_ready(&id, &mut visit)));

    assert_eq!(allocations, 0);
    assert_eq!(versions, 21_000);
}

#[test]
fn guarantee_13_a_verification_from_the_cache_allocates_nothing() {
    let (runtime, store, id, secret) = cached();
    let usage = UsageTracker::new(Nowhere);
    let verifier = KeyManager::new(store.clone()).verifier().with_usage(&usage);

    let allocations = runtime.block_on(async {
        least(|| {
            let attempt = verifier.begin(secret.as_bytes());
            assert!(matches!(attempt, tower_webhook::key::Attempt::Ready(Ok(_))));
        })
    });

    assert_eq!(allocations, 0);
    assert!(usage.last_used(&id).is_some());
}

#[test]
fn to_record_a_use_of_a_known_key_allocates_nothing() {
    let usage = UsageTracker::new(Nowhere);
    let id = KeyId::new("an-id-that-is-longer-than-what-is-kept-in-place").unwrap();
    let mut now = OffsetDateTime::UNIX_EPOCH;

    let allocations = least(|| {
        now += time::Duration::SECOND;
        usage.record(&id, now);
    });

    assert_eq!(allocations, 0);
    assert_eq!(usage.last_used(&id), Some(now));
}

struct Nowhere;

#[async_trait]
impl UsageSink for Nowhere {
    async fn write(&self, _: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        Ok(())
    }
}
