//! A key that is in the cache.

use std::time::Duration;

use tower_webhook::key::{KeyId, KeyManager, KeyRecord, KeyStore, NewKey, Owner, Verification};
use tower_webhook::store::{CachedKeyStore, LastUsedTracker, MemoryKeyStore};

use crate::support::{Nowhere, allocating};

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
    let mut found = 0;
    let mut visit = |record: Option<&KeyRecord>| found += usize::from(record.is_some());

    let allocating = allocating(|| assert!(store.try_find_now(&id, &mut visit)));

    assert_eq!(allocating, 0);
    assert_eq!(found, 2000);
}

#[test]
fn guarantee_13_a_cached_verification_allocates_nothing() {
    let (runtime, store, id, secret) = cached();
    let usage = LastUsedTracker::new(Nowhere);
    let verifier = KeyManager::new(store.clone()).verifier().with_last_used(usage.clone());

    let allocating = runtime.block_on(async {
        allocating(|| {
            let attempt = verifier.begin(secret.as_bytes());
            assert!(matches!(attempt, Verification::Ready(Ok(_))));
        })
    });

    assert_eq!(allocating, 0);
    assert!(usage.last_used(&id).is_some());
}
