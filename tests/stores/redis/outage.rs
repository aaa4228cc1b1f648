//! Servers that are killed, paused and emptied.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyManager, KeyStore, NewKey, VerifyErrorKind, WriteOutcome};
use tower_webhook::store::{RedisKeyStore, RedisStoreErrorKind};

use super::server::Server;
use super::support::{DEADLINE, conflict, done, fresh, id, kind, owner, record, recovers};
use crate::support::SLACK;

#[tokio::test]
async fn a_killed_server_is_an_error_until_it_is_restarted() {
    let (mut server, store) = fresh().await;
    let store = store.with_deadline(DEADLINE);
    done(store.insert(record("k")).await);
    for round in 0..3 {
        server.kill();
        for _ in 0..3 {
            let started = Instant::now();
            store.find(&id("k")).await.unwrap_err();
            assert!(started.elapsed() < DEADLINE + SLACK);
        }
        store.insert(record("l")).await.unwrap_err();
        store.replace(record("k").with_version(9), 1).await.unwrap_err();
        store.remove(&owner("ann"), &[id("k")]).await.unwrap_err();
        store.list(&owner("ann"), None, 9).await.unwrap_err();
        if round == 2 {
            // Long enough for the connection manager to have given up.
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        server.restart();
        assert!(recovers(&store, "k").await < Duration::from_secs(2));
    }
    // Everything that was acknowledged is there, and the first change works as well.
    server.restart();
    done(store.insert(record("l")).await);
    assert_eq!(store.list(&owner("ann"), None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_paused_server_is_an_error_within_the_deadline() {
    let (server, store) = fresh().await;
    let store = store.with_deadline(DEADLINE);
    done(store.insert(record("k")).await);
    for pause in [Duration::from_millis(100), Duration::from_secs(3)] {
        server.pause();
        let paused = Instant::now();
        while paused.elapsed() < pause {
            let started = Instant::now();
            store.find(&id("k")).await.unwrap_err();
            assert!(started.elapsed() < DEADLINE + SLACK);
        }
        server.resume();
        assert!(recovers(&store, "k").await < DEADLINE * 4);
    }
    // A change that is in the way when the server stops is made later, or never.
    server.pause();
    store.replace(record("k").with_version(2), 1).await.unwrap_err();
    server.resume();
    recovers(&store, "k").await;
    let version = store.find(&id("k")).await.unwrap().unwrap().version();
    assert!(version == 1 || version == 2);
}

#[tokio::test]
async fn an_emptied_server_is_an_outage_and_no_unknown_key() {
    let (mut server, store) = fresh().await;
    let keys = KeyManager::new(store.clone());
    let issued = keys.generate(&owner("ann"), NewKey::new("laptop")).await.unwrap();
    let text = issued.secret().expose_secret().as_bytes().to_vec();
    let verifier = keys.verifier();
    verifier.verify(&text).await.unwrap();

    server.command(&["FLUSHALL"]);
    let error = verifier.verify(&text).await.unwrap_err();
    assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
    assert_eq!(kind(store.insert(record("k")).await), RedisStoreErrorKind::NotInitialized);
    assert_eq!(store.check().await.unwrap_err().kind(), RedisStoreErrorKind::NotInitialized);

    server.restart_empty();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        let error = verifier.verify(&text).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
    }
    assert_eq!(kind(store.find(&id("k")).await), RedisStoreErrorKind::NotInitialized);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_server_was_killed() {
    let (mut server, store) = fresh().await;
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for index in 0.. {
                    let text = format!("k{round}-{index}");
                    match store.insert(record(&text)).await {
                        Ok(write) => assert_eq!(write, WriteOutcome::Applied),
                        Err(_) => break,
                    }
                    versions.push((text.clone(), 1));
                    match store.replace(record(&text).with_version(2), 1).await {
                        Ok(write) => assert_eq!(write, WriteOutcome::Applied),
                        Err(_) => break,
                    }
                    versions.push((text, 2));
                }
                versions
            })
        };
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill();
        acknowledged.extend(writer.await.unwrap());
        server.restart();
        for (text, version) in &acknowledged {
            recovers(&store, text).await;
            let found = store.find(&id(text)).await.unwrap().unwrap();
            assert!(found.version() >= *version, "{text}");
        }
        // Nothing is half there: every record is in the index, and the other way round.
        let listed = store.list(&owner("ann"), None, 100_000).await.unwrap();
        let names = server.command(&["KEYS", "{tower-webhook}:record:*"]);
        let names: Vec<String> = redis::FromRedisValue::from_redis_value(names).unwrap();
        assert_eq!(listed.len(), names.len());
    }
    assert!(acknowledged.len() > 10);
}

#[tokio::test]
async fn a_change_that_waits_for_replicas_says_when_they_are_missing() {
    let (server, plain) = fresh().await;
    for (replicas, timeout) in [(0, 100), (1, 0)] {
        let refused = plain.clone().with_wait(replicas, Duration::from_millis(timeout));
        assert!(refused.is_err());
    }
    let store = plain.clone().with_wait(1, Duration::from_millis(700)).unwrap();
    let keys = KeyManager::new(store.clone());

    // Made, and not confirmed. Look-ups do not wait behind it.
    let started = Instant::now();
    let slow = {
        let store = store.clone();
        tokio::spawn(async move { store.insert(record("k")).await })
    };
    while store.find(&id("k")).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!slow.is_finished());
    assert_eq!(kind(slow.await.unwrap()), RedisStoreErrorKind::NotDurable);
    assert!(started.elapsed() >= Duration::from_millis(700));
    conflict(store.insert(record("k")).await);

    let replica = Server::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
    let started = Instant::now();
    let mut version = 1;
    loop {
        let next = record("k").with_version(version + 1);
        match store.replace(next, version).await {
            Ok(write) => {
                assert_eq!(write, WriteOutcome::Applied);
                break;
            }
            Err(_) => version = store.find(&id("k")).await.unwrap().unwrap().version(),
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    keys.revoke(&owner("ann"), &id("k")).await.unwrap();
    let copy = RedisKeyStore::connect(&replica.url()).await.unwrap();
    assert!(copy.find(&id("k")).await.unwrap().unwrap().revoked_at().is_some());
    server.command(&["SCRIPT", "FLUSH"]);
    done(store.remove(&owner("ann"), &[id("k")]).await);
    assert!(copy.find(&id("k")).await.unwrap().is_none());

    replica.pause();
    assert_eq!(kind(store.insert(record("l")).await), RedisStoreErrorKind::NotDurable);
    replica.resume();
}
