//! Behind a pooler that gives every transaction another connection.

use std::time::Duration;

use tower_webhook::key::{KeyManager, KeyStore, NewKey, WriteOutcome};
use tower_webhook::store::PostgresKeyStore;

use super::pooler::Pooler;
use super::server::{Server, shared};
use super::support::{found, id, insert, owner, record, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_works_on_other_connections_for_every_transaction() {
    let server = Server::start();
    let pooler = Pooler::start(server.port()).await;
    let store = store(&pooler.url()).await.with_transaction_pooling();
    store.check().await.unwrap();
    let tasks = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let of = owner(&format!("owner{task}"));
            for number in 0..30 {
                let key = format!("k{task}.{number}");
                insert(&store, &record(&key, of.as_str(), number)).await;
                assert!(found(&store, &key).await.is_some());
                let new = record(&key, of.as_str(), number).with_version(2);
                assert_eq!(store.replace(new, 1).await.unwrap(), WriteOutcome::Applied);
                let listed = store.list(&of, None, 100).await.unwrap();
                assert_eq!(listed.len(), number as usize + 1);
            }
            let gone = [id(&format!("k{task}.0")), id(&format!("k{task}.1"))];
            assert_eq!(store.remove(&of, &gone).await.unwrap(), WriteOutcome::Applied);
            assert_eq!(store.remove(&of, &gone).await.unwrap(), WriteOutcome::Conflict);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_live_their_lives_behind_a_pooler() {
    let server = Server::start();
    let pooler = Pooler::start(server.port()).await;
    let keys = KeyManager::new(store(&pooler.url()).await.with_transaction_pooling());
    let ann = owner("ann");
    for _ in 0..10 {
        let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let key = issued.record().id().clone();
        keys.verifier().verify(issued.secret().expose_secret().as_bytes()).await.unwrap();
        keys.rotate(&ann, &key, time::Duration::HOUR).await.unwrap();
        keys.revoke(&ann, &key).await.unwrap();
        keys.delete(&ann, &[key]).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_left_in_a_session() {
    let server = shared();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = options.connect(&server.url()).await.unwrap();
    let schema = super::support::new_schema();
    let store = PostgresKeyStore::new(pool.clone()).with_schema(&schema).unwrap();
    let store = store.with_transaction_pooling();
    store.migrate().await.unwrap();
    for number in 0..5 {
        insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
        found(&store, "k0").await.unwrap();
        store.list(&owner("ann"), None, 10).await.unwrap();
        let _ = store.remove(&owner("ann"), &[id("missing")]).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let left = "SELECT count(*) AS n FROM pg_prepared_statements WHERE NOT from_sql";
        let left = sqlx::raw_sql(left).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(sqlx::Row::get::<i64, _>(&left, "n"), 0);
        let locks = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'";
        let locks = sqlx::raw_sql(locks).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(sqlx::Row::get::<i64, _>(&locks, "n"), 0);
        sqlx::raw_sql("DISCARD ALL").execute(&mut *connection).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_look_up_is_prepared_once_on_each_connection() {
    let server = shared();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = options.connect(&server.url()).await.unwrap();
    let schema = super::support::new_schema();
    let store = PostgresKeyStore::new(pool.clone()).with_schema(&schema).unwrap();
    store.migrate().await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    for _ in 0..3 {
        found(&store, "k1").await.unwrap();
        store.list(&owner("ann"), None, 10).await.unwrap();
    }
    let mut connection = pool.acquire().await.unwrap();
    let left = "SELECT statement FROM pg_prepared_statements WHERE NOT from_sql";
    let left = sqlx::raw_sql(left).fetch_all(&mut *connection).await.unwrap();
    let statements: Vec<&str> = left.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let find = format!("SELECT record FROM \"{schema}\".\"webhook_keys\" WHERE id = $1");
    assert_eq!(statements, [find]);
    // The server forgets it. The store notices and prepares it again.
    sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *connection).await.unwrap();
    drop(connection);
    found(&store, "k1").await.unwrap();
}
