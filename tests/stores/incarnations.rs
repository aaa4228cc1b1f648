//! A key that is deleted and made again under its id is another key: nothing brings the old one back.

use std::collections::BTreeSet;

use time::Duration;
use tower_webhook::credential::Secret;
use tower_webhook::key::{
    KeyId, KeyManager, KeyUpdate, ManageErrorKind, NewKey, Scopes, VerifyErrorKind,
};
use tower_webhook::store::MemoryKeyStore;

use crate::support::{TestStore, owner};

/// The text of a new key under the id of all tests.
async fn make(keys: &KeyManager) -> String {
    let new = NewKey::new("key").with_id(id()).with_expires_in(Duration::HOUR);
    let issued = keys.generate(&owner("ann"), new).await.unwrap();
    issued.secret().expose_secret().to_owned()
}

fn id() -> KeyId {
    KeyId::new("0123456789abcdef").unwrap()
}

/// One of the changes, while the key is deleted and made again. Returns the texts of both keys.
async fn overtaken(change: &str) -> (KeyManager, String, String) {
    let store = TestStore::default();
    let keys = KeyManager::new(store.clone());
    let others = KeyManager::new(store.memory.clone());
    let old = make(&keys).await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    store.before_replace(async move {
        others.delete(&owner("ann"), &[id()]).await.unwrap();
        sender.send(make(&others).await).unwrap();
    });
    let ann = owner("ann");
    match change {
        "update" => drop(keys.update(&ann, &id(), KeyUpdate::new().with_name("new")).await),
        "extend" => drop(keys.extend(&ann, &id(), Duration::HOUR).await),
        "rotate" => drop(keys.rotate(&ann, &id(), Duration::HOUR).await),
        "disable" => drop(keys.disable(&ann, &id()).await),
        "revoke" => drop(keys.revoke(&ann, &id()).await),
        other => panic!("{other} is no change of a key"),
    }
    assert!(store.is_over());
    (keys, old, receiver.await.unwrap())
}

#[tokio::test]
async fn no_change_brings_a_deleted_key_back() {
    for change in ["update", "extend", "rotate", "disable", "revoke"] {
        let (keys, old, new) = overtaken(change).await;

        // A wrong secret is seen before the state of the record.
        let refusal = keys.verifier().verify(old.as_bytes()).await.unwrap_err();
        assert_eq!(refusal.kind(), VerifyErrorKind::WrongSecret, "{change}");
        let new = keys.verifier().verify(new.as_bytes()).await;
        assert_eq!(new.is_ok(), !matches!(change, "disable" | "revoke"), "{change}: {new:?}");
    }
}

#[tokio::test]
async fn every_new_record_begins_at_a_version_of_its_own() {
    let keys = KeyManager::new(MemoryKeyStore::new());
    let other = KeyManager::new(MemoryKeyStore::new());
    let ann = owner("ann");
    let mut versions = BTreeSet::new();
    for _ in 0..100 {
        let text = make(&keys).await;
        versions.insert(keys.get(&ann, &id()).await.unwrap().version());
        let new = NewKey::new("taken over").with_scopes(Scopes::ALL);
        let taken = other.import(&ann, Secret::new(text), new).await.unwrap();
        versions.insert(taken.version());
        for keys in [&keys, &other] {
            keys.delete(&ann, &[id()]).await.unwrap();
        }
    }
    assert_eq!(versions.len(), 200);
    assert!(versions.iter().all(|version| *version < 1 << 62));
    // Drawn from the whole range: a smaller one has not had 1 of 200 in the upper half.
    assert!(versions.last().is_some_and(|version| *version > 1 << 61));
}

#[tokio::test]
async fn a_change_of_a_key_that_is_gone_is_not_found() {
    let store = TestStore::default();
    let keys = KeyManager::new(store.clone());
    let others = KeyManager::new(store.memory.clone());
    make(&keys).await;
    store.before_replace(async move { others.delete(&owner("ann"), &[id()]).await.unwrap() });

    let refused = keys.disable(&owner("ann"), &id()).await.unwrap_err();
    assert_eq!(refused.kind(), ManageErrorKind::NotFound);
}

/// A cache in front of a store that another process changes.
#[cfg(feature = "cache")]
mod behind_a_cache {
    use std::sync::Arc;
    use std::time::Duration as StdDuration;

    use time::OffsetDateTime;
    use tower_webhook::Clock;
    use tower_webhook::key::{KeyRecord, KeyStore, OpaqueFormat, WriteOutcome};
    use tower_webhook::store::CachedKeyStore;

    use super::*;

    const TTL: StdDuration = StdDuration::from_millis(200);

    #[tokio::test]
    async fn a_new_key_works_after_one_ttl_at_any_version() {
        // The order of two random versions is right by chance every second time.
        for _ in 0..8 {
            let database = Arc::new(MemoryKeyStore::new());
            let cached = CachedKeyStore::new(Arc::clone(&database)).with_ttl(TTL).unwrap();
            let keys = KeyManager::new(cached);
            let elsewhere = KeyManager::new(database);
            let old = make(&elsewhere).await;
            // More than one change: the version is above the first one.
            for disabled in [true, false, true, false] {
                let update = KeyUpdate::new().with_disabled(disabled);
                elsewhere.update(&owner("ann"), &id(), update).await.unwrap();
            }
            let verifier = keys.verifier();
            assert!(verifier.verify(old.as_bytes()).await.is_ok());

            elsewhere.delete(&owner("ann"), &[id()]).await.unwrap();
            let new = make(&elsewhere).await;
            tokio::time::sleep(TTL + StdDuration::from_millis(20)).await;

            assert!(verifier.verify(new.as_bytes()).await.is_ok());
            let refusal = verifier.verify(old.as_bytes()).await.unwrap_err();
            assert_eq!(refusal.kind(), VerifyErrorKind::WrongSecret);
        }
    }

    #[tokio::test]
    async fn a_store_that_went_back_to_an_earlier_key_is_an_error() {
        let at = |second: i64| OffsetDateTime::from_unix_timestamp(1_800_000_000 + second).unwrap();
        let database = Arc::new(MemoryKeyStore::new());
        let cached = CachedKeyStore::new(Arc::clone(&database)).with_ttl(TTL).unwrap();
        let at_second = |second| {
            let clock = Clock::from_fn(move || at(second));
            KeyManager::new(MemoryKeyStore::new())
                .with_clock(clock)
                .with_format(OpaqueFormat::new())
        };
        let ann = owner("ann");
        let made = async |second, version| -> KeyRecord {
            let text = "0123456789abcdef0123456789abcdef0123456789a".to_owned();
            let record = at_second(second)
                .import(&ann, Secret::new(text), NewKey::new("key"))
                .await
                .unwrap();
            record.with_version(version)
        };
        let (first, second) = (made(0, 9).await, made(1, 3).await);
        assert_eq!(first.id(), second.id());

        assert_eq!(database.insert(second.clone()).await.unwrap(), WriteOutcome::Applied);
        assert!(cached.find(second.id()).await.is_ok());
        let ids = [first.id().clone()];
        assert_eq!(database.remove(&ann, &ids).await.unwrap(), WriteOutcome::Applied);
        assert_eq!(database.insert(first.clone()).await.unwrap(), WriteOutcome::Applied);
        assert!(cached.find(first.id()).await.is_err());
    }
}
