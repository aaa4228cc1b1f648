//! What the server refuses is an error, and never an unknown key.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tower_webhook::key::{KeyStore, StoreError};
use tower_webhook::store::PostgresKeyStore;

use super::server::{Server, shared};
use super::support::{find, found, id, insert, new_schema, owner, record, store, store_in};
use crate::support::SLACK;

async fn execute(connection: &mut PgConnection, sql: impl Into<String>) {
    raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.unwrap();
}

/// The SQLSTATE behind an error.
fn state(error: &StoreError) -> String {
    let source = std::error::Error::source(error).unwrap();
    let source = source.downcast_ref::<sqlx::Error>().expect("an error of the database");
    source.as_database_error().expect("an error of the server").code().unwrap().into_owned()
}

#[tokio::test]
async fn tables_that_are_missing_or_not_permitted_are_errors() {
    let server = shared();
    let mut admin = server.connect().await;
    let store = PostgresKeyStore::connect(&server.url()).await.unwrap();
    let store = store.with_schema(&new_schema()).unwrap();
    assert_eq!(state(&store.find(&id("k1")).await.unwrap_err()), "42P01");
    assert!(store.check().await.is_err());
    assert!(store.list(&owner("ann"), None, 10).await.is_err());
    assert!(store.insert(record("k1", "ann", 0)).await.is_err());
    assert!(store.replace(record("k1", "ann", 0), 1).await.is_err());
    assert!(store.remove(&owner("ann"), &[id("k1")]).await.is_err());

    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    insert(&store, &record("k1", "ann", 0)).await;
    execute(&mut admin, format!("CREATE ROLE {schema} LOGIN")).await;
    let limited = server.url().replace("postgres@", &format!("{schema}@"));
    let limited = PostgresKeyStore::connect(&limited).await.unwrap().with_schema(&schema).unwrap();
    assert_eq!(state(&limited.find(&id("k1")).await.unwrap_err()), "42501");
    assert!(limited.check().await.is_err());
    let grant = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}"
    );
    execute(&mut admin, grant).await;
    limited.check().await.unwrap();
    assert!(found(&limited, "k1").await.is_some());
    assert_eq!(state(&limited.insert(record("k2", "ann", 0)).await.unwrap_err()), "42501");
    // The tables are there: nothing is to be made.
    limited.migrate().await.unwrap();
    let other = limited.with_table_prefix("other_").unwrap();
    assert!(other.migrate().await.is_err());
}

#[tokio::test]
async fn tables_that_were_changed_are_errors() {
    let server = shared();
    let mut admin = server.connect().await;
    for change in ["DROP COLUMN version", "DROP COLUMN owner", "DROP COLUMN record CASCADE"] {
        let schema = new_schema();
        let store = store_in(&server.url(), &schema).await;
        insert(&store, &record("k1", "ann", 0)).await;
        execute(&mut admin, format!("ALTER TABLE {schema}.webhook_keys {change}")).await;
        let find = store.find(&id("k1")).await;
        assert!(find.is_err() || find.unwrap().is_some());
        let replace = store.replace(record("k1", "ann", 0).with_version(2), 1).await;
        let list = store.list(&owner("ann"), None, 10).await;
        assert!(replace.is_err() || list.is_err(), "{change}");
    }
    for change in
        ["UPDATE {}.webhook_keys_schema SET version = 3", "DELETE FROM {}.webhook_keys_schema"]
    {
        let schema = new_schema();
        let store = store_in(&server.url(), &schema).await;
        execute(&mut admin, change.replace("{}", &schema)).await;
        assert!(store.check().await.is_err());
        assert!(store.migrate().await.is_err());
    }
}

#[tokio::test]
async fn timeouts_of_the_server_are_errors() {
    let server = shared();
    let schema = new_schema();
    let direct = store_in(&server.url(), &schema).await;
    insert(&direct, &record("k1", "ann", 0)).await;
    let mut admin = server.connect().await;
    for (setting, expected) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
        let url = format!("{}&options=-c%20{setting}%3D100", server.url());
        let store = PostgresKeyStore::connect(&url).await.unwrap().with_schema(&schema).unwrap();
        execute(&mut admin, format!("BEGIN; LOCK TABLE {schema}.webhook_keys")).await;
        assert_eq!(state(&store.find(&id("k1")).await.unwrap_err()), expected);
        assert_eq!(state(&store.insert(record("k2", "ann", 0)).await.unwrap_err()), expected);
        assert_eq!(state(&store.list(&owner("ann"), None, 1).await.unwrap_err()), expected);
        execute(&mut admin, "ROLLBACK").await;
        assert!(found(&store, "k1").await.is_some());
        assert!(found(&store, "k2").await.is_none());
    }
    // Without one, the deadline of the call is what ends it.
    let store = direct.with_deadline(Duration::from_millis(200));
    execute(&mut admin, format!("BEGIN; LOCK TABLE {schema}.webhook_keys")).await;
    let started = Instant::now();
    assert!(store.find(&id("k1")).await.is_err());
    assert!(started.elapsed() < SLACK);
    execute(&mut admin, "ROLLBACK").await;
    assert!(found(&store, "k1").await.is_some());
}

