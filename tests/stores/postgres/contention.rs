//! Many who want the same.

use std::time::Duration;

use sqlx::{AssertSqlSafe, raw_sql};
use tower_webhook::key::{KeyManager, KeyStore, WriteOutcome};
use tower_webhook::store::PostgresKeyStore;

use super::server::shared;
use super::support::{id, insert, new_schema, owner, record, store, store_in};
use crate::shared::records;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_changes_to_one_version_one_wins() {
    let server = shared();
    let levels = ["read%20committed", "repeatable%20read", "serializable"];
    for level in levels {
        let schema = new_schema();
        store_in(&server.url(), &schema).await;
        let level = level.replace("%20", "%5C%20");
        let url = format!("{}&options=-c%20default_transaction_isolation%3D{level}", server.url());
        let store = PostgresKeyStore::connect(&url).await.unwrap().with_schema(&schema).unwrap();
        insert(&store, &record("k", "ann", 0)).await;
        for version in 1..10 {
            let changes = (0..8).map(|number| {
                let store = store.clone();
                let new = record("k", "ann", 0).with_version(version + 1);
                let new = new.with_name(number.to_string()).unwrap();
                tokio::spawn(async move { store.replace(new, version).await })
            });
            let changes: Vec<_> = changes.collect();
            let mut done = 0;
            for change in changes {
                // A serialization failure that comes back every time is an error, and no change.
                done += usize::from(
                    change.await.unwrap().is_ok_and(|write| write == WriteOutcome::Applied),
                );
            }
            assert_eq!(done, 1, "{level}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    for key in ["a", "b"] {
        insert(&store, &record(key, "ann", 0)).await;
    }
    let mut other = server.connect().await;
    let lock = |key| {
        AssertSqlSafe(format!("SELECT 1 FROM {schema}.webhook_keys WHERE id = '{key}' FOR UPDATE"))
    };
    // The other side looks for deadlocks so late that the store's side finds it and gives way.
    raw_sql("SET deadlock_timeout = '30s'; BEGIN").execute(&mut other).await.unwrap();
    raw_sql(lock("b")).fetch_all(&mut other).await.unwrap();
    let remove = {
        let store = store.clone();
        tokio::spawn(async move { store.remove(&owner("ann"), &[id("a"), id("b")]).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    raw_sql(lock("a")).fetch_all(&mut other).await.unwrap();
    raw_sql("COMMIT").execute(&mut other).await.unwrap();

    assert_eq!(remove.await.unwrap().unwrap(), WriteOutcome::Applied);
    assert!(store.list(&owner("ann"), None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_removed_while_others_change_it_is_whole() {
    let server = shared();
    let store = store(&server.url()).await;
    let ann = owner("ann");
    for round in 0..20 {
        let keys: Vec<_> = (0..5).map(|number| format!("k{round}.{number}")).collect();
        for key in &keys {
            insert(&store, &record(key, "ann", 0)).await;
        }
        let ids: Vec<_> = keys.iter().map(|key| id(key)).collect();
        let mut tasks = Vec::new();
        for order in 0..3 {
            let (store, mut ids, ann) = (store.clone(), ids.clone(), ann.clone());
            ids.rotate_left(order);
            tasks.push(tokio::spawn(async move { store.remove(&ann, &ids).await.unwrap() }));
        }
        for key in &keys {
            let (store, new) = (store.clone(), record(key, "ann", 0).with_version(2));
            tasks.push(tokio::spawn(async move {
                let _ = store.replace(new, 1).await.unwrap();
                WriteOutcome::Conflict
            }));
        }
        let mut done = 0;
        for task in tasks {
            done += usize::from(task.await.unwrap() == WriteOutcome::Applied);
        }
        assert_eq!(done, 1);
        assert!(store.list(&ann, None, 100).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_fails_every_verification_that_starts_later() {
    let (server, schema) = (shared(), new_schema());
    let one = KeyManager::new(store_in(&server.url(), &schema).await);
    let two = KeyManager::new(store_in(&server.url(), &schema).await);
    records::revoked_keys_are_refused_from_then_on(&one, &two).await;
}
