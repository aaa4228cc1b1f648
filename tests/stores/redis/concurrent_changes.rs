//! Keys that are rotated, extended, revoked and deleted at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use time::Duration;
use tower_webhook::key::{KeyManager, KeyStore, ManageErrorKind, NewKey, VerifyErrorKind};
use tower_webhook::store::RedisKeyStore;

use super::support::{done, fresh, id, owner, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_rotations_one_secret_is_left() {
    let (_server, store) = fresh().await;
    let keys = KeyManager::new(store);
    let ann = owner("ann");
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let key = issued.record().id().clone();
    let rotations: Vec<_> = (0..60)
        .map(|_| {
            let (keys, ann, key) = (keys.clone(), ann.clone(), key.clone());
            tokio::spawn(async move { keys.rotate(&ann, &key, Duration::ZERO).await })
        })
        .collect();
    let mut secrets = vec![issued.secret().expose_secret().to_owned()];
    for rotation in rotations {
        let issued = rotation.await.unwrap().unwrap();
        secrets.push(issued.secret().expose_secret().to_owned());
    }

    let verifier = keys.verifier();
    let mut live = 0;
    for secret in &secrets {
        match verifier.verify(secret.as_bytes()).await {
            Ok(_) => live += 1,
            Err(error) => assert_eq!(error.kind(), VerifyErrorKind::WrongSecret),
        }
    }
    assert_eq!(live, 1);
    let version = keys.get(&ann, &key).await.unwrap().version();
    assert_eq!(version, issued.record().version() + 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_verifies_after_revoke_returned_in_any_process() {
    let (server, store) = fresh().await;
    // Three processes, as far as the server can tell.
    let other = RedisKeyStore::connect(&server.url()).await.unwrap();
    let third = RedisKeyStore::connect(&server.url()).await.unwrap();
    let keys = KeyManager::new(store);
    let others = KeyManager::new(other);
    let verifier = KeyManager::new(third).verifier();
    for round in 0..10 {
        let ann = owner("ann");
        let new = NewKey::new("laptop").with_expires_in(Duration::HOUR);
        let issued = keys.generate(&ann, new).await.unwrap();
        let key = issued.record().id().clone();
        let first = issued.secret().expose_secret().to_owned();
        let secrets = Arc::new(std::sync::Mutex::new(vec![first]));
        let revoked = Arc::new(AtomicBool::new(false));
        let verified = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..10 {
            let (others, ann, key) = (others.clone(), ann.clone(), key.clone());
            let secrets = secrets.clone();
            tasks.push(tokio::spawn(async move {
                match others.rotate(&ann, &key, Duration::MINUTE).await {
                    Ok(issued) => {
                        let secret = issued.secret().expose_secret().to_owned();
                        secrets.lock().unwrap().push(secret);
                    }
                    Err(error) => assert_eq!(error.kind(), ManageErrorKind::Revoked),
                }
                match others.extend(&ann, &key, Duration::MINUTE).await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ManageErrorKind::Revoked),
                }
            }));
        }
        for _ in 0..4 {
            let (verifier, secrets) = (verifier.clone(), secrets.clone());
            let (revoked, verified) = (revoked.clone(), verified.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..60 {
                    let secret = secrets.lock().unwrap().last().unwrap().clone();
                    let before = revoked.load(Ordering::SeqCst);
                    match verifier.verify(secret.as_bytes()).await {
                        Ok(_) => {
                            assert!(!before, "verified after revoke had returned");
                            verified.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert!(matches!(
                            error.kind(),
                            VerifyErrorKind::Revoked | VerifyErrorKind::WrongSecret
                        )),
                    }
                }
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(round * 2)).await;
        keys.revoke(&ann, &key).await.unwrap();
        revoked.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        let secrets = secrets.lock().unwrap().clone();
        for secret in secrets {
            let error = verifier.verify(secret.as_bytes()).await.unwrap_err();
            assert!(matches!(
                error.kind(),
                VerifyErrorKind::Revoked | VerifyErrorKind::WrongSecret
            ));
        }
        assert!(keys.get(&ann, &key).await.unwrap().revoked_at().is_some());
        assert_eq!(keys.list(&ann, None, 99).await.unwrap().keys().len(), round as usize + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_deletions_and_extensions_at_once_none_is_half_made() {
    let (server, store) = fresh().await;
    let keys = KeyManager::new(store.clone());
    let ann = owner("ann");
    for _ in 0..20 {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let new = NewKey::new("laptop").with_expires_in(Duration::HOUR);
            ids.push(keys.generate(&ann, new).await.unwrap().record().id().clone());
        }
        let mut tasks = Vec::new();
        for id in ids.clone() {
            let (keys, ann) = (keys.clone(), ann.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..5 {
                    match keys.extend(&ann, &id, Duration::MINUTE).await {
                        Ok(_) => {}
                        Err(error) => assert_eq!(error.kind(), ManageErrorKind::NotFound),
                    }
                }
            }));
        }
        // Of two deletions of the same keys one succeeds.
        let two = [keys.clone(), keys.clone()].map(|keys| {
            let (ann, ids) = (ann.clone(), ids.clone());
            tokio::spawn(async move { keys.delete(&ann, &ids).await })
        });
        let mut deleted = 0;
        for deletion in two {
            match deletion.await.unwrap() {
                Ok(()) => deleted += 1,
                // Extensions may have come in between every time.
                Err(error) => assert!(matches!(
                    error.kind(),
                    ManageErrorKind::NotFound | ManageErrorKind::Unavailable
                )),
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(deleted <= 1);
        let left = keys.list(&ann, None, 9).await.unwrap().into_keys();
        assert_eq!(left.len(), if deleted == 1 { 0 } else { 3 });
        if deleted == 0 {
            keys.delete(&ann, &ids).await.unwrap();
        }
    }
    let left = server.command(&["KEYS", "*"]);
    let left: Vec<String> = redis::FromRedisValue::from_redis_value(left).unwrap();
    assert_eq!(left, ["{tower-webhook}:sentinel"]);
}

#[tokio::test]
async fn an_expired_key_is_refused_by_its_record_and_stays() {
    let (server, store) = fresh().await;
    let now = time::OffsetDateTime::now_utc();
    let expired = record("k").with_expires_at(Some(now - Duration::SECOND));
    assert_eq!(store.insert(expired).await.unwrap(), tower_webhook::key::WriteOutcome::Applied);
    assert_eq!(server.command(&["TTL", "{tower-webhook}:record:k"]), redis::Value::Int(-1));
    assert!(store.find(&id("k")).await.unwrap().is_some());
    let keys = KeyManager::new(store);
    keys.extend(&owner("ann"), &id("k"), Duration::HOUR).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_from_before_a_change_is_no_older_than_allowed() {
    let (_server, store) = fresh().await;
    let keys = KeyManager::new(store.clone());
    let ann = owner("ann");
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let key = issued.record().id().clone();
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, key, ended) = (store.clone(), key.clone(), ended.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while !ended.load(Ordering::SeqCst) {
                    let version = store.find(&key).await.unwrap().unwrap().version();
                    assert!(version >= last);
                    last = version;
                }
            })
        })
        .collect();
    for _ in 0..200 {
        let version = keys.rotate(&ann, &key, Duration::ZERO).await.unwrap().record().version();
        assert!(store.find(&key).await.unwrap().unwrap().version() >= version);
    }
    ended.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[test]
fn a_runtime_that_ends_during_calls_leaves_whole_changes() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (server, _) = runtime().block_on(fresh());
    let made = Arc::new(AtomicUsize::new(0));
    for round in 0..8 {
        let ending = runtime();
        let store = ending.block_on(RedisKeyStore::connect(&server.url())).unwrap();
        let changes = store.clone();
        let counter = Arc::clone(&made);
        ending.spawn(async move {
            for number in 0.. {
                let key = format!("k{round}.{number}");
                done(changes.insert(record(&key)).await);
                counter.fetch_add(1, Ordering::Relaxed);
                done(changes.replace(record(&key).with_version(2), 1).await);
            }
        });
        let started = std::time::Instant::now();
        while made.load(Ordering::Relaxed) < 2 * (round + 1) {
            assert!(started.elapsed() < std::time::Duration::from_secs(60), "no change is made");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(round as u64));
        drop(ending);
        let call = futures_util::FutureExt::now_or_never(store.find(&id("k0.0")));
        assert!(call.unwrap().is_err(), "there is no runtime");
    }
    runtime().block_on(async {
        let store = RedisKeyStore::connect(&server.url()).await.unwrap();
        let store = store.with_deadline(std::time::Duration::from_secs(5));
        let listed = store.list(&owner("ann"), None, 100_000).await.unwrap();
        assert!(listed.len() >= made.load(Ordering::Relaxed));
        assert!(listed.iter().all(|record| (1..=2).contains(&record.version())));
    });
}