#[tokio::test]
async fn a_server_that_is_read_only_answers_and_refuses_changes() {
    let server = shared();
    let schema = new_schema();
    let direct = store_in(&server.url(), &schema).await;
    insert(&direct, &record("k1", "ann", 0)).await;
    let url = format!("{}&options=-c%20default_transaction_read_only%3Don", server.url());
    let store = PostgresKeyStore::connect(&url).await.unwrap().with_schema(&schema).unwrap();
    assert!(found(&store, "k1").await.is_some());
    assert_eq!(store.list(&owner("ann"), None, 10).await.unwrap().len(), 1);
    assert_eq!(state(&store.insert(record("k2", "ann", 0)).await.unwrap_err()), "25006");
    assert!(store.replace(record("k1", "ann", 0).with_version(2), 1).await.is_err());
    assert!(store.remove(&owner("ann"), &[id("k1")]).await.is_err());
    assert!(found(&direct, "k1").await.is_some());
    assert!(found(&direct, "k2").await.is_none());
}

#[tokio::test]
async fn too_many_connections_are_an_error_within_the_deadline() {
    let server = Server::start();
    let store = store(&server.url()).await;
    insert(&store, &record("k1", "ann", 0)).await;
    let mut admin = server.connect().await;
    execute(&mut admin, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 1 SUPERUSER").await;
    execute(&mut admin, "ALTER ROLE crowded NOSUPERUSER").await;
    let url = server.url().replace("postgres@", "crowded@");
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let _only = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let started = Instant::now();
    assert!(PostgresKeyStore::connect(&url).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(5) + SLACK);
    // Those that have a connection go on.
    assert!(found(&store, "k1").await.is_some());
}

#[tokio::test]
async fn callers_wait_for_a_small_pool_until_the_deadline() {
    let server = shared();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = options.connect(&server.url()).await.unwrap();
    let store = PostgresKeyStore::new(pool.clone()).with_schema(&new_schema()).unwrap();
    store.migrate().await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    let finds = (0..100).map(|_| find(&store, "k1"));
    for found in futures_util::future::join_all(finds).await {
        assert!(found.unwrap().is_some());
    }

    let hasty = store.clone().with_deadline(Duration::from_millis(200));
    let held = pool.acquire().await.unwrap();
    let started = Instant::now();
    let finds = (0..100).map(|_| find(&hasty, "k1"));
    for found in futures_util::future::join_all(finds).await {
        assert!(found.is_err());
    }
    assert!(started.elapsed() < SLACK);
    drop(held);
    assert!(hasty.find(&id("k1")).await.unwrap().is_some());

    // Beyond the limit there is no waiting at all.
    let few = store.with_max_calls(5);
    let held = pool.acquire().await.unwrap();
    let waiting: Vec<_> = (0..5).map(|_| Box::pin(find(&few, "k1"))).collect();
    let mut waiting = futures_util::future::join_all(waiting);
    assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
    let refused = futures_util::FutureExt::now_or_never(few.find(&id("k1"))).unwrap();
    assert!(refused.is_err());
    drop(held);
    assert!(waiting.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_ends_when_there_is_space_again() {
    let server = Server::start();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    insert(&store, &record("k", "ann", 0)).await;
    // The write-ahead log has files of 16 MiB. The table grows beyond that, with rows that are too short
    // to be compressed.
    let filler = format!(
        "INSERT INTO {schema}.webhook_keys (id, record) SELECT 'f' || i, jsonb_set(jsonb_set(record::jsonb, \
         '{{id}}', to_jsonb('f' || i)), '{{metadata}}', to_jsonb(repeat('x', 1000))) \
         FROM {schema}.webhook_keys, generate_series(1, 16000) AS i WHERE id = 'k'"
    );
    execute(&mut server.connect().await, filler).await;
    let size = format!("SELECT pg_relation_size('{schema}.webhook_keys')");
    let size: i64 = sqlx::query_scalar(AssertSqlSafe(size))
        .fetch_one(&mut server.connect().await)
        .await
        .unwrap();
    assert!(size > 17 << 20, "{size}");
    server.limit_files(Some(16 << 20));
    let large = |number: usize| {
        let record = record(&format!("k{number}"), "ann", 0);
        record.with_metadata(Some(format!("\"{}\"", "x".repeat(1000)))).unwrap()
    };
    let mut count = 0;
    while store.insert(large(count)).await.is_ok() {
        count += 1;
        assert!(count < 1000, "there is no limit");
    }
    // What is there stays there, and nothing is half made.
    assert!(found(&store, &format!("k{count}")).await.is_none());
    assert!(found(&store, "k").await.is_some());
    server.limit_files(None);
    insert(&store, &large(count)).await;
    for number in 0..count {
        assert!(found(&store, &format!("k{number}")).await.is_some());
    }
}
